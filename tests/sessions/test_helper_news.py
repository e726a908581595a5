"""News of helper calls: few events for many calls, and numbers that stay those of the sandbox."""

import asyncio
from datetime import UTC, datetime

import pytest

from sandbox.pipe.messages import BashResult, Ending, LiveCut, LiveOutput, Started, StreamName
from sandbox.sessions.execution import Execution
from sandbox.sessions.helper_news import HelperCalled, HelperNews, LiveHelperCall
from sandbox.sessions.live import LiveEvent, LiveLog
from tests.support.clock import until

pytestmark = pytest.mark.anyio


def called(number: int = 1, status: str = "ok") -> HelperCalled:
    return HelperCalled("run_composio_tool", f"TEST_{number}", status, 1.25)


def output(text: str) -> LiveOutput:
    return LiveOutput(StreamName.STDOUT, text)


async def followed(log: LiveLog, after: int = 0) -> list[tuple[int, str]]:
    """What a reader gets of a closed log: numbers and kinds."""
    return [(event.seq, type(event.body).__name__) async for event in log.follow(after)]


async def test_the_first_call_is_told_at_once_and_a_flood_after_it_together() -> None:
    told: list[LiveHelperCall] = []
    news = HelperNews(told.append)
    for number in range(1000):
        news.called(called(number, "ok" if number % 10 else "refused"))
    assert [(event.target, event.calls, event.failed) for event in told] == [("TEST_0", 1, 1)]
    await until(lambda: len(told) == 2)
    assert (told[1].target, told[1].status, told[1].calls, told[1].failed) == ("TEST_999", "ok", 999, 99)


async def test_what_was_not_told_yet_is_told_before_the_end() -> None:
    execution = Execution(
        "exe_1",
        session_id="trs_a",
        owner="ann",
        kind="bash",
        created_at=datetime.now(UTC),
        timeout_s=1,
        live_chars=10_000,
    )
    for number in range(5):
        execution.helper_called(called(number))
    execution.end(BashResult(Ending.COMPLETED))
    bodies = [event.body async for event in execution.follow()]
    assert [body.calls for body in bodies if isinstance(body, LiveHelperCall)] == [1, 4]
    assert isinstance(bodies[-1], BashResult)
    execution.helper_called(called())  # of what an ended execution left behind: nobody hears of it


async def test_the_numbers_of_the_sandboxs_events_are_not_moved_by_news() -> None:
    log = LiveLog(10_000)
    log.append(Started(), 1)
    log.note(LiveHelperCall("h", "t", "ok", 1.0))
    log.append(output("a"), 2)
    log.note(LiveHelperCall("h", "t", "ok", 1.0))
    log.append(output("b"), 3)
    log.close()
    assert await followed(log) == [
        (1, "Started"),
        (1, "LiveHelperCall"),
        (2, "LiveOutput"),
        (2, "LiveHelperCall"),
        (3, "LiveOutput"),
    ]
    assert await followed(log, after=1) == [(2, "LiveOutput"), (2, "LiveHelperCall"), (3, "LiveOutput")]
    assert await followed(log, after=3) == []


async def test_a_reader_that_waits_hears_news_between_two_events() -> None:
    log = LiveLog(10_000)
    log.append(Started(), 1)
    got: list[LiveEvent] = []

    async def read() -> None:
        async for event in log.follow():
            got.append(event)  # noqa: PERF401 - looked at while it grows

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await until(lambda: len(got) == 1)
        log.note(LiveHelperCall("h", "t", "ok", 1.0))
        await until(lambda: len(got) == 2)
        log.note(LiveHelperCall("h", "t", "ok", 1.0))
        log.append(output("a"), 2)
        await until(lambda: len(got) == 4)
        log.close()
    assert [event.seq for event in got] == [1, 1, 1, 2]


async def test_a_reader_that_comes_late_hears_that_events_are_gone_though_news_are_kept() -> None:
    log = LiveLog(500)
    log.append(output("a"), 1)
    log.append(output("b"), 2)
    log.note(LiveHelperCall("h", "t", "ok", 1.0))
    log.append(output("c"), 3)
    log.close()
    assert await followed(log, after=1) == [(2, "LiveCut"), (2, "LiveHelperCall"), (3, "LiveOutput")]
    assert await followed(log, after=2) == [(3, "LiveOutput")]
    bodies = [event.body async for event in log.follow()]
    assert isinstance(bodies[0], LiveCut)
