"""A real HTTP server for tests that records what came and can be told to fail. Base of the stand-ins beside it."""

import asyncio
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import Enum, auto
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

PIECE: Final = b"x" * 65536


class Fault(Enum):
    """One way to fail. A request is recorded, and done, in all but the first."""

    RESET_AT_ONCE = auto()
    RESET_AFTER_REQUEST = auto()
    CLOSED_AFTER_REQUEST = auto()
    HALF_ANSWER = auto()
    SILENT = auto()
    SILENT_BODY = auto()
    ENDLESS_BODY = auto()
    HUGE_BODY = auto()
    INVALID_JSON = auto()
    DEEP_JSON = auto()
    OTHER_JSON = auto()
    EMPTY = auto()
    NOT_HTTP = auto()
    RATE_LIMITED = auto()
    RATE_LIMITED_UNTIL = auto()
    RATE_LIMITED_ENDLESS = auto()
    ERROR = auto()
    ENDLESS_ERROR = auto()
    BAD_GATEWAY = auto()
    UNAVAILABLE = auto()
    UNAUTHORIZED = auto()
    NOT_FOUND = auto()
    REDIRECT_AWAY = auto()


@dataclass(frozen=True)
class Seen:
    """One request that came whole. Names of headers are in lower case."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes
    target: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(value: Any, status: int = 200) -> Reply:
    """Answer in JSON."""
    return Reply(status, msgspec.json.encode(value), {"content-type": "application/json"})


class FaultyServer:
    """Answers as `answer` says, except that each entry of `faults` spoils one request, and `always` all of them.

    `redirect_to`: where REDIRECT_AWAY points. `abandoned`: released when a client went before it had its answer.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.redirect_to = ""
        self.arrived = asyncio.Semaphore(0)
        self.abandoned = asyncio.Semaphore(0)
        self.open = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: Seen) -> Reply:
        """Answer a request; the stand-ins say how."""
        return json_reply({"path": request.path})

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Serve on a free loopback port, the second time on the same; at the end all connections are cut."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=2**20, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._next(Fault.RESET_AT_ONCE):
            _reset(writer)
            return
        while head := await reader.readuntil(b"\r\n\r\n"):
            if self._next(Fault.RESET_AT_ONCE):
                _reset(writer)
                return
            request = await _read(head, reader, writer)
            self.seen.append(request)
            self.arrived.release()
            reply = await self.answer(request)
            fault = self.faults.popleft() if self.faults else self.always
            if fault in _REPLIES:
                reply = _REPLIES[fault](request, self.redirect_to)
            if fault is None or fault in _REPLIES:
                await _send(writer, reply, with_body=request.method != "HEAD")
            else:
                await self._fail(fault, reply, reader, writer)
                return

    def _next(self, fault: Fault) -> bool:
        if self.faults and self.faults[0] is fault:
            self.faults.popleft()
            return True
        return not self.faults and self.always is fault

    async def _fail(
        self, fault: Fault, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Fail so, then end the connection."""
        if fault in _FLOODS:
            await self._flood(_FLOODS[fault], writer)
        elif fault in _WRITTEN:
            writer.write(_WRITTEN[fault](reply))
            await writer.drain()
        if fault in (Fault.SILENT, Fault.SILENT_BODY):
            await self._until_gone(reader)
        if fault is Fault.RESET_AFTER_REQUEST:
            _reset(writer)

    async def _until_gone(self, reader: asyncio.StreamReader) -> None:
        """Wait until the client ends the connection."""
        with suppress(ConnectionError):
            await reader.read()
        self.abandoned.release()

    async def _flood(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        """Send without end, until the client has had enough."""
        writer.write(head)
        piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if b"chunked" in head else PIECE
        try:
            while True:
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            self.abandoned.release()


@contextmanager
def in_thread(server: FaultyServer) -> Iterator[None]:
    """Serve from a thread with a loop of its own, for tests that have none."""
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with server.serving():
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(30)
        loop.close()


def closed_port() -> int:
    """A loopback port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def _read(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Seen:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    if headers.get("expect") == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    path, _, query = target.partition("?")
    return Seen(method, unquote(path), parse_qsl(query, keep_blank_values=True), headers, body, target)


async def _send(writer: asyncio.StreamWriter, reply: Reply, *, with_body: bool = True) -> None:
    writer.write(_head(reply.status, {"content-length": str(len(reply.body)), **reply.headers}))
    if with_body:
        writer.write(reply.body)
    await writer.drain()


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a reset and not with its proper end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


def _repeat(request: Seen) -> Reply:
    """Refuse a key, and repeat it."""
    return json_reply({"error": {"message": f"no such key: {' '.join(request.headers.values())}"}}, 401)


def _half(reply: Reply) -> bytes:
    return _head(200, {"content-length": str(len(reply.body) + 10)}) + reply.body[: len(reply.body) // 2]


_CHUNKED: Final = {"transfer-encoding": "chunked", "content-type": "application/json"}

_FLOODS: Final = {
    Fault.ENDLESS_BODY: _head(200, _CHUNKED),
    Fault.ENDLESS_ERROR: _head(500, _CHUNKED),
    Fault.RATE_LIMITED_ENDLESS: _head(429, _CHUNKED),
    Fault.HUGE_BODY: _head(200, {"content-length": str(2**40), "content-type": "application/json"}),
}

_WRITTEN: Final[dict[Fault, Callable[[Reply], bytes]]] = {
    Fault.HALF_ANSWER: _half,
    Fault.SILENT_BODY: lambda _: _head(200, {"content-length": "1000", "content-type": "application/json"}) + b"{",
    Fault.NOT_HTTP: lambda _: b"SSH-2.0-this is no web server\r\n\r\n",
}

_REPLIES: Final[dict[Fault, Callable[[Seen, str], Reply]]] = {
    Fault.INVALID_JSON: lambda *_: Reply(200, b'{"data": {"half', {"content-type": "application/json"}),
    Fault.DEEP_JSON: lambda *_: Reply(200, b'{"data": ' + b"[" * 50_000, {"content-type": "application/json"}),
    Fault.OTHER_JSON: lambda *_: json_reply([1, 2, 3]),
    Fault.EMPTY: lambda *_: Reply(200),
    Fault.RATE_LIMITED: lambda *_: Reply(429, b'{"error":{"message":"slow down"}}', {"retry-after": "7"}),
    Fault.RATE_LIMITED_UNTIL: lambda *_: Reply(429, b"later", {"retry-after": _in_an_hour()}),
    Fault.ERROR: lambda *_: Reply(500, b"<html><style>p{}</style><body><p>broken   inside</p></body></html>"),
    Fault.BAD_GATEWAY: lambda *_: Reply(502, b"bad gateway"),
    Fault.UNAVAILABLE: lambda *_: Reply(503, b"overloaded", {"retry-after": "3"}),
    Fault.UNAUTHORIZED: lambda request, _: _repeat(request),
    Fault.NOT_FOUND: lambda *_: json_reply({"error": {"message": "no such thing", "suggested_fix": "Look."}}, 404),
    Fault.REDIRECT_AWAY: lambda _, location: Reply(302, b"", {"location": location}),
}
