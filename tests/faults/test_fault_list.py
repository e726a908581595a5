"""The list of faults and the tests of faults say the same."""

import importlib
import re
from pathlib import Path
from typing import Final

from tests.support.faults import ATTRIBUTE

MODULES: Final = (
    "kernel",
    "bash",
    "output",
    "resource",
    "border",
    "result",
    "engine",
    "helper",
    "bulk",
    "disk",
    "file",
)
OTHERS: Final = ("idle", "load")
LINE: Final = re.compile(r"\| ([A-Z]\d\d) \| .* \| `(test_\w+)` \|")


def test_each_line_of_the_list_has_its_test_and_each_test_its_line() -> None:
    written = LINE.findall(Path(__file__).with_name("FAULTS.md").read_text(encoding="utf-8"))
    tests = {
        name: getattr(test, ATTRIBUTE, ("no line",))
        for module in (*(f"{module}_faults" for module in MODULES), *OTHERS)
        for name, test in vars(importlib.import_module(f"tests.faults.test_{module}")).items()
        if name.startswith("test_")
    }
    assert sorted(written) == sorted((line, name) for name, lines in tests.items() for line in lines)
