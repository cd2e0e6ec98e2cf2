"""Where what others raise becomes ours: the system's errors, huggingface_hub's, pip's and ONNX Runtime's."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from embedge.errors import CheckpointError, EmbedgeError

_LONGEST_REASON = 300  # characters


@contextlib.contextmanager
def ours(kind: type[EmbedgeError], fact: str, mend: str) -> Iterator[None]:
    """Raises an error of ours for whatever else the block raises: ``fact`` (reason); ``mend``."""
    try:
        yield
    except (EmbedgeError, ImportError, MemoryError):  # a package or memory that lacks is no fault of what is read
        raise
    except Exception as error:  # of the system, huggingface_hub, zipfile or ONNX Runtime, which share no other base
        raise kind(f"{fact} ({reason_of(error)}); {mend}") from error


def check_unicode(kind: type[EmbedgeError], name: str, *, what: str) -> None:
    """Raises an error of ours where a name, which to the system is any bytes, is none that a manifest can hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise kind(f"the name of {what} {name!r} is no Unicode; rename it") from error


def reason_of(error: BaseException) -> str:
    """What an error says, in one line of a bounded length."""
    said = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
    return said[:_LONGEST_REASON] if said and isinstance(said, str) else type(error).__name__


class CpuSession:
    """A graph on ONNX Runtime's CPU provider, as the exporter runs it.

    Args:
        graph: its file.
        optimise: whether ONNX Runtime may rewrite it.

    Raises:
        CheckpointError: it cannot be opened.
    """

    def __init__(self, graph: Path, *, optimise: bool) -> None:
        self._graph = graph
        options = ort.SessionOptions()
        options.log_severity_level = 4  # failures are raised, and so told already
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        with ours(CheckpointError, f"ONNX Runtime cannot open {graph}", "make room in memory, or export again"):
            self._session = ort.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
        self._inputs = {tensor.name for tensor in self._session.get_inputs()}

    def run(self, outputs: Sequence[str], feed: Mapping[str, NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        """Some outputs for inputs, those of ``feed`` that the graph has.

        Raises:
            CheckpointError: it fails.
        """
        known = {name: value for name, value in feed.items() if name in self._inputs}
        shape = " x ".join(map(str, next(iter(feed.values())).shape))
        with ours(CheckpointError, f"{self._graph} failed on {shape} tokens", "make room in memory, or export again"):
            found: list[Any] = self._session.run(list(outputs), known)
            return found
