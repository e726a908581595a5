"""One controller to a data folder: a second one would take over, and remove, the sandboxes of the first.

The lock is the process's own, so one that was killed leaves none behind.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sandbox.errors import ConfigurationError

LOCK_FILE: Final = "serving.lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold `folder`, made where it is missing, for this process alone.

    Raises:
        ConfigurationError: another controller holds it, or it cannot be used.
    """
    descriptor = _locked(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BlockingIOError:
        raise _taken(folder, descriptor) from None
    except OSError as error:
        os.close(descriptor)
        raise _unusable(folder, error) from error
    return descriptor


def _taken(folder: Path, descriptor: int) -> ConfigurationError:
    holder = os.pread(descriptor, 32, 0).decode(errors="replace")
    os.close(descriptor)
    process = f" (process {holder})" if holder.isdigit() else ""
    return ConfigurationError(
        f"Another controller{process} uses the data folder {folder}",
        suggested_fix="Use that one, stop it, or give this one a folder of its own (WORKBENCH_DATA_DIR).",
    )


def _unusable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} cannot be used: {error.strerror}",
        suggested_fix="Set data_dir to a folder that this user may write.",
    )
