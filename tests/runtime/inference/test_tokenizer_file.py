"""tokenizer_file.py: whatever a tokenizer.json holds, what leaves is an error of ours."""

import copy
import json
import warnings
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tokenizers import models, processors

from embedge import BundleError, EmbedgeError
from embedge.inference.tokenise import Tokeniser
from embedge.inference.tokenizer_file import load_tokenizer, raise_ours
from tokenizer_kinds import KINDS, make, precompiled

TEXTS = ["the cat", "", "a ab 7 東京 🚲 [MASK] <x>", "\u0301\x00 é", "a" * 300 + " b" * 100, "東\n" * 300]
ODD: list[Any] = [None, -1, 0, 1, 2**31, 2**32 - 1, 2**32, 2**63, -(2**63), 1e308, True, "", "x", "\0", "Sequence", []]
ODD += [{}, [[]], "a" * 1000]


def originals() -> list[str]:
    # A copy, because tests in this process share what precompiled returns, and its truncation is set below.
    made = [*(make(kind, "swallows") for kind in KINDS), copy.deepcopy(precompiled(False))]
    for tokenizer in made:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="a $A b", pair="a $A b b $B b", special_tokens=[("a", 1), ("b", 2)]
        )
        tokenizer.enable_padding()
        tokenizer.enable_truncation(7)
    return [tokenizer.to_str() for tokenizer in made]


def nodes(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all that a JSON value holds; of a long list, some."""
    parts = value.items() if isinstance(value, dict) else enumerate(value[:60]) if isinstance(value, list) else ()
    return [path, *(inner for key, part in parts for inner in nodes(part, (*path, key)))]


def inside(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def damage(text: str, random: Random) -> bytes:
    """Some flipped bits, or a file cut short."""
    found = bytearray(text.encode())
    if random.random() < 0.2:
        return bytes(found[: random.randrange(len(found))])
    for _ in range(random.choice([1, 1, 3, 20])):
        found[random.randrange(random.choice([min(3000, len(found)), len(found)]))] ^= 1 << random.randrange(8)
    return bytes(found)


def mutate(text: str, random: Random) -> bytes:
    """Another value of some nodes, or none: an odd one, or one from elsewhere."""
    found = json.loads(text)
    for _ in range(random.choice([1, 1, 2, 4])):
        paths = nodes(found)
        *parent, key = random.choice(paths[1:])
        holder = inside(found, tuple(parent))
        if random.random() < 0.2:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(random.choice([random.choice(ODD), inside(found, random.choice(paths))]))
        if len(nodes(found)) < 2:
            break
    return json.dumps(found).encode()


def use(path: Path, random: Random) -> int:
    """Everything that a Tokeniser does; returns how many of them ended in an error of ours."""
    try:
        tokeniser = Tokeniser(path, max_tokens=16, truncation_side=random.choice(["right", "left"]))
    except BundleError:
        return 1
    tokeniser._content_tokeniser.max_characters = 150  # so that texts are shortened
    errors = 0
    for call in (
        lambda: tokeniser.encode(TEXTS, prefix="q "),
        lambda: tokeniser.encode_pairs([(a, b) for a in TEXTS[:3] for b in TEXTS]),
        lambda: tokeniser.count(TEXTS),
        lambda: tokeniser.special_ids(),
    ):
        try:
            call()
        except EmbedgeError:
            errors += 1
    return errors


@pytest.mark.parametrize("harm", [damage, mutate])
def test_a_damaged_tokenizer_is_an_error_of_ours_or_none(harm: Any, tmp_path: Path) -> None:
    """Rust panics on some; nothing of that leaves."""
    path, random, files = tmp_path / "tokenizer.json", Random(0), originals()
    errors = 0
    for _ in range(600):
        path.write_bytes(harm(random.choice(files), random))
        errors += use(path, random)
    assert errors > 200


def test_a_file_that_is_missing_or_no_tokenizer_is_named(tmp_path: Path) -> None:
    for path, content in ((tmp_path / "none.json", None), (tmp_path / "some.json", "{}"), (tmp_path / "t.json", "[")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(BundleError, match=rf"{path} is not a tokenizer \(.+\); export the bundle again"):
            load_tokenizer(path)


def test_a_text_that_the_vocabulary_lacks_is_named(tmp_path: Path) -> None:
    """WordPiece without its unknown token can say nothing of it."""
    tokenizer = make("bert")
    tokenizer.model = models.WordPiece({"a": 0, "b": 1}, unk_token="[UNK]")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokeniser = Tokeniser(tmp_path / "tokenizer.json", max_tokens=16)
    assert [ids.tolist() for ids in tokeniser.encode(["a", "b a"]).ids] == [[0], [1, 0]]
    for call in (tokeniser.encode, tokeniser.count, lambda texts: tokeniser.encode_pairs([("a", t) for t in texts])):
        with pytest.raises(BundleError, match=r"cannot tokenise text 2 \(WordPiece error: Missing \[UNK\] token"):
            call(["a", "b", "z", "z"])


def test_an_id_that_no_model_has_is_an_error(tmp_path: Path) -> None:
    described = json.loads(make("bert").to_str())
    described["model"]["vocab"] |= {"a": 2**31, "b": 2**31 - 1}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    tokeniser = Tokeniser(tmp_path / "tokenizer.json", max_tokens=16)
    assert tokeniser.encode(["b"]).ids[0].tolist() == [2**31 - 1]
    with pytest.raises(BundleError, match="makes no token ids of text 1"):
        tokeniser.encode(["b", "a"])
    with warnings.catch_warnings():  # numpy 1 only warns, and wraps the id around
        warnings.simplefilter("ignore")
        with pytest.raises(BundleError, match="makes no token ids of text 1"):
            tokeniser.encode(["b", "a"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError(), EmbedgeError("ours")])
def test_what_is_not_the_tokenizers_fault_goes_on(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        raise_ours(error, "no")
    assert raised.value is error


def test_a_tokenizer_that_repeats_what_it_reads_is_refused(tmp_path: Path) -> None:
    """Its template has the text twice: the ids would be those of no text."""
    tokenizer = make("bert")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokeniser = Tokeniser(tmp_path / "tokenizer.json", max_tokens=20)
    with pytest.raises(BundleError, match="leaves out or repeats tokens"):
        tokeniser.encode(["a b"])
