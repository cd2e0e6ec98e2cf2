"""onnxruntime_import.py: ONNX Runtime's telemetry is off before ONNX Runtime is imported, unless the user wants it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedge import Bundle

VARIABLE = "ORT_DISABLE_TELEMETRY"
MODULES = (
    "embedge.inference.session",
    "embedge.inference.device.cuda",
    "embedge.inference.device.pool",
    "embedge.inference.device.onnxruntime_packages as packages; packages.available_providers()",
)


def run(code: str, home: Path, **variables: str) -> str:
    environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    paths = os.pathsep.join([variables.pop("first", ""), *filter(None, sys.path)]).strip(os.pathsep)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(home), "PYTHONPATH": paths, **variables},
        capture_output=True,
        text=True,
        check=True,
        cwd=home,
    ).stdout


@pytest.mark.parametrize("value", [None, "0", "1", ""])
@pytest.mark.parametrize("module", MODULES)
def test_the_variable_is_set_before_the_import(module: str, value: str | None, tmp_path: Path) -> None:
    """A stand-in for onnxruntime prints the variable when it is imported: the real one would send telemetry."""
    folder = tmp_path / "onnxruntime"
    folder.mkdir()
    folder.joinpath("__init__.py").write_text(
        f"import os\nprint(os.environ.get({VARIABLE!r}))\n"
        "InferenceSession = SessionOptions = OrtValue = object\nget_available_providers = list\n"
    )
    variables = {} if value is None else {VARIABLE: value}
    shown = run(f"import {module}", tmp_path, first=str(tmp_path), **variables)
    assert shown == f"{'1' if value is None else value}\n"


def test_the_home_folder_stays_empty(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Since 1.29, the official wheels write a device's identifier and a database there, and start a thread."""
    home = tmp_path / "home"
    home.mkdir()
    run(f"from embedge import Embedder; Embedder({str(tiny_bundle.path)!r}).encode('the cat')", home)
    assert list(home.iterdir()) == []


def test_importing_embedge_sets_nothing(tmp_path: Path) -> None:
    """Only who loads a model has the variable set."""
    assert run(f"import embedge, os; print(os.environ.get({VARIABLE!r}))", tmp_path) == "None\n"
