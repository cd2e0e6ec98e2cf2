"""The token ids of the texts that one session run embeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """The token ids of some texts.

    Attributes:
        members: positions of the texts in the input, [batch].
        ids: token ids, int64 [batch, tokens]; a text that is shorter than the batch is padded at its end.
        counts: number of tokens of each text, int64 [batch]; None if no text is padded.
    """

    members: Sequence[int]
    ids: NDArray[np.int64]
    counts: NDArray[np.int64] | None = None

    @property
    def mask(self) -> NDArray[np.int64]:
        """The attention mask, int64 [batch, tokens]: 1 for a token and 0 for padding.

        >>> TokenBatch([0, 1], np.int64([[7, 8], [9, 0]]), np.int64([2, 1])).mask.tolist()
        [[1, 1], [1, 0]]
        """
        if self.counts is None:
            return np.ones_like(self.ids)
        return (np.arange(self.ids.shape[1]) < self.counts[:, None]).astype(np.int64)
