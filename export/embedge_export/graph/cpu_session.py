"""Run a graph with ONNX Runtime on the CPU, for the exporter's own use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedge.errors import CheckpointError
from embedge.inference.onnxruntime_import import ort
from embedge_export.errors import translate_errors

_OTHER_OPERATORS = (
    "run `pip install -U embedge-kernels`, and `embedge export` with --force if the bundle is the older one"
)


class CpuSession:
    """A graph, opened with ONNX Runtime's CPU provider.

    Args:
        graph: the ONNX file.
        optimise: whether ONNX Runtime may rewrite the graph; with False every tensor keeps its name.
        library: a library with operators that the graph has; None if it has ONNX Runtime's own alone.

    Raises:
        CheckpointError: ONNX Runtime cannot open the file.
    """

    def __init__(self, graph: Path, *, optimise: bool, library: Path | None = None) -> None:
        self._graph = graph
        options = ort.SessionOptions()
        options.log_severity_level = 4  # log fatal errors only: others are raised
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        if library is not None:
            with translate_errors(
                CheckpointError, f"ONNX Runtime cannot load {library}", "run `pip install -U embedge-kernels`"
            ):
                options.register_custom_ops_library(str(library))
        with translate_errors(
            CheckpointError,
            f"ONNX Runtime cannot open {graph}",
            "make room in memory, or export again" if library is None else _OTHER_OPERATORS,
        ):
            self._session = ort.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
        self._inputs = {tensor.name for tensor in self._session.get_inputs()}

    def run(self, outputs: Sequence[str], feed: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Run the graph, and return some of its outputs.

        Args:
            outputs: the names of the outputs to return.
            feed: the inputs by name; one that the graph does not have is left out.

        Raises:
            CheckpointError: ONNX Runtime fails.
        """
        known = {name: value for name, value in feed.items() if name in self._inputs}
        shape = " x ".join(map(str, next(iter(feed.values())).shape))
        with translate_errors(
            CheckpointError, f"{self._graph} failed on {shape} tokens", "make room in memory, or export again"
        ):
            values: list[Any] = self._session.run(list(outputs), known)
            return values
