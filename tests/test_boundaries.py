"""The boundaries of imports: the runtime is light, never needs the exporter, and nothing imports a higher layer."""

import ast
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args

import click
import pytest

import embedge
from embedge.bundle.cache_paths import cached_path
from embedge.command.main import COMMANDS, cli
from import_graph import ImportGraph, package_of, read_graph, upward
from import_layers import LAYERS, level_of
from read_imports import PACKAGES

RUNTIME = Path(embedge.__file__).parent
HEAVY = ("numpy", "onnxruntime", "tokenizers", "huggingface_hub", "tqdm", "click", "platformdirs")
FORBIDDEN = ("torch", "transformers", "optimum", "onnx", "safetensors", "embedge_models")
TABLE_OF_COMMANDS = "embedge.command.main"
# PyInstaller's hooks say by name what an app leaves out, or needs beside what it imports.
NAME_THE_EXPORTER = {
    TABLE_OF_COMMANDS,
    "embedge.__pyinstaller.hook-embedge",
    "embedge.__pyinstaller.hook-embedge_export",
}


@cache
def graph() -> ImportGraph:
    return read_graph(Path(__file__).parents[1])


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a new process has imported after running some code."""
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
    """For a hub id, embedge would ask the hub if the bundle were not in the cache."""
    shutil.copytree(tiny_bundle.path, cached_path("someone/tiny"))
    loaded = loaded_after("from embedge import Embedder; Embedder('someone/tiny').encode('the cat')")
    assert loaded.isdisjoint({*FORBIDDEN, "embedge_export", "huggingface_hub", "filelock", "tqdm", "click", "requests"})


@pytest.mark.parametrize("path", sorted(RUNTIME.rglob("*.py")), ids=lambda path: path.stem)
def test_the_runtime_names_the_exporter_in_one_place(path: Path) -> None:
    """The table of subcommands names the exporter's modules in strings, and imports one when its command is typed."""
    parts = path.relative_to(RUNTIME.parent).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    imports = [found for found in graph().imports if found.source == module]
    forbidden = [found for found in imports if package_of(found.target) in (*FORBIDDEN, "embedge_export")]
    if module in NAME_THE_EXPORTER:
        forbidden = [
            found
            for found in forbidden
            if found.kind != "string" or package_of(found.target) not in ("embedge_export", "embedge_models")
        ]
    assert forbidden == []
    texts = [
        node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant)
    ]
    assert module in NAME_THE_EXPORTER or not [text for text in texts if "embedge_export" in str(text)]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_in_one_layer(package: str) -> None:
    declared = [room for layer in LAYERS[package] for room in layer]
    assert len(set(declared)) == len(declared)
    assert graph().rooms(package) <= level_of(package).keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_arrow_goes_down(package: str) -> None:
    """This includes lazy imports, imports under TYPE_CHECKING, and imports by string."""
    assert upward(graph().arrows(package), level_of(package)) == []


def test_inference_and_hub_never_meet() -> None:
    rooms = {"embedge.inference", "embedge.hub"}
    assert [arrow for arrow in graph().arrows("embedge") if rooms.issuperset(arrow)] == []


def test_onnxruntime_is_imported_in_one_place() -> None:
    """That place turns its telemetry off before. `embedge info` asks it for its version of CUDA after that."""
    found = {found.source for found in graph().imports if package_of(found.target) == "onnxruntime"}
    assert found == {
        "embedge.inference.onnxruntime_import",
        "embedge.command.info",
        "embedge_export.optimum.traced_graph",  # its tools; it imports that place first
    }


def test_no_files_import_each_other_in_a_circle() -> None:
    assert graph().circles() == []


def test_what_is_imported_by_a_computed_name_stands_in_tables_that_the_graph_reads() -> None:
    """Elsewhere, a computed name could import anything, and the graph would not show it."""
    computed = {found.source for found in graph().imports if found.kind == "computed"}
    assert computed <= {TABLE_OF_COMMANDS, "embedge_export.extras"}


def imported_by_statements(module: str, kind: str) -> set[str]:
    return {found.target for found in graph().imports if (found.source, found.kind) == (module, kind)}


def test_each_public_name_is_imported_by_a_statement() -> None:
    """Nuitka follows only statements with a name in them, and drops those under TYPE_CHECKING."""
    assert imported_by_statements("embedge", "lazy") == imported_by_statements("embedge", "typing")


def test_each_command_of_the_runtime_is_imported_by_a_statement() -> None:
    """The exporter's commands are not, so that a frozen app has no exporter."""
    commands = {name: cli.get_command(click.Context(cli), name) for name in COMMANDS}
    homes = {name: command.callback.__module__ for name, command in commands.items() if command and command.callback}
    assert list(homes) == list(COMMANDS)
    own = {home for home in homes.values() if package_of(home) == "embedge"}
    assert len(own) > 3
    assert imported_by_statements(TABLE_OF_COMMANDS, "lazy") == own


def test_every_public_name_can_be_imported() -> None:
    for name in embedge.__all__:
        value = getattr(embedge, name)
        assert get_args(value) or value.__doc__  # a type of choices, or an object with a docstring


def test_the_error_tree_in_the_docstring_is_the_tree() -> None:
    from embedge import errors

    own = [item for item in vars(errors).values() if getattr(item, "__module__", None) == errors.__name__]
    classes = [item for item in own if isinstance(item, type)]
    assert len(classes) > 10
    tree = errors.__doc__ or ""
    for item in classes:
        assert item.__name__ in tree
        assert issubclass(item, errors.EmbedgeError | errors.TruncationWarning)
