"""The byte stream of the pipe on two file descriptors, without blocking."""

import asyncio
import os
from collections.abc import Callable
from typing import Final

from sandbox.limits import KIB, MIB

_READ_BYTES: Final = 256 * KIB
_SHORT_BYTES: Final = MIB
"""A send queue up to this long is short: `drain` does not wait for it."""


class StdioStream:
    """Reads `read_fd` and writes `write_fd`; `ended` is set when either of them has ended."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._queue = bytearray()
        self._writing = False
        self._due = False
        self._short = asyncio.Event()
        self._short.set()
        self.ended = asyncio.Event()
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def start(self, on_data: Callable[[bytes], None]) -> None:
        """Begin to deliver what is read."""
        self._on_data = on_data
        asyncio.get_running_loop().add_reader(self._read_fd, self._read)

    def write(self, data: bytes) -> None:
        """Queue bytes. Does nothing once the stream has ended.

        What is written in one turn of the event loop goes out together: each time the other end is woken costs it
        more than to read.
        """
        if self.ended.is_set():
            return
        self._queue += data
        if self._writing:
            return
        if len(self._queue) > _SHORT_BYTES:
            self._send()
        elif not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._send)

    async def drain(self) -> None:
        """Wait until the send queue is short, or the stream has ended."""
        await self._short.wait()

    def close(self) -> None:
        """End it. What is still queued is not sent."""
        if self.ended.is_set():
            return
        self.ended.set()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._read_fd)
        loop.remove_writer(self._write_fd)
        self._queue.clear()
        self._short.set()

    def _read(self) -> None:
        try:
            data = os.read(self._read_fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_data(data)
        else:
            self.close()

    def _send(self) -> None:
        self._due = False
        if self.ended.is_set():
            return
        try:
            while self._queue:
                del self._queue[: os.write(self._write_fd, self._queue)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._watch(bool(self._queue))
        if len(self._queue) > _SHORT_BYTES:
            self._short.clear()
        else:
            self._short.set()

    def _watch(self, writing: bool) -> None:
        if writing == self._writing:
            return
        self._writing = writing
        loop = asyncio.get_running_loop()
        if writing:
            loop.add_writer(self._write_fd, self._send)
        else:
            loop.remove_writer(self._write_fd)
