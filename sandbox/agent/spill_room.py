"""What the files of ended executions may take together: the oldest go when a new one needs their room."""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sandbox.limits import SPILL_FOLDER_MAX_BYTES

_OURS: Final = re.compile(r"((?:exec|bash)_[a-z]{4}\d*)_[a-z0-9_]+\.[a-z0-9]+")
"""Names that only spills and artifacts have; what user code puts beside them is neither counted nor deleted."""

_SLACK: Final = 8
"""Room is made for an eighth more than is needed, so that the folder is not looked through for every piece."""


class SpillRoom:
    """Keeps count of the bytes in `folder`, and deletes the oldest files when they would pass `max_bytes`.

    Files of an execution that runs, or that a background job still writes, are never deleted. The count is what
    was written since the folder was last looked through, so it is right or too high; it is looked through when the
    first byte comes and when the count passes the bound, never for an output that does not spill.
    """

    def __init__(self, folder: Path, max_bytes: int = SPILL_FOLDER_MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._used: int | None = None
        self._claims: dict[str, Claim] = {}

    def claim(self, prefix: str) -> "Claim":
        """Begin an execution whose files begin with `prefix`. It must be ended."""
        claim = self._claims[prefix] = Claim(self, prefix)
        return claim

    @property
    def refusal(self) -> str:
        """Say why there is no room."""
        return f"the spill files of a sandbox together keep at most {self._max_bytes} bytes"

    def take(self, count: int) -> tuple[bool, int]:
        """Count bytes that are about to be written: whether there is room, and how many files went for it."""
        if self._used is not None and self._used + count <= self._max_bytes:
            self._used += count
            return True, 0
        removed = self._make_room(count)
        fits = (self._used or 0) + count <= self._max_bytes
        if fits:
            self._used = (self._used or 0) + count
        return fits, removed

    def forget(self, prefix: str) -> None:
        """The files of this execution are old ones from now on. For `Claim` alone."""
        self._claims.pop(prefix, None)

    def _make_room(self, count: int) -> int:
        """Count what is there and delete the oldest until it fits; give how many were deleted."""
        files = sorted(self._files())
        used = sum(size for _, size, _ in files)
        goal = self._max_bytes - self._max_bytes // _SLACK
        removed = 0
        if used + count > self._max_bytes:
            for _, size, path in files:
                if used + count <= goal:
                    break
                if self._prefix(path) not in self._claims and _deleted(path):
                    used -= size
                    removed += 1
        self._used = used
        return removed

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Give the time, the size and the path of each file of ours."""
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                # The name first: to ask for each of a million files of the user's would hold up the agent.
                if _OURS.fullmatch(entry.name) is None:
                    continue
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode):
                        yield found.st_mtime_ns, found.st_size, entry.path

    @staticmethod
    def _prefix(path: str) -> str:
        match = _OURS.fullmatch(os.path.basename(path))  # noqa: PTH119 - no object for each is needed
        return match[1] if match else ""


class Claim:
    """The room of one execution's files. `removed`: how many older files went for it."""

    def __init__(self, room: SpillRoom, prefix: str) -> None:
        self.removed = 0
        self._room = room
        self._prefix = prefix
        self._running = True
        self._open = 0

    def take(self, count: int) -> bool:
        """Say whether that many bytes more may be written; older files go for them if need be."""
        fits, removed = self._room.take(count)
        self.removed += removed
        return fits

    @property
    def refusal(self) -> str:
        """Say why there is no room."""
        return self._room.refusal

    def opened(self) -> None:
        """A file of this execution is being written."""
        self._open += 1

    def closed(self) -> None:
        """A file of this execution is complete."""
        self._open -= 1
        self._settle()

    def end(self) -> None:
        """The execution has ended; its files may go once none of them is written any more."""
        self._running = False
        self._settle()

    def note(self) -> str | None:
        """Say which older files are gone, if any are."""
        if not self.removed:
            return None
        files = "1 older output file was" if self.removed == 1 else f"{self.removed} older output files were"
        return f"{files} deleted to make room: {self._room.refusal}"

    def _settle(self) -> None:
        if not self._running and self._open <= 0:
            self._room.forget(self._prefix)


def _deleted(path: str) -> bool:
    try:
        os.unlink(path)  # noqa: PTH108 - a path of ours, as text
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
