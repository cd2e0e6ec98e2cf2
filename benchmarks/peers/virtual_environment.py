"""Virtual environments for libraries whose dependencies conflict with this environment."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from embedge.bundle.cache_paths import cache_home


class EnvironmentFailedError(Exception):
    """pip could not install the packages of a peer."""


def python_with(requirements: Sequence[str], without: Sequence[str] = ()) -> Path:
    """The Python of a virtual environment with these packages; this Python where ``requirements`` is empty.

    The environment is created once, in embedge's cache.

    Args:
        requirements: the packages that pip installs.
        without: the packages that pip uninstalls afterwards.

    Raises:
        EnvironmentFailedError: pip failed. The message ends with the last line of its output.
    """
    if not requirements:
        return Path(sys.executable)
    digest = hashlib.sha256("\n".join([sys.version, *requirements, *without]).encode()).hexdigest()[:12]
    folder = cache_home() / "benchmarks" / digest
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = folder / "installed.txt"
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _pip(python, "install", "--quiet", *requirements)
        if without:
            _pip(python, "uninstall", "--quiet", "--yes", *without)
        done.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    return python


def _pip(python: Path, *arguments: str) -> None:
    result = subprocess.run([str(python), "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no output"])[-1]
        raise EnvironmentFailedError(f"pip {' '.join(arguments)}: {last}")
