"""Docker's framing and the upgraded stream, against a real server that says what an engine says."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import EngineUnavailable, SandboxGone
from sandbox.runtimes.docker_address import TcpAddress
from sandbox.runtimes.docker_attach import AttachLink, BadFrame, FrameDecoder, Stream, attach
from sandbox.runtimes.last_words import KEPT_BYTES, LastWords

pytestmark = pytest.mark.anyio


def frame(stream: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(payload)) + payload


FRAMES = st.lists(st.tuples(st.sampled_from(Stream), st.binary(max_size=40)), max_size=12)


@given(FRAMES, st.lists(st.integers(1, 9), min_size=1))
def test_frames_come_out_the_same_however_the_stream_is_cut(
    frames: list[tuple[Stream, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(frame(kind, payload) for kind, payload in frames)
    decoder, got = FrameDecoder(), dict.fromkeys(Stream, b"")
    at = turn = 0
    while at < len(stream):
        cut = cuts[turn % len(cuts)]
        for kind, piece in decoder.feed(stream[at : at + cut]):
            assert piece
            got[kind] += piece
        at, turn = at + cut, turn + 1
    assert got == {kind: b"".join(p for k, p in frames if k is kind) for kind in Stream}


@pytest.mark.parametrize(
    "header", [b"\x00\0\0\0\0\0\0\x01", b"\x04\0\0\0\0\0\0\x01", b"\x01\0\1\0\0\0\0\x01", b"HTTP/1.1"]
)
def test_a_header_that_docker_never_writes_is_refused(header: bytes) -> None:
    with pytest.raises(BadFrame):
        list(FrameDecoder().feed(header))


def test_last_words_keep_the_end_and_give_lines_to_the_log() -> None:
    lines: list[tuple[str, str]] = []
    words = LastWords("ab12", lambda sandbox_id, line: lines.append((sandbox_id, line)))
    words.add(b"first\nsec")
    words.add(b"ond\n\xff")
    assert lines == [("ab12", "first"), ("ab12", "second")]
    assert words.text() == "first\nsecond\n\ufffd"


@given(st.lists(st.binary(max_size=3 * KEPT_BYTES), max_size=6))
def test_last_words_are_the_bounded_end_of_what_was_said(pieces: list[bytes]) -> None:
    words = LastWords("ab12")
    for piece in pieces:
        words.add(piece)
    assert words.text() == b"".join(pieces)[-KEPT_BYTES:].decode(errors="replace").strip()


# --- the upgraded stream ------------------------------------------------------------------------------

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\n\r\n"


@asynccontextmanager
async def engine(serve: Serve) -> AsyncIterator[TcpAddress]:
    """A TCP server that reads one request head and goes on with `serve`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1])


def ignore(_: bytes) -> None:
    """Take what nobody looks at."""


async def open_link(
    address: TcpAddress, *, on_stderr: Callable[[bytes], None] = ignore, timeout_s: float = 10
) -> AttachLink:
    return await attach(
        address, "c0ffee", api_version="1.41", sandbox_id="ab12", on_stderr=on_stderr, timeout_s=timeout_s
    )


class Taken:
    """What a link has delivered, and the moment it closed."""

    def __init__(self, link: AttachLink) -> None:
        self.data = b""
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        link.start(self._take, self.closed.set_result)

    def _take(self, data: bytes) -> None:
        self.data += data


async def test_standard_output_is_delivered_and_standard_error_goes_to_the_log() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED + frame(1, b"early ") + frame(2, b"log"))
        assert await reader.readexactly(4) == b"ping"
        writer.write(frame(1, b"pong"))

    log: list[bytes] = []
    async with engine(serve) as address:
        link = await open_link(address, on_stderr=log.append)
        taken = Taken(link)
        link.write(b"ping")
        async with asyncio.timeout(10):
            assert await taken.closed == "the engine closed the stream"
    assert (taken.data, b"".join(log)) == (b"early pong", b"log")
    assert link.closed


async def test_a_frame_that_makes_no_sense_closes_the_link() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED + frame(1, b"good") + b"\x09\0\0\0\0\0\0\x01x" + frame(1, b"after"))
        await reader.read()

    async with engine(serve) as address:
        taken = Taken(await open_link(address))
        async with asyncio.timeout(10):
            assert await taken.closed == "the engine sent a frame header 0900000000000001"
    assert taken.data == b"good"


async def test_closing_tells_once_and_delivers_nothing_more() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        await reader.read()

    async with engine(serve) as address:
        link = await open_link(address)
        taken = Taken(link)
        link.close()
        link.close()
        link.write(b"ignored")
        await link.drain()
        async with asyncio.timeout(10):
            assert await taken.closed == "closed by the controller"


async def test_drain_waits_while_the_engine_does_not_read() -> None:
    go = asyncio.Event()
    size = 32 * 1024 * 1024

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        await go.wait()
        writer.write(frame(1, str(len(await reader.readexactly(size))).encode()))

    async with engine(serve) as address:
        link = await open_link(address)
        taken = Taken(link)
        link.write(bytes(size))
        draining = asyncio.create_task(link.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        go.set()
        async with asyncio.timeout(30):
            await draining
            await taken.closed
    assert taken.data == str(size).encode()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b'HTTP/1.1 404 Not Found\r\nContent-Length: 32\r\n\r\n{"message":"No such container: x"', SandboxGone, "ab12"),
        (b'HTTP/1.1 409 Conflict\r\nContent-Length: 23\r\n\r\n{"message":"is paused"}', SandboxGone, "is paused"),
        (b'HTTP/1.1 500 Oh\r\nContent-Length: 21\r\n\r\n{"message":"no disk"}', EngineUnavailable, "500 no disk"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", EngineUnavailable, "403"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", EngineUnavailable, "refused"),
        (b"x" * 100_000, EngineUnavailable, "does not speak HTTP"),
        (b"HTTP/1.1 101", EngineUnavailable, "closed the stream"),
        (b"", EngineUnavailable, "closed the stream"),
    ],
)  # fmt: skip
async def test_a_refusal_of_the_engine_has_its_own_error(answer: bytes, error: type[Exception], words: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with engine(serve) as address:
        with pytest.raises(error, match=words):
            await open_link(address)


async def test_a_silent_engine_runs_into_the_deadline() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with engine(serve) as address:
        with pytest.raises(EngineUnavailable, match="no stream from the engine within 0.05 s"):
            await open_link(address, timeout_s=0.05)


async def test_nobody_at_the_address_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(EngineUnavailable, match="no stream from the engine at tcp://127.0.0.1"):
            await open_link(TcpAddress("127.0.0.1", unused.getsockname()[1]))


async def _no_delay() -> int:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        await reader.read()

    async with engine(serve) as address:
        link = await open_link(address)
        try:
            assert link._transport is not None
            found: int = link._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        finally:
            link.close()
    return found


async def test_tcp_sends_at_once_on_asyncio() -> None:
    assert await _no_delay() == 1


def test_tcp_sends_at_once_on_uvloop() -> None:
    assert uvloop.run(_no_delay()) == 1
