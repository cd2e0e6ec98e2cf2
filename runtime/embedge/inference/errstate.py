"""A decorator that ignores numpy's floating-point errors, whatever the caller has set with ``numpy.seterr``."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def own_errstate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Return the function with numpy's floating-point errors ignored while it runs; safe on any thread.

    The square of a small number underflows to zero, which is intended; ``numpy.seterr(all="raise")`` of a caller would
    raise an error for it. Where NaN or infinity may arise, the code checks for them itself. (``numpy.errstate`` is a
    decorator, too, but before numpy 2 it stores the state to restore in one place for all threads.)
    """

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return call
