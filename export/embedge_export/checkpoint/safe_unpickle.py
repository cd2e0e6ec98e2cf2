"""The pickle in torch's file -> where its tensors are, by a machine that knows what ``torch.save`` writes and no more.

Python's unpickler calls, sets, hashes and allocates what a file tells it to. This one has plain values on its stack and
no way to anything else: a name is one of a table's, only three of them can be called, a key is a string or a small
number, and attributes are dropped. Each opcode takes time and memory in proportion to what it takes off the stack, so
the whole does to the pickle's size, which is bounded.
Source of the opcodes: torch.save's pickles, of protocol 2; of the idea: torch's own ``weights_only`` unpickler.
"""

import pickletools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

LARGEST = 1 << 22  # bytes of a pickle; a tensor takes some 90 of them
_MOST_AXES = 64  # of numpy's arrays
_MOST_ARGUMENTS = 8  # of the functions below; one more than torch knows


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that tensors are views of: the member's name, and the elements' type."""

    key: str
    dtype: DTypeLike


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor is in its storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def unpickle(data: bytes) -> object:
    """What a pickle holds: dictionaries, lists, tuples, numbers and strings, and a Place for each tensor.

    Raises:
        Exception: of whatever kind; it is cut short, or holds or does something that no dictionary of tensors needs.
    """
    if len(data) > LARGEST:
        raise ValueError(f"its data.pkl has {len(data)} bytes, and {LARGEST} are enough for 40,000 tensors")
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(data):
        machine.do(opcode.name, argument)
    (found,) = machine.stack
    return found


@dataclass(frozen=True, slots=True)
class _Name:
    """Something importable, which is not imported: its module and name, with a space between."""

    text: str


def _known(text: str) -> _Name:
    if text not in _CALLS and text not in _dtypes():
        raise ValueError(f"it would run {text.replace(' ', '.')}, which no tensor needs")
    return _Name(text)


@cache
def _dtypes() -> Mapping[str, DTypeLike]:
    """The type in numpy of the elements of each of torch's storages."""
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


def _store(items: Sequence[Any]) -> Storage:
    """Of torch's reference to a storage: kind, type, key, device, elements."""
    ((kind, dtype, key, _, _),) = items
    if kind != "storage" or not isinstance(dtype, _Name) or not isinstance(key, str):
        raise ValueError("an unknown reference")
    return Storage(key, _dtypes()[dtype.text])


def _call(items: Sequence[Any]) -> object:
    name, arguments = items
    if not isinstance(name, _Name) or name.text not in _CALLS or not isinstance(arguments, tuple):
        raise ValueError("it would call what is no function")
    if len(arguments) > _MOST_ARGUMENTS:
        raise ValueError(f"it would call {name.text} with {len(arguments)} arguments")
    return _CALLS[name.text](*arguments)


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *rest: object) -> Place:
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("a tensor of something else than a storage")
    if len(shape) != len(strides) or len(shape) > _MOST_AXES:
        raise ValueError(f"a tensor of {len(shape)} axes with {len(strides)} strides")
    if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
        raise ValueError("a tensor with a size that is negative or no number")
    return Place(storage, offset, shape, strides)


def _parameter(tensor: Any, *rest: object) -> Place:
    if not isinstance(tensor, Place):
        raise ValueError("a parameter that is no tensor")
    return tensor


def _dictionary() -> dict[Any, Any]:
    return {}  # keeps its order, too


_CALLS: Mapping[str, Callable[..., object]] = {
    "torch._utils _rebuild_tensor_v2": _rebuild,
    "torch._utils _rebuild_parameter": _parameter,
    "collections OrderedDict": _dictionary,
}


def _set_items(target: Any, items: Sequence[Any]) -> None:
    if type(target) is not dict or len(items) % 2:
        raise ValueError("items of what is no dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # A nested tuple would take for ever to hash, or all of C's stack; large numbers can share one hash.
        if type(key) is not str and not (type(key) is int and -(1 << 31) <= key < 1 << 31):
            raise ValueError("a name that is no string")
        target[key] = value


def _drop_attributes(target: Any, items: Sequence[Any]) -> None:
    """``_metadata``, which ``state_dict`` sets on its dictionary."""
    if type(target) is not dict:
        raise ValueError("it would set attributes of what is no dictionary")


# What each opcode does. Those that push something, which is made of the opcode's argument:
_PUSHED: Mapping[str, Callable[[Any], object]] = {
    **dict.fromkeys(("BINFLOAT", "BININT", "BININT1", "BININT2", "BINUNICODE", "LONG1"), lambda argument: argument),
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "GLOBAL": _known,
    "NEWFALSE": lambda _: False,
    "NEWTRUE": lambda _: True,
    "NONE": lambda _: None,
}
# How many items others take off the stack; None is all above the mark.
_TAKEN: Mapping[str, int | None] = {
    **{"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "BINPERSID": 1, "REDUCE": 2},
    **{"APPEND": 1, "APPENDS": None, "SETITEM": 2, "SETITEMS": None, "BUILD": 1},
}
# Of them, those that push what they make of the items; and those that add them to what is below.
_MADE: Mapping[str, Callable[[Sequence[Any]], object]] = {
    **dict.fromkeys(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"), tuple),
    "BINPERSID": _store,
    "REDUCE": _call,
}
_ADDED: Mapping[str, Callable[[Any, Sequence[Any]], None]] = {
    **dict.fromkeys(("APPEND", "APPENDS"), list.extend),
    **dict.fromkeys(("SETITEM", "SETITEMS"), _set_items),
    "BUILD": _drop_attributes,
}


class _Machine:
    """A stack, what was below each mark, and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        """One opcode."""
        if name in _PUSHED:
            self.stack.append(_PUSHED[name](argument))
        elif name in _MADE:
            items = self._take(_TAKEN[name])  # before the stack is looked up: it may be another one then
            self.stack.append(_MADE[name](items))
        elif name in _ADDED:
            items = self._take(_TAKEN[name])
            _ADDED[name](self.stack[-1], items)
        elif name in ("BINPUT", "LONG_BINPUT") and argument <= len(self._memo):  # torch counts them up
            self._memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET") and argument in self._memo:
            self.stack.append(self._memo[argument])
        elif name == "MARK":
            self._below.append(self.stack)
            self.stack = []
        elif not (name == "STOP" and not self._below) and not (name == "PROTO" and argument == 2):
            raise ValueError(f"its pickle has {name}, which torch does not write there")

    def _take(self, count: int | None) -> list[Any]:
        if count is None:
            items, self.stack = self.stack, self._below.pop()
            return items
        if len(self.stack) < count:
            raise ValueError("its pickle takes more off the stack than there is")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items
