"""The two pipes that all text of the kernel and of its children comes through."""

import array
import asyncio
import contextlib
import fcntl
import os
import termios
from collections.abc import Callable
from typing import Final

from sandbox.limits import KIB, MIB
from sandbox.pipe.messages import StreamName

_READ_BYTES: Final = 256 * KIB
_PIPE_BYTES: Final = MIB


class KernelPipes:
    """Standard output and error of every kernel of a sandbox, one after the other.

    They stay open between kernels: children that a dead kernel left may go on to write. `on_output` gets each
    piece, on the event loop.
    """

    def __init__(self, on_output: Callable[[StreamName, bytes], None]) -> None:
        self._on_output = on_output
        self._loop = asyncio.get_running_loop()
        self._ends: dict[StreamName, tuple[int, int]] = {}
        for stream in (StreamName.STDOUT, StreamName.STDERR):
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(read_end, False)
            with contextlib.suppress(OSError):
                # A user may have used up what the machine allows; the default size works too.
                fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._ends[stream] = (read_end, write_end)
            self._loop.add_reader(read_end, self._read, stream, read_end)

    @property
    def stdout(self) -> int:
        """The end that a kernel writes its standard output to."""
        return self._ends[StreamName.STDOUT][1]

    @property
    def stderr(self) -> int:
        """The end that a kernel writes its standard error to."""
        return self._ends[StreamName.STDERR][1]

    def drain(self) -> None:
        """Deliver what is in the pipes now, and no more: a background job may write for ever."""
        for stream, (read_end, _) in self._ends.items():
            waiting = array.array("i", [0])
            fcntl.ioctl(read_end, termios.FIONREAD, waiting)
            left = waiting[0]
            while left > 0 and (count := self._read(stream, read_end)):
                left -= count

    def close(self) -> None:
        """Stop to read and close everything; may be called again."""
        for read_end, write_end in self._ends.values():
            self._loop.remove_reader(read_end)
            os.close(read_end)
            os.close(write_end)
        self._ends = {}

    def _read(self, stream: StreamName, read_end: int) -> int:
        try:
            data = os.read(read_end, _READ_BYTES)
        except BlockingIOError:
            return 0
        if data:
            self._on_output(stream, data)
        return len(data)
