"""tokenizer_settings.py and added_tokens.py: a bundle's ids are those of transformers' AutoTokenizer on the checkpoint.

The oracle is transformers itself, on the checkpoint and on the bundle.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from embedge import CheckpointError, Embedder
from embedge.bundle.manifest import Side
from embedge.inference.tokenise import Tokeniser
from embedge_export import export
from embedge_export.bundle_files import write_side_files
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.tokenizer_classes import CLASSES
from seeded_roberta import CONFIG

MakeCheckpoint = Callable[..., Path]
TEXTS = [
    "Crème Brûlée, ÉTÉ and the CAT",
    "  the cat  sat",
    "東京 café 東 mat",
    "the [MASK] sat on [CLS] the [SEP]mat <mask> a </s> b [EXTRA] the extra cat",
    "İstanbul İ ΣΑΣ groß",
    "",
]
WORDS = "the cat sat on mat a b c e r u l n t é è û ê É C ca caf ete creme brulee CAT extra".split()
PIECES = [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyzéèûêÉ"]
BRACKETS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ANGLES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "[EXTRA]", "<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]
SLOW = settings(max_examples=25, suppress_health_check=list(HealthCheck))


def read(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def wordpiece(normalizer: normalizers.Normalizer) -> Tokenizer:
    """WordPiece with every class's special tokens in its vocabulary, some of them not yet special."""
    letters = [chr(c) for c in range(97, 123)] + list("ÉèéûêΣσςsß東京,.İi[]<>/")
    words = dict.fromkeys([*BRACKETS, *ANGLES, "<sep>", "<cls>", "<eop>", "<eod>", *WORDS, *letters, *PIECES])
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(BRACKETS[:4])
    return tokenizer


def byte_level(*, add_prefix_space: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=ANGLES[:4],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=add_prefix_space)
    return tokenizer


def put(
    folder: Path,
    tokenizer: Tokenizer,
    saved: dict[str, Any] | None,
    *,
    special: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write other tokenizer files into a checkpoint's folder; its weights stay, and no test here reads them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, value in (("tokenizer_config.json", saved), ("special_tokens_map.json", special)):
        (folder / name).unlink(missing_ok=True)
        if value is not None:
            (folder / name).write_text(json.dumps(value))
    found = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**found, "vocab_size": 600, **(config or {})}))
    return folder


def ids_of_transformers(folder: Path) -> list[list[int]]:
    from transformers import AutoTokenizer

    found: list[list[int]] = AutoTokenizer.from_pretrained(folder)(TEXTS)["input_ids"]
    return found


def check_ids(folder: Path, bundle: Path) -> None:
    """Check that the runtime's ids are those of transformers, on the checkpoint and on the bundle's side files."""
    shutil.rmtree(bundle, ignore_errors=True)
    write_side_files(read(folder), bundle)
    expected = ids_of_transformers(folder)
    found = [ids.tolist() for ids in Tokeniser(bundle / "tokenizer.json", max_tokens=64).encode(TEXTS).ids]
    assert found == expected
    assert ids_of_transformers(bundle) == expected


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))


@SLOW
@given(
    file=st.fixed_dictionaries(
        {
            "lowercase": st.booleans(),
            "strip_accents": st.sampled_from([None, True, False]),
            "handle_chinese_chars": st.booleans(),
        }
    ),
    saved=st.fixed_dictionaries(
        {},
        optional={
            "do_lower_case": st.booleans(),
            "strip_accents": st.sampled_from([None, True, False]),
            "tokenize_chinese_chars": st.booleans(),
            "tokenizer_class": st.sampled_from(
                ["BertTokenizer", "BertTokenizerFast", "MPNetTokenizer", "PreTrainedTokenizerFast"]
            ),
        },
    ),
    has_config=st.booleans(),
    in_sequence=st.booleans(),
)
def test_settings_of_the_normalizer_are_applied(
    folder: Path, file: dict[str, Any], saved: dict[str, Any], has_config: bool, in_sequence: bool
) -> None:
    """So are the defaults of the class. A normalizer of another kind stays as it is."""
    normalizer: normalizers.Normalizer = normalizers.BertNormalizer(**file)
    if in_sequence:
        normalizer = normalizers.Sequence([normalizer])
    put(folder, wordpiece(normalizer), saved if has_config else None)
    check_ids(folder, folder / "bundle")


@SLOW
@given(
    prefix=st.booleans(),
    saved=st.fixed_dictionaries({}, optional={"add_prefix_space": st.booleans(), "trim_offsets": st.booleans()}),
    kind=st.sampled_from(["RobertaTokenizer", "PreTrainedTokenizerFast", "LongformerTokenizer", "BartTokenizer", None]),
)
def test_settings_of_byte_level_tokenizers_are_applied(
    folder: Path, prefix: bool, saved: dict[str, Any], kind: str | None
) -> None:
    saved = {**saved, "tokenizer_class": kind} if kind else saved
    put(folder, byte_level(add_prefix_space=prefix), saved, config={**CONFIG, "model_type": "roberta"})
    check_ids(folder, folder / "bundle")


FLAGS = st.fixed_dictionaries({name: st.booleans() for name in ("lstrip", "rstrip", "normalized", "single_word")})
TOKEN = st.sampled_from(["[MASK]", "[EXTRA]", "the", "<mask>", "[CLS]"])


@SLOW
@given(data=st.data())
def test_added_and_special_tokens_are_those_of_transformers(folder: Path, data: st.DataObject) -> None:
    """For any class, any of the files and any flags."""
    tokenizer = wordpiece(normalizers.BertNormalizer())
    known = tokenizer.get_vocab()
    for token in data.draw(st.lists(TOKEN, unique=True, max_size=3)):
        tokenizer.add_tokens([AddedToken(token, special=data.draw(st.booleans()), **data.draw(FLAGS))])
    saved: dict[str, Any] = {"tokenizer_class": data.draw(st.sampled_from(sorted(CLASSES)))}
    if saved["tokenizer_class"] == "TokenizersBackend":  # transformers 5 alone knows it
        saved["tokenizer_class"] = "PreTrainedTokenizerFast"
    typed = TOKEN.flatmap(lambda t: FLAGS.map(lambda f: {"content": t, **f, "special": True, "__type": "AddedToken"}))
    for key in data.draw(st.sets(st.sampled_from(["mask_token", "cls_token", "unk_token"]))):
        saved[key] = data.draw(st.one_of(TOKEN, typed) if key != "unk_token" else st.just("[UNK]"))
    if data.draw(st.booleans()):
        saved["additional_special_tokens"] = data.draw(st.lists(TOKEN, unique=True, max_size=2))
    if data.draw(st.booleans()):
        listed = data.draw(st.lists(TOKEN, unique=True, max_size=4))
        saved["added_tokens_decoder"] = {
            str(known[t]): {"content": t, "special": data.draw(st.booleans()), **data.draw(FLAGS)} for t in listed
        }
    special = None
    if data.draw(st.booleans()):
        plain = TOKEN.flatmap(lambda t: FLAGS.map(lambda f: {"content": t, **f}))
        special = {"mask_token": data.draw(st.one_of(TOKEN, plain)), "additional_special_tokens": ["[EXTRA]"]}
    put(folder, tokenizer, saved, special=special)
    check_ids(folder, folder / "bundle")


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"PreTrainedTokenizer", "TokenizersBackend"}))
def test_every_class_is_the_one_of_transformers(folder: Path, name: str) -> None:
    """Without any setting beside tokenizer.json."""
    tokenizer = wordpiece(normalizers.BertNormalizer(lowercase=False))
    put(folder, tokenizer, {"tokenizer_class": name})
    check_ids(folder, folder / "bundle")


@pytest.mark.parametrize("spare", [0, 1, 8])
def test_a_token_that_only_the_class_names_is_added_where_the_model_has_a_row_for_it(folder: Path, spare: int) -> None:
    """Without a free row, transformers gives it an id at which the model fails: then no vector of the text is right."""
    from transformers import AutoTokenizer

    words = [*BRACKETS[:4], "the", "mask", "[", "]"]
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    put(folder, tokenizer, {"tokenizer_class": "BertTokenizer"}, config={"vocab_size": len(words) + spare})
    found = Tokenizer.from_buffer(read(folder).tokenizer.data).encode("the [MASK]").ids
    expected = AutoTokenizer.from_pretrained(folder)("the [MASK]")["input_ids"]
    assert found == ([4, 6, 5, 7] if spare == 0 else expected)
    assert expected == [4, len(words)]


def test_a_tokenizer_that_no_setting_changes_keeps_its_bytes(minilm_checkpoint: Path, tiny_checkpoint: Path) -> None:
    for folder in (minilm_checkpoint, tiny_checkpoint):
        assert read(folder).tokenizer.data == (folder / "tokenizer.json").read_bytes()


def test_calibration_and_the_bundle_run_the_tokenizer_that_was_applied(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embedge_export.int8 import calibrate

    saved = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**saved, "do_lower_case": False}))
    paths = list[bytes]()

    class Watched(Tokeniser):
        def __init__(self, path: Path, *, max_tokens: int, truncation_side: Side = "right") -> None:
            paths.append(path.read_bytes())
            super().__init__(path, max_tokens=max_tokens, truncation_side=truncation_side)

    monkeypatch.setattr(calibrate, "Tokeniser", Watched)
    bundle = export(folder, tmp_path / "b", verify=False)
    assert paths == [(bundle.path / "tokenizer.json").read_bytes()]
    assert json.loads(paths[0])["normalizer"]["lowercase"] is False


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    "saved",
    [{"do_lower_case": False}, {"strip_accents": False}, {"tokenize_chinese_chars": False}, {}],
    ids=lambda saved: "-".join(saved) or "defaults",
)
@pytest.mark.parametrize("lowercases", [False, True])
def test_vectors_are_those_of_sentence_transformers(
    folder: Path, tmp_path: Path, saved: dict[str, Any], lowercases: bool
) -> None:
    """On the checkpoint and on the bundle, with and without sentence-transformers' own do_lower_case."""
    library = pytest.importorskip("sentence_transformers")
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": n, "name": str(n), "type": f"sentence_transformers.models.{kind}", "path": path}
        for n, (kind, path) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 32, "do_lower_case": lowercases}))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=None)
    letters = [*"abcdefghijklmnopqrstuvwxyzéèûÉC京"]
    vocabulary = {token: place for place, token in enumerate(dict.fromkeys([*BRACKETS, *letters[:50], "cat", "CAT"]))}
    tokenizer.model = models.WordPiece(vocabulary, unk_token="[UNK]")
    put(folder, tokenizer, {"tokenizer_class": "BertTokenizer", **saved}, config={"vocab_size": 64})
    texts = ["É é è CAT cat C", "京京 京 a", "a b", "É"]
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
    ours = Embedder(bundle.path).encode(texts)
    np.testing.assert_allclose(ours, library.SentenceTransformer(str(folder), device="cpu").encode(texts), atol=1e-5)
    theirs = library.SentenceTransformer(str(bundle.path), backend="onnx")
    np.testing.assert_allclose(ours, theirs.encode(texts), atol=1e-5)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (
            {"tokenizer_class": "BertJapaneseTokenizer"},
            "tokenizer class BertJapaneseTokenizer.*PreTrainedTokenizerFast",
        ),
        ({"truncation_side": "middle"}, "truncation_side must be right or left, found 'middle'"),
        ({"split_special_tokens": True}, "sets split_special_tokens"),
        ({"do_lower_case": "yes"}, "lowercase must be true or false, found 'yes'"),
        ({"auto_map": {"AutoTokenizer": ["own.Own", None]}}, "code is in the checkpoint"),
        ({"additional_special_tokens": [f"[{n}]" for n in range(99)]}, "gives ids up to .* they must agree"),
        ({"additional_special_tokens": [5]}, "does not go with tokenizer_config.json"),
        ({"added_tokens_decoder": {"x": {}}}, "does not go with tokenizer_config.json"),
    ],
)
def test_what_cannot_be_applied_is_refused(folder: Path, saved: dict[str, Any], message: str) -> None:
    before = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**before, **saved}))
    with pytest.raises(CheckpointError, match=message):
        read(folder)


def test_a_class_that_sets_a_normalizer_needs_one(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    file = json.loads(tokenizer.to_str())
    file["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(file))
    with pytest.raises(CheckpointError, match="has no normalizer.*PreTrainedTokenizerFast"):
        read(folder)


@pytest.mark.parametrize("saved", ["left", "right", None])
@pytest.mark.parametrize("direction", ["Left", "Right", None])
def test_the_side_that_is_cut_is_that_of_transformers(folder: Path, saved: str | None, direction: str | None) -> None:
    from transformers import AutoTokenizer

    file = json.loads((folder / "tokenizer.json").read_text())
    file["truncation"] = {**file["truncation"], "direction": direction} if direction else None
    (folder / "tokenizer.json").write_text(json.dumps(file))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**config, **({"truncation_side": saved} if saved else {})})
    )
    checkpoint = read(folder)
    assert checkpoint.truncation_side == AutoTokenizer.from_pretrained(folder).truncation_side
    write_side_files(checkpoint, folder / "bundle")
    assert AutoTokenizer.from_pretrained(folder / "bundle").truncation_side == checkpoint.truncation_side


def test_an_added_token_that_would_take_minutes_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Members that the tokenizers library does not know print nothing on stdout."""
    saved = json.loads((folder / "tokenizer_config.json").read_text())
    token = {"content": "<x>", "odd": 1, "special": True}
    (folder / "tokenizer_config.json").write_text(json.dumps({**saved, "added_tokens_decoder": {"5": token}}))
    read(folder)
    assert capfd.readouterr().out == ""
    token["content"] = "x" * 16_000
    (folder / "tokenizer_config.json").write_text(json.dumps({**saved, "added_tokens_decoder": {"5": token}}))
    with pytest.raises(CheckpointError, match="adds a token of 16000 characters, and the limit is 1000"):
        read(folder)
