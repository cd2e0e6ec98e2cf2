"""The version of the code that makes a graph."""

import hashlib
from pathlib import Path

from embedge.version import __version__

_ROOMS = ("checkpoint", "graph", "int8")  # folders of this package


def code_version() -> str:
    """Return a hash of everything that decides about the bytes of an int8 graph, except for the checkpoint and options.

    It is over the source files, because a version number does not change during development, and over the versions of
    the packages that compute.
    """
    import numpy
    import onnx
    import tokenizers

    from embedge.inference.onnxruntime_import import ort

    digest = hashlib.sha256(__version__.encode())
    folder = Path(__file__).parent
    for path in sorted(path for room in _ROOMS for path in (folder / room).glob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    for package in (numpy, onnx, ort, tokenizers):
        digest.update(f"{package.__name__} {package.__version__}".encode())
    return digest.hexdigest()
