"""Work that goes on only as long as its client is there."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio
from fastapi import Request
from starlette.types import Receive

from sandbox.errors import WorkbenchError

_ResultT = TypeVar("_ResultT")


class ClientLeft(Exception):
    """The client closed its connection before the answer."""


async def while_connected(request: Request, work: Coroutine[Any, Any, _ResultT]) -> _ResultT:
    """Await `work`; cancel it when the client closes its connection. The body has to be read before.

    Raises:
        ClientLeft: it was cancelled for that.
        WorkbenchError: as `work` does.
    """
    outcome: list[_ResultT | WorkbenchError] = []
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_at_disconnect, request.receive, group.cancel_scope)
        try:
            outcome.append(await work)
        except WorkbenchError as error:
            outcome.append(error)  # raised outside the group, which would wrap it
        group.cancel_scope.cancel()
    if not outcome:
        raise ClientLeft
    if isinstance(outcome[0], WorkbenchError):
        raise outcome[0]
    return outcome[0]


async def _cancel_at_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
