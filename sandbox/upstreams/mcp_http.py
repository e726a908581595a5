"""An MCP server behind a Streamable HTTP endpoint.

aiohttp and not the SDK's client, for the reason that `http.py` gives, and because there one request that breaks ends
the whole connection with all calls that are under way.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from mcp.shared.exceptions import MCPError

from sandbox import __version__
from sandbox.config_upstreams import McpServer
from sandbox.errors import UpstreamError, UpstreamInvalid, UpstreamUnavailable
from sandbox.limits import KIB
from sandbox.upstreams.answer_room import Coming
from sandbox.upstreams.credentials import Scrubber
from sandbox.upstreams.http import headers_of
from sandbox.upstreams.http_refusals import Refusals
from sandbox.upstreams.mcp_events import EventReader, EventTooLarge
from sandbox.upstreams.mcp_link import (
    SDK_BYTES_MAX,
    Incoming,
    McpLink,
    decode_incoming,
    notification_bytes,
    reply_bytes,
    request_bytes,
    result_of,
)

log = structlog.get_logger(__name__)

CONNECTIONS_MAX: Final = 256
_CONNECT_S: Final = 10.0
_KEEPALIVE_S: Final = 4.0
_TELL_S: Final = 5.0
_LISTEN_AGAIN_S: Final = 1.0
_READ_BYTES: Final = 256 * KIB
_WORDS_BYTES: Final = 64 * KIB
_REPLIES_MAX: Final = 64
_SESSION: Final = "Mcp-Session-Id"
_SESSION_ID: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
_HINTS: Final = {401: "see `headers` of the server's setting", 403: "see `headers` of the server's setting"}


class HttpLink(McpLink):
    """One session with a server."""

    def __init__(
        self, what: str, server: McpServer, scrubber: Scrubber, on_tools_changed: Callable[[], None], max_bytes: int
    ) -> None:
        super().__init__(what, on_tools_changed, max_bytes)
        assert server.url is not None  # noqa: S101  (chosen by it)
        self._url = server.url
        self._refusals = Refusals(what, scrubber, _HINTS)
        self._session_id: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": f"workbench/{__version__}",
                **{name: value.get_secret_value() for name, value in server.headers.items()},
            },
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            read_bufsize=_READ_BYTES,
        )

    async def exchange(self, method: str, params: Mapping[str, Any] | None) -> msgspec.Raw:
        """See `McpLink.exchange`."""
        self._refuse_ended()
        request_id = self._next_id()
        try:
            return result_of(await self._answer(request_id, method, request_bytes(request_id, method, params)))
        except asyncio.CancelledError:
            if method != "initialize":
                self._spawn(self.tell("notifications/cancelled", {"requestId": request_id}))
            raise
        except EventTooLarge:
            raise self._too_large() from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = self._failure(error)
        # Raised here, the failure does not carry the library's exception, which has the request's headers.
        raise failure

    async def tell(self, method: str, params: Mapping[str, Any] | None) -> None:
        """See `McpLink.tell`."""
        await self._post_only(notification_bytes(method, params))
        if method == "notifications/initialized":
            self._spawn(self._listen())

    async def aclose(self) -> None:
        """End the session at the server too, when it still answers."""
        gone = self.ended.is_set()
        self._end("it was closed")
        for task in self._tasks:
            task.cancel()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._session_id is not None and not gone:
                with suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with asyncio.timeout(_TELL_S), self._client.delete(self._url, headers=self._headers()):
                        pass
        finally:
            await self._client.close()

    # --- requests -----------------------------------------------------------------------------------------

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": f"{_JSON}, {_EVENTS}", "Content-Type": _JSON}
        if self._session_id is not None:
            headers[_SESSION] = self._session_id
        if self.protocol_version is not None:
            headers["MCP-Protocol-Version"] = self.protocol_version
        return headers

    async def _answer(self, request_id: int, method: str, body: bytes) -> Incoming:
        sent = self._client.post(self._url, data=body, headers=self._headers(), allow_redirects=False)
        async with sent as response:
            if response.status != 200:
                raise await self._refusal(response)
            if method == "initialize":
                self._session_id = self._named(response.headers.get(_SESSION))
            kind = response.content_type
            with Coming(self.what, self._max_bytes, response.content_length) as coming:
                if kind == _JSON:
                    return self._decode(await self._whole(response, coming))
                if kind == _EVENTS:
                    async for said in self._events(response, EventReader(self._max_bytes), coming):
                        if said.method is None and said.id in (request_id, str(request_id)):
                            coming.keep(len(said.result))
                            return said
                    raise aiohttp.ServerDisconnectedError("the stream ended without the answer")
            raise UpstreamInvalid(f"{self.what} answered with {kind[:100]} and not with JSON")

    def _named(self, session_id: str | None) -> str | None:
        """Take the name that the server gives the session: it goes into the head of each request from then on."""
        if session_id and _SESSION_ID.fullmatch(session_id) is None:
            raise UpstreamInvalid(f"{self.what} gave its session what is no name: {session_id[:100]!a}")
        return session_id or None

    async def _whole(self, response: aiohttp.ClientResponse, coming: Coming) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > self._max_bytes:
                raise EventTooLarge
            parts.append(part)
            if size > coming.covered:
                await coming.cover(size)
        coming.keep(size)
        return b"".join(parts)

    async def _events(
        self, response: aiohttp.ClientResponse, reader: EventReader, coming: Coming
    ) -> AsyncIterator[Incoming]:
        """Give the answers in a stream; notifications and requests of the server are dealt with."""
        async for part in response.content.iter_any():
            if reader.held + len(part) > coming.covered:
                await coming.cover(reader.held + len(part))
            for data in reader.feed(part):
                said = self._decode(data)
                if said.method is None:
                    yield said
                elif said.id is None:
                    self._told(said)
                elif len(self._tasks) < _REPLIES_MAX:
                    # A server that asks faster than it can be answered gets no answer to what is over this.
                    self._spawn(self._post_only(reply_bytes(said)))

    def _decode(self, data: bytes) -> Incoming:
        try:
            return decode_incoming(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            words = self._refusals.quote(data[:KIB])
            raise UpstreamInvalid(f"{self.what} answered with what is no message: {words}") from None

    async def _refusal(self, response: aiohttp.ClientResponse) -> UpstreamError | MCPError:
        body = await response.content.read(_WORDS_BYTES)
        if response.status == 404 and self._session_id is not None:
            self._end("it does not know our session any more")
            return UpstreamUnavailable(f"{self.what} was started again", retry=True)
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            said = decode_incoming(body)
            if response.status == 400 and said.error is not None:
                return MCPError(code=said.error.code, message=said.error.message, data=said.error.data)
        return self._refusals.of(response.status, headers_of(response), body, repeatable=False)

    def _failure(self, error: Exception) -> UpstreamUnavailable:
        if isinstance(error, aiohttp.ClientResponseError):
            # Its own words have the URL.
            return UpstreamUnavailable(f"{self.what} answered with what is not HTTP")
        words = self._refusals.quote(str(error).encode()) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            self._end(words)
            return UpstreamUnavailable(f"{self.what} cannot be reached: {words}", retry=True)
        return UpstreamUnavailable(f"{self.what} broke the connection during the call: {words}")

    async def _post_only(self, body: bytes) -> None:
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(_TELL_S):
                sent = self._client.post(self._url, data=body, headers=self._headers(), allow_redirects=False)
                async with sent:
                    pass

    # --- what the server says by itself -------------------------------------------------------------------

    async def _listen(self) -> None:
        """Hear notifications, as long as the server offers a stream for them."""
        headers = self._headers() | {"Accept": _EVENTS}
        while not self.ended.is_set():
            try:
                async with self._client.get(self._url, headers=headers, allow_redirects=False) as response:
                    if response.status == 404 and self._session_id is not None:
                        self._end("it does not know our session any more")
                    if response.status != 200 or response.content_type != _EVENTS:
                        return
                    # Nothing large is ever said here: answers come by themselves.
                    reader = EventReader(min(self._max_bytes, SDK_BYTES_MAX))
                    async for _said in self._events(response, reader, Coming(self.what, self._max_bytes)):
                        pass
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                self._failure(error)
                return
            except (aiohttp.ClientError, OSError, EventTooLarge, UpstreamError):
                log.debug("the stream of an MCP server broke", server=self.what)
            await asyncio.sleep(_LISTEN_AGAIN_S)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
