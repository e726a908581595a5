"""Keys of stored objects: one alphabet that files, URLs and every store take. Pure."""

import re
import secrets
import unicodedata
from typing import Final

from sandbox.errors import InvalidArguments

NAME_CHARS: Final = 100

_SAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}/[0-9a-f]{16}/[A-Za-z0-9_-][A-Za-z0-9._-]{0,119}")


def new_key(session_id: str, name: str) -> str:
    """Make the key of a new object: session, a random part, and the file's name as far as it is plain."""
    return f"{session_id}/{secrets.token_hex(8)}/{plain_name(name)}"


def plain_name(name: str) -> str:
    """Give a file name in the plain alphabet, with its ending, at most NAME_CHARS long, never empty or hidden."""
    ascii_name = unicodedata.normalize("NFKD", name.rsplit("/", 1)[-1]).encode("ascii", "ignore").decode()
    plain = _SAFE.sub("_", ascii_name).lstrip("._") or "file"
    stem, dot, ending = plain.rpartition(".")
    if not dot or len(ending) > 20:
        return plain[:NAME_CHARS]
    return f"{(stem or 'file')[: NAME_CHARS - len(ending) - 1]}.{ending}"


def check_key(key: str) -> str:
    """Give the key back when it is one.

    Raises:
        InvalidArguments: it is not; names it.
    """
    if _KEY.fullmatch(key) is None:
        raise InvalidArguments(f"{key[:200]!r} is no key of a stored object")
    return key
