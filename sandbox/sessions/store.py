"""What the sessions need from a store.

It holds what sessions are, which sandbox is whose and how executions ended, never what runs or ran.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sandbox.sessions.record import ExecutionRecord
from sandbox.sessions.session import Session

DELETED_SESSIONS_AGE: Final = timedelta(days=7)
"""How long the row of a deleted session stays: a list that is read page by page may go on after it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A sandbox that a session has. `installation`: whose sandboxes it is among."""

    sandbox_id: str
    session_id: str
    installation: str
    claimed_at: datetime


@dataclass(frozen=True, slots=True)
class Retention:
    """Bounds on stored executions: age since their end; number and bytes of results, all sessions together."""

    age: timedelta
    overall: int
    overall_bytes: int


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """A configuration that a session had. `ended_at`: when the next version took its place."""

    version: int
    config: Mapping[str, Any]
    ended_at: datetime


class Store(Protocol):
    """Every method has its own deadline and raises `StoreUnavailable` with the cause when it cannot do it.

    Deleted sessions, and their executions, are invisible to all methods, and their names are free again.
    """

    async def open(self) -> None:
        """Create or renew the tables; several controllers may do so at once."""

    async def get_or_create(self, new: Session) -> Session:
        """Give the owner's session of that name; `new` itself when there is none. Safe against others."""

    async def find(self, owner: str, name: str) -> Session | None:
        """Give the owner's session of that name."""

    async def get(self, owner: str, session_id: str) -> Session | None:
        """Give the owner's session with that id."""

    async def linked(self, session_id: str) -> Session | None:
        """Give the session with that id, whoever owns it: for those who came by a link that was signed for it."""

    async def list(self, owner: str, *, limit: int, after: str | None) -> list[Session]:
        """Give the owner's sessions, newest first, from the one after id `after`.

        Raises:
            NotFound: the owner never had a session `after`.
        """

    async def touch(self, uses: Mapping[str, datetime]) -> None:
        """Note when sessions, by id, were last used; those that were deleted are left out."""

    async def delete(self, owner: str, session_id: str, at: datetime) -> bool:
        """Mark a session deleted, and delete its executions. Whether there was one."""

    async def replace_config(self, old: Session, new: Session) -> bool:
        """Store the configuration and its version of `new` in the place of those of `old`, and keep the old one.

        Whether it was done: not when the session has another version by now, or was deleted.
        """

    async def earlier_configs(self, session_id: str, *, limit: int, before: int | None) -> Sequence[ConfigVersion]:
        """Give the configurations that a session had, newest first, from the one before version `before`."""

    async def count_earlier_configs(self, session_id: str) -> int:
        """Say how many of them are kept."""

    async def claims(self, installation: str) -> Sequence[tuple[Claim, Session | None]]:
        """Give all claims of an installation, oldest first, each with its session; None for a deleted one."""

    async def change_claims(self, made: Sequence[Claim], ended: Sequence[str]) -> None:
        """Store claims, each in the place of an earlier one of that sandbox, and delete those of sandboxes."""

    async def keep_executions(self, ended: Sequence[ExecutionRecord], *, per_session: int) -> None:
        """Store executions, all or none; of each session the newest `per_session` are kept.

        One that is there already stays as it is; those of deleted sessions are left out.
        """

    async def execution(self, owner: str, execution_id: str) -> ExecutionRecord | None:
        """Give the owner's ended execution with that id."""

    async def executions(self, session_id: str) -> Sequence[ExecutionRecord]:
        """Give a session's ended executions, the one that ended last first."""

    async def purge(self, bounds: Retention, now: datetime, *, at_most: int) -> int:
        """Delete executions beyond the bounds and sessions that were deleted long ago, `at_most` of each.

        Give how many that were; 0: nothing is left to delete.
        """

    async def check(self) -> None:
        """Raise `StoreUnavailable` when the store does not answer."""

    async def close(self) -> None:
        """Let go of the database."""
