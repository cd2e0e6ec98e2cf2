"""Token counts to batches for kernels that compute nothing for padding, so that texts of any lengths share a batch.

A pure function of the counts, as ``plan``: it sees neither texts nor sessions.
"""

from collections.abc import Sequence

from embedge.inference.plan import Batch

# Tokens of a batch, without padding. For 100 texts of ``benchmarks.mixed_lengths``, 512 is 4 % slower with both
# all-MiniLM-L6-v2 and bge-small's shape, and 256 is 3 % slower with bge-small's.
BUDGET = 384
# Padding takes no time, but it takes memory: a batch with its padding has at most so many times its token budget.
_MOST_PADDED = 2
# A text of more tokens fills the blocks of rows that the kernels work on (128 rows), so it gains nothing from company.
_ALONE = 128


def plan_unpadded(
    token_counts: Sequence[int], *, cores: int, batch_tokens: int | None = None, batch_size: int | None = None
) -> tuple[Batch, ...]:
    """Return batches of texts of similar length that hold every text once: the one with the most tokens first.

    A full batch is faster for each text than a text alone, because each weight comes from memory once for all rows of
    the batch. ``benchmarks.mixed_lengths`` compares it with batches of equal token count.

    Args:
        token_counts: tokens of each text, special ones included.
        cores: how many batches run at the same time. All of them get about the same share of the tokens.
        batch_tokens: token budget of one session run, padding not counted; a single longer text is a batch of its own.
            None takes a good value for a CPU, and leaves texts of more than 128 tokens alone.
        batch_size: the largest number of texts in one batch; None leaves it to the token budget.

    >>> plan_unpadded([3, 9, 4, 3], cores=1, batch_tokens=12)
    (Batch(tokens=4, members=(2, 0, 3)), Batch(tokens=9, members=(1,)))
    >>> [batch.members for batch in plan_unpadded([5, 5, 5, 5], cores=2)]
    [(0, 1), (2, 3)]
    """
    if len(token_counts) == 1:  # one query: as fast as can be
        return (Batch(token_counts[0], (0,)),)
    share = _share(sum(token_counts), cores, batch_tokens or BUDGET)
    batches: list[tuple[int, Batch]] = []
    members: list[int] = []
    used = longest = budget = 0
    for position in sorted(range(len(token_counts)), key=token_counts.__getitem__, reverse=True):
        tokens = token_counts[position]
        rows = len(members) + 1
        is_full = used + tokens > budget or rows * longest > _MOST_PADDED * budget or rows > (batch_size or rows)
        if members and (is_full or used + tokens / 2 >= share):
            batches.append((used, Batch(longest, tuple(members))))
            members, used = [], 0
        if not members:
            longest, budget = tokens, unpadded_budget(tokens, batch_tokens)
        members.append(position)
        used += tokens
    if members:
        batches.append((used, Batch(longest, tuple(members))))
    return tuple(batch for _, batch in sorted(batches, key=lambda pair: -pair[0]))


def unpadded_budget(tokens: int, batch_tokens: int | None) -> int:
    """Return the token budget of a batch whose longest text has ``tokens``; None takes a good value for a CPU."""
    if batch_tokens is not None:
        return batch_tokens
    return tokens if tokens > _ALONE else BUDGET


def _share(total: int, cores: int, budget: int) -> float:
    """Return the tokens of one batch if the cores run equally many batches, and each batch is within the budget."""
    rounds = -(-total // (budget * cores))
    return total / max(1, rounds * cores)
