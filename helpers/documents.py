"""`smart_file_extract`: the text of a document. Another process reads it, because a file can be hostile."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .mounts import regular_file
from .outcome import Refused, never_raises

TIME_MAX_S = 180.0
"""How long the reading of one file may take, the recognition of text in images included."""

PREVIEW_CHARS = 1_000

_READER = Path(__file__).with_name("extract") / "__main__.py"
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")


@never_raises(str)
def smart_file_extract(sandbox_file_path: str, show_preview: bool = True) -> tuple[str, str]:
    """Get the text of a document: PDF, Word, PowerPoint, Excel, HTML, CSV, JSON, text in any encoding, images.

    Example:
        text, error = smart_file_extract("/mnt/files/contract.pdf")

    Returns:
        (text, error). `text` is the whole text; only its beginning is printed. `error` is "" or says why there is no
        text: the file is missing, empty, encrypted, damaged or too large, or text in images cannot be recognised here.
        When the reading was cut short, there is the text so far and an error.

    Args:
        sandbox_file_path: a file in the sandbox. What it is, is told by its content.
        show_preview: print the beginning of the text.

    The rows of a spreadsheet come as lines with tabs. It is read with bounds: 180 seconds, 64 MiB of text.
    """
    text, error = extract(regular_file(sandbox_file_path), TIME_MAX_S)
    if show_preview and text:
        print(_preview(text))
    return text, error


def extract(file: Path, time_max_s: float) -> tuple[str, str]:
    """Have another process read a file, for so long at most.

    Raises:
        Refused: the file is empty, or the process ended without a word.
    """
    if file.stat().st_size == 0:
        raise Refused(f"{file} is empty")
    with _folder() as folder:
        ended = _run_reader(file, folder, time_max_s)
        text = _read(folder / "text")
        error = _read(folder / "error")
    return text, error or ended


def _run_reader(file: Path, folder: Path, time_max_s: float) -> str:
    """Run the reader to its end or to the end of its time; say what was wrong with it, "" for nothing."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    # Every thread of these libraries reserves address space, of which the reader has little.
    environment |= {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "OPENBLAS_NUM_THREADS": "1"}
    reader = subprocess.Popen(
        [sys.executable, "-I", str(_READER), str(file), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        code = reader.wait(time_max_s)
    except subprocess.TimeoutExpired:
        return f"{file.name} could not be read to its end in {time_max_s:g} seconds"
    finally:
        # Whatever it started, and it itself when we are interrupted.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(reader.pid, signal.SIGKILL)
        reader.wait()
    if code < 0:
        return f"{file.name} cannot be read: its reader was ended by {signal.Signals(-code).name}"
    return "" if code == 0 else f"{file.name} cannot be read: its reader ended with code {code}"


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder for what the reader writes; it is gone afterwards."""
    folder = tempfile.mkdtemp(prefix="extract-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(file: Path) -> str:
    try:
        # A reader that was ended in the middle can have left half a character.
        return file.read_text("utf-8", "ignore")
    except FileNotFoundError:
        return ""


def _preview(text: str) -> str:
    if len(text) <= PREVIEW_CHARS:
        return text
    return (
        f"{text[:PREVIEW_CHARS]}\n[the first {PREVIEW_CHARS} of {len(text)} characters; all of them are in the result]"
    )
