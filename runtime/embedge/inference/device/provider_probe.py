"""Compare what an execution provider computes with what the CPU computes, once, when a bundle is loaded.

A provider may run all of a graph, and run it wrong, without an error. ONNX Runtime 1.27.0's WebGPU does, on a device
with 8 lanes in a subgroup (Mesa's lavapipe): its MultiHeadAttention is right for up to 8 tokens, and the vectors of
longer texts have a cosine of 0.998 to the CPU's. It also has no mask, so a padded batch fails.

CUDA is not compared, which saves a second session at load: with CUDA, the vectors of embedge 0.1.0 and of prototypes
were right on an H200 (docs/gpu.md). The other providers are many, and run on many devices.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embedge.bundle.manifest import Shape
from embedge.errors import BundleError, ProviderError
from embedge.inference.device.provider_errors import reason_of
from embedge.inference.providers import ON_CPU
from embedge.inference.token_batch import TokenBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.inference.session import Session

# float16 gives 0.999999 on all graphs that were tried, and the wrong attention above gives 0.9982.
_LEAST_COSINE = 0.9999
_TOKENS = 20  # of a text; more than the lanes of a subgroup on many devices
_IDS = 5, 21  # token ids that every vocabulary has


def compare_with_cpu(
    session: "Session", on_cpu: "Session", outputs: Mapping[str, Shape], *, provider: str, graph: Path, max_tokens: int
) -> None:
    """Raise ProviderError if the provider fails on one of two small batches, or gives other values than the CPU.

    Args:
        session: the graph with the provider.
        on_cpu: the same graph on the CPU.
        outputs: the outputs of the graph, and their shapes; see ``Manifest.outputs``.
        provider: the provider's name, for the message.
        graph: the ONNX file, for the message.
        max_tokens: the largest number of tokens of a text.
    """
    for batch in _batches(min(_TOKENS, max_tokens)):
        for output in outputs:
            expected = _text_values(on_cpu.run(batch, output), batch)
            try:
                found = _text_values(session.run(batch, output), batch)
            except BundleError as error:
                reason = reason_of(error.__cause__) if isinstance(error.__cause__, Exception) else str(error)
                kind = "padded " if batch.counts is not None else ""
                raise ProviderError(f"{provider} fails on a {kind}batch of {graph} ({reason}); {ON_CPU}") from error
            cosine = _cosine(found, expected)
            if not cosine >= _LEAST_COSINE:
                raise ProviderError(
                    f"{provider} computes {output} of {graph} wrong: its cosine to the CPU's is {cosine:.5f}; {ON_CPU}"
                )


def _batches(tokens: int) -> tuple[TokenBatch, TokenBatch]:
    """A batch without padding, and one whose second text is padded."""
    ids = np.random.default_rng(0).integers(*_IDS, (2, tokens))
    counts = np.array([tokens, (tokens + 1) // 2])
    return TokenBatch(range(2), ids), TokenBatch(range(2), ids, counts)


def _text_values(values: "NDArray[np.float32]", batch: TokenBatch) -> "NDArray[np.float64]":
    """The values of an output in one row, without those of padding."""
    of_tokens = values.shape[1] == batch.ids.shape[1]
    return (values[batch.mask == 1] if of_tokens else values).astype(np.float64).ravel()


def _cosine(one: "NDArray[np.float64]", other: "NDArray[np.float64]") -> float:
    """The cosine of two rows; 1 if both are zero, NaN if one of them is."""
    if not one.any() and not other.any():
        return 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(one @ other / np.sqrt((one @ one) * (other @ other)))
