"""The pipe's stream to a container: POST /containers/{id}/attach, hijacked, on bare asyncio.

docker-py offers the hijacked socket only for blocking use, and a thread hop costs more than the whole round trip, so
the two small things needed are here: the upgrade, and `FrameDecoder` for docker's framing (8 bytes of header: stream,
three zeroes, length; then that many bytes).
"""

import asyncio
import json
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final, cast

from sandbox.errors import EngineUnavailable, SandboxGone
from sandbox.limits import KIB, MIB
from sandbox.pipe.link import OnClosed, OnData
from sandbox.pipe.traffic import Traffic
from sandbox.runtimes.docker_address import EngineAddress, TcpAddress, UnixAddress

_HEADER: Final = struct.Struct(">BxxxL")
_HEAD_MAX_BYTES: Final = 64 * KIB
_UNCLAIMED_MAX_BYTES: Final = MIB


class BadFrame(Exception):
    """A frame header that docker never writes: the stream is not what we take it for."""


class Stream(IntEnum):
    """The first byte of a frame. SYSTEM is the engine's own complaint."""

    STDOUT = 1
    STDERR = 2
    SYSTEM = 3


class FrameDecoder:
    """Takes the stream in pieces of any size, gives payloads as they come: a payload is never gathered."""

    def __init__(self) -> None:
        self._header = b""
        self._stream = Stream.STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[Stream, bytes]]:
        """Give (stream, bytes) for each part of a payload in `data`, never empty.

        Raises:
            BadFrame: a header makes no sense.
        """
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                yield self._stream, piece
            else:
                wanted = _HEADER.size - len(self._header)
                self._header += data[at : at + wanted]
                at += wanted
                if len(self._header) == _HEADER.size:
                    self._open_frame()

    def _open_frame(self) -> None:
        header, self._header = self._header, b""
        kind, length = _HEADER.unpack(header)
        if kind not in (Stream.STDOUT, Stream.STDERR, Stream.SYSTEM) or header[1:4] != b"\0\0\0":
            raise BadFrame(f"the engine sent a frame header {header.hex()}")
        self._stream, self._left = Stream(kind), length


class AttachLink(asyncio.Protocol):
    """A `Link` over one hijacked connection. Standard error goes to `on_stderr` from the first byte on."""

    def __init__(
        self, request: bytes, sandbox_id: str, on_stderr: Callable[[bytes], None], traffic: Traffic | None = None
    ) -> None:
        self._request = request
        self._sandbox_id = sandbox_id
        self._on_stderr = on_stderr
        self._traffic = traffic or Traffic()
        self._loop = asyncio.get_running_loop()
        self._upgraded: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._decoder = FrameDecoder()
        self._on_data: OnData | None = None
        self._on_closed: OnClosed | None = None
        self._unclaimed: list[bytes] = []
        self._unclaimed_bytes = 0
        self._reason: str | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def __repr__(self) -> str:
        return f"AttachLink({self._sandbox_id!r}, {self._reason or 'open'})"

    @property
    def closed(self) -> bool:
        """Whether the stream has ended."""
        return self._reason is not None

    async def upgraded(self) -> None:
        """Wait until the engine has turned the connection into the stream.

        Raises:
            SandboxGone: the engine knows no such container, or it cannot be attached to now.
            EngineUnavailable: the answer is no answer of an engine.
        """
        await self._upgraded

    # --- Link ---------------------------------------------------------------------------------

    def start(self, on_data: OnData, on_closed: OnClosed) -> None:
        """Begin to deliver; see `Link.start`."""
        self._on_data, self._on_closed = on_data, on_closed
        early, self._unclaimed = self._unclaimed, []
        for piece in early:
            on_data(piece)
        if self._reason is not None:
            self._tell_closed(self._reason)
        elif self._transport is not None:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Queue bytes for the agent's standard input."""
        if self._transport is not None and self._reason is None:
            self._traffic.sent += len(data)
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the send queue is short again."""
        await self._writable.wait()

    def close(self) -> None:
        """Close the connection now; the container goes on."""
        self._end("closed by the controller")

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request as soon as there is a connection."""
        # A cast, not a check: uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take frames, or the head of the engine's answer before them."""
        self._traffic.received += len(data)
        if self._upgraded.done():
            self._take_frames(data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            self._take_head(head, rest)
        elif len(self._head) > _HEAD_MAX_BYTES:
            self._refuse(EngineUnavailable("what answers at the engine's address does not speak HTTP"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the user of the link, once."""
        self._end(f"the engine closed the stream: {exc}" if exc else "the engine closed the stream")

    def pause_writing(self) -> None:
        """The send queue is long: `drain` waits."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The send queue is short again."""
        self._writable.set()

    # --- inside ---------------------------------------------------------------------------------

    def _take_head(self, head: bytes, rest: bytes) -> None:
        status = _status(head)
        if status in (101, 200):
            self._head = b""
            self._upgraded.set_result(None)
            if rest:
                self._take_frames(rest)
        elif len(rest) >= _content_length(head):
            self._refuse(_refusal(status, rest, self._sandbox_id))

    def _take_frames(self, data: bytes) -> None:
        try:
            for stream, piece in self._decoder.feed(data):
                if stream is Stream.STDOUT:
                    self._deliver(piece)
                else:
                    self._on_stderr(piece)
        except BadFrame as error:
            self._end(str(error))

    def _deliver(self, piece: bytes) -> None:
        if self._reason is not None:
            return
        if self._on_data is not None:
            self._on_data(piece)
            return
        self._unclaimed.append(piece)
        self._unclaimed_bytes += len(piece)
        if self._unclaimed_bytes > _UNCLAIMED_MAX_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def _refuse(self, error: EngineUnavailable | SandboxGone) -> None:
        self._fail_upgrade(error)
        self._end(error.message)

    def _end(self, reason: str) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        self._writable.set()
        self._fail_upgrade(EngineUnavailable(f"no stream to sandbox {self._sandbox_id}: {reason}"))
        if self._transport is not None:
            self._transport.abort()
        self._tell_closed(reason)

    def _fail_upgrade(self, error: EngineUnavailable | SandboxGone) -> None:
        if not self._upgraded.done():
            self._upgraded.set_exception(error)
            # Whoever waited may have left; without this the loop would complain about an unread exception.
            self._upgraded.exception()

    def _tell_closed(self, reason: str) -> None:
        if self._on_closed is not None:
            self._loop.call_soon(self._on_closed, reason)
            self._on_closed = None


async def attach(
    address: EngineAddress,
    container: str,
    *,
    api_version: str,
    sandbox_id: str,
    on_stderr: Callable[[bytes], None],
    timeout_s: float,
    traffic: Traffic | None = None,
) -> AttachLink:
    """Open the stream to a container that is created or runs.

    Raises:
        EngineUnavailable: the engine does not answer within `timeout_s`.
        SandboxGone: there is no such container, or it is paused.
    """
    request = _request(container, api_version)
    link = AttachLink(request, sandbox_id, on_stderr, traffic)
    try:
        async with asyncio.timeout(timeout_s):
            await _connect(address, link)
            await link.upgraded()
    except BaseException as error:
        link.close()
        if isinstance(error, TimeoutError):
            words = f"no stream from the engine within {timeout_s:g} s"
            raise EngineUnavailable(words, inside=f"({address})") from error
        if isinstance(error, OSError):  # ssl.SSLError is one
            raise EngineUnavailable("no stream from the engine", inside=f"at {address}: {error}") from error
        raise
    return link


async def _connect(address: EngineAddress, link: AttachLink) -> None:
    """Connect; over TCP asyncio and uvloop set TCP_NODELAY themselves (a test holds them to it)."""
    loop = asyncio.get_running_loop()
    match address:
        case UnixAddress(path):
            await loop.create_unix_connection(lambda: link, path)
        case TcpAddress(host, port, tls):
            await loop.create_connection(lambda: link, host, port, ssl=tls.context() if tls else None)


def _request(container: str, api_version: str) -> bytes:
    return (
        f"POST /v{api_version}/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n"
        "Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
    ).encode("ascii")


def _status(head: bytes) -> int:
    """The status of an HTTP answer; 0 when it is none."""
    words = head.split(b"\r\n", 1)[0].split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit() else 0


def _content_length(head: bytes) -> int:
    """How long the answer's body is, bounded; 0 when it does not say."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return min(int(value), _HEAD_MAX_BYTES)
    return 0


def _refusal(status: int, body: bytes, sandbox_id: str) -> EngineUnavailable | SandboxGone:
    try:
        words = str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        words = body[:200].decode(errors="replace")
    if status in (404, 409):
        return SandboxGone(f"sandbox {sandbox_id} has no stream: {words}")
    return EngineUnavailable(f"the engine refused the stream to sandbox {sandbox_id}: {status} {words}")
