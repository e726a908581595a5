"""Finds out what a file is, reads it piece by piece, and writes the text down."""

import contextlib
import importlib
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from .kinds import Kind, kind_of
from .unreadable import Unreadable

TEXT_MAX_BYTES = 64 * 1024 * 1024
DOCUMENT_MAX_BYTES = 256 * 1024 * 1024
ADDRESS_SPACE_MAX_BYTES = 2 * 1024 * 1024 * 1024
WRITTEN_FILE_MAX_BYTES = 256 * 1024 * 1024
"""A page as an image for the recognition of text is the largest file that is written."""

Extract = Callable[[Path], Iterator[str]]

_MODULES = {
    Kind.PDF: "pdf",
    Kind.DOCX: "docx",
    Kind.PPTX: "pptx",
    Kind.XLSX: "xlsx",
    Kind.IMAGE: "pictures",
    Kind.TEXT: "plain",
}
_REASON_CHARS = 300


def main(file: Path, folder: Path) -> None:
    """Write the text of `file` to `folder`/text, and words to `folder`/error when something is wrong."""
    _bound_this_process()
    error = _write(file, folder / "text")
    if error:
        (folder / "error").write_text(f"{file.name}: {error}", "utf-8", "replace")


def _bound_this_process() -> None:
    """Take a bounded share of the machine, and be the first to end when its memory is used up."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_MAX_BYTES, ADDRESS_SPACE_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_FILE_MAX_BYTES, WRITTEN_FILE_MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _write(file: Path, target: Path) -> str:
    """Read and write piece by piece; give what was wrong, "" for nothing."""
    try:
        return _collect(_extract_for(file)(file), target)
    except Exception as error:  # noqa: BLE001 - the border to parsers of hostile files
        return _words(error)


def _extract_for(file: Path) -> Extract:
    """Find what reads such a file.

    Raises:
        Unreadable: nothing does, or the file is too large for that.
    """
    kind = kind_of(file)
    size = file.stat().st_size
    if kind is not Kind.TEXT and size > DOCUMENT_MAX_BYTES:
        raise Unreadable(f"has {size} bytes; documents are read up to {DOCUMENT_MAX_BYTES}")
    found: Extract = importlib.import_module(f".{_MODULES[kind]}", __package__).extract
    return found


def _words(error: Exception) -> str:
    match error:
        case Unreadable():
            return str(error)
        case ModuleNotFoundError():
            return f"reading it needs a package that is not installed here: pip install {error.name}"
        case MemoryError():
            return f"reading it needs more than {ADDRESS_SPACE_MAX_BYTES >> 30} GiB of memory"
        case RecursionError():
            return "is nested too deeply to be read"
    return f"damaged, or not what it seems to be ({type(error).__name__}: {str(error)[:_REASON_CHARS]})"


def _collect(pieces: Iterator[str], target: Path) -> str:
    """Write the pieces, with a line break between them, up to the bound."""
    written = 0
    blank = True
    with target.open("wb") as out:
        for piece in pieces:
            data = (piece if piece.endswith("\n") else piece + "\n").encode("utf-8", "replace")
            out.write(data[: TEXT_MAX_BYTES - written])
            out.flush()
            written += len(data)
            blank = blank and not piece.strip()
            if written > TEXT_MAX_BYTES:
                return f"has more text than {TEXT_MAX_BYTES} bytes; the result is its beginning"
    return "there is no text in it" if blank else ""
