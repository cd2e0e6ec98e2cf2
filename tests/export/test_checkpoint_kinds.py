"""The native exporter and optimum export every kind of checkpoint alike, or refuse it with the reason."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checkpoint_folder import token_ids
from embedge import CheckpointError, Embedder, QualityError
from embedge_export import export

MakeCheckpoint = Callable[..., Path]


@pytest.mark.parametrize("precision", ["int8", "fp32", "fp16"])
def test_the_optimum_exporter_makes_the_same_vectors(
    tiny_checkpoint: Path, tiny: Embedder, tmp_path: Path, precision: Any
) -> None:
    bundle = export(tiny_checkpoint, tmp_path / "b", precisions=(precision,), exporter="optimum", verify=False)
    cosine = Embedder(bundle.path).encode("the cat sat") @ tiny.encode("the cat sat")
    assert cosine > (0.99 if precision == "int8" else 0.99999)


def test_the_optimum_exporter_exports_other_architectures(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A seeded DistilBERT, compared with transformers' own module."""
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "distil"))
    config = DistilBertConfig(vocab_size=64, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64)
    model = DistilBertModel(config).eval()
    model.save_pretrained(folder)
    with pytest.raises(CheckpointError, match="distilbert model.*--exporter optimum"):
        export(folder, tmp_path / "b")
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), exporter="optimum")
    embedder = Embedder(bundle.path)
    ids = torch.tensor([token_ids(bundle, "the cat sat")])
    with torch.no_grad():
        expected = model(input_ids=ids).last_hidden_state[0, 0].numpy()
    np.testing.assert_allclose(embedder.encode("the cat sat", normalize=False), expected, atol=1e-4)


def test_pickles_give_the_same_graph_and_run_no_code(tiny: Embedder, tiny_checkpoint: Path, tmp_path: Path) -> None:
    import pickle

    import torch
    from safetensors.torch import load_file

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "pickled"))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    bundle = export(folder, tmp_path / "b", precisions=("fp32",))
    np.testing.assert_array_equal(Embedder(bundle.path).encode("the cat sat"), tiny.encode("the cat sat"))
    export(folder, tmp_path / "o", precisions=("fp32",), exporter="optimum")

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"embeddings.LayerNorm.weight": Trap()}))
    with pytest.raises(CheckpointError, match="no plain dictionary of tensors"):
        export(folder, tmp_path / "c", precisions=("fp32",))
    with pytest.raises(CheckpointError, match="optimum cannot export"):
        export(folder, tmp_path / "c", precisions=("fp32",), exporter="optimum")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "pools by"),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "pools by max"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "has a Dense layer"),
        ("config.json", {"model_type": "bert", "vocab_size": 10}, "must agree"),
        ("config.json", [], "must hold a JSON object"),
        ("tokenizer.json", {}, "is not a tokenizer"),
    ],
)
def test_a_checkpoint_that_cannot_be_exported_says_why(
    tiny_checkpoint: Path, tmp_path: Path, file: str, value: object, message: str
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "broken"))
    (folder / file).write_text(json.dumps(value))
    with pytest.raises(CheckpointError, match=message):
        export(folder, tmp_path / "b")


@pytest.mark.parametrize("mode", ["cls", "mean", "lasttoken"])
def test_the_pooling_key_of_sentence_transformers_5_is_read(tiny_checkpoint: Path, tmp_path: Path, mode: str) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": mode}))
    assert export(folder, tmp_path / "b", verify=False).manifest.pooling == mode.removesuffix("token")


def test_a_fine_tune_takes_what_it_lacks_from_a_recipe(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    shutil.rmtree(folder / "1_Pooling")
    (folder / "config_sentence_transformers.json").unlink()
    with pytest.raises(CheckpointError, match="does not say how it pools.*--like"):
        export(folder, tmp_path / "b", verify=False)
    manifest = export(folder, tmp_path / "b", like="bge-small-en-v1.5", verify=False).manifest
    assert manifest.pooling == "cls"
    assert manifest.prompts == {"query": "Represent this sentence for searching relevant passages: "}
    assert manifest.max_tokens == 64


def test_no_tokenizer_names_the_command_that_makes_one(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="holds no tokenizer.json; run `python -c"):
        export(folder, tmp_path / "b")


@pytest.mark.parametrize("exporter", ["native", "optimum"])
def test_vectors_that_are_not_finite_are_never_written(
    make_checkpoint: MakeCheckpoint, tiny_checkpoint: Path, tmp_path: Path, exporter: Any
) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(tiny_checkpoint / "model.safetensors")
    tensors["encoder.layer.1.output.LayerNorm.weight"][:] = 3e38
    folder = make_checkpoint(tensors=tensors)
    with pytest.raises(QualityError, match="last_hidden_state that is not finite.*get the checkpoint again"):
        export(folder, tmp_path / "b", precisions=("fp32",), exporter=exporter)
    assert not (tmp_path / "b").exists()


def test_optimum_fills_no_tensor_with_random_numbers(
    make_checkpoint: MakeCheckpoint, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(tiny_checkpoint / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.bias"]
    folder = make_checkpoint(tensors=tensors)
    for exporter in ("native", "optimum"):
        with pytest.raises(CheckpointError, match=r"has no tensor encoder\.layer\.1\.output\.dense\.bias"):
            export(folder, tmp_path / "b", exporter=exporter)


def test_pooling_is_read_where_modules_json_says(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    (folder / "2_Pooling").mkdir()
    (folder / "2_Pooling/config.json").write_text('{"pooling_mode": "mean"}')
    kinds = {"Transformer": "", "Pooling": "2_Pooling"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    assert export(folder, tmp_path / "b", verify=False).manifest.pooling == "mean"
