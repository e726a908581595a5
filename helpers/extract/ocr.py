"""Text in images, by tesseract."""

import functools
import shutil
import subprocess
import tempfile
from typing import Any

NEEDED = "recognising text in images needs tesseract, which is not here: use the sandbox image `full`"


@functools.cache
def can_recognise() -> bool:
    """Tell whether tesseract is there."""
    return shutil.which("tesseract") is not None


def recognise(image: Any) -> str:
    """Give the text in an image of Pillow's; "" when there is none."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        image.convert("RGB").save(file.name)
        command = ["tesseract", file.name, "stdout"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace").strip("\f\n ")
