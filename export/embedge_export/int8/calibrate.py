"""Texts through the float32 graph: what enters every linear layer. Smoothing and rounding are fitted to it."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
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

# Rows kept as they are, beside the sums over all. The extremes of more would follow ever rarer tokens.
_SAMPLE = 2048
_BATCH_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """What enters one linear layer on the calibration texts; a row is a token.

    Attributes:
        mean: of each input channel, float32 [inputs].
        covariance: of the input channels, float32 [inputs, inputs].
        rows: some of the rows, evenly taken, float32 [n, inputs].
        lowest: of all rows, by input channel, float32 [inputs]; where texts were given for the reach, of those, too.
        highest: the same.
    """

    mean: NDArray[np.float32]
    covariance: NDArray[np.float32]
    rows: NDArray[np.float32]
    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]

    def smoothed(self, shift: NDArray[np.float32], scale: NDArray[np.float32]) -> Self:
        """The same once every channel, [inputs], is shifted down and then divided by its scale."""
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
    fewest: int = 1,
    reach: Sequence[str] = (),
) -> Mapping[str, Activations]:
    """Run texts through a float32 graph of ``graph.build_graph``; activations by the linear layer's name.

    Args:
        model: the graph, left as it is.
        texts: some hundreds, as varied as what will be embedded. Longer ones are cut, as the runtime will cut them.
        tokenizer: path of the checkpoint's ``tokenizer.json``.
        max_tokens: of the model.
        truncation_side: the end of a long text that is cut off.
        fewest: different texts, to the tokenizer, that will do.
        reach: more texts, for the extremes alone: those of few texts, or of a narrow kind, are beaten by the next text.

    Raises:
        InputValueError: there are fewer.
        CheckpointError: an activation overflows, or the tokenizer or the graph fails on a text.
    """
    try:
        tokeniser = Tokeniser(tokenizer, max_tokens=max_tokens, truncation_side=truncation_side)
        ids, others = (tokeniser.encode(some).ids for some in (texts, reach))
    except BundleError as error:  # which says to export the bundle again
        reason = reason_of(error.__cause__ or error)
        raise CheckpointError(
            f"the tokenizer fails on the calibration texts ({reason}); get the checkpoint again"
        ) from error
    _check_distinct(ids, fewest)
    inputs = {node.name: node.input[0] for node in linear_layers(model)}
    stride = max(1, sum(len(text) for text in ids) // _SAMPLE)
    sums = {name: _Sums(stride) for name in inputs}
    with (
        _session_with_outputs(model, sorted(set(inputs.values()))) as session,
        progress(len(ids) + len(others), None) as advance,
    ):
        for some, add in ((ids, _Sums.add), (others, _Sums.reach)):
            for batch in _batches(some):
                found = session.run(list(inputs.values()), {"input_ids": batch, "attention_mask": batch * 0 + 1})
                for name, rows in zip(inputs, found, strict=True):
                    add(sums[name], rows.reshape(-1, rows.shape[-1]))
                advance(len(batch))
    activations = {name: moments.activations() for name, moments in sums.items()}
    for name, total in activations.items():
        if not np.isfinite(total.covariance).all():
            raise CheckpointError(
                f"{name}: its input overflows float32 on the calibration texts, so int8 cannot be fitted; "
                "get the checkpoint again"
            )
    return activations


def _batches(ids: Sequence[NDArray[np.integer[Any]]]) -> Iterator[NDArray[np.int64]]:
    for batch in plan_batches([len(text) for text in ids], batch_tokens=_BATCH_TOKENS):
        yield np.array([ids[member] for member in batch.members], np.int64)


def _check_distinct(ids: Sequence[NDArray[np.integer[Any]]], fewest: int) -> None:
    distinct = len({tuple(text.tolist()) for text in ids})
    if distinct < fewest:
        raise InputValueError(
            f"the {len(ids)} calibration texts are {distinct} different ones to the tokenizer; at least {fewest} are "
            "needed, better hundreds, or leave --calibration out"
        )


class _Sums:
    """Moments of rows, about the first batch's mean so that float32 holds them; their extremes; every n-th row."""

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._count = 0
        self._kept: list[NDArray[np.float32]] = []

    def add(self, rows: NDArray[np.float32]) -> None:
        if not self._count:
            self._centre = rows.mean(axis=0)
            self._first = np.zeros_like(self._centre)
            self._second = np.zeros((rows.shape[1], rows.shape[1]), np.float32)
            self._lowest, self._highest = rows[0], rows[0]
        self._kept.append(rows[-self._count % self._stride :: self._stride].copy())
        self._count += len(rows)
        self.reach(rows)
        moved = rows - self._centre
        self._first += moved.sum(axis=0)
        self._second += moved.T @ moved

    def reach(self, rows: NDArray[np.float32]) -> None:
        """The extremes of some more rows."""
        self._lowest = np.minimum(self._lowest, rows.min(axis=0))
        self._highest = np.maximum(self._highest, rows.max(axis=0))

    def activations(self) -> Activations:
        """Of all rows so far."""
        offset = self._first / self._count
        covariance = self._second / self._count - np.multiply.outer(offset, offset)
        return Activations(
            mean=self._centre + offset,
            covariance=covariance,
            rows=np.concatenate(self._kept),
            lowest=self._lowest,
            highest=self._highest,
        )


@contextmanager
def _session_with_outputs(model: ModelProto, names: list[str]) -> Iterator[CpuSession]:
    """The graph, run as it is, with some of its tensors as outputs. By way of a file: it may be more than 2 GB."""
    outputs = len(model.graph.output)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "calibrate.onnx"
        model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
        try:
            write_graph(model, path)
        finally:
            del model.graph.output[outputs:]
        yield CpuSession(path, optimise=False)
