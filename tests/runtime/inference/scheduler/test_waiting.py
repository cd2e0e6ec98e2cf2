"""The queue alone: which texts run next, and which share a batch."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge.inference.device.schedule import DeviceSchedule
from embedge.inference.options import CallOptions
from embedge.inference.plan import rows_of_batch
from embedge.inference.schedule import CpuSchedule
from embedge.inference.scheduler.request import Chunk, Request
from embedge.inference.scheduler.waiting import Piece, WaitingTexts
from embedge.inference.tokens import Tokens
from embedge.inference.unpadded_schedule import UnpaddedSchedule


def request_of(
    counts: Sequence[int],
    *,
    batch_size: int | None = None,
    output: str = "hidden",
    schedule: CpuSchedule | None = None,
) -> tuple[Request, Any]:
    """A request with texts of these token counts, and its planned batches."""
    options = CallOptions.check(batch_tokens=None, batch_size=batch_size, on_truncate="warn", show_progress_bar=False)
    job = SimpleNamespace(lengths=counts, options=options, collector=SimpleNamespace(outputs=(output,)))
    nothing = cast(Any, None)
    return Request(cast(Any, job), nothing, nothing, lambda count: None), (schedule or CpuSchedule()).plan(
        counts, options
    )


def add(queue: WaitingTexts, counts: Sequence[int], **options: Any) -> Request:
    request, plan = request_of(counts, **options)
    starts = np.concatenate([[0], np.cumsum(counts)])
    queue.add(Chunk(request, Tokens(np.zeros(sum(counts), np.uint16), starts, []), 0), plan)
    return request


def taken(queue: WaitingTexts, *, share: bool = True) -> list[tuple[Request, int, list[int]]]:
    return [(piece.chunk.request, piece.tokens, list(piece.members)) for piece in queue.take(share=share)]


@pytest.fixture
def queue() -> WaitingTexts:
    return WaitingTexts(CpuSchedule())


def test_texts_of_equal_token_count_share_a_batch(queue: WaitingTexts) -> None:
    first, _, third = add(queue, [10]), add(queue, [11]), add(queue, [10, 10])
    assert taken(queue) == [(first, 10, [0]), (third, 10, [0, 1])]
    assert (queue.texts, queue.tokens) == (1, 11)


def test_with_the_kernels_texts_of_any_token_count_share_a_batch() -> None:
    queue = WaitingTexts(UnpaddedSchedule(cores=2))
    first, second, third = add(queue, [10]), add(queue, [11]), add(queue, [30])
    assert taken(queue) == [(first, 10, [0]), (second, 11, [0]), (third, 30, [0])]
    for _ in range(100):
        add(queue, [10])
    assert sum(tokens for _, tokens, _ in taken(queue)) == 380


def test_with_the_kernels_a_full_batch_gets_no_more_and_padding_counts_nothing() -> None:
    """A planned batch may have more tokens with its padding than there is room."""
    queue = WaitingTexts(UnpaddedSchedule(cores=1))
    counts = [60] + [28] * 16
    for texts in (counts, [16] * 64, counts):
        add(queue, texts, schedule=UnpaddedSchedule(1))
    assert queue.tokens == 2 * sum(counts) + 16 * 64
    while queue:
        batch = queue.take(share=True)
        assert all(piece.members for piece in batch)
        assert sum(piece.total_tokens for piece in batch) <= 384
    assert queue.tokens == 0


def test_no_batch_is_shared_while_a_slot_is_idle(queue: WaitingTexts) -> None:
    first = add(queue, [10])
    add(queue, [10])
    assert taken(queue, share=False) == [(first, 10, [0])]


def test_a_shared_batch_is_no_larger_than_a_planned_one(queue: WaitingTexts) -> None:
    for _ in range(100):
        add(queue, [10])
    assert len(taken(queue)) == rows_of_batch(10, batch_tokens=None, batch_size=None)


def test_requests_with_other_options_or_outputs_share_no_batch(queue: WaitingTexts) -> None:
    first = add(queue, [10])
    add(queue, [10], batch_size=2)
    add(queue, [10], output="scores")
    assert taken(queue) == [(first, 10, [0])]


def test_short_texts_run_before_long_ones(queue: WaitingTexts) -> None:
    long, short = add(queue, [200]), add(queue, [10])
    assert [taken(queue)[0][0] for _ in range(2)] == [short, long]


def test_a_long_text_does_not_starve(queue: WaitingTexts) -> None:
    long = add(queue, [200])
    passed = 0  # tokens
    add(queue, [10])
    while taken(queue)[0][0] is not long:
        passed += 10
        add(queue, [10])
    assert 100 < passed <= 4 * 200


def test_a_large_request_does_not_hold_up_a_small_one(queue: WaitingTexts) -> None:
    add(queue, [20] * 10_000)
    taken(queue)
    small = add(queue, [20])
    assert small in [request for request, _, _ in taken(queue) + taken(queue)]


def test_a_removed_request_leaves_the_queue(queue: WaitingTexts) -> None:
    removed, kept = add(queue, [10, 10, 12]), add(queue, [10])
    queue.remove(removed)
    assert (queue.texts, queue.tokens) == (1, 10)
    assert taken(queue) == [(kept, 10, [0])]
    assert taken(queue) == []


def test_the_only_request_leaves_as_a_whole(queue: WaitingTexts) -> None:
    only = add(queue, [10, 12])
    assert queue.take_only_request(fewer_than=2) == []
    pieces = queue.take_only_request(fewer_than=3)
    assert [(piece.chunk.request, piece.tokens) for piece in pieces] == [(only, 12), (only, 10)]
    assert not queue
    add(queue, [10])
    add(queue, [10])
    assert queue.take_only_request(fewer_than=3) == []


def test_on_a_gpu_any_texts_are_planned_together() -> None:
    queue = WaitingTexts(DeviceSchedule(512))
    first, second = add(queue, [30]), add(queue, [10])
    assert {request for request, _, _ in taken(queue)} == {first, second}


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(1, 40), min_size=1, max_size=30)), max_size=20))
def test_every_text_leaves_the_queue_once(steps: list[tuple[bool, list[int]]]) -> None:
    queue = WaitingTexts(CpuSchedule())
    expected: dict[Request, int] = {}
    seen: dict[tuple[Request, int], int] = {}

    def note(pieces: list[Piece]) -> None:
        assert len({piece.tokens for piece in pieces}) <= 1
        for piece in pieces:
            for member in piece.members:
                key = piece.chunk.request, member
                seen[key] = seen.get(key, 0) + 1

    for takes, counts in steps:
        expected[add(queue, counts)] = len(counts)
        if takes:
            note(queue.take(share=True))
    while queue:
        note(queue.take(share=True))
    assert seen == {(request, member): 1 for request, texts in expected.items() for member in range(texts)}
    assert (queue.texts, queue.tokens) == (0, 0)
