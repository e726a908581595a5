"""The agent's helper calls over the pipe: each is asked, said again over every new pipe, and ended exactly once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from sandbox.limits import HELPER_ACK_EVERY
from sandbox.pipe import framing
from sandbox.pipe.frames import Ack, HelperCall, HelperCancel, HelperEnd, HelperProgress

ACK_DELAY_S: Final = 0.5
"""Fewer endings than HELPER_ACK_EVERY are acknowledged after this long."""


class Asker(Protocol):
    """Who asked: told how far the call is, and its end."""

    def progressed(self, progress: HelperProgress) -> None:
        """It is so far."""

    def ended(self, end: HelperEnd) -> None:
        """It has ended. Exactly once, unless it was cancelled: then never."""


@dataclass(slots=True)
class _Asked:
    """A call that has not ended. `asker` is None once nobody waits for it."""

    call: HelperCall
    asker: Asker | None


class HelperAsking:
    """Helper calls under way. A call counts until the controller has ended it, also one that was cancelled.

    `write` queues bytes. `on_freed` is called whenever there is one call less. `on_unread` gets the path of a file with
    an answer that nobody waits for any more.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.on_freed: Callable[[], None] = _nothing
        self.on_unread: Callable[[str], None] = _nothing
        self._write = write
        self._asked: dict[str, _Asked] = {}
        self._arrived: str | None = None
        self._unacknowledged = 0
        self._ack_timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._asked)

    def ask(self, call: HelperCall, asker: Asker) -> None:
        """Say a call whose id no other has. Raises `PipeViolation` when it does not fit a line."""
        line = framing.encode(call)
        self._asked[call.id] = _Asked(call, asker)
        self._write(line)

    def cancel(self, call_id: str) -> None:
        """Nobody waits for this call any more."""
        asked = self._asked.get(call_id)
        if asked is not None and asked.asker is not None:
            asked.asker = None
            self._write(framing.encode(HelperCancel(call_id)))

    def take(self, frame: HelperProgress | HelperEnd) -> None:
        """Take what the controller says; what is about no call under way was said before."""
        if isinstance(frame, HelperEnd):
            self._end(frame)
        elif (asked := self._asked.get(frame.id)) is not None and asked.asker is not None:
            asked.asker.progressed(frame)

    def say_again(self) -> None:
        """Over a new pipe: say all that is under way, marked as said before; what has arrived comes first."""
        self._say_arrived()
        for asked in list(self._asked.values()):
            if asked.asker is not None:
                self._write(framing.encode(msgspec.structs.replace(asked.call, again=True)))
            else:
                self._write(framing.encode(HelperCancel(asked.call.id)))

    def close(self) -> None:
        """Let go of the timer."""
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None

    def _end(self, end: HelperEnd) -> None:
        asked = self._asked.pop(end.id, None)
        if asked is None:
            return
        self._acknowledge(end.id)
        if asked.asker is not None:
            asked.asker.ended(end)
        elif end.path is not None and end.path == asked.call.answer_path:
            self.on_unread(end.path)
        self.on_freed()

    def _acknowledge(self, call_id: str) -> None:
        """Endings come in order: one acknowledgement is for all up to its own."""
        self._arrived = call_id
        self._unacknowledged += 1
        if self._unacknowledged >= HELPER_ACK_EVERY:
            self._say_arrived()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_DELAY_S, self._ack_due)

    def _ack_due(self) -> None:
        self._ack_timer = None
        if self._unacknowledged:
            self._say_arrived()

    def _say_arrived(self) -> None:
        if self._arrived is not None:
            self._write(framing.encode(Ack(self._arrived)))
        self._unacknowledged = 0


def _nothing(*_: object) -> None:
    """Nobody wants to know."""
