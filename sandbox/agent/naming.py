"""Names of files that are no UTF-8: how they are shown, and which file is meant by a name that was shown."""

import itertools
import os
from pathlib import Path
from typing import Final

from sandbox.errors import CallFault

_REPLACED: Final = "\ufffd"


def shown(name: str) -> str:
    """Give a name as text: what is no UTF-8 in it is shown as U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def meant(path: Path) -> Path:
    """Give the path of the file that is shown as `path`. Looks at the disk only where a part of it may stand for more.

    Raises:
        CallFault: `ambiguous`: several are shown like that.
        OSError: a folder on the way cannot be read.
    """
    if _REPLACED not in str(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[1:]:
        found /= _one(found, part) if _REPLACED in part else part
    return found


def _one(folder: Path, name: str) -> str:
    """Give the one entry of a folder that is shown like that; the name itself when none is, or one is called so."""
    if os.path.lexists(folder / name):
        return name
    with os.scandir(folder) as entries:
        names = list(itertools.islice((entry.name for entry in entries if shown(entry.name) == name), 2))
    if len(names) > 1:
        raise CallFault(
            "ambiguous", f"{shown(str(folder / name))}: several names that are no UTF-8 are shown like this"
        )
    return names[0] if names else name
