"""Live events keep the numbers that the agent gave them, whatever controller hears them."""

import asyncio

import pytest

from sandbox.pipe.messages import BashResult, Ending, LiveCut, LiveOutput, Started, StreamName
from sandbox.sessions.live import LiveEvent, LiveLog

pytestmark = pytest.mark.anyio


def said(text: str) -> LiveOutput:
    return LiveOutput(StreamName.STDOUT, text)


async def read(log: LiveLog, after: int = 0) -> list[LiveEvent]:
    log.close()
    return [event async for event in log.follow(after)]


async def test_an_event_that_is_said_again_is_there_once() -> None:
    log = LiveLog(1000)
    for seq, body in ((1, Started()), (2, said("a")), (1, Started()), (2, said("a")), (3, said("b"))):
        log.append(body, seq)
    assert [event.seq for event in await read(log)] == [1, 2, 3]


async def test_the_result_follows_the_last_number_of_the_agent() -> None:
    log = LiveLog(1000)
    log.append(said("x"), 7)
    log.append(BashResult(Ending.COMPLETED))
    assert [event.seq for event in await read(log, 7)] == [8]


async def test_a_late_controller_says_that_the_beginning_is_missing_but_not_to_who_has_seen_it() -> None:
    log = LiveLog(1000)
    log.append(said("x"), 7)
    log.append(said("y"), 8)
    assert await read(log, 6) == [LiveEvent(7, said("x")), LiveEvent(8, said("y"))]
    assert await read(log, 3) == [LiveEvent(6, LiveCut()), LiveEvent(7, said("x")), LiveEvent(8, said("y"))]


async def test_a_hole_in_the_middle_is_marked() -> None:
    log = LiveLog(1000)
    log.append(said("x"), 1)
    log.append(said("y"), 5)
    assert await read(log) == [LiveEvent(1, said("x")), LiveEvent(4, LiveCut()), LiveEvent(5, said("y"))]


async def test_a_follower_that_is_ahead_of_a_new_log_waits_for_what_it_has_not_seen() -> None:
    log = LiveLog(1000)
    coming = asyncio.ensure_future(anext(log.follow(3)))
    for seq in (1, 2, 3):
        log.append(said(str(seq)), seq)
        await asyncio.sleep(0)
    assert not coming.done()
    log.append(said("4"), 4)
    assert await coming == LiveEvent(4, said("4"))
