"""figures.py: the share of the ten best passages, and the rounding of figures."""

import numpy as np

from embedge_export.verify.figures import quality_of, top_overlap


def test_the_overlap_is_the_share_of_the_references_ten_best() -> None:
    """The second question has half of them; passages with the same score count in their order."""
    expected = np.tile(-np.arange(20.0), (2, 1))
    actual = expected.copy()
    actual[1, :5] -= 100
    assert top_overlap(actual, expected) == 0.75
    assert top_overlap(np.zeros((1, 20)), expected[:1]) == 1


def test_figures_are_rounded_to_the_digits_of_a_manifest() -> None:
    quality = quality_of(np.array([0.123456789, 1.0]), reference="r", texts=2, overlap=1.0, difference=0.123456)
    assert (quality.cosine_min, quality.max_abs_difference) == (0.1234568, 0.123)
