"""Turns a checkpoint into one graph for each precision.

The native exporter builds a float32 graph, and for int8 calibrates, smooths and quantises it. The optimum exporter
traces the model in PyTorch.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.bundle.files import delete_existing
from embedge.bundle.manifest import FUSED, GRAPHS, PRECISIONS, Precision
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.job import TRACED, ExportJob
from embedge_export.steps import step

if TYPE_CHECKING:
    from onnx import ModelProto

    from embedge_export.int8.calibrate import Activations


def convert(job: ExportJob, scratch: Path) -> Iterator[tuple[Precision, "ModelProto"]]:
    """Yield a graph for each precision of the job. All of them start from one float32 graph.

    ``scratch`` is a folder for files that nobody needs later.
    """
    builders = _native_builders(job, scratch) if job.exporter == "native" else _traced_builders(job, scratch)
    for precision in job.precisions:
        yield precision, builders[precision]()


def write_fused_graph(job: ExportJob, folder: Path, precision: Precision) -> None:
    """Write the fused graph beside a graph that has just been written to a bundle's folder.

    A bundle has none of a traced graph, or of a graph that the operators cannot express: see ``int8.fuse``.
    """
    path = delete_existing(folder / FUSED[precision])
    if job.exporter != "native":
        return
    from embedge_export.int8.write_fused import write_fused

    with step("fuse") as note:
        reason = write_fused(folder / GRAPHS[precision], path)
        note(f"no fused graph: {reason}" if reason else f"{path.stat().st_size / 1e3:.0f} kB")


def _native_builders(job: ExportJob, scratch: Path) -> Mapping[Precision, Callable[[], "ModelProto"]]:
    from embedge_export.graph.encoder import build_graph
    from embedge_export.graph.float16 import to_float16
    from embedge_export.graph.prune import prune_to_first_token

    checkpoint = job.checkpoint
    trim = prune_to_first_token if _reads_first_token_only(checkpoint) else _unchanged
    with step("graph") as note:
        model = build_graph(checkpoint)
        note(f"{checkpoint.config['num_hidden_layers']} layers, hidden {checkpoint.config['hidden_size']}")
    return {
        "fp32": partial(_build_logged, "fp32", lambda: trim(model)),
        "fp16": partial(_build_logged, "fp16", lambda: to_float16(trim(model))),
        "int8": partial(_build_int8, job, model, scratch),
    }


def _build_int8(job: ExportJob, model: "ModelProto", scratch: Path) -> "ModelProto":
    """Quantise the float32 graph to int8; its scales are fitted to the calibration texts."""
    from embedge_export.graph.prune import prune_to_first_token, with_split_layers
    from embedge_export.int8.quantise import quantise
    from embedge_export.int8.smooth import smooth

    activations = _calibrate(job, model, scratch)
    with step("smooth") as note:
        smoothed, activations = smooth(model, activations)
        note("activations into weights")
    if _reads_first_token_only(job.checkpoint):
        smoothed, activations = prune_to_first_token(smoothed), with_split_layers(activations)
    return _build_logged("int8", partial(quantise, smoothed, activations))


def _calibrate(job: ExportJob, model: "ModelProto", scratch: Path) -> Mapping[str, "Activations"]:
    """Record the input of every linear layer on the calibration texts.

    The user's own texts may be few or of one kind, so the exporter's texts widen the range of each channel.
    """
    from embedge_export.bundle_files import write_tokenizer
    from embedge_export.int8.calibrate import calibrate
    from embedge_export.int8.calibration_texts import MIN_TEXTS, calibration_texts

    checkpoint = job.checkpoint
    has_user_texts = job.calibration is not None and job.calibration.file is not None
    with step("calibrate") as note:
        activations = calibrate(
            model,
            job.calibration_texts,
            tokenizer=write_tokenizer(checkpoint, scratch),
            max_tokens=checkpoint.max_tokens,
            truncation_side=checkpoint.truncation_side,
            min_distinct=MIN_TEXTS if has_user_texts else 1,
            range_texts=calibration_texts()[0] if has_user_texts else (),
        )
        note(f"{len(job.calibration_texts)} texts")
    return activations


def _reads_first_token_only(checkpoint: Checkpoint) -> bool:
    """Whether pooling and heads use only the first token of the last layer, so that the graph can drop the others."""
    heads = (checkpoint.sparse_head, checkpoint.multi_vector_head)
    return checkpoint.pooling == "cls" and heads == (None, None)


def _unchanged(model: "ModelProto") -> "ModelProto":
    return model


def _traced_builders(job: ExportJob, scratch: Path) -> Mapping[Precision, Callable[[], "ModelProto"]]:
    from embedge_export.optimum.trace import trace
    from embedge_export.optimum.traced_graph import convert_traced, fuse_traced

    with step("trace") as note:
        model = fuse_traced(trace(job.checkpoint, scratch / TRACED), job.checkpoint)
        note(f"{len(model.graph.node)} nodes after fusion")
    return {name: partial(_build_logged, name, partial(convert_traced, model, precision=name)) for name in PRECISIONS}


def _build_logged(precision: Precision, build: Callable[[], "ModelProto"]) -> "ModelProto":
    """Build a graph, and log its size and the time it took."""
    with step(precision) as note:
        model = build()
        note(f"{sum(len(tensor.raw_data) for tensor in model.graph.initializer) / 1e6:.1f} MB")
    return model
