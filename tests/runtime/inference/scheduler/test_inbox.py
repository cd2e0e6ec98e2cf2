"""inbox.py: which requests are tokenised together."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from embedge import Bundle, Embedder
from embedge.inference.options import CallOptions
from embedge.inference.scheduler.inbox import Inbox
from embedge.inference.scheduler.request import Request

OPTIONS = CallOptions.check(batch_tokens=None, on_truncate="ignore", show_progress_bar=False)


@contextmanager
def inbox_of(model: Embedder, *calls: tuple[str, Sequence[str]]) -> Iterator[Inbox]:
    """An inbox with calls, each a prompt and its texts."""
    inbox, loop = Inbox(), asyncio.new_event_loop()
    try:
        for prompt, texts in calls:
            job: Any = model._engine.jobs._of_texts(list(texts), prompt, None, OPTIONS)  # type: ignore[arg-type]
            inbox.add(Request(job, loop, loop.create_future(), lambda count: None))
        yield inbox
    finally:
        loop.close()


@pytest.fixture(scope="module")
def model(tiny_bundle: Bundle) -> Embedder:
    return Embedder(tiny_bundle.path)


def take(inbox: Inbox, *, among: int = 1, long: bool = True) -> list[int]:
    """How many characters each of the requests has that are taken."""
    return [sum(request.job.lengths) for request in inbox.take(long=long, among=among)]


def test_short_requests_are_divided_among_threads(model: Embedder) -> None:
    with inbox_of(model, *[("", ["a" * number]) for number in range(1, 8)]) as inbox:
        assert take(inbox, among=2) == [1, 2, 3, 4]
        assert take(inbox, among=2) == [5, 6]
        assert take(inbox, among=9) == [7]
        assert take(inbox) == []


def test_a_prompt_parts_requests(model: Embedder) -> None:
    with inbox_of(model, ("", ["a"]), ("", ["b", "c"]), ("query: ", ["d"]), ("", ["e"])) as inbox:
        assert [take(inbox) for _ in range(4)] == [[1, 2], [1], [1], []]


def test_so_many_characters_are_tokenised_at_a_time(model: Embedder) -> None:
    with inbox_of(model, *[("", ["a" * 30_000])] * 3, ("", ["a" * 70_000]), ("", ["b"])) as inbox:
        assert take(inbox) == [30_000, 30_000]
        assert take(inbox, long=False) == [30_000, 1]
        assert take(inbox, long=False) == []
        assert take(inbox) == [70_000]
