"""Images: the text that tesseract recognises in them."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageSequence

from .ocr import NEEDED, can_recognise, recognise
from .unreadable import Unreadable

FRAMES_MAX = 200


def extract(file: Path) -> Iterator[str]:
    """Give the text in each frame.

    Raises:
        Unreadable: there is no tesseract here.
    """
    with Image.open(file) as image:
        image.load()
        if not can_recognise():
            raise Unreadable(NEEDED)
        for frame, _ in zip(ImageSequence.Iterator(image), range(FRAMES_MAX), strict=False):
            yield recognise(frame)
