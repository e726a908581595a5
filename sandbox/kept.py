"""Small secrets and names that are made once and kept in a file that only this user may read."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from sandbox.errors import ConfigurationError


def load_or_make(path: Path, make: Callable[[], str]) -> tuple[str, bool]:
    """Read the text in `path`, or store what `make` gives there, mode 0600. True: it was made now.

    Raises:
        ConfigurationError: the file or its folder cannot be used.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            return _read(path), False
        return _store(path, make())
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be used: {error.strerror}",
            suggested_fix="Set data_dir to a folder that this user may write.",
        ) from error


def _read(path: Path) -> str:
    text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise ConfigurationError(f"{path} is empty", suggested_fix="Remove the file to have a new one made.")
    return text


def _store(path: Path, text: str) -> tuple[str, bool]:
    """Write the whole file under another name first: two starts at once agree on the first that is complete."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
        path.hardlink_to(draft)
    except FileExistsError:
        return _read(path), False
    finally:
        draft.unlink()
    return text, True
