"""Spreadsheets: the values of each sheet."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import openpyxl


def extract(file: Path) -> Iterator[str]:
    """Give each sheet under a heading with its name, a line for a row, tabs between values; empty rows left out."""
    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    for sheet in book.worksheets:
        yield f"# Sheet {sheet.title}"
        # What a file says about its size can be false, and then costs a million empty rows.
        sheet.reset_dimensions()
        for row in sheet.iter_rows(values_only=True):
            if line := _line(row):
                yield line
        yield ""


def _line(row: Sequence[object]) -> str:
    values = ["" if value is None else " ".join(str(value).split()) for value in row]
    return "\t".join(values).rstrip("\t")
