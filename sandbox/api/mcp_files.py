"""Files of a session as MCP resources: `workbench://{session id}/mnt/files/...`."""

import base64
import mimetypes
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    BlobResourceContents,
    Resource,
    ResourceLink,
    TextResourceContents,
)

from sandbox.limits import FILES_DIR, KIB
from sandbox.sessions.helper_port import SandboxFiles

READ_BYTES: Final = 384 * KIB
"""Of a file that one read gives: as text or base64 it stays under the megabyte that clients take as one event."""

LISTED: Final = 100
_LOOKED_AT: Final = 2_000
_READ_S: Final = 30.0
_PATH_CHARS: Final = 4_096
_SCHEME: Final = "workbench"
_OFFSET: Final = re.compile(r"\d{1,15}")
_TEXT_TYPES: Final = ("text/", "application/json", "application/xml", "application/javascript", "image/svg")


@dataclass(frozen=True, slots=True)
class FileAddress:
    """Which file of which session, from which byte on. `path` is relative to the folder of the session's files."""

    session_id: str
    path: str
    offset: int = 0

    @property
    def uri(self) -> str:
        """Give the resource's URI."""
        where = f"{_SCHEME}://{self.session_id}{FILES_DIR}/{quote(self.path)}"
        return f"{where}?offset={self.offset}" if self.offset else where


def address_of(session_id: str, folder: str, path: str) -> FileAddress | None:
    """Give the address of an absolute path in a sandbox; None when it is not in `folder`, the session's files."""
    inside = path.removeprefix(f"{folder}/")
    return FileAddress(session_id, inside) if inside != path and _is_plain(inside) else None


def parse_uri(uri: str) -> FileAddress:
    """Read a URI.

    Raises:
        MCPError: it is none of a file of a session.
    """
    try:
        parts = urlsplit(uri)
        whole = unquote(parts.path, errors="strict")
    except ValueError:  # also: not UTF-8
        raise not_there(uri) from None
    path = whole.removeprefix(f"{FILES_DIR}/")
    offset = parse_qs(parts.query).get("offset", ["0"])[-1]
    # `netloc` and not `hostname`: a session's id has capital letters.
    if parts.scheme != _SCHEME or path == whole or not _is_plain(path) or not _OFFSET.fullmatch(offset):
        raise not_there(uri)
    return FileAddress(parts.netloc, path, int(offset))


def not_there(uri: str) -> MCPError:
    """Make the error for a resource that is not there, or that may not be read here: both look the same."""
    return MCPError(
        INVALID_PARAMS,
        f"No resource {uri[:300]!r}: there are {_SCHEME}://(session id){FILES_DIR}/(path of a file)",
        {"uri": uri[:300]},
    )


async def read_file(files: SandboxFiles, address: FileAddress) -> list[TextResourceContents | BlobResourceContents]:
    """Read a file, at most READ_BYTES of it; of a longer one the answer ends with the URI of what follows.

    Raises:
        CallFault: `not_found`, `not_a_file`, ...
        SandboxGone: it went away meanwhile.
    """
    folder = await files.folder()
    data = await read_bytes(
        files, f"{folder}/{address.path}", READ_BYTES + 1, inside=folder, offset=address.offset, timeout_s=_READ_S
    )
    whole = len(data) <= READ_BYTES
    contents, taken = _contents(address, data[:READ_BYTES], cut=not whole)
    if whole:
        return [contents]
    following = FileAddress(address.session_id, address.path, address.offset + taken)
    note = f"The file goes on after these {taken:,} bytes: read {following.uri} for what follows."
    return [contents, TextResourceContents(uri=following.uri, mime_type="text/plain", text=note)]


async def read_bytes(
    files: SandboxFiles, path: str, most: int, *, inside: str, offset: int = 0, timeout_s: float
) -> bytes:
    """Give at most `most` bytes of a file; more is not taken, whatever the sandbox sends. Raises as `read_file`."""
    data = bytearray()
    async for piece in files.read(path, timeout_s=timeout_s, offset=offset, most=most, inside=inside):
        data += piece
        if len(data) >= most:
            break
    return bytes(data[:most])


async def recent_files(files: SandboxFiles, session_id: str) -> list[Resource]:
    """Give the newest files of a session, at most LISTED, of the first that a listing gives."""
    page = await files.list(await files.folder(), limit=_LOOKED_AT)
    newest = sorted((each for each in page.files if _is_plain(each.path)), key=lambda each: -each.modified)
    return [
        Resource(
            uri=FileAddress(session_id, each.path).uri,
            name=each.path,
            mime_type=_type_of(each.path),
            size=each.size,
        )
        for each in newest[:LISTED]
    ]


def link_to(
    address: FileAddress, description: str, *, mime_type: str | None = None, size: int | None = None
) -> ResourceLink:
    """Make a link that a client can read."""
    return ResourceLink(
        uri=address.uri,
        name=address.path.rsplit("/", 1)[-1],
        description=description,
        mime_type=mime_type or _type_of(address.path),
        size=size,
    )


def _contents(
    address: FileAddress, data: bytes, *, cut: bool
) -> tuple[TextResourceContents | BlobResourceContents, int]:
    """Give the contents, as text when it is UTF-8, and how many bytes of `data` are in it."""
    mime_type = _type_of(address.path)
    if mime_type is None or mime_type.startswith(_TEXT_TYPES):
        # Cut in the middle of a character, the rest of it comes with the next read.
        for end in range(len(data), max(0, len(data) - 4 if cut else len(data) - 1), -1) if data else (0,):
            try:
                text = data[:end].decode()
            except UnicodeDecodeError:
                continue
            if text.isprintable() or _is_text(text):
                return TextResourceContents(uri=address.uri, mime_type=mime_type or "text/plain", text=text), end
            break
    blob = base64.b64encode(data).decode()
    mime_type = mime_type or "application/octet-stream"
    return BlobResourceContents(uri=address.uri, mime_type=mime_type, blob=blob), len(data)


def _is_text(text: str) -> bool:
    """Whether it reads as text: control characters would each be six in JSON."""
    controls = len(text) - len(text.translate(_WITHOUT_CONTROLS))
    return controls * 20 <= len(text)


_WITHOUT_CONTROLS: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 27), *range(28, 32), 127))
"""All but tab, line ends and escape, which logs of programs have."""


def _is_plain(path: str) -> bool:
    """Whether a relative path says what it means: no part is empty, `.` or `..`, and all of it is text."""
    if any("\ud800" <= char <= "\udfff" for char in path[:_PATH_CHARS]):
        return False
    return (
        len(path) <= _PATH_CHARS and "\0" not in path and all(part not in {"", ".", ".."} for part in path.split("/"))
    )


def _type_of(path: str) -> str | None:
    return mimetypes.guess_type(path)[0]
