"""How many values a JSON text has, before it is made into objects: each of them takes time and memory. Pure.

Three bytes (`[],`) become an object of seventy, and while it is made nothing else runs.
"""

import re
from typing import Final

VALUES_MAX: Final = 2_000_000
"""Commas and opening brackets: about a second of work, and under 200 MB of objects."""

_STRINGS_MAX: Final = 200_000
"""Strings that are looked at one by one: a text with more of them is not told from one with too many values."""

_MARKS: Final = (b",", b"[", b"{")
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def marks_in(text: bytes, start: int = 0, end: int | None = None) -> int:
    """Count what stands before or between values, in strings too."""
    end = len(text) if end is None else end
    return sum(text.count(mark, start, end) for mark in _MARKS)


def has_too_many(text: bytes, most: int = VALUES_MAX) -> bool:
    """Whether a text has more values than `most`. What is in long strings does not count; the work is bounded."""
    if len(text) <= most or marks_in(text) <= most:
        return False
    at, left = 0, most
    for _ in range(_STRINGS_MAX):
        begins = text.find(b'"', at)
        left -= marks_in(text, at, len(text) if begins < 0 else begins)
        if left < 0 or begins < 0:
            return left < 0
        string = _STRING.match(text, begins)
        if string is None:
            return True
        at = string.end()
    return True
