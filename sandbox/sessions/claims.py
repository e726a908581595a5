"""Which sandbox belongs to which session, kept in the store: written behind the hot path, but never given up."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from sandbox.sessions.background import Background
from sandbox.sessions.session import Session
from sandbox.sessions.store import Claim, Store
from sandbox.sessions.write_behind import WriteBehind

_Change: TypeAlias = tuple[str, Claim | None]
"""A sandbox, and who has it from now on."""


class Claims:
    """Notes claims and their ends. For one sandbox the last word wins; all that waits is written together."""

    def __init__(self, store: Store, background: Background, clock: Callable[[], datetime], installation: str) -> None:
        self._store = store
        self._clock = clock
        self._installation = installation
        self._changes: WriteBehind[_Change] = WriteBehind("claims of sandboxes", self._write, background)

    def note(self, sandbox_id: str, session_id: str) -> None:
        """The session has this sandbox from now on."""
        self._change(sandbox_id, Claim(sandbox_id, session_id, self._installation, self._clock()))

    def forget(self, sandbox_id: str) -> None:
        """Nobody has this sandbox any more."""
        self._change(sandbox_id, None)

    async def read(self) -> dict[str, tuple[Claim, Session | None]]:
        """Give what is stored, by sandbox id; the session is None when it was deleted.

        A session was last used when it got its sandbox, if nothing later is known.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        stored = await self._store.claims(self._installation)
        return {claim.sandbox_id: (claim, _used(session, claim)) for claim, session in stored}

    def _change(self, sandbox_id: str, claim: Claim | None) -> None:
        self._changes.put(sandbox_id, (sandbox_id, claim))

    async def _write(self, changes: Sequence[_Change]) -> None:
        made = [claim for _, claim in changes if claim is not None]
        await self._store.change_claims(made, [sandbox_id for sandbox_id, claim in changes if claim is None])


def _used(session: Session | None, claim: Claim) -> Session | None:
    if session is None:
        return None
    return replace(session, last_used_at=max(session.last_used_at or claim.claimed_at, claim.claimed_at))
