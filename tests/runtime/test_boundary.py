"""boundary.py: a cut never changes the tokens in front of it, whatever the tokenizer and the text."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from embedge import Bundle
from embedge.boundary import find_boundary

# Where words end or seem to: white space of every kind, ideographs (one beyond the basic plane, one for compatibility),
# kana, marks that combine with what is before (one of them a letter), Hangul's parts, a joiner, punctuation, digits.
PIECES = [*" \t\n\r\x0b\x0c\x85\xa0\u2003\u3000", "  ", "\r\n", "b", "ab", "Z", "7", "42", "'s", ".", "-", "é"]
PIECES += [*"İ\u3400\U00020000\uf900かカ\uff9e\u0301\u0327\u0e33\u1100\u1161\u200d\ufe0f\x00\ufffd🚲к"]
PIECES += ["[MASK]", "<x>", "▁", *"a東京\n " * 5]  # those that a wrong cut parts are the most frequent
KINDS = ["bert", "bert cased", "bytes", "metaspace", "precomposed", "words"]


def alphabet() -> list[str]:
    return sorted({c for piece in PIECES for c in piece} | set("abZ7▁"))


def unigram() -> models.Unigram:
    pieces = ["a\n", "東京", "京a", ".\n", "▁a", "▁ab", "ab", *alphabet()]  # the first is the likeliest
    return models.Unigram([("<unk>", 0.0), *((piece, -3.0 - i / 10) for i, piece in enumerate(pieces))], 0, True)


@pytest.fixture(scope="module")
def tokenizers(tiny_bundle: Bundle) -> dict[str, Tokenizer]:
    made = {"bert": Tokenizer.from_file(str(tiny_bundle.path / "tokenizer.json"))}
    made["bert cased"] = Tokenizer.from_str(made["bert"].to_str())
    made["bert cased"].normalizer = normalizers.BertNormalizer(lowercase=False, handle_chinese_chars=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    made["bytes"] = Tokenizer(models.BPE({letter: i for i, letter in enumerate([*letters, "Ġa"])}, [("Ġ", "a")]))
    made["bytes"].pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made["metaspace"] = Tokenizer(unigram())
    made["metaspace"].pre_tokenizer = pre_tokenizers.Metaspace()
    made["precomposed"] = Tokenizer(unigram())
    made["precomposed"].normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace("\n", " "), normalizers.Strip()]
    )
    made["precomposed"].pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    made["words"] = Tokenizer(models.WordLevel({"a": 0, "ab": 1, "<unk>": 2}, "<unk>"))
    made["words"].pre_tokenizer = pre_tokenizers.Whitespace()
    for tokenizer in made.values():
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.add_tokens([AddedToken("<x>", lstrip=True, rstrip=True)])
    return made


def ids(tokenizer: Tokenizer, text: str) -> Any:
    return tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_cut_changes_no_token_in_front_of_it(tokenizers: dict[str, Tokenizer], kind: str, seed: int) -> None:
    """Forty random texts for each seed."""
    tokenizer, random = tokenizers[kind], Random(seed)
    boundary = find_boundary(tokenizer)
    assert boundary is not None
    for _ in range(40):
        text = "".join(random.choices(PIECES, k=30))
        whole = ids(tokenizer, text)
        for cut in boundary.finditer(text):
            head = ids(tokenizer, text[: cut.start()])
            assert head == whole[: len(head)], text[: cut.start()]


@pytest.mark.parametrize(
    ("kind", "cuts", "text"),
    [
        ("bert", 4, "東京a\n.\u3000 б"),
        ("bert cased", 2, "東京a\n.\u3000 б"),
        ("bytes", 4, "a b\na\tb\r7 東 京 ."),
        ("metaspace", 1, "a b\na\tb\r7 東 京 ."),
        ("precomposed", 4, "a b\na\tb\r7 東 京 ."),
        ("words", 4, "a b\na\tb\r7 東 京 ."),
    ],
)
def test_it_cuts_where_it_can(tokenizers: dict[str, Tokenizer], kind: str, cuts: int, text: str) -> None:
    """No ideograph but BERT's, and no white space that the tokenizer keeps inside a word."""
    boundary = find_boundary(tokenizers[kind])
    assert boundary is not None
    assert len(boundary.findall(text)) == cuts


@pytest.mark.parametrize("content", ["a b", "東京"])
def test_an_added_token_that_a_cut_would_part_forbids_cuts(tokenizers: dict[str, Tokenizer], content: str) -> None:
    tokenizer = Tokenizer.from_str(tokenizers["bert"].to_str())
    tokenizer.add_tokens([content])
    assert find_boundary(tokenizer) is None


def test_a_token_that_must_stand_alone_forbids_cuts_before_ideographs(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = Tokenizer.from_str(tokenizers["bert"].to_str())
    tokenizer.add_tokens([AddedToken("ab", single_word=True)])
    boundary = find_boundary(tokenizer)
    assert boundary is not None
    assert boundary.findall("ab東 a") == [" "]


def test_a_model_that_sees_the_whole_text_forbids_cuts() -> None:
    assert find_boundary(Tokenizer(unigram())) is None


def test_the_real_tokenizer_of_bge(data: Path) -> None:
    tokenizer = Tokenizer.from_file(str(data / "bge-small-en-v1.5" / "tokenizer.json"))
    boundary = find_boundary(tokenizer)
    assert boundary is not None
    assert len(boundary.findall("the cat\n東京")) == 4
