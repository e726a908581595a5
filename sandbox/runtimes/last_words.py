"""The end of what an agent wrote to its log, bounded, whatever it writes."""

from collections import deque
from collections.abc import Callable
from typing import Final

from sandbox.limits import KIB

OnLog = Callable[[str, str], None]
"""Called with the sandbox's id and one line of its agent's log. Untrusted text."""

KEPT_BYTES: Final = 16 * KIB
LINE_BYTES: Final = 4 * KIB


class LastWords:
    """A ring over standard error; complete lines also go to `on_log`, cut at LINE_BYTES."""

    def __init__(self, sandbox_id: str, on_log: OnLog | None = None) -> None:
        self._sandbox_id = sandbox_id
        self._on_log = on_log
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._line = b""

    def add(self, data: bytes) -> None:
        """Take what came; the oldest goes when it is too much."""
        piece = data[-KEPT_BYTES:]
        self._pieces.append(piece)
        self._size += len(piece)
        while self._size - len(self._pieces[0]) >= KEPT_BYTES:
            self._size -= len(self._pieces.popleft())
        if self._on_log is not None:
            self._say_lines(data, self._on_log)

    def text(self) -> str:
        """Give the kept end as text, undecodable bytes replaced."""
        return b"".join(self._pieces)[-KEPT_BYTES:].decode(errors="replace").strip()

    def _say_lines(self, data: bytes, on_log: OnLog) -> None:
        *lines, rest = (self._line + data).split(b"\n")
        for line in lines:
            on_log(self._sandbox_id, line[:LINE_BYTES].decode(errors="replace"))
        self._line = rest[:LINE_BYTES]
