"""A server for the tests, with a tiny embedder and a tiny reranker."""

import gc
import warnings
from collections.abc import Callable, Iterator

import pytest

from embedge import Bundle, Embedder, Reranker
from running_server import Server, serving


@pytest.fixture(scope="session")
def reranker_bundle(export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from seeded_roberta import write_roberta

    folder = write_roberta(tmp_path_factory.mktemp("served") / "tiny-reranker", rerank=True)
    return export(folder, folder.parent / "reranker", verify=False)


@pytest.fixture(scope="session")
def embedder(tiny_bundle: Bundle) -> Embedder:
    return Embedder(tiny_bundle.path)


@pytest.fixture(scope="session")
def reranker(reranker_bundle: Bundle) -> Reranker:
    return Reranker(reranker_bundle.path)


@pytest.fixture(scope="session")
def server(tiny_bundle: Bundle, reranker_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serving([tiny_bundle.path, "--reranker", reranker_bundle.path], log) as running:
        yield running
    assert log.read_text() == "", "a server writes nothing by itself"


@pytest.fixture(scope="module", autouse=True)
def _clients_are_forgotten() -> Iterator[None]:
    """Some clients never close their connections; Python would warn about them in the middle of another test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
