"""moments.py, compared with numpy, on more rows than a block and more columns than one."""

import numpy as np
import pytest

from embedge_export.int8.moments import Moments


@pytest.mark.parametrize(("rows", "columns"), [(1, 3), (500, 5), (5000, 7), (9000, 3), (600, 1100)])
def test_the_statistics_are_numpys_in_any_batches(rows: int, columns: int) -> None:
    random = np.random.default_rng(rows)
    values = (random.standard_normal((rows, columns)) * 2 + 5).astype(np.float32)
    moments, start, stride = Moments(3), 0, 3
    while start < rows:
        count = int(random.integers(1, 700))
        moments.add(values[start : start + count])
        start += count
    far = np.full((1, columns), 90, np.float32)
    moments.extend_range(far)
    found = moments.activations()
    exact = values.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.covariance, np.atleast_2d(np.cov(exact.T, bias=True)), atol=2e-4)
    np.testing.assert_allclose(found.covariance, found.covariance.T, atol=1e-5)
    np.testing.assert_array_equal(found.rows, values[::stride])
    np.testing.assert_array_equal(found.lowest, values.min(axis=0))
    np.testing.assert_array_equal(found.highest, far[0])
