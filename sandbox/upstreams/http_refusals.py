"""What the answer of an upstream that did not do what it was asked becomes: an error with its words. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from sandbox.errors import UpstreamError, UpstreamRateLimited, UpstreamRefused, UpstreamUnavailable
from sandbox.limits import KIB
from sandbox.upstreams.credentials import Scrubber

WORDS_CHARS: Final = 500
"""Characters of an upstream's words that an error repeats."""

_BODY_BYTES: Final = 64 * KIB

_TAGS: Final = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)|<[^<>]*>", re.DOTALL | re.IGNORECASE)
"""A script without an end goes to the end of all: else each of many would be looked for there."""

_SECONDS: Final = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Refusals:
    """Makes errors of the answers of one upstream. `hints`: what to look at, by status."""

    what: str
    scrubber: Scrubber
    hints: Mapping[int, str]

    def of(
        self, status: int, headers: Mapping[str, str], body: bytes | bytearray, *, repeatable: bool
    ) -> UpstreamError:
        """Choose the error of a status that is not 2xx. `headers`: names in lower case."""
        message = self._message(status, headers, body)
        after = retry_after_s(headers)
        if status == 429 or (status == 503 and after is not None and repeatable):
            return UpstreamRateLimited(message, retry=True, retry_after_s=after)
        if status in (408, 502, 503, 504):
            return UpstreamUnavailable(message, retry=repeatable, retry_after_s=after)
        return UpstreamRefused(message, retry=repeatable and status >= 500)

    def quote(self, body: bytes | bytearray) -> str:
        """Give the words of a body: one line, bounded, without credentials."""
        # Credentials are taken out first: none is cut in two, and then not known any more.
        clean = self.scrubber.data(bytearray(body[:_BODY_BYTES]))[: _BODY_BYTES // 2]
        text = " ".join(self.scrubber.text(_words(bytes(clean))).split())
        return text if len(text) <= WORDS_CHARS else f"{text[:WORDS_CHARS]}…"

    def _message(self, status: int, headers: Mapping[str, str], body: bytes | bytearray) -> str:
        said = self.quote(body)
        if 300 <= status < 400:
            said = f"a redirect to {self.quote(headers.get('location', 'nowhere').encode())}, which is not followed"
        hint = self.hints.get(status)
        return f"{self.what} answered {status}{f': {said}' if said else ''}{f' ({hint})' if hint else ''}"


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Read `Retry-After`, seconds or a date; None when there is none that can be understood."""
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _words(body: bytes) -> str:
    try:
        said = _said(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    if said is not None:
        return said
    text = body.decode("utf-8", "replace")
    return _TAGS.sub(" ", text) if text.lstrip()[:1] == "<" else text


def _said(value: Any) -> str | None:
    """Find the sentence in the common forms of an error's body."""
    match value:
        case str():
            return value
        case {"error": {"message": str(said), "suggested_fix": str(fix)}}:
            return f"{said} {fix}"
        case {"error": {"message": str(said)}} | {"error": str(said)} | {"message": str(said)} | {"detail": str(said)}:
            return said
        case {"errors": [first, *_]} | {"detail": [first, *_]}:
            return _said(first)
        case {"msg": str(said)}:
            return said
    return None
