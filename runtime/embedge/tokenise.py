"""Text to token ids, never padded; truncation is explicit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from embedge.boundary import find_boundary
from embedge.errors import BundleError, TextValueError

_CHUNK = 512  # texts handed to the tokenizer at a time: its Encoding objects hold about 200 bytes a token
# Of a long text so many characters for each token are tokenised first; where they are too few, four times as many.
_CHARACTERS_PER_TOKEN = 6
_GROWTH = 4


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of some texts.

    Attributes:
        ids: for each text its ids, int32 [tokens], special ones included, at most ``max_tokens`` of them. (As Python's
            integers they would take ten times the memory.)
        truncated: positions of the texts that lost their end.
    """

    ids: list[NDArray[np.int32]]
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
        self._special_tokens = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._content_tokens = max_tokens - self._special_tokens
        self._boundary = find_boundary(self._tokenizer)
        if self._content_tokens < 1:
            raise BundleError(f"{path} adds more special tokens than max_tokens ({max_tokens}) has room for")

    def encode(self, texts: Sequence[str], *, prefix: str = "", start: int = 0) -> Tokens:
        """Token ids of texts, each with ``prefix`` in front; ``start`` is the index of the first in errors.

        Raises:
            TextValueError: a text is not valid Unicode (it holds a lone surrogate), or has no tokens.
        """
        tokens = Tokens([], [])
        for first in range(0, len(texts), _CHUNK):
            chunk = [prefix + text for text in texts[first : first + _CHUNK]]
            for index, content in enumerate(self._first_tokens(chunk, start + first), first):
                if len(content) > self._content_tokens:
                    tokens.truncated.append(index)
                    content.truncate(self._content_tokens)
                ids = np.array(self._tokenizer.post_process(content).ids, np.int32)
                if not len(ids):
                    raise TextValueError(f"text {start + index} has no tokens; leave it out")
                tokens.ids.append(ids)
        return tokens

    def count(self, texts: Sequence[str], *, prefix: str = "") -> list[int]:
        """Tokens of each whole text, special ones included, before any truncation.

        Raises:
            TextValueError: a text is not valid Unicode.
        """
        counts: list[int] = []
        for first in range(0, len(texts), _CHUNK):
            chunk = {index: prefix + text for index, text in enumerate(texts[first : first + _CHUNK], first)}
            counts += (len(content) + self._special_tokens for content in self._tokenise(chunk))
        return counts

    def _first_tokens(self, texts: Sequence[str], start: int) -> list[Encoding]:
        """Tokens of each text without special ones: all, or of a long text some, but more than are kept.

        10 MB would take seconds. A text is cut at a boundary, so what follows cannot change the tokens before; and as
        these are more than are kept, it cannot hide that the text was truncated.
        """
        found: dict[int, Encoding] = {}
        length = self._content_tokens * _CHARACTERS_PER_TOKEN
        waiting: Sequence[int] = range(len(texts))
        while waiting:
            heads = {start + position: self._head(texts[position], length) for position in waiting}
            found |= zip(waiting, self._tokenise(heads), strict=True)
            waiting = [
                position
                for position in waiting
                if len(found[position]) <= self._content_tokens and len(heads[start + position]) < len(texts[position])
            ]
            length *= _GROWTH
        return [found[position] for position in range(len(texts))]

    def _head(self, text: str, length: int) -> str:
        """The text up to its first boundary after ``length`` characters; the whole text where it has none."""
        cut = self._boundary.search(text, length) if self._boundary and length < len(text) else None
        return text[: cut.start()] if cut else text

    def _tokenise(self, texts: Mapping[int, str]) -> list[Encoding]:
        """Tokens of texts without special ones; the keys are their indices in errors."""
        try:
            found: list[Encoding] = self._tokenizer.encode_batch_fast(list(texts.values()), add_special_tokens=False)
        except TypeError:
            _raise_surrogate(texts)
            raise
        return found


def _raise_surrogate(texts: Mapping[int, str]) -> None:
    for index, text in texts.items():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextValueError(
                f"text {index} is not valid Unicode: a lone surrogate, U+{ord(error.object[error.start]):04X}; "
                "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace') mends it"
            ) from None
