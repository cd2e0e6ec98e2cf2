"""How much faster could the int8 graph be, were its accuracy no matter? It, and the same with other products, in turns.

python benchmarks/ceiling.py --help
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import click
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from contest import OWN, Contest, open_contest, short_and_long
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import HIDDEN, Precision
from embedge.inference.session import Session
from embedge_export.int8.calibration_texts import calibration_texts
from machine import Machine, describe, this_machine
from operators import SHAPES, profile
from options import Setup, contest_options
from peers.padded import open_tokenizer, pool
from peers.table import BASELINE
from report import align, write_json
from side_by_side import in_turns, open_graph, random_ids, times_faster
from surgery import Ids, highest_scales, in_blocks, static

_TODAY = "as it is"
# In which layers the rows have a constant scale: what their names contain.
_STATIC = {
    "static": "",
    "static-qkv": r"\.attention\.(qkv|q|kv)$",
    "static-attention-out": r"\.attention\.output\.",
    "static-ffn-up": r"\.intermediate\.",
    "static-ffn-down": r"\.\d+\.output\.",
    "static-but-ffn-down": r"\.(attention|intermediate)\.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A graph.

    Attributes:
        milliseconds: of a run, by shape; the median of the turns.
        times_faster: than the int8 graph as it is, by shape; the median of the turns' ratios.
        cosine_mean: of its vectors with fp32's, over texts.
        cosine_min: the least.
    """

    milliseconds: Mapping[str, float]
    times_faster: Mapping[str, float]
    cosine_mean: float
    cosine_min: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """A run.

    Attributes:
        model: what was measured.
        variants: by name.
        if_products_were_all: time of all operators of the int8 graph by that of its integer products, by shape.
        machine: where it was measured.
    """

    model: str
    variants: Mapping[str, Variant]
    if_products_were_all: Mapping[str, float]
    machine: Machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@contest_options
@click.option("--rounds", type=click.IntRange(min=3), default=40, show_default=True, help="Turns for each shape.")
@click.option("--texts", type=click.IntRange(min=1), default=512, show_default=True, help="STS-B sentences.")
def main(setup: Setup, rounds: int, texts: int) -> None:
    """Measure the int8 graph against the same with other products, whatever their accuracy, on one core.

    \b
    static    all rows of a linear layer have one scale, known beforehand: nothing finds a scale or
              multiplies by it, and the product adds the bias (some layers are exported so)
    static-*  in the layers of that kind only, or in all but them
    nbits-*   MatMulNBits, which quantises the rows itself, in blocks of so many inputs, and adds the
              bias; in the layers that are not exported as static

    In brackets is how many times as fast a graph is as the int8 graph as it is; the last row is what
    that would be were there nothing but its products, by ONNX Runtime's profiler.

    A constant scale is the largest of its layer's rows on the texts that the exporter calibrates with. Cosines are with
    fp32's vectors of sentences; of seeded weights they say only that a graph computes what it should, so give a real
    checkpoint with -m to see what a constant scale costs.

    \b
    python benchmarks/ceiling.py
    python benchmarks/ceiling.py -m all-MiniLM-L6-v2
    """
    with open_contest(replace(setup, patterns=(OWN, BASELINE), threads=1)) as contest:
        result = _measure(contest, rounds, texts)
    click.echo(f"{result.model}, one core\n{describe(result.machine)}\n\n{_table(result)}")
    if setup.json_file:
        write_json(result, setup.json_file)


def variants(model: ModelProto, scales: Mapping[str, np.float32]) -> dict[str, ModelProto]:
    """The graphs by name, the int8 graph itself first.

    Args:
        model: a graph of ``quantise``.
        scales: for all rows of a layer, by its name, from ``highest_scales``.
    """
    found = {_TODAY: model}
    for variant, pattern in _STATIC.items():
        found[variant] = static(model, {name: scale for name, scale in scales.items() if re.search(pattern, name)})
    return found | {f"nbits-{size}": in_blocks(model, size) for size in (32, 128)}


def _measure(contest: Contest, rounds: int, texts: int) -> Ceiling:
    kit = contest.entrants[0].kit
    bundle, width = Bundle.open(kit.folder / "bundle"), contest.config["hidden_size"]
    model, (calibration, _) = _load(bundle, "int8"), calibration_texts()
    graphs = variants(model, highest_scales(model, _ids(contest, calibration)))
    others = _ids(contest, short_and_long(contest, {"short": texts, "long": 0})["short"])
    sessions = {name: open_graph(graph, contest.folder / f"{name}.onnx", width) for name, graph in graphs.items()}
    exact = _vectors(open_graph(_load(bundle, "fp32"), contest.folder / "fp32.onnx", width), others, kit.pooling)
    cosines = {name: (_vectors(session, others, kit.pooling) * exact).sum(axis=1) for name, session in sessions.items()}
    inputs = {
        f"{rows} x {tokens}": random_ids(rows, tokens, contest.config["vocab_size"])
        for rows, tokens in SHAPES
        if tokens <= contest.max_tokens
    }
    times = {shape: in_turns(sessions, ids, rounds) for shape, ids in inputs.items()}
    profiles = {shape: profile(bundle.graph("int8"), ids, rounds) for shape, ids in inputs.items()}
    return Ceiling(
        model=contest.model,
        variants={name: _variant(name, times, cosines[name]) for name in sessions},
        if_products_were_all={
            shape: sum(found.values()) / found["MatMulIntegerToFloat"] for shape, found in profiles.items()
        },
        machine=this_machine(),
    )


def _ids(contest: Contest, texts: Sequence[str]) -> list[Ids]:
    """Token ids, [1, tokens] of each text; what is beyond the model's longest is cut off."""
    encodings = open_tokenizer(contest.entrants[0].kit.folder).encode_batch(list(texts))
    return [np.array([encoding.ids[: contest.max_tokens]], np.int64) for encoding in encodings]


def _variant(name: str, times: Mapping[str, Mapping[str, list[float]]], cosines: NDArray[np.float32]) -> Variant:
    return Variant(
        milliseconds={shape: median(found[name]) for shape, found in times.items()},
        times_faster={shape: times_faster(found, name, than=_TODAY) for shape, found in times.items()},
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
    )


def _load(bundle: Bundle, precision: Precision) -> ModelProto:
    model: ModelProto = onnx.load(bundle.graph(precision))
    return model


def _vectors(session: Session, texts: Sequence[Ids], pooling: str) -> NDArray[np.float32]:
    """Unit vectors, [texts, dimension]."""
    return np.concatenate([pool(session.run(ids, HIDDEN), np.ones_like(ids), pooling) for ids in texts])


def _table(result: Ceiling) -> str:
    shapes = list(result.if_products_were_all)
    rows = [("ms, texts x tokens", *shapes, "cosine mean", "cosine min")]
    for name, found in result.variants.items():
        cells = (f"{found.milliseconds[shape]:.2f} ({found.times_faster[shape]:.2f})" for shape in shapes)
        rows.append((name, *cells, f"{found.cosine_mean:.4f}", f"{found.cosine_min:.4f}"))
    rest = (f"({ratio:.2f})" for ratio in result.if_products_were_all.values())
    return align([*rows, ("were all but its products free", *rest, "", "")])


if __name__ == "__main__":
    main()
