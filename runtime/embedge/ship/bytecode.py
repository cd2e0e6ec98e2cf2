"""Compiles an output to bytecode, with the Python that will run it.

Without bytecode, Python compiles every module at each start where it cannot write, as in a function. The invalidation
mode ``unchecked-hash`` of PEP 552 makes Python use the bytecode whatever a copy does to the times of the sources.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from embedge.errors import EmbedgeError
from embedge.ship.platforms import this_python

_ANSWER = 20.0  # seconds for a Python to say what it is
_ASK = "import sys; print(sys.implementation.cache_tag)"


def find_python(version: str) -> tuple[str, ...] | None:
    """Return the command of a CPython of a minor version on this machine; None if there is none.

    It is this Python, or one on PATH, or one that pyenv has installed. All releases of a minor version read the same
    bytecode, on every platform.
    """
    tag = f"cpython-{version.replace('.', '')}"
    return next((command for command in _candidates(version) if _tag(command) == tag), None)


def _candidates(version: str) -> Iterator[tuple[str, ...]]:
    if version == this_python() and sys.executable:
        yield (sys.executable,)
    if found := shutil.which(f"python{version}"):
        yield (found,)
    if os.name == "nt" and (launcher := shutil.which("py")):
        yield (launcher, f"-{version}")
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")  # noqa: PTH111  # without HOME it fails
    yield from ((str(path),) for path in sorted(Path(root, "versions").glob(f"{version}.*/bin/python")))


def _tag(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run([*command, "-I", "-S", "-c", _ASK], capture_output=True, text=True, timeout=_ANSWER)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def compile_all(folder: Path, python: tuple[str, ...]) -> None:
    """Compile every module of a folder.

    Raises:
        EmbedgeError: a module does not compile.
        OSError: the disk is full.
    """
    # -s: without it, the bytecode would contain the path of this folder, which is a temporary one.
    command = [*python, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder)]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        if os.strerror(errno.ENOSPC) in done.stdout + done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        said = lines[-1].strip() if lines else f"exit code {done.returncode}"
        raise EmbedgeError(f"{python[0]} cannot compile the packages ({said}); pass --no-bytecode to ship without")
