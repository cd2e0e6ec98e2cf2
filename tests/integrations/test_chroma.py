"""chroma.py: a collection that is kept, reopened by another process, and asked with the query prompt."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, EmbedgeError, InputValueError

pytest.importorskip("chromadb", reason="needs chromadb: pip install 'embedge[chroma]'")

import chromadb
from chromadb.api.types import EmbeddingFunction

from embedge.integrations.chroma import EmbedgeEmbeddingFunction
from no_card import CPU, CUDA, pretend_cuda


def test_vectors_are_the_embedders(tiny: Embedder) -> None:
    function = EmbedgeEmbeddingFunction(tiny, truncate_dim=8)
    texts = ["the cat sat on the mat", "a dog"]
    np.testing.assert_array_equal(function(texts), tiny.encode(texts, truncate_dim=8))
    expected = tiny.encode(["how do i bake bread"], truncate_dim=8)
    np.testing.assert_array_equal(function.embed_query(["bake bread"]), expected)


def test_it_is_one_of_chromas_functions(tiny: Embedder) -> None:
    function = EmbedgeEmbeddingFunction(tiny)
    assert isinstance(function, EmbeddingFunction)
    assert not function.is_legacy()
    assert function.default_space() in function.supported_spaces()


def test_every_argument_is_kept(tiny_bundle: Bundle) -> None:
    arguments: dict[str, Any] = {
        "model": str(tiny_bundle.path),
        "precision": "fp32",
        "device": "cpu",
        "providers": [["CPUExecutionProvider", {}]],
        "threads": 1,
        "cache_dir": "cache",
        "local_files_only": True,
        "kernels": False,
        "query_prompt": "a ",
        "document_prompt": "b ",
        "batch_tokens": 100,
        "normalize": False,
        "truncate_dim": 8,
        "on_truncate": "error",
    }
    function = EmbedgeEmbeddingFunction(**arguments)
    assert function.get_config() == arguments
    EmbedgeEmbeddingFunction.validate_config(arguments)
    assert EmbedgeEmbeddingFunction.build_from_config(arguments).get_config() == arguments


@pytest.mark.parametrize("is_open", [True, False])
def test_a_collection_keeps_the_device_and_the_options_of_providers(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    """Chroma stores them as JSON. A collection may be reopened on another device."""
    asked = pretend_cuda(monkeypatch)
    options: dict[str, Any] = {"device": "cuda:1", "providers": [(CUDA, {"use_tf32": 1}), CPU]}
    function = EmbedgeEmbeddingFunction(
        Embedder(tiny_bundle.path, **options) if is_open else tiny_bundle.path, **({} if is_open else options)
    )
    config = json.loads(json.dumps(function.get_config()))
    again = EmbedgeEmbeddingFunction.build_from_config(config)
    assert again.get_config() == config
    assert again.default_space() == "cosine"  # loads the model
    cuda, cpu = asked[-1]["providers"]
    assert (cuda.name, dict(cuda.options), cpu.name) == (CUDA, {"device_id": "1", "use_tf32": "1"}, CPU)
    again.validate_config_update(config, {**config, "device": None, "providers": None})


def test_functions_of_the_same_options_share_the_model(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    init = Embedder.__init__

    def note(self: Embedder, *arguments: Any, **options: Any) -> None:
        opened.append(options["precision"])
        init(self, *arguments, **options)

    monkeypatch.setattr(Embedder, "__init__", note)
    for precision in ("int8", "int8", "fp32"):
        EmbedgeEmbeddingFunction(str(tiny_bundle.path), precision=precision)(["cat"])  # type: ignore[arg-type]
    assert opened == ["int8", "fp32"]


def test_a_collection_asks_with_the_query_prompt(tiny: Embedder) -> None:
    """The document that reads like the prompt and query together is at distance 0."""
    client = chromadb.EphemeralClient()
    collection = client.create_collection("prompted", embedding_function=EmbedgeEmbeddingFunction(tiny))
    collection.add(ids=["bare", "prompted"], documents=["bake bread", "how do i bake bread"])
    found = collection.query(query_texts=["bake bread"], n_results=2)
    assert found["ids"] == [["prompted", "bare"]]
    assert found["distances"] is not None
    assert found["distances"][0][0] == pytest.approx(0, abs=1e-6)


def test_another_process_reopens_a_collection(minilm_bundle: Bundle, tmp_path: Path) -> None:
    client = chromadb.PersistentClient(tmp_path / "kept")
    function = EmbedgeEmbeddingFunction(Embedder(minilm_bundle.path))
    collection = client.create_collection("texts", embedding_function=function)
    collection.add(ids=["0", "1"], documents=["The bike has a flat tyre.", "Yeast makes dough rise."])
    code = f"""
import chromadb, embedge.integrations.chroma
collection = chromadb.PersistentClient({str(tmp_path / "kept")!r}).get_collection("texts")
print(collection.query(query_texts=["how do I bake bread?"], n_results=1)["documents"][0][0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("Yeast makes dough rise.", 0), done.stderr


def test_a_collections_model_stays(tiny_bundle: Bundle) -> None:
    function = EmbedgeEmbeddingFunction(str(tiny_bundle.path))
    config = function.get_config()
    function.validate_config_update(config, {**config, "threads": 2})
    with pytest.raises(InputValueError, match="make a new collection"):
        function.validate_config_update(config, {**config, "model": "bge-base-en-v1.5"})
    # A collection that an earlier version wrote has normalize=True, which is also the model's default.
    function.validate_config_update({**config, "normalize": True}, config)
    with pytest.raises(InputValueError, match="made with normalize=False, found normalize=None"):
        function.validate_config_update({**config, "normalize": False}, config)
    function.validate_config_update(config, {**config, "device": "cuda"})
    with pytest.raises(InputValueError, match="unknown options backend;"):
        EmbedgeEmbeddingFunction.validate_config({"backend": "onnx"})


def test_the_error_of_a_model_that_is_nowhere_comes_when_it_is_needed(tmp_path: Path) -> None:
    function = EmbedgeEmbeddingFunction(tmp_path)
    with pytest.raises(EmbedgeError):
        function(["the cat"])


def test_a_collection_compares_as_the_model_does(compared_by: Callable[[str], Embedder]) -> None:
    spaces = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}
    for measure, space in spaces.items():
        assert EmbedgeEmbeddingFunction(compared_by(measure)).default_space() == space
    with pytest.raises(InputValueError, match="the manhattan distance; choose a space"):
        EmbedgeEmbeddingFunction(compared_by("manhattan")).default_space()
