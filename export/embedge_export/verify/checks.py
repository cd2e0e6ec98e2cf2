"""Verify graphs: each must run, and must be as near to its reference as its floor asks."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from embedge import Embedder, Reranker
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Manifest, Precision, PrecisionRecord, Quality
from embedge.errors import BundleError, MissingExtraError, QualityError
from embedge.inference.errstate import own_errstate
from embedge_export.int8.fuse import why_not_fused
from embedge_export.job import ExportJob
from embedge_export.steps import step
from embedge_export.verify.compare_fused import compare_fused
from embedge_export.verify.find_reference import expected_of_bundle, expected_of_checkpoint, is_itself
from embedge_export.verify.floors import below_floor, check_batch_difference, check_floors, check_fused_floors
from embedge_export.verify.measure import agreement, measure, with_batch_difference
from embedge_export.verify.mend import mend
from embedge_export.verify.reference import Expected


@own_errstate
def verify_export(job: ExportJob, bundle: Bundle, scratch: Path) -> Manifest:
    """Verify the precisions of an export that is not yet in its place; return the manifest with their quality.

    An int8 graph that is below its floor is mended first, which changes its files. What is still below its floor is
    in the records' ``below_floor``; the caller decides.

    Args:
        job: the export.
        bundle: what it wrote.
        scratch: a folder for temporary files.

    Raises:
        QualityError: a graph cannot be used, or its results change with the batch.
    """
    with step("reference") as note:
        expected = expected_of_checkpoint(job.checkpoint, bundle, scratch=scratch)
        note(expected.name)
    for precision in job.precisions:
        bundle = _verify_new(job, bundle, precision, expected)
    if "int8" in job.precisions and bundle.fused_graph("int8") is not None:
        _verify_fused_logged(bundle)
    return bundle.manifest


def _verify_new(job: ExportJob, bundle: Bundle, precision: Precision, expected: Expected) -> Bundle:
    """Return the bundle with the quality of a precision in its manifest; see ``verify_export``."""
    model = open_checked(bundle, precision)
    with step("verify") as note:
        quality = agreement(model, expected)
        note(f"{precision}: {_cosines(quality)}")
    misses = below_floor(bundle.manifest, precision, quality)
    record = bundle.manifest.precisions[precision]
    if misses and precision == "int8" and record.exporter == "native":
        del model
        with step("mend") as note:
            bundle, quality = mend(job, bundle, quality, lambda mended: agreement(_open(mended, "int8"), expected))
            record = bundle.manifest.precisions[precision]
            assert record.mended is not None  # ``mend`` sets it
            note(f"rows of 16 bits in {len(record.mended.fine_rows)} linear layers: {_cosines(quality)}")
            note(f"{record.mended.added / 1e3:+.0f} kB")
            note(f"no fused graph: {why_not_fused(onnx.load(bundle.graph('int8'), load_external_data=False))}")
        misses, model = below_floor(bundle.manifest, precision, quality), open_checked(bundle, precision)
    with step("batches") as note:
        quality = with_batch_difference(model, quality)
        note(f"{precision}: a result changes by {quality.batch_difference:.2g} with its batch")
    check_batch_difference(bundle.manifest, precision, quality)
    return with_record(bundle, precision, replace(record, quality=quality, below_floor=misses))


def with_record(bundle: Bundle, precision: Precision, record: PrecisionRecord) -> Bundle:
    """Return a bundle with another record of a precision in its manifest; no file is written."""
    records = {**bundle.manifest.precisions, precision: record}
    return Bundle(bundle.path, replace(bundle.manifest, precisions=records))


def _cosines(quality: Quality) -> str:
    return f"cosine {quality.cosine_mean:.5f} mean, {quality.cosine_min:.5f} min"


def verify_bundle(
    bundle: Bundle, *, checkpoint: str | None, cache: Path, traced: bool = False
) -> Iterator[tuple[Precision, Quality | None]]:
    """Verify a bundle again: yield each precision with its quality, or with None if it has no reference.

    The reference is the checkpoint itself if it is on this machine, else the bundle's own fp32 graph, which itself has
    no reference then.

    Args:
        bundle: the bundle; the hashes of its files have been checked.
        checkpoint: the directory of its checkpoint; None looks for the checkpoint by its name, without the network.
        cache: embedge's cache folder.
        traced: compare with optimum's trace of the checkpoint.

    Raises:
        QualityError: a graph cannot be used, or is below its floor, or below the quality that was accepted.
        CheckpointError: ``checkpoint`` is given, and the bundle was not made from it.
        MissingExtraError: ``checkpoint`` is given, only transformers knows it, and the extra is not installed.
    """
    expected = expected_of_bundle(bundle, checkpoint=checkpoint, cache=cache, traced=traced)
    for name in bundle.manifest.precisions:
        precision = bundle.pick_precision(name)
        yield precision, _verify(bundle, precision, expected)


@own_errstate
def verify_fused(bundle: Bundle) -> Quality | None:
    """Compare a bundle's fused int8 graph with the plain one; return None if it has none.

    Raises:
        QualityError: it is below its floor, or its results change with the batch.
        MissingExtraError: embedge-kernels is not installed.
        CheckpointError: embedge-kernels cannot be loaded, or ONNX Runtime cannot run a graph.
    """
    quality = compare_fused(bundle)
    if quality is not None:
        check_fused_floors(bundle.manifest, quality)
    return quality


def _verify_fused_logged(bundle: Bundle) -> None:
    with step("verify") as note:
        try:
            quality = verify_fused(bundle)
        except MissingExtraError as error:
            note(f"int8 fused: not compared: {error}")
        else:
            assert quality is not None  # the bundle has a fused graph
            note(f"int8 fused: cosine to the plain graph {quality.cosine_mean:.5f} mean, {quality.cosine_min:.5f} min")


@own_errstate  # here, not around the yield above, where it would change the caller's settings, too
def _verify(bundle: Bundle, precision: Precision, expected: Expected | None) -> Quality | None:
    """Return the quality of a precision, after its floor was checked; None if it has no reference.

    The runtime opens the graph once, for the first run and for all figures.
    """
    model = open_checked(bundle, precision)
    if expected is None or is_itself(expected, precision):
        return None
    quality = measure(model, expected)
    check_floors(bundle.manifest, precision, quality)
    return quality


def open_checked(bundle: Bundle, precision: Precision) -> Embedder | Reranker:
    """Open a graph of a bundle, and run it on a few texts.

    Raises:
        QualityError: the graph cannot be opened, gives a number that is not finite, or gives no unit vectors.
    """
    remedy = "run `embedge export` with --precision fp32, or get the checkpoint again"
    try:
        model = _open(bundle, precision)
        vectors = _run(model)
    except BundleError as error:  # the runtime checks each output of a graph, and raises this
        fact = str(error).partition("; ")[0]
        raise QualityError(f"{bundle.manifest.model} {precision} cannot be used: {fact}; {remedy}") from error
    if not all(map(_are_unit, vectors)):
        raise QualityError(
            f"{bundle.manifest.model} {precision} does not give unit vectors: its weights are empty; {remedy}"
        )
    return model


def _open(bundle: Bundle, precision: Precision) -> Embedder | Reranker:
    kind = Reranker if bundle.manifest.task == "rerank" else Embedder
    # The plain graph: what a manifest records must not depend on whether this machine has the kernels.
    return kind(bundle.path, precision=precision, kernels=False)


def _run(model: Embedder | Reranker) -> list[NDArray[np.float32]]:
    """Compute everything that a graph gives; return the vectors, which must have length 1."""
    if isinstance(model, Reranker):
        model.score([("hello", "world"), ("", "")])
        return []
    if model.bundle.manifest.sparse:
        model.encode_sparse(["hello world", "a a a"])
    vectors = [model.encode(["hello world", "", "a a a"], normalize=True, on_truncate="ignore")]
    if model.bundle.manifest.multi_vector:
        vectors += model.encode_multi_vector(["hello world", ""])
    return vectors


def _are_unit(vectors: NDArray[np.float32]) -> bool:
    return np.allclose(np.square(vectors).sum(axis=1), 1, atol=1e-4)
