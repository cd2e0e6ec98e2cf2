"""shorten.py: a shortened text has the tokens that are stored of the whole text."""

from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

import embedge.inference.shorten
from embedge.inference.shorten import Shortener
from tokenizer_kinds import ADDED, KINDS, OLD, PIECES, make, precompiled, unigram

made = cache(make)
SHORTENING = ["bert", "bert cased", "bert accents", "xlm"]


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is one from a few characters on, or most tests would have none."""
    monkeypatch.setattr(embedge.inference.shorten, "_BLOCK", 4)


def ids(tokenizer: Tokenizer, text: str) -> Any:
    return tokenizer.encode(text, add_special_tokens=False).ids


def text_of_runs(random: Random, pieces: list[str]) -> str:
    def run() -> str:
        alphabet = random.choice([[random.choice(pieces)], list("abZ7aкe한"), list(" \t\n\r")])
        return "".join(random.choices(alphabet, k=random.randint(1, 120)))

    return "".join(random.choice([run(), random.choice(pieces)]) for _ in range(6))


def check_runs(tokenizer: Tokenizer, pieces: list[str], random: Random, *, texts: int) -> int:
    """In random texts; returns how many were shortened."""
    shorter = 0
    for _ in range(texts):
        text = text_of_runs(random, pieces)
        whole = ids(tokenizer, text)
        for keep in (3, 20):
            for from_end in (False, True):
                found = Shortener(tokenizer, max_characters=10**9, max_tokens=keep, from_end=from_end).shorten(text)
                tokens = ids(tokenizer, found.text)
                kept = slice(-keep - 1, None) if from_end else slice(keep + 1)  # one more tells that it was truncated
                assert tokens[kept] == whole[kept], text
                assert not found.is_incomplete
                shorter += len(found.text) < len(text)
    return shorter


@pytest.mark.parametrize("added", [None, *ADDED])
@pytest.mark.parametrize("kind", KINDS)
def test_a_shorter_run_changes_no_token_that_is_kept(kind: str, added: str | None) -> None:
    """Whatever tokens are added, which are frequent in the texts."""
    pieces = PIECES + [ADDED[added].content] * 4 if added else PIECES
    shorter = check_runs(made(kind, added), pieces, Random(f"{kind} {added}"), texts=25)
    assert (shorter > 0) == (kind in SHORTENING)


@pytest.mark.parametrize("kind", SHORTENING)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_shorter_run_changes_no_token_of_any_text(kind: str, seed: int) -> None:
    check_runs(made(kind, "plain"), PIECES, Random(seed), texts=3)


@pytest.mark.parametrize("collapse", [False, True])
def test_white_space_is_shortened_behind_sentencepieces_own_normaliser(collapse: bool) -> None:
    shorter = check_runs(precompiled(collapse), PIECES, Random(0), texts=25)
    assert shorter > 0 or (collapse and OLD)  # of which it is not known what they collapse


@pytest.mark.parametrize("collapse", [False, True])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_shorter_run_changes_no_token_behind_sentencepieces_own_normaliser(collapse: bool, seed: int) -> None:
    check_runs(precompiled(collapse), PIECES, Random(seed), texts=3)


@pytest.mark.parametrize("from_end", [False, True])
@pytest.mark.parametrize("run", ["a", " ", "\t\n ", "\x00", "\u0301", "🚲", "한국", "абв", "0123456789abcdef"])
def test_what_follows_an_endless_run_is_read(run: str, from_end: bool) -> None:
    """BERT makes one token of it, or none."""
    text = "a b " + run * 5000 + " b a"
    found = Shortener(made("bert"), max_characters=1000, max_tokens=16, from_end=from_end).shorten(text)
    assert not found.is_incomplete
    assert len(found.text) < 200
    assert ids(made("bert"), found.text) == ids(made("bert"), text)


@pytest.mark.parametrize("from_end", [False, True])
def test_a_shortened_text_has_an_end(from_end: bool) -> None:
    text = "".join(Random(0).choices("ab7 .\u0301", k=5000))
    found = Shortener(made("bytes"), max_characters=1000, max_tokens=16, from_end=from_end).shorten(text)
    assert found == (text[-1000:] if from_end else text[:1000], True)


@pytest.mark.parametrize("from_end", [False, True])
@pytest.mark.parametrize("added", [None, *ADDED])
@pytest.mark.parametrize("kind", KINDS)
def test_an_end_within_a_word_changes_the_last_words_only(kind: str, added: str | None, from_end: bool) -> None:
    """Eight at most, in any text: an added token that is parted there is some words. So some more are enough."""
    tokenizer, random = made(kind, added), Random(f"{kind} {added}")
    for _ in range(50):
        text = "".join(random.choices(PIECES + ([ADDED[added].content] * 4 if added else []), k=40))
        cut = random.randint(1, len(text))
        whole = ids(tokenizer, text)
        part = tokenizer.encode(text[-cut:] if from_end else text[:cut], add_special_tokens=False)
        words = part.word_ids
        if from_end:
            same = [token for token, word in zip(part.ids, words, strict=True) if word >= words[0] + 8]
            assert whole[len(whole) - len(same) :] == same, text
        else:
            same = [token for token, word in zip(part.ids, words, strict=True) if word <= words[-1] - 8]
            assert whole[: len(same)] == same, text


def test_the_end_changes_no_token_in_front_of_a_place_that_no_piece_spans() -> None:
    """With a Unigram model that sees the whole text as one word."""
    tokenizer, random = Tokenizer(unigram()), Random(0)
    pieces = [piece for piece in tokenizer.get_vocab() if len(piece) > 1]
    checked = 0
    for _ in range(500):
        text = "".join(random.choices([*"ab東京к한", "क\u093e", "aa", "a\n"], k=40))
        spanned = {
            place
            for piece in pieces
            for start in range(len(text))
            if text.startswith(piece, start)
            for place in range(start + 1, start + len(piece))
        }
        cut = random.randint(10, len(text))
        part = tokenizer.encode(text[:cut], add_special_tokens=False)
        last = max((place for place in range(1, cut + 1) if place not in spanned), default=0)
        same = [token for token, (_, end) in zip(part.ids, part.offsets, strict=True) if end <= last]
        assert ids(tokenizer, text)[: len(same)] == same, text
        checked += len(same) < len(part.ids)
    assert checked > 20  # in those the part's last tokens are not certain


def test_characters_that_normalising_multiplies_count_as_what_they_become() -> None:
    """U+FDFA is 18 characters then, which took 0.4 s and 116 MB for a text of 65,536."""
    tokenizer = Tokenizer(unigram())
    excerpt = Shortener(tokenizer, max_characters=1000, max_tokens=8, from_end=False).shorten("\ufdfa" * 100_000)
    assert excerpt.is_incomplete
    assert len(excerpt.text) == 1000 // 18


def test_of_korean_as_much_is_read_as_of_any_text() -> None:
    """Its syllables are two or three characters to NFKD, and one to the tokenizers that compose."""
    excerpt = Shortener(Tokenizer(unigram()), max_characters=1000, max_tokens=8, from_end=False).shorten("한국 " * 1000)
    assert excerpt.is_incomplete
    assert len(excerpt.text) == 1000
