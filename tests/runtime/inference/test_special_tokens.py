"""special_tokens.py: against the tokenizer's own way of adding them."""

from pathlib import Path
from random import Random

import pytest
from tokenizers import Tokenizer, processors

from embedge.errors import BundleError
from embedge.inference.special_tokens import SpecialTokens
from tokenizer_kinds import PIECES, make

PROCESSORS = {
    "bert": processors.BertProcessing(("b", 5), ("a", 4)),
    "roberta": processors.RobertaProcessing(("b", 5), ("a", 4)),
    "byte level": processors.ByteLevel(),
    "template": processors.TemplateProcessing(
        single="a $A b b", pair="a $A b $B:1 a:1 b:1", special_tokens=[("a", 4), ("b", 5)]
    ),
    "before only": processors.TemplateProcessing(
        single="a $A", pair="a $A b $B:1", special_tokens=[("a", 4), ("b", 5)]
    ),
    "document first": processors.TemplateProcessing(
        single="$A b", pair="$B a $A b", special_tokens=[("a", 4), ("b", 5)]
    ),
    "none": None,
}


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("kind", ["bert", "bytes", "xlm", "fallback"])
def test_ids_are_those_of_the_tokenizer(kind: str, name: str) -> None:
    """Texts that are empty, or that hold special tokens themselves, included."""
    tokenizer = make(kind)
    if PROCESSORS[name] is not None:
        tokenizer.post_processor = PROCESSORS[name]
    random = Random(0)
    texts = ["", "a", "b", "a b a", *("".join(random.choices(PIECES, k=random.randrange(9))) for _ in range(60))]
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    single = SpecialTokens(tokenizer, Path("t"), is_pair=False)
    pair = SpecialTokens(tokenizer, Path("t"), is_pair=True)
    for text, encoding in zip(texts, encodings, strict=True):
        assert single.add(0, encoding) == tokenizer.encode(text).ids
    for _ in range(60):
        query, document = random.choices(range(len(texts)), k=2)
        ids = pair.add(0, encodings[query], encodings[document])
        assert ids == tokenizer.encode(texts[query], texts[document]).ids


def test_the_tokenizer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting:
        asked = 0

        def __init__(self, tokenizer: Tokenizer) -> None:
            self._tokenizer = tokenizer

        def post_process(self, *contents: object) -> object:
            self.asked += 1
            return self._tokenizer.post_process(*contents)

    tokenizer = make("bert")
    tokenizer.post_processor = PROCESSORS["bert"]
    special = SpecialTokens(tokenizer, Path("t"), is_pair=False)
    counting = Counting(tokenizer)
    monkeypatch.setattr(special, "_tokenizer", counting)
    for text in ("", "a", "b a"):
        special.add(0, tokenizer.encode(text, add_special_tokens=False))
    assert counting.asked == 2  # the empty text does not show where the special tokens stand


def test_a_template_that_repeats_a_text_is_an_error() -> None:
    tokenizer = make("bert")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A $A", special_tokens=[])
    with pytest.raises(BundleError, match="leaves out or repeats tokens"):
        SpecialTokens(tokenizer, Path("t"), is_pair=False).add(0, tokenizer.encode("a", add_special_tokens=False))
