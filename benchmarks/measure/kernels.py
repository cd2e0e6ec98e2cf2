"""The library with embedge's fused kernels, as its own exports describe it, and the options of sessions."""

import ctypes
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import onnxruntime as ort

from benchmarks.peers.table import KERNELS

MISSING = "embedge-kernels is not installed; `pip install ./kernels`"


def kernel_library() -> Path | None:
    """The path of the library of custom operators; None where it is not installed."""
    return Path(import_module(KERNELS).library_path()) if find_spec(KERNELS) else None


def instruction_sets() -> tuple[str, ...]:
    """The instruction sets that the kernels can use on this processor, the best first; none without the library."""
    path = kernel_library()
    return tuple(_ask(path, "embedge_kernels_instruction_sets").split(",")) if path else ()


def chosen_instruction_set(library: Path) -> str:
    """The instruction set that the kernels use in this process."""
    return _ask(library, "embedge_kernels_instruction_set")


def _ask(library: Path, function: str) -> str:
    call = getattr(ctypes.CDLL(str(library)), function)
    call.restype = ctypes.c_char_p
    answer: bytes = call()
    return answer.decode("ascii")


def one_core_options(library: Path | None = None) -> ort.SessionOptions:
    """The options with which the runtime opens a graph for one core: as it is, without a memory plan per shape."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_pattern = False
    if library is not None:
        options.register_custom_ops_library(str(library))
    return options
