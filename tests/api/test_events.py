"""Server-sent events of an execution, without a server."""

from datetime import UTC, datetime

import msgspec
import pytest

from sandbox.api.events import event_stream
from sandbox.errors import SandboxStartFailed
from sandbox.pipe.messages import Action, BashResult, Ending, LiveAction, LiveOutput, Started, StreamName
from sandbox.sessions.execution import Execution

pytestmark = pytest.mark.anyio


class Last(msgspec.Struct):
    last: bool = True


def execution() -> Execution:
    return Execution(
        "exe_1",
        session_id="trs_1",
        owner="own_1",
        kind="bash",
        created_at=datetime.now(UTC),
        timeout_s=1,
        live_chars=1000,
    )


async def test_events_are_framed_with_number_name_and_data() -> None:
    runs = execution()
    for body in (
        Started(),
        LiveOutput(StreamName.STDOUT, "a\nb"),
        LiveAction(Action.INTERRUPTED, Ending.TIMED_OUT),
    ):
        runs.progress(body)
    runs.end(BashResult(Ending.COMPLETED))
    assert b"".join([piece async for piece in event_stream(runs, 0, Last)]) == (
        b'id: 1\nevent: started\ndata: {"waited_ms":0.0}\n\n'
        b'id: 2\nevent: output\ndata: {"stream":"stdout","text":"a\\nb"}\n\n'
        b'id: 3\nevent: action\ndata: {"action":"interrupted","why":"timed_out"}\n\n'
        b'id: 4\nevent: ended\ndata: {"last":true}\n\n'
    )
    assert [piece async for piece in event_stream(runs, 3, Last)] == [b'id: 4\nevent: ended\ndata: {"last":true}\n\n']
    assert [piece async for piece in event_stream(runs, 4, Last)] == []


async def test_a_quiet_time_is_filled_with_comments_and_loses_nothing() -> None:
    runs = execution()
    stream = event_stream(runs, 0, Last, keep_alive_s=0.001)
    for _ in range(3):
        assert await anext(stream) == b": keep-alive\n\n"
    runs.progress(Started())
    while (piece := await anext(stream)).startswith(b":"):
        pass
    assert piece == b'id: 1\nevent: started\ndata: {"waited_ms":0.0}\n\n'
    await stream.aclose()


async def test_an_execution_that_never_ran_ends_too() -> None:
    runs = execution()
    runs.end(SandboxStartFailed("no"))
    assert [piece async for piece in event_stream(runs, 0, Last)] == [b'id: 1\nevent: ended\ndata: {"last":true}\n\n']
