"""Wrong arguments: tables, arrays, bytes and failing iterators as texts, and values of options."""

from collections import UserDict, UserList, deque
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from random import Random
from typing import Any

import numpy as np

from campaign.trial import OwnError

_TEXTS = ["the cat", "a dog ran", "東京"]
# Description, argument, and the expected end of the call: vectors of a list, embedge's error (None), or the caller's.
Case = tuple[str, Any, list[str] | type[OwnError] | None]


class NumbersError(OwnError):
    """Raised by objects whose value cannot be read."""


class _Table:
    """Like a DataFrame: iterates over the names of its columns."""

    columns = ("text", "id")
    shape = (3, 2)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, name: str) -> list[str]:
        return _TEXTS

    def __dataframe__(self, **more: object) -> object:
        return self


class _Text(str):
    """A subclass of str, as some libraries have."""


class _Liar(str):
    def __len__(self) -> int:
        return 0


class _Breaks:
    def __iter__(self) -> Iterator[str]:
        raise OwnError("no")


class _OnlyItems:
    """Iterable only through ``__getitem__``, the old protocol."""

    def __getitem__(self, index: int) -> str:
        return _TEXTS[index]


def _generator(*, breaks: bool) -> Iterator[str]:
    yield from _TEXTS
    if breaks:
        raise OwnError("no more")


def _frames() -> list[Callable[[], Case]]:
    """Cases with tables of the installed libraries."""
    cases: list[Callable[[], Case]] = []
    if find_spec("pandas"):
        pandas = import_module("pandas")
        cases.append(lambda: ("pandas.DataFrame", pandas.DataFrame({"text": _TEXTS}), None))
        cases.append(lambda: ("pandas.Series", pandas.Series(_TEXTS), _TEXTS))
    if find_spec("polars"):
        polars = import_module("polars")
        cases.append(lambda: ("polars.DataFrame", polars.DataFrame({"text": _TEXTS}), None))
        cases.append(lambda: ("polars.Series", polars.Series(_TEXTS), _TEXTS))
    if find_spec("pyarrow"):
        pyarrow = import_module("pyarrow")
        cases.append(lambda: ("pyarrow.Table", pyarrow.table({"text": _TEXTS}), None))
    return cases


@cache
def tables() -> Sequence[Callable[[], Case]]:
    """The cases of texts; each function makes a new one."""
    objects = np.array(_TEXTS, object)
    cases: list[Callable[[], Case]] = [
        lambda: ("a list", list(_TEXTS), _TEXTS),
        lambda: ("a tuple", tuple(_TEXTS), _TEXTS),
        lambda: ("a deque", deque(_TEXTS), _TEXTS),
        lambda: ("a UserList", UserList(_TEXTS), _TEXTS),
        lambda: ("a generator", _generator(breaks=False), _TEXTS),
        lambda: ("an array of strings", np.array(_TEXTS), _TEXTS),
        lambda: ("an array of objects", objects, _TEXTS),
        lambda: ("strings of a class of their own", [_Text(text) for text in _TEXTS], _TEXTS),
        lambda: ("strings that lie about their length", [_Liar(text) for text in _TEXTS], _TEXTS),
        lambda: ("an old sequence", _OnlyItems(), _TEXTS),
        lambda: ("no text", [], []),
        lambda: ("a generator that breaks", _generator(breaks=True), OwnError),
        lambda: ("an iterable that breaks", _Breaks(), OwnError),
        lambda: ("a table", _Table(), None),
        lambda: ("a dict", dict.fromkeys(_TEXTS), None),
        lambda: ("a UserDict", UserDict(dict.fromkeys(_TEXTS)), None),
        lambda: ("a set", set(_TEXTS), None),
        lambda: ("a dict's keys", dict.fromkeys(_TEXTS).keys(), _TEXTS),
        lambda: ("bytes", b"the cat", None),
        lambda: ("bytes in a list", [b"the cat"], None),
        lambda: ("a bytearray", bytearray(b"the cat"), None),
        lambda: ("a memoryview", memoryview(b"the cat"), None),
        lambda: ("None", None, None),
        lambda: ("None in a list", [*_TEXTS, None], None),
        lambda: ("a number", 5, None),
        lambda: ("NaN in a list", [*_TEXTS, float("nan")], None),
        lambda: ("lists in a list", [_TEXTS], None),
        lambda: ("a function", len, None),
        lambda: ("a class", str, None),
        lambda: ("an array of bytes", np.array([b"the cat"]), None),
        lambda: ("an array of two dimensions", np.array([_TEXTS, _TEXTS]), None),
        lambda: ("an array of none", np.array("the cat"), None),
        lambda: ("an array of numbers", np.arange(3), None),
        lambda: ("an array of dates", np.array(["2020-01-01"], "M8[D]"), None),
        lambda: ("an array of records", np.array([("the cat", 1)], [("text", "U9"), ("id", "i4")]), None),
        *_frames(),
    ]
    return cases


class _Index:
    def __index__(self) -> int:
        raise NumbersError("no")


class _Shy:
    def __repr__(self) -> str:
        raise NumbersError("no")


class _Unequal:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise NumbersError("no")


_NAMES = (
    *("prompt", "prompt_name", "batch_tokens", "batch_size", "normalize", "truncate_dim", "precision"),
    *("show_progress_bar", "on_truncate", "normalize_embeddings", "convert_to_numpy", "convert_to_tensor", "device"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, 32, 33, -1, 2**31, 2**63, 2**64, 10**30, -(2**70), 0.5, 1.0, float("nan")),
    *(float("inf"), 1e300, 1j, Decimal(3), Fraction(1, 2), "", "1", "x" * 100_000, "\0", "\ud800", "\x1b[2J"),
    *(b"x", [], {}, [1], (1,), {1}, object(), len, str, np.int64(3), np.int8(-1), np.uint64(2**63), np.float32(2)),
    np.float64("nan"),
    *(np.bool_(True), np.array(3), np.array([1, 2]), np.array([]), np.array(["cls", "x"]), np.str_("query")),
    *(_Index(), _Shy(), _Unequal(), "query", "document", "int8", "binary", "error", "warn", "cpu", "cuda"),
)  # fmt: skip


def options(random: Random) -> tuple[str, Any]:
    """A random option and a random value for it."""
    return random.choice(_NAMES), random.choice(_VALUES)
