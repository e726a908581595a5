"""Large tool responses as files in the session's sandbox: the whole there, a preview in the answer."""

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import msgspec

from sandbox.agent.words import WORDS
from sandbox.errors import CallFault
from sandbox.limits import CHUNK_BYTES
from sandbox.sessions.helper_port import SandboxFiles
from sandbox.sessions.session import Session

SUBFOLDER: Final = "mex"
"""Of the session's files: where clients look for responses."""

_WRITE_S: Final = 600.0
_LOOK_S: Final = 30.0
_TRIES: Final = 6
_CHARS_A_TOKEN: Final = 4


class OpensFiles(Protocol):
    """Gives the files of a session's sandbox; it is started or woken for that."""

    def files(self, session: Session) -> AbstractAsyncContextManager[SandboxFiles]:
        """Raises `WorkbenchError` when no sandbox can be had."""


class RemoteFileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where the whole response is."""

    file_path: str
    instructions: str
    message: str


class Offload:
    """Writes responses into sandboxes."""

    def __init__(self, sandboxes: OpensFiles) -> None:
        self._sandboxes = sandboxes

    async def keep(self, session: Session, document: Iterable[bytes | memoryview]) -> RemoteFileInfo:
        """Write a JSON document, given as its parts in order, to a new file.

        Raises:
            WorkbenchError: no sandbox can be had, or the file cannot be written in it.
        """
        parts = list(document)
        size = sum(len(part) for part in parts)
        async with self._sandboxes.files(session) as files:
            path = await _new_path(files)
            await files.write(path, _pieces(parts), timeout_s=_WRITE_S)
        return RemoteFileInfo(
            file_path=path,
            instructions=(
                f"In the sandbox: import json; whole = json.load(open({path!r})); "
                "the answer of the n-th tool is whole['results'][n]['response']['data']"
            ),
            message=(
                f"The whole response ({size:,} characters, about {size // _CHARS_A_TOKEN:,} tokens) is in {path}; "
                "what is shown here is a preview."
            ),
        )


async def _new_path(files: SandboxFiles) -> str:
    """Find a name that no file has: one word, as clients expect; with digits when the words are used up."""
    folder = f"{await files.folder()}/{SUBFOLDER}"
    for word in random.sample(WORDS, _TRIES):
        path = f"{folder}/{word}.json"
        if not await _is_there(files, path):
            return path
    return f"{folder}/{random.choice(WORDS)}-{random.getrandbits(48):012x}.json"  # noqa: S311 - a name, no secret


async def _is_there(files: SandboxFiles, path: str) -> bool:
    reading = files.read(path, timeout_s=_LOOK_S)
    try:
        await anext(reading, None)
    except CallFault as fault:
        if fault.fault == "not_found":
            return False
        raise
    finally:
        await reading.aclose()
    return True


async def _pieces(parts: Iterable[bytes | memoryview]) -> AsyncIterator[bytes]:
    """Cut the parts; no copy of a large one is made but of the piece that is under way."""
    for part in parts:
        view = memoryview(part)
        for start in range(0, len(view), CHUNK_BYTES):
            yield bytes(view[start : start + CHUNK_BYTES])
