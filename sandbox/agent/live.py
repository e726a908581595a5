"""Live output: text as it comes, gathered for a moment and bounded, as progress events."""

import asyncio
from collections.abc import Callable
from typing import Final

from sandbox.limits import KIB, LIVE_CHARS, LIVE_INTERVAL_S
from sandbox.pipe.messages import LiveCut, LiveOutput, Progress, StreamName

EVENT_CHARS: Final = 64 * KIB
"""Characters of one event: even when JSON escapes each of them, it fits a line of the pipe."""


class LiveText:
    """Gathers the live text of one execution and gives it to `emit` in few events, in order.

    After LIVE_CHARS characters one `LiveCut` is emitted and nothing more. Call `close` before the ending.
    """

    def __init__(self, emit: Callable[[Progress], None]) -> None:
        self._emit = emit
        self._left = LIVE_CHARS
        self._waiting: list[tuple[StreamName, str]] = []
        self._waiting_chars = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def text(self, stream: StreamName, text: str) -> None:
        """Take a piece of output; it is sent within LIVE_INTERVAL_S, or at once when much is waiting."""
        if self._closed or not text:
            return
        cut = len(text) > self._left
        piece = text[: self._left]
        self._left -= len(piece)
        self._waiting.append((stream, piece))
        self._waiting_chars += len(piece)
        if cut:
            self.close()
            self._emit(LiveCut())
        elif self._waiting_chars >= EVENT_CHARS:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LIVE_INTERVAL_S, self.flush)

    def flush(self) -> None:
        """Send what waits now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting, self._waiting_chars = self._waiting, [], 0
        for stream, text in _joined(waiting):
            for start in range(0, len(text), EVENT_CHARS):
                self._emit(LiveOutput(stream, text[start : start + EVENT_CHARS]))

    def close(self) -> None:
        """Send what waits, then take no more."""
        self.flush()
        self._closed = True


def _joined(pieces: list[tuple[StreamName, str]]) -> list[tuple[StreamName, str]]:
    """Join neighbours of the same stream."""
    joined: list[tuple[StreamName, list[str]]] = []
    for stream, text in pieces:
        if joined and joined[-1][0] is stream:
            joined[-1][1].append(text)
        else:
            joined.append((stream, [text]))
    return [(stream, "".join(texts)) for stream, texts in joined]
