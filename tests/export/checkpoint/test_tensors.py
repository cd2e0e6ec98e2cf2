"""tensor_names.py, tensors.py and optimum/renamed_copy.py: wrapped encoders, and missing or left-over tensors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from embedge import Bundle, CheckpointError, Embedder, Reranker
from embedge_export import export
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.tensor_names import is_unread
from embedge_export.graph.encoder import build_graph
from embedge_export.graph.encoder_config import read_encoder_config
from seeded_roberta import write_roberta

MakeCheckpoint = Callable[..., Path]
Tensors = dict[str, NDArray[Any]]

WRAPPERS = ["model.", "module.", "0.auto_model.", "_orig_mod.", "encoder.", "bert.", "roberta.", "transformer."]
NESTED = ["module.bert.", "model.encoder.", "_orig_mod.module.", "base_model.model.bert.", "module.0.auto_model."]


def checkpoint_of(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def changed(folder: Path, target: Path, change: Callable[[Tensors], Tensors], **config: Any) -> Path:
    """A copy of a checkpoint with other tensors, and other values in its config."""
    copy = Path(shutil.copytree(folder, target))
    save_file(change(load_file(folder / "model.safetensors")), copy / "model.safetensors")
    sizes = json.loads((copy / "config.json").read_text()) | config
    (copy / "config.json").write_text(json.dumps(sizes))
    return copy


def wrapped(folder: Path, target: Path, prefix: str) -> Path:
    return changed(folder, target, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})


def pickle_of(folder: Path) -> Path:
    """The checkpoint with torch's own file instead of its safetensors."""
    import torch

    tensors = {name: torch.tensor(value) for name, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_roberta(tmp_path_factory.mktemp("tensors") / "reranker", rerank=True)


@pytest.fixture(scope="module")
def reranker_scores(reranker: Path, tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    bundle = export(reranker, tmp_path_factory.mktemp("tensors") / "b", precisions=("fp32",), verify=False)
    return scores(bundle)


def scores(bundle: Bundle) -> NDArray[np.float32]:
    found: NDArray[np.float32] = Reranker(bundle.path).score([("bread", "How bread is baked"), ("bread", "The moon")])
    return found


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickled"])
@pytest.mark.parametrize("prefix", [*WRAPPERS, *NESTED])
def test_a_wrapped_encoder_is_the_same_graph(tiny_checkpoint: Path, tmp_path: Path, prefix: str, pickled: bool) -> None:
    folder = wrapped(tiny_checkpoint, tmp_path / "c", prefix)
    found = build_graph(checkpoint_of(pickle_of(folder) if pickled else folder))
    assert found == build_graph(checkpoint_of(tiny_checkpoint))


def test_inner_wrappers_are_removed_from_the_names(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """torch.compile and FSDP of single layers leave such names."""

    def wrap(tensors: Tensors) -> Tensors:
        layer = {name: name.replace("layer.1.", "layer.1._orig_mod._fsdp_wrapped_module.") for name in tensors}
        return {layer[name]: tensor for name, tensor in tensors.items()}

    folder = changed(tiny_checkpoint, tmp_path / "c", wrap)
    assert build_graph(checkpoint_of(folder)) == build_graph(checkpoint_of(tiny_checkpoint))


@pytest.mark.parametrize("prefix", ["bert.", "module.", "_orig_mod.module.bert.", "0.auto_model."])
@pytest.mark.parametrize("exporter", ["native", "optimum"])
def test_a_wrapped_encoder_is_verified_and_its_vectors_are_those_of_the_plain_one(
    tiny_checkpoint: Path, tiny: Embedder, tmp_path: Path, prefix: str, exporter: Any
) -> None:
    """Under most of these names, transformers finds no tensors; it reads a renamed copy."""
    folder = pickle_of(wrapped(tiny_checkpoint, tmp_path / "c", prefix))
    bundle = export(folder, tmp_path / "b", precisions=("fp32",), exporter=exporter)
    quality = bundle.manifest.precisions["fp32"].quality
    assert quality is not None
    assert quality.reference.startswith("transformers")
    found, expected = Embedder(bundle.path).encode("the cat sat"), tiny.encode("the cat sat")
    np.testing.assert_allclose(found, expected, atol=0 if exporter == "native" else 1e-5)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod."])
def test_a_wrapped_reranker_is_verified_and_scores_as_the_plain_one(
    reranker: Path, reranker_scores: NDArray[np.float32], tmp_path: Path, prefix: str
) -> None:
    bundle = export(wrapped(reranker, tmp_path / "c", prefix), tmp_path / "b", precisions=("fp32",))
    assert bundle.manifest.precisions["fp32"].quality is not None
    np.testing.assert_array_equal(scores(bundle), reranker_scores)


def test_a_reranker_whose_encoder_has_no_name_is_verified(
    reranker: Path, reranker_scores: NDArray[np.float32], tmp_path: Path
) -> None:
    """The transformers library calls such a file corrupted."""
    folder = changed(
        reranker, tmp_path / "c", lambda tensors: {name.removeprefix("roberta."): t for name, t in tensors.items()}
    )
    bundle = export(folder, tmp_path / "b", precisions=("fp32",))
    assert bundle.manifest.precisions["fp32"].quality is not None
    np.testing.assert_array_equal(scores(bundle), reranker_scores)


def test_a_half_precision_checkpoint_behind_a_wrapper_is_verified(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The renamed copy is float32, because safetensors cannot write numpy's bfloat16."""
    import torch
    from safetensors.torch import save_file as save_torch

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "c"))
    tensors = load_file(tiny_checkpoint / "model.safetensors")
    halved = {f"module.{name}": torch.tensor(tensor).bfloat16() for name, tensor in tensors.items()}
    save_torch(halved, folder / "model.safetensors")
    assert export(folder, tmp_path / "b", precisions=("fp32",)).manifest.precisions["fp32"].quality is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {f"student.{n}": v for n, v in t.items()},
            r"under 'student\.', which is not a wrapper that embedge knows",
        ),
        (
            lambda t: {f"{side}.{n}": v for side in ("query_model", "doc_model") for n, v in t.items()},
            r"holds 2 encoders, under 'doc_model\.' and 'query_model\.'; save only the one",
        ),
        (
            lambda t: t | {f"model.{n}": v for n, v in t.items()},
            r"holds 2 encoders, under no prefix and 'model\.'",
        ),
        (
            lambda t: {("bert." if "layer.1" in n else "module.bert.") + n: v for n, v in t.items()},
            r"has no tensor encoder\.layer\.1\.\S+; bert\.encoder\.layer\.1\.\S+ has another prefix than the other",
        ),
        (
            lambda t: t | {"embeddings._orig_mod.LayerNorm.bias": t["embeddings.LayerNorm.bias"]},
            r"holds embeddings\.LayerNorm\.bias twice",
        ),
        (lambda t: {"lm_head.bias": np.zeros(3, np.float32)}, r"only lm_head\.bias.*describes another model"),
        (
            lambda t: t | {"embeddings.LayerNorm.bias": np.zeros(32, np.int8)},
            r"embeddings\.LayerNorm\.bias holds int8, which is the type of a quantised model",
        ),
    ],
    ids=["unknown", "two", "one in another", "other prefix", "twice", "no encoder", "quantised"],
)
def test_names_that_are_not_those_of_one_encoder_are_an_error(
    tiny_checkpoint: Path, tmp_path: Path, change: Callable[[Tensors], Tensors], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        build_graph(checkpoint_of(changed(tiny_checkpoint, tmp_path / "c", change)))


def test_a_tensor_in_two_files_is_an_error(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """One of the two shards is of another save."""
    import torch

    folder = pickle_of(Path(shutil.copytree(tiny_checkpoint, tmp_path / "c")))
    twice = "embeddings.LayerNorm.bias"
    (folder / "pytorch_model.bin").rename(folder / "a.bin")
    torch.save({twice: torch.zeros(32)}, folder / "b.bin")
    index = {"weight_map": {"embeddings.LayerNorm.weight": "a.bin", twice: "b.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(
        CheckpointError, match=r"holds embeddings\.LayerNorm\.bias both in a\.bin and in b\.bin; delete"
    ):
        build_graph(checkpoint_of(folder))


@pytest.mark.parametrize("exporter", ["native", "optimum"])
@pytest.mark.parametrize("prefix", ["", "bert.", "module."])
def test_fewer_layers_than_the_file_has_are_refused(
    tiny_checkpoint: Path, tmp_path: Path, exporter: Any, prefix: str
) -> None:
    folder = wrapped(tiny_checkpoint, tmp_path / "c", prefix)
    folder = changed(folder, tmp_path / "d", dict, num_hidden_layers=1)
    message = (
        r"holds 16 tensors that its config\.json \(bert, num_hidden_layers 1\) has no place for: encoder\.layer\.1\."
    )
    with pytest.raises(CheckpointError, match=message):
        export(folder, tmp_path / "b", precisions=("fp32",), exporter=exporter, verify=False)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("exporter", ["native", "optimum"])
@pytest.mark.parametrize("wrapper", ["", "bert."])
@pytest.mark.parametrize("name", ["2.linear.weight", "encoder.layer.1.attention.self.query.lora_A.weight"])
def test_a_layer_that_nothing_reads_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, exporter: Any, wrapper: str, name: str
) -> None:
    """Beside the encoder, where transformers does not report it, or inside the encoder."""
    folder = wrapped(tiny_checkpoint, tmp_path / "c", wrapper)
    prefix = wrapper if "encoder" in name else ""
    folder = changed(folder, tmp_path / "d", lambda t: t | {prefix + name: np.zeros((2, 32), np.float32)})
    with pytest.raises(CheckpointError, match=f"has no place for: {name}"):
        export(folder, tmp_path / "b", precisions=("fp32",), exporter=exporter, verify=False)


def test_a_reranker_of_more_layers_or_another_classifier_is_refused(reranker: Path, tmp_path: Path) -> None:
    fewer = changed(reranker, tmp_path / "a", dict, num_hidden_layers=1)
    with pytest.raises(CheckpointError, match=r"has no place for: encoder\.layer\.1\."):
        build_graph(checkpoint_of(fewer))
    other = {"classifier.extra.weight": np.zeros(32, np.float32)}
    with pytest.raises(CheckpointError, match=r"has no place for: classifier\.extra\.weight"):
        build_graph(checkpoint_of(changed(reranker, tmp_path / "b", lambda t: t | other)))


@pytest.mark.parametrize("head", ["sparse_linear.pt", "colbert_linear.pt"])
def test_a_head_file_with_more_in_it_is_refused(m3_checkpoint: Path, tmp_path: Path, head: str) -> None:
    import torch

    folder = Path(shutil.copytree(m3_checkpoint, tmp_path / "c"))
    tensors = torch.load(folder / head, weights_only=True)
    torch.save(tensors | {"scale": torch.ones(1)}, folder / head)
    with pytest.raises(CheckpointError, match=rf"{head} holds .*scale beside its layer's weight and bias"):
        build_graph(checkpoint_of(folder))


@pytest.mark.parametrize(
    ("size", "value"),
    [("vocab_size", 65), ("type_vocab_size", 1), ("max_position_embeddings", 63), ("intermediate_size", 32)],
)
def test_a_size_in_the_config_that_does_not_fit_the_tensors_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, size: str, value: int
) -> None:
    folder = changed(tiny_checkpoint, tmp_path / "c", dict, **{size: value})
    with pytest.raises(CheckpointError, match="config.json says"):
        build_graph(checkpoint_of(folder))


@pytest.mark.parametrize("kind", ["bert", "camembert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("layer_norm_eps", "epsilon"),
        ("hidden_act", "activation"),
        ("type_vocab_size", "token_types"),
        ("pad_token_id", "pad_token_id"),
    ],
)
def test_the_defaults_of_a_config_are_those_of_transformers(
    tiny_checkpoint: Path, tmp_path: Path, kind: str, key: str, field: str
) -> None:
    from transformers import AutoConfig

    folder = changed(tiny_checkpoint, tmp_path / "c", dict, model_type=kind)
    config = json.loads((folder / "config.json").read_text())
    del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    expected = getattr(AutoConfig.from_pretrained(folder), key)
    found = getattr(read_encoder_config(checkpoint_of(folder)), field)
    assert found == (None if (key, kind) == ("pad_token_id", "bert") else expected)


def heads_of(family: str) -> list[str]:
    """Names of transformers' classes of a family that put something on top of its encoder."""
    from transformers.models.auto import modeling_auto

    names = [value for name, value in vars(modeling_auto).items() if name.endswith("_MAPPING_NAMES")]
    classes = {found for mapping in names if isinstance(found := mapping.get(family), str)}
    return sorted(name for name in classes if "For" in name or "LMHead" in name)


def small(family: str) -> Any:
    from transformers import AutoConfig

    sizes: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 64}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 64, "embedding_size": 32}
    if family == "distilbert":
        sizes = {"dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 64, "vocab_size": 64}
    return AutoConfig.for_model(family, **sizes)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "camembert"])
def test_an_encoder_is_exported_from_under_any_head_of_transformers(
    tiny_checkpoint: Path, tmp_path: Path, family: str
) -> None:
    """The graph is the same as that of the encoder saved alone."""
    import torch
    import transformers

    kinds = [name for name in heads_of(family) if "SequenceClassification" not in name]
    assert len(kinds) >= 5
    for kind in kinds:
        torch.manual_seed(0)
        model = getattr(transformers, kind)(small(family))
        graphs = []
        for number, saved in enumerate((model, model.base_model)):
            folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / f"{kind}{number}"))
            saved.save_pretrained(folder)
            graphs.append(build_graph(checkpoint_of(folder)))
        assert graphs[0] == graphs[1]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # by deberta's module, as it is imported
@pytest.mark.parametrize("family", ["distilbert", "electra", "mpnet", "deberta-v2", "albert"])
def test_heads_of_other_encoders_are_known_too(family: str) -> None:
    """Every tensor that transformers' classes add to an encoder is known to be unread."""
    import transformers

    encoder = transformers.AutoModel.from_config(small(family))
    own, base = set(encoder.state_dict()), f"{encoder.base_model_prefix}."
    assert heads_of(family)
    for kind in heads_of(family):
        names = {name.removeprefix(base) for name in getattr(transformers, kind)(small(family)).state_dict()}
        assert [name for name in names - own if not is_unread(name, "embed")] == []
    assert not any(is_unread(name, "embed") for name in own if not name.startswith("pooler."))
