"""examples/ and the code in the modules' docstrings: every program runs, and finds what is meant."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from embedge import Bundle, Reranker

EXAMPLES = Path(__file__).parents[2] / "examples"


def need(package: str) -> None:
    pytest.importorskip(package, reason=f"needs {package}: pip install -e '.[test]'")


def load(name: str, package: str) -> ModuleType:
    need(package)
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("langchain_core", lambda document: document.page_content),
        ("llama_index.core", lambda node: node.node.get_content()),
        ("haystack", lambda document: document.content),
    ],
    ids=["langchain", "llama_index", "haystack"],
)
def test_a_search_finds_the_two_texts_about_baking(
    minilm_bundle: Bundle, reranker: Reranker, package: str, text: Callable[[Any], str]
) -> None:
    example = load(f"with_{package.removesuffix('.core').removesuffix('_core')}", package)
    found = [text(item) for item in example.main(str(minilm_bundle.path), str(reranker.bundle.path))]
    assert sorted(found) == sorted(example.TEXTS[1:])


def test_a_collection_is_written_and_read(minilm_bundle: Bundle, tmp_path: Path) -> None:
    example = load("with_chroma", "chromadb")
    example.write(str(tmp_path), str(minilm_bundle.path))
    assert sorted(example.read(str(tmp_path))) == sorted(example.TEXTS[1:])


@pytest.mark.parametrize(
    ("module", "package", "last"),
    [
        ("langchain", "langchain_core", lambda names: names["reranked"][0].metadata["relevance_score"] > 0),
        ("llama_index", "llama_index.core", lambda names: names["reranked"][0].score > 0),
        ("haystack", "haystack", lambda names: len(names["vector"]) == len(names["embedded"][0].embedding) == 384),
        ("chroma", "chromadb", lambda names: names["result"]["documents"] == [["Yeast makes dough rise."]]),
        ("daft", "daft", lambda names: [len(row) for row in names["rows"].to_pydict()["vector"]] == [384, 384]),
        ("lancedb", "lancedb", lambda names: [row["text"] for row in names["result"]] == ["Yeast makes dough rise."]),
    ],
)
def test_the_code_in_a_docstring_runs(
    minilm_bundle: Bundle,
    reranker: Reranker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    package: str,
    last: Callable[[dict[str, Any]], bool],
) -> None:
    """With bundles that are here in the place of names that would be exported."""
    need(package)
    monkeypatch.chdir(tmp_path)
    text = import_module(f"embedge.integrations.{module}").__doc__ or ""
    code = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    ") or not line)
    code = code.replace("bge-small-en-v1.5", str(minilm_bundle.path))
    names: dict[str, Any] = {}
    exec(code.replace("bge-reranker-base", str(reranker.bundle.path)), names)
    assert last(names)
