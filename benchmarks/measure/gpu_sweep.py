"""Compare token budgets and multiples of padding on a device, to choose the defaults of the planner for a GPU."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import numpy as np
import onnxruntime as ort

from benchmarks.measure.comparison import BuiltPeer, Comparison
from benchmarks.measure.device_memory import Device, MemoryGrowth, read_device
from benchmarks.peers.padded import Ids, open_tokenizer, pad
from benchmarks.peers.process import PeerProcess
from benchmarks.report.gpu_report import megabytes, print_device
from benchmarks.report.machine_info import Machine, this_machine
from benchmarks.report.tables import align

BUDGETS = (8_192, 16_384, 32_768, 65_536)  # tokens of a session run, padding included
MULTIPLES = (1, 8, 16, 32, 64)  # a batch is padded to the next multiple of so many tokens
# embedge's own options for fp16, so that the graph runs as it does there.
_CUDA = ("CUDAExecutionProvider", {"arena_extend_strategy": "kSameAsRequested", "sdpa_kernel": "3"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """embedge with one token budget, end to end.

    Attributes:
        tokens: the budget, as ``batch_tokens``; None is embedge's default.
        texts_per_second: the speed of each round, by the kind of text.
        memory_peak: the device's memory that the process takes, at the most, in bytes; None where it is not measured.
    """

    tokens: int | None
    texts_per_second: Mapping[str, Sequence[float]]
    memory_peak: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """The bare graph, without tokenising and pooling, with one way to pad.

    Attributes:
        tokens: the token budget, padding included.
        multiple: each batch is padded to the next multiple of so many tokens.
        texts_per_second: the speed of each round, by the kind of text.
        padded: the tokens with padding divided by those without, by the kind of text.
    """

    tokens: int
    multiple: int
    texts_per_second: Mapping[str, Sequence[float]]
    padded: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """One run of the sweep, with embedge's fp16 graph."""

    model: str
    device: Device
    budgets: Sequence[Budget]
    paddings: Sequence[Padding]
    machine: Machine


def sweep(comparison: Comparison, texts: Mapping[str, Sequence[str]], rounds: int, device: str) -> SweepResult:
    """Measure every budget end to end, and every budget with every multiple on the bare graph.

    Raises:
        PeerFailedError: embedge does not run.
    """
    (built,) = comparison.peers
    return SweepResult(
        model=comparison.model,
        device=read_device(device),
        budgets=_sweep_budgets(comparison, built, texts, rounds),
        paddings=_sweep_paddings(built.kit.folder, texts, rounds, device),
        machine=this_machine(),
    )


def _sweep_budgets(
    comparison: Comparison, built: BuiltPeer, texts: Mapping[str, Sequence[str]], rounds: int
) -> list[Budget]:
    """One process for each budget; they take turns in every round."""
    kinds = {kind: comparison.write_texts(kind, of_kind) for kind, of_kind in texts.items()}
    budgets = (None, *BUDGETS)
    rates: dict[int | None, dict[str, list[float]]] = {tokens: {kind: [] for kind in kinds} for tokens in budgets}
    peaks: dict[int | None, int | None] = {}
    with ExitStack() as stack:
        running = {}
        for tokens in budgets:
            click.echo(f"budget {tokens or 'default'}: starting", err=True)
            memory = MemoryGrowth(built.kit.device)
            running[tokens] = process = stack.enter_context(PeerProcess(built.peer, built.kit))
            with memory:
                for path in kinds.values():  # the first pass warms up
                    process.ask("encode_batches", texts=path, batch=tokens)
                memory.now()
            peaks[tokens] = memory.peak
        for _ in range(rounds):
            for kind, path in kinds.items():
                for tokens, process in running.items():
                    seconds = process.ask("encode_batches", texts=path, batch=tokens)["seconds"]
                    rates[tokens][kind].append(len(texts[kind]) / seconds)
    return [Budget(tokens=tokens, texts_per_second=rates[tokens], memory_peak=peaks[tokens]) for tokens in budgets]


def _sweep_paddings(folder: Path, texts: Mapping[str, Sequence[str]], rounds: int, device: str) -> list[Padding]:
    """All combinations take turns in every round, in this process."""
    session = _open(folder / "bundle" / "onnx" / "model_fp16.onnx", device)
    tokenizer = open_tokenizer(folder)
    ids = {kind: [text.ids for text in tokenizer.encode_batch(list(of_kind))] for kind, of_kind in texts.items()}
    grid = [(tokens, multiple) for tokens in BUDGETS for multiple in MULTIPLES]
    batches = {(cell, kind): plan_padded(ids[kind], *cell) for cell in grid for kind in ids}
    rates: dict[tuple[tuple[int, int], str], list[float]] = {key: [] for key in batches}
    for turn in range(rounds + 1):
        click.echo(f"padding: round {turn} of {rounds}", err=True)
        for (cell, kind), planned in batches.items():
            start = time.perf_counter()
            for padded, mask in planned:
                session.run(["last_hidden_state"], {"input_ids": padded, "attention_mask": mask})
            if turn > 0:  # the first pass warms up
                rates[cell, kind].append(len(ids[kind]) / (time.perf_counter() - start))
    return [
        Padding(
            tokens=cell[0],
            multiple=cell[1],
            texts_per_second={kind: rates[cell, kind] for kind in ids},
            padded={kind: _padded(batches[cell, kind]) for kind in ids},
        )
        for cell in grid
    ]


def _open(graph: Path, device: str) -> ort.InferenceSession:
    if device == "cpu":
        return ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    name, options = _CUDA
    card = {"device_id": device.partition(":")[2] or "0"}
    return ort.InferenceSession(graph, providers=[(name, {**options, **card}), "CPUExecutionProvider"])


def plan_padded(ids: Sequence[Sequence[int]], tokens: int, multiple: int) -> list[tuple[Ids, Ids]]:
    """Batches of at most ``tokens`` tokens, of texts sorted by length, with their masks; the longest texts first.

    >>> [batch.shape for batch, _ in plan_padded([[1] * 9, [1] * 3, [1] * 2], tokens=16, multiple=8)]
    [(1, 16), (2, 8)]
    """
    order = sorted(ids, key=len, reverse=True)
    batches = []
    while order:
        width = -(-len(order[0]) // multiple) * multiple
        rows = max(1, tokens // width)
        padded, mask = pad(order[:rows])
        extra = ((0, 0), (0, width - padded.shape[1]))
        batches.append((np.pad(padded, extra), np.pad(mask, extra)))
        order = order[rows:]
    return batches


def _padded(batches: Sequence[tuple[Ids, Ids]]) -> float:
    return float(sum(mask.size for _, mask in batches) / sum(mask.sum() for _, mask in batches))


def print_sweep(result: SweepResult) -> None:
    """Print both tables."""
    print_device(result.model, result.device, result.machine)
    kinds = list(result.budgets[0].texts_per_second)
    rows = [
        (
            "default" if one.tokens is None else f"{one.tokens:,}",
            *(f"{median(one.texts_per_second[kind]):.4g}" for kind in kinds),
            megabytes(one.memory_peak),
        )
        for one in result.budgets
    ]
    click.echo(f"\n{align([('embedge, batch_tokens', *(f'{kind} texts/s' for kind in kinds), 'peak MB'), *rows])}")
    rows = [
        (
            f"{one.tokens:,}",
            str(one.multiple),
            *(f"{median(one.texts_per_second[kind]):.4g}" for kind in kinds),
            *(f"{one.padded[kind]:.2f}" for kind in kinds),
        )
        for one in result.paddings
    ]
    header = ("bare graph, tokens", "multiple", *(f"{k} texts/s" for k in kinds), *(f"{k} padded" for k in kinds))
    click.echo(f"\n{align([header, *rows])}")
