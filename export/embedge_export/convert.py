"""Checkpoint -> a graph for every precision: graph -> smooth -> quantise, or what another tool traced."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.bundle.manifest import PRECISIONS, Precision
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.extras import has_optimum_extra
from embedge_export.graph.write import write_graph
from embedge_export.job import OWN_REFERENCE, TRACED, ExportJob
from embedge_export.steps import step

if TYPE_CHECKING:
    from onnx import ModelProto


def convert(job: ExportJob, scratch: Path) -> Iterator[tuple[Precision, "ModelProto"]]:
    """A graph for every precision of the job; the float32 one is built once.

    Leaves what verify will compare with in ``scratch``.
    """
    make = _native(job, scratch) if job.exporter == "native" else _traced(job, scratch)
    for precision in job.precisions:
        yield precision, make[precision]()


def _native(job: ExportJob, scratch: Path) -> Mapping[Precision, Callable[[], "ModelProto"]]:
    from embedge_export.graph.encoder import build_graph
    from embedge_export.graph.float16 import to_float16
    from embedge_export.graph.prune import prune_to_first_token

    checkpoint = job.checkpoint
    trim = prune_to_first_token if _reads_first_token(checkpoint) else _as_it_is
    with step("graph") as note:
        model = build_graph(checkpoint)
        note(f"{checkpoint.config['num_hidden_layers']} layers, hidden {checkpoint.config['hidden_size']}")
    if job.verify and not has_optimum_extra():
        write_graph(model, scratch / OWN_REFERENCE)
    return {
        "fp32": partial(_told, job, "fp32", lambda: trim(model)),
        "fp16": partial(_told, job, "fp16", lambda: to_float16(trim(model))),
        "int8": partial(_fit, job, model, scratch),
    }


def _fit(job: ExportJob, model: "ModelProto", scratch: Path) -> "ModelProto":
    """The int8 graph, fitted to the calibration texts."""
    from embedge_export.bundle_files import write_tokenizer
    from embedge_export.graph.prune import prune_to_first_token, with_split_layers
    from embedge_export.int8.calibrate import calibrate
    from embedge_export.int8.calibration_texts import MIN_TEXTS, calibration_texts
    from embedge_export.int8.quantise import quantise
    from embedge_export.int8.smooth import smooth

    checkpoint, own_texts = job.checkpoint, job.calibration is not None and job.calibration.file is not None
    with step("calibrate") as note:
        activations = calibrate(
            model,
            job.calibration_texts,
            tokenizer=write_tokenizer(checkpoint, scratch),
            max_tokens=checkpoint.max_tokens,
            truncation_side=checkpoint.truncation_side,
            min_distinct=MIN_TEXTS if own_texts else 1,
            range_texts=calibration_texts()[0] if own_texts else (),
        )
        note(f"{len(job.calibration_texts)} texts")
    with step("smooth") as note:
        smoothed, activations = smooth(model, activations)
        note("activations into weights")
    if _reads_first_token(checkpoint):
        smoothed, activations = prune_to_first_token(smoothed), with_split_layers(activations)
    return _told(job, "int8", partial(quantise, smoothed, activations))


def _reads_first_token(checkpoint: Checkpoint) -> bool:
    """Whether nothing reads the last layer's other tokens."""
    heads = (checkpoint.sparse_head, checkpoint.multi_vector_head)
    return checkpoint.pooling == "cls" and heads == (None, None)


def _as_it_is(model: "ModelProto") -> "ModelProto":
    return model


def _traced(job: ExportJob, scratch: Path) -> Mapping[Precision, Callable[[], "ModelProto"]]:
    from embedge_export.optimum.trace import trace
    from embedge_export.optimum.traced_graph import convert_traced, fuse_traced

    with step("trace") as note:
        model = fuse_traced(trace(job.checkpoint, scratch / TRACED), job.checkpoint)
        note(f"{len(model.graph.node)} nodes after fusion")
    return {name: partial(_told, job, name, partial(convert_traced, model, precision=name)) for name in PRECISIONS}


def _told(job: ExportJob, precision: Precision, make: Callable[[], "ModelProto"]) -> "ModelProto":
    """Makes a graph, and tells its size and how long it took."""
    with step(precision) as note:
        model = make()
        note(f"{sum(len(tensor.raw_data) for tensor in model.graph.initializer) / 1e6:.1f} MB")
    return model
