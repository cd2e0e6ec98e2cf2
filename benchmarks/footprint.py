"""How much does a library put on the disk? Each in an environment of its own, with all that pip installs for it.

python benchmarks/footprint.py --help
"""

import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, distributions
from pathlib import Path

import click

from embedge.command.footprint import IMPORTED, find_trim
from embedge.command.installed_packages import installed_files
from machine import Machine, describe, this_machine
from report import align, write_json

_CHECKOUT = Path(__file__).parents[1]
_COLUMNS = ("library", "MB", "packages", "the largest, MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A library to install.

    Attributes:
        name: what the row is called.
        requirements: what its user gives pip in order to embed, not to convert; ``embedge`` is this checkout.
        imports: modules that must then be importable.
        trimmed: without what the packages require, and without the files that embedding never opens.
    """

    name: str
    requirements: tuple[str, ...]
    imports: tuple[str, ...]
    trimmed: bool = False


ROWS = (
    Row(name="embedge, trimmed", requirements=tuple(sorted(IMPORTED)), imports=("embedge.embedder",), trimmed=True),
    Row(name="embedge", requirements=("embedge",), imports=("embedge.embedder",)),
    Row(
        name="onnxruntime and tokenizers",
        requirements=("onnxruntime", "tokenizers", "numpy"),
        imports=("onnxruntime", "tokenizers"),
    ),
    Row(
        name="ctranslate2 and tokenizers",
        requirements=("ctranslate2", "tokenizers", "numpy"),
        imports=("ctranslate2", "tokenizers"),
    ),
    Row(
        name="openvino and tokenizers",
        requirements=("openvino", "tokenizers", "numpy"),
        imports=("openvino", "tokenizers"),
    ),
    Row(name="fastembed", requirements=("fastembed",), imports=("fastembed",)),
    Row(name="light-embed", requirements=("light-embed",), imports=("light_embed",)),
    Row(
        name="sentence-transformers, torch for CPUs",
        requirements=("sentence-transformers", "torch==2.13.0"),
        imports=("sentence_transformers",),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What pip installed for a row.

    Attributes:
        requirements: that pip was given.
        size: bytes of all files in site-packages, without ``__pycache__``.
        packages: bytes of each distribution, by name and version, the largest first.
    """

    requirements: tuple[str, ...]
    size: int
    packages: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A run.

    Attributes:
        rows: what was installed, by the row's name.
        left_out: rows that pip could not install or that do not work then, by name, and why.
        machine: where it was measured.
    """

    rows: Mapping[str, Installed]
    left_out: Mapping[str, str]
    machine: Machine


class InstallError(Exception):
    """Pip could not install a row, or it does not work."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", metavar="NAME", multiple=True, help="Rows to install; * stands for anything. Several times.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the results there.")
def main(only: tuple[str, ...], json_file: Path | None) -> None:
    """Measure what embedge and other libraries put on the disk, without any model.

    Every row is installed by pip into a new environment in a temporary folder, which needs an index and some 2 GB. The
    size is that of site-packages without __pycache__, and every row is imported before it counts.

    \b
    python benchmarks/footprint.py
    python benchmarks/footprint.py --only 'embedge*' --json footprint.json
    """
    rows = [row for row in ROWS if not only or any(fnmatchcase(row.name, pattern) for pattern in only)]
    if not rows:
        raise click.UsageError(f"no such row; there are {', '.join(row.name for row in ROWS)}")
    if json_file and not json_file.parent.is_dir():
        raise click.UsageError(f"{json_file.parent} is no directory; make it, or name another")
    result = run(rows)
    click.echo(describe(result.machine))
    click.echo(table(result.rows))
    for name, why in result.left_out.items():
        click.echo(f"{name}: {why}")
    if json_file:
        write_json(result, json_file)


def run(rows: Sequence[Row]) -> Result:
    """Every row that pip can install here."""
    found: dict[str, Installed] = {}
    left_out: dict[str, str] = {}
    for row in rows:
        click.echo(f"{row.name}: {' '.join(row.requirements)}", err=True)
        with tempfile.TemporaryDirectory(prefix="embedge-") as folder:
            try:
                found[row.name] = install(row, Path(folder))
            except InstallError as error:
                left_out[row.name] = str(error)
    return Result(rows=found, left_out=left_out, machine=this_machine())


def install(row: Row, folder: Path) -> Installed:
    """A row in a new environment in a folder.

    Raises:
        InstallError: pip failed, or a module cannot be imported; the message has the last line that was said.
    """
    venv.create(folder, with_pip=False, symlinks=sys.platform != "win32")
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    given = [str(_CHECKOUT) if name == "embedge" else name for name in row.requirements]
    alone = ["--no-deps"] if row.trimmed else []
    _call([sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-compile", *alone, *given])
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)}))
    if row.trimmed:
        for path in _dispensable(packages):
            path.unlink()
    _call([str(python), "-I", "-B", "-c", "\n".join(f"import {name}" for name in row.imports)])
    sizes = {f"{found.metadata['Name']} {found.version}": _size(found) for found in distributions(path=[str(packages)])}
    return Installed(
        requirements=row.requirements,
        size=sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc"),
        packages=dict(sorted(sizes.items(), key=lambda item: -item[1])),
    )


def _dispensable(packages: Path) -> Iterator[Path]:
    for found in distributions(path=[str(packages)]):
        for file, path in installed_files(found).items():
            if find_trim(found.metadata["Name"], file):
                yield path


def _size(found: Distribution) -> int:
    return sum(path.stat().st_size for path in installed_files(found).values())


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("[notice]")]
        raise InstallError(lines[-1] if lines else f"exit code {done.returncode}")


def table(rows: Mapping[str, Installed]) -> str:
    """A Markdown table, the smallest first."""
    ordered = sorted(rows.items(), key=lambda item: item[1].size)
    return align([_COLUMNS, *(_cells(name, found) for name, found in ordered)])


def _cells(name: str, found: Installed) -> tuple[str, ...]:
    largest = [f"{package.split()[0]} {size / 1e6:.0f}" for package, size in list(found.packages.items())[:3]]
    return name, f"{found.size / 1e6:.1f}", str(len(found.packages)), ", ".join(largest)


if __name__ == "__main__":
    main()
