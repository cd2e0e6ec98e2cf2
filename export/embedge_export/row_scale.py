"""Does every row of a linear layer need a scale of its own? Where a constant rounds nearly as well, it is faster.

What layer normalisation gives has rows of nearly the same length and, smoothed, nearly the same reach. With one scale
for all of them, known at export, nothing looks for a row's maximum, nothing multiplies by it, and the product adds the
bias. A text's vector depends on its batch as little as before. A value beyond the reach is rounded to it.
"""

import numpy as np

from embedge_export.calibrate import Activations

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
