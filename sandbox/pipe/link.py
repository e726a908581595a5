"""What the pipe needs from a transport: a duplex byte stream, and nothing else."""

from collections.abc import Callable
from typing import Protocol

OnData = Callable[[bytes], None]
OnClosed = Callable[[str], None]


class Link(Protocol):
    """A duplex byte stream. Drivers make it; the peer uses it. All methods are called on the event loop."""

    def start(self, on_data: OnData, on_closed: OnClosed) -> None:
        """Begin to deliver: `on_data` with each piece as it comes, `on_closed` once with the reason in words.

        Called once. Pieces that came before are delivered first. `on_closed` is called also after `close`.
        """

    def write(self, data: bytes) -> None:
        """Queue bytes for sending, in order. Never blocks; does nothing once the stream is closed."""

    async def drain(self) -> None:
        """Wait until the send queue is short again. Returns at once when the stream is closed."""

    def close(self) -> None:
        """Close the stream now; may be called again."""


class NoLink:
    """A link that never was: for a sandbox in which nothing runs that could be talked to."""

    def start(self, on_data: OnData, on_closed: OnClosed) -> None:
        """Deliver nothing."""

    def write(self, data: bytes) -> None:
        """Do nothing."""

    async def drain(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Do nothing."""
