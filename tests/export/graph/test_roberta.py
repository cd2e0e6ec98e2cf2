"""XLM-RoBERTa, its reranker's head and bge-m3's two: against optimum's graph and transformers' own modules."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from embedge import Bundle, BundleError, CheckpointError, Embedder, QualityError, Reranker
from embedge.bundle.manifest import HIDDEN, SCORES, Precision
from embedge.hub.model_card import card
from embedge_export import export
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import Checkpoint, read_checkpoint
from embedge_export.checkpoint.tensors import Tensors
from embedge_export.command.commands import export as export_command
from embedge_export.graph.encoder import build_graph
from embedge_export.job import Exporter
from embedge_export.optimum.trace import trace
from embedge_export.verify import quality as verify
from embedge_export.verify.measure import documents
from embedge_export.verify.passages import passages, questions
from embedge_export.verify.quality import reverify, traced_reference
from embedge_export.verify.reference import Reference
from manifests import sealed
from seeded_roberta import write_roberta

TEXTS = [passage.joined for passage in passages()[:12]] + ["", "bread", "a <mask> b", "東京 🚲"]
PAIRS = [(question.text, passage.joined) for question in questions()[:3] for passage in passages()[:7]]


@pytest.fixture(scope="module")
def reranker_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_roberta(tmp_path_factory.mktemp("roberta") / "reranker", rerank=True)


@pytest.fixture(scope="module")
def reranker_bundle(reranker_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """int8 and fp32, verified against optimum's graph."""
    return export(reranker_checkpoint, tmp_path_factory.mktemp("bundles") / "r", precisions=("int8", "fp32"))


def checkpoint_of(folder: Path) -> Checkpoint:
    return read_checkpoint(fetch(str(folder), cache=folder, local_files_only=True))


def padded(lengths: list[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random ids, with a padding token among the first text's, padded with 1 on the right; and their mask."""
    ids = np.random.default_rng(0).integers(4, 400, (len(lengths), max(lengths)))
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    ids[0, 1] = 1
    return np.where(mask == 1, ids, 1), mask


@pytest.mark.parametrize("lengths", [[3, 512, 17], [2], [9, 9, 9]])
@pytest.mark.parametrize(("name", "output"), [("m3_checkpoint", HIDDEN), ("reranker_checkpoint", SCORES)])
def test_fp32_is_optimums_graph(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, output: str, lengths: list[int]
) -> None:
    """Every element, with a padding token in the middle of a text too: positions are counted as transformers does."""
    checkpoint = checkpoint_of(request.getfixturevalue(name))
    (tmp_path / "native.onnx").write_bytes(build_graph(checkpoint).SerializeToString())
    batch = padded(lengths)
    native = Reference(tmp_path / "native.onnx", "native").run(*batch, output=output)
    traced = Reference(trace(checkpoint, tmp_path / "traced"), "optimum").run(*batch, output=output)
    found, expected = (_real(values, batch[1], output) for values in (native, traced))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def _real(values: NDArray[np.float32], mask: NDArray[np.int64], output: str) -> NDArray[np.float32]:
    return values[mask == 1] if output == HIDDEN else values


def torch_scores(checkpoint: Path, pairs: list[tuple[str, str]]) -> NDArray[np.float32]:
    """By transformers' own model and tokenizer; a long pair loses the end of its document."""
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
    with pytest.raises(ValueError, match=r"the query of pair 1 has \d+ tokens or more.*within 512; shorten it"):
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


def test_exports_are_held_to_optimum(reranker_bundle: Bundle, m3_bundle: Bundle) -> None:
    """The exporter's own report; int8 of random weights of width 32 is no measure of real ones."""
    for bundle in (reranker_bundle, m3_bundle):
        fp32 = bundle.manifest.precisions["fp32"].quality
        int8 = bundle.manifest.precisions["int8"].quality
        assert fp32
        assert int8
        assert fp32.reference.startswith("optimum")
        assert fp32.max_abs_difference is not None
        assert fp32.max_abs_difference < 2e-5
        assert fp32.cosine_min > 0.999999
        assert int8.cosine_min > 0.98
        assert fp32.batch_difference == int8.batch_difference == 0


def lexical_weights(checkpoint: Path, texts: list[str]) -> list[dict[int, float]]:
    """As FlagEmbedding computes them, by transformers and torch: the largest ReLU of a linear layer per token."""
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
    """By the checkpoint's own layer in numpy, on what optimum traced."""
    import torch
    from transformers import AutoModel

    ids, mask = padded([3, 60, 17])
    head = torch.nn.Linear(32, 1)
    head.load_state_dict(torch.load(m3_checkpoint / "sparse_linear.pt", weights_only=True))
    model = AutoModel.from_pretrained(m3_checkpoint).eval()
    with torch.no_grad():
        hidden = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state
        expected = torch.relu(head(hidden))[..., 0].numpy()
    found = traced_reference(checkpoint_of(m3_checkpoint), tmp_path).weigh_tokens(ids, mask)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[mask == 1], expected[mask == 1], atol=2e-5)


def test_the_report_tells_how_far_lexical_weights_agree(
    m3_checkpoint: Path, m3_bundle: Bundle, reranker_bundle: Bundle
) -> None:
    """With FlagEmbedding's formula by torch, on the same texts."""
    texts = [*documents(), *(question.text for question in questions())]
    wanted = _dense(lexical_weights(m3_checkpoint, texts))
    precisions: tuple[tuple[Precision, float], ...] = (("fp32", 0.999999), ("int8", 0.99))
    for precision, least in precisions:
        quality = m3_bundle.manifest.precisions[precision].quality
        assert quality
        vectors = Embedder(m3_bundle.path, precision=precision).encode_sparse(texts, on_truncate="ignore")
        found = _dense([vector.as_dict() for vector in vectors])
        apart = np.square(found - wanted).sum(axis=1)
        sizes = np.square(found).sum(axis=1) + np.square(wanted).sum(axis=1)
        agreements = 1 - apart / np.maximum(sizes, sizes.mean())
        assert quality.lexical_mean == pytest.approx(agreements.mean(), abs=1e-6)
        assert quality.lexical_min == pytest.approx(agreements.min(), abs=1e-6)
        assert agreements.min() > least
    scores = reranker_bundle.manifest.precisions["int8"].quality
    assert scores
    assert scores.lexical_mean is None


def _dense(weights: Sequence[Mapping[int, float]]) -> NDArray[np.float64]:
    """[texts, vocabulary]."""
    rows = np.zeros((len(weights), 500))
    for row, found in zip(rows, weights, strict=True):
        row[list(found)] = list(found.values())
    return rows


Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]
WRONG_HEADS: list[tuple[Precision, str, Change]] = [
    ("fp32", "weight", lambda values: values * np.float32(1.01)),
    ("fp32", "bias", lambda values: values + np.float32(0.05)),
    ("int8", "weight", lambda values: np.roll(values, 1)),
    ("int8", "weight", lambda values: -values),
    ("int8", "bias", lambda values: values - np.float32(5)),
]


@pytest.mark.parametrize(("precision", "name", "change"), WRONG_HEADS)
def test_a_wrong_sparse_head_fails_the_export_and_verify(
    m3_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: Precision,
    name: str,
    change: Change,
) -> None:
    """Its vectors are right: nothing else would tell."""
    real = Tensors.get

    def wrong(tensors: Tensors, full: str, *shape: int) -> NDArray[np.float32]:
        """As the graph asks for them; verify reads the file anew."""
        found = real(tensors, full, *shape)
        return change(found) if full == f"sparse_linear.{name}" else found

    monkeypatch.setattr(Tensors, "get", wrong)
    message = f"{precision}: lexical weights agree with those of optimum.* the floor is"
    with pytest.raises(QualityError, match=message):
        export(m3_checkpoint, tmp_path / "m3", precisions=(precision,))
    assert not (tmp_path / "m3").exists()
    bundle = export(m3_checkpoint, tmp_path / "m3", precisions=(precision,), verify=False)
    with pytest.raises(QualityError, match=message):
        list(reverify(bundle, checkpoint=str(m3_checkpoint), cache=tmp_path))


def test_without_a_checkpoint_lexical_weights_are_held_to_the_fp32_graphs(
    m3_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "has_optimum_extra", lambda: False)
    found = dict(reverify(m3_bundle, checkpoint=None, cache=tmp_path))
    traced = m3_bundle.manifest.precisions["int8"].quality
    assert found["fp32"] is None
    assert found["int8"]
    assert traced
    assert found["int8"].reference == "fp32 graph"
    assert found["int8"].lexical_min == pytest.approx(traced.lexical_min, abs=1e-5)


def test_a_report_without_lexical_weights_is_read(m3_bundle: Bundle, tmp_path: Path) -> None:
    """As written before they were measured."""
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
    with pytest.raises(BundleError, match=r"is there to rerank, not to embed; open it with embedge\.Reranker"):
        Embedder(reranker_bundle.path)
    with pytest.raises(BundleError, match=r"is there to embed, not to rerank; open it with embedge\.Embedder"):
        Reranker(m3_bundle.path)
    with pytest.raises(BundleError, match="gives no lexical weights; bge-m3 does"):
        Embedder(tiny_bundle.path).encode_sparse("bread")


def test_sentence_transformers_scores_pairs_with_the_same_bundle(reranker_bundle: Bundle) -> None:
    from sentence_transformers import CrossEncoder

    other = CrossEncoder(str(reranker_bundle.path), backend="onnx", model_kwargs={"file_name": "onnx/model.onnx"})
    scores = other.predict(PAIRS, activation_fn=None, show_progress_bar=False)
    mine = Reranker(reranker_bundle.path, precision="fp32").score(PAIRS, normalize=True)
    np.testing.assert_allclose(mine, scores, atol=1e-5)


def test_a_classifier_of_several_labels_is_no_reranker(tmp_path: Path) -> None:
    folder = write_roberta(tmp_path / "classifier", rerank=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "bad", "1": "good"}}))
    with pytest.raises(CheckpointError, match="a classifier of 2 labels"):
        export(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("reranker_bundle", {"model", "best_first"}),
        ("m3_bundle", {"model", "vectors", "weights", "multi_vectors"}),
    ],
)
def test_the_lines_of_a_model_card_run(request: pytest.FixtureRequest, name: str, made: set[str]) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    code = card(bundle.manifest, str(bundle.path)).partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    assert made <= set(names)


def test_export_says_which_class_loads_a_reranker(reranker_checkpoint: Path, tmp_path: Path) -> None:
    """And nothing of prompts, which it has no use for."""
    arguments = [str(reranker_checkpoint), "-o", str(tmp_path / "r"), "--no-verify"]
    done = CliRunner().invoke(export_command, arguments, catch_exceptions=False)
    assert done.output.splitlines()[-1] == f'Reranker("{tmp_path / "r"}") loads it.'
    assert "prompts" not in done.output


def test_a_reranker_with_token_types_is_refused_by_either_exporter(tmp_path: Path) -> None:
    """A bundle's graph has no such input: every document would be read as more of the query."""
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
    exporters: tuple[Exporter, ...] = ("native", "optimum")
    for exporter in exporters:
        with pytest.raises(CheckpointError, match="reranks with token types"):
            export(folder, tmp_path / "out", precisions=("fp32",), exporter=exporter)


def test_precisions_with_and_without_lexical_weights_do_not_mix(m3_checkpoint: Path, tmp_path: Path) -> None:
    """The manifest says for all of them whether they have any."""
    export(m3_checkpoint, tmp_path / "m3", precisions=("fp32",), verify=False)
    held = "holds graphs that give last_hidden_state, token_weights, token_vectors"
    with pytest.raises(BundleError, match=f"{held}, and --exporter optimum makes such as give last_hidden_state;"):
        export(m3_checkpoint, tmp_path / "m3", precisions=("int8",), exporter="optimum", verify=False)
    assert Embedder(tmp_path / "m3").encode_sparse("bread")


def test_lexical_weights_that_overflow_are_noticed(m3_checkpoint: Path, tmp_path: Path) -> None:
    import torch

    folder = Path(shutil.copytree(m3_checkpoint, tmp_path / "m3"))
    torch.save({"weight": torch.full((1, 32), 3e38), "bias": torch.zeros(1)}, folder / "sparse_linear.pt")
    with pytest.raises(QualityError, match="token_weights that is not finite"):
        export(folder, tmp_path / "out", precisions=("fp32",))
