"""The path of embedge's ONNX Runtime custom operators. embedge loads them by itself where this package is installed."""

import sys
from pathlib import Path

__all__ = ["__version__", "library_path"]
__version__ = "0.1.0"

_NAMES = {"win32": "embedge_kernels.dll", "darwin": "libembedge_kernels.dylib"}


def library_path() -> Path:
    """Return the library's path, for ``SessionOptions.register_custom_ops_library``.

    Raises:
        FileNotFoundError: this package was copied without its compiled part.
    """
    path = Path(__file__).with_name(_NAMES.get(sys.platform, "libembedge_kernels.so"))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run `pip install --force-reinstall embedge-kernels`")
    return path
