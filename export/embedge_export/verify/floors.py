"""The quality floors: the least cosine to its reference that a graph of a bundle may have."""

from collections.abc import Iterator, Mapping

from embedge.bundle.manifest import Manifest, Precision, Quality
from embedge.errors import QualityError
from embedge_export.checkpoint.recipe import Floor, find_recipe

# For the graph of a native export whose recipe sets no floor.
FLOORS: Mapping[Precision, Floor] = {
    "fp32": Floor(0.999999, 0.99999),
    "fp16": Floor(0.9999, 0.999),
    "int8": Floor(0.999, 0.995),
}
# For a reranker, the cosine is between two vectors of scores (see ``measure_scores``). The floor for int8 is an
# estimate: no published reranker has been measured yet.
RERANK_FLOORS: Mapping[Precision, Floor] = {**FLOORS, "int8": Floor(0.995, 0.98)}
# For lexical weights, the floor is on their agreement (see ``lexical_agreement``). With random heads on MiniLM, int8
# has 0.9994 on average and 0.995 at worst. No published model has been measured yet.
LEXICAL_FLOORS: Mapping[Precision, Floor] = {**FLOORS, "int8": Floor(0.995, 0.97)}
# For multi-vectors, the cosine is that of a token's two vectors. With a random head on MiniLM, int8 has 0.9993 on
# average and 0.9977 at worst. No published model has been measured yet.
MULTI_VECTOR_FLOORS: Mapping[Precision, Floor] = {**FLOORS, "int8": Floor(0.998, 0.99)}
# For ``--exporter optimum``: its int8 has one scale for a whole batch and is not calibrated, so it is less precise.
TRACED_FLOORS: Mapping[Precision, Floor] = {**FLOORS, "int8": Floor(0.99, 0.97)}
_REPORT_KERNELS = (
    "this is a bug in embedge or embedge-kernels, please report it with `embedge info`, and run `pip uninstall "
    "embedge-kernels`: the plain graph is not affected"
)


def floor_of(manifest: Manifest, precision: Precision) -> Floor:
    """Return the floor of a graph: its recipe's if that sets one, else the floor of its exporter and task."""
    if manifest.precisions[precision].exporter == "optimum":
        return TRACED_FLOORS[precision]
    recipe = find_recipe(manifest.source.hub_id) if manifest.source.hub_id else None
    default = RERANK_FLOORS if manifest.task == "rerank" else FLOORS
    return (recipe.floors.get(precision) if recipe else None) or default[precision]


def check_floors(manifest: Manifest, precision: Precision, quality: Quality) -> None:
    """Check a quality report.

    Raises:
        QualityError: a figure is below its floor, or the results of a native int8 or fp32 graph change with the batch.
    """
    floor, native = floor_of(manifest, precision), manifest.precisions[precision].exporter == "native"
    if not _reaches(floor, quality.cosine_mean, quality.cosine_min):
        raise QualityError(
            f"{manifest.model} {precision}: cosine to {quality.reference} is {quality.cosine_mean:.5f} on average and "
            f"{quality.cosine_min:.5f} at worst, the floor is {floor.mean} and {floor.minimum}; "
            f"{_remedy(manifest, precision)}"
        )
    _check_token_floors(manifest, precision, quality)
    if native and precision != "fp16" and quality.batch_difference:
        raise QualityError(
            f"{manifest.model} {precision}: a text's vector changes by {quality.batch_difference:.1e} with the other "
            "texts in its batch; this is a bug in embedge or ONNX Runtime, please report it with `embedge info`"
        )


def check_fused_floors(manifest: Manifest, quality: Quality) -> None:
    """Check how the fused int8 graph differs from the plain one: no more than int8 may differ from fp32.

    The two graphs round their rows independently: where a last bit differs, a code may differ, and then all that
    follows. With all-MiniLM-L6-v2, either is 0.9995 from fp32 on average, and they are 0.9996 from each other.

    Raises:
        QualityError: a figure is below its floor, or the results change with the batch.
    """
    floor = floor_of(manifest, "int8")
    figures = [("vectors", quality.cosine_mean, quality.cosine_min, floor), *_token_figures(quality, "int8")]
    for output, mean, minimum, least in figures:
        if not _reaches(least, mean, minimum):
            raise QualityError(
                f"{manifest.model} int8: {output} of the fused graph agree with those of {quality.reference} by "
                f"{mean:.5f} on average and {minimum:.5f} at worst, the floor is {least.mean} and {least.minimum}; "
                f"{_REPORT_KERNELS}"
            )
    if quality.batch_difference:
        raise QualityError(
            f"{manifest.model} int8: what the fused graph gives for a text changes by {quality.batch_difference:.1e} "
            f"with the other texts in its batch; {_REPORT_KERNELS}"
        )


def _check_token_floors(manifest: Manifest, precision: Precision, quality: Quality) -> None:
    """Check the lexical weights and the multi-vectors, if the graph gives them."""
    for output, mean, minimum, floor in _token_figures(quality, precision):
        if not _reaches(floor, mean, minimum):
            raise QualityError(
                f"{manifest.model} {precision}: {output} agree with those of {quality.reference} by {mean:.5f} on "
                f"average and {minimum:.5f} at worst, the floor is {floor.mean} and {floor.minimum}; "
                f"{_remedy(manifest, precision)}"
            )


def _token_figures(quality: Quality, precision: Precision) -> Iterator[tuple[str, float, float, Floor]]:
    """Yield the name, the mean, the minimum and the floor of the outputs of bge-m3's heads that were measured."""
    measured = (
        ("lexical weights", quality.lexical_mean, quality.lexical_min, LEXICAL_FLOORS),
        ("multi-vectors", quality.multi_vector_mean, quality.multi_vector_min, MULTI_VECTOR_FLOORS),
    )
    for output, mean, minimum, floors in measured:
        if mean is not None and minimum is not None:
            yield output, mean, minimum, floors[precision]


def _reaches(floor: Floor, mean: float, minimum: float) -> bool:
    """Return whether neither figure is below the floor. NaN is below: every comparison with it is false."""
    return mean >= floor.mean and minimum >= floor.minimum


def _remedy(manifest: Manifest, precision: Precision) -> str:
    """Return the command to run for a graph that is below its floor."""
    record = manifest.precisions[precision]
    command = "run `embedge export`"
    if record.exporter != "native" or precision != "int8":
        return f"{command} with --precision fp32"
    # The bundle was exported before, and is only verified again.
    if record.quality is not None or record.calibration is None:
        return f"{command} with --force, or with --precision fp32"
    if record.calibration.file is not None:
        return f"{command} without --calibration, with more kinds of texts, or with --precision fp32"
    return f"{command} with --calibration FILE and texts like yours, or with --precision fp32"
