"""modules.json: the modules that a bundle can run are read, and others are refused."""

from pathlib import Path

import numpy as np
import pytest

from checkpoint_folder import NEW, OLD, STANDARD, modules, put, read, theirs
from embedge import CheckpointError, Embedder
from embedge_export import export
from embedge_export.checkpoint.json_file import read_json
from seeded_roberta import write_roberta

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
TEXTS = ["the cat sat on the mat", "bread", "how do i bake bread ?"]


@pytest.mark.parametrize("prefix", [OLD, NEW, f"{OLD}.Pooling", f"{NEW}.pooling"])
def test_sentence_transformers_classes_are_known_by_their_old_and_new_paths(folder: Path, prefix: str) -> None:
    kinds = {f"{OLD}.Transformer": "", f"{prefix}.Pooling": "1_Pooling"}
    put(folder / "modules.json", modules(kinds))
    assert read(folder).normalize is False


def test_what_sentence_transformers_saves_is_read(folder: Path, tmp_path: Path) -> None:
    """Whichever paths the installed version writes."""
    theirs(folder).save(str(tmp_path / "saved"))
    checkpoint = read(tmp_path / "saved")
    assert (checkpoint.pooling, checkpoint.normalize, checkpoint.similarity) == ("cls", True, "cosine")
    assert checkpoint.max_tokens == read(folder).max_tokens
    assert checkpoint.prompts == {"query": "how do i "}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (modules({"custom_st.Transformer": "", "Pooling": "1_Pooling"}), "the module 'custom_st.Transformer'"),
        (modules({"evil.sentence_transformers.models.Transformer": ""}), "not part of sentence-transformers"),
        (modules({"sentence_transformers_x.models.Pooling": ""}), "not part of sentence-transformers"),
        (modules({"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense"}), "has a Dense layer"),
        (modules({"Pooling": "1_Pooling", "Transformer": ""}), "found Pooling [+] Transformer"),
        (modules({"Transformer": "", "Normalize": "1", "Pooling": "1_Pooling"}), "found Transformer [+] Normalize"),
        (modules({"Transformer": "", "Pooling": "1_Pooling", f"{NEW}.Pooling": "2"}), "Pooling [+] Pooling"),
        (modules({"Transformer": ""}), "must be Transformer [+] Pooling or"),
        ([{**modules(STANDARD)[0], "kwargs": ["task"]}, *modules(STANDARD)[1:]], r"the arguments \['task'\]"),
        (modules({"Transformer": "../other", "Pooling": "1_Pooling"}), "not a folder in the checkpoint"),
        ([{"path": ""}], "the module None"),
        ({"0": "Transformer"}, "must hold a list of modules"),
        ([3], "must hold a list of modules"),
        ([], "found nothing"),
    ],
)
def test_modules_that_a_bundle_cannot_run_are_refused(folder: Path, found: object, message: str) -> None:
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
    with pytest.raises(CheckpointError, match="has a Pooling layer, and only Transformer can be exported"):
        read(folder)


def test_a_model_whose_code_is_in_the_checkpoint_is_refused(folder: Path) -> None:
    config = read_json(folder / "config.json") or {}
    put(folder / "config.json", {**config, "auto_map": {"AutoModel": "modeling_own.OwnModel"}})
    with pytest.raises(
        CheckpointError, match=r"code is in the checkpoint, modeling_own.OwnModel \(auto_map\).*delete auto_map"
    ):
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
