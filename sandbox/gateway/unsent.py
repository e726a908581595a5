"""Rows of the audit for calls that were never sent: they cost nobody anything, and no budget ends them.

A loop in a sandbox makes thousands a second, which would fill the controller's disk within hours.
"""

from collections import Counter
from typing import Final

import structlog

log = structlog.get_logger(__name__)

UNSENT_MAX: Final = 2_000
"""Such rows of one session in one hour."""

_HOUR_S: Final = 3600


class UnsentRows:
    """Says which of them are kept: the first of each session in each hour of the clock."""

    def __init__(self, most: int = UNSENT_MAX) -> None:
        self._most = most
        self._hour = -1
        self._counts: Counter[str] = Counter()

    def is_kept(self, session_id: str, at: float) -> bool:
        """Whether one more is kept. `at`: when it began, in seconds since 1970."""
        hour = int(at) // _HOUR_S
        if hour != self._hour:
            self._hour = hour
            self._counts.clear()
        self._counts[session_id] += 1
        if self._counts[session_id] == self._most + 1:
            log.warning("refused calls of a session are left out of the audit for this hour", session=session_id)
        return self._counts[session_id] <= self._most
