"""What is read of a very long text: its first or last characters, in which a run that has no end is a short one."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from tokenizers import Tokenizer, models

from embedge.inference.safe_cut import LETTERS, added_contents, normalised, splits_as_bert, words

_BLOCK = 2048  # a text is looked through in blocks of so many characters at least; a run is as long or longer
_WORD = re.compile(f"[{LETTERS}]+")
# Steps that treat white space within white space by itself, or collapse it; Precompiled sees one grapheme at a time,
# and each of these is a grapheme. "\r" is left out, which "\n" makes one with.
_BLANKS = " \t\n"
_LOCAL = {
    *("Precompiled", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip"),
    *("WhitespaceSplit", "Metaspace"),
}
_COLLAPSE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}


class Excerpt(NamedTuple):
    """What is read of a text.

    Attributes:
        text: its characters.
        partial: whether some are left out that may have tokens.
    """

    text: str
    partial: bool


class Excerpts:
    """Takes excerpts of texts longer than are read.

    A run in the text is shortened where that changes none of the tokens that are kept:

    1. BERT's tokenizers make one unknown token of a word longer than ``max_input_chars_per_word``, so a word of letters
       and digits is as good with less of them, but more than that.
    2. They normalise a character by itself. So of a run of one character either nothing is left, or one word, of which
       1. holds, or every character has a token, and then those in the shortened run are more than are kept.
    3. White space between white space has no tokens with BERT, where ``WhitespaceSplit`` comes first, or where a step
       makes one of many.

    Added tokens are matched before, and are looked for first: a run that one could lie within is left as it is, and of
    any other both ends stay, each longer than an added token.

    Args:
        tokenizer: without padding and truncation.
        most: characters of an excerpt.
        max_tokens: of the model; more are not kept.
        from_end: take the last characters.
    """

    def __init__(self, tokenizer: Tokenizer, *, most: int, max_tokens: int, from_end: bool) -> None:
        self._tokenizer = tokenizer
        self._most = most
        self._from_end = from_end
        self._added = added_contents(tokenizer)
        self._edge = 1 + max(map(len, self._added), default=0)
        bert = splits_as_bert(tokenizer) and isinstance(tokenizer.model, models.WordPiece)
        longest_word = tokenizer.model.max_input_chars_per_word if bert else 0
        self._block = max(_BLOCK, max_tokens + 1, longest_word + 1) + self._edge
        self._shorter_words = bert and longest_word < self._most
        blanks = _blanks(tokenizer, bert)
        parted = any(blank in content for content in self._added for blank in blanks)
        self._blanks = self._between = None
        if blanks and not parted:
            self._blanks = re.compile(f"[{blanks}]+")
            self._between = re.compile(f"(?<=[{blanks}])[{blanks}]+(?=[{blanks}])")

    def take(self, text: str) -> Excerpt:
        """The excerpt of a text that is longer than are read."""
        if self._from_end:
            found = self._first(text[::-1])
            return Excerpt(found.text[::-1], found.partial)
        return self._first(text)

    def _first(self, text: str) -> Excerpt:
        parts: list[str] = []
        total = next_start = 0
        for block, next_start in self._blocks(text):  # noqa: B007  # the last one tells
            parts.append(self._between.sub("", block) if self._between else block)
            total += len(parts[-1])
            if total >= self._most:
                break
        found = "".join(parts)[: self._most]
        # A ligature may be 18 characters when it is normalised, and it is those that take time. (NFKC, and not NFKD: of
        # Korean that would leave less than half, for parts of syllables that cost next to nothing.)
        normal = len(unicodedata.normalize("NFKC", found))
        if normal > 2 * self._most:
            return Excerpt(found[: self._most * len(found) // normal], True)
        return Excerpt(found, total > self._most or next_start < len(text))

    def _blocks(self, text: str) -> Iterator[tuple[str, int]]:
        """Blocks of the text, and where the next one starts: of a run that fills one, near its end."""
        start = 0
        while start < len(text):
            block = text[start : start + self._block]
            start += len(block)
            if len(block) == self._block and (run := self._run(block)) and (rest := run.match(text, start)):
                start = max(start, rest.end() - self._edge)
            yield block, start

    def _run(self, block: str) -> re.Pattern[str] | None:
        """Matches the rest of the run that fills the block; None where there is none that may be shortened."""
        if self._blanks and self._blanks.fullmatch(block):
            return self._blanks
        if not self._shorter_words:
            return None
        if block == block[0] * len(block):
            return None if self._is_added(block[0]) else re.compile(f"{re.escape(block[0])}+")
        if _WORD.fullmatch(block) and not any(_WORD.fullmatch(content) for content in self._added):
            return _WORD
        return None

    def _is_added(self, character: str) -> bool:
        """Whether an added token may lie within a run of the character."""
        alike = {character} | set(normalised(self._tokenizer, character))
        return any(alike.issuperset(content) for content in self._added)


def _blanks(tokenizer: Tokenizer, bert: bool) -> str:
    """White space of which three characters have the tokens of two, and so on; none where that is not known."""
    if bert:
        return _BLANKS + "\r"
    steps = [*_steps(tokenizer.normalizer, "normalizers"), *_steps(tokenizer.pre_tokenizer, "pretokenizers")]
    if not all(step["type"] in _LOCAL or step == _COLLAPSE for step in steps):
        return ""
    alike = all(
        words(tokenizer, f"a{first}{between}{last}a") == words(tokenizer, f"a{first}{last}a")
        for first, between, last in product(_BLANKS, repeat=3)
    )
    return _BLANKS if alike else ""


def _steps(component: Any, parts: str) -> Iterator[dict[str, Any]]:
    """The steps of a normaliser or a pre-tokeniser, one after the other; their Python objects do not tell."""
    described = json.loads(component.__getstate__()) if component is not None else {"type": "Sequence", parts: []}
    waiting = [described]
    while waiting:
        step = waiting.pop(0)
        if step["type"] == "Sequence":
            waiting = [*step[parts], *waiting]
        else:
            yield step
