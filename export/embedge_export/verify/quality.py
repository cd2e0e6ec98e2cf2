"""A bundle against its reference: near enough or an error."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedge import Embedder, Reranker
from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import Manifest, Precision, Quality
from embedge.errors import BundleError, CheckpointError, QualityError
from embedge.inference.errstate import own_errstate
from embedge_export.checkpoint.fetch import Fetched, fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.recipe import Floor, find_recipe
from embedge_export.existing import hash_matches
from embedge_export.extras import has_optimum_extra, require_optimum_extra
from embedge_export.job import OWN_REFERENCE, TRACED, ExportJob
from embedge_export.optimum.trace import trace, traced_by
from embedge_export.steps import step
from embedge_export.verify.measure import measure
from embedge_export.verify.reference import Reference
from embedge_export.verify.token_head import read_head

# Of a native graph, where its recipe sets none.
FLOORS: Mapping[Precision, Floor] = {
    "fp32": Floor(0.999999, 0.99999),
    "fp16": Floor(0.9999, 0.999),
    "int8": Floor(0.999, 0.995),
}
# A reranker's is the cosine of a question's scores, about their mean. That of the published ones is yet to be measured.
RERANK_FLOORS: Mapping[Precision, Floor] = {**FLOORS, "int8": Floor(0.995, 0.98)}
# Of lexical weights, how far they agree; MiniLM's with random heads do by 0.9994 on average and 0.995 at worst. That of
# the published ones is yet to be measured.
LEXICAL_FLOORS: Mapping[Precision, Floor] = {**FLOORS, "int8": Floor(0.995, 0.97)}
# Of multi-vectors, the cosine of a token's; MiniLM's with a random head have 0.9993 on average and 0.9977 at worst.
# That of the published ones is yet to be measured.
MULTI_VECTOR_FLOORS: Mapping[Precision, Floor] = {**FLOORS, "int8": Floor(0.998, 0.99)}
# Other tools' int8 has one scale for a whole batch, and is fitted to nothing.
TRACED_FLOORS: Mapping[Precision, Floor] = {**FLOORS, "int8": Floor(0.99, 0.97)}


def verified(job: ExportJob, bundle: Bundle, scratch: Path) -> Manifest:
    """The manifest of a new bundle with the quality of every precision of the job.

    Raises:
        QualityError: one is below its floor.
    """
    with step("reference") as note:
        reference = _reference(job, scratch)
        note(reference.name if reference else "none: fp32 alone has none without `pip install 'embedge[optimum]'`")
    for precision in job.precisions:
        check_runs(bundle, precision)
    records = dict(bundle.manifest.precisions)
    for precision in job.precisions if reference else ():
        if reference is None or reference.name == f"{precision} graph":
            continue
        with step("verify") as note:
            quality = measure(bundle, precision, reference)
            note(f"{precision}: cosine {quality.cosine_mean:.5f} mean, {quality.cosine_min:.5f} min")
        check_floor(bundle.manifest, precision, quality)
        records[precision] = replace(records[precision], quality=quality)
    return replace(bundle.manifest, precisions=records)


def _reference(job: ExportJob, scratch: Path) -> Reference | None:
    """Optimum's trace where it is installed, else the native fp32 graph, which itself then has no reference."""
    if has_optimum_extra():
        return traced_reference(job.checkpoint, scratch / TRACED)
    if job.precisions == ("fp32",):
        return None
    return _with_heads(scratch / OWN_REFERENCE, "fp32 graph", job.checkpoint)


def check_runs(bundle: Bundle, precision: Precision) -> None:
    """Raises QualityError where a graph gives numbers that are not finite, or no unit vectors of the dimension."""
    mend = "export --precision fp32, or get the checkpoint again"
    try:
        are_unit = _run(bundle, precision)
    except BundleError as error:  # the session's; of the other outputs of a graph, too
        fact = str(error).partition("; ")[0]
        raise QualityError(f"{bundle.manifest.model} {precision} cannot be used: {fact}; {mend}") from error
    if not are_unit:
        raise QualityError(
            f"{bundle.manifest.model} {precision} does not give unit vectors: its weights are empty; {mend}"
        )


def _run(bundle: Bundle, precision: Precision) -> bool:
    """Runs all that a graph gives, which the session looks at; whether vectors are unit vectors."""
    if bundle.manifest.task == "rerank":
        Reranker(bundle.path, precision=precision).score([("hello", "world"), ("", "")])
        return True
    model = Embedder(bundle.path, precision=precision)
    if bundle.manifest.sparse:
        model.encode_sparse(["hello world", "a a a"])
    found = [model.encode(["hello world", "", "a a a"], normalize=True, on_truncate="ignore")]
    if bundle.manifest.multi_vector:
        found += model.encode_multi_vector(["hello world", ""])
    return all(map(_are_unit, found))


def _are_unit(vectors: NDArray[np.float32]) -> bool:
    return np.allclose(np.square(vectors).sum(axis=1), 1, atol=1e-4)


def floor_of(manifest: Manifest, precision: Precision) -> Floor:
    """What a graph of a bundle must reach: its recipe's floor, else that of every native export, or of traced ones."""
    if manifest.precisions[precision].exporter == "optimum":
        return TRACED_FLOORS[precision]
    recipe = find_recipe(manifest.source.hub_id) if manifest.source.hub_id else None
    usual = RERANK_FLOORS if manifest.task == "rerank" else FLOORS
    return (recipe.floors.get(precision) if recipe else None) or usual[precision]


def check_floor(manifest: Manifest, precision: Precision, quality: Quality) -> None:
    """Raises QualityError where a graph is further from its reference than its floors allow, or minds its batch."""
    floor, native = floor_of(manifest, precision), manifest.precisions[precision].exporter == "native"
    # Asked this way round, NaN fails.
    if not (quality.cosine_mean >= floor.mean and quality.cosine_min >= floor.minimum):
        raise QualityError(
            f"{manifest.model} {precision}: cosine to {quality.reference} is {quality.cosine_mean:.5f} on average and "
            f"{quality.cosine_min:.5f} at worst, the floor is {floor.mean} and {floor.minimum}; "
            f"{_ways(manifest, precision)}"
        )
    _check_of_tokens(manifest, precision, quality)
    if native and precision != "fp16" and quality.batch_difference:
        raise QualityError(
            f"{manifest.model} {precision}: a text's vector changes by {quality.batch_difference:.1e} with what else "
            "is in its batch; this is a bug in embedge or ONNX Runtime, please report it with `embedge info`"
        )


def _check_of_tokens(manifest: Manifest, precision: Precision, quality: Quality) -> None:
    """The same of lexical weights and multi-vectors, where there are such."""
    measured = (
        ("lexical weights agree with those of", quality.lexical_mean, quality.lexical_min, LEXICAL_FLOORS),
        ("multi-vectors agree with those of", quality.multi_vector_mean, quality.multi_vector_min, MULTI_VECTOR_FLOORS),
    )
    for agree_with, mean, least, floors in measured:
        floor = floors[precision]
        if mean is not None and least is not None and not (mean >= floor.mean and least >= floor.minimum):
            raise QualityError(
                f"{manifest.model} {precision}: {agree_with} {quality.reference} by {mean:.5f} on average and "
                f"{least:.5f} at worst, the floor is {floor.mean} and {floor.minimum}; {_ways(manifest, precision)}"
            )


def _ways(manifest: Manifest, precision: Precision) -> str:
    """What may be done about a graph below its floor."""
    record = manifest.precisions[precision]
    ways = "or `embedge export` --precision fp32"
    if record.exporter != "native" or precision != "int8":
        return ways.removeprefix("or ")
    if record.quality is not None or record.calibration is None:  # it is verified again, or by a newer exporter
        return f"`embedge export` it with --force, {ways}"
    if record.calibration.file is not None:
        return f"`embedge export` without --calibration, or with texts of more kinds, {ways}"
    return f"`embedge export --calibration FILE` with texts like your own may mend it, {ways}"


def traced_reference(checkpoint: Checkpoint, folder: Path) -> Reference:
    """The reference that optimum traces, its file in ``folder``."""
    return _with_heads(trace(checkpoint, folder), traced_by(), checkpoint)


def _with_heads(graph: Path, name: str, checkpoint: Checkpoint) -> Reference:
    """A graph of the checkpoint's encoder, and the layers beside it as they are."""
    sparse = read_head(checkpoint, checkpoint.sparse_head, outputs=1)
    multi_vector = read_head(checkpoint, checkpoint.multi_vector_head, outputs=checkpoint.dimension)
    return Reference(graph, name, sparse=sparse, multi_vector=multi_vector)


def reverify(bundle: Bundle, *, checkpoint: str | None, cache: Path) -> Iterator[tuple[Precision, Quality | None]]:
    """Measure every precision of a bundle anew, where its reference can be had, and hold it to the floor.

    The reference is optimum's trace where the optimum extra is installed and the checkpoint is on this machine, else
    the bundle's own fp32 graph; None where there is neither, or where it would be compared to itself.

    Args:
        bundle: whose hashes have been checked.
        checkpoint: directory of the checkpoint it was made from; None looks it up by name, without the network.
        cache: embedge's cache folder.

    Raises:
        QualityError: a graph is below its floor.
        CheckpointError: ``checkpoint`` is given and is not what the bundle was made from.
        MissingExtraError: ``checkpoint`` is given and optimum is not installed.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        reference = _find_reference(bundle, checkpoint, cache, Path(folder))
        for name in bundle.manifest.precisions:
            precision = bundle.pick_precision(name)
            yield precision, _measured(bundle, precision, reference)


@own_errstate  # and not over the yield above, where it would be the caller's, too
def _measured(bundle: Bundle, precision: Precision, reference: Reference | None) -> Quality | None:
    """The quality of a precision, held to its floor; None where there is nothing else to compare it with."""
    check_runs(bundle, precision)
    if reference is None or reference.name == f"{precision} graph":
        return None
    quality = measure(bundle, precision, reference)
    check_floor(bundle.manifest, precision, quality)
    return quality


def _find_reference(bundle: Bundle, given: str | None, cache: Path, folder: Path) -> Reference | None:
    if given is not None:
        require_optimum_extra()
    found = _find_checkpoint(bundle, given, cache) if has_optimum_extra() else None
    if found is not None:
        return traced_reference(found, folder)
    return Reference(bundle.graph("fp32"), "fp32 graph") if "fp32" in bundle.manifest.precisions else None


def _find_checkpoint(bundle: Bundle, given: str | None, cache: Path) -> Checkpoint | None:
    """The checkpoint that a bundle was made from, if it is on this machine."""
    source = bundle.manifest.source
    try:
        fetched = _fetch_local(given or source.hub_id, cache)
        found = read_checkpoint(fetched, pooling=bundle.manifest.pooling) if fetched else None
    except CheckpointError:
        if given:
            raise
        return None
    if found is None or hash_matches(bundle.manifest, found):
        return found
    if given:
        raise CheckpointError(f"{given} is not the checkpoint of {bundle.path}: its files differ")
    return None


def _fetch_local(source: str | None, cache: Path) -> Fetched | None:
    return None if source is None else fetch(source, cache=cache, local_files_only=True)
