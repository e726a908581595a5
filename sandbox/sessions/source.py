"""Code and commands on their way to the agent: what is too long for a line goes into a file first."""

import secrets
from collections.abc import AsyncIterator
from typing import TypeAlias

import msgspec

from sandbox.errors import FieldError, InvalidArguments, PayloadTooLarge
from sandbox.limits import CHUNK_BYTES, SOURCE_INLINE_BYTES, SOURCE_MAX_BYTES
from sandbox.pipe.messages import RunBash, RunCode

Run: TypeAlias = RunCode | RunBash

_ENCODED_BYTES_PER_CHAR = 6
"""The most that JSON makes of one character: `\\u0000`."""


def text_of(body: Run) -> str:
    """Give the code or the command."""
    return body.code if isinstance(body, RunCode) else body.command


def check(body: Run) -> None:
    """Refuse what cannot be sent.

    Raises:
        PayloadTooLarge: over SOURCE_MAX_BYTES.
        InvalidArguments: it holds half a surrogate pair, which no encoding can carry.
    """
    text = text_of(body)
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            field = "arguments.code_to_execute" if isinstance(body, RunCode) else "arguments.command"
            reason = f"character {error.start} is half a surrogate pair and no Unicode text"
            raise InvalidArguments(f"{field}: {reason}", errors=(FieldError(field, reason),)) from None
    if size > SOURCE_MAX_BYTES:
        raise PayloadTooLarge(
            f"the source has {size} bytes; at most {SOURCE_MAX_BYTES} are taken",
            suggested_fix="Write the data to a file in the sandbox and read it from there.",
        )


def is_long(body: Run) -> bool:
    """Whether it takes more than SOURCE_INLINE_BYTES on the line, escapes included."""
    text = text_of(body)
    if len(text) * _ENCODED_BYTES_PER_CHAR <= SOURCE_INLINE_BYTES:
        return False
    return len(msgspec.json.encode(text)) > SOURCE_INLINE_BYTES


def new_path(home: str) -> str:
    """Make the path of a source file in the sandbox; the agent deletes the file when it has read it."""
    return f"{home or '/tmp'}/.cache/workbench/source-{secrets.token_hex(8)}"  # noqa: S108 - not on this machine


def by_path(body: Run, path: str) -> Run:
    """Give the call that names the file instead of carrying the text."""
    if isinstance(body, RunCode):
        return RunCode(code_path=path, queue_timeout_s=body.queue_timeout_s)
    return RunBash(command_path=path)


async def pieces(body: Run) -> AsyncIterator[bytes]:
    """Give the text's bytes, a chunk at a time."""
    data = text_of(body).encode()
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]
