"""The files of one live sandbox, as the gateway reads and writes them."""

from collections.abc import AsyncIterable, AsyncIterator

from sandbox.errors import CallFault, PipeClosed, PipeError, SandboxGone
from sandbox.limits import CHUNK_BYTES, FILES_DIR
from sandbox.pipe.messages import (
    DeleteFile,
    FileInfo,
    FileList,
    GetStatus,
    ListFiles,
    Method,
    ReadFile,
    Result,
    Status,
    WriteFile,
)
from sandbox.pipe.peer import Peer
from sandbox.sessions.helper_port import JsonPieces
from sandbox.sessions.line import Line

_PATH_MAX = 4096

CUT = "cut"
"""Fault of a transfer whose pipe was cut in the middle: it can be begun again, not gone on with."""


class LineFiles:
    """`SandboxFiles` over a line. What was not begun when the pipe is cut is begun over the next one."""

    def __init__(self, line: Line, *, call_deadline_s: float) -> None:
        self._line = line
        self._call_deadline_s = call_deadline_s
        self._folder: str | None = None

    async def folder(self) -> str:
        """Give the folder of the session's files, as the agent says; see `SandboxFiles.folder`."""
        if self._folder is None:
            said = await self._ask(GetStatus())
            files = said.files if isinstance(said, Status) else ""
            self._folder = files if files.startswith("/") and len(files) <= _PATH_MAX else FILES_DIR
        return self._folder

    async def read(
        self, path: str, *, timeout_s: float, offset: int = 0, most: int | None = None
    ) -> AsyncIterator[bytes]:
        """Give a file's bytes from `offset` on as they come, at most `most`; see `SandboxFiles.read`."""
        begun = False
        while True:
            try:
                async for piece in self._line.peer.read_file(ReadFile(path, offset, most), timeout_s=timeout_s):
                    begun = True
                    yield piece
            except PipeClosed as error:
                if begun:
                    raise CallFault(CUT, f"the stream to the sandbox was cut while {path} was read") from error
                await self._reopened()
            except PipeError as error:
                raise SandboxGone(f"the sandbox is gone: {error.message}") from error
            else:
                return

    async def list(self, path: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> FileList:
        """List a page of the files below a folder; see `SandboxFiles.list`."""
        said = await self._ask(ListFiles(path, prefix, after, limit))
        return said if isinstance(said, FileList) else FileList(())

    async def write(self, path: str, data: AsyncIterable[bytes], *, timeout_s: float) -> FileInfo:
        """Write a file, whole or not at all; see `SandboxFiles.write`."""
        begun = False

        async def noted() -> AsyncIterator[bytes]:
            nonlocal begun
            async for piece in data:
                begun = True
                yield piece

        while True:
            try:
                return await self._line.peer.write_file(WriteFile(path), noted(), timeout_s=timeout_s)
            except PipeClosed as error:
                if begun:
                    raise CallFault(CUT, f"the stream to the sandbox was cut while {path} was written") from error
                await self._reopened()
            except PipeError as error:
                raise SandboxGone(f"the sandbox is gone: {error.message}") from error

    async def write_whole(self, path: str, data: JsonPieces, *, timeout_s: float) -> FileInfo:
        """Write a file from memory, which is not copied as a whole; over a new pipe when the first is cut."""

        async def ask(peer: Peer, _left_s: float) -> FileInfo:
            return await peer.write_file(WriteFile(path), _pieces(data), timeout_s=timeout_s)

        try:
            return await self._line.ask(ask, timeout_s)
        except PipeError as error:
            raise SandboxGone(f"the sandbox is gone: {error.message}") from error

    async def delete(self, path: str) -> None:
        """Remove a file; what is not there is no error. See `SandboxFiles.delete`."""

        try:
            await self._ask(DeleteFile(path))
        except CallFault as fault:
            if fault.fault != "not_found":
                raise

    async def _ask(self, body: Method) -> Result:
        async def ask(peer: Peer, left_s: float) -> Result:
            return await peer.call(body, timeout_s=self._call_deadline_s, deadline_s=left_s)

        try:
            return await self._line.ask(ask, self._call_deadline_s)
        except PipeError as error:
            raise SandboxGone(f"the sandbox is gone: {error.message}") from error

    async def _reopened(self) -> None:
        try:
            await self._line.reopened()
        except PipeClosed as error:
            raise SandboxGone("the sandbox is gone: its pipe is closed") from error


async def _pieces(data: JsonPieces) -> AsyncIterator[bytes]:
    for piece in data:
        view = memoryview(piece)
        for start in range(0, len(view), CHUNK_BYTES):
            yield bytes(view[start : start + CHUNK_BYTES])
