"""Checkpoint -> a graph for every precision: graph -> smooth -> quantise, or what another tool traced."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.manifest import PRECISIONS, Precision
from embedge_export.checkpoint import Checkpoint
from embedge_export.extra import has_optimum_extra
from embedge_export.graph_file import write_graph
from embedge_export.order import Order
from embedge_export.steps import step

if TYPE_CHECKING:
    from onnx import ModelProto

# Where graphs to compare with stand in the scratch folder.
TRACED = "traced"
OWN_REFERENCE = "fp32.onnx"


def convert(order: Order, scratch: Path) -> Iterator[tuple[Precision, "ModelProto"]]:
    """A graph for every precision of the order; the float32 one is built once.

    Leaves what verify will compare with in ``scratch``.
    """
    make = _native(order, scratch) if order.exporter == "native" else _traced(order, scratch)
    for precision in order.precisions:
        yield precision, make[precision]()


def _native(order: Order, scratch: Path) -> Mapping[Precision, Callable[[], "ModelProto"]]:
    from embedge_export.graph import build_graph
    from embedge_export.half import halve
    from embedge_export.trim import keep_first_token

    checkpoint = order.checkpoint
    trim = keep_first_token if _reads_first_token(checkpoint) else _as_it_is
    with step(order.report, "graph") as note:
        model = build_graph(checkpoint)
        note(f"{checkpoint.config['num_hidden_layers']} layers, hidden {checkpoint.config['hidden_size']}")
    if order.verify and not has_optimum_extra():
        write_graph(model, scratch / OWN_REFERENCE)
    return {
        "fp32": partial(_told, order, "fp32", lambda: trim(model)),
        "fp16": partial(_told, order, "fp16", lambda: halve(trim(model))),
        "int8": partial(_fit, order, model, scratch),
    }


def _fit(order: Order, model: "ModelProto", scratch: Path) -> "ModelProto":
    """The int8 graph, fitted to the calibration texts."""
    from embedge_export.bundle import write_tokenizer
    from embedge_export.calibrate import FEWEST_TEXTS, calibrate
    from embedge_export.quantise import quantise
    from embedge_export.smooth import smooth
    from embedge_export.texts import calibration_texts
    from embedge_export.trim import keep_first_token, with_parts

    checkpoint, own_texts = order.checkpoint, order.calibration is not None and order.calibration.file is not None
    with step(order.report, "calibrate") as note:
        activations = calibrate(
            model,
            order.calibration_texts,
            tokenizer=write_tokenizer(checkpoint, scratch),
            max_tokens=checkpoint.max_tokens,
            truncation_side=checkpoint.truncation_side,
            fewest=FEWEST_TEXTS if own_texts else 1,
            reach=calibration_texts()[0] if own_texts else (),
        )
        note(f"{len(order.calibration_texts)} texts")
    with step(order.report, "smooth") as note:
        smoothed, activations = smooth(model, activations)
        note("activations into weights")
    if _reads_first_token(checkpoint):
        smoothed, activations = keep_first_token(smoothed), with_parts(activations)
    return _told(order, "int8", partial(quantise, smoothed, activations))


def _reads_first_token(checkpoint: Checkpoint) -> bool:
    """Whether nothing reads the last layer's other tokens."""
    heads = (checkpoint.sparse_head, checkpoint.multi_vector_head)
    return checkpoint.pooling == "cls" and heads == (None, None)


def _as_it_is(model: "ModelProto") -> "ModelProto":
    return model


def _traced(order: Order, scratch: Path) -> Mapping[Precision, Callable[[], "ModelProto"]]:
    from embedge_export.reference import trace
    from embedge_export.traced import convert_traced, fuse_traced

    with step(order.report, "trace") as note:
        model = fuse_traced(trace(order.checkpoint, scratch / TRACED), order.checkpoint)
        note(f"{len(model.graph.node)} nodes after fusion")
    return {name: partial(_told, order, name, partial(convert_traced, model, precision=name)) for name in PRECISIONS}


def _told(order: Order, precision: Precision, make: Callable[[], "ModelProto"]) -> "ModelProto":
    """Makes a graph, and tells its size and how long it took."""
    with step(order.report, precision) as note:
        model = make()
        note(f"{sum(len(tensor.raw_data) for tensor in model.graph.initializer) / 1e6:.1f} MB")
    return model
