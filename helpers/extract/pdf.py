"""PDF: the text of its pages; pages that are only images are recognised where that is possible."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdf
import pypdf.errors

from .ocr import NEEDED, can_recognise, recognise
from .unreadable import Unreadable

IMAGES_PER_PAGE_MAX = 20


def extract(file: Path) -> Iterator[str]:
    """Give the text of each page.

    Raises:
        Unreadable: it is encrypted, or there is no text and none can be recognised.
    """
    reader = pypdf.PdfReader(file)
    if reader.is_encrypted:
        _decrypt(reader)
    unread: list[str] = []
    found = False
    for number, page in enumerate(reader.pages, start=1):
        text = _text(page)
        if text is None:
            unread.append(f"[page {number} is an image; {NEEDED}]")
            continue
        found = found or bool(text.strip())
        if found:
            yield from unread
            unread.clear()
        yield text + "\n"
    if unread and not found:
        raise Unreadable(f"its pages are images without text; {NEEDED}")
    yield from unread


def _text(page: pypdf.PageObject) -> str | None:
    """Give the text of a page; None when it is in images and cannot be recognised here."""
    text: str = page.extract_text()
    if text.strip() or not (images := _images(page)):
        return text
    return "\n".join(recognise(image) for image in images) if can_recognise() else None


def _decrypt(reader: pypdf.PdfReader) -> None:
    """Open a PDF that is encrypted with an empty password, as those are that only restrict printing."""
    try:
        opened = reader.decrypt("")
    except pypdf.errors.DependencyError as error:
        raise Unreadable("is encrypted in a way that cannot be opened here: save it without encryption") from error
    if not opened:
        raise Unreadable("is encrypted: save it without a password")


def _images(page: pypdf.PageObject) -> list[Any]:
    """Give the images of a page, as Pillow has them."""
    return [found.image for found, _ in zip(page.images, range(IMAGES_PER_PAGE_MAX), strict=False) if found.image]
