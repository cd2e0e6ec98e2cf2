"""Turns a checkpoint into one graph for each precision, and writes it.

The native exporter builds a float32 graph piece by piece, and for int8 calibrates, smooths and quantises each. The
optimum exporter traces the model in PyTorch.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from embedge.bundle.files import delete_existing
from embedge.bundle.manifest import FUSED, GRAPHS, PRECISIONS, Precision
from embedge_export.checkpoint.read import Checkpoint
from embedge_export.code_version import code_version
from embedge_export.graph.write import write_pieces
from embedge_export.job import TRACED, ExportJob
from embedge_export.steps import step

if TYPE_CHECKING:
    from embedge_export.graph.piece import Piece
    from embedge_export.int8.saved_pieces import SavedPieces
    from embedge_export.int8.text_states import TextStates

Builders = Mapping[Precision, Callable[[], Iterable["Piece"]]]


def convert(job: ExportJob, folder: Path, scratch: Path) -> None:
    """Write a graph for each precision of the job, and its fused graph if it has one, into a bundle's folder.

    ``scratch`` is a folder for files that nobody needs later.
    """
    builders = _native_builders(job, scratch) if job.exporter == "native" else _traced_builders(job, scratch)
    for precision in job.precisions:
        with step(precision) as note:
            size = write_pieces(builders[precision](), folder / GRAPHS[precision])
            note(f"{size / 1e6:.1f} MB")
        if precision in FUSED:
            write_fused_graph(job, folder, precision)


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


def _native_builders(job: ExportJob, scratch: Path) -> Builders:
    from embedge_export.graph.encoder import build_pieces, check_tensors
    from embedge_export.graph.float16 import piece_to_float16
    from embedge_export.graph.prune import prune_piece

    checkpoint = job.checkpoint
    with step("graph") as note:
        check_tensors(checkpoint)
        note(f"{checkpoint.config['num_hidden_layers']} layers, hidden {checkpoint.config['hidden_size']}")

    def float32() -> Iterator["Piece"]:
        pieces = build_pieces(checkpoint)
        return map(prune_piece, pieces) if _reads_first_token_only(checkpoint) else pieces

    return {
        "fp32": float32,
        "fp16": lambda: map(piece_to_float16, float32()),
        "int8": lambda: _int8_pieces(job, scratch),
    }


def _int8_pieces(job: ExportJob, scratch: Path) -> Iterator["Piece"]:
    """Yield the pieces of the int8 graph; its scales are fitted to the calibration texts."""
    from embedge_export.graph.encoder import build_pieces
    from embedge_export.int8.by_layer import quantise_by_layer

    checkpoint = job.checkpoint
    yield from quantise_by_layer(
        build_pieces(checkpoint),
        _calibration_states(job, scratch),
        _saved_pieces(job),
        layers=checkpoint.config["num_hidden_layers"],
        first_token=_reads_first_token_only(checkpoint),
    )


def _saved_pieces(job: ExportJob) -> "SavedPieces":
    """Return the finished int8 pieces of a job, which an export that was stopped left beside its destination."""
    from embedge_export.int8.saved_pieces import SavedPieces

    checkpoint, calibration = job.checkpoint, job.calibration
    made_from = {
        "checkpoint": checkpoint.sha256,
        "max_tokens": checkpoint.max_tokens,
        "truncation_side": checkpoint.truncation_side,
        "first_token": _reads_first_token_only(checkpoint),
        "calibration": (calibration.file, calibration.sha256) if calibration else None,
        "code": code_version(),
    }
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return SavedPieces(_saved_folder(job.destination), key)


def forget_saved_pieces(destination: Path) -> None:
    """Delete the finished pieces that an export left beside its destination, if there are any."""
    if _saved_folder(destination).exists():
        shutil.rmtree(_saved_folder(destination))


def _saved_folder(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.layers")


def _calibration_states(job: ExportJob, scratch: Path) -> "TextStates":
    """Return the calibration texts, ready for the first piece of the graph.

    The user's own texts may be few or of one kind, so the exporter's texts widen the range of each channel.
    """
    from embedge_export.bundle_files import write_tokenizer
    from embedge_export.int8.calibrate import text_states
    from embedge_export.int8.calibration_texts import MIN_TEXTS, calibration_texts

    checkpoint = job.checkpoint
    has_user_texts = job.calibration is not None and job.calibration.file is not None
    return text_states(
        job.calibration_texts,
        tokenizer=write_tokenizer(checkpoint, scratch),
        max_tokens=checkpoint.max_tokens,
        truncation_side=checkpoint.truncation_side,
        min_distinct=MIN_TEXTS if has_user_texts else 1,
        range_texts=calibration_texts()[0] if has_user_texts else (),
        scratch=scratch,
    )


def _reads_first_token_only(checkpoint: Checkpoint) -> bool:
    """Whether pooling and heads use only the first token of the last layer, so that the graph can drop the others."""
    heads = (checkpoint.sparse_head, checkpoint.multi_vector_head)
    return checkpoint.pooling == "cls" and heads == (None, None)


def _traced_builders(job: ExportJob, scratch: Path) -> Builders:
    from embedge_export.graph.piece import whole
    from embedge_export.optimum.trace import trace
    from embedge_export.optimum.traced_graph import convert_traced, fuse_traced

    with step("trace") as note:
        model = fuse_traced(trace(job.checkpoint, scratch / TRACED), job.checkpoint)
        note(f"{len(model.graph.node)} nodes after fusion")

    def builder(precision: Precision) -> Callable[[], Iterable["Piece"]]:
        return lambda: [whole(convert_traced(model, precision, scratch))]

    return {precision: builder(precision) for precision in PRECISIONS}
