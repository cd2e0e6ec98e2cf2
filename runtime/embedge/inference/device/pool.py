"""Pool hidden states in the memory of a GPU, and copy back one row of each text.

The hidden states of a batch are float32 [batch, tokens, dimension]: 50 MB for 16,384 tokens of a model of dimension
768, and the card waits while they are copied to the CPU. So they stay on the card, where a second session pools them,
with a graph of one or two nodes. Only that graph's output is copied. The second session has an arena of its own, to
which a ``gpu_mem_limit`` applies again.

There are two such graphs, in ``pooling_graphs``; ``tests/shared/pooling_graphs.py`` makes them. Their small inputs are
computed here, from the numbers of tokens:

- ``row.onnx`` takes one row of each text, for the poolings ``cls`` and ``last``.
- ``mean.onnx`` sets the rows of padding to zero, and multiplies by weights of 1 / tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import get_data
from typing import TYPE_CHECKING, Any

import numpy as np

from embedge.bundle.manifest import HIDDEN, Pooling
from embedge.errors import ProviderError
from embedge.inference.device.provider_options import for_session
from embedge.inference.forks import keep_in_children
from embedge.inference.onnxruntime_import import ort
from embedge.inference.open_session import first_line
from embedge.inference.providers import CPU, CUDA, ON_CPU, Provider
from embedge.inference.token_batch import TokenBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

Inputs = Mapping[str, "NDArray[Any]"]

_GRAPHS = Path(__file__).with_name("pooling_graphs")
# ONNX Runtime's name of a provider's memory. The CPU is here for the tests, which run the same code without a card.
_MEMORY = {CUDA: "cuda", CPU: "cpu"}


@dataclass(frozen=True, slots=True)
class DeviceTensor:
    """A tensor in the memory of a device.

    Attributes:
        value: ONNX Runtime's handle of it.
        dtype: numpy's type for float32, else ONNX Runtime's name of the type, such as ``tensor(float16)``.
        shape: its sizes; empty if it is no tensor.
    """

    value: ort.OrtValue
    dtype: np.dtype[np.float32] | str
    shape: tuple[int, ...]


class DevicePool:
    """Runs a graph on a device, and pools its hidden states there. Several threads may call it.

    Args:
        session: the graph, on ``provider``; it has an output ``last_hidden_state``.
        provider: the provider, which is CUDA.
        pooling: the bundle's pooling.

    Raises:
        ProviderError: the provider does not start a second time.
    """

    def __init__(self, session: ort.InferenceSession, provider: Provider, pooling: Pooling) -> None:
        self._session = session
        self._memory = _MEMORY[provider.name], int(provider.options.get("device_id", 0))
        graph, self._inputs = _POOLINGS[pooling]
        self._pooling_session = _open(_GRAPHS / graph, provider)

    def hidden_states(self, batch: TokenBatch) -> DeviceTensor:
        """Run the graph on a batch; return the hidden states, which should be float32 [batch, tokens, dimension]."""
        return self.run(batch, ())[0]

    def run(self, batch: TokenBatch, others: Sequence[str]) -> tuple[DeviceTensor, list[NDArray[np.float32]]]:
        """Run the graph on a batch once; return the hidden states on the device, and other outputs on the CPU.

        Args:
            batch: the token ids of some texts.
            others: the names of other outputs; they are copied to the CPU's memory.
        """
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", batch.ids)
        binding.bind_cpu_input("attention_mask", batch.mask)
        binding.bind_output(HIDDEN, *self._memory)
        for output in others:
            binding.bind_output(output)
        self._session.run_with_iobinding(binding)  # returns when the device is done
        value, *values = binding.get_outputs()  # in the order in which they were bound
        kind = value.data_type()
        hidden = DeviceTensor(
            value,
            np.dtype(np.float32) if kind == "tensor(float)" else kind,
            tuple(value.shape()) if value.is_tensor() else (),
        )
        return hidden, [other.numpy() for other in values]

    def pool(self, hidden: DeviceTensor, batch: TokenBatch) -> NDArray[np.float32]:
        """Return the vectors of texts, float32 [batch, 1, dimension], in the CPU's memory.

        Padding is not read, whatever is in it.

        Args:
            hidden: the hidden states of ``batch``, float32 [batch, tokens, dimension].
            batch: its token ids.
        """
        feed = {"hidden": hidden.value, **self._inputs(batch)}
        pooled: NDArray[np.float32] = self._pooling_session.run(["pooled"], feed)[0]
        return pooled


def _counts(batch: TokenBatch) -> NDArray[np.int64]:
    """The number of tokens of each text, int64 [batch]."""
    texts, tokens = batch.ids.shape
    return np.full(texts, tokens, np.int64) if batch.counts is None else batch.counts


def _first_row(batch: TokenBatch) -> Inputs:
    """The position of each text's first token, int64 [batch, 1, 1]."""
    return {"positions": np.zeros((len(batch.ids), 1, 1), np.int64)}


def _last_row(batch: TokenBatch) -> Inputs:
    """The position of each text's last token, int64 [batch, 1, 1]."""
    return {"positions": (_counts(batch) - 1)[:, None, None]}


def _mean_weights(batch: TokenBatch) -> Inputs:
    """Which rows are no padding, bool [batch, tokens, 1], and the weights, float32 [batch, 1, tokens]."""
    is_token = batch.mask.astype(bool)
    weights = np.where(is_token, np.float32(1) / _counts(batch)[:, None].astype(np.float32), np.float32(0))
    return {"is_token": is_token[:, :, None], "weights": weights[:, None]}


# The graph of each pooling, and the function that computes its inputs.
_POOLINGS: Mapping[Pooling, tuple[str, Callable[[TokenBatch], Inputs]]] = {
    "cls": ("row.onnx", _first_row),
    "last": ("row.onnx", _last_row),
    "mean": ("mean.onnx", _mean_weights),
}


def _read(graph: Path) -> bytes:
    """The bytes of a graph, also where this package is in a ZIP file, in which ONNX Runtime can open no path."""
    return get_data(__package__, f"{graph.parent.name}/{graph.name}") or b""


def _open(graph: Path, provider: Provider) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it would keep a plan for each shape that was ever run
    options.log_severity_level = 4  # fatal only: every error is raised, too
    # A mean is taken in float32. TF32, which is the provider's default for products, has 10 bits of fraction, not 23.
    exact = replace(provider, options={**provider.options, "use_tf32": "0"}) if provider.name == CUDA else provider
    try:
        session = ort.InferenceSession(_read(graph), options, providers=[for_session(exact)], enable_fallback=False)
        problem = None if session.get_providers()[0] == provider.name else "ONNX Runtime fell back to the CPU"
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        problem = first_line(error)
    else:
        keep_in_children(session)
    if problem:
        raise ProviderError(
            f"{provider.name} did not open {graph} ({problem}); free memory of the card if it ran out, or {ON_CPU}"
        )
    return session
