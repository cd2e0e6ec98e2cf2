"""bge-m3's vectors of tokens equal those of transformers and torch, and an export verifies them."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from embedge import Bundle, BundleError, CheckpointError, Embedder, QualityError, max_similarity
from embedge.bundle.cache_paths import cached_path
from embedge.bundle.manifest import TOKEN_VECTORS, Precision
from embedge.command.info import info
from embedge.command.verify import describe_quality
from embedge.inference.providers import CPU_ONLY
from embedge.inference.session import Session
from embedge.inference.token_batch import TokenBatch
from embedge_export import export
from embedge_export.checkpoint.fetch import fetch
from embedge_export.checkpoint.read import read_checkpoint
from embedge_export.verify.passages import documents, passages, questions
from manifests import sealed
from references import references
from wrong_heads import Change, check_a_wrong_head_is_noticed

TEXTS = [passage.joined for passage in passages()[:12]] + ["", "bread", "a <mask> b", "東京 🚲"]


def colbert_vectors(checkpoint: Path, texts: Sequence[str]) -> list[NDArray[np.float32]]:
    """Compute vectors as FlagEmbedding does, with torch: a linear layer on all tokens but the first."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(checkpoint).eval(), AutoTokenizer.from_pretrained(checkpoint)
    head = torch.nn.Linear(32, 32)
    head.load_state_dict(torch.load(checkpoint / "colbert_linear.pt", weights_only=True))
    found = []
    for text in texts:
        batch = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
        with torch.no_grad():
            vectors = head(model(**batch).last_hidden_state[:, 1:])
            found.append(torch.nn.functional.normalize(vectors, dim=-1)[0].numpy())
    return found


def test_vectors_of_tokens_are_flagembeddings(m3_checkpoint: Path, m3_bundle: Bundle) -> None:
    expected = colbert_vectors(m3_checkpoint, TEXTS)
    model = Embedder(m3_bundle.path, precision="fp32")
    found = model.encode_multi_vector(TEXTS)
    assert [len(rows) + 1 for rows in found] == model.count_tokens(TEXTS)  # all but the first
    for rows, expected_rows in zip(found, expected, strict=True):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, expected_rows, atol=2e-5)
    assert np.array_equal(model.encode_multi_vector(TEXTS[0]), found[0])
    assert model.encode_multi_vector([]) == []
    assert m3_bundle.manifest.multi_vector


def test_scores_are_flagembeddings(m3_checkpoint: Path, m3_bundle: Bundle) -> None:
    """The expected scores are by the formula of its ``colbert_score``, in torch."""
    import torch

    vectors = [torch.tensor(rows) for rows in colbert_vectors(m3_checkpoint, TEXTS)]
    expected = [[float(torch.einsum("in,jn->ij", q, d).max(-1)[0].sum() / q.size(0)) for d in vectors] for q in vectors]
    found = Embedder(m3_bundle.path, precision="fp32").encode_multi_vector(TEXTS)
    scores = [[max_similarity(query, document) for document in found] for query in found]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(scores, expected, atol=2e-5)


def test_a_prompt_is_part_of_the_text(m3_bundle: Bundle) -> None:
    model = Embedder(m3_bundle.path)
    found = model.encode_multi_vector(["bread"], prompt="how to bake ")[0]
    assert np.array_equal(found, model.encode_multi_vector("how to bake bread"))


def test_a_long_text_loses_its_end(m3_checkpoint: Path, m3_bundle: Bundle) -> None:
    long = " ".join(TEXTS)
    model = Embedder(m3_bundle.path, precision="fp32")
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 512 tokens"):
        found = model.encode_multi_vector(["bread", long])
    assert found[1].shape == (511, 32)
    np.testing.assert_allclose(found[1], colbert_vectors(m3_checkpoint, [long])[0], atol=2e-5)
    with pytest.raises(ValueError, match="1 of 1 texts"):
        model.encode_multi_vector([long], on_truncate="error")


def test_int8_is_within_its_contract(m3_checkpoint: Path, m3_bundle: Bundle) -> None:
    expected = np.concatenate(colbert_vectors(m3_checkpoint, TEXTS))
    found = np.concatenate(Embedder(m3_bundle.path, precision="int8").encode_multi_vector(TEXTS))
    cosines = (expected * found).sum(axis=1)
    assert cosines.mean() > 0.999
    assert cosines.min() > 0.995


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_vectors_of_tokens_do_not_depend_on_the_batch(m3_bundle: Bundle, precision: Precision) -> None:
    model = Embedder(m3_bundle.path, precision=precision)
    alone = [model.encode_multi_vector(text) for text in TEXTS]
    batched = model.encode_multi_vector(TEXTS * 2)
    backwards = model.encode_multi_vector(TEXTS[::-1], batch_tokens=100)[::-1]
    one_thread = Embedder(m3_bundle.path, precision=precision, threads=1).encode_multi_vector(TEXTS)
    for row, rows in enumerate(alone):
        for others in (batched, batched[len(TEXTS) :], backwards, one_thread):
            assert np.array_equal(others[row], rows)


def test_int8_sessions_give_the_same_prepacked_or_not(m3_bundle: Bundle) -> None:
    """Prepacked: ONNX Runtime repacks weights for the processor. A float product could differ; the graph has none."""
    nodes = onnx.load(m3_bundle.graph("int8"), load_external_data=False).graph.node
    assert "MatMul" not in {node.op_type for node in nodes}
    ids = np.random.default_rng(0).integers(4, 400, (5, 70))
    graph, outputs = m3_bundle.graph("int8"), m3_bundle.manifest.outputs
    found = [
        Session(graph, threads=threads, providers=CPU_ONLY, outputs=outputs, run_as_is=True, prepacked=prepacked)
        for threads in (1, 2)
        for prepacked in (True, False)
    ]
    first = found[0].run(TokenBatch(range(len(ids)), ids), TOKEN_VECTORS)
    assert first.shape == (5, 70, 32)
    for session in found:
        assert np.array_equal(session.run(TokenBatch(range(len(ids)), ids), TOKEN_VECTORS), first)
        assert np.array_equal(session.run(TokenBatch([3], ids[3:4]), TOKEN_VECTORS), first[3:4])


def test_a_channel_far_larger_than_the_rest_costs_no_precision(m3_checkpoint: Path, tmp_path: Path) -> None:
    """Trained models have such outlier channels in the input of the layer."""
    import torch

    folder = Path(shutil.copytree(m3_checkpoint, tmp_path / "m3"))
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    head = torch.load(folder / "colbert_linear.pt", weights_only=True)
    for kind in ("weight", "bias"):
        tensors[f"encoder.layer.1.output.LayerNorm.{kind}"][:2] *= 50
    head["weight"][:, :2] /= 50
    torch.save(tensors, folder / "pytorch_model.bin")
    torch.save(head, folder / "colbert_linear.pt")
    bundle = export(folder, tmp_path / "bundle", verify=False)
    expected = np.concatenate(colbert_vectors(m3_checkpoint, TEXTS))  # the same function
    cosines = (expected * np.concatenate(Embedder(bundle.path).encode_multi_vector(TEXTS))).sum(axis=1)
    assert cosines.mean() > 0.999
    assert cosines.min() > 0.995


def test_the_reference_of_vectors_of_tokens_is_torchs(m3_checkpoint: Path, tmp_path: Path) -> None:
    """The reference applies the checkpoint's layer in numpy to the hidden states of transformers."""
    import torch
    from transformers import AutoModel

    ids = np.random.default_rng(0).integers(4, 400, (2, 60))
    mask = (np.arange(60) < np.array([[60], [17]])).astype(np.int64)
    ids[mask == 0] = 1
    head = torch.nn.Linear(32, 32)
    head.load_state_dict(torch.load(m3_checkpoint / "colbert_linear.pt", weights_only=True))
    model = AutoModel.from_pretrained(m3_checkpoint).eval()
    with torch.no_grad():
        hidden = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).last_hidden_state
        expected = head(hidden).numpy()
    checkpoint = read_checkpoint(fetch(str(m3_checkpoint), cache=tmp_path, local_files_only=True))
    texts = [row[row_mask == 1] for row, row_mask in zip(ids, mask, strict=True)]
    for reference in references(checkpoint, tmp_path):
        found = np.concatenate([text[TOKEN_VECTORS] for text in reference.outputs(texts, [TOKEN_VECTORS])])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[mask == 1], atol=1e-4)


def test_the_report_has_the_cosines_of_tokens(m3_checkpoint: Path, m3_bundle: Bundle) -> None:
    """They are computed here again, from vectors by FlagEmbedding's formula in torch, on the same texts."""
    texts = [*documents(), *(question.text for question in questions())]
    wanted = np.concatenate(colbert_vectors(m3_checkpoint, texts)).astype(np.float64)
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    for precision in precisions:
        quality = m3_bundle.manifest.precisions[precision].quality
        assert quality
        model = Embedder(m3_bundle.path, precision=precision)
        found = np.concatenate(model.encode_multi_vector(texts, on_truncate="ignore"))
        cosines = (found * wanted).sum(axis=1)
        assert quality.multi_vector_mean == pytest.approx(cosines.mean(), abs=1e-6)
        assert quality.multi_vector_min == pytest.approx(cosines.min(), abs=1e-6)
        assert quality.batch_difference == 0
        shown = re.search(r"multi-vectors ([0-9.]+) mean, ([0-9.]+) min", describe_quality(quality))
        assert shown
        # Not compared as text: rounding to five digits may go either way when the last bits differ.
        assert [float(figure) for figure in shown.groups()] == pytest.approx([cosines.mean(), cosines.min()], abs=6e-6)


WRONG_HEADS: list[tuple[Precision, str, Change]] = [
    ("fp32", "weight", lambda values: values.T),
    ("fp32", "bias", lambda values: values + np.float32(0.1)),
    ("int8", "weight", lambda values: np.roll(values, 1, axis=0)),
    ("int8", "weight", lambda values: -values),
    ("int8", "bias", lambda values: values - np.float32(1)),
]


@pytest.mark.parametrize(("precision", "name", "change"), WRONG_HEADS)
def test_a_wrong_head_fails_the_export_and_verify(
    m3_checkpoint: Path, tmp_path: Path, precision: Precision, name: str, change: Change
) -> None:
    """Vectors of texts and lexical weights are right, so only the figures of multi-vectors show the error."""
    message = f"{precision}: multi-vectors agree with those of transformers.* the floor is"
    tensor = f"colbert_linear.{name}"
    check_a_wrong_head_is_noticed(
        m3_checkpoint, tmp_path, precision=precision, tensor=tensor, change=change, message=message
    )


def test_without_the_multi_vector_file_the_other_outputs_are_the_same(
    m3_checkpoint: Path, m3_bundle: Bundle, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(m3_checkpoint, tmp_path / "m3"))
    (folder / "colbert_linear.pt").unlink()
    bundle = export(folder, tmp_path / "out", precisions=("int8", "fp32"), verify=False)
    assert not bundle.manifest.multi_vector
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    for precision in precisions:
        graph = onnx.load(bundle.graph(precision), load_external_data=False).graph
        assert [output.name for output in graph.output] == ["last_hidden_state", "token_weights"]
        without, full = (Embedder(b.path, precision=precision) for b in (bundle, m3_bundle))
        assert np.array_equal(without.encode(TEXTS), full.encode(TEXTS))
        assert without.encode_sparse(TEXTS[0]).as_dict() == full.encode_sparse(TEXTS[0]).as_dict()
    for path in (bundle.path, tiny_bundle.path):
        with pytest.raises(BundleError, match="has no multi-vectors; .* run `embedge export bge-m3`"):
            Embedder(path).encode_multi_vector("bread")


def test_info_names_the_outputs_of_a_cached_bundle(m3_bundle: Bundle, tiny_bundle: Bundle) -> None:
    for name, bundle in (("someone/m3", m3_bundle), ("someone/tiny", tiny_bundle)):
        shutil.copytree(bundle.path, cached_path(name))
    lines = CliRunner().invoke(info, catch_exceptions=False).output.splitlines()
    found = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.startswith("  ")}
    assert found["someone--m3"] == "fp32, int8 (also: lexical weights, multi-vectors)"
    assert "gives" not in found["someone--tiny"]


def test_a_manifest_without_an_entry_for_multi_vectors_is_read(m3_bundle: Bundle, tmp_path: Path) -> None:
    """Manifests of earlier versions do not have it."""
    folder = Path(shutil.copytree(m3_bundle.path, tmp_path / "m3"))
    manifest = json.loads((folder / "embedge.json").read_text())
    del manifest["multi_vector"]
    for record in manifest["precisions"].values():
        del record["quality"]["multi_vector_mean"], record["quality"]["multi_vector_min"]
    (folder / "embedge.json").write_text(sealed(manifest))
    model = Embedder(folder)
    assert model.encode_sparse("bread")
    quality = model.bundle.manifest.precisions["int8"].quality
    assert quality
    assert quality.multi_vector_min is None
    assert "multi-vectors" not in describe_quality(quality)
    with pytest.raises(BundleError, match="has no multi-vectors"):
        model.encode_multi_vector("bread")


def test_a_head_of_another_size_is_refused(m3_checkpoint: Path, tmp_path: Path) -> None:
    import torch

    folder = Path(shutil.copytree(m3_checkpoint, tmp_path / "m3"))
    torch.save(torch.nn.Linear(32, 16).state_dict(), folder / "colbert_linear.pt")
    with pytest.raises(CheckpointError, match=r"colbert_linear.weight is \[16, 32\], config.json says \[32, 32\]"):
        export(folder, tmp_path / "out")


def test_vectors_of_tokens_that_overflow_fail_the_export(m3_checkpoint: Path, tmp_path: Path) -> None:
    import torch

    folder = Path(shutil.copytree(m3_checkpoint, tmp_path / "m3"))
    torch.save({"weight": torch.full((32, 32), 3e38), "bias": torch.zeros(32)}, folder / "colbert_linear.pt")
    with pytest.raises(QualityError, match="token_vectors that is not finite"):
        export(folder, tmp_path / "out", precisions=("fp32",))
