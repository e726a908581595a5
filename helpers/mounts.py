"""`get_mount_file_url` and `get_mount_file_s3_key`: a file of the session, as others can reach it."""

import os
from pathlib import Path
from typing import Any

from .outcome import Refused, never_raises
from .relay import relay


@never_raises(str)
def get_mount_file_url(path: str) -> tuple[str, str]:
    """Get a link to a file below /mnt/files. The link ends some time later; the file's content is as it is now.

    Example:
        url, error = get_mount_file_url("/mnt/files/report.pdf")

    Returns:
        (url, error): the link, and "" or what went wrong.
    """
    return _ask("get_mount_file_url", path, "url")


@never_raises(str)
def get_mount_file_s3_key(path: str) -> tuple[str, str]:
    """Get the key of a file below /mnt/files in the object store, as tools take it that want a file.

    Example:
        key, error = get_mount_file_s3_key("/mnt/files/report.pdf")

    Returns:
        (key, error): the key, and "" or what went wrong.
    """
    return _ask("get_mount_file_s3_key", path, "s3key")


def _ask(name: str, path: str, field: str) -> tuple[str, str]:
    result: Any
    result, error = relay.call(name, {"path": str(regular_file(path))})
    value = result.get(field) if isinstance(result, dict) else None
    return (value if isinstance(value, str) else ""), error


def regular_file(path: object) -> Path:
    """Give the absolute path of a file that can be read.

    Raises:
        Refused: there is none; the words name the path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise Refused(f"a path must be a str, not {type(path).__name__}")
    file = Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - links stay as they are
    if not os.fspath(path):
        raise Refused("the path is empty")
    if not file.exists():
        raise Refused(f"{path}: there is no such file")
    if file.is_dir():
        raise Refused(f"{path} is a folder; name the files in it")
    if not file.is_file():
        raise Refused(f"{path} is no regular file")
    if not os.access(file, os.R_OK):
        raise Refused(f"{path}: permission denied")
    return file
