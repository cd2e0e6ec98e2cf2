"""The import graph sees every kind of import, on small trees in which one is planted."""

import subprocess
import sys
from pathlib import Path

import pytest

import import_graph
from import_graph import read_graph, upward
from read_imports import PROJECT

INIT = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from embedge.model import Model
_HOME = {"Model": "embedge.model"}
"""
# Below the model, and made of lines that do not import it.
CLEAN = '''
"""It says embedge.model, and "embedge.model:Model"."""
import logging
from embedge.errors import BundleError
log = logging.getLogger("embedge.model")
MANIFEST = "embedge.json"
'''


def tree(root: Path, **files: str) -> Path:
    """A checkout with a few modules; keywords are modules, with a double underscore for a dot."""
    all_files = {
        "embedge": INIT,
        "embedge__errors": "",
        "embedge__bundle": "",
        "embedge__bundle__directory": CLEAN,
        "embedge__model": "from embedge.bundle.directory import Bundle",
        "embedge_export": "",
        "embedge_export__pipeline": "import torch\nfrom embedge import Model",
    }
    for name, text in {**all_files, **files}.items():
        parts = name.split("__")
        folder = root / {"embedge": "runtime", "embedge_export": "export"}[parts[0]]
        is_package = any(other.startswith(f"{name}__") for other in {**all_files, **files})
        path = folder.joinpath(*parts, "__init__.py") if is_package else folder.joinpath(*parts).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


LEVEL = {"embedge.errors": 0, "embedge.bundle": 1, "embedge.model": 2, "embedge": 3}
PLANTED = {
    "at the top": "from embedge.model import Model",
    "the module": "import embedge.model as model",
    "out of the package": "from embedge import model",
    "relative": "from ..model import Model",
    "in a function": "def load():\n    from embedge.model import Model",
    "in a method": "class A:\n    async def load(self):\n        import embedge.model",
    "for types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from embedge.model import Model",
    "of a public name": "from embedge import Model",
    "of a public name, lazily": "def load():\n    from embedge import Model",
    "by import_module": "from importlib import import_module\nimport_module('embedge.model')",
    "by importlib.import_module": "import importlib\nimportlib.import_module('embedge.model')",
    "by __import__": "def load():\n    __import__('embedge.model')",
    "by an entry point": "MODEL = 'embedge.model:Model'",
    "by a table": "HOMES = {'Model': 'embedge.model'}",
    "by a list": "HOMES = ['embedge.model']",
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=list(PLANTED))
def test_an_upward_arrow_of_every_kind_is_seen(tmp_path: Path, planted: str) -> None:
    graph = read_graph(tree(tmp_path, embedge__bundle__directory=planted))
    assert upward(graph.arrows("embedge"), LEVEL) == [("embedge.bundle", "embedge.model")]
    assert graph.circles() == [{"embedge.bundle.directory", "embedge.model"}]


def test_an_arrow_of_a_room_in_no_layer_counts_as_upward(tmp_path: Path) -> None:
    graph = read_graph(tree(tmp_path, embedge__new="from embedge.errors import EmbedgeError"))
    assert upward(graph.arrows("embedge"), LEVEL) == [("embedge.new", "embedge.errors")]


def test_a_clean_tree_has_neither(tmp_path: Path) -> None:
    """A docstring, a logger's name and a file's name are no imports."""
    graph = read_graph(tree(tmp_path))
    assert graph.rooms("embedge") == LEVEL.keys()
    assert upward(graph.arrows("embedge"), LEVEL) == []
    assert graph.circles() == []
    assert graph.between("embedge", "embedge_export") == []


def test_what_the_init_exports_is_an_arrow_of_its_own(tmp_path: Path) -> None:
    """And a name that only it defines is one to it, which is the top: so nothing below may import that."""
    version = "from embedge import __version__"
    graph = read_graph(tree(tmp_path, embedge=f"{INIT}\n__version__ = '1'", embedge__errors=version))
    assert ("embedge", "embedge.model") in graph.arrows("embedge")
    assert upward(graph.arrows("embedge"), LEVEL) == [("embedge.errors", "embedge")]


def test_a_circle_through_both_packages_is_seen(tmp_path: Path) -> None:
    lazily = "def export():\n    from embedge_export.pipeline import export"
    graph = read_graph(tree(tmp_path, embedge__bundle__directory=lazily))
    assert graph.circles() == [{"embedge.bundle.directory", "embedge.model", "embedge_export.pipeline"}]
    (found,) = graph.between("embedge", "embedge_export")
    assert (found.source, found.kind, found.line) == ("embedge.bundle.directory", "lazy", 2)


@pytest.mark.parametrize(
    "planted",
    [
        "import torch",
        "def load():\n    from torch.nn import Linear",
        "from importlib import import_module\nimport_module('torch.nn')",
        "LAYER = 'torch.nn:Linear'",
    ],
)
def test_another_distribution_of_every_kind_is_seen(tmp_path: Path, planted: str) -> None:
    graph = read_graph(tree(tmp_path, embedge__bundle__directory=planted))
    assert [found.source for found in graph.between("embedge", "torch")] == ["embedge.bundle.directory"]


def test_an_import_by_a_computed_name_is_listed(tmp_path: Path) -> None:
    computed = "from importlib import import_module\ndef load(name):\n    import_module(f'embedge.{name}')"
    graph = read_graph(tree(tmp_path, embedge__bundle__directory=computed))
    assert [(found.source, found.line) for found in graph.imports if found.kind == "computed"] == [
        ("embedge.bundle.directory", 3)
    ]


def test_entry_points_of_the_project_are_imports(tmp_path: Path) -> None:
    (tree(tmp_path) / PROJECT).write_text(
        "[project.scripts]\nembedge = 'embedge.model:main'\n"
        "[project.entry-points.'embedge.exporters']\nown = 'embedge_export.pipeline:export'\n"
    )
    (found,) = read_graph(tmp_path).between(PROJECT, "embedge_export")
    assert (found.target, found.kind) == ("embedge_export.pipeline", "entry point")


def test_the_script_prints_the_graph_of_any_checkout(tmp_path: Path) -> None:
    """Where no layers are declared, the arrows on a circle of rooms are those to look at."""
    root = tree(tmp_path, embedge__bundle__directory="from embedge import Model")
    command = [sys.executable, import_graph.__file__, str(root)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "embedge: 4 rooms, 2 floors, 3 arrows"
    assert "no layers are declared): 2" in lines[1]
    assert "circles of files: 1" in lines
    assert "embedge -> embedge_export: 0" in lines
