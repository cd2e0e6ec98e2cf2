"""Check a graph's outputs: those that it declares when it is loaded, and those of each run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embedge.bundle.manifest import BATCH, READ_TOKENS, TOKENS, Shape
from embedge.errors import BundleError
from embedge.inference.onnxruntime_import import ort

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.inference.device.pool import DeviceTensor
    from embedge.inference.token_batch import TokenBatch  # not here: it imports tokenizers, see load.py


def check_declared(session: ort.InferenceSession, outputs: Mapping[str, Shape], *, graph: Path) -> None:
    """Raise BundleError if a graph declares other outputs. It may leave sizes open, so each run is checked, too.

    Args:
        session: the graph.
        outputs: the outputs that it must have, and their shapes; see ``Manifest.outputs``.
        graph: the ONNX file, for the message.
    """
    try:
        declared = {output.name: output.shape for output in session.get_outputs()}
    except UnicodeDecodeError as error:  # the name of an output or of a size
        raise BundleError(f"{graph} has output names that are not UTF-8; download it again") from error
    for name, expected in outputs.items():
        if name not in declared:
            raise BundleError(f"{graph} has no output {name}, found {', '.join(declared)}; export the bundle again")
        width = (declared[name] or [None])[-1]
        if isinstance(width, int) and isinstance(expected[-1], int) and width != expected[-1]:
            raise BundleError(
                f"{graph} gives {name} of dimension {width}, and the bundle says {expected[-1]}; "
                "download or export the bundle again"
            )


def check_output(
    values: NDArray[np.float32] | DeviceTensor, output: str, shape: Shape, batch: TokenBatch, *, graph: Path
) -> None:
    """Raise BundleError for another type or shape: numpy would broadcast a single row to many texts.

    Args:
        values: what a run gave.
        output: the output's name, for the message.
        shape: the output's shape; see ``Manifest.outputs``.
        batch: the batch that was run.
        graph: the ONNX file, for the message.
    """
    texts, tokens = batch.ids.shape
    dtype = getattr(values, "dtype", None)  # an output that is no tensor is a list or a dictionary
    if dtype != np.float32 or not _fits(values.shape, shape, texts, tokens):
        kind = type(values).__name__ if dtype is None else f"{dtype} {list(values.shape)}"
        sizes = {BATCH: texts, TOKENS: tokens, READ_TOKENS: tokens}
        expected = [sizes[size] if isinstance(size, str) else size for size in shape]
        raise BundleError(
            f"{graph} gives {output} as {kind} for {texts} x {tokens} tokens, not float32 {expected}; "
            "download or export the bundle again"
        )


def _fits(shape: tuple[int, ...], expected: Shape, batch: int, tokens: int) -> bool:
    """Whether the shape of an output of ``batch`` texts of ``tokens`` tokens is the expected one."""
    if len(shape) != len(expected):
        return False
    for size, want in zip(shape, expected, strict=True):
        fits = (
            size == want
            or (want == BATCH and size == batch)
            or (want == TOKENS and size == tokens)
            or (want == READ_TOKENS and size in (tokens, 1))
        )
        if not fits:
            return False
    return True
