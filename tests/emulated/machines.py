"""The processors that are emulated, and how a Python with the runtime's packages is had for each."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from debian import RELEASE, CannotEmulateError, unpack_packages

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
# What embedding imports (tests/test_boundaries.py holds it to that); the versions of this interpreter, so that
# processors are compared and nothing else.
_PACKAGES = ("numpy", "onnxruntime", "tokenizers")
_PYTHON = "3.11"  # of the Debian release
_DEBS = (f"python{_PYTHON}-minimal", f"libpython{_PYTHON}-stdlib", "libstdc++6")
_DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_WHEELS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """A processor to emulate.

    Attributes:
        architecture: as ``platform.machine()`` has it.
        model: QEMU's name of it.
        about: what its integer kernels are.
        cpuinfo: lines of /proc/cpuinfo by which ONNX Runtime knows it; empty where it asks the processor itself.
    """

    architecture: str
    model: str
    about: str
    cpuinfo: str = ""


def _arm(part: int, features: str, variant: int = 0) -> str:
    """/proc/cpuinfo of a core by ARM; the part's number is in the core's technical reference manual (MIDR_EL1)."""
    fields = {"processor": 0, "BogoMIPS": "50.00", "Features": features, "CPU implementer": "0x41"}
    fields |= {"CPU architecture": 8, "CPU variant": f"{variant:#x}", "CPU part": f"{part:#x}", "CPU revision": 1}
    return "".join(f"{name}\t: {value}\n" for name, value in fields.items()) + "\n"


_ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_ARMV8_2 = f"{_ARMV8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
CPUS: Mapping[str, Cpu] = {
    "avx2": Cpu(architecture="x86_64", model="max", about="x86-64 with AVX2, without VNNI"),
    "cortex-a53": Cpu(
        architecture="aarch64", model="cortex-a53", about="Raspberry Pi 3: no dot product", cpuinfo=_arm(0xD03, _ARMV8)
    ),
    "cortex-a72": Cpu(
        architecture="aarch64", model="cortex-a72", about="Raspberry Pi 4: no dot product", cpuinfo=_arm(0xD08, _ARMV8)
    ),
    "cortex-a76": Cpu(
        architecture="aarch64",
        model="cortex-a76",
        about="Raspberry Pi 5: dot product",
        cpuinfo=_arm(0xD0B, _ARMV8_2, 4),
    ),
    "neoverse-n1": Cpu(
        architecture="aarch64",
        model="neoverse-n1",
        about="AWS Graviton 2, Ampere Altra: dot product",
        cpuinfo=_arm(0xD0C, f"{_ARMV8_2} ssbs", 3),
    ),
}


@contextmanager
def python_on(cpu: Cpu, cache: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """A command that is a Python on an emulated processor, and the environment it wants.

    Args:
        cpu: the processor.
        cache: where QEMU and the roots are kept; they are made where they are missing.

    Raises:
        CannotEmulateError: they cannot be made here.
    """
    emulator = kept(cache / f"qemu-{platform.machine()}-{RELEASE}", _make_emulators)
    command = [str(emulator / f"qemu-{cpu.architecture}-static"), "-cpu", cpu.model]
    environment = {**os.environ, "PYTHONPATH": str(RUNTIME), "PYTHONDONTWRITEBYTECODE": "1"}
    if cpu.architecture == platform.machine():
        yield [*command, sys.executable], environment
        return
    root = root_of(cpu, cache)
    environment["PYTHONPATH"] += os.pathsep + str(root / "packages")
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder)  # where QEMU looks first for whatever the program opens
        for entry in root.iterdir():
            (prefix / entry.name).symlink_to(entry)
        (prefix / "proc").mkdir()
        (prefix / "proc/cpuinfo").write_text(cpu.cpuinfo)
        yield [*command, "-L", str(prefix), str(root / f"usr/bin/python{_PYTHON}")], environment


def root_of(cpu: Cpu, cache: Path) -> Path:
    """The root of a file system with Python for the processor, and the runtime's packages in ``packages``.

    Raises:
        CannotEmulateError: it cannot be made here.
    """
    versions = "-".join(version(package) for package in _PACKAGES)
    return kept(cache / f"{cpu.architecture}-{RELEASE}-{versions}", lambda folder: _make_root(folder, cpu))


def kept(path: Path, make: Callable[[Path], Path]) -> Path:
    """A folder of the cache, made by ``make`` in a temporary one if it is not there: whole, or not at all."""
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"making {path}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".", ignore_cleanup_errors=True) as folder:
            made = make(Path(folder))
            try:
                made.rename(path)
            except OSError:  # another process was faster
                if not path.is_dir():
                    raise
    return path


def _make_emulators(folder: Path) -> Path:
    """QEMU's programs for one process of another processor, statically linked."""
    host = _DEBIAN_NAMES.get(platform.machine())
    if sys.platform != "linux" or host is None:
        raise CannotEmulateError(f"QEMU emulates processes on Linux only, this is {sys.platform} {platform.machine()}")
    made = folder / "emulators"
    made.mkdir()
    root = unpack_packages(["qemu-user-static"], architecture=host, folder=folder)
    for architecture in _DEBIAN_NAMES:
        shutil.copy2(root / f"usr/bin/qemu-{architecture}-static", made)
    return made


def _make_root(folder: Path, cpu: Cpu) -> Path:
    """Python from Debian, and in ``packages`` the wheels that pip would install there."""
    root = unpack_packages(_DEBS, architecture=_DEBIAN_NAMES[cpu.architecture], folder=folder)
    pinned = [f"{package}=={version(package)}" for package in _PACKAGES]
    platforms = [f"--platform={name}_{cpu.architecture}" for name in _WHEELS]
    where = [f"--python-version={_PYTHON}", "--implementation=cp", "--only-binary=:all:", *platforms]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={root / 'packages'}", *where]
    done = subprocess.run([*command, *pinned], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotEmulateError(f"pip cannot install for {cpu.architecture}: {done.stderr.strip().splitlines()[-1]}")
    return root
