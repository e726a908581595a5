"""A virtual environment for each peer under a cache folder, filled by pip with the machine's ordinary settings."""

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from bench.catalog import Entry

INSTALL_S: Final = 600.0
WORDS: Final = 400


class NotInstalled(Exception):
    """pip did not install it; has pip's last words."""


def interpreter(entry: Entry, cache: Path) -> Path:
    """Give the Python that runs a peer, installing it where that has not been done for these packages.

    Raises:
        NotInstalled: pip failed, or took too long.
    """
    if not entry.packages:
        return Path(sys.executable)
    folder = cache / entry.name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    wanted = hashlib.sha256(repr((entry.packages, sys.version)).encode()).hexdigest()
    mark = folder / "installed"
    if mark.is_file() and mark.read_text(encoding="ascii") == wanted and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *entry.packages]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"pip was not done after {INSTALL_S:g} s") from error
    if done.returncode:
        raise NotInstalled(done.stderr.strip()[-WORDS:])
    mark.write_text(wanted, encoding="ascii")
    return python
