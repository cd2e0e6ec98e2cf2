"""pyproject.toml, the version, the stages of .ci/run and the workflows agree with each other."""

import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import embedge.version
from embedge_export.checkpoint.recipe import Recipe

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
every_workflow = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read_yaml(path: Path) -> Any:
    """The values of a YAML file; ``on`` is the key True, as YAML 1.1 has it."""
    import yaml  # type: ignore[import-untyped, unused-ignore]  # huggingface_hub depends on it

    return yaml.safe_load(path.read_text(encoding="utf-8"))


def stages() -> list[str]:
    return re.findall(r'^if begins (\w+) "', (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_version_is_the_same_everywhere() -> None:
    command = [sys.executable, "-m", "embedge", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown == f"embedge, version {embedge.__version__}\n"
    assert version("embedge") == embedge.__version__, "run `pip install -e .` again"


def test_the_version_is_written_in_one_place(pyproject: dict[str, Any]) -> None:
    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    source = ROOT / pyproject["tool"]["hatch"]["version"]["path"]
    assert source.samefile(embedge.version.__file__)


def test_the_dev_group_is_part_of_the_extra_test(pyproject: dict[str, Any]) -> None:
    """With the same bounds; but for nox, which runs .ci/run, and so not inside it."""
    dev = set(pyproject["dependency-groups"]["dev"])
    extra = set(pyproject["project"]["optional-dependencies"]["test"])
    assert {line.partition(">")[0] for line in dev - extra} == {"nox"}


def test_the_recipes_page_has_every_key() -> None:
    page = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
    keys = {field.name for field in fields(Recipe)} - {"name"}  # which is the file's
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == keys


@every_workflow
def test_a_workflow_uses_pinned_actions_and_no_secrets(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert all(re.fullmatch(r"\./.+|[\w-]+/[\w-]+@(v\d+|release/v\d+)", action) for action in used)
    assert "secrets." not in text
    assert read_yaml(workflow)["permissions"] == {"contents": "read"}


def test_workflows_run_stages_that_exist() -> None:
    jobs = read_yaml(ROOT / ".github/workflows/tests.yml")["jobs"]
    assert {"lint", *jobs["linux"]["strategy"]["matrix"]["stage"]} <= set(stages())


def test_the_versions_of_python_are_those_of_the_workflow(pyproject: dict[str, Any]) -> None:
    jobs = read_yaml(ROOT / ".github/workflows/tests.yml")["jobs"]
    classifiers = [line.rpartition(" ")[2] for line in pyproject["project"]["classifiers"] if ":: 3." in line]
    assert jobs["runtime"]["strategy"]["matrix"]["python"] == classifiers
    assert pyproject["project"]["requires-python"] == f">={classifiers[0]}"


def test_the_kernels_have_the_version_and_the_licence_of_embedge() -> None:
    """They are released together, so that the operators are those that the exporter writes."""
    source = (ROOT / "kernels" / "embedge_kernels" / "__init__.py").read_text(encoding="utf-8")
    assert re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE) == [embedge.__version__]
    assert (ROOT / "kernels" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_only_publishing_may_ask_for_an_identity() -> None:
    jobs = read_yaml(ROOT / ".github/workflows/release.yml")["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"]["name"] == "pypi"
    assert set(jobs["publish"]["needs"]) == {"tests", "build", "kernels"}


@pytest.mark.skipif(find_spec("nox") is None, reason="needs nox, which the group `dev` installs")
def test_nox_runs_every_stage() -> None:
    command = [sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^[*-] (\w+)", listed, re.MULTILINE) == stages()
