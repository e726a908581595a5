"""Listing the regular files below a folder, sorted and page by page, however many there are."""

import heapq
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sandbox.agent.naming import shown
from sandbox.agent.removing import Stopped
from sandbox.errors import CallFault
from sandbox.pipe.messages import FileInfo, FileList

_BATCH: Final = 10_000
"""Entries of one folder that are held in memory at a time."""

_PAGE_MAX: Final = 2_000
"""Files on one page: with long names it still fits a line of the pipe."""

_PAGE_CHARS: Final = 100_000
"""Characters of all paths on one page, for the same reason."""


DRAFT_PREFIX: Final = ".upload-"
"""A file under way is written under this, and 16 hexadecimal digits, beside its place."""

_DRAFT: Final = re.compile(re.escape(DRAFT_PREFIX) + "[0-9a-f]{16}")


def list_page(folder: Path, prefix: str, after: str, limit: int, stopped: Stopped) -> FileList:
    """List files whose path below `folder` begins with `prefix` and sorts after `after`, at most `limit`.

    Links are not followed and not listed, nor are files whose upload is under way. A page may be shorter than
    `limit`; `next_after` says whether there is more.

    Raises:
        CallFault: `cancelled`, when it was stopped.
        OSError: `folder` is not a folder that can be read.
    """
    files: list[FileInfo] = []
    chars = 0
    with os.scandir(folder):
        pass  # only to fail early: below, what cannot be read is left out
    for name, entry in _walk(str(folder), prefix, after, stopped):
        if len(files) == min(limit, _PAGE_MAX) or chars > _PAGE_CHARS:
            return FileList(tuple(files), files[-1].path)
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it went away in the meantime
        files.append(FileInfo(name, found.st_size, found.st_mtime))
        chars += len(name)
    return FileList(tuple(files))


def _walk(folder: str, prefix: str, after: str, stopped: Stopped) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Give relative path and entry of every file in order. Not recursive: folders can be nested deeply."""
    open_folders = [_entries(folder, "", prefix, after, stopped)]
    while open_folders:
        for name, entry in open_folders[-1]:
            if name.endswith("/"):
                open_folders.append(_entries(entry.path, name, prefix, after, stopped))
                break
            yield name, entry
        else:
            open_folders.pop()


def _entries(
    folder: str, base: str, prefix: str, after: str, stopped: Stopped
) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Give the wanted entries of one folder in the order of the full paths below it.

    A folder's name ends with a slash, which sorts it to where the paths of its files belong.
    """
    last = ""
    while True:
        try:
            with os.scandir(folder) as entries:
                wanted = ((_relative(base, entry), entry) for entry in entries if _listed(entry, stopped))
                batch = heapq.nsmallest(
                    _BATCH,
                    ((name, entry) for name, entry in wanted if name > last and _leads_to(name, prefix, after)),
                    key=lambda pair: pair[0],
                )
        except OSError:
            return
        yield from batch
        if len(batch) < _BATCH:
            return
        last = batch[-1][0]


def _listed(entry: "os.DirEntry[str]", stopped: Stopped) -> bool:
    if stopped():
        raise CallFault("cancelled", "stopped before all files were looked at")
    try:
        if entry.is_file(follow_symlinks=False):
            return _DRAFT.fullmatch(entry.name) is None
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _relative(base: str, entry: "os.DirEntry[str]") -> str:
    name = shown(entry.name)
    return f"{base}{name}/" if entry.is_dir(follow_symlinks=False) else base + name


def _leads_to(name: str, prefix: str, after: str) -> bool:
    """Whether an entry is, or may hold, a file that begins with `prefix` and comes after `after`."""
    if not name.endswith("/"):
        return name > after and name.startswith(prefix)
    return (name > after or after.startswith(name)) and (name.startswith(prefix) or prefix.startswith(name))
