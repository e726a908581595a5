"""COMPOSIO_WAIT_FOR_CONNECTIONS: as COMPOSIO_MANAGE_CONNECTIONS, and waits until they are there."""

from typing import Annotated, Final

import msgspec
import structlog

from sandbox.gateway.policy import normal_toolkit
from sandbox.tools.arguments import read_arguments, seconds_within
from sandbox.tools.base import Caller, ToolResult, session_of
from sandbox.tools.manage_connections import TOOLKITS_MAX, ManageConnectionsTool, check_names, with_names

TIMEOUT_MAX_S: Final = 300.0
TIMEOUT_DEFAULT_S: Final = 60.0


class WaitForConnectionsArguments(msgspec.Struct, frozen=True):
    """`timeout`: seconds."""

    toolkits: Annotated[list[str], msgspec.Meta(min_length=1, max_length=TOOLKITS_MAX)]
    timeout: int | float | None = None
    session_id: str | None = None
    thought: str | None = None


class WaitForConnectionsTool(ManageConnectionsTool):
    """Waits for connections. Those of a backend are waited for there."""

    slug = "COMPOSIO_WAIT_FOR_CONNECTIONS"
    arguments_type = WaitForConnectionsArguments

    async def run(self, caller: Caller, arguments: object) -> ToolResult:
        """Wait. A toolkit that does not come in time is an answer and no failure."""
        checks = {"toolkits": check_names, "timeout": seconds_within(TIMEOUT_MAX_S)}
        asked = read_arguments(with_names(arguments), WaitForConnectionsArguments, checks)
        session = await session_of(self._manager, caller, asked.session_id, self.slug)
        structlog.contextvars.bind_contextvars(session=session.id)
        names = list(dict.fromkeys(map(normal_toolkit, asked.toolkits)))
        return await self._looked_at(session, names, wait_s=float(asked.timeout or TIMEOUT_DEFAULT_S))
