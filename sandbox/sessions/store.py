"""What the sessions need from a store. It holds what sessions are, never what runs."""

from datetime import datetime
from typing import Protocol

from sandbox.sessions.session import Session


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

    async def touch(self, session_id: str, at: datetime) -> None:
        """Note that a session was used."""

    async def delete(self, owner: str, session_id: str, at: datetime) -> bool:
        """Mark a session deleted. Whether there was one."""

    async def check(self) -> None:
        """Raise `StoreUnavailable` when the store does not answer."""

    async def close(self) -> None:
        """Let go of the database."""
