"""What of a linear layer's int8 rows can be settled at export: a scale for all of them, or the zero point of GELU's.

What layer normalisation gives has rows of nearly the same length and, smoothed, nearly the same reach. With one scale
for all of them, known at export, nothing looks for a row's maximum, nothing multiplies by it, and the product adds the
bias. A text's vector depends on its batch as little as before. A value beyond the reach is rounded to it.
"""

import numpy as np
from numpy.typing import NDArray

from embedge_export.int8.calibrate import Activations

# -min over x of x * Phi(x) is 0.16997 (at x = -0.7518); the tanh approximation's is 0.17004.
GELU_FLOOR = np.float32(0.1701)
# Most rounding noise of a constant scale, as a multiple of what row scales leave. Of all-MiniLM-L6-v2's 12 such layers
# it lets 7 through (1.3 to 2.1; the others are 2.4 to 3.0): cosine to float32 0.99934 on STS-B's test sentences, at
# least 0.9970, against 0.99939 and 0.9971 without, and 0.99931 and 0.9966 with 2.5.
_NOISE = 2.25


def constant_scale(activations: Activations) -> np.float32 | None:
    """The scale of all rows of a layer, where it does; None where rows need their own.

    Rounding noise goes with the square of a scale. (Uniform rounding: step squared, over 12.)

    Args:
        activations: of the layer; the reach is of all rows seen, the noise of those kept.

    >>> rows = np.float32([[1, -127], [0, 100]])
    >>> ends = {"lowest": rows.min(axis=0), "highest": rows.max(axis=0)}
    >>> found = Activations(mean=rows.mean(axis=0), covariance=np.eye(2, dtype=np.float32), rows=rows, **ends)
    >>> float(constant_scale(found))
    1.0
    """
    reach = float(max(np.abs(activations.lowest).max(), np.abs(activations.highest).max()))
    own = np.square(np.abs(activations.rows).max(axis=1), dtype=np.float64).mean()
    return np.float32(reach / 127) if 0 < reach**2 <= _NOISE * own else None


def choose_zero_point(highest: NDArray[np.float32]) -> int:
    """The zero point, one for all rows, at which GELU's outputs lose least to rounding.

    A row's step is the greater of what its highest value needs above the zero point and what GELU's floor needs below.

    Args:
        highest: largest values of some rows, [n].

    >>> choose_zero_point(np.float32([3, 3])), choose_zero_point(np.float32([0.2, 0.2]))
    (14, 117)
    """

    def noise(zero_point: int) -> float:
        steps = np.maximum(highest / (255 - zero_point), GELU_FLOOR / zero_point)
        return float(np.square(steps, dtype=np.float64).mean())

    return min(range(1, 128), key=noise)
