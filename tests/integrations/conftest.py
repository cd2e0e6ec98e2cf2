"""A small reranker, and LangChain's asynchronous tests."""

import asyncio
import inspect
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import manifests
from embedge import Bundle, Embedder, Reranker
from embedge_export import export
from seeded_roberta import write_roberta

# Both are read when the package is imported. Tests report to nobody.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["ANONYMIZED_TELEMETRY"] = "False"


@pytest.fixture(scope="session")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Reranker:
    """Of seeded random weights."""
    folder = write_roberta(tmp_path_factory.mktemp("reranker") / "checkpoint", rerank=True)
    return Reranker(export(folder, folder.parent / "bundle", verify=False).path)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs LangChain's asynchronous tests, without a plugin that has a say in every other test, too."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def compared_by(tiny_bundle: Bundle, tmp_path: Path) -> Callable[[str], Embedder]:
    """The tiny model, as if it had been trained for another measure."""

    def make(measure: str) -> Embedder:
        folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / measure))
        manifests.change(folder, lambda manifest: manifest.update(similarity=measure, normalize=False))
        return Embedder(folder, precision="fp32")

    return make
