"""The installed packages that provide ``import onnxruntime``, and the commands that leave the right one of them.

`onnxruntime`, `onnxruntime-gpu` and their relatives install the same files, and no package manager knows that. Of two
of them, the one that was installed last has overwritten the other's files. To uninstall one of two deletes the files
of both: ``import onnxruntime`` then succeeds and gives an empty namespace. Only to uninstall all of them and to
install one again mends that; to install over what is there mends nothing, because pip finds the package installed.
"""

import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

GPU = "onnxruntime-gpu"
# Extras of onnxruntime-gpu that bring NVIDIA's libraries. Double quotes work in sh, PowerShell and Windows' cmd.
_GPU_TO_INSTALL = '"onnxruntime-gpu[cuda,cudnn]"'
# The packages on PyPI, in 2026, that are or were builds of ONNX Runtime. To ask for these names takes 3 ms; to read
# every distribution's metadata takes ten times as long, and more with each installed package.
_NAMES = (
    "onnxruntime",
    GPU,
    "onnxruntime-azure",
    "onnxruntime-cann",
    "onnxruntime-coreml",
    "onnxruntime-directml",
    "onnxruntime-gpu-extended",
    "onnxruntime-lite",
    "onnxruntime-migraphx",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
    "onnxruntime-silicon",
    "onnxruntime-training",
    "onnxruntime-training-cpu",
    "onnxruntime-trt-rtx",
    "onnxruntime-webgpu",
    "onnxruntime-windowsml",
    "ort-nightly",
    "ort-nightly-directml",
    "ort-nightly-gpu",
)


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package that provides ``import onnxruntime``.

    Attributes:
        name: its name on PyPI, such as ``onnxruntime-gpu``.
        version: its version.
        installer: the program that installed it, such as ``pip`` or ``uv``; an empty string if it is unknown.
    """

    name: str
    version: str
    installer: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def installed_packages() -> tuple[Package, ...]:
    """Return the installed packages that provide ``import onnxruntime``: the plain build first, then by name.

    A build from source that was installed without metadata, and the packages of a frozen application, are not found.
    """
    return tuple(package for name in _NAMES if (package := _package(name)))


def _package(name: str) -> Package | None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    return Package(name, found.version, (found.read_text("INSTALLER") or "").strip()) if _provides(found) else None


def _provides(found: Distribution) -> bool:
    """Whether a package holds onnxruntime itself: onnxruntime-qnn, from 2.0, holds only a provider for it."""
    record = found.read_text("RECORD")
    return record is None or "\nonnxruntime/__init__.py," in f"\n{record}"


def several(packages: tuple[Package, ...]) -> str | None:
    """Return what is wrong, and the commands that mend it, if more than one package provides onnxruntime; else None."""
    if len(packages) < 2:
        return None
    tool, others = _tool(packages), [package.name for package in packages if package.name != GPU]
    wanted = f"`{tool} install {_GPU_TO_INSTALL}` for CUDA, or `{tool} install {others[0]}`"
    return f"{_overwritten(packages)}; run {_uninstall(packages)}, then {wanted}"


def cuda_remedy() -> str:
    """Return why this onnxruntime has no CUDA, where that is known, and the commands that install one that has.

    It is the last part of an error: "CUDAExecutionProvider is not in this onnxruntime; " stands before it.
    """
    if sys.platform == "darwin":
        return "macOS has no CUDA: use another provider, or leave it out for the CPU"
    packages = installed_packages()
    install = f"`{_tool(packages)} install {_GPU_TO_INSTALL}`"
    if not packages:
        return f"no installed package provides it, as after a build from source: build it with CUDA, or run {install}"
    run = f"run {_uninstall(packages)}, then {install}"
    if len(packages) > 1:
        return f"{_overwritten(packages)}; {run}"
    if packages[0].name == GPU:
        return f"{packages[0]} is installed, but another package has overwritten or deleted its files; {run}"
    return run


def _overwritten(packages: tuple[Package, ...]) -> str:
    return f"{' and '.join(map(str, packages))} share their files, and the last one installed overwrote the others'"


def _uninstall(packages: tuple[Package, ...]) -> str:
    """The command that uninstalls all packages; uv never asks, and so takes no ``-y``."""
    tool, names = _tool(packages), " ".join(package.name for package in packages)
    return f"`{tool} uninstall {'' if tool.startswith('uv') else '-y '}{names}`"


def _tool(packages: tuple[Package, ...]) -> str:
    """The program to type: an environment of uv has no pip, unless one was installed there."""
    return "uv pip" if any(package.installer == "uv" for package in packages) else "pip"
