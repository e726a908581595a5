"""Live output is gathered, kept in order, cut into events that fit, and bounded."""

import asyncio

import pytest

from sandbox.agent.live import EVENT_CHARS, LiveText
from sandbox.limits import LINE_MAX_BYTES, LIVE_CHARS
from sandbox.pipe import framing
from sandbox.pipe.frames import Event
from sandbox.pipe.messages import LiveCut, LiveOutput, Progress, StreamName

pytestmark = pytest.mark.anyio

OUT, ERR = StreamName.STDOUT, StreamName.STDERR


async def test_neighbours_of_one_stream_are_joined_and_the_order_is_kept() -> None:
    events: list[Progress] = []
    live = LiveText(events.append)
    for stream, text in ((OUT, "a"), (OUT, "b"), (ERR, "c"), (OUT, "d"), (ERR, "")):
        live.text(stream, text)
    assert events == []
    live.close()
    assert events == [LiveOutput(OUT, "ab"), LiveOutput(ERR, "c"), LiveOutput(OUT, "d")]


async def test_what_waits_is_sent_without_being_asked() -> None:
    came = asyncio.Event()
    live = LiveText(lambda _: came.set())
    live.text(OUT, "a")
    await asyncio.wait_for(came.wait(), 10)


async def test_every_event_fits_a_line_whatever_it_holds() -> None:
    events: list[Progress] = []
    live = LiveText(events.append)
    live.text(OUT, "\0" * (3 * EVENT_CHARS + 1))
    live.close()
    assert [len(event.text) for event in events if isinstance(event, LiveOutput)] == [EVENT_CHARS] * 3 + [1]
    assert all(len(framing.encode(Event("x" * 64, 1, event))) <= LINE_MAX_BYTES for event in events)


async def test_over_the_bound_there_is_one_cut_and_then_silence() -> None:
    events: list[Progress] = []
    live = LiveText(events.append)
    live.text(OUT, "x" * (LIVE_CHARS - 1))
    live.text(ERR, "yz")
    live.text(OUT, "never")
    live.close()
    assert events[-2:] == [LiveOutput(ERR, "y"), LiveCut()]
    assert events.count(LiveCut()) == 1


async def test_exactly_the_bound_is_not_cut() -> None:
    events: list[Progress] = []
    live = LiveText(events.append)
    live.text(OUT, "x" * LIVE_CHARS)
    live.close()
    assert LiveCut() not in events
