"""Choose what a graph is compared with, compute its results, and drop it before a graph of the bundle is opened.

1. The checkpoint's own model, run by transformers, if the extra ``optimum`` is installed and memory suffices.
2. Else the checkpoint's own layers, one after the other, by numpy: this needs the memory of one layer.
3. Else, if the checkpoint is not there (``embedge verify``), the bundle's own fp32 graph.

The first two share no code with the exporter's graphs. ``embedge verify --optimum`` asks for another one, the graph
that optimum traces: it takes more memory and time, and its results are those of transformers.
"""

import tempfile
from pathlib import Path

from embedge.bundle.directory import Bundle
from embedge.errors import CheckpointError
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.existing import hash_matches
from embedge_export.extras import has_optimum_extra
from embedge_export.graph.encoder_config import read_encoder_config
from embedge_export.verify.measure import texts_of
from embedge_export.verify.measure_scores import question_pairs
from embedge_export.verify.memory import available_memory, fits
from embedge_export.verify.numpy_reference import NumpyReference
from embedge_export.verify.padded_batches import pad_token_id, token_ids
from embedge_export.verify.passages import passages
from embedge_export.verify.reference import Computes, Expected, Reference
from embedge_export.verify.traced_reference import TracedReference
from embedge_export.verify.transformers_reference import TransformersReference

_FP32_GRAPH = "fp32 graph"  # the name of the native fp32 graph in a quality report


def is_itself(expected: Expected, precision: str) -> bool:
    """Return whether a bundle's graph of this precision is the reference itself."""
    return expected.name == _FP32_GRAPH and precision == "fp32"


def expected_of_checkpoint(checkpoint: Checkpoint, bundle: Bundle, *, scratch: Path | None = None) -> Expected:
    """Return what a checkpoint gives for the texts of verify (1 or 2).

    Args:
        checkpoint: the checkpoint.
        bundle: what was exported from it; its tokenizer is used.
        scratch: a folder for temporary files, which may be as large as the checkpoint; None is the system's.

    Raises:
        CheckpointError: the checkpoint cannot be read or run.
        MissingExtraError: only transformers knows the architecture, and the extra ``optimum`` is not installed.
    """
    with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as folder:
        return _expected(reference_of_checkpoint(checkpoint, bundle, Path(folder)), bundle)


def reference_of_checkpoint(checkpoint: Checkpoint, bundle: Bundle, scratch: Path) -> Computes:
    """Return the reference that computes what a checkpoint gives (1 or 2); ``scratch`` is a folder for its files."""
    by_transformers = has_optimum_extra() and fits(checkpoint, available=available_memory())
    if _numpy_knows(checkpoint) and not by_transformers:
        return NumpyReference(checkpoint)
    return TransformersReference(checkpoint, pad_id=pad_token_id(bundle), scratch=scratch)


def _numpy_knows(checkpoint: Checkpoint) -> bool:
    """Whether the layers are those of ``NumpyReference``: the architecture, and its variant."""
    try:
        read_encoder_config(checkpoint)
    except CheckpointError:
        return False
    return True


def expected_of_bundle(bundle: Bundle, *, checkpoint: str | None, cache: Path, traced: bool = False) -> Expected | None:
    """Return what a bundle is compared with; None if there is nothing.

    Args:
        bundle: the bundle to verify.
        checkpoint: the directory of its checkpoint; None looks for the checkpoint by its name, without the network.
        cache: embedge's cache folder.
        traced: whether optimum's trace of the checkpoint is the reference.

    Raises:
        CheckpointError: ``checkpoint`` is given, and the bundle was not made from it; or ``traced``, and there is none.
        MissingExtraError: ``traced``, or only transformers knows the architecture of the given ``checkpoint``, and the
            extra ``optimum`` is missing.
    """
    local = _find_checkpoint(bundle, checkpoint, cache)
    if traced:
        return _expected_of_trace(local, bundle)
    if local is not None and (checkpoint or _numpy_knows(local) or has_optimum_extra()):
        return expected_of_checkpoint(local, bundle)
    if "fp32" not in bundle.manifest.precisions:
        return None
    return _expected(Reference(bundle.graph("fp32"), _FP32_GRAPH, pad_id=pad_token_id(bundle)), bundle)


def _expected_of_trace(checkpoint: Checkpoint | None, bundle: Bundle) -> Expected:
    if checkpoint is None:
        raise CheckpointError(
            f"the checkpoint of {bundle.path} is not on this machine, and optimum traces a checkpoint; "
            "run `embedge verify` with --checkpoint DIR"
        )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        reference = TracedReference(checkpoint, pad_id=pad_token_id(bundle), scratch=Path(scratch))
        return _expected(reference, bundle)


def _expected(reference: Computes, bundle: Bundle) -> Expected:
    texts = question_pairs(passages()) if bundle.manifest.task == "rerank" else texts_of(bundle)
    ids = token_ids(bundle, texts)
    return Expected(reference.name, ids, reference.outputs(ids, bundle.manifest.outputs))


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
