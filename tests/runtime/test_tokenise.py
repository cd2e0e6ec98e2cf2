"""tokenise.py, against tokenizers' own truncation of the whole text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from embedge import Bundle, TextTypeError, TextValueError
from embedge.tokenise import Tokeniser, check_texts

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


def test_the_files_own_padding_and_truncation_do_not_leak_in(path: Path) -> None:
    assert Tokenizer.from_file(str(path)).padding is not None
    tokens = Tokeniser(path, max_tokens=60).encode(["the cat", "the cat sat " * 10])
    assert [len(ids) for ids in tokens.ids] == [4, 32]


PIECES = ["the ", "cat", " ", "\n", "東", "e", "\u0301", "!", "\x00", "  dog ", "🚲", "ing"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=400).map("".join)


@given(TEXT)
def test_truncation_is_that_of_tokenizers(tokeniser: Tokeniser, plain: Tokenizer, text: str) -> None:
    tokens = tokeniser.encode([text])
    assert tokens.ids == [plain.encode(text).ids]


@given(TEXT)
def test_a_text_is_called_truncated_when_it_is_longer(tokeniser: Tokeniser, text: str) -> None:
    assert bool(tokeniser.encode([text]).truncated) == (tokeniser.count([text])[0] > MAX_TOKENS)


def test_a_long_text_is_cut_before_it_is_tokenised(tokeniser: Tokeniser, plain: Tokenizer) -> None:
    text = "the cat sat on mat . " * 5000
    head = tokeniser._head(text, 0)
    assert len(head) < 1000
    assert tokeniser.encode([text]).ids == [plain.encode(text).ids]


def test_a_prompt_counts_among_the_tokens(tokeniser: Tokeniser, plain: Tokenizer) -> None:
    assert tokeniser.encode(["cat " * 30], prefix="the dog ").ids == [plain.encode("the dog " + "cat " * 30).ids]


def test_a_lone_surrogate_is_named(tokeniser: Tokeniser) -> None:
    with pytest.raises(TextValueError, match=r"text 8 is not valid Unicode: a lone surrogate, U\+D83D"):
        tokeniser.encode(["fine", "bad \ud83d"], start=7)


def test_a_lone_surrogate_in_a_long_text_is_named(tokeniser: Tokeniser) -> None:
    with pytest.raises(TextValueError, match="text 1 "):
        tokeniser.encode(["fine", "\ud83d the cat" * 500])


@pytest.mark.parametrize("texts", [None, 3, b"bytes", {"a": 1}, 2.5])
def test_what_holds_no_strings_is_refused(texts: object) -> None:
    with pytest.raises(TextTypeError, match="must be a string or a list of strings"):
        check_texts(texts)


@pytest.mark.parametrize("item", [None, 3, b"bytes", ["nested"], float("nan")])
def test_what_is_no_string_is_named_by_its_index(item: object) -> None:
    with pytest.raises(TextTypeError, match="text 2 must be a string"):
        check_texts(["fine", "fine", item])
