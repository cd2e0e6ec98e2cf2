"""XLM-RoBERTa with every head: its graphs equal optimum's, and its bundles open with the right class only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Bundle, BundleError, Embedder, Reranker
from embedge.bundle.manifest import HIDDEN, SCORES
from embedge.hub.model_card import model_card
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.graph.encoder import build_graph
from embedge_export.optimum.trace import trace
from embedge_export.verify.checks import verify_bundle
from embedge_export.verify.passages import passages
from embedge_export.verify.reference import Reference
from padded_ids import padded

TEXTS = [passage.joined for passage in passages()[:12]] + ["", "bread", "a <mask> b", "東京 🚲"]


def checkpoint_of(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


@pytest.mark.parametrize("lengths", [[3, 512, 17], [2], [9, 9, 9]])
@pytest.mark.parametrize(("name", "output"), [("m3_checkpoint", HIDDEN), ("reranker_checkpoint", SCORES)])
def test_fp32_is_optimums_graph(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, output: str, lengths: list[int]
) -> None:
    """Each element is near; a padding token inside a text checks that positions are counted as in transformers."""
    checkpoint = checkpoint_of(request.getfixturevalue(name))
    (tmp_path / "native.onnx").write_bytes(build_graph(checkpoint).SerializeToString())
    batch = padded(lengths)
    native = Reference(tmp_path / "native.onnx", "native").run(*batch, output=output)
    traced = Reference(trace(checkpoint, tmp_path / "traced"), "optimum").run(*batch, output=output)
    found, expected = (_real(values, batch[1], output) for values in (native, traced))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def _real(values: NDArray[np.float32], mask: NDArray[np.int64], output: str) -> NDArray[np.float32]:
    return values[mask == 1] if output == HIDDEN else values


def test_graphs_are_compared_with_optimums(
    reranker_checkpoint: Path, reranker_bundle: Bundle, m3_checkpoint: Path, m3_bundle: Bundle, tmp_path: Path
) -> None:
    """The limit for int8 is low: random weights of width 32 lose more than real ones."""
    for checkpoint, bundle in ((reranker_checkpoint, reranker_bundle), (m3_checkpoint, m3_bundle)):
        found = dict(verify_bundle(bundle, checkpoint=str(checkpoint), cache=tmp_path, traced=True))
        fp32, int8 = found["fp32"], found["int8"]
        assert fp32
        assert int8
        assert fp32.reference.startswith("optimum")
        assert fp32.max_abs_difference is not None
        assert fp32.max_abs_difference < 2e-5
        assert fp32.cosine_min > 0.999999
        assert int8.cosine_min > 0.98
        assert fp32.batch_difference == int8.batch_difference == 0


def test_dense_vectors_beside_the_sparse_head_are_transformers(m3_checkpoint: Path, m3_bundle: Bundle) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(m3_checkpoint).eval(), AutoTokenizer.from_pretrained(m3_checkpoint)
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=512, return_tensors="pt")
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model(**batch).last_hidden_state[:, 0], dim=-1).numpy()
    np.testing.assert_allclose(Embedder(m3_bundle.path, precision="fp32").encode(TEXTS), expected, atol=1e-5)
    assert m3_bundle.manifest.sparse


def test_each_bundle_opens_as_what_it_is(reranker_bundle: Bundle, m3_bundle: Bundle, tiny_bundle: Bundle) -> None:
    with pytest.raises(
        BundleError, match=r"is a reranker, not an embedder; .* embedge\.Reranker, or run `embedge rerank`"
    ):
        Embedder(reranker_bundle.path)
    with pytest.raises(BundleError, match=r"is an embedder, not a reranker; open it with embedge\.Embedder"):
        Reranker(m3_bundle.path)
    with pytest.raises(BundleError, match="has no lexical weights; use a model that has, such as bge-m3"):
        Embedder(tiny_bundle.path).encode_sparse("bread")


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("reranker_bundle", {"model", "best_first"}),
        ("m3_bundle", {"model", "vectors", "weights", "multi_vectors"}),
    ],
)
def test_the_lines_of_a_model_card_run(request: pytest.FixtureRequest, name: str, made: set[str]) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    code = (
        model_card(bundle.manifest, str(bundle.path), in_javascript=False)
        .partition("```python\n")[2]
        .partition("```")[0]
    )
    names: dict[str, Any] = {}
    exec(code, names)
    assert made <= set(names)
