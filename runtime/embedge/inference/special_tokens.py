"""Adds special tokens, such as [CLS] and [SEP], to the content tokens of a text or a pair."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from embedge.errors import BundleError
from embedge.inference.tokenizer_file import raise_ours


class SpecialTokens:
    """The special tokens that a tokenizer puts before, between and after content tokens.

    They are the same for every text. So the tokenizer is asked once, and after that Python's lists are joined, which
    takes a tenth of the time.

    Args:
        tokenizer: the tokenizer.
        path: the path of its file, for error messages.
        is_pair: whether pairs are joined, or single texts.

    Attributes:
        count: the number of special tokens of one text or one pair.
    """

    def __init__(self, tokenizer: Tokenizer, path: Path, *, is_pair: bool) -> None:
        self._tokenizer = tokenizer
        self._path = path
        # The special tokens before, between and after the contents; None as long as they are not known.
        self._parts: list[list[int]] | None = None
        try:
            self.count = int(tokenizer.num_special_tokens_to_add(is_pair=is_pair))
        except BaseException as error:
            raise_ours(error, f"{path} is not a tokenizer")

    def add(self, index: int, *contents: Encoding) -> list[int]:
        """Return the ids of a text or a pair with the special tokens; ``index`` is its index in error messages.

        Raises:
            BundleError: the tokenizer fails, or leaves out or repeats content tokens.
        """
        parts = self._parts
        if parts is None:
            return self._learn(index, contents)
        ids: list[int] = parts[0] + contents[0].ids + parts[1]
        return ids if len(contents) == 1 else ids + contents[1].ids + parts[2]

    def _learn(self, index: int, contents: tuple[Encoding, ...]) -> list[int]:
        """Ask the tokenizer for all ids, and note which of them are special."""
        try:
            joined = self._tokenizer.post_process(*contents)
            ids: list[int] = joined.ids
            if len(ids) != self.count + sum(map(len, contents)):
                raise BundleError(f"{self._path} leaves out or repeats tokens; export the bundle again")
            if all(map(len, contents)):  # a content without tokens does not show where it would stand
                self._parts = _split(ids, joined.sequence_ids, [content.ids for content in contents])
        except BaseException as error:
            raise_ours(error, f"{self._path} makes no token ids of text {index}")
        return ids


def _split(ids: list[int], sequences: list[int | None], contents: list[list[int]]) -> list[list[int]] | None:
    """Return the special tokens before, between and after the contents.

    Args:
        ids: all ids.
        sequences: which of the contents each token belongs to; None for a special token.
        contents: the ids of each content.

    Returns:
        One list more than there are contents; None if the ids are not the contents in their order.

    >>> _split([101, 7, 8, 102], [None, 0, 0, None], [[7, 8]])
    [[101], [102]]
    """
    parts: list[list[int]] = [[]]
    for token, sequence in zip(ids, sequences, strict=True):
        if sequence is None:
            parts[-1].append(token)
        elif sequence == len(parts) - 1:
            parts.append([])
        elif sequence != len(parts) - 2 or parts[-1]:
            return None
    if len(parts) != len(contents) + 1:
        return None
    joined = chain(parts[0], *(chain(content, part) for content, part in zip(contents, parts[1:], strict=True)))
    return parts if list(joined) == ids else None
