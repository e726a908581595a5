"""Which sandbox is whose: noted behind the hot path, and never left out."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox.sessions.background import Background
from sandbox.sessions.claims import Claims
from sandbox.sessions.store import Claim
from sandbox.sessions.store_sql import SqlStore

pytestmark = pytest.mark.anyio


class Telling(SqlStore):
    """Calls `written` once, right after its first write of claims."""

    written: Callable[[], None] | None = None

    async def change_claims(self, made: Sequence[Claim], ended: Sequence[str]) -> None:
        await super().change_claims(made, ended)
        written, self.written = self.written, None
        if written is not None:
            asyncio.get_running_loop().call_soon(written)


class BreaksOnce(SqlStore):
    """Its first write of claims fails as nothing is expected to."""

    broken = True

    async def change_claims(self, made: Sequence[Claim], ended: Sequence[str]) -> None:
        if self.broken:
            self.broken = False
            raise ZeroDivisionError
        await super().change_claims(made, ended)


async def test_a_write_that_breaks_off_loses_no_claim(tmp_path: Path) -> None:
    store, background = BreaksOnce(f"sqlite:///{tmp_path}/workbench.db"), Background()
    await store.open()
    claims = Claims(store, background, lambda: datetime.now(UTC), "here")
    claims.note("first", "trs_1")
    assert await background.settle(5)
    claims.note("second", "trs_2")
    assert await background.settle(5)
    assert [claim.sandbox_id for claim, _ in await store.claims("here")] == ["first", "second"]
    await store.close()


async def test_a_claim_that_is_made_in_the_moment_in_which_others_are_stored_is_stored_too(tmp_path: Path) -> None:
    store, background = Telling(f"sqlite:///{tmp_path}/workbench.db"), Background()
    await store.open()
    claims = Claims(store, background, lambda: datetime.now(UTC), "here")
    store.written = lambda: claims.note("second", "trs_2")
    claims.note("first", "trs_1")
    assert await background.settle(5)
    assert [claim.sandbox_id for claim, _ in await store.claims("here")] == ["first", "second"]
    await store.close()
