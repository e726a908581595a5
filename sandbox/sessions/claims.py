"""Which sandbox belongs to which session, kept in the store: written behind the hot path, but never given up."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from sandbox.errors import StoreUnavailable
from sandbox.sessions.background import Background
from sandbox.sessions.session import Session
from sandbox.sessions.store import Claim, Store

log = structlog.get_logger(__name__)

_RETRY_S = 0.5
_RETRY_MAX_S = 30.0


class Claims:
    """Notes claims and their ends. For one sandbox the last word wins; all that waits is written together."""

    def __init__(self, store: Store, background: Background, clock: Callable[[], datetime], installation: str) -> None:
        self._store = store
        self._background = background
        self._clock = clock
        self._installation = installation
        self._waiting: dict[str, Claim | None] = {}
        self._writing: asyncio.Task[None] | None = None

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
        self._waiting.pop(sandbox_id, None)
        self._waiting[sandbox_id] = claim
        if self._writing is None:
            self._writing = self._background.spawn(self._write(), "claims of sandboxes")
            self._writing.add_done_callback(self._written)

    async def _write(self) -> None:
        retry_s = _RETRY_S
        while self._waiting:
            batch, self._waiting = self._waiting, {}
            gone = [sandbox_id for sandbox_id, claim in batch.items() if claim is None]
            try:
                await self._store.change_claims([claim for claim in batch.values() if claim is not None], gone)
                retry_s = _RETRY_S
            except StoreUnavailable as error:
                log.warning("who has which sandbox could not be stored yet", count=len(batch), error=error.message)
                self._waiting = {**batch, **self._waiting}
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _RETRY_MAX_S)
        # Not only when this task is known to be done: what is noted until then would wait for the next one.
        self._writing = None

    def _written(self, task: asyncio.Task[None]) -> None:
        if self._writing is task:
            self._writing = None


def _used(session: Session | None, claim: Claim) -> Session | None:
    if session is None:
        return None
    return replace(session, last_used_at=max(session.last_used_at or claim.claimed_at, claim.claimed_at))
