"""Measure the installed size of embedge and other libraries, each with its dependencies in a new environment.

python -m benchmarks.footprint --help
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

from benchmarks.report.machine_info import Machine, describe, this_machine
from benchmarks.report.tables import align, write_json
from embedge.command.installed_packages import installed_files
from embedge.ship.trim import IMPORTED, find_trim

_CHECKOUT = Path(__file__).parents[1]
_OWN = {"embedge": _CHECKOUT, "embedge-kernels": _CHECKOUT / "kernels"}
_COLUMNS = ("library", "MB", "packages", "the largest, MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A library to install.

    Attributes:
        name: the name of the row.
        requirements: the packages that a user installs to embed, not to convert. Those of ``_OWN`` are built from this
            checkout.
        imports: the modules that must be importable afterwards.
        trimmed: whether to install without dependencies, and to delete the files that embedding never opens.
    """

    name: str
    requirements: tuple[str, ...]
    imports: tuple[str, ...]
    trimmed: bool = False


ROWS = (
    Row(name="embedge, trimmed", requirements=tuple(sorted(IMPORTED)), imports=("embedge.embedder",), trimmed=True),
    Row(name="embedge", requirements=("embedge",), imports=("embedge.embedder",)),
    Row(
        name="embedge with fused kernels",
        requirements=("embedge", "embedge-kernels"),
        imports=("embedge.embedder", "embedge_kernels"),
    ),
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
    """The packages that pip installed for a row.

    Attributes:
        requirements: the arguments of pip.
        size: bytes of all files in site-packages, without ``__pycache__``.
        packages: bytes of each distribution, by name and version, the largest first.
    """

    requirements: tuple[str, ...]
    size: int
    packages: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run of the benchmark.

    Attributes:
        rows: the installed packages, by the name of the row.
        left_out: the reason for each row that could not be installed or imported, by name.
        machine: where the run took place.
    """

    rows: Mapping[str, Installed]
    left_out: Mapping[str, str]
    machine: Machine


class InstallError(Exception):
    """pip could not install a row, or one of its modules cannot be imported."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", metavar="NAME", multiple=True, help="Rows to install, such as 'embedge*'. You can repeat this.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="File for the results.")
def main(only: tuple[str, ...], json_file: Path | None) -> None:
    """Measure the installed size of embedge and other libraries, without models.

    pip installs every row into a new environment in a temporary folder. All rows together download about 2 GB from the
    package index. The size is that of site-packages without __pycache__. The benchmark imports every row before it
    counts its files.

    \b
    python -m benchmarks.footprint
    python -m benchmarks.footprint --only 'embedge*' --json footprint.json
    """
    rows = [row for row in ROWS if not only or any(fnmatchcase(row.name, pattern) for pattern in only)]
    if not rows:
        raise click.UsageError(f"no such row; the rows are {', '.join(row.name for row in ROWS)}")
    if json_file and not json_file.parent.is_dir():
        raise click.UsageError(f"{json_file.parent} is not a directory; create it, or choose another")
    result = run(rows)
    click.echo(describe(result.machine))
    click.echo(table(result.rows))
    for name, why in result.left_out.items():
        click.echo(f"{name}: {why}")
    if json_file:
        write_json(result, json_file)


def run(rows: Sequence[Row]) -> Result:
    """Install and measure every row. A row that fails is left out."""
    installed: dict[str, Installed] = {}
    left_out: dict[str, str] = {}
    for row in rows:
        click.echo(f"{row.name}: {' '.join(row.requirements)}", err=True)
        with tempfile.TemporaryDirectory(prefix="embedge-") as folder:
            try:
                installed[row.name] = install(row, Path(folder))
            except InstallError as error:
                left_out[row.name] = str(error)
    return Result(rows=installed, left_out=left_out, machine=this_machine())


def install(row: Row, folder: Path) -> Installed:
    """Install a row into a new environment in a folder, and measure it.

    Raises:
        InstallError: pip failed, or a module cannot be imported. The message is the last line of the output.
    """
    venv.create(folder, with_pip=False, symlinks=sys.platform != "win32")
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    given = [str(_OWN.get(name, name)) for name in row.requirements]
    alone = ["--no-deps"] if row.trimmed else []
    _call([sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-compile", *alone, *given])
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder), "platbase": str(folder)}))
    if row.trimmed:
        for path in _dispensable(packages):
            path.unlink()
    _call([str(python), "-I", "-B", "-c", "\n".join(f"import {name}" for name in row.imports)])
    sizes = {
        f"{distribution.metadata['Name']} {distribution.version}": _size(distribution)
        for distribution in distributions(path=[str(packages)])
    }
    return Installed(
        requirements=row.requirements,
        size=sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc"),
        packages=dict(sorted(sizes.items(), key=lambda item: -item[1])),
    )


def _dispensable(packages: Path) -> Iterator[Path]:
    for distribution in distributions(path=[str(packages)]):
        for file, path in installed_files(distribution).items():
            if find_trim(distribution.metadata["Name"], file):
                yield path


def _size(distribution: Distribution) -> int:
    return sum(path.stat().st_size for path in installed_files(distribution).values())


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("[notice]")]
        raise InstallError(lines[-1] if lines else f"exit code {done.returncode}")


def table(rows: Mapping[str, Installed]) -> str:
    """A Markdown table, the smallest first."""
    ordered = sorted(rows.items(), key=lambda item: item[1].size)
    return align([_COLUMNS, *(_cells(name, installed) for name, installed in ordered)])


def _cells(name: str, installed: Installed) -> tuple[str, ...]:
    largest = [f"{package.split()[0]} {size / 1e6:.0f}" for package, size in list(installed.packages.items())[:3]]
    return name, f"{installed.size / 1e6:.1f}", str(len(installed.packages)), ", ".join(largest)


if __name__ == "__main__":
    main()
