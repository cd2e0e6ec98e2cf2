"""Similarity, normalisation and other settings act as in sentence-transformers, or are refused."""

from pathlib import Path

import numpy as np
import pytest

from checkpoint_folder import STANDARD, modules, put, read, theirs
from embedge import CheckpointError, Embedder
from embedge_export import export

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
TEXTS = ["the cat sat on the mat", "bread", "how do i bake bread ?"]


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan", None])
@pytest.mark.parametrize("normalize", [True, False])
def test_similarity_and_normalisation_are_those_of_the_checkpoint(
    folder: Path, tmp_path: Path, name: str | None, normalize: bool
) -> None:
    """In the manifest, and for sentence-transformers on the bundle. An export of either kind passes its checks."""
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
        ({"prompts": {"query": "a "}, "default_prompt_name": "passage"}, "'passage' is not one of its prompts"),
        ({"default_prompt_name": ["query"]}, "value of the wrong type|not one of its prompts"),
        ({"truncate_dim": 16}, "truncate_dim 16"),
    ],
)
def test_settings_that_a_bundle_cannot_follow_are_refused(folder: Path, value: object, message: str) -> None:
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
        ({"max_seq_length": 1}, "allows texts of 1 tokens"),
        ({"max_seq_length": 0}, "allows texts of 0 tokens"),
        ({"max_seq_length": [512]}, "value of the wrong type"),
        ({"model_args": [1]}, "sets 1|wrong type"),
    ],
)
def test_arguments_that_change_vectors_are_refused(folder: Path, value: object, message: str) -> None:
    put(folder / "sentence_bert_config.json", value)
    with pytest.raises(CheckpointError, match=message):
        read(folder)
