"""Unpickles what ``torch.save`` writes, and nothing else: an interpreter of pickle's opcodes that runs no foreign code.

Python's unpickler calls, sets, hashes and allocates whatever a file tells it to. This one has only plain values on its
stack: a name comes from a table, only three names can be called, a key is a string or a small number, and attributes
are dropped. Each opcode takes time and memory in proportion to what it takes off the stack. So the time and memory for
the whole pickle are in proportion to its size, which is limited.

Source of the opcodes: torch.save's pickles, of protocol 2. Source of the idea: torch's own ``weights_only`` unpickler.
"""

import pickletools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from embedge_export.checkpoint.torch_objects import call, find_storage, known_name

LARGEST_PICKLE = 1 << 22  # bytes; a tensor takes about 90 of them


def unpickle(data: bytes) -> object:
    """Return the value in a pickle: dictionaries, lists, tuples, numbers, strings, and a StridedView for each tensor.

    Raises:
        Exception: of any class, if the pickle is incomplete, or does something that no dictionary of tensors needs.
    """
    if len(data) > LARGEST_PICKLE:
        raise ValueError(f"its data.pkl has {len(data)} bytes, and {LARGEST_PICKLE} are enough for 40,000 tensors")
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(data):
        machine.run(opcode.name, argument)
    (value,) = machine.stack
    return value


def _set_items(target: Any, items: Sequence[Any]) -> None:
    if type(target) is not dict or len(items) % 2:
        raise ValueError("it sets items of something that is not a dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Hashing a nested tuple can take for ever or overflow C's stack, and many large numbers can share one hash.
        if type(key) is not str and not (type(key) is int and -(1 << 31) <= key < 1 << 31):
            raise ValueError("it has a key that is not a string")
        target[key] = value


def _drop_attributes(target: Any, items: Sequence[Any]) -> None:
    """Ignore the attribute ``_metadata``, which ``state_dict`` sets on its dictionary."""
    if type(target) is not dict:
        raise ValueError("it sets attributes of something that is not a dictionary")


# Opcodes that push a value, made from the opcode's argument.
_PUSH: Mapping[str, Callable[[Any], object]] = {
    **dict.fromkeys(("BINFLOAT", "BININT", "BININT1", "BININT2", "BINUNICODE", "LONG1"), lambda argument: argument),
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "GLOBAL": known_name,
    "NEWFALSE": lambda _: False,
    "NEWTRUE": lambda _: True,
    "NONE": lambda _: None,
}
# The number of items that the other opcodes take off the stack; None means all items above the mark.
_TAKEN: Mapping[str, int | None] = {
    **{"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "BINPERSID": 1, "REDUCE": 2},
    **{"APPEND": 1, "APPENDS": None, "SETITEM": 2, "SETITEMS": None, "BUILD": 1},
}
# Opcodes that replace the items they take by a value.
_REPLACE: Mapping[str, Callable[[Sequence[Any]], object]] = {
    **dict.fromkeys(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"), tuple),
    "BINPERSID": find_storage,
    "REDUCE": call,
}
# Opcodes that add the items they take to the value below.
_ADD: Mapping[str, Callable[[Any, Sequence[Any]], None]] = {
    **dict.fromkeys(("APPEND", "APPENDS"), list.extend),
    **dict.fromkeys(("SETITEM", "SETITEMS"), _set_items),
    "BUILD": _drop_attributes,
}


class _Machine:
    """The state of pickle's interpreter: the stack above the last mark, the stacks below each mark, and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Run one opcode."""
        if name in _PUSH:
            self.stack.append(_PUSH[name](argument))
        elif name in _REPLACE:
            items = self._take(_TAKEN[name])  # first, because it may replace self.stack
            self.stack.append(_REPLACE[name](items))
        elif name in _ADD:
            items = self._take(_TAKEN[name])
            _ADD[name](self.stack[-1], items)
        # torch numbers the memo without gaps, so any other number is not torch's.
        elif name in ("BINPUT", "LONG_BINPUT") and argument <= len(self._memo):
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
            raise ValueError("its pickle takes more items off the stack than there are")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items
