"""Lexical weights and multi-vectors over HTTP, from a model with the heads of bge-m3."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from embedge import Bundle, Embedder
from running_server import Server, needs_server, serving

pytest.importorskip("torch", reason="needs torch, which writes the heads of a bge-m3")
pytestmark = needs_server
TEXTS = ["Yeast makes dough rise.", "The bike has a flat tyre."]


@pytest.fixture(scope="module")
def bundle(export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from seeded_roberta import write_roberta

    folder = write_roberta(tmp_path_factory.mktemp("heads") / "tiny-m3", rerank=False)
    return export(folder, folder.parent / "m3", verify=False)


@pytest.fixture(scope="module")
def m3(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving([bundle.path], tmp_path_factory.mktemp("log") / "log") as server:
        yield server


def test_lexical_weights_are_the_models(m3: Server, bundle: Bundle) -> None:
    found = m3.post("/embed_sparse", {"inputs": TEXTS}).json
    expected = Embedder(bundle.path).encode_sparse(TEXTS)
    for row, vector in zip(found, expected, strict=True):
        assert [one["index"] for one in row] == vector.indices.tolist()
        assert np.array_equal(np.array([one["value"] for one in row], np.float32), vector.values)


def test_token_vectors_are_the_models(m3: Server, bundle: Bundle) -> None:
    found = m3.post("/embed_all", {"inputs": TEXTS}).json
    for rows, vectors in zip(found, Embedder(bundle.path).encode_multi_vector(TEXTS), strict=True):
        assert np.array_equal(np.array(rows, np.float32), vectors)


def test_they_may_be_truncated(m3: Server, tmp_path: Path) -> None:
    for path in ("/embed_sparse", "/embed_all"):
        assert m3.post(path, {"inputs": "bread " * 2000, "truncate": False}).status == 413
        reply = m3.post(path, {"inputs": "bread " * 2000, "truncate": True})
        assert (reply.status, reply.headers["x-truncated-texts"]) == (200, "1")
