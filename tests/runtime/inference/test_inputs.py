"""inputs.py: calls that are tokenised together have the tokens that each has alone."""

from collections.abc import Sequence
from typing import Any

import pytest

from embedge import Bundle
from embedge.inference.inputs import Inputs, tokenise_together
from embedge.inference.tokenise import Tokeniser
from embedge.inference.tokens import Tokens


@pytest.fixture(scope="module")
def tokeniser(tiny_bundle: Bundle) -> Tokeniser:
    return Tokeniser(tiny_bundle.path / "tokenizer.json", max_tokens=8)


def as_lists(tokens: Tokens) -> tuple[Any, ...]:
    return tokens.values.tolist(), tokens.starts.tolist(), tokens.truncated, tokens.side, tokens.max_characters


def compare(tokeniser: Tokeniser, calls: Sequence[Sequence[Any]], prefix: str | None) -> None:
    inputs = [Inputs(tokeniser, call, prefix) for call in calls]
    together = tokenise_together(inputs)
    assert together is not None
    assert list(map(as_lists, together)) == [as_lists(one.tokenise(0, len(one.texts))) for one in inputs]


@pytest.mark.parametrize("prefix", ["", "the query: "])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_texts(tokeniser: Tokeniser, prefix: str, count: int) -> None:
    long = "the cat sat on the mat and looked at dogs"  # is truncated
    compare(tokeniser, [["a dog"], [long, "rain", long], ["", "cats"], *[[f"cat {n}"] for n in range(count)]], prefix)


def test_pairs(tokeniser: Tokeniser) -> None:
    compare(tokeniser, [[("the cat", "a dog")], [("the cat", "rain fell over hills"), ("a", "b")]], None)


def test_a_faulty_text_must_be_found_by_each_call_alone(tokeniser: Tokeniser) -> None:
    assert tokenise_together([Inputs(tokeniser, [text], "") for text in ("a dog", "\ud800")]) is None


def test_a_text_with_too_many_characters_too(tiny_bundle: Bundle) -> None:
    few = Tokeniser(tiny_bundle.path / "tokenizer.json", max_tokens=8)
    few._content_tokeniser.max_characters = 96
    inputs = [Inputs(few, [text], "") for text in ("a dog", "cat " * 3 + "ab" * 100)]
    assert inputs[1].tokenise(0, 1).max_characters == 96
    assert tokenise_together(inputs) is None


def test_no_error_leaves_the_thread_that_tokenises(tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tokens: Tokens, texts: Sequence[int]) -> None:
        raise MemoryError

    monkeypatch.setattr(Tokens, "split", fail)
    assert tokenise_together([Inputs(tokeniser, [text], "") for text in ("a dog", "rain")]) is None


def test_what_joins(tokeniser: Tokeniser, tiny_bundle: Bundle) -> None:
    texts = Inputs(tokeniser, ["a"], "")
    assert texts.joins(Inputs(tokeniser, ["b", "c"], "", 5))
    for other in (
        Inputs(tokeniser, ["a"], "query: "),
        Inputs(tokeniser, [("a", "b")], None),
        Inputs(Tokeniser(tiny_bundle.path / "tokenizer.json", max_tokens=8), ["a"], ""),
    ):
        assert not texts.joins(other)
