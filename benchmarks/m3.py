"""bge-m3's shape: the speed of one run for all kinds of vectors, and the memory of a text of 8,192 tokens.

python -m benchmarks.m3 --help
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

import click

from benchmarks.data.datasets import cut, data_folder, read_collection, read_pairs
from benchmarks.data.seeded_m3 import write_seeded_m3
from benchmarks.measure.m3_child import KERNELS, LITE_FP32, LITE_INT8, ROWS
from benchmarks.peers import bge_m3_lite
from benchmarks.peers.padded import open_tokenizer
from benchmarks.peers.process import child_environment
from benchmarks.peers.workbench import open_workbench
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json
from embedge import Embedder
from embedge.inference.cpu import usable_cores
from embedge_export import export
from embedge_export.bundle_files import write_tokenizer

_NEEDED = ("bge_m3_lite", "onnx_ir", "sympy")
_CALIBRATION = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class OneRun:
    """The speed of one call for all kinds beside three calls.

    Attributes:
        texts: the kind of texts.
        kernels: the instruction set of the kernels; None for the plain graph.
        one: the median milliseconds of ``encode_all`` with multi-vectors.
        three: the median milliseconds of ``encode``, ``encode_sparse`` and ``encode_multi_vector``.
        times_faster: the median over the rounds of the ratio in one round.
    """

    texts: str
    kernels: str | None
    one: float
    three: float
    times_faster: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LongText:
    """The memory of one long text, with all kinds of vectors, in a new process.

    Attributes:
        row: the library and its graph.
        loaded: the resident bytes after a short text.
        peak: the largest resident bytes.
        seconds: the seconds that the long text takes.
    """

    row: str
    loaded: int
    peak: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of the benchmark."""

    layers: int
    tokens: int
    threads: int
    speed: Sequence[OneRun]
    memory: Sequence[LongText]
    left_out: Mapping[str, str]
    machine: Machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--layers", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--tokens", type=click.IntRange(min=8, max=8192), default=8192, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Cores to use. Default: all.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Keep the files here, and use those.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="File for the results.")
def main(
    layers: int, tokens: int, rounds: int, threads: int | None, folder: Path | None, json_file: Path | None
) -> None:
    """Measure bge-m3's shape with random weights and few layers, whose export takes minutes and not hours.

    Speed: one call of encode_all for all kinds of vectors beside the three methods. They take turns. Memory: the peak
    of a new process that embeds one long text, in all kinds; bge-m3-lite beside it, if it is installed. The memory of
    activations does not depend on the number of layers; that of the weights does.

    \b
    python -m benchmarks.m3
    python -m benchmarks.m3 --folder /tmp/m3 --rounds 30
    """
    threads = threads or usable_cores()
    with _files(folder) as place:
        left_out = _build(place, layers, threads)
        result = Result(
            layers=layers,
            tokens=tokens,
            threads=threads,
            speed=_speed(place, rounds, threads),
            memory=_memory(place, tokens, threads, left_out),
            left_out=left_out,
            machine=this_machine(),
        )
    _print(result)
    if json_file:
        write_json(result, json_file)


@contextmanager
def _files(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="embedge-bench-", ignore_cleanup_errors=True) as temporary:
        yield Path(temporary)


def _build(folder: Path, layers: int, threads: int) -> dict[str, str]:
    """Write the checkpoint, the bundle and the peer's files that are not there; return why rows are left out."""
    checkpoint, bundle = folder / f"checkpoint-{layers}", folder / "bundle"
    if not checkpoint.is_dir():
        click.echo("writing the checkpoint", err=True)
        write_seeded_m3(checkpoint, layers=layers, heads=True)
    if not bundle.is_dir():
        click.echo("exporting", err=True)
        export(checkpoint, bundle, precisions=("int8",), like="bge-m3", verify=False)
    left_out = {} if find_spec("embedge_kernels") else {KERNELS: "embedge-kernels is not installed"}
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        return left_out | dict.fromkeys(
            (LITE_INT8, LITE_FP32), f"needs {', '.join(missing)}: pip install -e '.[bench]'"
        )
    calibration = read_pairs(data_folder(), "dev").sentences[:_CALIBRATION]
    with open_workbench(str(checkpoint), like="bge-m3", threads=threads, calibration=calibration) as bench:
        write_tokenizer(bench.checkpoint, folder)
        click.echo("bge-m3-lite: building", err=True)
        bge_m3_lite.build(replace(bench, folder=folder), "int8")  # it makes the fp32 graph on the way
    return left_out


def _speed(folder: Path, rounds: int, threads: int) -> list[OneRun]:
    data = data_folder()
    texts = {
        "64 short": list(read_pairs(data).sentences[:64]),
        "8 long": list(read_collection(data).documents[:8]),
        "1 query": ["how do I bake bread with yeast at home?"],
    }
    found = []
    for uses_kernels in (True, False) if find_spec("embedge_kernels") else (False,):
        model = Embedder(folder / "bundle", threads=threads, kernels=uses_kernels)
        found += [_one_run(model, kind, some, rounds) for kind, some in texts.items()]
    return found


def _one_run(model: Embedder, kind: str, texts: list[str], rounds: int) -> OneRun:
    def one() -> None:
        model.encode_all(texts, multi_vector=True)

    def three() -> None:
        model.encode(texts)
        model.encode_sparse(texts)
        model.encode_multi_vector(texts)

    times: dict[str, list[float]] = {"one": [], "three": []}
    for number in range(-2, rounds):  # two rounds to warm up
        for call in (one, three) if number % 2 else (three, one):
            start = perf_counter()
            call()
            if number >= 0:
                times[call.__name__].append(1000 * (perf_counter() - start))
    ratio = median(b / a for a, b in zip(times["one"], times["three"], strict=True))
    return OneRun(
        texts=kind, kernels=model.kernels, one=median(times["one"]), three=median(times["three"]), times_faster=ratio
    )


def _memory(folder: Path, tokens: int, threads: int, left_out: Mapping[str, str]) -> list[LongText]:
    text = _text(folder, tokens)
    found = []
    for row in ROWS:
        if row in left_out:
            continue
        command = [sys.executable, "-m", "benchmarks.measure.m3_child", row, str(folder), str(text), str(threads)]
        answer = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1], env=child_environment()
        )
        figures = json.loads(answer.stdout.splitlines()[-1])
        if abs(figures["vectors"] - tokens) > tokens // 100:  # its tokenizer may split a word in another way
            raise click.ClickException(f"{row} embedded {figures['vectors']} tokens and not {tokens}")
        found.append(LongText(row=row, loaded=figures["loaded"], peak=figures["peak"], seconds=figures["seconds"]))
        click.echo(f"{row}: {figures['peak'] / 1e6:.0f} MB", err=True)
    return found


def _text(folder: Path, tokens: int) -> Path:
    """Cranfield's documents, joined and cut to ``tokens`` tokens, in a file."""
    joined = " ".join(read_collection(data_folder()).documents[:200])
    (text,) = cut([joined], open_tokenizer(folder / "bundle"), max_tokens=tokens)
    path = folder / f"text-{tokens}.txt"
    path.write_text(text, encoding="utf-8")
    return path


def _print(result: Result) -> None:
    click.echo(f"bge-m3's shape, {result.layers} layers, {result.threads} cores\n{describe(result.machine)}\n")
    rows = [
        (
            f"{run.texts}, {'plain graph' if run.kernels is None else 'kernels'}",
            f"{run.one:.1f}",
            f"{run.three:.1f}",
            f"{run.times_faster:.2f}",
        )
        for run in result.speed
    ]
    click.echo(align([("texts", "one call, ms", "three calls, ms", "times as fast"), *rows]))
    memory = [
        (one.row, f"{one.loaded / 1e6:.0f}", f"{one.peak / 1e6:.0f}", f"{one.seconds:.1f}") for one in result.memory
    ]
    click.echo("\n" + align([(f"{result.tokens} tokens", "MB before", "MB at the peak", "seconds"), *memory]))
    for row, why in result.left_out.items():
        click.echo(f"{row} is left out: {why}")


if __name__ == "__main__":
    main()
