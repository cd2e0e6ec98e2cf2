"""Without the packages that docs/ship.md leaves out: what needs none of them works, the rest is one of our errors."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from embedge import Bundle
from embedge.command.main import _REQUIRED

# The output of `embedge ship` has numpy, onnxruntime and tokenizers, and nothing else.
LEFT_OUT = ("huggingface_hub", "tqdm", "click", "packaging", "platformdirs", "embedge_export", "embedge_models")


def run(code: str, *arguments: str, without: tuple[str, ...] = LEFT_OUT, **variables: str) -> str:
    """The last line that a process prints which cannot import these modules, and that has no variables of its own."""
    block = f"import sys\nfor name in {without!r}: sys.modules[name] = None\n"
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", block + code, *arguments],
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout.strip().rpartition("\n")[2]


def error_of(code: str, *arguments: str, without: tuple[str, ...] = LEFT_OUT, **variables: str) -> str:
    """The class and the message of the EmbedgeError that the code raises."""
    lines = ["import embedge", "try:", f"    {code}", "except embedge.EmbedgeError as error:"]
    shown = "    print(type(error).__name__, error, sep=': ')"
    return run("\n".join([*lines, shown]), *arguments, without=without, **variables)


def test_a_path_needs_nothing_of_it(tiny_bundle: Bundle) -> None:
    code = "from embedge import Embedder; print(Embedder(sys.argv[1]).encode(['the cat'] * 100).shape)"
    assert run(code, str(tiny_bundle.path)) == "(100, 32)"


@pytest.mark.parametrize("name", ["bge-small-en-v1.5", "BAAI/bge-small-en-v1.5"])
@pytest.mark.parametrize("home", ["", "/home/somebody"])
def test_a_name_says_what_finds_the_cache(name: str, home: str) -> None:
    assert error_of(f"embedge.Embedder({name!r})", HOME=home) == (
        "BundleError: the cache folder cannot be found without platformdirs, which is not installed; pass the path of "
        "a bundle, set EMBEDGE_HOME to a directory, or run `pip install platformdirs`"
    )


def test_a_name_in_a_cache_that_is_set_has_the_three_ways(tmp_path: Path) -> None:
    found = error_of("embedge.Embedder('BAAI/bge-small-en-v1.5')", EMBEDGE_HOME=str(tmp_path))
    assert found.startswith(
        f"BundleNotFoundError: no bundle of 'BAAI/bge-small-en-v1.5' in {tmp_path}, and huggingface_hub is not "
        "installed; run `pip install huggingface_hub`, and it cannot be exported here ("
    )
    assert "(3) copy a bundle's directory to this machine and give its path" in found


def test_a_hub_that_lacks_one_of_its_packages_names_it(tmp_path: Path) -> None:
    found = error_of("embedge.Embedder('someone/tiny')", without=("tqdm", "embedge_export"), EMBEDGE_HOME=str(tmp_path))
    assert ", and tqdm, which huggingface_hub needs, is not installed; run `pip install huggingface_hub`, " in found


def test_a_bar_that_is_asked_for_needs_tqdm(tiny_bundle: Bundle) -> None:
    code = "embedge.Embedder(sys.argv[1]).encode(['the cat'] * 100, show_progress_bar=True)"
    assert error_of(code, str(tiny_bundle.path)) == (
        "MissingExtraError: tqdm, which draws the progress bar, is not installed; run `pip install tqdm`, or leave "
        "show_progress_bar out"
    )


def test_a_bar_that_nobody_asked_for_is_left_out(tiny_bundle: Bundle) -> None:
    """On a terminal, many texts have a bar."""
    code = (
        "sys.stderr.isatty = lambda: True\n"
        "from embedge import Embedder; print(Embedder(sys.argv[1]).encode(['the cat'] * 100).shape)"
    )
    assert run(code, str(tiny_bundle.path)) == "(100, 32)"


@pytest.mark.skipif(np.__version__ < "2", reason="numpy 1 imports these parts itself, so they are not left out")
def test_every_public_name_is_there_without_the_parts_of_numpy_that_functions_lack() -> None:
    parts = ("random", "fft", "ma", "polynomial", "testing", "typing", "ctypeslib")
    code = "import embedge; print(all(getattr(embedge, name) for name in embedge.__all__))"
    assert run(code, without=(*LEFT_OUT, *(f"numpy.{part}" for part in parts))) == "True"


def test_the_command_is_one_line_without_click() -> None:
    code = "from embedge.command.main import main; main()"
    assert run(code, "info") == "Error: the command needs click, which is not installed; run `pip install click`"


def test_a_command_names_the_package_that_it_lacks(tiny_bundle: Bundle) -> None:
    code = "from embedge.command.main import main; main()"
    found = run(code, "info", "--footprint", "-m", str(tiny_bundle.path), without=("packaging",))
    assert found == "Error: packaging is not installed; run `pip install packaging`"


def test_the_command_knows_what_embedge_requires() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {re.sub("-", "_", Requirement(line).name) for line in project["dependencies"]}
    assert {*_REQUIRED, "click"} == required
