"""Live events of an execution as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

import msgspec

from sandbox.api.wire import encode
from sandbox.errors import WorkbenchError
from sandbox.pipe.messages import BashResult, CodeResult, LiveArtifact, Progress
from sandbox.sessions.execution import Execution
from sandbox.sessions.helper_news import LiveHelperCall
from sandbox.sessions.live import LiveEvent

KEEP_ALIVE_S: Final = 15.0

_KEEP_ALIVE: Final = b": keep-alive\n\n"


async def event_stream(
    execution: Execution, after: int, ended: Callable[[], msgspec.Struct], *, keep_alive_s: float = KEEP_ALIVE_S
) -> AsyncGenerator[bytes, None]:
    """Give the events after number `after` as they come, and a comment whenever it is quiet for `keep_alive_s`.

    `ended()` composes the data of the last event.
    """
    seq = after
    async for event in _until_ended(execution, after, keep_alive_s):
        if event is None:
            yield _KEEP_ALIVE
            continue
        seq = event.seq
        if isinstance(event.body, CodeResult | BashResult):
            yield _framed(seq, "ended", ended())
        else:
            yield _framed(seq, _name(event.body), _data(event.body))
    if execution.error is not None:
        yield _framed(seq + 1, "ended", ended())


async def _until_ended(execution: Execution, after: int, keep_alive_s: float) -> AsyncIterator[LiveEvent | None]:
    """Follow; None stands for a quiet time. An execution that never ran just ends."""
    following = execution.follow(after)
    coming: asyncio.Future[LiveEvent] = asyncio.ensure_future(anext(following))
    try:
        while True:
            await asyncio.wait((coming,), timeout=keep_alive_s)
            if not coming.done():
                yield None
                continue
            try:
                event = coming.result()
            except (StopAsyncIteration, WorkbenchError):
                return
            yield event
            coming = asyncio.ensure_future(anext(following))
    finally:
        coming.cancel()


def _name(body: Progress | LiveHelperCall) -> str:
    """The event's name on the wire: its tag in the pipe's vocabulary, which is the same."""
    return str(body.__struct_config__.tag)


def _data(body: Progress | LiveHelperCall) -> object:
    if isinstance(body, LiveArtifact):
        return body.artifact
    return msgspec.structs.asdict(body)


def _framed(seq: int, name: str, data: object) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (seq, name.encode(), encode(data))
