"""Token counts to batches for a CPU. A pure function of the counts: it sees neither texts nor sessions."""

from collections.abc import Sequence
from dataclasses import dataclass

# Token budgets of a batch. Texts of more than _SHORT tokens are as fast with the smaller one, which takes less memory.
_SHORT = 64
_BUDGET_OF_SHORT, _BUDGET_OF_LONG = 512, 384


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that one session run embeds together.

    Attributes:
        tokens: number of tokens of a row. For a plain graph on a CPU it is the token count of each of the texts, so a
            batch has neither padding nor mask. For the kernels (see ``unpadded_plan``) it is the largest token count,
            and for a GPU (see ``padded_plan``) at least that.
        members: positions of its texts in the input.
    """

    tokens: int
    members: tuple[int, ...]

    @property
    def total_tokens(self) -> int:
        """Number of tokens of all its rows, padding included."""
        return self.tokens * len(self.members)


def total_tokens(plan: Sequence[Batch]) -> int:
    """Return the number of tokens of all texts of a plan."""
    return sum(batch.total_tokens for batch in plan)


def plan_batches(
    token_counts: Sequence[int], *, batch_tokens: int | None = None, batch_size: int | None = None
) -> tuple[Batch, ...]:
    """Return batches that hold every text once: the one with the most tokens first, texts of one length in input order.

    A batch holds texts of *equal* token count. So nothing is computed for padding, attention needs no mask, and a
    text's arithmetic does not depend on a longer neighbour: its vector is the same in a batch and alone.

    Args:
        token_counts: tokens of each text, special ones included.
        batch_tokens: token budget of one session run; a single longer text is a batch of its own. None takes a good
            value for a CPU.
        batch_size: the largest number of texts in one batch; None leaves it to the token budget.

    Returns:
        The batches. The largest comes first, so that memory peaks at the start, a progress bar does not underestimate
        the remaining time, and cores that take one batch after the other end at nearly the same time.

    >>> plan_batches([3, 9, 3, 3], batch_tokens=6)
    (Batch(tokens=9, members=(1,)), Batch(tokens=3, members=(0, 2)), Batch(tokens=3, members=(3,)))
    >>> [batch.tokens for batch in plan_batches([3, 4, 3], batch_tokens=6)]
    [3, 4]
    """
    members: dict[int, list[int]] = {}
    for position, tokens in enumerate(token_counts):
        members.setdefault(tokens, []).append(position)
    batches: list[Batch] = []
    for tokens in sorted(members, reverse=True):
        rows = rows_of_batch(tokens, batch_tokens=batch_tokens, batch_size=batch_size)
        positions = members[tokens]
        batches += [Batch(tokens, tuple(positions[i : i + rows])) for i in range(0, len(positions), rows)]
    return tuple(sorted(batches, key=lambda batch: -batch.total_tokens))


def rows_of_batch(tokens: int, *, batch_tokens: int | None, batch_size: int | None) -> int:
    """Return the largest number of texts of one token count in a batch; see ``plan_batches`` for the arguments.

    >>> rows_of_batch(3, batch_tokens=10, batch_size=None), rows_of_batch(3, batch_tokens=10, batch_size=2)
    (3, 2)
    """
    default = _BUDGET_OF_SHORT if tokens <= _SHORT else _BUDGET_OF_LONG
    rows = max(1, (default if batch_tokens is None else batch_tokens) // max(1, tokens))
    return min(rows, batch_size or rows)
