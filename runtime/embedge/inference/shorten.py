"""Shorten very long texts to their first or last characters; very long runs of the same kind are cut short."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from tokenizers import Tokenizer, models

from embedge.inference.word_boundary import LETTERS, added_contents, normalised, splits_as_bert, words

_BLOCK = 2048  # characters of a block, at least; a run is shortened if it fills a block
_WORD = re.compile(f"[{LETTERS}]+")
# White space of which a long run can be shortened. The step Precompiled sees one grapheme at a time, so each of these
# characters must be a grapheme by itself. "\r" is left out: "\r\n" is one grapheme.
_BLANKS = " \t\n"
# Steps of a normaliser or pre-tokeniser that treat a white space between two others by itself, or collapse it.
_LOCAL_STEPS = {
    *("Precompiled", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip"),
    *("WhitespaceSplit", "Metaspace"),
}
_COLLAPSING_STEP = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}


class ShortenedText(NamedTuple):
    """The part of a long text that is tokenised.

    Attributes:
        text: the characters.
        is_incomplete: whether characters that may have tokens are left out.
    """

    text: str
    is_incomplete: bool


class Shortener:
    """Shortens texts to a number of characters.

    A long run within the text is shortened if that changes none of the tokens that are stored:

    1. BERT's tokenizers turn a word longer than ``max_input_chars_per_word`` into one unknown token. So a word
       of letters and digits can lose characters, as long as it stays longer than that: it is still the same token.
    2. BERT's tokenizers normalise each character by itself. So a run of one character becomes nothing; or one word, to
       which 1. applies; or a token for each character, and then even the shortened run has more tokens than are stored.
    3. White space between white space has no tokens with BERT, if ``WhitespaceSplit`` comes first, or if a step
       collapses several into one.

    Added tokens are matched before all of this. So a run that could contain one is not shortened, and any other run
    keeps both its ends, each longer than any added token.

    Args:
        tokenizer: without padding and truncation.
        max_characters: the largest number of characters of a shortened text.
        max_tokens: the model's limit; no more tokens are stored.
        from_end: take the last characters, not the first.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_characters: int, max_tokens: int, from_end: bool) -> None:
        self._tokenizer = tokenizer
        self._max_characters = max_characters
        self._from_end = from_end
        self._added = added_contents(tokenizer)
        self._edge = 1 + max(map(len, self._added), default=0)
        bert = splits_as_bert(tokenizer) and isinstance(tokenizer.model, models.WordPiece)
        longest_word = tokenizer.model.max_input_chars_per_word if bert else 0
        self._block = max(_BLOCK, max_tokens + 1, longest_word + 1) + self._edge
        self._shortens_words = bert and longest_word < self._max_characters
        blanks = _blanks(tokenizer, bert)
        in_added_token = any(blank in content for content in self._added for blank in blanks)
        self._blanks = self._inner_blanks = None
        if blanks and not in_added_token:
            self._blanks = re.compile(f"[{blanks}]+")
            self._inner_blanks = re.compile(f"(?<=[{blanks}])[{blanks}]+(?=[{blanks}])")

    def shorten(self, text: str) -> ShortenedText:
        """Return the first or last characters of a text that is longer than ``max_characters``."""
        if self._from_end:
            reversed_text, is_incomplete = self._first_characters(text[::-1])
            return ShortenedText(reversed_text[::-1], is_incomplete)
        return self._first_characters(text)

    def _first_characters(self, text: str) -> ShortenedText:
        parts: list[str] = []
        total = next_start = 0
        for block, next_start in self._blocks(text):  # noqa: B007  # the last one is needed below
            parts.append(self._inner_blanks.sub("", block) if self._inner_blanks else block)
            total += len(parts[-1])
            if total >= self._max_characters:
                break
        shortened = "".join(parts)[: self._max_characters]
        # A ligature may become 18 characters when it is normalised, and the time depends on these. (NFKC, not NFKD:
        # NFKD splits Korean syllables into parts, which take almost no time, but less than half of a Korean text would
        # be left.)
        normal_length = len(unicodedata.normalize("NFKC", shortened))
        if normal_length > 2 * self._max_characters:
            return ShortenedText(shortened[: self._max_characters * len(shortened) // normal_length], True)
        return ShortenedText(shortened, total > self._max_characters or next_start < len(text))

    def _blocks(self, text: str) -> Iterator[tuple[str, int]]:
        """Yield each block of the text, and where the next starts: if a run fills a block, near the end of the run."""
        start = 0
        while start < len(text):
            block = text[start : start + self._block]
            start += len(block)
            if len(block) == self._block and (run := self._run(block)) and (rest := run.match(text, start)):
                start = max(start, rest.end() - self._edge)
            yield block, start

    def _run(self, block: str) -> re.Pattern[str] | None:
        """Return a pattern for the rest of the run that fills the block; None if no run that may be shortened does."""
        if self._blanks and self._blanks.fullmatch(block):
            return self._blanks
        if not self._shortens_words:
            return None
        if block == block[0] * len(block):
            return None if self._is_added(block[0]) else re.compile(f"{re.escape(block[0])}+")
        if _WORD.fullmatch(block) and not any(_WORD.fullmatch(content) for content in self._added):
            return _WORD
        return None

    def _is_added(self, character: str) -> bool:
        """Whether a run of the character may contain an added token."""
        alike = {character} | set(normalised(self._tokenizer, character))
        return any(alike.issuperset(content) for content in self._added)


def _blanks(tokenizer: Tokenizer, bert: bool) -> str:
    """Return the white space characters whose longer runs have the same tokens as a run of two; "" if none is known."""
    if bert:
        return _BLANKS + "\r"
    steps = [*_steps(tokenizer.normalizer, "normalizers"), *_steps(tokenizer.pre_tokenizer, "pretokenizers")]
    if not all(step["type"] in _LOCAL_STEPS or step == _COLLAPSING_STEP for step in steps):
        return ""
    alike = all(
        words(tokenizer, f"a{first}{between}{last}a") == words(tokenizer, f"a{first}{last}a")
        for first, between, last in product(_BLANKS, repeat=3)
    )
    return _BLANKS if alike else ""


def _steps(component: Any, parts: str) -> Iterator[dict[str, Any]]:
    """Yield the steps of a normaliser or a pre-tokeniser, from its JSON: its Python object does not list them."""
    described = json.loads(component.__getstate__()) if component is not None else {"type": "Sequence", parts: []}
    waiting = [described]
    while waiting:
        step = waiting.pop(0)
        if step["type"] == "Sequence":
            waiting = [*step[parts], *waiting]
        else:
            yield step
