"""One HTTP request to something outside: bounded in time and size, sent once, every failure in one tree.

aiohttp and not httpx, which the client of our own API uses: a call costs it a twentieth of the processor time, and the
bulk road is made of such calls.
"""

import asyncio
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from pydantic import SecretStr
from yarl import URL

from sandbox import __version__
from sandbox.errors import UpstreamError, UpstreamInvalid, UpstreamRefused, UpstreamUnavailable
from sandbox.limits import KIB, MIB
from sandbox.upstreams.answer_room import Coming
from sandbox.upstreams.credentials import Scrubber
from sandbox.upstreams.http_refusals import Refusals

CONNECTIONS_MAX: Final = 256
"""More than calls run at once, so that none waits here, where it could not be told from a slow upstream."""

CHECK_TIMEOUT_S: Final = 5.0
"""Seconds that a check of an upstream may take."""

OK: Final = range(200, 300)

_CONNECT_S: Final = 10.0
_KEEPALIVE_S: Final = 4.0
"""Common servers close an idle connection after 5 s; ours is gone before, so that no request meets the closing."""

_HEADER_BYTES: Final = 64 * KIB
_READ_BYTES: Final = 256 * KIB
_WORDS_BYTES: Final = 64 * KIB
_WORDS_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is sent. `url`: already encoded; `body`: with its type among the headers.

    `repeatable`: it may be done twice without harm. `accepted`: the statuses that are an answer and no error.
    `max_bytes`: of the answer's body, decompressed.
    """

    method: str
    url: URL
    timeout_s: float
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    max_bytes: int = 16 * MIB
    repeatable: bool = False
    accepted: Container[int] = OK


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back. `headers`: names in lower case; of several with one name the values are joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytearray


class _Broken(aiohttp.ClientError):
    """The connection ended after the request went out."""


async def _once(request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
    """Keep the library from sending a PUT or DELETE again by itself after its connection broke."""
    try:
        return await send(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken from error


class HttpUpstream:
    """The connections to one upstream. `what`: what errors call it; `hints`: what to look at, by status.

    Redirects are not followed, cookies not kept, proxies of the environment not used. What is in `secrets` is taken
    out of every answer and error text.
    """

    def __init__(self, what: str, *, secrets: Iterable[SecretStr] = (), hints: dict[int, str] | None = None) -> None:
        self._what = what
        self._scrubber = Scrubber(secrets)
        self._refusals = Refusals(what, self._scrubber, hints or {})
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, request: HttpRequest) -> HttpAnswer:
        """Send it, once.

        Raises:
            UpstreamError: as `sandbox.upstreams.base` says.
        """
        try:
            async with asyncio.timeout(request.timeout_s):
                return await self._exchange(request)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = self._failure(error, request)
        except ValueError as error:  # what the library says of headers and URLs that it cannot write
            failure = UpstreamRefused(f"{self._what} cannot be asked: {self._scrubber.text(str(error))}")
        # Raised here, the failure does not carry the library's exception, which has the request's headers.
        raise failure

    def refusal(self, answer: HttpAnswer, *, repeatable: bool) -> UpstreamError:
        """Make an error of an answer that is none."""
        return self._refusals.of(answer.status, answer.headers, answer.body, repeatable=repeatable)

    def invalid(self, why: str, body: bytes | bytearray = b"") -> UpstreamInvalid:
        """Make the error of an answer that cannot be understood; quotes the beginning of `body`."""
        quoted = f": {self._refusals.quote(body)}" if body else ""
        return UpstreamInvalid(f"{self._what} {why}{quoted}")

    def scrub(self, text: str) -> str:
        """Take credentials out of a text."""
        return self._scrubber.text(text)

    async def aclose(self) -> None:
        """Close all connections; what is under way fails, and so does what comes later."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        # A session belongs to the running loop, which there is not yet when upstreams are built.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=_KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"workbench/{__version__}"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
                read_bufsize=_READ_BYTES,
                max_line_size=_HEADER_BYTES,
                max_field_size=_HEADER_BYTES,
                middlewares=(_once,),
            )
        return self._session

    async def _exchange(self, request: HttpRequest) -> HttpAnswer:
        if self._closed:
            raise UpstreamUnavailable(f"{self._what} is not asked any more: the controller stops")
        sent = self._open().request(
            request.method, request.url, data=request.body, headers=request.headers, allow_redirects=False
        )
        async with sent as response:
            if response.status in request.accepted:
                return _answer(response, self._scrubber.data(await self._read(response, request.max_bytes)))
            words = _answer(response, await _read_words(response))
            raise self.refusal(words, repeatable=request.repeatable)

    async def _read(self, response: ClientResponse, bound: int) -> bytearray:
        """Read the whole body into one buffer."""
        body = bytearray()
        if (response.content_length or 0) <= bound:
            with Coming(self._what, bound, response.content_length) as coming:
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > bound:
                        break
                    if len(body) > coming.covered:
                        await coming.cover(len(body))
                else:
                    coming.keep(len(body))
                    return body
        response.close()
        raise UpstreamInvalid(f"{self._what} answered with more than {bound} bytes, which is the bound")

    def _failure(self, error: Exception, request: HttpRequest) -> UpstreamError:
        match error:
            case aiohttp.ClientConnectorError():
                return self._unreached(error)
            case aiohttp.ConnectionTimeoutError():
                return UpstreamUnavailable(f"{self._what} accepted no connection in {_CONNECT_S:g} s", retry=True)
            case aiohttp.ClientResponseError():
                return self.invalid("answered with something that is not HTTP")
            case TimeoutError():
                why = f"did not answer in {max(request.timeout_s, 0):.3g} s"
            case _:
                why = "broke the connection before its answer was whole"
        return UpstreamUnavailable(f"{self._what} {why}", retry=request.repeatable)

    def _unreached(self, error: aiohttp.ClientConnectorError) -> UpstreamUnavailable:
        """Nothing was sent."""
        match error:
            case aiohttp.ClientSSLError():
                why = "its certificate is not accepted"
            case aiohttp.ClientConnectorDNSError():
                why = f"no address for {error.host}"
            case _:
                why = error.os_error.strerror or "the connection failed"
        retry = not isinstance(error, aiohttp.ClientSSLError)
        return UpstreamUnavailable(f"{self._what} could not be reached: {why}", retry=retry)


def headers_of(response: ClientResponse) -> dict[str, str]:
    """Give the headers of an answer as `HttpAnswer` has them."""
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        name, text = _text(name).lower(), _text(value)  # noqa: PLW2901 - the same name
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _answer(response: ClientResponse, body: bytearray) -> HttpAnswer:
    return HttpAnswer(response.status, headers_of(response), body)


def _text(said: str) -> str:
    """Give a header as text: what is not UTF-8, and halves of surrogate pairs here, is Latin-1, as HTTP has it."""
    if said.isascii():
        return said
    raw = said.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


async def _read_words(response: ClientResponse) -> bytearray:
    """Read the beginning of an error's body; the status counts whether or not its words come."""
    words = bytearray()
    try:
        async with asyncio.timeout(_WORDS_S):
            async for piece in response.content.iter_any():
                words += piece
                if len(words) >= _WORDS_BYTES:
                    break
            else:
                return words
    except (aiohttp.ClientError, OSError, TimeoutError):
        pass
    response.close()
    return words[:_WORDS_BYTES]
