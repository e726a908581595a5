"""`upload_local_file`: files of the sandbox to the object store."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from .mounts import regular_file
from .outcome import Refused, never_raises
from .relay import relay

PROGRESS_FROM_BYTES = 8 * 1024 * 1024
ZIP_NAME = "files.zip"
_COPY_BYTES = 1024 * 1024
_MIB = 1024 * 1024


@never_raises(dict)
def upload_local_file(*file_paths: str) -> tuple[dict[str, Any], str]:
    """Upload files of the sandbox and get a link that others can open. Several files become one zip.

    Example:
        result, error = upload_local_file("/mnt/files/report.pdf")
        if not error:
            print(result["s3_url"])

    Returns:
        (result, error). `result` is {"s3_url": link, "uploaded_file": name, "type": MIME type, "id": ..., "s3key": ...,
        "key": the same, "message": ...}, or {}; `error` is "" or what went wrong.

    Args:
        file_paths: one path or several. A folder is refused: name the files in it.

    Files of any size: they are sent in pieces.
    """
    files = [regular_file(path) for path in _flat(file_paths)]
    for file in files:
        _must_open(file)
    if not files:
        raise Refused("name at least one file")
    if len(files) == 1:
        return _upload(files[0], files[0].name)
    with _zipped(files) as archive:
        return _upload(archive, ZIP_NAME)


def _flat(paths: tuple[Any, ...]) -> list[Any]:
    """Take a list of paths in place of paths too."""
    return [path for item in paths for path in (item if isinstance(item, (list, tuple)) else [item])]


def _must_open(file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise Refused(f"{file}: {error.strerror or error}") from error


def _upload(file: Path, name: str) -> tuple[dict[str, Any], str]:
    import mimetypes  # noqa: PLC0415 - reads the system's tables, and only this needs them

    asked = {"path": str(file), "name": name}
    if kind := mimetypes.guess_type(name)[0]:
        asked["content_type"] = kind
    size = file.stat().st_size
    if size < PROGRESS_FROM_BYTES:
        result, error = relay.call("upload_local_file", asked)
    else:
        with _Meter(name, size) as meter:
            result, error = relay.call("upload_local_file", asked, meter.show)
    return (result if isinstance(result, dict) else {}), error


class _Meter:
    """How far an upload is, as one line on standard error that is written again and again."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._shown = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown >= 0:
            with contextlib.suppress(OSError, ValueError):
                print(file=sys.stderr, flush=True)

    def show(self, done: int, total: int | None) -> None:
        """Rewrite the line when a hundredth more is done."""
        size = total or self._size
        share = min(100, 100 * done // size)
        if share != self._shown:
            self._shown = share
            line = f"\rupload {self._name}: {done / _MIB:.1f} of {size / _MIB:.1f} MiB ({share} %)"
            # The upload does not depend on who watches.
            with contextlib.suppress(OSError, ValueError):
                print(line, end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _zipped(files: list[Path]) -> Iterator[Path]:
    """Pack files in a temporary zip, piece by piece, that is gone afterwards."""
    import zipfile  # noqa: PLC0415 - no kernel has it loaded, and only this needs it

    fd, path = tempfile.mkstemp(prefix="upload-", suffix=".zip")
    try:
        with os.fdopen(fd, "wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file, name in zip(files, _unique_names(files), strict=True):
                with file.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, _COPY_BYTES)
        yield Path(path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - on the way out of an interrupt, the shortest way


def _unique_names(files: list[Path]) -> list[str]:
    """Give each file its own name in the zip: `a.txt`, `a (2).txt`."""
    names: list[str] = []
    for file in files:
        name, number = file.name, 1
        while name in names:
            number += 1
            name = f"{file.stem} ({number}){file.suffix}"
        names.append(name)
    return names
