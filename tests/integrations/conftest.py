"""A small reranker, and LangChain's asynchronous tests."""

import asyncio
import inspect
import os

import pytest

from embedge import Reranker
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
