"""What is too long for a line of the relay travels in files of the sandbox."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .outcome import Refused

ARGUMENTS_INLINE_BYTES = 64 * 1024
"""Arguments up to this size travel on the line."""

ARGUMENTS_MAX_BYTES = 64 * 1024 * 1024
"""Largest arguments of a call."""


@contextlib.contextmanager
def arguments_file(body: bytes) -> Iterator[str]:
    """Hold the arguments in a file that is gone afterwards.

    Raises:
        Refused: they are too large.
        OSError: there is no room for them.
    """
    if len(body) > ARGUMENTS_MAX_BYTES:
        raise Refused(f"the arguments are {len(body)} bytes of JSON; the limit is {ARGUMENTS_MAX_BYTES}")
    fd, path = tempfile.mkstemp(prefix="helper-", suffix=".json")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(body)
        yield path
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - on the way out of an interrupt, the shortest way


def read_answer(path: str) -> Any:
    """Read the result that was written to a file, and delete the file.

    Raises:
        Refused: the file cannot be read.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Refused(f"the answer lies in {path}, which cannot be read: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
    return json.loads(data)
