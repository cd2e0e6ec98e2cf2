"""Text to token ids, never padded; truncation is explicit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Encoding

from embedge.errors import BundleError, InputValueError
from embedge.inference.reader import Reader
from embedge.inference.tokenizer_file import load_tokenizer, raise_ours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.bundle.manifest import Side

# Texts, and characters of theirs, handed to the tokenizer at a time: its Encoding objects hold some 200 bytes a token.
_CHUNK = 512
_CHUNK_CHARACTERS = 65_536
_MASKS = ("<mask>", "[MASK]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of some texts.

    Attributes:
        ids: for each text its ids, [tokens], special ones included, at most ``max_tokens`` of them; uint16 where that
            holds them, as it does all of BERT's, else int32. (As Python's integers they would take ten times the
            memory or more.)
        truncated: positions of the texts that lost their end, or their start.
        side: the end of a text that is cut off.
        unread: the most characters that are read of a text, where one lost some although those that were read have no
            more tokens than are kept; else None.
    """

    ids: list[NDArray[np.integer[Any]]]
    truncated: list[int]
    side: Side = "right"
    unread: int | None = None


class Tokeniser:
    """A bundle's ``tokenizer.json``, stripped of whatever padding and truncation the file carries.

    Of a text no more than ``max(65_536, 12 * max_tokens)`` characters are read, and half of 65,536 where the model is
    BPE; an endless run of white space, of letters or of one character may count as a short one (see ``excerpt``). Only
    ``count`` reads all. A text of which some is not read is a truncated one, however few tokens it has. Its ids are
    those of the whole text, truncated, if some more words are read than are kept; or with a Unigram model, if what is
    read beyond the tokens that are kept has a place which no piece of the vocabulary spans. Where one word goes on for
    so long that neither holds, they are the ids of what is read.

    Args:
        path: of the file.
        max_tokens: of the model; special tokens count.
        truncation_side: the end of a long text that is cut off, ``right`` or ``left``.
    """

    def __init__(self, path: Path, *, max_tokens: int, truncation_side: Side = "right") -> None:
        self._path = path
        self._tokenizer = load_tokenizer(path)
        self._max_tokens = max_tokens
        self._side: Side = truncation_side
        self._special_tokens = self._count_special(is_pair=False)
        self._special_of_pairs = self._count_special(is_pair=True)
        self._content_tokens = max_tokens - self._special_tokens
        if self._content_tokens < 1:
            raise BundleError(
                f"{path} adds more special tokens than max_tokens ({max_tokens}) has room for; export the bundle again"
            )
        self._reader = Reader(
            self._tokenizer, path, max_tokens=max_tokens, keep=self._content_tokens, side=truncation_side
        )

    def encode(self, texts: Sequence[str], *, prefix: str = "", start: int = 0) -> Tokens:
        """Token ids of texts, each with ``prefix`` in front; ``start`` is the index of the first in errors.

        Raises:
            InputValueError: a text is not valid Unicode (it holds a lone surrogate where it is read), or has no tokens.
            BundleError: the tokenizer fails.
        """
        ids: list[NDArray[np.integer[Any]]] = []
        truncated: list[int] = []
        unread = None
        for first, end in _chunks([len(text) for text in texts]):
            chunk, partial = self._reader.read(texts[first:end], prefix)
            for index, content in enumerate(self._reader.kept(chunk, range(start + first, start + len(texts))), first):
                if len(content) > self._content_tokens:
                    truncated.append(index)
                    content.truncate(self._content_tokens, direction=self._side)
                elif partial and index - first in partial:
                    truncated.append(index)
                    unread = self._reader.most_characters
                ids.append(self._finish(start + index, content))
                if not len(ids[-1]):
                    raise InputValueError(f"text {start + index} has no tokens; leave it out")
        return Tokens(ids, truncated, self._side, unread)

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> Tokens:
        """Token ids of pairs of query and document, joined as the tokenizer joins pairs.

        Of a pair that is too long the document loses its end, or its start, the query nothing.

        Raises:
            InputValueError: a text is not valid Unicode, or a query leaves no room for a document.
            BundleError: the tokenizer fails.
        """
        ids: list[NDArray[np.integer[Any]]] = []
        truncated: list[int] = []
        unread = None
        most = self._max_tokens - self._count_special(is_pair=True)
        for first, end in _chunks([len(query) + len(document) for query, document in pairs]):
            chunk = pairs[first:end]
            places = {
                query: index for index, (query, _) in reversed(list(enumerate(chunk, first)))
            }  # where it is first
            asked, partial = self._reader.read(list(places))
            queries = dict(zip(places, self._reader.kept(asked, list(places.values())), strict=True))
            cut_queries = {query for position, query in enumerate(places) if position in partial} if partial else ()
            read, partial = self._reader.read([document for _, document in chunk])
            documents = self._reader.kept(read, range(first, len(pairs)))
            for index, ((query, _), document) in enumerate(zip(chunk, documents, strict=True), first):
                room = most - len(queries[query])
                if room < 1:
                    raise InputValueError(
                        f"the query of pair {index} has {len(queries[query])} tokens or more, which leaves no room for "
                        f"a document within {self._max_tokens}; shorten it"
                    )
                if len(document) > room:
                    truncated.append(index)
                    document.truncate(room, direction=self._side)
                elif index - first in partial or query in cut_queries:
                    truncated.append(index)
                    unread = self._reader.most_characters
                ids.append(self._finish(index, queries[query], document))
        return Tokens(ids, truncated, self._side, unread)

    def special_ids(self) -> frozenset[int]:
        """Ids of tokens that are no part of a text: all special ones but the mask, which a text may spell out."""
        added = self._tokenizer.get_added_tokens_decoder().items()
        return frozenset(index for index, token in added if token.special and token.content not in _MASKS)

    def count(self, texts: Sequence[str], *, prefix: str = "") -> list[int]:
        """Tokens of each whole text, special ones included, before any truncation.

        Raises:
            InputValueError: a text is not valid Unicode.
            BundleError: the tokenizer fails.
        """
        counts: list[int] = []
        for first, end in _chunks([len(text) for text in texts]):
            chunk = {index: prefix + text for index, text in enumerate(texts[first:end], first)}
            counts += (len(content) + self._special_tokens for content in self._reader.all(chunk))
        return counts

    def _count_special(self, *, is_pair: bool) -> int:
        try:
            return int(self._tokenizer.num_special_tokens_to_add(is_pair=is_pair))
        except BaseException as error:
            raise_ours(error, f"{self._path} is not a tokenizer")

    def _finish(self, index: int, *contents: Encoding) -> NDArray[np.integer[Any]]:
        """Ids of a text or a pair with the special tokens; ``index`` is its own in errors."""
        try:
            ids = self._tokenizer.post_process(*contents).ids
            special = self._special_tokens if len(contents) == 1 else self._special_of_pairs
            if len(ids) != special + sum(map(len, contents)):
                raise BundleError(f"{self._path} leaves out or repeats what it reads; export the bundle again")
            return _narrow(ids)
        except BaseException as error:
            raise_ours(error, f"{self._path} makes no token ids of text {index}")


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
