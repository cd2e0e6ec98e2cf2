"""numpy's floating-point errors, whatever the caller has set for them."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def own_errstate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The function, with floating-point errors ignored in it, on any thread.

    The square of a small number is zero, which is meant; a caller's ``numpy.seterr(all="raise")`` would make an error
    of it. What must not be (NaN, infinity) is looked for where it may come from. (numpy's own ``errstate`` decorates,
    too, but before numpy 2 one that decorates keeps what it restores where all threads write it.)
    """

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return call
