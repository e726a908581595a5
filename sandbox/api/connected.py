"""Work that goes on only as long as its client is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from fastapi import Request

_ResultT = TypeVar("_ResultT")

_SHORT_S: Final = 0.05
"""Work that is done within this time costs no task that watches the connection."""


class ClientLeft(Exception):
    """The client closed its connection before the answer."""


async def while_connected(request: Request, work: Coroutine[Any, Any, _ResultT]) -> _ResultT:
    """Await `work`; cancel it when the client closes its connection. The body has to be read before.

    Raises:
        ClientLeft: it was cancelled for that.
        Exception: as `work` does.
    """
    watches: list[asyncio.Task[None]] = []
    scope = asyncio.timeout(None)
    loop = asyncio.get_running_loop()
    timer = loop.call_later(_SHORT_S, lambda: watches.append(loop.create_task(_end_at_disconnect(request, scope))))
    try:
        async with scope:
            return await work
    except TimeoutError:
        if scope.expired():
            raise ClientLeft from None
        raise
    finally:
        timer.cancel()
        for watch in watches:
            watch.cancel()


async def _end_at_disconnect(request: Request, scope: asyncio.Timeout) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.reschedule(asyncio.get_running_loop().time())
