"""Token counts to padded batches for a GPU. A pure function of the counts, as ``plan`` is for a CPU.

A GPU needs thousands of tokens at a time, and some of its kernels prepare themselves for each new shape. So texts of
similar length share a batch, shorter ones are padded, and batches have few different lengths.

A prototype was measured on an NVIDIA H200, with fp16 graphs in the shapes of bge-small and bge-base. Padded batches
were 1.7 to 4.6 times as fast as batches of equal length. A budget of 16k tokens was faster than 64k; with 64k,
multiples of 8 were faster than multiples of 32.
"""

from collections.abc import Sequence
from itertools import groupby

from embedge.inference.plan import Batch

_BUDGET = 16_384  # tokens in one batch, padding included
# Lengths are multiples of the first number, and above _FINE tokens of the second: there, 64 tokens are a small part.
_MULTIPLE, _COARSE_MULTIPLE, _FINE = 8, 64, 512
# What a run costs beside its tokens, in tokens: to cut off a batch must save more padding than that. It is an estimate.
# On the H200, a run of one short text took 1.7 to 1.9 ms, as long as some 1,500 tokens in large batches; but most of
# that is work of the CPU, which goes on while the card computes.
_TOKENS_OF_A_RUN = 512
# Attention with a mask may hold a score for each pair of tokens: rows * tokens^2 numbers for each head. Batches of
# texts above 512 tokens have fewer rows, so that there are never more scores than with 32 texts of 512 tokens.
_SCORES = 32 * 512**2


def plan_padded_batches(
    token_counts: Sequence[int],
    *,
    max_tokens: int,
    batch_tokens: int | None = None,
    batch_size: int | None = None,
) -> tuple[Batch, ...]:
    """Return batches that hold every text once, the one with the most tokens first.

    Texts are sorted by length, and the sorted list is cut where it costs least: each batch costs its tokens, padding
    included, and a constant for the run.

    Args:
        token_counts: tokens of each text, special ones included.
        max_tokens: the model's limit; no batch is longer.
        batch_tokens: token budget of one session run, padding included; a single longer text is a batch of its own.
            None takes 16,384, and less for texts above 512 tokens.
        batch_size: the largest number of texts in one batch; None leaves it to the token budget.

    Returns:
        The batches. A text alone is not padded. Within a batch, longer texts come first.

    >>> plan_padded_batches([3, 9, 11, 3], max_tokens=512)
    (Batch(tokens=16, members=(2, 1, 0, 3)),)
    >>> plan_padded_batches([3, 9, 11, 3], max_tokens=512, batch_size=2)
    (Batch(tokens=16, members=(2, 1)), Batch(tokens=8, members=(0, 3)))
    """
    order = sorted(range(len(token_counts)), key=lambda position: -token_counts[position])
    lengths = [padded_length(token_counts[position], max_tokens) for position in order]
    batches: list[Batch] = []
    for first, end in _cut(lengths, batch_tokens, batch_size):
        while first < end:
            rows = min(_rows(lengths[first], batch_tokens, batch_size), end - first)
            members = tuple(order[first : first + rows])
            batches.append(Batch(token_counts[members[0]] if rows == 1 else lengths[first], members))
            first += rows
    return tuple(sorted(batches, key=lambda batch: -batch.total_tokens))


def padded_length(tokens: int, max_tokens: int) -> int:
    """Return the length of a row for a text: the next multiple of 8, above 512 tokens of 64, at most ``max_tokens``.

    >>> [padded_length(tokens, 8192) for tokens in (8, 9, 512, 513)], padded_length(510, 510)
    ([8, 16, 512, 576], 510)
    """
    multiple = _MULTIPLE if tokens <= _FINE else _COARSE_MULTIPLE
    return max(tokens, min(-(-tokens // multiple) * multiple, max_tokens))


def _rows(length: int, batch_tokens: int | None, batch_size: int | None) -> int:
    """The largest number of rows of a batch of this length."""
    budget = batch_tokens or min(_BUDGET, max(length, _SCORES // length))
    rows = max(1, budget // length)
    return min(rows, batch_size or rows)


def _cut(lengths: Sequence[int], batch_tokens: int | None, batch_size: int | None) -> list[tuple[int, int]]:
    """Cut a falling list of lengths where it costs least; return the first and end position of each part.

    This is the shortest path from the end of the list to its start, by dynamic programming over the distinct lengths.
    """
    groups = [(length, len(list(rows))) for length, rows in groupby(lengths)]
    starts = [0]
    for _, count in groups:
        starts.append(starts[-1] + count)
    cost = [0.0] * (len(groups) + 1)  # of the texts from each group on
    cut = [len(groups)] * (len(groups) + 1)
    for first in reversed(range(len(groups))):
        length = groups[first][0]
        rows = _rows(length, batch_tokens, batch_size)
        cost[first] = float("inf")
        for end in range(first + 1, len(groups) + 1):
            texts = starts[end] - starts[first]
            runs = -(-texts // rows)  # rounded up
            total = texts * length + runs * _TOKENS_OF_A_RUN + cost[end]
            if total < cost[first]:
                cost[first], cut[first] = total, end
    parts, first = [], 0
    while first < len(groups):
        parts.append((starts[first], starts[cut[first]]))
        first = cut[first]
    return parts
