"""The token ids of the texts that one session run embeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedge.inference.plan import Batch
from embedge.inference.tokens import Tokens

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


def make_batch(tokens: Tokens, batch: Batch, *, start: int = 0) -> TokenBatch:
    """Return the token ids of a batch, padded at the end where a text is shorter than the batch.

    The padding has the id 0. Any id would do: the mask hides it, and as it comes last, it does not change the positions
    of a text's tokens, which RoBERTa counts.

    Args:
        tokens: the token ids of the planned texts.
        batch: the positions of the batch's texts in ``tokens``, and its length.
        start: position of the first text of ``tokens`` in the input.

    >>> tokens = Tokens(np.uint16([7, 8, 9]), np.int64([0, 2, 3]), [])
    >>> make_batch(tokens, Batch(2, (1, 0))).ids.tolist()
    [[9, 0], [7, 8]]
    """
    chosen = list(batch.members)
    members = [start + member for member in chosen] if start else chosen
    if len(tokens) == 1 and len(tokens.values) == batch.tokens:  # one query: with as few numpy calls as possible
        return TokenBatch(members, tokens.values[None].astype(np.int64))
    first = tokens.starts[chosen]
    counts = tokens.starts[1:][chosen] - first
    places = first[:, None] + np.arange(batch.tokens)
    if (counts == batch.tokens).all():
        return TokenBatch(members, tokens.values[places].astype(np.int64))
    inside = np.arange(batch.tokens) < counts[:, None]
    ids = np.zeros(places.shape, np.int64)
    ids[inside] = tokens.values[places[inside]]
    return TokenBatch(members, ids, counts)
