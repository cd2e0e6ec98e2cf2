"""Find the graph to compare a bundle with: a trace by optimum, else the native fp32 graph."""

from pathlib import Path

from embedge.bundle.directory import Bundle
from embedge.errors import CheckpointError
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.existing import hash_matches
from embedge_export.extras import has_optimum_extra, require_optimum_extra
from embedge_export.job import OWN_REFERENCE, TRACED, ExportJob
from embedge_export.optimum.trace import trace, tracer_versions
from embedge_export.verify.reference import Reference
from embedge_export.verify.token_head import read_head

_FP32_GRAPH = "fp32 graph"  # the name of the native fp32 graph in a quality report


def is_itself(reference: Reference, precision: str) -> bool:
    """Return whether a bundle's graph of this precision is the reference itself."""
    return reference.name == _FP32_GRAPH and precision == "fp32"


def reference_for_export(job: ExportJob, scratch: Path) -> Reference | None:
    """Return the reference for new graphs: optimum's trace if the extra is installed, else the native fp32 graph.

    Return None without optimum if fp32 is the only precision, because it would be compared with itself.

    Args:
        job: the export.
        scratch: the folder where ``convert`` left the native fp32 graph.
    """
    if has_optimum_extra():
        return traced_reference(job.checkpoint, scratch / TRACED)
    if job.precisions == ("fp32",):
        return None
    return _with_heads(scratch / OWN_REFERENCE, _FP32_GRAPH, job.checkpoint)


def reference_for_bundle(bundle: Bundle, *, checkpoint: str | None, cache: Path, scratch: Path) -> Reference | None:
    """Return the reference for a bundle, or None if there is none.

    It is optimum's trace if the extra is installed and the checkpoint is on this machine, else the bundle's own fp32
    graph.

    Args:
        bundle: the bundle to verify.
        checkpoint: the directory of its checkpoint; None looks for the checkpoint by its name, without the network.
        cache: embedge's cache folder.
        scratch: a folder for the trace.

    Raises:
        CheckpointError: ``checkpoint`` is given, and the bundle was not made from it.
        MissingExtraError: ``checkpoint`` is given, and optimum is not installed.
    """
    if checkpoint is not None:
        require_optimum_extra()
    local = _find_checkpoint(bundle, checkpoint, cache) if has_optimum_extra() else None
    if local is not None:
        return traced_reference(local, scratch)
    return Reference(bundle.graph("fp32"), _FP32_GRAPH) if "fp32" in bundle.manifest.precisions else None


def traced_reference(checkpoint: Checkpoint, folder: Path) -> Reference:
    """Trace a checkpoint with optimum; the traced file goes into ``folder``."""
    return _with_heads(trace(checkpoint, folder), tracer_versions(), checkpoint)


def _with_heads(graph: Path, name: str, checkpoint: Checkpoint) -> Reference:
    """Return a graph of the checkpoint's encoder, with bge-m3's layers as the checkpoint stores them beside it."""
    sparse = read_head(checkpoint, checkpoint.sparse_head, outputs=1)
    multi_vector = read_head(checkpoint, checkpoint.multi_vector_head, outputs=checkpoint.dimension)
    return Reference(graph, name, sparse=sparse, multi_vector=multi_vector)


def _find_checkpoint(bundle: Bundle, given: str | None, cache: Path) -> Checkpoint | None:
    """Return the checkpoint that a bundle was made from, if it is on this machine."""
    source = given or bundle.manifest.source.hub_id
    if source is None:
        return None
    try:
        fetched = fetch(source, cache=cache, local_files_only=True)
        checkpoint = read_checkpoint(fetched, pooling=bundle.manifest.pooling)
    except CheckpointError:
        if given:
            raise
        return None
    if hash_matches(bundle.manifest, checkpoint):
        return checkpoint
    if given:
        raise CheckpointError(f"{given} is not the checkpoint of {bundle.path}: its files differ")
    return None
