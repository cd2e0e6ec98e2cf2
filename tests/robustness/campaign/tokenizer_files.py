"""Tokenizers: tokenizer.json with another value or a flipped bit, and a manifest with the right checksum.

embedge must refuse the file, or return the token ids of the ``tokenizers`` library, all within the model's table.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from campaign.hostile import some_texts
from campaign.mutate import change_json
from campaign.trial import Bench, FaultError, check_unit, unheard
from embedge import Bundle, Embedder
from embedge.inference.tokenise import Tokeniser
from embedge_export.bundle_files import record_files, write_manifest

# Characters of an added token. The library needs 2 s to load one of 4,000 characters, and 18 s for 16,000.
LONGEST = 1500
_MOST = 64  # the token limit of the bench's bundle, and the rows of its table
_LINES = ("the cat sat on the mat and the dog ran far away", "how do i bake bread? 東京 stone, blue river!") * 3


@cache
def tokenizer_json(name: str, bundle: Path) -> bytes:
    """The file of a small tokenizer: the bundle's own (``bert``), or one of another kind."""
    if name == "bert":
        return (bundle / "tokenizer.json").read_bytes()
    if name == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        words = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
        tokenizer.normalizer = normalizers.NFKC()
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=60, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        )
        single = "<s> $A </s>"
        specials = [("<s>", 0), ("</s>", 2)]
        added = AddedToken("<mask>", lstrip=True, special=True)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=["<s>", "</s>"], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        single, specials = "<s> $A </s>", [("<s>", 0), ("</s>", 1)]
        added = AddedToken("<mask>", special=True)
    tokenizer.train_from_iterator(_LINES, trainer)
    tokenizer.add_special_tokens([added])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=f"{single} $B:1 </s>:1", special_tokens=specials
    )
    return tokenizer.to_str().encode()  # type: ignore[no-any-return]


KINDS = ("bert", "unigram", "bytes")


def library_ids(path: Path, texts: Sequence[str], most: int) -> list[list[int]] | None:
    """The library's ids of each whole text, truncated afterwards; None where the library fails."""
    try:
        with unheard(2):  # discard Rust's report of a panic
            tokenizer = Tokenizer.from_file(str(path))
            tokenizer.no_padding()
            tokenizer.enable_truncation(most)
            return [tokenizer.encode(text).ids for text in texts]
    except BaseException as error:  # a panic is not an Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def check_ids(path: Path, texts: Sequence[str], most: int, what: str) -> None:
    """Raise FaultError where embedge's ids are not the library's."""
    expected = library_ids(path, texts, most)
    found = [ids.tolist() for ids in Tokeniser(path, max_tokens=most).encode(texts).ids]
    if expected is not None and found != expected:
        at = next(index for index, ids in enumerate(expected) if ids != found[index])
        raise FaultError(
            f"ids are others than the library's: {found[at][:9]}, not {expected[at][:9]}, {texts[at][:60]!r}, {what}"
        )


def trial(bench: Bench, random: Random) -> None:
    """Change one tokenizer, and compare its ids or embed with it."""
    kind = random.choice(KINDS)
    what, data = change_json(tokenizer_json(kind, bench.bundle), random, longest=LONGEST)
    texts = [text[:2000] for text in some_texts(random, 4) if not any("\ud800" <= c <= "\udfff" for c in text)]
    texts.append("the cat sat on the mat. [MASK] <mask> a")
    if random.random() < 0.75:
        path = bench.folder / "tokenizer.json"
        path.write_bytes(data)
        check_ids(path, texts, random.choice((8, _MOST)), f"{kind} of which {what}")
        return
    folder = Path(shutil.copytree(bench.bundle, bench.folder / "bundle"))
    (folder / "tokenizer.json").write_bytes(data)
    manifest = Bundle.open(folder).manifest
    write_manifest(folder, replace(manifest, files=record_files(folder, known={})))
    vectors = Embedder(folder, threads=1).encode(texts)
    check_unit(vectors, len(texts), vectors.shape[-1], f"{kind} of which {what}")
    expected = library_ids(folder / "tokenizer.json", texts, _MOST)
    if expected and max(map(max, expected)) >= _MOST:
        raise FaultError(f"an id beyond the table is taken: {max(map(max, expected))}, {kind} of which {what}")
