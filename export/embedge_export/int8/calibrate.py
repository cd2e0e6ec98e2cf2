"""Calibrate: run texts through the float32 graph, and record statistics of the inputs of each linear layer.

Smoothing and quantisation are fitted to these statistics.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from embedge.bundle.manifest import Side
from embedge.errors import BundleError, CheckpointError, InputValueError
from embedge.inference.plan import plan_batches
from embedge.inference.tokenise import Tokeniser
from embedge.progress import progress
from embedge_export.errors import reason_of
from embedge_export.graph.cpu_session import CpuSession
from embedge_export.graph.linear import linear_layers
from embedge_export.graph.write import write_graph

# How many rows are recorded as they are; of the others, only the sums and the range. The largest values of a larger
# sample would come from ever rarer tokens.
_SAMPLE_ROWS = 2048
_BATCH_TOKENS = 512

Ids = Sequence[NDArray[np.integer[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """The inputs of one linear layer on the calibration texts. A row is the input for one token.

    Attributes:
        mean: the mean of each input channel, float32 [inputs].
        covariance: the covariance of the input channels, float32 [inputs, inputs].
        rows: every n-th row, float32 [n, inputs].
        lowest: the smallest value of each input channel over all rows, float32 [inputs].
        highest: the largest value of each input channel over all rows, float32 [inputs].

    ``lowest`` and ``highest`` include the rows of the range texts (see ``calibrate``); the others do not.
    """

    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]
    rows: NDArray[np.float32]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    def smoothed(self, shift: NDArray[np.float32], scale: NDArray[np.float32]) -> Self:
        """Return the statistics of ``(row - shift) / scale`` for each row; both arguments are [inputs]."""
        return type(self)(
            mean=(self.mean - shift) / scale,
            covariance=self.covariance / (scale[:, None] * scale),
            rows=(self.rows - shift) / scale,
            lowest=(self.lowest - shift) / scale,
            highest=(self.highest - shift) / scale,
        )


def calibrate(
    model: ModelProto,
    texts: Sequence[str],
    *,
    tokenizer: Path,
    max_tokens: int,
    truncation_side: Side = "right",
    min_distinct: int = 1,
    range_texts: Sequence[str] = (),
) -> Mapping[str, Activations]:
    """Run texts through a float32 graph; return the activations of each linear layer by its name.

    Args:
        model: a graph from ``build_graph``; it is not changed.
        texts: some hundreds, as varied as the texts to embed. A long text is truncated, as in the runtime.
        tokenizer: the path of the checkpoint's ``tokenizer.json``.
        max_tokens: the longest input of the model.
        truncation_side: the side of a long text that is cut off.
        min_distinct: how many of the texts must differ after tokenisation.
        range_texts: more texts, which count for ``lowest`` and ``highest`` alone. If ``texts`` are few or of one kind,
            other texts would exceed their range.

    Raises:
        InputValueError: fewer than ``min_distinct`` texts differ.
        CheckpointError: an activation overflows, or the tokenizer or the graph fails on a text.
    """
    ids, range_ids = _tokenise((texts, range_texts), tokenizer, max_tokens, truncation_side)
    _check_distinct(ids, min_distinct)
    activations = _run(model, ids, range_ids)
    for name, layer in activations.items():
        if not np.isfinite(layer.covariance).all():
            raise CheckpointError(
                f"{name}: its input overflows float32 on the calibration texts, so int8 cannot be calibrated; "
                "get the checkpoint again"
            )
    return activations


def _tokenise(groups: Iterable[Sequence[str]], tokenizer: Path, max_tokens: int, side: Side) -> list[Ids]:
    """Return the token ids of each text, for each group of texts."""
    try:
        tokeniser = Tokeniser(tokenizer, max_tokens=max_tokens, truncation_side=side)
        return [tokeniser.encode(texts).ids for texts in groups]
    except BundleError as error:  # its own message says to export the bundle again
        reason = reason_of(error.__cause__ or error)
        raise CheckpointError(
            f"the tokenizer fails on the calibration texts ({reason}); get the checkpoint again"
        ) from error


def _run(model: ModelProto, ids: Ids, range_ids: Ids) -> dict[str, Activations]:
    """Run the graph on all texts; return the activations of each linear layer by its name."""
    inputs = {node.name: node.input[0] for node in linear_layers(model)}
    stride = max(1, sum(len(text) for text in ids) // _SAMPLE_ROWS)
    moments = {name: _Moments(stride) for name in inputs}
    with (
        _session_with_outputs(model, sorted(set(inputs.values()))) as session,
        progress(len(ids) + len(range_ids), None) as advance,
    ):
        for some, add in ((ids, _Moments.add), (range_ids, _Moments.extend_range)):
            for batch in _batches(some):
                values = session.run(list(inputs.values()), {"input_ids": batch, "attention_mask": batch * 0 + 1})
                for name, rows in zip(inputs, values, strict=True):
                    add(moments[name], rows.reshape(-1, rows.shape[-1]))
                advance(len(batch))
    return {name: layer.activations() for name, layer in moments.items()}


def _batches(ids: Ids) -> Iterator[NDArray[np.int64]]:
    """Yield the ids of each batch, int64 [texts, tokens]. Texts of a batch have one length, so nothing is padded."""
    for batch in plan_batches([len(text) for text in ids], batch_tokens=_BATCH_TOKENS):
        yield np.array([ids[member] for member in batch.members], np.int64)


def _check_distinct(ids: Ids, minimum: int) -> None:
    distinct = len({tuple(text.tolist()) for text in ids})
    if distinct < minimum:
        raise InputValueError(
            f"the {len(ids)} calibration texts have {distinct} different token sequences, at least {minimum} are "
            "needed; give --calibration some hundreds of different texts, or leave it out"
        )


class _Moments:
    """Adds up rows for their mean, covariance and range, and records every n-th.

    The sums are of differences to the first batch's mean. Sums of the rows themselves would lose digits in float32.
    """

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._count = 0
        self._sample: list[NDArray[np.float32]] = []

    def add(self, rows: NDArray[np.float32]) -> None:
        if not self._count:
            self._centre = rows.mean(axis=0)
            self._first = np.zeros_like(self._centre)
            self._second = np.zeros((rows.shape[1], rows.shape[1]), np.float32)
            self._lowest, self._highest = rows[0], rows[0]
        # The stride goes on across batches.
        self._sample.append(rows[-self._count % self._stride :: self._stride].copy())
        self._count += len(rows)
        self.extend_range(rows)
        centred = rows - self._centre
        self._first += centred.sum(axis=0)
        self._second += centred.T @ centred

    def extend_range(self, rows: NDArray[np.float32]) -> None:
        """Extend ``lowest`` and ``highest`` by more rows."""
        self._lowest = np.minimum(self._lowest, rows.min(axis=0))
        self._highest = np.maximum(self._highest, rows.max(axis=0))

    def activations(self) -> Activations:
        """Return the statistics of all rows so far."""
        offset = np.divide(self._first, self._count)
        covariance = np.divide(self._second, self._count) - np.multiply.outer(offset, offset)
        return Activations(
            mean=self._centre + offset,
            covariance=covariance,
            rows=np.concatenate(self._sample),
            lowest=self._lowest,
            highest=self._highest,
        )


@contextmanager
def _session_with_outputs(model: ModelProto, names: list[str]) -> Iterator[CpuSession]:
    """Open the graph with some of its tensors as outputs, not optimised.

    It is opened from a file, because protobuf cannot pass more than 2 GB.
    """
    outputs = len(model.graph.output)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "calibrate.onnx"
        model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
        try:
            write_graph(model, path)
        finally:
            del model.graph.output[outputs:]
        yield CpuSession(path, optimise=False)
