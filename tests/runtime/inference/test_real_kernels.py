"""The kernels of embedge-kernels under an Embedder: real weights, the real library, each of its instruction sets."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, ProviderError, Reranker

kernels = pytest.importorskip("embedge_kernels", reason="needs embedge-kernels: run `pip install ./kernels`")

# Of different lengths: of some there are more than fit into a batch, of one there is one.
TEXTS = ["the cat sat on the mat", "how do I bake bread?", "x", "", "Yeast makes dough rise. " * 30, "a dog", "a fish"]
TEXTS += ["The bike has a flat tyre."] * 30


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDGE_KERNELS", raising=False)
    monkeypatch.delenv("EMBEDGE_KERNELS_ISA", raising=False)


@pytest.fixture(scope="module")
def model(minilm_bundle: Bundle) -> Embedder:
    return Embedder(minilm_bundle.path, kernels=True)


@pytest.fixture(scope="module")
def expected(model: Embedder) -> Any:
    return model.encode(TEXTS)


def in_a_process(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run some code that imports what this process can import."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_the_fused_graph_runs_by_default(minilm_bundle: Bundle, expected: Any) -> None:
    found = Embedder(minilm_bundle.path)
    assert found.kernels is not None
    np.testing.assert_array_equal(found.encode(TEXTS), expected)


def test_the_vectors_are_those_of_the_model(minilm_bundle: Bundle, expected: Any) -> None:
    """The numeric contract: within a cosine of 0.999 of fp32 on average, of 0.995 at worst. Not the plain graph's."""
    fp32 = Embedder(minilm_bundle.path, precision="fp32").encode(TEXTS)
    cosines = (fp32 * expected).sum(axis=1)
    assert cosines.mean() >= 0.999
    assert cosines.min() >= 0.995
    assert not np.array_equal(Embedder(minilm_bundle.path, kernels=False).encode(TEXTS), expected)


@pytest.mark.parametrize("threads", [1, 2, None])
def test_a_vector_is_the_same_alone_in_any_batch_and_order(
    minilm_bundle: Bundle, expected: Any, threads: int | None
) -> None:
    found = Embedder(minilm_bundle.path, threads=threads)
    np.testing.assert_array_equal(found.encode(TEXTS[::-1])[::-1], expected)
    np.testing.assert_array_equal(found.encode(TEXTS, batch_tokens=16), expected)
    for text, vector in zip(TEXTS, expected, strict=True):  # so many calls open a session over all cores
        np.testing.assert_array_equal(found.encode(text), vector)


def test_a_pickle_gives_the_same_vectors(model: Embedder, expected: Any) -> None:
    again = pickle.loads(pickle.dumps(model))
    assert again.kernels == model.kernels
    np.testing.assert_array_equal(again.encode(TEXTS), expected)


_SAVE = """
import sys
import numpy as np
from embedge import Embedder
model = Embedder(sys.argv[1], kernels=True)
print(model.kernels)
np.save(sys.argv[2], model.encode(eval(sys.argv[3])))
"""


def test_each_instruction_set_gives_the_same_bits(minilm_bundle: Bundle, expected: Any, tmp_path: Path) -> None:
    from embedge.inference.kernels import installed_kernels

    installed = installed_kernels()
    assert installed is not None
    sets = installed.instruction_sets()
    assert sets[-1] == "scalar"
    for name in sets:
        saved = tmp_path / f"{name}.npy"
        done = in_a_process(_SAVE, str(minilm_bundle.path), str(saved), repr(TEXTS), EMBEDGE_KERNELS_ISA=name)
        assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
        np.testing.assert_array_equal(np.load(saved), expected)


def test_an_instruction_set_that_is_not_there_is_a_warning(
    minilm_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Embedder(minilm_bundle.path, kernels=False).encode(TEXTS)
    monkeypatch.setenv("EMBEDGE_KERNELS_ISA", "nosuch")
    with pytest.raises(ProviderError, match="EMBEDGE_KERNELS_ISA.*nosuch"):
        Embedder(minilm_bundle.path, kernels=True)
    with pytest.warns(RuntimeWarning, match="EMBEDGE_KERNELS_ISA.*nosuch"):
        found = Embedder(minilm_bundle.path)
    assert found.kernels is None
    np.testing.assert_array_equal(found.encode(TEXTS), plain)


_FORK = """
import os, sys
import numpy as np
from embedge import Embedder
model, texts = Embedder(sys.argv[1], kernels=True), eval(sys.argv[2])
expected = model.encode(texts)
for text in texts:
    model.encode(text)  # opens a session over all cores
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        np.testing.assert_array_equal(model.encode(texts), expected)
        np.testing.assert_array_equal(model.encode(texts[0]), expected[0])
        sys.exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_children_get_the_same_bits(minilm_bundle: Bundle) -> None:
    done = in_a_process(_FORK, str(minilm_bundle.path), repr(TEXTS))
    assert done.returncode == 0, done.stderr


def test_a_stream_and_threads_get_the_same_bits(model: Embedder, expected: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    np.testing.assert_array_equal(np.stack(list(model.stream(TEXTS))), expected)
    with ThreadPoolExecutor(8) as pool:
        for found, vector in zip(pool.map(model.encode, TEXTS), expected, strict=True):
            np.testing.assert_array_equal(found, vector)


# The kernels need widths that are multiples of 64, and heads of 32 or 64.
_SIZES = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}


def write_and_export(export: Callable[..., Bundle], folder: Path, *, rerank: bool) -> Path:
    """Export a small XLM-RoBERTa with random weights: a reranker, or an embedder with the heads of bge-m3."""
    from seeded_roberta import write_roberta

    checkpoint = write_roberta(folder / "checkpoint", rerank=rerank, config=_SIZES)
    return export(checkpoint, folder / "bundle", precisions=("int8", "fp32"), verify=False).path


def test_a_rerankers_scores_are_the_same_alone_and_close_to_fp32(export: Callable[..., Bundle], tmp_path: Path) -> None:
    path = write_and_export(export, tmp_path, rerank=True)
    pairs = [("how do i bake bread?", text) for text in TEXTS[:7]]
    model, fp32 = Reranker(path, kernels=True), Reranker(path, precision="fp32").score(pairs)
    found = model.score(pairs)
    assert model.kernels is not None
    assert np.abs(found - fp32).max() < 0.1 * np.ptp(fp32)
    for pair, score in zip(pairs, found, strict=True):
        assert model.score(pair) == score
    assert not np.array_equal(Reranker(path, kernels=False).score(pairs), found)


def test_sparse_and_multi_vectors_are_the_same_alone_and_close_to_fp32(
    export: Callable[..., Bundle], tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="needs torch, to write the heads of a checkpoint")
    path = write_and_export(export, tmp_path, rerank=False)
    texts = [*TEXTS[:3], *TEXTS[5:8]]
    model, fp32 = Embedder(path, kernels=True), Embedder(path, precision="fp32")
    assert model.kernels is not None
    many, expected = model.encode_multi_vector(texts), fp32.encode_multi_vector(texts)
    sparse, expected_sparse = model.encode_sparse(texts), fp32.encode_sparse(texts)
    assert len(expected_sparse[-1].indices) > 1
    for text, vectors, exact in zip(texts, many, expected, strict=True):
        assert (vectors * exact).sum(axis=1).min() > 0.99
        np.testing.assert_array_equal(model.encode_multi_vector(text), vectors)
    everything = model.encode_all(texts, multi_vector=True)
    np.testing.assert_array_equal(everything.dense, model.encode(texts))
    for one, vectors, weights in zip(everything, many, sparse, strict=True):
        np.testing.assert_array_equal(one.multi_vector, vectors)
        assert one.sparse is not None
        assert one.sparse.as_dict() == weights.as_dict()
    for text, weights in zip(texts, sparse, strict=True):
        assert model.encode_sparse(text).as_dict() == weights.as_dict()
    found, exact_weights = sparse[-1], expected_sparse[-1]  # of a text with several weights
    lengths = np.sqrt(found.dot(found) * exact_weights.dot(exact_weights))
    assert found.dot(exact_weights) / lengths > 0.97  # int8 of so narrow a model is coarse
    assert (model.encode(texts) * fp32.encode(texts)).sum(axis=1).min() > 0.99
