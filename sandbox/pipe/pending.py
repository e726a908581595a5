"""A call that the controller waits for: its progress, its chunk windows, its ending."""

import asyncio
from collections.abc import Callable

from sandbox.errors import PipeError
from sandbox.limits import LIVE_CHARS
from sandbox.pipe.frames import Chunk, Credit, End, Event
from sandbox.pipe.messages import LiveOutput
from sandbox.pipe.window import ReceiveWindow, SendWindow

OnEvent = Callable[[Event], None]

EVENTS_PER_CALL = 100_000
"""Events of one call that are passed on; a well-behaved agent sends twenty a second."""


class Pending:
    """A call that has not ended: who waits for it, and its chunk windows.

    `joining`: the agent was asked to say it all again and has not begun to; until then nothing of it counts.
    `held`: who waits acknowledges the ending, once it is safe.
    """

    def __init__(self, on_event: OnEvent | None = None, *, joining: bool = False, held: bool = False) -> None:
        self.joining = joining
        self.held = held
        self.ending: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.chunks: asyncio.Queue[Chunk | None] = asyncio.Queue()
        self.incoming = ReceiveWindow()
        self.outgoing = SendWindow()
        self.credited = asyncio.Event()
        self._on_event = on_event
        self._last_seq = 0
        self._live_chars = 0

    def event(self, event: Event) -> None:
        """Pass progress on, each event once, in order, bounded."""
        if self.joining or not self._last_seq < event.seq <= EVENTS_PER_CALL:
            return
        self._last_seq = event.seq
        if isinstance(event.body, LiveOutput):
            self._live_chars += len(event.body.text)
        if self._on_event is None or self._live_chars > 2 * LIVE_CHARS:
            return
        self._on_event(event)

    def stream(self, frame: Chunk | Credit) -> None:
        """Take bulk data, or the word that ours is consumed. Raises `PipeViolation` when it breaks the window."""
        if isinstance(frame, Chunk):
            self.incoming.accept(frame.seq, frame.data, last=frame.last)
            self.chunks.put_nowait(frame)
        else:
            self.outgoing.credit(frame.seq)
            self.credited.set()

    async def may_send(self) -> bool:
        """Wait until one more chunk may go out; False when the call has ended meanwhile."""
        while not self.outgoing.open and not self.ending.done():
            self.credited.clear()
            await self.credited.wait()
        return not self.ending.done()

    def end(self, end: End) -> None:
        """Resolve it: the ending has arrived."""
        if not self.ending.done():
            self.ending.set_result(end)
        self.chunks.put_nowait(None)
        self.credited.set()

    def fail(self, error: PipeError) -> None:
        """Resolve it: there will be no ending."""
        if not self.ending.done():
            self.ending.set_exception(error)
            self.ending.exception()  # marked as seen: a stream that ends early may never await it
        self.chunks.put_nowait(None)
        self.credited.set()
