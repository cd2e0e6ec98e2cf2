"""The interface of an encoder, and the kit from which an adapter loads one.

This module imports nothing but the standard library. An encoder is loaded in a process, often in a virtual environment,
that has only its library; and the cold start of that process is measured, so the library decides when to import numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TUNED = "-tuned"  # the suffix of a variant that runs one single-threaded batch on each core


class Encoder(Protocol):
    """Turns texts into vectors with one library and one file."""

    @property
    def size(self) -> int:
        """Bytes of the files with the weights. The tokenizer is the same for all encoders and does not count."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order, without a prompt."""


class BatchedEncoder(Encoder, Protocol):
    """An encoder whose batches a caller can size."""

    def encode(self, texts: Sequence[str], batch: int | None = None) -> NDArray[np.float32]:
        """As ``Encoder.encode``, with batches of that size, in the library's own unit; None means its default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The files of an encoder: an adapter's ``build`` writes them, and its ``load`` reads them.

    Attributes:
        variant: the encoder, of those that the adapter has.
        folder: the folder of the files, with the checkpoint's ``tokenizer.json``.
        pooling: ``cls``, ``mean`` or ``last``.
        dimension: the length of a vector.
        threads: the number of cores to use at most.
        device: ``cpu``, or a card, such as ``cuda`` or ``cuda:1``, for the adapters that can use one.
    """

    variant: str
    folder: Path
    pooling: str
    dimension: int
    threads: int
    device: str = "cpu"
