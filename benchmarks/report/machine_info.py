"""Describe the machine of a result: processor, versions of packages, and commit."""

import platform
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from embedge.inference.cpu import usable_cores

# The processor features that int8 and half-precision kernels use, as Linux names them.
_X86 = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16")
_ARM = ("asimddp", "i8mm", "bf16", "sve")
_LIBRARIES = ("ctranslate2", "fastembed", "nncf", "openvino", "sentence-transformers")
_CUDA = ("onnxruntime-gpu", *(f"nvidia-{name}" for name in ("cublas", "cudnn-cu12", "cudnn-cu13", "cuda-runtime")))
_PACKAGES = ("numpy", "onnx", "onnxruntime", "optimum-onnx", "tokenizers", "torch", "transformers", *_LIBRARIES, *_CUDA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where and when a result was measured.

    Attributes:
        processor: the model of the processor.
        features: the relevant processor features, as Linux names them; empty where the system does not list them.
        cores: the number of cores that this process may use.
        system: the operating system and architecture.
        python: the version of Python.
        packages: the versions of the relevant packages that are installed.
        commit: the commit of this checkout, with ``+`` if files have changed since; None outside a checkout.
        date: the date and time in UTC, to the minute.
    """

    processor: str
    features: tuple[str, ...]
    cores: int
    system: str
    python: str
    packages: dict[str, str]
    commit: str | None
    date: str


def this_machine() -> Machine:
    """Describe the machine and the environment of this process."""
    versions = {name: found for name in _PACKAGES if (found := _version(name))}
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    return Machine(
        processor=_processor(text),
        features=_features(text),
        cores=usable_cores(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages=versions,
        commit=_commit(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
    )


def describe(machine: Machine) -> str:
    """Describe a machine in one line."""
    features = ", ".join(machine.features) or "features unknown"
    return f"{machine.processor} ({features}), {machine.cores} cores, {machine.system}, {machine.date} UTC"


def _processor(cpuinfo: str) -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _features(cpuinfo: str) -> tuple[str, ...]:
    """The relevant features in the text of /proc/cpuinfo.

    >>> _features("flags : fpu avx2 avx512_vnni")
    ('avx2', 'avx512_vnni')
    """
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    words = set(found[1].split()) if found else set()
    return tuple(name for name in (*_X86, *_ARM) if name in words)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that contains this file."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
