"""Text to token ids, never padded; truncation is explicit."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from embedge.errors import BundleError, TextTypeError, TextValueError

_CHUNK = 512  # texts handed to the tokenizer at a time: its Encoding objects hold about 200 bytes a token
# A cut here cannot change the tokens before it: every supported pre-tokenizer ends a word at a space, and an ASCII
# letter or digit after it combines with nothing in front.
_WORD_START = re.compile(r" (?=[A-Za-z0-9])")
_CHARACTERS_PER_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of some texts.

    Attributes:
        ids: for each text its ids, special ones included, at most ``max_tokens`` of them.
        truncated: positions of the texts that lost their end.
    """

    ids: list[list[int]]
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
        self._content_tokens = max_tokens - self._tokenizer.num_special_tokens_to_add(is_pair=False)
        if self._content_tokens < 1:
            raise BundleError(f"{path} adds more special tokens than max_tokens ({max_tokens}) has room for")

    def encode(self, texts: Sequence[str], *, prefix: str = "", start: int = 0) -> Tokens:
        """Token ids of texts, each with ``prefix`` in front; ``start`` is the index of the first in errors.

        Raises:
            TextValueError: a text is not valid Unicode (it holds a lone surrogate).
        """
        tokens = Tokens([], [])
        for first in range(0, len(texts), _CHUNK):
            chunk = [
                self._head(prefix + text, start + i) for i, text in enumerate(texts[first : first + _CHUNK], first)
            ]
            for text, ids in zip(chunk, self._ids(chunk, start + first), strict=True):
                if len(ids) > self._max_tokens:
                    tokens.truncated.append(len(tokens.ids))
                    ids = self._truncated(text)
                if not ids:
                    raise TextValueError(f"text {start + len(tokens.ids)} has no tokens; leave it out")
                tokens.ids.append(ids)
        return tokens

    def count(self, texts: Sequence[str], *, prefix: str = "") -> list[int]:
        """Tokens of each whole text, special ones included, before any truncation."""
        counts: list[int] = []
        for start in range(0, len(texts), _CHUNK):
            chunk = [prefix + text for text in texts[start : start + _CHUNK]]
            counts += map(len, self._ids(chunk, start))
        return counts

    def _ids(self, chunk: list[str], start: int) -> list[list[int]]:
        try:
            return [list(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(chunk)]
        except TypeError:
            _raise_surrogate(chunk, start)
            raise

    def _truncated(self, text: str) -> list[int]:
        """The first ids of a long text, with the special tokens where the tokenizer's template wants them."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        encoding.truncate(self._content_tokens)
        return list(self._tokenizer.post_process(encoding).ids)

    def _head(self, text: str, index: int) -> str:
        """A prefix of the text with the same first ``max_tokens`` tokens, so that 10 MB do not cost 12 s.

        The prefix ends before a word and, unless it is the whole text, holds more than ``max_tokens`` tokens: what
        follows can then neither change the tokens that are kept nor hide that the text was truncated.
        """
        length = self._max_tokens * _CHARACTERS_PER_TOKEN
        while length < len(text):
            cut = _WORD_START.search(text, length)
            if cut is None:
                return text
            head = text[: cut.start()]
            if len(self._ids([head], index)[0]) > self._max_tokens:
                return head
            length = 2 * cut.end()
        return text


def _raise_surrogate(texts: Sequence[str], start: int) -> None:
    for index, text in enumerate(texts, start):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextValueError(
                f"text {index} is not valid Unicode: a lone surrogate, U+{ord(error.object[error.start]):04X}; "
                "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace') mends it"
            ) from None


def check_texts(texts: Any) -> tuple[list[str], bool]:
    """The input as a list of strings, and whether it was a single string.

    Raises:
        TextTypeError: it is not a string or an iterable of strings; names the first index that is not.
    """
    if isinstance(texts, str):
        return [texts], True
    return take_texts(iter(check_iterable(texts)), None, 0), False


def check_iterable(texts: Any) -> Iterable[Any]:
    """The input, if it is an iterable of what may be strings.

    Raises:
        TextTypeError: it is not; bytes and dicts iterate over something else than texts.
    """
    if isinstance(texts, bytes | bytearray | Mapping) or not isinstance(texts, Iterable):
        raise TextTypeError(f"texts must be a string or a list of strings, found {type(texts).__name__}")
    return texts


def take_texts(texts: Iterator[Any], count: int | None, start: int) -> list[str]:
    """The next ``count`` strings of an iterator, all where None; ``start`` is the index of the first in errors."""
    taken = list(islice(texts, count))
    for index, text in enumerate(taken, start):
        if not isinstance(text, str):
            hint = "; decode it: text.decode('utf-8')" if isinstance(text, bytes) else ""
            raise TextTypeError(f"text {index} must be a string, found {type(text).__name__}{hint}")
    return taken
