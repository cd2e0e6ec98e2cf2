"""Checks for optional packages: a missing one is an error that names the pip command, not a late ImportError."""

import importlib
from importlib.util import find_spec
from pathlib import Path

from embedge.errors import MissingExtraError


def require_export_extra() -> None:
    """Raise MissingExtraError unless the packages of ``embedge[export]`` are installed."""
    _require("export", ("onnx", "safetensors", "ml_dtypes"))


def require_optimum_extra() -> None:
    """Raise MissingExtraError unless the packages of ``embedge[optimum]`` are installed."""
    _require("optimum", ("optimum", "optimum.exporters.onnx", "torch"))


def has_optimum_extra() -> bool:
    """Whether optimum is installed, which traces the reference graph."""
    try:
        require_optimum_extra()
    except MissingExtraError:
        return False
    return True


def require_kernels() -> Path:
    """Return the path of embedge-kernels' library; raise MissingExtraError if the package is not installed."""
    _require("fast", ("embedge_kernels",))
    return Path(importlib.import_module("embedge_kernels").library_path())


def _require(extra: str, modules: tuple[str, ...]) -> None:
    for module in modules:
        if not _is_importable(module):
            raise MissingExtraError(f"{module} is not installed; run `pip install 'embedge[{extra}]'`")


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False
