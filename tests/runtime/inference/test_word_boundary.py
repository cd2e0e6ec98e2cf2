"""word_boundary.py: a cut never changes the tokens on its side, whatever the tokenizer and the text."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, pre_tokenizers

from embedge.inference.word_boundary import LETTERS, find_word_boundary
from tokenizer_kinds import ADDED, KINDS, OLD, PIECES, make, precompiled, unigram

made = cache(make)


def ids(tokenizer: Tokenizer, text: str) -> Any:
    return tokenizer.encode(text, add_special_tokens=False).ids


def check_cuts(tokenizer: Tokenizer, pieces: list[str], random: Random, *, texts: int) -> None:
    """In front of every cut and behind it, in random texts."""
    before, behind = find_word_boundary(tokenizer), find_word_boundary(tokenizer, before=False)
    assert before is not None
    for _ in range(texts):
        text = "".join(random.choices(pieces, k=30))
        whole = ids(tokenizer, text)
        for cut in before.finditer(text):
            head = ids(tokenizer, text[: cut.start()])
            assert head == whole[: len(head)], text[: cut.start()]
        for cut in behind.finditer(text) if behind else ():
            tail = ids(tokenizer, text[cut.start() :])
            assert tail == whole[len(whole) - len(tail) :], text[cut.start() :]


@pytest.mark.parametrize("added", [None, *ADDED])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_changes_no_token_of_its_side(kind: str, added: str | None) -> None:
    """Whatever tokens are added, which are frequent in the texts."""
    pieces = PIECES + [ADDED[added].content] * 4 if added else PIECES
    check_cuts(made(kind, added), pieces, Random(f"{kind} {added}"), texts=50)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_cut_changes_no_token_of_any_text(kind: str, seed: int) -> None:
    check_cuts(made(kind, "plain"), PIECES, Random(seed), texts=10)


@pytest.mark.parametrize("collapse", [False, True])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_cut_changes_no_token_behind_sentencepieces_own_normaliser(collapse: bool, seed: int) -> None:
    """It drops a mark that follows white space, so where a mark is, a word need not be."""
    check_cuts(precompiled(collapse), PIECES, Random(seed), texts=10)


SAMPLE = "東京a\n.\u3000 б की में 한 국 a b\tc"


@pytest.mark.parametrize(
    ("kind", "cuts"),
    [
        ("bert", 12),  # the ideographs, the full stop, and white space but U+3000
        ("bert cased", 10),
        ("bytes", 7),
        ("metaspace", 6),
        ("metaspace never", 7),
        ("xlm", 7),
        ("words", 7),
    ],
)
def test_it_cuts_where_it_can(kind: str, cuts: int) -> None:
    """Between words of any script; not at white space that the tokenizer keeps inside a word."""
    boundary = find_word_boundary(make(kind))
    assert boundary is not None
    if kind == "metaspace never" and OLD:
        cuts -= 1  # it keeps a kind of white space that later ones do not
    assert len(boundary.findall(SAMPLE)) == cuts


@pytest.mark.parametrize("content", ["a b", "東京"])
def test_an_added_token_that_a_cut_would_part_forbids_cuts(content: str) -> None:
    tokenizer = make("bert")
    tokenizer.add_tokens([content])
    assert find_word_boundary(tokenizer) is None


def test_an_added_token_that_ends_in_a_space_forbids_cuts_between_words() -> None:
    tokenizer = make("bytes")
    tokenizer.add_tokens([AddedToken("ab ", normalized=False)])
    assert ids(tokenizer, "7 ab 7")[: len(ids(tokenizer, "7 ab"))] != ids(tokenizer, "7 ab")
    assert find_word_boundary(tokenizer) is None


def test_punctuation_of_an_added_token_is_no_cut() -> None:
    tokenizer = make("bert")
    tokenizer.add_tokens(["<x>"])
    boundary = find_word_boundary(tokenizer)
    assert boundary is not None
    assert boundary.findall("[MASK]<x>.,") == [".", ","]


def test_a_token_that_must_stand_alone_forbids_cuts_before_letters() -> None:
    tokenizer = make("bert")
    tokenizer.add_tokens([AddedToken("ab", single_word=True)])
    boundary = find_word_boundary(tokenizer)
    assert boundary is not None
    assert boundary.findall("ab東 a_a.") == [" ", "."]


def test_a_model_that_sees_the_whole_text_forbids_cuts() -> None:
    assert find_word_boundary(Tokenizer(unigram())) is None


@pytest.mark.parametrize("kind", ["bert", "bert cased", "bert accents"])
def test_each_letter_is_part_of_a_word(kind: str) -> None:
    """All that LETTERS matches: BERT's tokenizers leave something of it, and do not part the word there."""
    import re

    tokenizer = make(kind)
    letters = re.compile(f"[{LETTERS}]").findall("".join(map(chr, range(0x20000))))
    assert len(letters) > 10_000
    words: Callable[[str], Any] = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    for letter in letters:
        normal = tokenizer.normalizer.normalize_str(f"a{letter}a")
        assert len(normal) > 2, letter
        assert len(words(normal)) == 1, letter


def test_the_real_tokenizer_of_bge(data: Path) -> None:
    tokenizer = Tokenizer.from_file(str(data / "bge-small-en-v1.5" / "tokenizer.json"))
    boundary = find_word_boundary(tokenizer)
    assert boundary is not None
    assert len(boundary.findall("the cat\n東京")) == 4
    check_cuts(tokenizer, PIECES, Random(0), texts=50)
