"""What a file is, told by its content."""

import enum
import mmap
import zipfile
from pathlib import Path

from .archives import must_be_sane
from .unreadable import Unreadable

HEAD_BYTES = 1024


class Kind(enum.Enum):
    """What can be read."""

    PDF = enum.auto()
    DOCX = enum.auto()
    PPTX = enum.auto()
    XLSX = enum.auto()
    IMAGE = enum.auto()
    TEXT = enum.auto()


_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_ARCHIVES = (b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\xfd7zXZ\0", b"BZh", b"\x28\xb5\x2f\xfd")
_OFFICE = {"word/document.xml": Kind.DOCX, "ppt/presentation.xml": Kind.PPTX, "xl/workbook.xml": Kind.XLSX}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def kind_of(file: Path) -> Kind:
    """Tell what a file is.

    Raises:
        Unreadable: something that has no text of its own, is encrypted, or unpacks to far more than it should.
    """
    with file.open("rb") as source:
        head = source.read(HEAD_BYTES)
    if b"%PDF-" in head:
        return Kind.PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(file)
    if head.startswith(_IMAGES) or _is_webp(head) or _is_bmp(head):
        return Kind.IMAGE
    if head.startswith(_OLE):
        raise Unreadable(_about_ole(file))
    if head.startswith(_ARCHIVES):
        raise Unreadable("is compressed: unpack it first, then read what is in it")
    if head.startswith(b"{\\rtf"):
        raise Unreadable("is rich text (RTF), which is not read: save it as docx or PDF")
    return Kind.TEXT


def _kind_of_zip(file: Path) -> Kind:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        must_be_sane(members)
    names = {member.filename for member in members}
    for name, kind in _OFFICE.items():
        if name in names:
            return kind
    raise Unreadable(f"is a zip archive of {len(members)} files: unpack it first, then read what is in it")


def _about_ole(file: Path) -> str:
    with file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(_OLE_ENCRYPTED) >= 0:
            return "is encrypted: save it without a password"
    return "is in an old binary format of Office, which is not read: save it as docx, xlsx or pptx"


def _is_webp(head: bytes) -> bool:
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"


def _is_bmp(head: bytes) -> bool:
    return head.startswith(b"BM") and head[6:10] == b"\0\0\0\0"
