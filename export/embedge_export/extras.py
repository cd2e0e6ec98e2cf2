"""Optional packages: an error that names the pip command instead of an ImportError from the depths."""

from importlib.util import find_spec

from embedge.errors import MissingExtraError


def require_export_extra() -> None:
    """Raises MissingExtraError where the export extra is not installed."""
    _require("export", ("onnx", "safetensors", "ml_dtypes"))


def require_optimum_extra() -> None:
    """Raises MissingExtraError where the optimum extra is not installed."""
    _require("optimum", ("optimum", "optimum.exporters.onnx", "torch"))


def has_optimum_extra() -> bool:
    """Whether the reference can be made here."""
    try:
        require_optimum_extra()
    except MissingExtraError:
        return False
    return True


def _require(extra: str, modules: tuple[str, ...]) -> None:
    for module in modules:
        if not _importable(module):
            raise MissingExtraError(f"{module} is not installed; `pip install 'embedge[{extra}]'` brings it")


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False
