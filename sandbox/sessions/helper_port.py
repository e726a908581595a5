"""What sessions need from the gateway: somebody who answers the helper calls that come out of a session's sandbox."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import msgspec

from sandbox.pipe.messages import FileInfo
from sandbox.sessions.session import Session


class SandboxFiles(Protocol):
    """The files of the sandbox that a call came from. Paths are absolute there. Raises `SandboxGone`, `CallFault`."""

    def read(self, path: str, *, timeout_s: float) -> AsyncIterator[bytes]:
        """Give a file's bytes as they come; `CallFault` `not_found` when there is none."""

    async def write(self, path: str, data: AsyncIterable[bytes], *, timeout_s: float) -> FileInfo:
        """Write a file, whole or not at all; folders are made."""

    async def delete(self, path: str) -> None:
        """Remove a file; what is not there is no error."""


class Progressing(Protocol):
    """Told how far a call is."""

    def __call__(self, done: int, total: int | None) -> None:
        """`done` of `total` bytes."""


@dataclass(frozen=True, slots=True)
class SessionCall:
    """One helper call of a session, as the pipe gave it; nothing in it is trusted but whose it is.

    `arguments`: a JSON value, not looked at yet. `execution_id`: the execution it belongs to, checked to run in this
    session; None for what an ended one left behind. `timeout_s`: bounded already.
    """

    id: str
    session: Session
    helper: str
    arguments: msgspec.Raw
    execution_id: str | None
    timeout_s: float
    files: SandboxFiles
    on_progress: Progressing


@dataclass(frozen=True, slots=True)
class HelperAnswer:
    """What a helper returns: a JSON value, and the error text; empty when all is well."""

    result: msgspec.Raw = msgspec.Raw(b"null")  # noqa: RUF009 - immutable
    error: str = ""


class AnswersHelpers(Protocol):
    """The gateway, as the sessions see it."""

    async def answer(self, call: SessionCall) -> HelperAnswer:
        """Answer one call. Never raises but `CancelledError`: whatever goes wrong is in `error`."""
