"""Tools of MCP servers, each a toolkit: `TIME_GET_CURRENT_TIME` is tool `get_current_time` of server `time`."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from mcp.shared.exceptions import MCPError

from sandbox.config_upstreams import McpServer
from sandbox.errors import NotFound, UpstreamRefused, UpstreamUnavailable
from sandbox.upstreams.base import ToolAnswer, ToolCall, ToolInfo, ToolkitInfo
from sandbox.upstreams.mcp_answers import to_answer
from sandbox.upstreams.mcp_connection import RECONNECT_WAIT_S, Live, McpConnection
from sandbox.upstreams.mcp_names import candidates, unique_slugs
from sandbox.upstreams.mcp_tools import Listed, near

LIST_WAIT_S: Final = 10.0
"""Seconds for which a list of tools waits for a server that was never there."""

_WORDS_CHARS: Final = 2000


class McpTools:
    """The `Tools` of all configured servers. `answer_max_bytes`: of one answer, as it comes."""

    name = "tools (MCP)"

    def __init__(self, servers: Mapping[str, McpServer], *, answer_max_bytes: int) -> None:
        self._prefixes = unique_slugs(servers)
        self._starts = tuple(f"{prefix}_" for prefix in self._prefixes.values())
        self._connections = {
            name: McpConnection(name, self._prefixes[name], server, max_bytes=answer_max_bytes)
            for name, server in servers.items()
        }

    async def start(self) -> None:
        """Begin to open all connections; does not wait for them."""
        for connection in self._connections.values():
            connection.start()

    def claims(self, slug: str) -> bool:
        """Whether the slug begins with the name of a server."""
        return slug.startswith(self._starts)

    async def check(self) -> str:
        """Say how many tools each server has. Raises `UpstreamUnavailable` with all that are not there."""
        kits = await self.toolkits(wait_s=LIST_WAIT_S)
        troubles = [f"{kit.slug}: {kit.trouble or 'it is still starting'}" for kit in kits if not kit.healthy]
        if troubles:
            raise UpstreamUnavailable("; ".join(troubles), retry=True)
        return ", ".join(f"{kit.slug}: {kit.tools} tools" for kit in kits)

    async def execute(self, call: ToolCall) -> ToolAnswer:
        """Run a tool. See `Tools.execute`."""
        named = [self._connections[name] for name in candidates(call.slug, self._prefixes)]
        if not named:
            raise NotFound(f"No MCP server has a tool {call.slug}", suggested_fix=f"Servers: {self._names()}.")
        connection = await self._having(call.slug, named)
        timeout_s = min(call.timeout_s, connection.timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                result = await self._result(connection, call)
        except TimeoutError:
            raise UpstreamUnavailable(f"{connection.what} did not answer within {timeout_s:g} s") from None
        except MCPError as error:
            words = connection.scrub(error.message)[:_WORDS_CHARS]
            raise UpstreamRefused(f"{connection.what} refused {call.slug}: {words}") from None
        return to_answer(connection.clean(result), connection.what)

    async def find(self, slugs: Sequence[str]) -> list[ToolInfo]:
        """Describe those that are there."""
        found = []
        for slug in slugs:
            for name in candidates(slug, self._prefixes):
                tool = (await self._listed(self._connections[name])).get(slug)
                if tool is not None:
                    found.append(tool.info)
                    break
        return found

    async def toolkits(self, *, wait_s: float = 0.0) -> list[ToolkitInfo]:
        """List the servers. `wait_s`: how long to wait for those that are still starting."""
        if wait_s:
            waits = (connection.live(wait_s) for connection in self._connections.values())
            await asyncio.gather(*waits, return_exceptions=True)
        return [connection.info() for connection in self._connections.values()]

    async def tools(self, toolkit: str | None = None) -> list[ToolInfo]:
        """List the tools of all servers, or of one; of one that is gone those that it had."""
        named = [it for name, it in self._connections.items() if toolkit is None or name == toolkit.lower()]
        lists = await asyncio.gather(*(self._listed(connection) for connection in named))
        return [tool.info for listed in lists for tool in listed.values()]

    async def aclose(self) -> None:
        """End all connections and child processes."""
        await asyncio.gather(*(connection.aclose() for connection in self._connections.values()))

    # --- inside -------------------------------------------------------------------------------------------

    async def _having(self, slug: str, named: Sequence[McpConnection]) -> McpConnection:
        """Choose between servers of which one's name begins another's; mostly there is one."""
        for connection in named[:-1]:
            if slug in await self._listed(connection):
                return connection
        return named[-1] if len(named) == 1 or slug in await self._listed(named[-1]) else named[0]

    async def _result(self, connection: McpConnection, call: ToolCall) -> msgspec.Raw:
        try:
            return await _run(await connection.live(), connection, call)
        except UpstreamUnavailable as error:
            if not error.retry:
                raise
        # The connection was found dead before anything was written: the next one, once.
        return await _run(await connection.live(), connection, call)

    async def _listed(self, connection: McpConnection) -> Listed:
        if connection.known is not None:
            return connection.known
        try:
            return (await connection.live(min(LIST_WAIT_S, RECONNECT_WAIT_S))).tools
        except UpstreamUnavailable:
            return {}

    def _names(self) -> str:
        return ", ".join(sorted(self._connections)) or "none"


async def _run(live: Live, connection: McpConnection, call: ToolCall) -> msgspec.Raw:
    tool = live.tools.get(call.slug)
    if tool is None:
        raise NotFound(f"{connection.what} has no tool {call.slug}", suggested_fix=near(call.slug, list(live.tools)))
    tool.check.check(call.arguments)
    return await live.call(tool.info.name, call.arguments)
