"""What a request of the MCP endpoint carries to the handler that answers it: who asks, and for which session."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
from mcp.server import ServerRequestContext
from starlette.types import Receive, Scope, Send

from sandbox.sessions.session import Session

_STATE_KEY: Final = "mcp"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request as ASGI has it, to be answered once."""

    scope: Scope
    receive: Receive
    send: Send


class Road:
    """The way of one request.

    `session`: the one that the path names, None at `/mcp`; `session_ref`: what stands for the session of a call,
    None where its arguments or the key's default session decide.
    """

    def __init__(self, owner: str, session: Session | None, session_ref: str | None) -> None:
        self.owner = owner
        self.session = session
        self.session_ref = session_ref
        self._scope: anyio.CancelScope | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Do the work of the request within this; it ends early when the request is abandoned."""
        with anyio.CancelScope() as scope:
            self._scope = scope
            try:
                yield
            finally:
                self._scope = None

    def abandon(self) -> None:
        """Nobody waits for the answer any more: end the work, if it goes on."""
        if self._scope is not None:
            self._scope.cancel()


def put_road(scope: Scope, road: Road) -> None:
    """Put it where the handler finds it: the SDK hands the request through."""
    scope["state"][_STATE_KEY] = road


def road_of(context: ServerRequestContext[Any, Any]) -> Road:
    """Give the way of the request that a handler answers."""
    if context.request is None:
        raise TypeError(f"{context.method} did not come by HTTP")
    road: Road = context.request.scope["state"][_STATE_KEY]
    return road
