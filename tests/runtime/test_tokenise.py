"""tokenise.py, against tokenizers' own truncation of the whole text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from embedge import Bundle, TextTypeError, TextValueError
from embedge.texts import check_texts
from embedge.tokenise import Tokeniser, Tokens

MAX_TOKENS = 16


@pytest.fixture(scope="module")
def path(tiny_bundle: Bundle) -> Path:
    return tiny_bundle.path / "tokenizer.json"


@pytest.fixture(scope="module")
def tokeniser(path: Path) -> Tokeniser:
    return Tokeniser(path, max_tokens=MAX_TOKENS)


@pytest.fixture(scope="module")
def plain(path: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def as_lists(tokens: Tokens) -> list[list[int]]:
    return [ids.tolist() for ids in tokens.ids]


def test_the_files_own_padding_and_truncation_do_not_leak_in(path: Path) -> None:
    assert Tokenizer.from_file(str(path)).padding is not None
    tokens = Tokeniser(path, max_tokens=60).encode(["the cat", "the cat sat " * 10])
    assert [len(ids) for ids in tokens.ids] == [4, 32]


PIECES = [
    "the ",
    "cat",
    " ",
    "\n",
    "東",
    "e",
    "\u0301",
    "!",
    "\x00",
    "  dog ",
    "🚲",
    "ing",
    "\t",
    "\r\n",
    "\x0b",
    "кот",
    "京",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=400).map("".join)


@given(TEXT)
def test_truncation_is_that_of_tokenizers(tokeniser: Tokeniser, plain: Tokenizer, text: str) -> None:
    tokens = tokeniser.encode([text])
    assert as_lists(tokens) == [plain.encode(text).ids]


@given(TEXT)
def test_a_text_is_called_truncated_when_it_is_longer(tokeniser: Tokeniser, text: str) -> None:
    assert bool(tokeniser.encode([text]).truncated) == (tokeniser.count([text])[0] > MAX_TOKENS)


class Spy:
    """A tokenizer that counts the characters that it is given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.characters = 0

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self.characters += sum(map(len, texts))
        return self._tokenizer.encode_batch_fast(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


@pytest.mark.parametrize("piece", ["the cat sat on mat . ", "cat\n", "東京", "далеко ", "\t東ing"])
def test_a_long_text_is_cut_before_it_is_tokenised(
    tokeniser: Tokeniser, plain: Tokenizer, piece: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = piece * 5000
    with monkeypatch.context() as patch:
        patch.setattr(tokeniser, "_tokenizer", Spy(tokeniser._tokenizer))
        assert as_lists(tokeniser.encode([text])) == [plain.encode(text).ids]
        assert tokeniser._tokenizer.characters < 1000


@given(st.lists(TEXT, max_size=40))
def test_a_text_has_its_own_tokens_in_any_company(tokeniser: Tokeniser, plain: Tokenizer, texts: list[str]) -> None:
    """Long texts among short ones: those cut too short are tokenised again, and only those."""
    assert as_lists(tokeniser.encode(texts)) == [plain.encode(text).ids for text in texts]


def test_ids_are_compact(tokeniser: Tokeniser) -> None:
    assert tokeniser.encode(["the cat"]).ids[0].dtype == np.uint16


def test_a_prompt_counts_among_the_tokens(tokeniser: Tokeniser, plain: Tokenizer) -> None:
    tokens = tokeniser.encode(["cat " * 30], prefix="the dog ")
    assert as_lists(tokens) == [plain.encode("the dog " + "cat " * 30).ids]


def test_a_lone_surrogate_is_named(tokeniser: Tokeniser) -> None:
    with pytest.raises(TextValueError, match=r"text 8 is not valid Unicode: a lone surrogate, U\+D83D"):
        tokeniser.encode(["fine", "bad \ud83d"], start=7)


def test_a_lone_surrogate_in_a_long_text_is_named(tokeniser: Tokeniser) -> None:
    with pytest.raises(TextValueError, match="text 1 "):
        tokeniser.encode(["fine", "\ud83d the cat" * 500])


@pytest.mark.parametrize("texts", [None, 3, b"bytes", {"a": 1}, 2.5, np.array("cat")])
def test_what_holds_no_strings_is_refused(texts: object) -> None:
    with pytest.raises(TextTypeError, match="must be a string or a list of strings"):
        check_texts(texts)


@pytest.mark.parametrize("item", [None, 3, b"bytes", ["nested"], float("nan")])
def test_what_is_no_string_is_named_by_its_index(item: object) -> None:
    with pytest.raises(TextTypeError, match="text 2 must be a string"):
        check_texts(["fine", "fine", item])
