"""The objects in a pickle of ``torch.save``, without torch: storages, tensors as views of them, and importable names.

Nothing is imported: a name is looked up in a table. Only three names can be called, and only functions of this module
run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

_MOST_AXES = 64  # numpy's limit
_MOST_ARGUMENTS = 8  # one more than torch's functions take


@dataclass(frozen=True, slots=True)
class Storage:
    """A block of bytes that tensors are views of.

    Attributes:
        key: name of the file's member with the bytes.
        dtype: type of an element.
    """

    key: str
    dtype: DTypeLike


@dataclass(frozen=True, slots=True)
class StridedView:
    """A tensor as a view of its storage; offset and strides count elements, as in torch."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A name that Python's unpickler would import: module and attribute, with a space between."""

    text: str


def known_name(text: str) -> Name:
    """Return the name; raise ValueError unless it is one of those that a dictionary of tensors needs."""
    if text not in _FUNCTIONS and text not in _storage_types():
        raise ValueError(f"it would run {text.replace(' ', '.')}, which no tensor needs")
    return Name(text)


@cache
def _storage_types() -> Mapping[str, DTypeLike]:
    """The element types of torch's storages, in numpy."""
    import ml_dtypes

    return {
        "torch DoubleStorage": np.float64,
        "torch FloatStorage": np.float32,
        "torch HalfStorage": np.float16,
        "torch BFloat16Storage": ml_dtypes.bfloat16,
        "torch LongStorage": np.int64,
        "torch IntStorage": np.int32,
        "torch ShortStorage": np.int16,
        "torch CharStorage": np.int8,
        "torch ByteStorage": np.uint8,
        "torch BoolStorage": np.bool_,
    }


def find_storage(items: Sequence[Any]) -> Storage:
    """Return the storage of torch's persistent id: (kind, type, key, device, number of elements)."""
    ((kind, dtype, key, _, _),) = items
    if kind != "storage" or not isinstance(dtype, Name) or not isinstance(key, str):
        raise ValueError("it has an unknown reference")
    return Storage(key, _storage_types()[dtype.text])


def call(items: Sequence[Any]) -> object:
    """Return the result of a call: items are the function's name and a tuple of arguments."""
    name, arguments = items
    if not isinstance(name, Name) or name.text not in _FUNCTIONS or not isinstance(arguments, tuple):
        raise ValueError("it would call something that is not a function")
    if len(arguments) > _MOST_ARGUMENTS:
        raise ValueError(f"it would call {name.text} with {len(arguments)} arguments")
    return _FUNCTIONS[name.text](*arguments)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: object) -> StridedView:
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("it has a tensor without a storage")
    if len(shape) != len(strides) or len(shape) > _MOST_AXES:
        raise ValueError(f"it has a tensor of {len(shape)} axes with {len(strides)} strides")
    if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
        raise ValueError("it has a tensor with a size that is negative or not a number")
    return StridedView(storage, offset, shape, strides)


def _rebuild_parameter(tensor: Any, *rest: object) -> StridedView:
    if not isinstance(tensor, StridedView):
        raise ValueError("it has a parameter that is not a tensor")
    return tensor


def _new_dictionary() -> dict[Any, Any]:
    return {}  # keeps the order of its keys, like an OrderedDict


_FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "collections OrderedDict": _new_dictionary,
}
