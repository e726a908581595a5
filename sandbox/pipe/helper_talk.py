"""The controller's end of helper calls on one pipe: what the agent says of them, and what it is told."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

from sandbox.limits import HELPER_CALLS_MAX
from sandbox.pipe import framing
from sandbox.pipe.frames import Ack, HelperCall, HelperCancel, HelperEnd, HelperProgress

HelperAsk: TypeAlias = HelperCall | HelperCancel | Ack
"""What an agent says about helper calls. `Ack`: the ending of this one, and all before it, have arrived."""

UNHEARD_MAX: Final = 2 * HELPER_CALLS_MAX
"""What an agent may say of helper calls before anybody listens: each call, and its cancellation."""


class HelperTalk:
    """Part of a `Peer`. `write` sends a line, and drops it once the pipe has ended; `violate` ends the pipe."""

    def __init__(self, write: Callable[[bytes], None], violate: Callable[[str], object]) -> None:
        self._write = write
        self._violate = violate
        self._listener: Callable[[HelperAsk], None] | None = None
        self._unheard: list[HelperAsk] = []
        self._said: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    @property
    def unheard(self) -> int:
        """How much was said before anybody listened."""
        return len(self._unheard)

    def listen(self, listener: Callable[[HelperAsk], None]) -> None:
        """Call this with all that the agent says; what it said already comes first."""
        self._listener = listener
        unheard, self._unheard = self._unheard, []
        for frame in unheard:
            listener(frame)

    def take(self, frame: HelperAsk) -> None:
        """Take what the agent says. For `Peer` alone."""
        if self._listener is not None:
            self._listener(frame)
        elif len(self._unheard) < UNHEARD_MAX:
            self._unheard.append(frame)
        else:
            self._violate(f"more than {HELPER_CALLS_MAX} helper calls are under way")

    def say(self, frame: HelperProgress | HelperEnd) -> None:
        """Tell the agent. What is said in one turn of the loop goes out together: it can be much.

        Raises:
            PipeViolation: it does not fit a line, or a text in it has no UTF-8 form.
        """
        line = framing.encode(frame)
        if not self._said:
            self._loop.call_soon(self.flush)
        self._said.append(line)

    def violate(self, what: str) -> None:
        """End the pipe: the agent did what it may not do."""
        self._violate(what)

    def flush(self) -> None:
        """Send what was said and has not gone out yet."""
        said, self._said = self._said, []
        if said:
            self._write(b"".join(said))
