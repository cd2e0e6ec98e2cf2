"""A checkpoint that changed since its export is noticed at the next one, even if an early embedge made the bundle."""

import hashlib
import logging
from dataclasses import asdict
from pathlib import Path

import pytest

from checkpoint_folder import modules, put, read
from embedge import Bundle, BundleError
from embedge_export import export
from embedge_export.verify.checks import verify_bundle

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


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
def test_any_change_is_noticed_at_the_next_export(folder: Path, tmp_path: Path, file: str, value: object) -> None:
    export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
    put(folder / file, value)
    for precision in ("fp32", "int8"):
        with pytest.raises(
            BundleError, match="or before the checkpoint changed; pass -o another directory, or --force"
        ):
            export(folder, tmp_path / "b", precisions=(precision,), verify=False)
    again = export(folder, tmp_path / "b", precisions=("fp32",), verify=False, force=True)
    assert again.manifest.source.checkpoint_sha256 == read(folder).sha256
    side = (again.path / file).read_text() if (again.path / file).exists() else ""
    assert side != "" or file == "sentence_roberta_config.json"


def early_bundle(bundle: Bundle, checkpoint: Path) -> Bundle:
    """The bundle as early versions of embedge wrote it: its hash covers fewer files, and it lacks later fields."""
    names = ("model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json")
    formula = hashlib.sha256(b"".join((checkpoint / name).read_bytes() for name in names)).hexdigest()
    manifest = asdict(bundle.manifest)
    manifest["source"]["checkpoint_sha256"] = formula
    for name in ("truncation_side", "similarity", "normalize"):
        del manifest[name]
    put(bundle.path / "embedge.json", manifest)
    return Bundle.open(bundle.path)


def test_an_early_bundle_stays_if_nothing_changed_and_gets_the_new_hash(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = early_bundle(export(folder, tmp_path / "b", precisions=("fp32",), verify=False), folder)
    caplog.set_level(logging.INFO, "embedge")
    assert export(folder, tmp_path / "b", precisions=("fp32",), verify=False) == old
    assert "holds fp32 already" in caplog.messages[-1]
    assert next(iter(verify_bundle(old, checkpoint=str(folder), cache=tmp_path)))[1] is not None
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
def test_changed_settings_are_noticed_in_an_early_bundle(
    folder: Path, tmp_path: Path, file: str, value: object, named: str
) -> None:
    early_bundle(export(folder, tmp_path / "b", precisions=("fp32",), verify=False), folder)
    put(folder / file, value)
    with pytest.raises(BundleError, match=f"was made with other settings {named}.*--force"):
        export(folder, tmp_path / "b", precisions=("fp32",), verify=False)
