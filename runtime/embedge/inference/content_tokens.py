"""Content tokens of texts: all but the special ones. Of a long text only a part is tokenised, with enough tokens."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Encoding, Tokenizer, models

from embedge.errors import InputValueError, find_surrogate
from embedge.inference.tokenizer_file import is_fault, raise_ours

if TYPE_CHECKING:
    import re

    from embedge.bundle.manifest import Side
    from embedge.inference.shorten import Shortener

# Characters of a long text, for each token that is needed, that are tokenised first; and the factor for the next try if
# they had too few tokens.
_CHARACTERS_PER_TOKEN = 6
_GROWTH = 4
# The largest number of characters of a text: the first number, or the second for each token of the model's limit if
# that is more. Tokenizers take less than 0.1 s for them, byte-level BPE for half as many; and real texts have fewer
# than 12 characters for each token.
_MAX_CHARACTERS, _MAX_CHARACTERS_PER_TOKEN = 65_536, 12


class ContentTokeniser:
    """Tokenises texts without special tokens.

    Args:
        tokenizer: without padding and truncation.
        path: the path of the tokenizer's file, for error messages.
        max_tokens: the model's limit.
        max_content_tokens: the largest number of tokens of one text that the caller stores.
        side: the end of a long text that is truncated, ``right`` or ``left``.
    """

    def __init__(
        self, tokenizer: Tokenizer, path: Path, *, max_tokens: int, max_content_tokens: int, side: Side
    ) -> None:
        self._tokenizer = tokenizer
        self._path = path
        self._max_tokens = max_tokens
        self._max_content_tokens = max_content_tokens
        self._left = side == "left"
        most = _MAX_CHARACTERS // 2 if isinstance(tokenizer.model, models.BPE) else _MAX_CHARACTERS
        self.max_characters = max(most, _MAX_CHARACTERS_PER_TOKEN * max_tokens)

    def shorten(self, texts: Sequence[str], prefix: str = "") -> tuple[list[str], Collection[int]]:
        """Return the texts with a prefix, each shortened to ``max_characters``, and the positions of incomplete ones.

        The module ``shorten`` says how a text is shortened. A text is incomplete if it lost characters that may have
        tokens.
        """
        if len(prefix) + max(map(len, texts)) <= self.max_characters:
            return [prefix + text for text in texts] if prefix else list(texts), ()
        shortened = [self._shorten_joined(prefix, text) for text in texts]
        incomplete = {position for position, (_, is_incomplete) in enumerate(shortened) if is_incomplete}
        return [text for text, _ in shortened], incomplete

    def encode(self, texts: Sequence[str], indices: Sequence[int], *, parallel: bool = True) -> list[Encoding]:
        """Return the content tokens of each text: all of them, or more than ``max_content_tokens`` of a long text.

        A long text is cut at a word boundary, so the part that is left out cannot change the tokens of the rest. The
        rest has more tokens than are stored, so the text still counts as truncated.

        Args:
            texts: the texts.
            indices: the texts' indices in error messages.
            parallel: whether the tokenizer uses all cores for several texts.

        Raises:
            InputValueError: a text is not valid Unicode.
            BundleError: the tokenizer fails.
        """
        encodings: dict[int, Encoding] = {}
        length = self._max_content_tokens * _CHARACTERS_PER_TOKEN
        waiting: Sequence[int] = range(len(texts))
        while waiting:
            parts = [self._part(texts[position], length) for position in waiting]
            by_index = {indices[position]: part for position, part in zip(waiting, parts, strict=True)}
            encodings |= zip(waiting, self.encode_whole(by_index, parallel=parallel), strict=True)
            waiting = [
                position
                for position, part in zip(waiting, parts, strict=True)
                if len(encodings[position]) <= self._max_content_tokens and len(part) < len(texts[position])
            ]
            length *= _GROWTH
        return [encodings[position] for position in range(len(texts))]

    def encode_whole(self, texts: Mapping[int, str], *, parallel: bool = True) -> list[Encoding]:
        """Return all content tokens of texts, whose keys are their indices in error messages. Raises as ``encode``."""
        encode = self._tokenizer.encode_batch_fast
        try:
            if parallel:
                encodings: list[Encoding] = encode(list(texts.values()), add_special_tokens=False)
            else:  # the tokenizer's threads are only for calls with several texts
                encodings = [encode([text], add_special_tokens=False)[0] for text in texts.values()]
        except BaseException as error:
            if isinstance(error, (TypeError, UnicodeError)):
                _raise_surrogate(texts)
            raise_ours(error, f"{self._path} cannot tokenise {self._failing(texts) if is_fault(error) else 'texts'}")
        return encodings

    def _shorten_joined(self, prefix: str, text: str) -> tuple[str, bool]:
        """Shorten prefix and text together, and each one before they are joined: no long string is copied."""
        near, far = (text, prefix) if self._left else (prefix, text)  # near and far from the end that is not truncated
        near, is_incomplete = self._shorten(near)
        if not is_incomplete:
            far, is_incomplete = self._shorten(far)
            both, is_incomplete_again = self._shorten(far + near if self._left else near + far)
            return both, is_incomplete or is_incomplete_again
        return near, True

    def _shorten(self, text: str) -> tuple[str, bool]:
        return (text, False) if len(text) <= self.max_characters else self._shortener.shorten(text)

    def _part(self, text: str, length: int) -> str:
        """Return the text up to its first word boundary after ``length`` characters.

        With truncation on the left, from a word boundary at least ``length`` characters before its end. Without a word
        boundary, the whole text.
        """
        if length >= len(text) or not self._boundary:
            return text
        if self._left:
            end = len(text) - length
            cut = next(self._boundary.finditer(text, max(0, end - length), end), None)
            return text[cut.start() :] if cut else text
        cut = self._boundary.search(text, length)
        return text[: cut.start()] if cut else text

    @cached_property
    def _boundary(self) -> re.Pattern[str] | None:
        """Matches where a long text may be cut. A process that is started for one query hardly ever needs it."""
        from embedge.inference.word_boundary import find_word_boundary

        return find_word_boundary(self._tokenizer, before=not self._left)

    @cached_property
    def _shortener(self) -> Shortener:
        from embedge.inference.shorten import Shortener

        return Shortener(
            self._tokenizer, max_characters=self.max_characters, max_tokens=self._max_tokens, from_end=self._left
        )

    def _failing(self, texts: Mapping[int, str]) -> str:
        """Name the first of the texts that cannot be tokenised."""
        for index, text in texts.items():
            try:
                self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
            except BaseException as error:
                if not is_fault(error):
                    raise
                return f"text {index}"
        return "texts"


def _raise_surrogate(texts: Mapping[int, str]) -> None:
    for index, text in texts.items():
        if surrogate := find_surrogate(text):
            raise InputValueError(
                f"text {index} is not valid Unicode: a lone surrogate, {surrogate}; "
                "replace it by text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
            ) from None
