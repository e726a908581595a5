"""Word documents: paragraphs and tables, in their order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docx
from docx.table import Table


def extract(file: Path) -> Iterator[str]:
    """Give each paragraph, and each table with a line for a row and tabs between cells."""
    document = docx.Document(str(file))
    yield from _blocks(document)


def _blocks(container: Any) -> Iterator[str]:
    for block in container.iter_inner_content():
        if isinstance(block, Table):
            yield from _rows(block)
        else:
            yield block.text


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        yield "\t".join(" ".join(cell.text.split()) for cell in row.cells)
