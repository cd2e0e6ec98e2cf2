"""Token ids of texts, in one ragged array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embedge.errors import InputValueError
from embedge.inference.tokenizer_file import raise_ours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.bundle.manifest import Side


_LARGEST_ID = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of some texts, one text after another in one array (a ragged array).

    Attributes:
        values: the ids of all texts, [total], special tokens included; uint16 if the ids fit, as all of BERT's do, else
            int32. (Python's integers would take ten times the memory or more.)
        starts: where each text begins in ``values``, and the end of the last one, int64 [texts + 1].
        truncated: positions of the texts that lost their end or their start.
        side: the end of a text that is truncated.
        max_characters: the limit on the characters of a text, if a text was truncated because of this limit alone; else
            None.
    """

    values: NDArray[np.integer[Any]]
    starts: NDArray[np.int64]
    truncated: list[int]
    side: Side = "right"
    max_characters: int | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of tokens of each text, int64 [texts]."""
        return self.starts[1:] - self.starts[:-1]  # numpy's diff takes three times as long for one text

    @property
    def ids(self) -> list[NDArray[np.integer[Any]]]:
        """The ids of each text, [tokens]: views of ``values``."""
        return [self.values[start:end] for start, end in pairwise(self.starts.tolist())]

    def split(self, texts: Sequence[int]) -> list[Tokens]:
        """Return the tokens of the first ``texts[0]`` texts, of the next ``texts[1]`` texts, and so on.

        >>> tokens = Tokens(np.uint16([7, 8, 9, 5]), np.int64([0, 2, 3, 4]), [1])
        >>> [(part.values.tolist(), part.starts.tolist(), part.truncated) for part in tokens.split([1, 2])]
        [([7, 8], [0, 2], []), ([9, 5], [0, 1, 2], [0])]
        """
        parts: list[Tokens] = []
        first = 0
        for count in texts:
            end = first + count
            starts = self.starts[first : end + 1]
            values = self.values[starts[0] : starts[-1]]
            truncated = [position - first for position in self.truncated if first <= position < end]
            parts.append(Tokens(values, starts - starts[0], truncated, self.side, self.max_characters))
            first = end
        return parts


class TokensBuilder:
    """Collects the ids of text after text, and turns each chunk of them into an array.

    Args:
        path: the path of the tokenizer's file, for error messages.
        start: the index of the first text in error messages.
        kind: what messages call an input, ``text`` or ``pair``.
    """

    def __init__(self, path: Path, start: int, *, kind: str = "text") -> None:
        self._path = path
        self._start = start
        self._kind = kind
        self._ids: list[int] = []
        self._counts: list[int] = []
        self._chunks: list[NDArray[np.integer[Any]]] = []
        self._texts = 0  # of earlier chunks

    def add(self, ids: list[int]) -> None:
        """Add the ids of the next text; raise InputValueError if there are none."""
        if not ids:
            raise InputValueError(f"{self._kind} {self._start + len(self._counts)} has no tokens; remove it")
        self._ids += ids
        self._counts.append(len(ids))

    def end_chunk(self) -> None:
        """Turn the ids since the last chunk into an array; raise BundleError if an id is too large for any model."""
        try:
            self._chunks.append(_compact(self._ids))
        except OverflowError as error:
            place = next(place for place, token in enumerate(self._ids) if token > _LARGEST_ID)
            counts = np.cumsum(self._counts[self._texts :])
            index = self._start + self._texts + int(np.searchsorted(counts, place, side="right"))
            raise_ours(error, f"{self._path} makes no token ids of text {index}")
        self._ids, self._texts = [], len(self._counts)

    def tokens(self, truncated: list[int], side: Side, max_characters: int | None) -> Tokens:
        """Return all texts; the arguments are those of ``Tokens``."""
        starts = np.zeros(len(self._counts) + 1, np.int64)
        np.cumsum(self._counts, out=starts[1:])
        values = self._chunks[0] if len(self._chunks) == 1 else np.concatenate(self._chunks or [_compact([])])
        return Tokens(values, starts, truncated, side, max_characters)


def _compact(ids: list[int]) -> NDArray[np.integer[Any]]:
    """Return token ids in the smaller type that holds them.

    >>> [_compact(ids).dtype.name for ids in ([101, 65_535], [101, 65_536], [])]
    ['uint16', 'int32', 'uint16']

    Raises:
        OverflowError: an id is above int32, which no model's vocabulary reaches.
    """
    array = np.array(ids, np.int64)  # holds all ids of tokenizers, which are uint32
    largest = int(array.max(initial=0))
    if largest > _LARGEST_ID:  # numpy 1 would wrap it around without an error
        raise OverflowError(f"the token id {largest} is above {_LARGEST_ID}")
    return array.astype(np.uint16 if largest <= np.iinfo(np.uint16).max else np.int32)
