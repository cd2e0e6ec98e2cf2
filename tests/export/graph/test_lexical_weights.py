"""bge-m3's sparse head: lexical weights equal those that FlagEmbedding computes with transformers."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedge import Bundle, BundleError, Embedder, QualityError
from embedge.bundle.manifest import TOKEN_WEIGHTS, Precision
from embedge_export import export
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.verify.checks import verify_bundle
from embedge_export.verify.passages import documents, passages, questions
from manifests import sealed
from padded_ids import padded
from references import references
from wrong_heads import Change, check_a_wrong_head_is_noticed

TEXTS = [passage.joined for passage in passages()[:12]] + ["", "bread", "a <mask> b", "東京 🚲"]


def checkpoint_of(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def lexical_weights(checkpoint: Path, texts: list[str]) -> list[dict[int, float]]:
    """Compute weights as FlagEmbedding does, with torch: of each token id, the largest ReLU of a linear layer."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(checkpoint).eval(), AutoTokenizer.from_pretrained(checkpoint)
    head = torch.nn.Linear(32, 1)
    head.load_state_dict(torch.load(checkpoint / "sparse_linear.pt", weights_only=True))
    unused = {tokenizer.cls_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}
    found = []
    for text in texts:
        batch = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
        with torch.no_grad():
            weights = torch.relu(head(model(**batch).last_hidden_state))[0, :, 0].tolist()
        best: dict[int, float] = {}
        for token, weight in zip(batch["input_ids"][0].tolist(), weights, strict=True):
            if token not in unused and weight > best.get(token, 0):
                best[token] = weight
        found.append(best)
    return found


def test_lexical_weights_are_flagembeddings(m3_checkpoint: Path, m3_bundle: Bundle) -> None:
    expected = lexical_weights(m3_checkpoint, TEXTS)
    assert sum(map(len, expected)) > 100
    model = Embedder(m3_bundle.path, precision="fp32")
    for found, wanted in zip(model.encode_sparse(TEXTS), expected, strict=True):
        assert found.indices.dtype == np.int32
        assert found.values.dtype == np.float32
        assert found.indices.tolist() == sorted(wanted)
        np.testing.assert_allclose(found.values, [wanted[index] for index in sorted(wanted)], atol=2e-5)
    first, second = model.encode_sparse(TEXTS[:2])
    score = sum(weight * expected[1].get(token, 0) for token, weight in expected[0].items())
    assert first.dot(second) == pytest.approx(score, rel=1e-5)
    assert model.encode_sparse(TEXTS[0]).as_dict() == first.as_dict()
    assert model.encode_sparse([]) == []


def test_the_reference_of_lexical_weights_is_torchs(m3_checkpoint: Path, tmp_path: Path) -> None:
    """The reference applies the checkpoint's layer in numpy to the hidden states of transformers."""
    import torch
    from transformers import AutoModel

    ids, mask = padded([3, 60, 17])
    head = torch.nn.Linear(32, 1)
    head.load_state_dict(torch.load(m3_checkpoint / "sparse_linear.pt", weights_only=True))
    model = AutoModel.from_pretrained(m3_checkpoint).eval()
    with torch.no_grad():
        hidden = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state
        expected = torch.relu(head(hidden))[..., 0].numpy()
    texts = [row[row_mask == 1] for row, row_mask in zip(ids, mask, strict=True)]
    for reference in references(checkpoint_of(m3_checkpoint), tmp_path):
        found = np.concatenate([text[TOKEN_WEIGHTS] for text in reference.outputs(texts, [TOKEN_WEIGHTS])])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[mask == 1], atol=2e-5)


def test_the_report_has_the_agreement_of_lexical_weights(
    m3_checkpoint: Path, m3_bundle: Bundle, reranker_bundle: Bundle
) -> None:
    """It is computed here again, from weights by FlagEmbedding's formula in torch, on the same texts."""
    texts = [*documents(), *(question.text for question in questions())]
    wanted = _dense(lexical_weights(m3_checkpoint, texts))
    precisions: tuple[tuple[Precision, float], ...] = (("fp32", 0.999999), ("int8", 0.99))
    for precision, least in precisions:
        quality = m3_bundle.manifest.precisions[precision].quality
        assert quality
        vectors = Embedder(m3_bundle.path, precision=precision).encode_sparse(texts, on_truncate="ignore")
        found = _dense([vector.as_dict() for vector in vectors])
        errors = np.square(found - wanted).sum(axis=1)
        sizes = np.square(found).sum(axis=1) + np.square(wanted).sum(axis=1)
        agreements = 1 - errors / np.maximum(sizes, sizes.mean())
        assert quality.lexical_mean == pytest.approx(agreements.mean(), abs=1e-6)
        assert quality.lexical_min == pytest.approx(agreements.min(), abs=1e-6)
        assert agreements.min() > least
    scores = reranker_bundle.manifest.precisions["int8"].quality
    assert scores
    assert scores.lexical_mean is None


def _dense(weights: Sequence[Mapping[int, float]]) -> NDArray[np.float64]:
    """Return weights as an array, [texts, vocabulary]."""
    rows = np.zeros((len(weights), 500))
    for row, found in zip(rows, weights, strict=True):
        row[list(found)] = list(found.values())
    return rows


WRONG_HEADS: list[tuple[Precision, str, Change]] = [
    ("fp32", "weight", lambda values: values * np.float32(1.01)),
    ("fp32", "bias", lambda values: values + np.float32(0.05)),
    ("int8", "weight", lambda values: np.roll(values, 1)),
    ("int8", "weight", lambda values: -values),
    ("int8", "bias", lambda values: values - np.float32(5)),
]


@pytest.mark.parametrize(("precision", "name", "change"), WRONG_HEADS)
def test_a_wrong_sparse_head_fails_the_export_and_verify(
    m3_checkpoint: Path, tmp_path: Path, precision: Precision, name: str, change: Change
) -> None:
    """The vectors of texts are right, so only the figures of lexical weights show the error."""
    message = f"{precision}: lexical weights agree with those of transformers.* the floor is"
    tensor = f"sparse_linear.{name}"
    check_a_wrong_head_is_noticed(
        m3_checkpoint, tmp_path, precision=precision, tensor=tensor, change=change, message=message
    )


def test_without_the_checkpoint_lexical_weights_are_compared_with_the_fp32_graph(
    m3_bundle: Bundle, tmp_path: Path
) -> None:
    found = dict(verify_bundle(m3_bundle, checkpoint=None, cache=tmp_path))
    traced = m3_bundle.manifest.precisions["int8"].quality
    assert found["fp32"] is None
    assert found["int8"]
    assert traced
    assert found["int8"].reference == "fp32 graph"
    assert found["int8"].lexical_min == pytest.approx(traced.lexical_min, abs=1e-5)


def test_a_report_without_lexical_weights_is_read(m3_bundle: Bundle, tmp_path: Path) -> None:
    """Manifests of earlier versions do not have these figures."""
    folder = Path(shutil.copytree(m3_bundle.path, tmp_path / "m3"))
    manifest = json.loads((folder / "embedge.json").read_text())
    for record in manifest["precisions"].values():
        del record["quality"]["lexical_mean"], record["quality"]["lexical_min"]
    (folder / "embedge.json").write_text(sealed(manifest))
    quality = Bundle.open(folder).manifest.precisions["int8"].quality
    assert quality
    assert quality.lexical_min is None
    assert Embedder(folder).encode_sparse("bread")


def test_int8_lexical_weights_do_not_depend_on_the_batch(m3_bundle: Bundle) -> None:
    model = Embedder(m3_bundle.path)
    for text, found in zip(TEXTS, model.encode_sparse(TEXTS), strict=True):
        alone = model.encode_sparse(text)
        assert np.array_equal(found.indices, alone.indices)
        assert np.array_equal(found.values, alone.values)


def test_precisions_with_and_without_lexical_weights_cannot_be_in_one_bundle(
    m3_checkpoint: Path, tmp_path: Path
) -> None:
    """One entry of the manifest is for all precisions."""
    export(m3_checkpoint, tmp_path / "m3", precisions=("fp32",), verify=False)
    held = "holds graphs that give last_hidden_state, token_weights, token_vectors"
    with pytest.raises(BundleError, match=f"{held}, and --exporter optimum makes graphs that give last_hidden_state;"):
        export(m3_checkpoint, tmp_path / "m3", precisions=("int8",), exporter="optimum", verify=False)
    assert Embedder(tmp_path / "m3").encode_sparse("bread")


def test_lexical_weights_that_overflow_are_noticed(m3_checkpoint: Path, tmp_path: Path) -> None:
    import torch

    folder = Path(shutil.copytree(m3_checkpoint, tmp_path / "m3"))
    torch.save({"weight": torch.full((1, 32), 3e38), "bias": torch.zeros(1)}, folder / "sparse_linear.pt")
    with pytest.raises(QualityError, match="token_weights that is not finite"):
        export(folder, tmp_path / "out", precisions=("fp32",))
