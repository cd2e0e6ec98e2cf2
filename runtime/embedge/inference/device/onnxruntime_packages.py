"""The installed packages that provide ``import onnxruntime``, and the commands that leave the right one of them.

onnxruntime, onnxruntime-gpu and their relatives install the same files, and no package manager knows that:

- Of two of them, the one installed last has overwritten the other's files.
- Uninstalling one of two deletes the files of both. ``import onnxruntime`` then succeeds, with an empty namespace.
- Installing the other again does nothing, because its metadata says that it is installed.

So the commands uninstall all of them, and then install one.
"""

import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from embedge.errors import ProviderError

_GPU = "onnxruntime-gpu"
# The packages on PyPI, in 2026, that are or were builds of ONNX Runtime. Asking for these names takes 3 ms. Reading
# the metadata of every installed package takes ten times as long, and more where more are installed.
NAMES = (
    "onnxruntime",
    _GPU,
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
# The build that has a provider. CoreML is missing here, because the plain build for macOS has it.
_BUILDS = {
    "CUDAExecutionProvider": _GPU,
    "TensorrtExecutionProvider": _GPU,
    "DmlExecutionProvider": "onnxruntime-directml",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "WebGpuExecutionProvider": "onnxruntime-webgpu",
}


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
    """Return the installed packages that provide ``import onnxruntime``, the plain build first.

    It finds neither a build without metadata nor the packages of a frozen application.
    """
    return tuple(package for name in NAMES if (package := _find(name)))


def _find(name: str) -> Package | None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    return Package(name, found.version, (found.read_text("INSTALLER") or "").strip()) if _provides(found) else None


def _provides(found: Distribution) -> bool:
    """Whether a package holds onnxruntime itself. From 2.0, onnxruntime-qnn holds only a provider for it."""
    record = found.read_text("RECORD")
    return record is None or "\nonnxruntime/__init__.py," in f"\n{record}"


def available_providers() -> list[str]:
    """Return the names of the providers that the imported onnxruntime has, its preferred one first.

    Raises:
        ProviderError: onnxruntime or its files are gone; the message has the commands that bring them back.
    """
    try:
        from embedge.inference.onnxruntime_import import ort
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise ProviderError("onnxruntime is not installed; run `pip install onnxruntime`") from error
    if ort.__file__ is None:
        raise ProviderError(files_are_gone())
    names: list[str] = ort.get_available_providers()
    return names


def files_are_gone() -> str:
    """Return the error for an onnxruntime without files: an import of it gives an empty namespace."""
    packages = installed_packages()
    wanted = packages[-1].name if packages else "onnxruntime"
    return (
        "onnxruntime is a folder without its modules, as after you uninstall one of two packages that share files; "
        f"{_how_to_keep(wanted, packages)}"
    )


def several(packages: tuple[Package, ...]) -> str | None:
    """Return what is wrong if more than one package provides onnxruntime, and how to keep one; else None."""
    if len(packages) < 2:
        return None
    wanted = _GPU if any(package.name == _GPU for package in packages) else packages[-1].name
    return f"{_overwritten(packages)}; to keep {wanted}, {_how_to_keep(wanted, packages)}"


def provider_remedy(provider: str) -> str:
    """Return why onnxruntime lacks a provider, where that is known, and the commands that install it.

    It is the last part of an error, after "CUDAExecutionProvider is not in this onnxruntime, which has ...; ".
    """
    wanted = _BUILDS.get(provider)
    if wanted is None:
        return "use one of these"
    if wanted == _GPU and sys.platform == "darwin":
        return "macOS has no CUDA, use one of these"
    packages = installed_packages()
    keep = _how_to_keep(wanted, packages)
    if not packages:
        return f"no installed package provides it, as after a build from source: build it with this provider, or {keep}"
    if len(packages) > 1:
        return f"{_overwritten(packages)}; {keep}"
    if packages[0].name == wanted:
        return f"{packages[0]} is installed, but another package has overwritten its files; {keep}"
    return keep


def install_cuda(version: str = "") -> str:
    """Return the command that installs onnxruntime-gpu with NVIDIA's libraries; ``version`` is like ``<1.27``."""
    return f"`{_tool(installed_packages())} install {_requirement(_GPU, version)}`"


def _requirement(package: str, version: str = "") -> str:
    """What to install. NVIDIA's libraries come with extras. Double quotes work in sh, PowerShell and Windows' cmd."""
    return f'"{package}[cuda,cudnn]{version}"' if package == _GPU else package


def _tool(packages: tuple[Package, ...]) -> str:
    """The program to type: pip, unless uv installed one of the packages. An environment of uv has no pip."""
    return "uv pip" if any(package.installer == "uv" for package in packages) else "pip"


def _overwritten(packages: tuple[Package, ...]) -> str:
    return f"{' and '.join(map(str, packages))} share their files, and the one installed last has overwritten the rest"


def _how_to_keep(wanted: str, packages: tuple[Package, ...]) -> str:
    """Return the commands that uninstall all packages and install one.

    In a project of uv, ``uv run`` would bring onnxruntime back, because embedge requires it.
    """
    tool, install = _tool(packages), _requirement(wanted)
    if tool != "pip" and wanted != "onnxruntime" and (Path(sys.prefix).parent / "uv.lock").exists():
        return (
            'write exclude-dependencies = ["onnxruntime"] below [tool.uv] in pyproject.toml, then run '
            f"`uv add --no-sync {install}`, then `uv sync --reinstall-package {wanted}`"
        )
    yes = " -y" if tool == "pip" else ""  # uv does not ask
    names = " ".join(package.name for package in packages)
    return (f"run `{tool} uninstall{yes} {names}`, then " if names else "run ") + f"`{tool} install {install}`"
