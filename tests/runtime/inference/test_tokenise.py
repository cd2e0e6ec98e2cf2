"""tokenise.py, against tokenizers' own truncation of the whole text."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

import tokenizer_kinds
from embedge import Bundle, InputTypeError, InputValueError, TruncationWarning
from embedge.bundle.manifest import Side
from embedge.inference.input_texts import check_texts
from embedge.inference.tokenise import Tokeniser
from embedge.inference.tokens import Tokens
from embedge.inference.truncation import Truncation
from tokenizer_kinds import KINDS, make, precompiled

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


@pytest.fixture(scope="module")
def left(path: Path) -> Tokeniser:
    return Tokeniser(path, max_tokens=MAX_TOKENS, truncation_side="left")


def of_transformers(path: Path, side: str) -> Any:
    PreTrainedTokenizerFast = pytest.importorskip("transformers").PreTrainedTokenizerFast  # noqa: N806

    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_file=str(path), truncation_side=side, **names)


@given(TEXT)
def test_truncation_on_the_left_is_that_of_transformers(left: Tokeniser, theirs_left: Any, text: str) -> None:
    """Also with a prompt, which is lost first. A warning says so."""
    expected = theirs_left("the dog " + text, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    tokens = left.encode([text], prefix="the dog ")
    assert as_lists(tokens) == [expected]
    assert bool(tokens.truncated) == (left.count([text], prefix="the dog ")[0] > MAX_TOKENS)


@pytest.mark.parametrize("side", ["right", "left"])
@given(TEXT)
def test_pairs_are_those_of_transformers(path: Path, theirs: dict[str, Any], side: Side, text: str) -> None:
    batch = theirs[side](["the dog"], [text], truncation="only_second", max_length=MAX_TOKENS)  # alone, "" is no pair
    tokens = Tokeniser(path, max_tokens=MAX_TOKENS, truncation_side=side).encode_pairs([("the dog", text)])
    assert as_lists(tokens) == batch["input_ids"]


@pytest.fixture(scope="module")
def theirs(path: Path) -> dict[str, Any]:
    return {side: of_transformers(path, side) for side in ("right", "left")}


@pytest.fixture(scope="module")
def theirs_left(theirs: dict[str, Any]) -> Any:
    return theirs["left"]


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


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("piece", ["the cat sat on mat . ", "cat\n", "東京", "далеко ", "\t東ing", "cat,", "{'a':'b'}"])
def test_a_long_text_is_cut_before_it_is_tokenised(
    path: Path, piece: str, side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = piece * 5000
    tokeniser, plain = Tokeniser(path, max_tokens=MAX_TOKENS, truncation_side=side), Tokenizer.from_file(str(path))
    plain.no_padding()
    plain.enable_truncation(MAX_TOKENS, direction=side)
    monkeypatch.setattr(tokeniser._content_tokeniser, "_tokenizer", Spy(tokeniser._content_tokeniser._tokenizer))
    assert as_lists(tokeniser.encode([text])) == [plain.encode(text).ids]
    assert tokeniser._content_tokeniser._tokenizer.characters < 1000


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
    with pytest.raises(InputValueError, match=r"text 8 is not valid Unicode: a lone surrogate, U\+D83D"):
        tokeniser.encode(["fine", "bad \ud83d"], start=7)


def test_a_lone_surrogate_in_a_long_text_is_named(tokeniser: Tokeniser) -> None:
    with pytest.raises(InputValueError, match="text 1 "):
        tokeniser.encode(["fine", "\ud83d the cat" * 500])


@pytest.mark.parametrize("texts", [None, 3, b"bytes", {"a": 1}, 2.5, np.array("cat")])
def test_what_holds_no_strings_is_refused(texts: object) -> None:
    with pytest.raises(InputTypeError, match="must be a string or a list of strings"):
        check_texts(texts)


@pytest.mark.parametrize("item", [None, 3, b"bytes", ["nested"], float("nan")])
def test_what_is_no_string_is_named_by_its_index(item: object) -> None:
    with pytest.raises(InputTypeError, match="text 2 must be a string"):
        check_texts(["fine", "fine", item])


def tokeniser_of(tokenizer: Tokenizer, folder: Path, side: Side) -> tuple[Tokeniser, Tokenizer]:
    """Ours and theirs of eight tokens; of a text ours reads a thousandth of what it would, or a little more."""
    tokenizer.save(str(folder / "tokenizer.json"))
    ours = Tokeniser(folder / "tokenizer.json", max_tokens=8, truncation_side=side)
    ours._content_tokeniser.max_characters = 96
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.enable_truncation(8, direction=side)
    return ours, theirs


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", [*KINDS, "xlm-roberta", "bge-m3"])
def test_more_than_is_read_has_the_ids_of_the_whole_text(kind: str, side: Side, tmp_path: Path) -> None:
    """Texts of many words, cut at random places, some behind prompts."""
    precompiled_kinds = {"xlm-roberta": False, "bge-m3": True}
    tokenizer = precompiled(precompiled_kinds[kind]) if kind in precompiled_kinds else make(kind, "left")
    ours, theirs = tokeniser_of(tokenizer, tmp_path, side)
    random = Random(kind)
    for _ in range(50):
        texts = [" ".join("".join(random.choices(tokenizer_kinds.PIECES, k=3)) for _ in range(100)) for _ in range(3)]
        prefix = "".join(random.choices(tokenizer_kinds.PIECES, k=random.choice([0, 5, 200])))
        tokens = ours.encode(texts, prefix=prefix)
        assert as_lists(tokens) == [theirs.encode(prefix + text).ids for text in texts]
        assert tokens.truncated == [0, 1, 2]


@pytest.mark.parametrize("side", ["right", "left"])
def test_what_is_not_read_is_truncated(tmp_path: Path, side: Side) -> None:
    """However few tokens the rest has; and in a warning and an error it says why."""
    ours, _ = tokeniser_of(make("bert"), tmp_path, side)
    text = "a\u0e34" * 100
    tokens = ours.encode(["a", text, "b"])
    assert [len(ids) for ids in tokens.ids] == [1, 1, 1]
    assert tokens.truncated == [1]
    truncation = Truncation(8, "warn")
    truncation.add(tokens)
    lost = {"right": "their end", "left": "their start"}[side]
    with pytest.warns(TruncationWarning, match=f"1 of 3 .* longer than 8 tokens or 96 characters .* lost {lost}"):
        truncation.warn()
    with pytest.raises(InputValueError, match="longer than 8 tokens or 96 characters"):
        Truncation(8, "error").add(tokens)
    assert ours.count([text * 3]) == [1]
    assert ours.encode_pairs([("a", text), (text, "a"), ("a", "a")]).truncated == [0, 1]


def test_a_text_of_one_endless_word_is_not_truncated(tmp_path: Path) -> None:
    """What follows the word is read."""
    ours, theirs = tokeniser_of(make("bert"), tmp_path, "right")
    ours = Tokeniser(tmp_path / "tokenizer.json", max_tokens=8)
    texts = ["a" * 100_000, "a " + " " * 100_000 + "b", "\x00" * 100_000 + "a", "к" * 100_000 + " b"]
    tokens = ours.encode(texts)
    assert as_lists(tokens) == [theirs.encode(text).ids for text in texts]
    assert tokens.truncated == []
    assert tokens.max_characters is None


def test_a_long_query_leaves_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = tokeniser_of(make("bert"), tmp_path, "right")
    monkeypatch.setattr(ours._content_tokeniser, "_tokenizer", Spy(ours._content_tokeniser._tokenizer))
    with pytest.raises(InputValueError, match=r"the query of pair 0 has \d+ tokens or more"):
        ours.encode_pairs([("a7." * 100_000, "b")])
    assert ours._content_tokeniser._tokenizer.characters < 1000


def test_a_pair_without_tokens_is_named(tmp_path: Path) -> None:
    """Only without special tokens; the index is the one in the whole input, beyond a chunk of 512 pairs."""
    ours, _ = tokeniser_of(make("words"), tmp_path, "right")
    with pytest.raises(InputValueError, match="pair 614 has no tokens; remove it"):
        ours.encode_pairs([*[("a", "ab")] * 514, ("", "")], start=100)


def test_a_lone_surrogate_that_is_not_read_is_no_error(tmp_path: Path) -> None:
    ours, theirs = tokeniser_of(make("bert"), tmp_path, "right")
    assert as_lists(ours.encode(["a " * 1000 + "\ud83d"])) == [theirs.encode("a " * 1000).ids]
