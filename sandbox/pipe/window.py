"""The chunk window: how far a sender of bulk data may be ahead of its reader. Pure counting, no I/O."""

from sandbox.errors import PipeViolation
from sandbox.limits import CHUNK_BYTES, CHUNK_WINDOW


class SendWindow:
    """The sender's side: chunk numbers given out, and how many of them are consumed."""

    def __init__(self, size: int = CHUNK_WINDOW) -> None:
        self._size = size
        self._sent = 0
        self._consumed = 0

    @property
    def open(self) -> bool:
        """Whether one more chunk may go out now."""
        return self._sent - self._consumed < self._size

    def take(self) -> int:
        """Give the number of the next chunk. Only when the window is open."""
        self._sent += 1
        return self._sent

    def credit(self, seq: int) -> None:
        """Chunks up to `seq` are consumed.

        Raises:
            PipeViolation: `seq` was never sent. An older number than one seen before changes nothing.
        """
        if seq > self._sent:
            raise PipeViolation(f"credit for chunk {seq}, but only {self._sent} were sent")
        self._consumed = max(self._consumed, seq)


class ReceiveWindow:
    """The reader's side: which chunk must come next, and whether the sender kept to the window."""

    def __init__(self, size: int = CHUNK_WINDOW) -> None:
        self._size = size
        self._received = 0
        self._consumed = 0
        self._closed = False

    def accept(self, seq: int, data: bytes, *, last: bool) -> None:
        """Check one chunk as it arrives.

        Raises:
            PipeViolation: out of order, beyond the window, too large, or after the last one.
        """
        if self._closed:
            raise PipeViolation(f"chunk {seq} came after the last one")
        if seq != self._received + 1:
            raise PipeViolation(f"chunk {seq} came where {self._received + 1} was due")
        if seq - self._consumed > self._size:
            raise PipeViolation(f"chunk {seq} is beyond the window of {self._size}")
        if len(data) > CHUNK_BYTES:
            raise PipeViolation(f"chunk {seq} has {len(data)} bytes; {CHUNK_BYTES} are allowed")
        self._received = seq
        self._closed = last

    def consume(self) -> int:
        """One more chunk is used up; give the number to credit."""
        self._consumed += 1
        return self._consumed
