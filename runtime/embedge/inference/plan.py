"""Token counts to batches. Pure: no text, no session."""

from collections.abc import Sequence
from dataclasses import dataclass

# Token budgets. Texts of more tokens than _SHORT are as fast in the smaller one, which takes less memory.
_SHORT = 64
_BUDGET_OF_SHORT, _BUDGET_OF_LONG = 512, 384


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that go through the session together.

    Attributes:
        tokens: token count of each of its texts; the same for all, so a batch has neither padding nor mask.
        members: positions of its texts in the input.
    """

    tokens: int
    members: tuple[int, ...]

    @property
    def total_tokens(self) -> int:
        """Of all its texts."""
        return self.tokens * len(self.members)


def total_tokens(plan: Sequence[Batch]) -> int:
    """Of all texts of a plan."""
    return sum(batch.total_tokens for batch in plan)


def plan_batches(
    token_counts: Sequence[int], *, batch_tokens: int | None = None, batch_size: int | None = None
) -> tuple[Batch, ...]:
    """Every text in exactly one batch, the batch of most tokens first, texts of one length in input order.

    A batch holds texts of *equal* token count. Nothing is then computed for padding, attention needs no mask, and no
    text's arithmetic depends on a longer neighbour: its vector is the one it would have alone.

    Args:
        token_counts: tokens of each text, special ones included.
        batch_tokens: token budget of one session run; a single text longer than that is a batch of its own. None is a
            good value for a CPU.
        batch_size: most texts in one batch; None leaves that to the budget.

    Returns:
        The batches. The largest first, so that memory peaks at the start, the remaining time is never underestimated,
        and cores that take one after the other end at nearly the same time.

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
        default = _BUDGET_OF_SHORT if tokens <= _SHORT else _BUDGET_OF_LONG
        rows = max(1, (default if batch_tokens is None else batch_tokens) // max(1, tokens))
        rows = min(rows, batch_size or rows)
        positions = members[tokens]
        batches += [Batch(tokens, tuple(positions[i : i + rows])) for i in range(0, len(positions), rows)]
    return tuple(sorted(batches, key=lambda batch: -batch.total_tokens))
