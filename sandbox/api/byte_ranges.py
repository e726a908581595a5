"""Which bytes of a file a request asks for: `Range`, `If-Range` and `If-None-Match`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")
"""One range. Several in one request may be answered with the whole, and are."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to `end`, which is not among them; `whole`: of all of them nothing was left out."""

    start: int
    end: int
    whole: bool = False

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start


def asked_span(headers: Mapping[str, str], size: int, etag: str | None) -> Span | None:
    """Give what is asked for of `size` bytes; None: bytes that are not there."""
    whole = Span(0, size, whole=True)
    found = _RANGE.fullmatch(headers.get("range", ""))
    if found is None or headers.get("if-range", etag) != etag:
        return whole
    first, last = found.groups()
    if not first:
        return _last_bytes(int(last), size) if last else whole
    start = int(first)
    if last and int(last) < start:
        return whole  # not a range at all
    return Span(start, min(int(last) + 1, size) if last else size) if start < size else None


def is_known(headers: Mapping[str, str], etag: str | None) -> bool:
    """Whether the client has the bytes already."""
    known = [each.strip().removeprefix("W/") for each in headers.get("if-none-match", "").split(",")]
    return etag is not None and (etag in known or "*" in known)


def _last_bytes(count: int, size: int) -> Span | None:
    return Span(max(0, size - count), size) if count and size else None
