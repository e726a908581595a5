"""The files of one live sandbox, as the gateway reads and writes them."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

from sandbox.errors import CallFault, PipeClosed, PipeError, SandboxGone
from sandbox.limits import CALL_SLACK_S, CHUNK_BYTES, FILES_DIR
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
from sandbox.pipe.peer import Peer, expect
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

    async def stat(self, path: str, *, inside: str | None = None) -> FileInfo:
        """Say how large and how old a file is; see `SandboxFiles.stat`."""
        return expect(await self._ask(ReadFile(path, length=0, inside=inside)), FileInfo)

    async def read(
        self,
        path: str,
        *,
        timeout_s: float,
        offset: int = 0,
        most: int | None = None,
        inside: str | None = None,
        file_id: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        """Give a file's bytes from `offset` on as they come, at most `most`; see `SandboxFiles.read`."""
        body = ReadFile(path, offset, most, inside, file_id)
        begun = False
        while True:
            try:
                async for piece in self._line.peer.read_file(body, timeout_s=timeout_s):
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

    async def write(
        self, path: str, data: AsyncIterable[bytes], *, timeout_s: float, inside: str | None = None
    ) -> FileInfo:
        """Write a file, whole or not at all; see `SandboxFiles.write`."""
        begun = False

        async def noted() -> AsyncIterator[bytes]:
            nonlocal begun
            async for piece in data:
                begun = True
                yield piece

        while True:
            try:
                return await self._line.peer.write_file(WriteFile(path, inside=inside), noted(), timeout_s=timeout_s)
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

    async def delete(self, path: str, *, inside: str | None = None) -> bool:
        """Remove a file or a folder; see `SandboxFiles.delete`."""
        try:
            await self._ask(DeleteFile(path, inside))
        except CallFault as fault:
            if fault.fault != "not_found":
                raise
            return False
        return True

    async def _ask(self, body: Method) -> Result:
        async def ask(peer: Peer, left_s: float) -> Result:
            return await peer.call(body, timeout_s=self._call_deadline_s, deadline_s=left_s)

        try:
            return await self._line.ask(ask, self._call_deadline_s + CALL_SLACK_S)
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
