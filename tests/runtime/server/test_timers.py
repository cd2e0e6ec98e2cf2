"""timers.py and cancellation.py: late by little, never early, and a reason in the place of a cancellation."""

import asyncio
from functools import partial

import pytest

from running_server import needs_server

pytestmark = needs_server


def test_timers_end_in_time_and_in_order() -> None:
    from embedge.server.timers import Timers

    async def run() -> tuple[list[float], float]:
        loop, timers = asyncio.get_running_loop(), Timers()
        begin, ended = loop.time(), list[float]()
        for seconds in (0.12, 0.0, 0.05, 0.12):
            timers.call_later(seconds, lambda seconds=seconds: ended.append(seconds))  # type: ignore[misc]
            early = [one for one in ended if loop.time() - begin < one]
            assert not early
        late = loop.create_future()
        timers.call_later(0.2, partial(late.set_result, None))
        await late
        return ended, loop.time() - begin

    ended, seconds = asyncio.run(run())
    assert ended == [0.0, 0.05, 0.12, 0.12]
    assert seconds >= 0.2


def test_a_cancelled_timer_does_not_end_also_if_another_one_of_its_step_cancels_it() -> None:
    from embedge.server.timers import Timer, Timers

    async def run() -> list[str]:
        timers, ended, second = Timers(), list[str](), list[Timer]()

        def first() -> None:
            ended.append("first")
            second[0].cancel()

        timers.call_later(0.01, first)
        second.append(timers.call_later(0.01, lambda: ended.append("second")))
        timers.call_later(0.01, lambda: ended.append("third")).cancel()
        await asyncio.sleep(0.2)
        second[0].cancel()  # once more: nothing happens
        return ended

    assert asyncio.run(run()) == ["first"]


def test_a_timer_that_fails_keeps_no_other_from_its_end() -> None:
    from embedge.server.timers import Timers

    async def run() -> tuple[list[str], list[str]]:
        loop, timers, ended, failures = asyncio.get_running_loop(), Timers(), list[str](), list[str]()
        loop.set_exception_handler(lambda loop, context: failures.append(repr(context["exception"])))
        timers.call_later(0.01, {}.popitem)
        timers.call_later(0.01, lambda: ended.append("second"))
        await asyncio.sleep(0.2)
        return ended, failures

    ended, failures = asyncio.run(run())
    assert ended == ["second"]
    assert failures == ["KeyError('popitem(): dictionary is empty')"]


def test_a_block_raises_the_first_reason_and_the_task_goes_on() -> None:
    from embedge.server.cancellation import Cancellation

    async def block(cancellation: Cancellation) -> None:
        with cancellation:
            await asyncio.sleep(10)

    async def run() -> str:
        cancellation = Cancellation()
        for reason in ("first", "second"):
            asyncio.get_running_loop().call_soon(cancellation.cancel, KeyError(reason))
        with pytest.raises(KeyError, match="first"):
            await block(cancellation)
        cancellation.cancel(KeyError("late"))  # the block has ended
        await asyncio.sleep(0)
        return "went on"

    assert asyncio.run(run()) == "went on"


def test_who_cancels_the_task_itself_cancels_it() -> None:
    from embedge.server.cancellation import Cancellation

    async def block() -> None:
        with Cancellation() as cancellation:
            asyncio.get_running_loop().call_soon(cancellation.cancel, KeyError("reason"))
            await asyncio.sleep(10)

    async def run() -> bool:
        task = asyncio.create_task(block())
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(run())
