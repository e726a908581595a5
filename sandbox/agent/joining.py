"""Streams of one cell, one after the other in one file."""

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.limits import MIB
from sandbox.pipe.messages import StreamOutput

JOIN_S: Final = 5.0
"""With INTERRUPT_GRACE_S well under CALL_SLACK_S: a cell that is over its time has ended before that too."""


@dataclass(frozen=True, slots=True)
class Joined:
    """`path`: of the file with all streams; None: there is none, and `why` says so."""

    path: str | None
    why: str | None = None


async def join_files(parts: Sequence[StreamOutput], path: Path, *, within_s: float = JOIN_S) -> Joined:
    """Write the streams into a new file, whole or not at all. Where it cannot be, they are where they are."""
    try:
        async with asyncio.timeout(within_s):
            return Joined(await _joined(parts, path))
    except TimeoutError:
        return left_out(f"its {sum(part.bytes for part in parts)} bytes were not written within {within_s:g} s")
    except OSError as error:
        return left_out(f"it could not be written: {error.strerror}")


def left_out(why: str) -> Joined:
    """Say that there is no such file."""
    return Joined(None, f"there is no file with stdout and the value together: {why}")


async def _joined(parts: Sequence[StreamOutput], path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = False
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(fd, "wb") as target:
            for part in parts:
                # Piece by piece, for a spill may be a gigabyte; in no thread, for user code may have used up all.
                for piece in _pieces(part):
                    target.write(piece)
                    await asyncio.sleep(0)
        whole = True
    finally:
        if not whole:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - of this module's own making, as the spills are
    return str(path)


def _pieces(part: StreamOutput) -> Iterator[bytes]:
    """Give a stream from its text or its file, as much as it had: user code may have put anything in its place."""
    if part.path is None:
        yield part.text.encode()
        return
    fd = os.open(part.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as source:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", part.path)
        left = part.bytes
        while left > 0 and (piece := source.read(min(left, MIB))):
            left -= len(piece)
            yield piece
