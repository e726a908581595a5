"""Paths of files as requests name them: relative to the folder of a session's files. Pure."""

import base64
import binascii
from typing import Final

from sandbox.errors import FieldError, InvalidArguments
from sandbox.limits import FILES_DIR

PATH_BYTES: Final = 1_024
"""Of a whole path, as UTF-8: percent-encoded it still fits every proxy's bound on a URL."""

PART_BYTES: Final = 255
"""Of one name in it, as file systems have it."""


def check_path(given: object, field: str) -> str:
    """Give a path back when it can be one of a file below the folder.

    Raises:
        InvalidArguments: it cannot; names `field` and the reason.
    """
    if not isinstance(given, str):
        raise wrong(field, "Required: a path as a string")
    if not given:
        raise wrong(field, "must not be empty")
    _check_text(given, field)
    parts = given.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise wrong(field, "has an empty, `.` or `..` part")
    if any(len(part.encode()) > PART_BYTES for part in parts):
        raise wrong(field, f"has a name of over {PART_BYTES} bytes")
    return given


def check_prefix(given: str, field: str) -> str:
    """Give the beginning of paths back when it can be one; empty is that of all. Raises as `check_path`."""
    _check_text(given, field)
    if ".." in given.split("/"):
        raise wrong(field, "has a `..` part")
    return given


def make_cursor(after: str) -> str:
    """Make the cursor of the page that follows the file `after`."""
    return base64.urlsafe_b64encode(after.encode()).decode().rstrip("=")


def read_cursor(cursor: str, field: str) -> str:
    """Give the path after which a page begins. Raises `InvalidArguments` for what no answer ever had."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise wrong(field, "is not the next_cursor of an earlier answer") from None


def wrong(field: str, reason: str) -> InvalidArguments:
    """Make the error for a field."""
    return InvalidArguments(f'Validation error: {reason} at "{field}"', errors=(FieldError(field, reason),))


def _check_text(given: str, field: str) -> None:
    try:
        size = len(given.encode())
    except UnicodeEncodeError:
        raise wrong(field, "is not Unicode text") from None
    if "\0" in given:
        raise wrong(field, "has a NUL character")
    if given.startswith("/"):
        raise wrong(field, f"has to be relative to {FILES_DIR}, without a slash at the beginning")
    if size > PATH_BYTES:
        raise wrong(field, f"is over {PATH_BYTES} bytes")
