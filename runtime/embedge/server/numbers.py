"""Write vectors as JSON: fast, and so that a client gets the very same float32."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def vector_json(vector: NDArray[Any]) -> str:
    """Return a vector [dimension] as a JSON list; floats with nine digits, which give a float32 back exactly.

    One format for all numbers takes a third of the time of `json.dumps`, which writes 17 digits.

    >>> import numpy as np
    >>> vector_json(np.float32([0.1, -2, 1e-9])), vector_json(np.int8([1, -2]))
    ('[0.100000001,-2,9.99999972e-10]', '[1,-2]')
    """
    form = "%.9g" if vector.dtype.kind == "f" else "%d"
    return f"[{','.join([form] * len(vector)) % tuple(vector.tolist())}]"


def vectors_json(vectors: NDArray[Any] | list[NDArray[np.float32]]) -> str:
    """Return vectors [n, dimension] as a JSON list of lists."""
    return f"[{','.join(map(vector_json, vectors))}]"


def number_json(number: float) -> str:
    """Return a float32 as JSON, with nine digits."""
    return f"{number:.9g}"


def vector_base64(vector: NDArray[Any]) -> str:
    """Return the bytes of a vector, little-endian, as base64.

    >>> import numpy as np
    >>> vector_base64(np.float32([1]))
    'AACAPw=='
    """
    return b64encode(vector.astype(vector.dtype.newbyteorder("<"), copy=False).tobytes()).decode()
