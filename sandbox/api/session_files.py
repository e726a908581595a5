"""The files of one session, by paths relative to their folder, with faults in the words of HTTP."""

import math
import mimetypes
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sandbox.api.file_bytes import TRANSFER_S, Download, Pieces
from sandbox.api.file_paths import wrong
from sandbox.errors import CallFault, Conflict, InvalidRequest, NotFound, Overloaded, PayloadTooLarge, WorkbenchError
from sandbox.limits import FILES_DIR
from sandbox.pipe.messages import FileInfo, FileList
from sandbox.sessions.helper_files import CUT
from sandbox.sessions.helper_port import SandboxFiles
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.session import Session
from sandbox.tools.exposure import switched_off
from sandbox.tools.workbench import WorkbenchTool

_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()

_REASONS: Final = {
    "not_a_file": "is not a file, or leads through one",
    "permission": "may not be touched: the sandbox itself refuses it",
    "outside": f"is, or leads through, a link out of {FILES_DIR}",
    "invalid": "cannot be a path in the sandbox",
    "ambiguous": "is shown for several names that are no UTF-8: rename them in bash",
    "too_deep": "has too many folders in each other: remove it with `rm -r` in bash",
}


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """Files in the live sandbox of a session, which is started or woken for them.

    `field`: what the request calls the path. All methods raise `InvalidArguments` naming it for a path that cannot be,
    `NotFound` for a deleted session, and `RuntimeFault` when no sandbox can be had.
    """

    manager: SessionManager
    session: Session
    field: str

    def __post_init__(self) -> None:
        key = switched_off(WorkbenchTool.slug, self.session.config)
        if key is not None:
            raise InvalidRequest(
                f"This session has no files: its sandbox is switched off ({key} is false)",
                suggested_fix=f"Set {key} to true in the session's configuration.",
            )

    async def stat(self, path: str) -> FileInfo:
        """Say how large a file is, and how old. Raises `NotFound`."""
        async with self._open(path) as (files, folder):
            return await files.stat(f"{folder}/{path}", inside=folder)

    async def list(self, prefix: str, *, after: str, limit: int) -> FileList:
        """List a page of the files whose path begins with `prefix`."""
        async with self._open(prefix) as (files, folder):
            return await files.list(folder, prefix=prefix, after=after, limit=limit)

    async def write(self, path: str, data: AsyncIterable[bytes]) -> FileInfo:
        """Write a file, whole or not at all. Raises `PayloadTooLarge` when the sandbox has no room for it."""
        async with self._open(path) as (files, folder):
            return await files.write(f"{folder}/{path}", data, timeout_s=TRANSFER_S, inside=folder)

    async def delete(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it. Raises `NotFound`."""
        async with self._open(path) as (files, folder):
            if not await files.delete(f"{folder}/{path}", inside=folder):
                raise _missing(path)

    async def download(self, path: str) -> Download:
        """Look a file up, to send it. Raises `NotFound`."""
        info = await self.stat(path)
        name = path.rsplit("/", 1)[-1]
        return Download(
            name=name,
            content_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
            size=max(0, info.size),
            read=self._reader(path, info),
            etag=f'"{info.file_id:x}-{info.size:x}-{info.modified!r}"',
            modified=modified_at(info),
        )

    def _reader(self, path: str, info: FileInfo) -> Callable[[int, int], Pieces]:
        async def read(start: int, length: int) -> Pieces:
            async with self._open(path) as (files, folder):
                pieces = files.read(
                    f"{folder}/{path}",
                    timeout_s=TRANSFER_S,
                    offset=start,
                    most=length,
                    inside=folder,
                    file_id=info.file_id,
                )
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece

        return read

    @asynccontextmanager
    async def _open(self, path: str) -> AsyncIterator[tuple[SandboxFiles, str]]:
        with self._faults(path):
            async with self.manager.files(self.session) as files:
                yield files, await files.folder()

    @contextmanager
    def _faults(self, path: str) -> Iterator[None]:
        try:
            yield
        except CallFault as fault:
            raise self._named(fault, path) from None

    def _named(self, fault: CallFault, path: str) -> WorkbenchError:
        if fault.fault == "not_found":
            return _missing(path)
        if fault.fault in _REASONS:
            return wrong(self.field, _REASONS[fault.fault])
        if fault.fault == "no_space":
            return PayloadTooLarge("There is no room for it on the sandbox's disk", suggested_fix="Delete files first.")
        if fault.fault == "changed":
            return Conflict(f"{path!r} was replaced by another file meanwhile", suggested_fix="Ask again.")
        return _passing(fault)


def _passing(fault: CallFault) -> WorkbenchError:
    """Name what has to do with the moment, not with the path."""
    if fault.fault == "timed_out":
        return Overloaded(
            f"The sandbox has more files than it gets through in time: {fault.message}",
            suggested_fix="Name a folder with fewer files, or use a bash command.",
        )
    if fault.fault == CUT:
        return Overloaded("The stream to the sandbox was cut in the middle of the file", retry_after_s=1)
    return fault


def modified_at(info: FileInfo) -> datetime:
    """Say when a file was changed, as far as what the sandbox says of it can be a time."""
    seconds = info.modified if math.isfinite(info.modified) else 0.0
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LATEST), UTC)


def _missing(path: str) -> NotFound:
    return NotFound(f"There is no file {path!r} in {FILES_DIR}", suggested_fix="List the files of the session.")
