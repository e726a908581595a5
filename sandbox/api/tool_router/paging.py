"""Pages of lists that are in memory. A cursor is opaque to clients."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sandbox.errors import InvalidRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of `total` items. `next_cursor` None: there are no more."""

    items: Sequence[T]
    next_cursor: str | None
    total: int
    number: int
    pages: int


def page_of(items: Sequence[T], *, limit: int, cursor: str | None) -> Page[T]:
    """Give one page of a list. Raises `InvalidRequest`: the cursor is none of ours."""
    start = read_cursor(cursor) if cursor else 0
    end = start + limit
    return Page(
        items[start:end],
        make_cursor(end) if end < len(items) else None,
        len(items),
        start // limit + 1,
        pages_of(len(items), limit),
    )


def pages_of(total: int, limit: int) -> int:
    """Say how many pages there are; an empty list has one."""
    return max(1, -(-total // limit))


def make_cursor(place: int) -> str:
    """Write a place in a list as a cursor."""
    return base64.urlsafe_b64encode(f"at:{place}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """Read a cursor. Raises `InvalidRequest`."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    word, _, place = text.partition(":")
    if word != "at" or not (place.isdigit() and len(place) < 10):
        raise InvalidRequest(f"cursor: {cursor[:100]!r} is none of this list", suggested_fix="Begin without a cursor.")
    return int(place)
