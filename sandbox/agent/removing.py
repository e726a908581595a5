"""Removing a folder with all that is in it, however much that is: it can be stopped, and depth is bounded."""

import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sandbox.errors import CallFault

DEPTH_MAX: Final = 400
"""Folders in folders. Each takes an open file and a turn of recursion, and of both there are few."""

_BATCH: Final = 10_000
"""Entries of one folder that are held in memory at a time."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Stopped = Callable[[], bool]
"""Whether the call that this is for has ended."""


def remove_tree(folder: Path, stopped: Stopped) -> None:
    """Remove a folder; links in it are removed, not followed. What is gone already is no error.

    Raises:
        CallFault: `cancelled` when it was stopped; `too_deep`. A part of it is gone then.
        OSError: something in it cannot be removed.
    """
    _remove(str(folder), None, 0, stopped)


def _remove(name: str, parent: int | None, depth: int, stopped: Stopped) -> None:
    if depth > DEPTH_MAX:
        raise CallFault("too_deep", f"over {DEPTH_MAX} folders in each other: remove them with `rm -r` in bash")
    fd = os.open(name, _FOLDER, dir_fd=parent)
    try:
        while batch := _some(fd):
            for entry in batch:
                if stopped():
                    raise CallFault("cancelled", "stopped before all of it was removed")
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        _remove(entry.name, fd, depth + 1, stopped)
                    else:
                        os.unlink(entry.name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def _some(fd: int) -> list["os.DirEntry[str]"]:
    with os.scandir(fd) as entries:
        return list(itertools.islice(entries, _BATCH))
