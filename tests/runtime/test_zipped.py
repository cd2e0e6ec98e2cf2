"""embedge in a ZIP file, as zipapp makes one: Python imports it from there, without unpacking it."""

import json
import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import numpy as np
import pytest

import embedge
from embedge import Bundle, Embedder

RUNTIME = Path(embedge.__file__).parent
RECIPES = Path(__file__).parents[2] / "models" / "embedge_models"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `embedge` command with the runtime and the recipes in one file; numpy and others are where they were."""
    folder = tmp_path_factory.mktemp("zip")
    for package in (RUNTIME, RECIPES):
        shutil.copytree(package, folder / "src" / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "embedge.pyz"
    zipapp.create_archive(folder / "src", path, main="embedge.command.main:main")
    return path


def run(*command: str | Path, path: Path | None = None) -> str:
    """What Python prints. Only the ZIP file has embedge where nothing puts the checkout on the path."""
    environment = {**os.environ, "PYTHONPATH": str(path or "")}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_runs(program: Path, tiny_bundle: Bundle) -> None:
    printed = json.loads(run(program, "embed", "-m", tiny_bundle.path, "the cat"))
    vector = Embedder(tiny_bundle.path).encode("the cat")
    np.testing.assert_array_equal(np.array(printed["embedding"], np.float32), vector)
    assert f"({program}/embedge)" in run(program, "info")
    assert "every SHA-256 matches" in run(program, "verify", tiny_bundle.path)


def test_recipes_are_read(program: Path) -> None:
    code = "import embedge_models as m; print(m.__file__); print(*map(m.read_recipe, m.recipe_names()), sep='\\n')"
    place, *recipes = run("-c", code, path=program).splitlines()
    assert place.startswith(str(program))
    assert len(recipes) == len(list(RECIPES.glob("*.toml")))


def test_the_graphs_that_pool_on_a_gpu_are_read(program: Path, tiny_bundle: Bundle) -> None:
    """The CPU runs them, too."""
    code = (
        "import sys, onnxruntime as ort\n"
        "from embedge.inference.device import pool\n"
        "from embedge.inference.providers import CPU, Provider\n"
        "session = ort.InferenceSession(sys.argv[1], providers=[CPU])\n"
        "for pooling in ('cls', 'mean'): pool.DevicePool(session, Provider(CPU), pooling)\n"
        "print(pool.__file__)"
    )
    printed = run("-c", code, tiny_bundle.path / "onnx" / "model_int8.onnx", path=program)
    assert printed.startswith(str(program))
