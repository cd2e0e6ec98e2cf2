"""token_batch.py and pool.py: padded batches against texts one by one."""

from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge.bundle.manifest import Pooling
from embedge.inference.plan import Batch
from embedge.inference.pool import pool
from embedge.inference.token_batch import make_batch
from embedge.inference.tokens import Tokens

LISTS = st.lists(st.lists(st.integers(1, 60_000), min_size=1, max_size=12), min_size=1, max_size=8)


def tokens_of(lists: list[list[int]]) -> Tokens:
    starts = np.cumsum([0, *map(len, lists)])
    return Tokens(np.array(list(chain.from_iterable(lists)), np.uint16), starts.astype(np.int64), [])


@given(LISTS, st.integers(0, 3), st.randoms())
def test_a_batch_holds_the_ids_of_its_texts_and_padding(lists: list[list[int]], more: int, random: Any) -> None:
    members = list(range(len(lists)))
    random.shuffle(members)
    longest = max(map(len, lists)) + more
    batch = make_batch(tokens_of(lists), Batch(longest, tuple(members)), start=100)
    assert batch.members == [100 + member for member in members]
    assert batch.ids.tolist() == [lists[member] + [0] * (longest - len(lists[member])) for member in members]
    assert batch.mask.tolist() == [[1] * len(lists[m]) + [0] * (longest - len(lists[m])) for m in members]
    assert batch.ids.dtype == batch.mask.dtype == np.int64
    assert (batch.counts is None) == all(len(ids) == longest for ids in lists)


def test_ids_of_a_single_text_are_the_same_alone_and_among_others() -> None:
    assert make_batch(tokens_of([[5, 6]]), Batch(2, (0,))).ids.tolist() == [[5, 6]]
    assert make_batch(tokens_of([[1], [5, 6]]), Batch(2, (1,))).ids.tolist() == [[5, 6]]


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=6), more=st.integers(0, 3), seed=st.integers(0, 99))
def test_pooling_does_not_read_padding(pooling: Pooling, counts: list[int], more: int, seed: int) -> None:
    """Which may hold anything, NaN too."""
    rng = np.random.default_rng(seed)
    rows = [rng.standard_normal((count, 5), np.float32) for count in counts]
    hidden = np.full((len(rows), max(counts) + more, 5), np.nan, np.float32)
    for place, row in zip(hidden, rows, strict=True):
        place[: len(row)] = row
    expected = np.concatenate([pool(row[None], pooling) for row in rows])
    assert np.array_equal(pool(hidden, pooling, np.array(counts, np.int64)), expected)


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_rows_that_are_pooled_already_stay(pooling: Pooling) -> None:
    hidden = np.arange(6, dtype=np.float32).reshape(2, 1, 3)
    assert np.array_equal(pool(hidden, pooling, np.array([4, 9], np.int64)), hidden[:, 0])
