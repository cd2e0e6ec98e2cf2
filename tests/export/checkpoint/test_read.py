"""read.py and what it reads a directory with: a checkpoint's files mean what they mean to its own library.

The oracles are sentence-transformers, transformers and PEFT.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Bundle, BundleError, CheckpointError, Embedder
from embedge_export import export
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.json_file import read_json
from embedge_export.checkpoint.open_tokenizer import tokenizer_errors
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.sentence_settings import LENGTH_FILES
from embedge_export.verify.quality import reverify
from seeded_roberta import write_roberta

MakeCheckpoint = Callable[..., Path]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
TEXTS = ["the cat sat on the mat", "bread", "how do i bake bread ?"]
OLD, NEW = "sentence_transformers.models", "sentence_transformers.sentence_transformer.modules"
STANDARD = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}


def read(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def put(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def modules(kinds: dict[str, str]) -> list[dict[str, Any]]:
    """modules.json of classes, by name, and their folders."""
    names = [kind if "." in kind else f"{OLD}.{kind}" for kind in kinds]
    return [
        {"idx": n, "name": str(n), "type": name, "path": path}
        for n, (name, path) in enumerate(zip(names, kinds.values(), strict=True))
    ]


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, with the modules that sentence-transformers saves."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    put(folder / "modules.json", modules(STANDARD))
    return folder


def theirs(folder: Path, **options: Any) -> Any:
    library = pytest.importorskip("sentence_transformers")
    return library.SentenceTransformer(str(folder), device="cpu", **options)


# Exporting again.


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 16}),
        ("sentence_roberta_config.json", {"max_seq_length": 16}),
        ("config_sentence_transformers.json", {"prompts": {"query": "the "}}),
        ("config_sentence_transformers.json", {"prompts": {"query": "how do i "}, "similarity_fn_name": "dot"}),
        ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False}),
        ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "truncation_side": "left"}),
        ("special_tokens_map.json", {"mask_token": "the"}),
        ("modules.json", modules({"Transformer": "", "Pooling": "1_Pooling"})),
    ],
)
def test_whatever_changed_is_noticed_when_it_is_exported_again(
    folder: Path, tmp_path: Path, file: str, value: object
) -> None:
    export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
    put(folder / file, value)
    for precision in ("fp32", "int8"):
        with pytest.raises(BundleError, match="or before it changed, give -o another directory, or --force"):
            export(folder, tmp_path / "b", precisions=(precision,), verify=False)
    anew = export(folder, tmp_path / "b", precisions=("fp32",), verify=False, force=True)
    assert anew.manifest.source.checkpoint_sha256 == read(folder).sha256
    side = (anew.path / file).read_text() if (anew.path / file).exists() else ""
    assert side != "" or file == "sentence_roberta_config.json"


def of_before(bundle: Bundle, checkpoint: Path) -> Bundle:
    """The bundle as the first embedges left it: hashed over fewer files, and without the later fields."""
    names = ("model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json")
    formula = hashlib.sha256(b"".join((checkpoint / name).read_bytes() for name in names)).hexdigest()
    manifest = asdict(bundle.manifest)
    manifest["source"]["checkpoint_sha256"] = formula
    for name in ("truncation_side", "similarity", "normalize"):
        del manifest[name]
    put(bundle.path / "embedge.json", manifest)
    return Bundle.open(bundle.path)


def test_a_bundle_of_before_stays_where_nothing_changed_and_learns_the_new_hash(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = of_before(export(folder, tmp_path / "b", precisions=("fp32",), verify=False), folder)
    caplog.set_level(logging.INFO, "embedge")
    assert export(folder, tmp_path / "b", precisions=("fp32",), verify=False) == old
    assert "holds fp32 already" in caplog.messages[-1]
    assert next(iter(reverify(old, checkpoint=str(folder), cache=tmp_path)))[1] is not None
    more = export(folder, tmp_path / "b", precisions=("int8",), verify=False).manifest
    assert set(more.precisions) == {"fp32", "int8"}
    assert more.source.checkpoint_sha256 == read(folder).sha256 != old.manifest.source.checkpoint_sha256


@pytest.mark.parametrize(
    ("file", "value", "named"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 16}, r"\(max_tokens\)"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "dot"}, r"\(similarity, prompts\)"),
        ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False}, r"\(tokenizer.json\)"),
    ],
)
def test_a_bundle_of_before_keeps_no_old_settings(
    folder: Path, tmp_path: Path, file: str, value: object, named: str
) -> None:
    of_before(export(folder, tmp_path / "b", precisions=("fp32",), verify=False), folder)
    put(folder / file, value)
    with pytest.raises(BundleError, match=f"was made with other settings {named}.*--force"):
        export(folder, tmp_path / "b", precisions=("fp32",), verify=False)


# Length.


@pytest.mark.parametrize("positions", [64, 40])
@pytest.mark.parametrize("tokenizer", [{}, {"model_max_length": 24}, {"max_len": 24}, {"model_max_length": 1e30}])
@pytest.mark.parametrize("file", [None, *LENGTH_FILES])
def test_the_length_is_that_of_sentence_transformers(
    folder: Path, positions: int, tokenizer: dict[str, Any], file: str | None
) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = "embeddings.position_embeddings.weight"
    save_file({**tensors, name: tensors[name][:positions].copy()}, folder / "model.safetensors")
    config = read_json(folder / "config.json") or {}
    put(folder / "config.json", {**config, "max_position_embeddings": positions})
    saved = {k: v for k, v in (read_json(folder / "tokenizer_config.json") or {}).items() if k != "model_max_length"}
    put(folder / "tokenizer_config.json", {**saved, **tokenizer})
    if file:
        put(folder / file, {"max_seq_length": 33})
    assert read(folder).max_tokens == theirs(folder).max_seq_length


def test_of_several_files_with_a_length_the_first_that_says_something_counts(folder: Path) -> None:
    for length, name in enumerate(LENGTH_FILES, 10):
        put(folder / name, {} if name == LENGTH_FILES[0] else {"max_seq_length": length})
    assert read(folder).max_tokens == theirs(folder).max_seq_length == 11


def test_arguments_of_the_tokenizer_stand_above_its_config(folder: Path, tmp_path: Path) -> None:
    put(folder / "sentence_bert_config.json", {"processor_kwargs": {"model_max_length": 20, "do_lower_case": False}})
    other = theirs(folder)
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
    assert bundle.manifest.max_tokens == other.max_seq_length == 20
    texts = ["The Cat SAT", "the cat sat"]
    found = Embedder(bundle.path).encode(texts)
    np.testing.assert_allclose(found, other.encode(texts), atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01


@pytest.mark.parametrize("padding", [0, 1, 7])
def test_positions_of_roberta_begin_behind_its_padding(tmp_path: Path, padding: int) -> None:
    """And the longest text that fits is embedded as transformers does, where one token more would be none."""
    import torch
    from transformers import AutoModel

    folder = write_roberta(tmp_path / "c", rerank=False)
    for head in ("sparse_linear.pt", "colbert_linear.pt"):
        (folder / head).unlink()
    config = read_json(folder / "config.json") or {}
    put(folder / "config.json", {**config, "pad_token_id": padding})
    put(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
    assert bundle.manifest.max_tokens == config["max_position_embeddings"] - padding - 1
    model = Embedder(bundle.path)
    text = "the river " * 600
    (ids,) = model._engine.tokeniser.encode([text]).ids
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder)(input_ids=torch.tensor([ids.tolist()])).last_hidden_state
    found = model.encode(text, normalize=False, on_truncate="ignore")
    np.testing.assert_allclose(found, hidden[0, 0].numpy(), atol=1e-4)


# Modules.


@pytest.mark.parametrize("prefix", [OLD, NEW, f"{OLD}.Pooling", f"{NEW}.pooling"])
def test_the_librarys_own_classes_are_known_by_their_old_and_new_paths(folder: Path, prefix: str) -> None:
    kinds = {f"{OLD}.Transformer": "", f"{prefix}.Pooling": "1_Pooling"}
    put(folder / "modules.json", modules(kinds))
    assert read(folder).normalize is False


def test_what_sentence_transformers_saves_is_read(folder: Path, tmp_path: Path) -> None:
    """By the version that is installed, whichever paths it writes."""
    theirs(folder).save(str(tmp_path / "saved"))
    checkpoint = read(tmp_path / "saved")
    assert (checkpoint.pooling, checkpoint.normalize, checkpoint.similarity) == ("cls", True, "cosine")
    assert checkpoint.max_tokens == read(folder).max_tokens
    assert checkpoint.prompts == {"query": "how do i "}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (modules({"custom_st.Transformer": "", "Pooling": "1_Pooling"}), "the module 'custom_st.Transformer'"),
        (modules({"evil.sentence_transformers.models.Transformer": ""}), "not sentence-transformers' own"),
        (modules({"sentence_transformers_x.models.Pooling": ""}), "not sentence-transformers' own"),
        (modules({"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense"}), "has a Dense layer"),
        (modules({"Pooling": "1_Pooling", "Transformer": ""}), "found Pooling [+] Transformer"),
        (modules({"Transformer": "", "Normalize": "1", "Pooling": "1_Pooling"}), "found Transformer [+] Normalize"),
        (modules({"Transformer": "", "Pooling": "1_Pooling", f"{NEW}.Pooling": "2"}), "Pooling [+] Pooling"),
        (modules({"Transformer": ""}), "must be Transformer [+] Pooling or"),
        ([{**modules(STANDARD)[0], "kwargs": ["task"]}, *modules(STANDARD)[1:]], r"the arguments \['task'\]"),
        (modules({"Transformer": "../other", "Pooling": "1_Pooling"}), "no folder in it"),
        ([{"path": ""}], "the module None"),
        ({"0": "Transformer"}, "must hold a list of modules"),
        ([3], "must hold a list of modules"),
        ([], "found nothing"),
    ],
)
def test_modules_that_a_bundle_cannot_do_are_refused(folder: Path, found: object, message: str) -> None:
    put(folder / "modules.json", found)
    with pytest.raises(CheckpointError, match=message):
        read(folder)


def test_a_reranker_is_a_transformer_alone(tmp_path: Path) -> None:
    """As sentence-transformers 5.4 saves a CrossEncoder."""
    folder = write_roberta(tmp_path / "c", rerank=True)
    put(folder / "modules.json", modules({"sentence_transformers.base.modules.transformer.Transformer": ""}))
    put(folder / "sentence_bert_config.json", {"transformer_task": "sequence-classification", "max_seq_length": 40})
    assert (read(folder).task, read(folder).max_tokens, read(folder).normalize) == ("rerank", 40, True)
    put(folder / "modules.json", modules(STANDARD))
    with pytest.raises(CheckpointError, match="has a Pooling layer; only Transformer can be exported"):
        read(folder)


def test_code_of_the_checkpoints_own_is_refused(folder: Path) -> None:
    config = read_json(folder / "config.json") or {}
    put(folder / "config.json", {**config, "auto_map": {"AutoModel": "modeling_own.OwnModel"}})
    with pytest.raises(CheckpointError, match=r"own code, modeling_own.OwnModel \(auto_map\).*delete auto_map"):
        read(folder)


def test_the_layout_of_sentence_transformers_1_is_read(folder: Path, tmp_path: Path) -> None:
    """Encoder, tokenizer and length in 0_Transformer; with modules.json, and without."""
    plain = export(folder, tmp_path / "plain", precisions=("fp32",)).path
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / "0_Transformer").mkdir(exist_ok=True)
        (folder / name).rename(folder / "0_Transformer" / name)
    put(folder / "0_Transformer/sentence_bert_config.json", {"max_seq_length": 33})
    put(folder / "modules.json", modules({**STANDARD, "Transformer": "0_Transformer"}))
    bundle = export(folder, tmp_path / "b", precisions=("fp32",))
    found = Embedder(bundle.path).encode(TEXTS)
    np.testing.assert_array_equal(found, Embedder(plain).encode(TEXTS))
    other = theirs(folder)
    np.testing.assert_allclose(found, other.encode(TEXTS), atol=1e-5)
    assert bundle.manifest.max_tokens == other.max_seq_length == 33
    assert dict(bundle.manifest.prompts) == {"query": "how do i "}
    (folder / "modules.json").unlink()
    assert read(folder).directory == folder / "0_Transformer"


# Similarity and normalisation.


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan", None])
@pytest.mark.parametrize("normalize", [True, False])
def test_similarity_and_normalisation_are_those_of_the_checkpoint(
    folder: Path, tmp_path: Path, name: str | None, normalize: bool
) -> None:
    """In the manifest, and to sentence-transformers on the bundle; and an export of either kind passes its checks."""
    kinds = STANDARD if normalize else {kind: STANDARD[kind] for kind in ("Transformer", "Pooling")}
    put(folder / "modules.json", modules(kinds))
    put(folder / "config_sentence_transformers.json", {"similarity_fn_name": name})
    bundle = export(folder, tmp_path / "b", precisions=("fp32", "int8"))
    assert bundle.manifest.normalize is normalize
    on_bundle, on_checkpoint = theirs(bundle.path, backend="onnx"), theirs(folder)
    assert bundle.manifest.similarity == on_bundle.similarity_fn_name == on_checkpoint.similarity_fn_name
    np.testing.assert_allclose(on_bundle.encode(TEXTS), on_checkpoint.encode(TEXTS), atol=1e-4)
    lengths = np.linalg.norm(on_bundle.encode(TEXTS), axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) is normalize
    ours, expected = Embedder(bundle.path, precision="fp32"), on_checkpoint.encode(TEXTS)
    found = ours.encode(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(ours.encode(TEXTS, normalize_embeddings=False), expected, atol=1e-4)
    np.testing.assert_allclose(ours.encode(TEXTS, normalize=True), found / lengths[:, None], atol=1e-5)
    alike = on_checkpoint.similarity(expected, expected[:2]).numpy()
    np.testing.assert_allclose(ours.similarity(found, found[:2]), alike, rtol=1e-3, atol=1e-3)
    alike = on_checkpoint.similarity_pairwise(expected[1:], expected[:-1]).numpy()
    np.testing.assert_allclose(ours.similarity_pairwise(found[1:], found[:-1]), alike, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"similarity_fn_name": "hamming"}, "similarity_fn_name must be one of cosine, dot.*found 'hamming'"),
        ({"prompts": {"query": 5}}, "prompts must be texts by name, found {'query': 5}"),
        ({"prompts": ["query"]}, "prompts must be texts by name"),
        ({"prompts": {"query": "a "}, "default_prompt_name": "passage"}, "'passage' is none of its prompts"),
        ({"default_prompt_name": ["query"]}, "value of the wrong type|none of its prompts"),
        ({"truncate_dim": 16}, "truncate_dim 16"),
    ],
)
def test_what_sentence_transformers_sets_and_a_bundle_cannot_is_refused(
    folder: Path, value: object, message: str
) -> None:
    put(folder / "config_sentence_transformers.json", value)
    with pytest.raises(CheckpointError, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"model_args": {"variant": "fp16"}}, "sets variant"),
        ({"config_kwargs": {"hidden_act": "relu"}}, "sets hidden_act"),
        ({"transformer_task": "fill-mask"}, "sets transformer_task"),
        ({"tokenizer_name_or_path": "other/tokenizer"}, "sets tokenizer_name_or_path"),
        ({"modality_config": {"message": {}}}, "sets modality_config"),
        ({"processing_kwargs": {"text": {"max_length": 5}}}, "sets processing_kwargs"),
        ({"tokenizer_args": {"use_fast": False}}, "sets use_fast"),
        ({"max_seq_length": 1}, "has room for 1 tokens"),
        ({"max_seq_length": 0}, "has room for 0 tokens"),
        ({"max_seq_length": [512]}, "value of the wrong type"),
        ({"model_args": [1]}, "sets 1|wrong type"),
    ],
)
def test_arguments_that_change_vectors_are_refused(folder: Path, value: object, message: str) -> None:
    put(folder / "sentence_bert_config.json", value)
    with pytest.raises(CheckpointError, match=message):
        read(folder)


# Weights.


def save_as(folder: Path, layout: str, seed: int, make: MakeCheckpoint) -> None:
    """Weights of a seed into the folder, in one of the four layouts that transformers knows."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(make(seed=seed) / "model.safetensors")
    suffix = "safetensors" if "safetensors" in layout else "bin"
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    save: Any = save_file if suffix == "safetensors" else torch.save
    if "index" not in layout:
        save(tensors, folder / f"{stem}.{suffix}")
        return
    homes = {name: f"{stem}-0000{1 + n % 2}-of-00002.{suffix}" for n, name in enumerate(tensors)}
    for home in set(homes.values()):
        save({name: tensors[name] for name in tensors if homes[name] == home}, folder / home)
    put(folder / f"{stem}.{suffix}.index.json", {"metadata": {}, "weight_map": homes})


LAYOUTS = ("safetensors", "safetensors index", "bin", "bin index")


@pytest.mark.parametrize("first", range(4))
def test_of_several_weights_those_are_taken_that_transformers_takes(
    folder: Path, tmp_path: Path, make_checkpoint: MakeCheckpoint, first: int
) -> None:
    """Each layout of other weights."""
    import torch
    from transformers import AutoModel

    (folder / "model.safetensors").unlink()
    for seed, layout in enumerate(LAYOUTS[first:], 10):
        save_as(folder, layout, seed, make_checkpoint)
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
    model = Embedder(bundle.path)
    (ids,) = model._engine.tokeniser.encode(["the cat"]).ids
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(folder)(input_ids=torch.tensor([ids.tolist()])).last_hidden_state
    np.testing.assert_allclose(model.encode("the cat", normalize=False), hidden[0, 0].numpy(), atol=1e-4)


@pytest.mark.parametrize("layout", ["safetensors index", "bin index"])
def test_a_shard_that_is_missing_is_named(folder: Path, make_checkpoint: MakeCheckpoint, layout: str) -> None:
    (folder / "model.safetensors").unlink()
    save_as(folder, layout, 0, make_checkpoint)
    (shard,) = folder.glob("*-00002-of-*")
    shard.unlink()
    with pytest.raises(CheckpointError, match=f"holds no {shard.name}, which .*index.json names"):
        read(folder)


@pytest.mark.parametrize("value", [{}, {"weight_map": {}}, {"weight_map": {"a": 3}}, {"weight_map": {"a": "../x"}}])
def test_an_index_that_is_none_is_refused(folder: Path, value: object) -> None:
    (folder / "model.safetensors").rename(folder.parent / "x")
    put(folder / "model.safetensors.index.json", value)
    with pytest.raises(CheckpointError, match="has no weight_map|holds no x, which"):
        read(folder)


def commands(error: BaseException) -> list[str]:
    """What a message puts in backticks, as a shell reads it."""
    return re.findall("`(python .*?)`", str(error), re.DOTALL)


def run_in_shell(command: str) -> None:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, (command, done.stderr)


ODD = 'it\'s a "model" $HOME & co'


def test_the_command_that_makes_a_tokenizer_runs_in_any_folder(folder: Path, tmp_path: Path) -> None:
    """Whatever quotes and blanks its name has; and what it makes is exported."""
    from tokenizers import Tokenizer

    odd = folder.rename(tmp_path / ODD)
    vocabulary = Tokenizer.from_file(str(odd / "tokenizer.json")).get_vocab()
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    (odd / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    expected = export(odd, tmp_path / "a", precisions=("fp32",), verify=False).path
    (odd / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="holds no tokenizer.json") as seen:
        read(odd)
    (command,) = commands(seen.value)
    run_in_shell(command)
    found = export(odd, tmp_path / "b", precisions=("fp32",), verify=False).path
    np.testing.assert_array_equal(Embedder(found).encode(TEXTS), Embedder(expected).encode(TEXTS))


def test_an_adapter_alone_names_the_command_that_merges_it(folder: Path, tmp_path: Path) -> None:
    """And what that makes gives the vectors of PEFT."""
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModel

    torch.manual_seed(0)
    config = peft.LoraConfig(task_type="FEATURE_EXTRACTION", target_modules=["query", "value"], init_lora_weights=False)
    model = peft.get_peft_model(AutoModel.from_pretrained(folder), config).eval()
    adapter = tmp_path / ODD
    ignore = shutil.ignore_patterns("model.safetensors", "config.json")
    shutil.copytree(folder, adapter, ignore=lambda at, names: ignore(at, names) if Path(at) == folder else [])
    model.save_pretrained(str(adapter))
    with pytest.raises(CheckpointError, match="holds an adapter .* merge it first") as seen:
        read(adapter)
    (command,) = commands(seen.value)
    run_in_shell(command)
    merged = Embedder(export(f"{adapter}-merged", tmp_path / "b", precisions=("fp32",), verify=False).path)
    (ids,) = merged._engine.tokeniser.encode([TEXTS[0]]).ids
    with torch.no_grad():
        hidden = model(input_ids=torch.tensor([ids.tolist()])).last_hidden_state[0, 0].numpy()
    found: NDArray[np.float32] = merged.encode(TEXTS[0], normalize=False)
    np.testing.assert_allclose(found, hidden, atol=1e-4)


def test_an_adapter_beside_weights_is_not_ignored(folder: Path) -> None:
    put(folder / "adapter_config.json", {"peft_type": "LORA"})
    with pytest.raises(CheckpointError, match="have it merged into them, delete adapter_config.json"):
        read(folder)


# Files that are none.

READ = [
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter_config.json",
    "tokenizer.json",
]
HOSTILE: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "no JSON": lambda path: path.write_text("{"),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe"),
    "another type": lambda path: path.write_text('"text"'),
    "null": lambda path: path.write_text("null"),
    "deep": lambda path: path.write_text('{"prompts":' + "[" * 200_000 + "]" * 200_000 + "}"),
    "an endless number": lambda path: path.write_text('{"max_seq_length": 1e400}'),
    "NaN": lambda path: path.write_text('{"hidden_size": NaN}'),
    "a long number": lambda path: path.write_text('{"hidden_size": ' + "9" * 10_000 + "}"),
    "half a surrogate pair": lambda path: path.write_text('{"prompts": {"query": "\\ud800"}}'),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("name", READ)
def test_a_file_that_is_none_is_one_of_our_errors(folder: Path, name: str, what: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    HOSTILE[what](path)
    with pytest.raises(CheckpointError, match=re.escape(str(folder))) as seen:
        read(folder)
    assert "\n" not in str(seen.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_one_of_our_errors(folder: Path) -> None:
    (folder / "config.json").chmod(0)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(folder)


def test_whatever_the_tokenizers_library_raises_is_one_of_our_errors(folder: Path) -> None:
    class PanicException(BaseException):
        """As pyo3's."""

        __module__ = "pyo3_runtime"

    for error in (PanicException("index out of bounds"), Exception("bare"), IndexError("none")):
        with pytest.raises(CheckpointError, match="is not a tokenizer"), tokenizer_errors(folder):
            raise error
    with pytest.raises(KeyboardInterrupt), tokenizer_errors(folder):
        raise KeyboardInterrupt


def test_a_directory_whose_name_is_no_unicode_is_one_of_our_errors(folder: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff"))
    folder.rename(odd)
    with pytest.raises(CheckpointError, match="is no Unicode; rename"):
        export(odd, tmp_path / "b", verify=False)
    assert not (tmp_path / "b").exists()
