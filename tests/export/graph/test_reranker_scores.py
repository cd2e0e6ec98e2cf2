"""The reranker's head: scores equal those of transformers, and ranks follow the scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from embedge import Bundle, CheckpointError, Reranker
from embedge.bundle.manifest import ExporterName
from embedge_export import export
from embedge_export.command.export import export as export_command
from embedge_export.verify.passages import passages, questions
from seeded_roberta import write_roberta

TEXTS = [passage.joined for passage in passages()[:12]] + ["", "bread", "a <mask> b", "東京 🚲"]
PAIRS = [(question.text, passage.joined) for question in questions()[:3] for passage in passages()[:7]]


def torch_scores(checkpoint: Path, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
    """Return the scores of transformers' model and tokenizer; of a long pair, the end of the document is cut off."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    batch = tokenizer(
        *map(list, zip(*pairs, strict=True)),
        truncation="only_second",
        max_length=512,
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        logits: NDArray[np.float32] = model(**batch).logits[:, 0].numpy()
    return logits


def test_scores_are_transformers(reranker_checkpoint: Path, reranker_bundle: Bundle) -> None:
    model = Reranker(reranker_bundle.path, precision="fp32")
    assert model.max_tokens == 512
    expected = torch_scores(reranker_checkpoint, PAIRS)
    found = model.score(PAIRS)
    assert found.dtype == np.float32
    assert found.shape == (21,)
    assert np.ptp(expected) > 0.1  # they are not all alike
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(model.score(PAIRS, normalize=True), 1 / (1 + np.exp(-expected)), atol=1e-5)


def test_a_long_pair_loses_the_end_of_its_document(reranker_checkpoint: Path, reranker_bundle: Bundle) -> None:
    model = Reranker(reranker_bundle.path, precision="fp32")
    long = [("how do i bake bread?", " ".join(TEXTS)), (" ".join(TEXTS[0].split()[:8]), TEXTS[1] * 9)]
    with pytest.warns(UserWarning, match="2 of 2 pairs are longer than 512 tokens"):
        found = model.score(long)
    np.testing.assert_allclose(found, torch_scores(reranker_checkpoint, long), atol=2e-5)
    with pytest.raises(ValueError, match="1 of 2 pairs"):
        model.score([PAIRS[0], long[0]], on_truncate="error")
    with pytest.raises(ValueError, match=r"the query of pair 1 has \d+ tokens or more.*within 512; shorten the query"):
        model.score([PAIRS[0], (" ".join(TEXTS), "a")])


def test_ranks_are_those_of_the_scores(reranker_bundle: Bundle) -> None:
    model = Reranker(reranker_bundle.path)
    documents = [document for _, document in PAIRS[:7]] * 2
    scores = model.score([(PAIRS[0][0], document) for document in documents])
    ranked = model.rank(PAIRS[0][0], documents)
    assert [index for index, _ in ranked] == sorted(range(14), key=lambda index: (-scores[index], index))
    assert [score for _, score in ranked] == sorted(scores.tolist(), reverse=True)
    assert model.rank(PAIRS[0][0], documents, top_k=3) == ranked[:3]
    assert model.rank("bread", []) == []
    assert model.score([]).shape == (0,)
    assert model.score(PAIRS[0]) == scores[0]


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_pairs_score_does_not_depend_on_the_others(reranker_bundle: Bundle, precision: Any) -> None:
    model = Reranker(reranker_bundle.path, precision=precision)
    alone = np.array([model.score(pair) for pair in PAIRS])
    assert np.array_equal(model.score(PAIRS), alone)
    assert np.array_equal(model.score(PAIRS[::-1], batch_tokens=100)[::-1], alone)
    assert np.array_equal(Reranker(reranker_bundle.path, precision=precision, threads=1).score(PAIRS), alone)


def test_sentence_transformers_scores_pairs_with_the_same_bundle(reranker_bundle: Bundle) -> None:
    from sentence_transformers import CrossEncoder

    other = CrossEncoder(str(reranker_bundle.path), backend="onnx", model_kwargs={"file_name": "onnx/model.onnx"})
    expected = other.predict(PAIRS, activation_fn=None, show_progress_bar=False)
    scores = Reranker(reranker_bundle.path, precision="fp32").score(PAIRS, normalize=True)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_classifier_of_several_labels_is_no_reranker(tmp_path: Path) -> None:
    folder = write_roberta(tmp_path / "classifier", rerank=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "bad", "1": "good"}}))
    with pytest.raises(CheckpointError, match="a classifier of 2 labels"):
        export(folder, tmp_path / "out")


def test_export_says_which_class_loads_a_reranker(reranker_checkpoint: Path, tmp_path: Path) -> None:
    """It does not mention prompts, which a reranker does not use."""
    arguments = [str(reranker_checkpoint), "-o", str(tmp_path / "r"), "--no-verify"]
    done = CliRunner().invoke(export_command, arguments, catch_exceptions=False)
    assert done.output.splitlines()[-1] == f'Reranker("{tmp_path / "r"}") loads it.'
    assert "prompts" not in done.output


def test_a_reranker_with_token_types_is_refused_by_either_exporter(tmp_path: Path) -> None:
    """A bundle's graph has no input for token types, so the model would read the document as more of the query."""
    from safetensors.numpy import load_file, save_file

    folder = write_roberta(tmp_path / "bert", rerank=True)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "bert", "architectures": ["BertForSequenceClassification"], "type_vocab_size": 2}
    (folder / "config.json").write_text(json.dumps(config))
    weights = folder / "model.safetensors"
    tensors = {name.replace("roberta.", "bert."): tensor for name, tensor in load_file(weights).items()}
    types = "bert.embeddings.token_type_embeddings.weight"
    tensors[types] = np.concatenate([tensors[types]] * 2)
    tensors["bert.pooler.dense.weight"] = tensors.pop("classifier.dense.weight")
    tensors["bert.pooler.dense.bias"] = tensors.pop("classifier.dense.bias")
    tensors["classifier.weight"] = tensors.pop("classifier.out_proj.weight")
    tensors["classifier.bias"] = tensors.pop("classifier.out_proj.bias")
    save_file(tensors, weights)
    exporters: tuple[ExporterName, ...] = ("native", "optimum")
    for exporter in exporters:
        with pytest.raises(CheckpointError, match="reranks with token types"):
            export(folder, tmp_path / "out", precisions=("fp32",), exporter=exporter)
