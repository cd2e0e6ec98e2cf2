"""Measure an upper bound on the speed of the int8 graph: variants with faster operators and less accuracy.

python -m benchmarks.upper_bound --help
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

from benchmarks.measure.comparison import Comparison, open_comparison, short_and_long
from benchmarks.measure.graph_timing import open_graph, random_ids, time_interleaved, times_faster
from benchmarks.measure.graph_variants import Ids, highest_scales, in_blocks, static
from benchmarks.measure.options import Setup, comparison_options
from benchmarks.operators import SHAPES, profile
from benchmarks.peers.padded import open_tokenizer, pool
from benchmarks.peers.table import BASELINE, OWN
from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import HIDDEN, Precision
from embedge.inference.session import Session
from embedge.inference.token_batch import TokenBatch
from embedge_export.int8.calibration_texts import calibration_texts

_AS_EXPORTED = "as exported"
# Patterns for the names of the layers that get a constant scale.
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
    """The figures of one graph.

    Attributes:
        milliseconds: the median time of a run, by shape.
        times_faster: the median speed-up over the int8 graph as exported, by shape.
        cosine_mean: the mean cosine of its vectors with those of fp32.
        cosine_min: the smallest of these cosines.
    """

    milliseconds: Mapping[str, float]
    times_faster: Mapping[str, float]
    cosine_mean: float
    cosine_min: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperBound:
    """One run of the benchmark.

    Attributes:
        model: the name of the model.
        variants: the graphs, by name.
        products_only_times_faster: the time of all operators of the int8 graph divided by that of its integer products,
            by shape.
        machine: where the run took place.
    """

    model: str
    variants: Mapping[str, Variant]
    products_only_times_faster: Mapping[str, float]
    machine: Machine


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@comparison_options
@click.option("--rounds", type=click.IntRange(min=3), default=40, show_default=True, help="Rounds for each shape.")
@click.option("--texts", type=click.IntRange(min=1), default=512, show_default=True, help="Number of STS-B sentences.")
def main(setup: Setup, rounds: int, texts: int) -> None:
    """Measure the int8 graph and variants with other matrix multiplications, on one core.

    \b
    static    all rows of a linear layer have one constant scale: no node computes a scale or multiplies
              by it, and the product adds the bias (some layers are exported like this)
    static-*  the same, only in layers of one kind, or in all layers but one kind
    nbits-*   MatMulNBits, which quantises the rows in blocks of 32 or 128 inputs and adds the bias; in
              layers that are not exported as static

    The number in brackets is the speed-up over the int8 graph as exported. The last row is the speed-up of a graph that
    has only the integer products, estimated with ONNX Runtime's profiler.

    A constant scale is the largest scale of a layer's rows on the exporter's calibration texts. The cosines compare
    vectors of sentences with those of fp32. With random weights they only show that the graphs are correct. To see the
    loss of accuracy, pass a real checkpoint with -m.

    \b
    python -m benchmarks.upper_bound
    python -m benchmarks.upper_bound -m all-MiniLM-L6-v2
    """
    with open_comparison(replace(setup, patterns=(OWN, BASELINE), threads=1)) as comparison:
        result = _measure(comparison, rounds, texts)
    click.echo(f"{result.model}, one core\n{describe(result.machine)}\n\n{_table(result)}")
    if setup.json_file:
        write_json(result, setup.json_file)


def variants(model: ModelProto, scales: Mapping[str, np.float32]) -> dict[str, ModelProto]:
    """The graphs by name, the int8 graph itself first.

    Args:
        model: a graph that ``quantise`` returns.
        scales: the constant scale of each layer, by its name, from ``highest_scales``.
    """
    graphs = {_AS_EXPORTED: model}
    for variant, pattern in _STATIC.items():
        graphs[variant] = static(model, {name: scale for name, scale in scales.items() if re.search(pattern, name)})
    return graphs | {f"nbits-{size}": in_blocks(model, size) for size in (32, 128)}


def _measure(comparison: Comparison, rounds: int, texts: int) -> UpperBound:
    kit = comparison.peers[0].kit
    bundle, width = Bundle.open(kit.folder / "bundle"), comparison.config["hidden_size"]
    model, (calibration, _) = _load(bundle, "int8"), calibration_texts()
    graphs = variants(model, highest_scales(model, _ids(comparison, calibration)))
    others = _ids(comparison, short_and_long(comparison, {"short": texts, "long": 0})["short"])
    sessions = {name: open_graph(graph, comparison.folder / f"{name}.onnx", width) for name, graph in graphs.items()}
    exact = _vectors(open_graph(_load(bundle, "fp32"), comparison.folder / "fp32.onnx", width), others, kit.pooling)
    cosines = {name: (_vectors(session, others, kit.pooling) * exact).sum(axis=1) for name, session in sessions.items()}
    inputs = {
        f"{rows} x {tokens}": random_ids(rows, tokens, comparison.config["vocab_size"])
        for rows, tokens in SHAPES
        if tokens <= comparison.max_tokens
    }
    times = {shape: time_interleaved(sessions, ids, rounds) for shape, ids in inputs.items()}
    profiles = {shape: profile(bundle.graph("int8"), ids, rounds) for shape, ids in inputs.items()}
    return UpperBound(
        model=comparison.model,
        variants={name: _variant(name, times, cosines[name]) for name in sessions},
        products_only_times_faster={
            shape: sum(times.values()) / times["MatMulIntegerToFloat"] for shape, times in profiles.items()
        },
        machine=this_machine(),
    )


def _ids(comparison: Comparison, texts: Sequence[str]) -> list[Ids]:
    """The token ids of each text, [1, tokens], truncated to the model's limit."""
    encodings = open_tokenizer(comparison.peers[0].kit.folder).encode_batch(list(texts))
    return [np.array([encoding.ids[: comparison.max_tokens]], np.int64) for encoding in encodings]


def _variant(name: str, times: Mapping[str, Mapping[str, list[float]]], cosines: NDArray[np.float32]) -> Variant:
    return Variant(
        milliseconds={shape: median(by_graph[name]) for shape, by_graph in times.items()},
        times_faster={shape: times_faster(by_graph, name, than=_AS_EXPORTED) for shape, by_graph in times.items()},
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
    )


def _load(bundle: Bundle, precision: Precision) -> ModelProto:
    model: ModelProto = onnx.load(bundle.graph(precision))
    return model


def _vectors(session: Session, texts: Sequence[Ids], pooling: str) -> NDArray[np.float32]:
    """Unit vectors, [texts, dimension]."""
    return np.concatenate(
        [pool(session.run(TokenBatch(range(len(ids)), ids), HIDDEN), np.ones_like(ids), pooling) for ids in texts]
    )


def _table(result: UpperBound) -> str:
    shapes = list(result.products_only_times_faster)
    rows = [("ms, texts x tokens", *shapes, "cosine mean", "cosine min")]
    for name, variant in result.variants.items():
        cells = (f"{variant.milliseconds[shape]:.2f} ({variant.times_faster[shape]:.2f})" for shape in shapes)
        rows.append((name, *cells, f"{variant.cosine_mean:.4f}", f"{variant.cosine_min:.4f}"))
    rest = (f"({ratio:.2f})" for ratio in result.products_only_times_faster.values())
    return align([*rows, ("products only (estimate)", *rest, "", "")])


if __name__ == "__main__":
    main()
