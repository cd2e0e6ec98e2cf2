"""Choose at export the scale or the zero point of the int8 rows that enter a linear layer.

A dynamic scale is computed for each row as it arrives; a static scale is known at export, one for all rows of a layer.
The rows from a layer normalisation have nearly the same length and, after smoothing, nearly the same largest value. So
one static scale can fit them all. It saves time: no node looks for a row's maximum or multiplies by it, and the matrix
product adds the bias. A static scale does not depend on the batch, as a row's dynamic scale does not. A value beyond
the range seen in calibration is clipped.
"""

import numpy as np
from numpy.typing import NDArray

from embedge_export.int8.moments import Activations

# GELU(x) = x * Phi(x) has its minimum, -0.16997, at x = -0.7518. The tanh approximation's is -0.17004.
GELU_DEPTH = np.float32(0.1701)
# The most rounding noise that a static scale may cause, as a multiple of the noise with dynamic scales. With 2.25, 7 of
# the 12 layers behind a normalisation in all-MiniLM-L6-v2 get a static scale (theirs is 1.3 to 2.1, that of the others
# 2.4 to 3.0). Cosine to float32 on the test sentences of STS-B: 0.99934 on average and 0.9970 at worst with 2.25,
# 0.99939 and 0.9971 without static scales, 0.99931 and 0.9966 with 2.5.
MAX_STATIC_NOISE = 2.25


def static_scale(activations: Activations) -> np.float32 | None:
    """Return one scale for all rows of a layer, or None if the rows need dynamic scales.

    The noise of rounding is proportional to the square of the scale (uniform quantisation noise: step² / 12).

    Args:
        activations: the layer's activations. The scale covers the range of all rows; the noise is compared on the
            recorded rows.

    >>> rows = np.float32([[1, -127], [0, 100]])
    >>> ends = {"lowest": rows.min(axis=0), "highest": rows.max(axis=0)}
    >>> activations = Activations(mean=rows.mean(axis=0), covariance=np.eye(2, dtype=np.float32), rows=rows, **ends)
    >>> float(static_scale(activations))
    1.0
    """
    largest = float(max(np.abs(activations.lowest).max(), np.abs(activations.highest).max()))
    dynamic_noise = np.square(np.abs(activations.rows).max(axis=1), dtype=np.float64).mean()
    return np.float32(largest / 127) if 0 < largest**2 <= MAX_STATIC_NOISE * dynamic_noise else None


def choose_zero_point(highest: NDArray[np.float32]) -> int:
    """Return the zero point, one for all rows of a layer behind GELU, that causes the least rounding noise.

    Each row has a dynamic scale. It must be large enough for the row's largest value, which is coded above the zero
    point, and for the minimum of GELU, which is coded below.

    Args:
        highest: the largest value of each of some rows, [n].

    >>> choose_zero_point(np.float32([3, 3])), choose_zero_point(np.float32([0.2, 0.2]))
    (14, 117)
    """

    def noise(zero_point: int) -> float:
        scales = np.maximum(highest / (255 - zero_point), GELU_DEPTH / zero_point)
        return float(np.square(scales, dtype=np.float64).mean())

    return min(range(1, 128), key=noise)
