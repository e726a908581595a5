"""Pipes on which the output of a command comes, and those that outlive their command."""

import array
import asyncio
import fcntl
import os
import termios
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from sandbox.agent.output import Capture
from sandbox.limits import KIB

_READ_BYTES: Final = 256 * KIB

HELD_PIPES_MAX: Final = 512
"""Pipes of ended commands that are read on for the background jobs that hold them.

Two a job, so those of half as many jobs as a sandbox of the standard size has processes for. With a file for each
they are a quarter of the files that the agent may open; connections of helpers may be another.
"""


class OutputPipe:
    """One pipe: a child gets `write_end`, and what comes out of it goes to `capture`.

    Raises:
        OSError: no more pipes can be made.
    """

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self._take = capture.feed
        self._on_end: Callable[[], None] | None = None
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._reading = False
        self.open = True

    def start(self) -> None:
        """The child has its end: give up ours, begin to read."""
        self._drop_write_end()
        self._reading = True
        asyncio.get_running_loop().add_reader(self._read_end, self._read)

    def drain(self) -> None:
        """Read what is in the pipe now, and no more: a background job may write for ever."""
        waiting = array.array("i", [0])
        if self.open:
            fcntl.ioctl(self._read_end, termios.FIONREAD, waiting)
        left = waiting[0]
        # One read more than that tells whether the pipe has ended.
        while self.open and left >= 0 and (count := self._read()):
            left -= count

    def hold(self, on_end: Callable[[], None]) -> None:
        """Read on; what comes from now on is late output. `on_end` is called when nobody holds it any more."""
        self._take = self.capture.late
        self._on_end = on_end

    def close(self) -> None:
        """Stop to read and close everything; may be called again."""
        self._drop_write_end()
        if not self.open:
            return
        self.open = False
        if self._reading:
            asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)
        if self._on_end is not None:
            self._on_end()

    def _read(self) -> int:
        """Read once; give how many bytes came."""
        try:
            data = os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return 0
        if data:
            self._take(data)
        else:
            self.close()
        return len(data)

    def _drop_write_end(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1


class HeldPipes:
    """Pipes that a background job still holds when its command has ended.

    They are not closed, or the job would die of it (SIGPIPE); what comes is appended to the spill file. Of
    more than HELD_PIPES_MAX the oldest is closed.
    """

    def __init__(self) -> None:
        self._pipes: OrderedDict[int, OutputPipe] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pipes)

    def add(self, pipe: OutputPipe) -> None:
        """Keep reading a pipe."""
        self._pipes[id(pipe)] = pipe
        pipe.hold(lambda: self._ended(pipe))
        while len(self._pipes) > HELD_PIPES_MAX:
            next(iter(self._pipes.values())).close()

    def close(self) -> None:
        """Close all of them."""
        for pipe in list(self._pipes.values()):
            pipe.close()

    def _ended(self, pipe: OutputPipe) -> None:
        self._pipes.pop(id(pipe), None)
        pipe.capture.close()
