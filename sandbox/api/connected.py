"""Work that goes on only as long as its client is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import anyio
from fastapi import Request
from starlette.types import Receive

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
    with anyio.CancelScope() as scope:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(
            _SHORT_S, lambda: watches.append(loop.create_task(_cancel_at_disconnect(request.receive, scope)))
        )
        try:
            return await work
        finally:
            timer.cancel()
            for watch in watches:
                watch.cancel()
    raise ClientLeft


async def _cancel_at_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
