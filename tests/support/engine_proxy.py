"""A proxy in front of the engine's unix socket that can be cut, stalled, restored, and told to refuse.

It stands for an engine that is gone, hangs, restarts or is out of disk, while the real one goes on for others. It
runs on a loop and a thread of its own, so that tests and the server they test never wait for it.
"""

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")
_DEADLINE_S = 20
_LENGTH = re.compile(rb"^content-length:\s*(\d+)", re.IGNORECASE | re.MULTILINE)

_Rule = Callable[[], bytes | None]
"""What becomes of a request: an answer, or None for no answer at all."""


class EngineProxy:
    """`url` is the engine's address for those who go through the proxy."""

    def __init__(self, engine: str, path: Path) -> None:
        self.url = f"unix://{path}"
        self._engine = engine
        self._path = path
        self._server: asyncio.Server | None = None
        self._rules: dict[str, _Rule] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._streams: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._asked = threading.Condition()
        self._requests: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.restore()

    # --- what a test says -------------------------------------------------------------------------

    def cut(self) -> None:
        """The engine is gone: nobody can connect, and all connections are cut."""
        self._do(self._cut())

    def cut_streams(self) -> None:
        """Only the streams to the containers are cut; the engine goes on to answer."""
        self._do(self._close(self._streams))

    def stall(self) -> None:
        """The engine accepts connections and takes bytes, and says nothing more, on old connections too."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def restore(self) -> None:
        """All is well again. What was stalled goes on."""
        self._rules.clear()
        self._do(self._restore())

    def refuse(self, request: str, status: int, message: str) -> None:
        """Answer requests that match (`POST .*/containers/create`) with this status and these words."""
        body = json.dumps({"message": message}).encode()
        head = f"HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        answer = head.encode() + b"Connection: close\r\n\r\n" + body
        self._rules[request] = lambda: answer

    def ignore(self, request: str) -> None:
        """Take requests that match, and never answer them."""
        self._rules[request] = lambda: None

    def wait_for(self, request: str) -> None:
        """Wait until a request that matches has been made, now or earlier."""
        with self._asked:
            found = self._asked.wait_for(
                lambda: any(re.fullmatch(request, each) for each in self._requests), timeout=_DEADLINE_S
            )
            assert found, f"nobody asked for {request}: {self._requests[-20:]}"
            self._requests.clear()

    def forget(self) -> None:
        """Forget which requests were made."""
        with self._asked:
            self._requests.clear()

    def close(self) -> None:
        """End it."""
        self.cut()
        self._do(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_DEADLINE_S)
        self._loop.close()

    # --- what goes on on its own loop -----------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_DEADLINE_S)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)
        await self._close(self._writers)

    async def _close(self, writers: set[asyncio.StreamWriter]) -> None:
        for writer in list(writers):
            writer.transport.abort()

    async def _restore(self) -> None:
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._connected, self._path)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A task that was cancelled before its first step, or before it had reached the engine, has closed nothing.
        await self._close(self._writers)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine_reader, engine_writer = await asyncio.open_unix_connection(self._engine)
        ends = {writer, engine_writer}
        self._writers |= ends
        back = self._loop.create_task(self._pump(engine_reader, writer))
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._pass_request(reader, writer, engine_writer):
                    pass
                await back
        finally:
            back.cancel()
            self._writers -= ends
            self._streams -= ends
            for end in ends:
                end.transport.abort()

    async def _pass_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, engine: asyncio.StreamWriter
    ) -> bool:
        """Pass one request on. Whether another may follow it."""
        head = await reader.readuntil(b"\r\n\r\n")
        request = b" ".join(head.split(b" ", 2)[:2]).decode("latin-1").partition("?")[0]
        with self._asked:
            self._requests.append(request)
            self._asked.notify_all()
        rule = next((rule for wanted, rule in self._rules.items() if re.fullmatch(wanted, request)), None)
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length.group(1))) if length else b""
        if rule is not None:
            return await self._apply(rule, reader, writer)
        await self._flowing.wait()
        engine.write(head + body)
        if b"\r\nupgrade:" in head.lower():
            self._streams |= {writer, engine}
            await self._pump(reader, engine)
            return False
        return True

    async def _apply(self, rule: _Rule, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        answer = rule()
        if answer is None:
            await reader.read()  # until the other side gives up
            raise ConnectionResetError
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        raise ConnectionResetError

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()


@contextmanager
def engine_proxy(engine: str, folder: Path) -> Iterator[EngineProxy]:
    """Run a proxy for the engine at the socket `engine`; its own socket is in `folder`."""
    proxy = EngineProxy(engine, folder / "engine.sock")
    try:
        yield proxy
    finally:
        proxy.close()
