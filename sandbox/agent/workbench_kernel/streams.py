"""Standard output and error of the kernel's process."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import sys
import threading
import time
from typing import Any

BUFFER_BYTES = 64 * 1024
FLUSH_S = 0.05
IDLE_FLUSH_S = 0.5
HIGH_FD = 200


class Waiting(io.FileIO):
    """A descriptor that is waited for, also when a child has set what it shares with us to not waiting, as some do."""

    def write(self, data: Any) -> int:
        """Write some of it."""
        while (count := super().write(data)) is None:
            os.set_blocking(self.fileno(), True)
        return count


class Streams:
    """Standard output and error as plain files on descriptors 1 and 2, put back when user code replaced them."""

    def __init__(self) -> None:
        self._kept = tuple(self._dup_high(fd) for fd in (1, 2))
        self._inodes = tuple(self._identity(fd) for fd in (1, 2))
        self._stdin = sys.stdin
        self._flushing = threading.Lock()
        self.busy = False
        self._idle_mode = False
        self._wake = threading.Event()
        self.out = self._open(1)
        self.err = self._open(2)
        self._install()
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._flushing.release, after_in_child=self._flushing.release
        )
        threading.Thread(target=self._flush_often, name="flush", daemon=True).start()

    @staticmethod
    def _dup_high(fd: int) -> int:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH_FD)

    @staticmethod
    def _identity(fd: int) -> tuple[int, int] | None:
        try:
            stat = os.fstat(fd)
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    @staticmethod
    def _open(fd: int) -> io.TextIOWrapper:
        raw = io.BufferedWriter(Waiting(fd, "w", closefd=False), BUFFER_BYTES)
        # Text that is no valid Unicode must not break a print.
        return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=fd == 2)

    def _install(self) -> None:
        sys.stdout = sys.__stdout__ = self.out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.err  # type: ignore[misc]

    def begin(self) -> None:
        """Before a cell: everything in its place, and what came since the last cell on its way."""
        self.busy = True
        if self._idle_mode:
            self._wake.set()
        self.restore()
        for fd in (1, 2):
            with contextlib.suppress(OSError):
                # It may have been left not waiting, which children that write much do not expect.
                os.set_blocking(fd, True)

    def end(self) -> None:
        """After a cell, before its reply: all that it printed is in the pipes."""
        for stream in (sys.stdout, sys.stderr):
            # A stream of the user's own may do anything when it is flushed; the reply must still go out.
            if stream is not self.out and stream is not self.err:
                with contextlib.suppress(BaseException):
                    stream.flush()
        self.restore()
        self.busy = False

    def restore(self) -> None:
        """Put descriptors 0 to 2 and the `sys` streams back where user code replaced or closed them."""
        for stream in (self.out, self.err):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        for fd, kept, identity in zip((1, 2), self._kept, self._inodes, strict=True):
            with contextlib.suppress(OSError):
                if self._identity(fd) != identity:
                    os.dup2(kept, fd)
        if self._identity(0) is None:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if self.out.closed:
            self.out = self._open(1)
        if self.err.closed:
            self.err = self._open(2)
        if sys.stdout is not self.out or sys.stderr is not self.err:
            self._install()
        if sys.stdin is not self._stdin:
            sys.stdin = self._stdin
        for stream in (self.out, self.err):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()

    def _before_fork(self) -> None:
        # What is buffered would be written twice, once by the child; and a child must not inherit a lock in use.
        self._flushing.acquire()
        with contextlib.suppress(OSError, ValueError):
            self.out.flush()

    def _flush_often(self) -> None:
        quiet = 0
        while True:
            self._idle_mode = quiet > 1 / FLUSH_S
            if self._idle_mode:
                self._wake.wait(IDLE_FLUSH_S)
                self._wake.clear()
            else:
                time.sleep(FLUSH_S)
            quiet = 0 if self.busy else quiet + 1
            with self._flushing, contextlib.suppress(OSError, ValueError):
                self.out.flush()
