"""A helper call as the audit keeps it, and what sessions use by the hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One row of the audit. No secrets; `arguments` only when a setting says so.

    `id`: `hcl_...`; ids sort by `started_at`. `helper`: what was called. `target`: what that was aimed at: a tool, a
    toolkit with host and path, a model. `status`: `ok`, `refused`, or the slug of the error. `attempts`: how often the
    upstream was asked.
    """

    id: str
    session_id: str
    owner: str
    execution_id: str | None
    helper: str
    target: str
    status: str
    request_bytes: int
    answer_bytes: int
    attempts: int
    started_at: datetime
    duration_ms: float
    arguments: str | None = None


@dataclass(frozen=True, slots=True)
class Amounts:
    """What counts against a budget."""

    calls: int = 0
    model_chars: int = 0
    upload_bytes: int = 0

    def of(self, name: str) -> int:
        """Give one of them by name."""
        amount: int = getattr(self, name)
        return amount

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.calls + other.calls, self.model_chars + other.model_chars, self.upload_bytes + other.upload_bytes
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session used in an hour. `hour`: hours since 1970."""

    session_id: str
    owner: str
    hour: int
    amounts: Amounts


class CallStore(Protocol):
    """What the gateway needs from the store. Every method has its own deadline and raises `StoreUnavailable`."""

    async def keep_calls(self, calls: Sequence[CallRecord], usage: Sequence[Usage]) -> None:
        """Store calls and add to what was used, all or nothing."""

    async def calls(
        self,
        session_id: str,
        *,
        limit: int,
        after: str | None = None,
        execution_id: str | None = None,
        status: str | None = None,
    ) -> Sequence[CallRecord]:
        """Give a session's calls, newest first, from the one after id `after`; of one execution or status if named."""

    async def usage_of_session(self, session_id: str, since_hour: int) -> dict[int, Amounts]:
        """Give what a session used, by hour, from an hour on."""

    async def usage_of_owner(self, owner: str, since_hour: int) -> dict[int, Amounts]:
        """The same for all sessions of an owner."""

    async def purge_calls(self, before: datetime, before_hour: int, *, at_most: int) -> int:
        """Delete calls that began before a moment and usage of hours before one, `at_most` calls. Give how many."""
