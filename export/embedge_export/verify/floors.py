"""The quality floors: the least cosine to its reference that a graph of a bundle may have."""

from collections.abc import Iterator, Mapping, Sequence

from embedge.bundle.manifest import BelowFloor, Manifest, Precision, Quality, Task
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
_MAIN_OUTPUTS: Mapping[Task, str] = {"embed": "vectors", "rerank": "scores"}
_SLACK = 1.25  # of an accepted quality's distance from 1, when it is measured again
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


def below_floor(manifest: Manifest, precision: Precision, quality: Quality) -> tuple[BelowFloor, ...]:
    """Return the outputs whose quality is below their floor.

    Where the manifest records that a lower quality was accepted, that is the floor: see ``_accepted``.
    """
    return tuple(
        BelowFloor(output=output, mean=mean, minimum=minimum, floor_mean=floor.mean, floor_minimum=floor.minimum)
        for output, mean, minimum, floor in _figures(manifest, precision, quality)
        if not _reaches(floor, mean, minimum)
    )


def check_floors(manifest: Manifest, precision: Precision, quality: Quality) -> None:
    """Check a quality report.

    Raises:
        QualityError: a figure is below its floor, or the results of a native int8 or fp32 graph change with the batch.
    """
    for miss in below_floor(manifest, precision, quality):
        raise QualityError(f"{describe_miss(manifest, precision, quality, miss)}; {_remedy(manifest, precision)}")
    check_batch_difference(manifest, precision, quality)


def describe_miss(manifest: Manifest, precision: Precision, quality: Quality, miss: BelowFloor) -> str:
    """Return in words by how much an output is below its floor."""
    found = f"{miss.mean:.5f} on average and {miss.minimum:.5f} at worst"
    floor = f"the floor is {miss.floor_mean:.7g} and {miss.floor_minimum:.7g}"
    if miss.output in _MAIN_OUTPUTS.values():
        return f"{manifest.model} {precision}: cosine to {quality.reference} is {found}, {floor}"
    return f"{manifest.model} {precision}: {miss.output} agree with those of {quality.reference} by {found}, {floor}"


def explain_below_floor(manifest: Manifest, precisions: Sequence[Precision]) -> tuple[list[str], str]:
    """Return what the manifest records as below its floor, in words, and what to run for a better quality."""
    facts, remedy = [], ""
    for precision in precisions:
        record = manifest.precisions[precision]
        if record.quality is not None and record.below_floor:
            facts += [describe_miss(manifest, precision, record.quality, miss) for miss in record.below_floor]
            remedy = remedy or _remedy(manifest, precision, is_new=True)
    return facts, remedy


def check_batch_difference(manifest: Manifest, precision: Precision, quality: Quality) -> None:
    """Check that results do not change with the batch. No option accepts it: it is a bug.

    Raises:
        QualityError: the results of a native int8 or fp32 graph change with the batch.
    """
    native = manifest.precisions[precision].exporter == "native"
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
    for output, mean, minimum, least in _figures(manifest, "int8", quality):
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


def _figures(manifest: Manifest, precision: Precision, quality: Quality) -> Iterator[tuple[str, float, float, Floor]]:
    """Yield the name, the mean, the minimum and the floor of each output that was measured."""
    measured = (
        (_MAIN_OUTPUTS[manifest.task], quality.cosine_mean, quality.cosine_min, floor_of(manifest, precision)),
        ("lexical weights", quality.lexical_mean, quality.lexical_min, LEXICAL_FLOORS[precision]),
        ("multi-vectors", quality.multi_vector_mean, quality.multi_vector_min, MULTI_VECTOR_FLOORS[precision]),
    )
    accepted = {miss.output: miss for miss in manifest.precisions[precision].below_floor}
    for output, mean, minimum, floor in measured:
        if mean is not None and minimum is not None:
            yield output, mean, minimum, _accepted(floor, accepted[output]) if output in accepted else floor


def _accepted(floor: Floor, miss: BelowFloor) -> Floor:
    """Return the floor after a lower quality was accepted.

    Figures differ between processors and versions of ONNX Runtime, so the distance from 1 may grow by a quarter.
    """
    mean, minimum = (1 - (1 - figure) * _SLACK for figure in (miss.mean, miss.minimum))
    return Floor(min(floor.mean, mean), min(floor.minimum, minimum))


def _reaches(floor: Floor, mean: float, minimum: float) -> bool:
    """Return whether neither figure is below the floor. NaN is below: every comparison with it is false."""
    return mean >= floor.mean and minimum >= floor.minimum


def _remedy(manifest: Manifest, precision: Precision, *, is_new: bool = False) -> str:
    """Return the command to run for a graph that is below its floor."""
    record = manifest.precisions[precision]
    command = "run `embedge export`"
    if record.exporter != "native" or precision != "int8":
        return f"{command} with --precision fp32"
    # The bundle was exported before, and is only verified again.
    if not is_new and (record.quality is not None or record.calibration is None):
        return f"{command} with --force, or with --precision fp32"
    if record.calibration is not None and record.calibration.file is not None:
        return f"{command} without --calibration, with more kinds of texts, or with --precision fp32"
    return f"{command} with --calibration FILE and texts like yours, or with --precision fp32"
