"""What the sessions need from a store. It holds what sessions are and which sandbox is whose, never what runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sandbox.sessions.session import Session


@dataclass(frozen=True, slots=True)
class Claim:
    """A sandbox that a session has. `installation`: whose sandboxes it is among."""

    sandbox_id: str
    session_id: str
    installation: str
    claimed_at: datetime


class Store(Protocol):
    """Every method has its own deadline and raises `StoreUnavailable` with the cause when it cannot do it.

    Deleted sessions are invisible to all methods, and their names are free again.
    """

    async def open(self) -> None:
        """Create or renew the tables; several controllers may do so at once."""

    async def get_or_create(self, new: Session) -> Session:
        """Give the owner's session of that name; `new` itself when there is none. Safe against others."""

    async def find(self, owner: str, name: str) -> Session | None:
        """Give the owner's session of that name."""

    async def get(self, owner: str, session_id: str) -> Session | None:
        """Give the owner's session with that id."""

    async def list(self, owner: str, *, limit: int, after: str | None) -> list[Session]:
        """Give the owner's sessions, newest first, from the one after id `after`.

        Raises:
            NotFound: the owner never had a session `after`.
        """

    async def touch(self, uses: Mapping[str, datetime]) -> None:
        """Note when sessions, by id, were last used; those that were deleted are left out."""

    async def delete(self, owner: str, session_id: str, at: datetime) -> bool:
        """Mark a session deleted. Whether there was one."""

    async def claims(self, installation: str) -> Sequence[tuple[Claim, Session | None]]:
        """Give all claims of an installation, oldest first, each with its session; None for a deleted one."""

    async def change_claims(self, made: Sequence[Claim], ended: Sequence[str]) -> None:
        """Store claims, each in the place of an earlier one of that sandbox, and delete those of sandboxes."""

    async def check(self) -> None:
        """Raise `StoreUnavailable` when the store does not answer."""

    async def close(self) -> None:
        """Let go of the database."""
