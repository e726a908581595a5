"""A pipe without a transport: a `Peer` and an `Answerer` whose bytes go from one to the other on the event loop."""

import asyncio
from collections.abc import Callable

from sandbox.pipe.answerer import Answerer, Handler
from sandbox.pipe.link import OnClosed, OnData


class WireLink:
    """A `Link` that hands what is written to `far`, in pieces of at most `piece` bytes, in order."""

    def __init__(self, far: Callable[[bytes], None], *, piece: int = 1 << 20) -> None:
        self._far = far
        self._piece = piece
        self._on_data: OnData | None = None
        self._on_closed: OnClosed | None = None
        self._open = True
        self.written = bytearray()

    def start(self, on_data: OnData, on_closed: OnClosed) -> None:
        self._on_data = on_data
        self._on_closed = on_closed

    def write(self, data: bytes) -> None:
        if not self._open:
            return
        self.written += data
        for start in range(0, len(data), self._piece):
            asyncio.get_running_loop().call_soon(self._far, data[start : start + self._piece])

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        if self._open:
            self._open = False
            if self._on_closed is not None:
                self._on_closed("closed by us")

    def arrive(self, data: bytes) -> None:
        """Bytes from the other side."""
        if self._open and self._on_data is not None:
            for start in range(0, len(data), self._piece):
                asyncio.get_running_loop().call_soon(self._deliver, data[start : start + self._piece])

    def _deliver(self, data: bytes) -> None:
        if self._open and self._on_data is not None:
            self._on_data(data)


class Agent:
    """An `Answerer` that outlives the links to it, as a real agent does: `attach` gives a fresh link."""

    def __init__(self, handler: Handler, *, piece: int = 1 << 20) -> None:
        self._piece = piece
        self._link: WireLink | None = None
        self.answerer = Answerer(handler, self._write, self._drain, boot="boot-1")

    def attach(self) -> WireLink:
        self._link = WireLink(self.answerer.feed, piece=self._piece)
        return self._link

    def _write(self, data: bytes) -> None:
        if self._link is not None:
            self._link.arrive(data)

    async def _drain(self) -> None:
        await asyncio.sleep(0)
