"""Archives by the lines of docs/desktop.md: shiv and pex make one file with all that embedge requires."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from embedge import Bundle, Embedder
from embedge.ship.wheels import pick_requirements

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "desktop.md"
SCRIPTS, SUFFIX = ("Scripts", ".exe") if sys.platform == "win32" else ("bin", "")
TEXT = "東京, the cat"
# Where the packers take packages from, instead of PyPI: the folder of wheels that was made for the test.
FROM_WHEELS = {"shiv": ("--no-index", "--find-links=wheels"), "pex": ("--no-pypi", "--find-links=wheels")}
KINDS = sorted(FROM_WHEELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tools`, a Python with both packers, and `wheels`: embedge, and what it requires."""
    made = tmp_path_factory.mktemp("archives")
    venv.create(made / "tools", with_pip=True)
    pip = (str(made / "tools" / SCRIPTS / f"python{SUFFIX}"), "-m", "pip")
    done = subprocess.run([*pip, "install", "shiv", "pex", "hatchling"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs an index with shiv, pex and hatchling: {done.stderr.strip().splitlines()[-1]}")
    options = ("--no-build-isolation", f"--wheel-dir={made / 'wheels'}")
    # The versions that run here, so that the vectors must be the same.
    run(*pip, "wheel", *options, str(ROOT), *pick_requirements(newest=False))
    return made


@pytest.fixture(scope="module", params=KINDS)
def archive(request: pytest.FixtureRequest, folder: Path) -> Path:
    """The archive, by the line of the page but for the folder of wheels."""
    kind: str = request.param
    (line,) = re.findall(rf"^ *{kind} .+$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    arguments: list[str] = line.split()[1:]
    program = folder / "tools" / SCRIPTS / f"{kind}{SUFFIX}"
    environment = {**os.environ, "PEX_ROOT": str(folder / "pex")}
    if kind == "pex":
        _give_pex_its_pip(program, folder, environment)
    run(str(program), *FROM_WHEELS[kind], *arguments, cwd=folder, environment=environment)
    return folder / arguments[arguments.index("-o") + 1]


def _give_pex_its_pip(program: Path, folder: Path, environment: dict[str, str]) -> None:
    """Make pex download the pip that it uses from Python 3.12 on, which it keeps and needs an index for."""
    command = [str(program), "click", "-o", "any.pex"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs PyPI, from which pex takes its pip: {done.stderr.strip().splitlines()[-1]}")


def run(*command: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bare(folder: Path) -> Path:
    """A Python that has no packages."""
    venv.create(folder / "bare", with_pip=False)
    return folder / "bare" / SCRIPTS / f"python{SUFFIX}"


def test_an_archive_embeds_alone(archive: Path, bare: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Without site-packages, PYTHONPATH, a home, or any package but those that the archive unpacks to its cache."""
    cache = tmp_path / "cache"
    environment = {"SHIV_ROOT": str(cache), "PEX_ROOT": str(cache), "EMBEDGE_HOME": str(tmp_path / "home")}
    environment |= {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP") if name in os.environ}

    def embedge(*arguments: str | Path) -> str:
        words = (str(bare), "-I", str(archive), *map(str, arguments))
        return run(*words, cwd=tmp_path, environment=environment)

    printed = json.loads(embedge("embed", "-m", tiny_bundle.path, TEXT))
    vector = Embedder(tiny_bundle.path).encode(TEXT)
    np.testing.assert_array_equal(np.array(printed["embedding"], np.float32), vector)
    assert f"({cache}{os.sep}" in embedge("info")
    assert "Usage: embedge." in embedge("--help")
    assert "every SHA-256 matches" in embedge("verify", tiny_bundle.path)
