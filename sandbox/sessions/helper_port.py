"""What sessions need from the gateway: somebody who answers the helper calls that come out of a session's sandbox."""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import msgspec

from sandbox.pipe.messages import FileInfo, FileList
from sandbox.sessions.helper_news import HelperCalled
from sandbox.sessions.session import Session

JsonPieces: TypeAlias = tuple[bytes | memoryview, ...]
"""A JSON value in pieces that follow each other: what is put around a large answer does not copy it."""


class SandboxFiles(Protocol):
    """The files of one sandbox. Paths are absolute there. Raises `SandboxGone`, `CallFault`.

    `inside`: a folder that links must not lead out of, else `CallFault` `outside`.
    """

    async def folder(self) -> str:
        """Give the folder of the session's files."""

    async def stat(self, path: str, *, inside: str | None = None) -> FileInfo:
        """Say how large a file is, and how old; `CallFault` `not_found`: there is none, `not_a_file`: a folder."""

    def read(
        self,
        path: str,
        *,
        timeout_s: float,
        offset: int = 0,
        most: int | None = None,
        inside: str | None = None,
        file_id: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        """Give a file's bytes from `offset` on as they come, at most `most`.

        `CallFault` `not_found`: there is none; `changed`: it is another than the one that `stat` gave this id.
        """

    async def list(self, path: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> FileList:
        """Give a page of the regular files below a folder: those with `prefix` after `after`, by relative path."""

    async def write(
        self, path: str, data: AsyncIterable[bytes], *, timeout_s: float, inside: str | None = None
    ) -> FileInfo:
        """Write a file, whole or not at all; folders are made."""

    async def delete(self, path: str, *, inside: str | None = None) -> bool:
        """Remove a file, or a folder with all that is in it. Whether there was one."""


class Progressing(Protocol):
    """Told how far a call is."""

    def __call__(self, done: int, total: int | None) -> None:
        """`done` of `total` bytes."""


class TellsOfCalls(Protocol):
    """Told of each call that has ended, for those who follow the execution live."""

    def __call__(self, called: HelperCalled, /) -> None:
        """Quick, and never raises."""


def _nobody(called: HelperCalled, /) -> None:
    """Nobody follows what no execution does."""


@dataclass(frozen=True, slots=True)
class SessionCall:
    """One helper call of a session, as the pipe gave it; nothing in it is trusted but whose it is.

    `arguments`: a JSON value, not looked at yet. `execution_id`: the execution it belongs to, checked to run in this
    session; None for what an ended one left behind. `timeout_s`: bounded already. `on_called`: `helper_called` of that
    execution.
    """

    id: str
    session: Session
    helper: str
    arguments: msgspec.Raw
    execution_id: str | None
    timeout_s: float
    files: SandboxFiles
    on_progress: Progressing
    on_called: TellsOfCalls = _nobody


@dataclass(frozen=True, slots=True)
class HelperAnswer:
    """What a helper returns: a JSON value, and the error text; empty when all is well."""

    result: msgspec.Raw | JsonPieces = field(default_factory=lambda: msgspec.Raw(b"null"))
    error: str = ""

    @property
    def pieces(self) -> JsonPieces:
        """The JSON value, whole, in one or more pieces; nothing is copied."""
        return self.result if isinstance(self.result, tuple) else (memoryview(self.result),)

    @property
    def size(self) -> int:
        """Bytes of the JSON value."""
        return sum(map(len, self.pieces))


class AnswersHelpers(Protocol):
    """The gateway, as the sessions see it."""

    def holding(self) -> AbstractContextManager[None]:
        """Count the answers to calls that are made within this, until its end."""

    async def answer(self, call: SessionCall) -> HelperAnswer:
        """Answer one call. Whatever goes wrong is in `error`, without credentials; only a defect is raised."""
