"""What a benchmark asks of an encoder, and what an adapter makes one of.

Light on purpose: an encoder is loaded in a process, and often in an environment, that has nothing but its library. It
is for the library to import numpy, when it wants it: a cold start is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TUNED = "-tuned"  # at the end of a variant's name: batches as many at once as there are cores, a thread for each


class Encoder(Protocol):
    """Text to vectors, by some library and some file."""

    @property
    def size(self) -> int:
        """Bytes of the files with the weights; the tokenizer's do not count, all have the same."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts, [n, dimension], in input order; the texts as they are, without a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What an adapter's ``load`` makes an encoder of: files that its ``build`` has made.

    Attributes:
        variant: which of the adapter's encoders.
        folder: where they are, and the checkpoint's ``tokenizer.json``.
        pooling: ``cls``, ``mean`` or ``last``.
        dimension: of a vector.
        threads: most cores to use.
    """

    variant: str
    folder: Path
    pooling: str
    dimension: int
    threads: int
