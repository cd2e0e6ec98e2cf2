"""Text to token ids, never padded; truncation is explicit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from embedge.errors import BundleError, TextValueError

if TYPE_CHECKING:
    import re

    from numpy.typing import NDArray

# Texts, and characters of theirs, handed to the tokenizer at a time: its Encoding objects hold some 200 bytes a token.
_CHUNK = 512
_CHUNK_CHARACTERS = 65_536
# Of a long text so many characters for each token are tokenised first; where they are too few, four times as many.
_CHARACTERS_PER_TOKEN = 6
_GROWTH = 4
_MASKS = ("<mask>", "[MASK]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of some texts.

    Attributes:
        ids: for each text its ids, [tokens], special ones included, at most ``max_tokens`` of them; uint16 where that
            holds them, as it does all of BERT's, else int32. (As Python's integers they would take ten times the
            memory or more.)
        truncated: positions of the texts that lost their end.
    """

    ids: list[NDArray[np.integer[Any]]]
    truncated: list[int]


class Tokeniser:
    """A bundle's ``tokenizer.json``, stripped of whatever padding and truncation the file carries."""

    def __init__(self, path: Path, *, max_tokens: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise BundleError(f"{path} is not a tokenizer ({error}); export the bundle again") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._max_tokens = max_tokens
        self._special_tokens = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._content_tokens = max_tokens - self._special_tokens
        if self._content_tokens < 1:
            raise BundleError(f"{path} adds more special tokens than max_tokens ({max_tokens}) has room for")

    def encode(self, texts: Sequence[str], *, prefix: str = "", start: int = 0) -> Tokens:
        """Token ids of texts, each with ``prefix`` in front; ``start`` is the index of the first in errors.

        Raises:
            TextValueError: a text is not valid Unicode (it holds a lone surrogate), or has no tokens.
        """
        tokens = Tokens([], [])
        for first, end in _chunks([len(text) for text in texts]):
            chunk = [prefix + text for text in texts[first:end]]
            for index, content in enumerate(self._first_tokens(chunk, range(start + first, start + len(texts))), first):
                if len(content) > self._content_tokens:
                    tokens.truncated.append(index)
                    content.truncate(self._content_tokens)
                ids = _narrow(self._tokenizer.post_process(content).ids)
                if not len(ids):
                    raise TextValueError(f"text {start + index} has no tokens; leave it out")
                tokens.ids.append(ids)
        return tokens

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> Tokens:
        """Token ids of pairs of query and document, joined as the tokenizer joins pairs.

        Of a pair that is too long the document loses its end, the query nothing.

        Raises:
            TextValueError: a text is not valid Unicode, or a query leaves no room for a document.
        """
        tokens = Tokens([], [])
        most = self._max_tokens - self._tokenizer.num_special_tokens_to_add(is_pair=True)
        for first, end in _chunks([len(query) + len(document) for query, document in pairs]):
            chunk = pairs[first:end]
            places = {
                query: index for index, (query, _) in reversed(list(enumerate(chunk, first)))
            }  # where it is first
            queries = dict(zip(places, self._first_tokens(list(places), list(places.values())), strict=True))
            documents = self._first_tokens([document for _, document in chunk], range(first, len(pairs)))
            for index, ((query, _), document) in enumerate(zip(chunk, documents, strict=True), first):
                room = most - len(queries[query])
                if room < 1:
                    raise TextValueError(
                        f"the query of pair {index} has {len(queries[query])} tokens or more, which leaves no room for "
                        f"a document within {self._max_tokens}; shorten it"
                    )
                if len(document) > room:
                    tokens.truncated.append(index)
                    document.truncate(room)
                tokens.ids.append(_narrow(self._tokenizer.post_process(queries[query], document).ids))
        return tokens

    def special_ids(self) -> frozenset[int]:
        """Ids of tokens that are no part of a text: all special ones but the mask, which a text may spell out."""
        added = self._tokenizer.get_added_tokens_decoder().items()
        return frozenset(index for index, token in added if token.special and token.content not in _MASKS)

    def count(self, texts: Sequence[str], *, prefix: str = "") -> list[int]:
        """Tokens of each whole text, special ones included, before any truncation.

        Raises:
            TextValueError: a text is not valid Unicode.
        """
        counts: list[int] = []
        for first, end in _chunks([len(text) for text in texts]):
            chunk = {index: prefix + text for index, text in enumerate(texts[first:end], first)}
            counts += (len(content) + self._special_tokens for content in self._tokenise(chunk))
        return counts

    def _first_tokens(self, texts: Sequence[str], names: Sequence[int]) -> list[Encoding]:
        """Tokens of each text without special ones: all, or of a long text some, but more than are kept.

        ``names`` are the texts' indices in errors.

        10 MB would take seconds. A text is cut at a boundary, so what follows cannot change the tokens before; and as
        these are more than are kept, it cannot hide that the text was truncated.
        """
        found: dict[int, Encoding] = {}
        length = self._content_tokens * _CHARACTERS_PER_TOKEN
        waiting: Sequence[int] = range(len(texts))
        while waiting:
            heads = [self._head(texts[position], length) for position in waiting]
            named = {names[position]: head for position, head in zip(waiting, heads, strict=True)}
            found |= zip(waiting, self._tokenise(named), strict=True)
            waiting = [
                position
                for position, head in zip(waiting, heads, strict=True)
                if len(found[position]) <= self._content_tokens and len(head) < len(texts[position])
            ]
            length *= _GROWTH
        return [found[position] for position in range(len(texts))]

    @cached_property
    def _boundary(self) -> re.Pattern[str] | None:
        """Where a long text may be cut; most processes that are started for one query never ask."""
        from embedge.boundary import find_boundary

        return find_boundary(self._tokenizer)

    def _head(self, text: str, length: int) -> str:
        """The text up to its first boundary after ``length`` characters; the whole text where it has none."""
        cut = self._boundary.search(text, length) if length < len(text) and self._boundary else None
        return text[: cut.start()] if cut else text

    def _tokenise(self, texts: Mapping[int, str]) -> list[Encoding]:
        """Tokens of texts without special ones; the keys are their indices in errors."""
        try:
            found: list[Encoding] = self._tokenizer.encode_batch_fast(list(texts.values()), add_special_tokens=False)
        except TypeError:
            _raise_surrogate(texts)
            raise
        return found


def _chunks(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and end of every run of texts that goes to the tokenizer together: one text, or more that are not too much.

    >>> list(_chunks([5, 80_000, 5, 5]))
    [(0, 1), (1, 2), (2, 4)]
    """
    first = characters = 0
    for end, length in enumerate(lengths):
        characters += length
        if end > first and (end - first == _CHUNK or characters > _CHUNK_CHARACTERS):
            yield first, end
            first, characters = end, length
    if first < len(lengths):
        yield first, len(lengths)


def _narrow(ids: list[int]) -> NDArray[np.integer[Any]]:
    """Token ids in the smaller type that holds them.

    >>> [_narrow(ids).dtype.name for ids in ([101, 65_535], [101, 65_536], [])]
    ['uint16', 'int32', 'uint16']
    """
    wide = np.array(ids, np.int32)
    return wide.astype(np.uint16) if wide.max(initial=0) <= np.iinfo(np.uint16).max else wide


def _raise_surrogate(texts: Mapping[int, str]) -> None:
    for index, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextValueError(
                f"text {index} is not valid Unicode: a lone surrogate, U+{ord(error.object[error.start]):04X}; "
                "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace') mends it"
            ) from None
