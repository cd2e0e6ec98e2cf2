"""Tokens of texts without special ones; of a long text only some are looked for, but more than are kept."""

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
    from embedge.inference.excerpt import Excerpts

# Of a long text so many characters for each token are tokenised first; where they are too few, four times as many.
_CHARACTERS_PER_TOKEN = 6
_GROWTH = 4
# Most characters that are read: so many, or so many for each token of a model's longest text. Tokenizers take less than
# 0.1 s for them, those of bytes for half as many; and real text has fewer than 12 characters for each token.
_MOST_CHARACTERS, _MOST_PER_TOKEN = 65_536, 12


class Reader:
    """Reads texts by a tokenizer.

    Args:
        tokenizer: without padding and truncation.
        path: of its file, for errors.
        max_tokens: of the model.
        keep: most tokens of a text that are kept.
        side: the end of a long text that is cut off, ``right`` or ``left``.
    """

    def __init__(self, tokenizer: Tokenizer, path: Path, *, max_tokens: int, keep: int, side: Side) -> None:
        self._tokenizer = tokenizer
        self._path = path
        self._max_tokens = max_tokens
        self._keep = keep
        self._left = side == "left"
        most = _MOST_CHARACTERS // 2 if isinstance(tokenizer.model, models.BPE) else _MOST_CHARACTERS
        self.most_characters = max(most, _MOST_PER_TOKEN * max_tokens)

    def read(self, texts: Sequence[str], prefix: str = "") -> tuple[list[str], Collection[int]]:
        """What is read of texts with a prefix, and positions of those of which some is left out.

        That is all of a text, or ``most_characters`` where it is longer; see ``excerpt``.
        """
        if len(prefix) + max(map(len, texts)) <= self.most_characters:
            return [prefix + text for text in texts] if prefix else list(texts), ()
        read = [self._join(prefix, text) for text in texts]
        return [text for text, _ in read], {position for position, (_, partial) in enumerate(read) if partial}

    def kept(self, texts: Sequence[str], names: Sequence[int]) -> list[Encoding]:
        """Tokens of each text without special ones: all, or of a long text some, but more than are kept.

        ``names`` are the texts' indices in errors.

        A long text is cut at a boundary, so what is left out cannot change the tokens that are found; and as these are
        more than are kept, it cannot hide that the text was truncated.

        Raises:
            InputValueError: a text is not valid Unicode.
            BundleError: the tokenizer fails.
        """
        found: dict[int, Encoding] = {}
        length = self._keep * _CHARACTERS_PER_TOKEN
        waiting: Sequence[int] = range(len(texts))
        while waiting:
            parts = [self._part(texts[position], length) for position in waiting]
            named = {names[position]: part for position, part in zip(waiting, parts, strict=True)}
            found |= zip(waiting, self.all(named), strict=True)
            waiting = [
                position
                for position, part in zip(waiting, parts, strict=True)
                if len(found[position]) <= self._keep and len(part) < len(texts[position])
            ]
            length *= _GROWTH
        return [found[position] for position in range(len(texts))]

    def all(self, texts: Mapping[int, str]) -> list[Encoding]:
        """All tokens of texts without special ones; the keys are their indices in errors. Raises as ``kept``."""
        try:
            found: list[Encoding] = self._tokenizer.encode_batch_fast(list(texts.values()), add_special_tokens=False)
        except BaseException as error:
            if isinstance(error, (TypeError, UnicodeError)):
                _raise_surrogate(texts)
            raise_ours(error, f"{self._path} cannot tokenise {self._failing(texts) if is_fault(error) else 'texts'}")
        return found

    def _join(self, prefix: str, text: str) -> tuple[str, bool]:
        """What is read of both together, and whether some is left out. Neither is copied before it is cut."""
        near, far = (text, prefix) if self._left else (prefix, text)  # to what is kept
        near, partial = self._cut(near)
        if not partial:
            far, partial = self._cut(far)
            both, again = self._cut(far + near if self._left else near + far)
            return both, partial or again
        return near, True

    def _cut(self, text: str) -> tuple[str, bool]:
        return (text, False) if len(text) <= self.most_characters else self._excerpts.take(text)

    def _part(self, text: str, length: int) -> str:
        """The text up to its first boundary after ``length`` characters, or from a boundary so far from its end.

        The whole text where it has none.
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
        """Where a long text may be cut; most processes that are started for one query never ask."""
        from embedge.inference.safe_cut import find_boundary

        return find_boundary(self._tokenizer, before=not self._left)

    @cached_property
    def _excerpts(self) -> Excerpts:
        from embedge.inference.excerpt import Excerpts

        return Excerpts(self._tokenizer, most=self.most_characters, max_tokens=self._max_tokens, from_end=self._left)

    def _failing(self, texts: Mapping[int, str]) -> str:
        """Names the first of the texts that cannot be tokenised."""
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
        if found := find_surrogate(text):
            raise InputValueError(
                f"text {index} is not valid Unicode: a lone surrogate, {found}; "
                "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace') mends it"
            ) from None
