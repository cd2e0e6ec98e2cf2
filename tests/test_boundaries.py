"""Who may import what: the runtime is light to import and never needs what the exporter needs."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import embedge
from embedge.bundle.cache_paths import cached_path

RUNTIME = Path(embedge.__file__).parent
HEAVY = ("numpy", "onnxruntime", "tokenizers", "huggingface_hub", "tqdm", "click", "platformdirs")
FORBIDDEN = ("torch", "transformers", "optimum", "onnx", "safetensors", "embedge_models")


def loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh process after some code."""
    command = f"{code}\nimport sys; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    )


def test_import_embedge_imports_nothing_heavy() -> None:
    assert loaded_after("import embedge").isdisjoint({*HEAVY, *FORBIDDEN})


def test_the_command_starts_without_numpy() -> None:
    loaded = loaded_after("import embedge.command.main; embedge.command.main.cli(['--help'], standalone_mode=False)")
    assert loaded.isdisjoint({"numpy", "onnxruntime", "tokenizers", "huggingface_hub", *FORBIDDEN})


def test_embedding_imports_nothing_of_the_exporters(tiny_bundle: embedge.Bundle) -> None:
    code = f"from embedge import Embedder; Embedder({str(tiny_bundle.path)!r}).encode('the cat')"
    assert loaded_after(code).isdisjoint({*FORBIDDEN, "embedge_export", "huggingface_hub", "tqdm", "click", "requests"})


def test_a_cached_name_asks_for_nothing_of_the_hubs(tiny_bundle: embedge.Bundle) -> None:
    """A hub id, whose bundle would be asked for if it were not in the cache."""
    shutil.copytree(tiny_bundle.path, cached_path("someone/tiny"))
    loaded = loaded_after("from embedge import Embedder; Embedder('someone/tiny').encode('the cat')")
    assert loaded.isdisjoint({*FORBIDDEN, "embedge_export", "huggingface_hub", "filelock", "tqdm", "click", "requests"})


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: path.stem)
def test_the_runtime_names_the_exporter_in_one_place(path: Path) -> None:
    imports: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imports |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports.add((node.module or "").partition(".")[0])
    allowed = {"embedge_export"} if path.name == "obtain.py" else set()
    assert imports & {*FORBIDDEN, "embedge_export"} <= allowed


def test_every_public_name_can_be_imported() -> None:
    for name in embedge.__all__:
        value = getattr(embedge, name)
        assert get_args(value) or value.__doc__  # the choices of an option, or a docstring


def test_the_error_tree_in_the_docstring_is_the_tree() -> None:
    from embedge import errors

    classes = [item for item in vars(errors).values() if isinstance(item, type)]
    tree = errors.__doc__ or ""
    for item in classes:
        assert item.__name__ in tree
        assert issubclass(item, errors.EmbedgeError | errors.TruncationWarning)
