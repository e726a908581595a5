"""Presentations: each slide's text, tables and notes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pptx


def extract(file: Path) -> Iterator[str]:
    """Give the text of each slide under a heading with its number."""
    for number, slide in enumerate(pptx.Presentation(str(file)).slides, start=1):
        yield f"# Slide {number}"
        yield from _shapes(slide.shapes)
        if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None and frame.text.strip():
            yield f"Notes: {frame.text}"
        yield ""


def _shapes(shapes: Any) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes)
        elif shape.has_text_frame:
            yield shape.text_frame.text
        elif getattr(shape, "has_table", False):
            for row in shape.table.rows:
                yield "\t".join(" ".join(cell.text.split()) for cell in row.cells)
