"""The connection to one MCP server: opened in the background, kept, and opened again when it ended.

One task owns it, because the scopes of the SDK's session belong to the task that opened them. Calls come from any
task and use the link alone.
"""

import asyncio
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import structlog
from mcp import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import Implementation
from pydantic import ValidationError

from sandbox import __version__
from sandbox.config_upstreams import McpServer
from sandbox.errors import UpstreamError, UpstreamUnavailable
from sandbox.upstreams.base import ToolkitInfo
from sandbox.upstreams.credentials import Scrubber
from sandbox.upstreams.mcp_http import HttpLink
from sandbox.upstreams.mcp_link import OPEN_TIMEOUT_S, McpLink
from sandbox.upstreams.mcp_secrets import given_in
from sandbox.upstreams.mcp_stdio import open_stdio
from sandbox.upstreams.mcp_tools import Listed, list_tools

log = structlog.get_logger(__name__)

AGAIN_FIRST_S: Final = 0.5
"""Seconds between two attempts to open it, at the least; doubled with each that fails."""

AGAIN_LAST_S: Final = 60.0
RECONNECT_WAIT_S: Final = 30.0
"""Seconds for which a call waits for a connection that is being opened."""

RENEW_EVERY_S: Final = 1.0
"""Seconds from one look at a server's tools to the next: some say that they have changed whenever they are listed."""

_US: Final = Implementation(name="workbench", version=__version__)
_FAILURES: Final = (UpstreamError, MCPError, ValidationError, RuntimeError, OSError, TimeoutError, msgspec.MsgspecError)


@dataclass(frozen=True, slots=True)
class Live:
    """An open connection and the tools that its server has."""

    link: McpLink
    tools: Listed

    async def call(self, name: str, arguments: dict[str, Any]) -> msgspec.Raw:
        """Run a tool. Raises as `McpLink.exchange`."""
        return await self.link.exchange("tools/call", {"name": name, "arguments": arguments})


class McpConnection:
    """`name`: of the toolkit; `prefix`: with which the slugs of its tools begin; `max_bytes`: of one answer."""

    def __init__(self, name: str, prefix: str, server: McpServer, *, max_bytes: int) -> None:
        self.name = name
        self.prefix = prefix
        self.what = f"MCP server {name!r}"
        self.timeout_s = server.timeout_s
        self._server = server
        self._max_bytes = max_bytes
        given = list(given_in(server))
        self._scrubber = Scrubber(each.value for each in given)
        # Not the others: a time zone or a folder of `env` may well be in what a tool answers.
        self._credentials = Scrubber(each.value for each in given if each.sure)
        self._live: Live | None = None
        self._known: Listed | None = None
        self._trouble: str | None = None
        self._outcome: asyncio.Future[Live] | None = None
        self._wanted = asyncio.Event()
        self._changed = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to open it, in the background."""
        if self._owner is None and not self._closed:
            self._outcome = asyncio.get_running_loop().create_future()
            # In no context: it outlives the call that began it, which is nothing to it.
            self._owner = asyncio.get_running_loop().create_task(
                self._own(), name=f"mcp {self.name}", context=Context()
            )

    @property
    def known(self) -> Listed | None:
        """The tools that it had when it was last there; None: it never was."""
        return self._known

    def info(self) -> ToolkitInfo:
        """Give the toolkit with its health."""
        there = self._live is not None and not self._live.link.ended.is_set()
        healthy = True if there else None if self._trouble is None else False
        tools = None if self._known is None else len(self._known)
        return ToolkitInfo(self.name, self.name, "mcp", healthy, None if there else self._trouble, tools)

    async def live(self, wait_s: float = RECONNECT_WAIT_S) -> Live:
        """Give the open connection; when there is none, the next that opens.

        Raises:
            UpstreamUnavailable: the attempt failed, or took longer than `wait_s`; says why.
        """
        if self._closed:
            raise UpstreamUnavailable(f"{self.what} is not asked any more: the controller stops")
        self.start()
        if self._live is not None and not self._live.link.ended.is_set():
            return self._live
        outcome = self._expect()
        self._wanted.set()
        try:
            async with asyncio.timeout(wait_s):
                return await asyncio.shield(outcome)
        except TimeoutError:
            why = self._trouble or "it is still starting"
            raise UpstreamUnavailable(f"{self.what} is not there: {why}", retry=True) from None

    def scrub(self, text: str) -> str:
        """Take credentials out of a text."""
        return self._scrubber.text(text)

    def clean(self, result: msgspec.Raw) -> msgspec.Raw:
        """Take the credentials out of an answer, should it repeat them: what their names say are some."""
        body = bytearray(result)
        clean = self._credentials.data(body)
        return result if clean is body else msgspec.Raw(bytes(clean))

    async def aclose(self) -> None:
        """End it, and its child process."""
        self._closed = True
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait({self._owner})
        if self._outcome is not None and not self._outcome.done():
            self._fail_outcome("the controller stops")

    # --- the owner's task ---------------------------------------------------------------------------------

    async def _own(self) -> None:
        pause = AGAIN_FIRST_S
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            was_there = await self._attempt()
            pause = 0.0 if was_there and loop.time() - began > AGAIN_FIRST_S else max(pause, AGAIN_FIRST_S)
            await asyncio.sleep(began + AGAIN_FIRST_S - loop.time())
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            self._wanted.clear()
            pause = min(2 * pause, AGAIN_LAST_S)

    async def _attempt(self) -> bool:
        """Open it and stay until it ends. False: it could not be opened."""
        link: McpLink | None = None
        was_there = False
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S) as limit:
                link = await self._open()
                async with ClientSession(dispatcher=link, client_info=_US) as session:
                    await session.initialize()
                    await self._renew(link, session)
                    was_there = True
                    limit.reschedule(None)
                    await self._stay(link, session)
            self._lost(link.trouble)
        except Exception as error:  # noqa: BLE001 - the SDK's border: whatever it raises, the server is tried again
            self._lost(self._words(_first(error), link))
        finally:
            if link is not None:
                await link.aclose()
        return was_there

    async def _open(self) -> McpLink:
        changed = self._changed.set
        if self._server.url is not None:
            return HttpLink(self.what, self._server, self._scrubber, changed, self._max_bytes)
        return await open_stdio(self.what, self._server, self._scrubber, changed, max_bytes=self._max_bytes)

    async def _renew(self, link: McpLink, session: ClientSession) -> None:
        self._changed.clear()
        tools = await list_tools(session, self.name, self.prefix)
        outcome = self._expect()
        self._known = tools
        self._live = replace(self._live, tools=tools) if self._live is not None else Live(link, tools)
        self._trouble = None
        if not outcome.done():
            outcome.set_result(self._live)
        log.info("an MCP server is there", server=self.name, tools=len(tools))

    async def _stay(self, link: McpLink, session: ClientSession) -> None:
        while True:
            changed = asyncio.ensure_future(self._changed.wait())
            ended = asyncio.ensure_future(link.ended.wait())
            try:
                await asyncio.wait({changed, ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
                ended.cancel()
            if link.ended.is_set():
                return
            try:
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    await self._renew(link, session)
            except _FAILURES as error:
                log.warning("tools of an MCP server are not renewed", server=self.name, why=self._words(error, None))
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY_S):
                    await link.ended.wait()

    def _expect(self) -> asyncio.Future[Live]:
        """Give what the next attempt becomes; a connection that has ended is let go of."""
        ended = self._live is not None and self._live.link.ended.is_set()
        if ended:
            self._live = None
        if self._outcome is None or ended:
            self._outcome = asyncio.get_running_loop().create_future()
        return self._outcome

    def _lost(self, trouble: str) -> None:
        self._trouble = trouble
        was_there = self._live is not None
        self._live = None
        log.warning("an MCP server is not there", server=self.name, why=trouble)
        if was_there:
            self._outcome = asyncio.get_running_loop().create_future()
        elif self._outcome is not None:
            # It was there only for those who have asked since; they wait for the next attempt.
            self._fail_outcome(trouble)

    def _fail_outcome(self, trouble: str) -> None:
        outcome = self._outcome
        self._outcome = asyncio.get_running_loop().create_future()
        if outcome is not None and not outcome.done():
            outcome.set_exception(UpstreamUnavailable(f"{self.what} is not there: {trouble}", retry=True))
            outcome.exception()  # nobody may be waiting

    def _words(self, error: BaseException, link: McpLink | None) -> str:
        if isinstance(error, TimeoutError):
            words = f"it did not answer within {OPEN_TIMEOUT_S:g} s"
        elif link is not None and link.ended.is_set():
            words = link.trouble
        elif isinstance(error, ValidationError):
            words = f"it does not speak MCP as specified: {error.error_count()} errors in {error.title}"
        elif isinstance(error, UpstreamError | MCPError):
            words = error.message
        elif isinstance(error, _FAILURES):
            words = str(error)
        else:
            words = f"{type(error).__name__}: {error}"
        return self._scrubber.text(words)[:2000]


def _first(error: BaseException) -> BaseException:
    found = error
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
