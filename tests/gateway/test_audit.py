"""The audit: in batches behind the calls, bounded, read while it is written, removed after its days."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.errors import StoreUnavailable
from sandbox.gateway.audit import BATCH, Audit, AuditBounds
from sandbox.gateway.budget import Budget, BudgetLimits, Kind
from sandbox.sessions import ids
from sandbox.sessions.call_record import Amounts, CallRecord, Usage
from sandbox.sessions.store_sql import SqlStore

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PLENTY = BudgetLimits(Amounts(10**6, 10**6, 10**6), Amounts(10**6, 10**6, 10**6))


def a_row(number: int = 0, session_id: str = "trs_a", *, at: datetime = NOON) -> CallRecord:
    at += timedelta(milliseconds=number)
    return CallRecord(
        ids.helper_call_id(int(at.timestamp() * 1_000_000)),
        session_id,
        "ann",
        "exe_1" if number % 2 else None,
        "run_composio_tool",
        f"TEST_{number}",
        "ok" if number % 3 else "refused",
        10,
        2**40,
        1,
        at,
        1.5,
        '{"é": 1}',
    )


class MovedStore(SqlStore):
    """A real store whose writes of the audit can be made to fail, as those of a locked database do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder}/workbench.db")
        self.broken = False
        self.refused = asyncio.Semaphore(0)
        self.batches: list[int] = []

    async def keep_calls(self, calls: Sequence[CallRecord], usage: Sequence[Usage]) -> None:
        if self.broken:
            self.refused.release()
            raise StoreUnavailable("the database is away")
        await super().keep_calls(calls, usage)
        self.batches.append(len(calls))


def an_audit(store: SqlStore, **bounds: float) -> Audit:
    waiting = int(bounds.pop("waiting", 50_000))
    return Audit(store, Budget(PLENTY, store, lambda: 0.0), AuditBounds(days=30, waiting=waiting, **bounds))


async def listed(audit: Audit, session_id: str = "trs_a", limit: int = 1000, **wanted: str | None) -> list[CallRecord]:
    asked = {"after": None, "execution_id": None, "status": None, **wanted}
    return await audit.of_session(session_id, limit=limit, **asked)


# --- the store ----------------------------------------------------------------------------------------------


async def test_a_row_comes_back_whole(store: SqlStore) -> None:
    row = a_row(1)
    await store.keep_calls([row, replace(a_row(2), arguments=None, execution_id=None)], [])
    found = await store.calls("trs_a", limit=10)
    assert found[1] == row
    assert found[0].arguments is None


async def test_rows_are_found_newest_first_a_page_at_a_time(store: SqlStore) -> None:
    rows = [a_row(number) for number in range(10)]
    await store.keep_calls(rows, [])
    await store.keep_calls([a_row(3, "trs_other")], [])
    pages, after = [], None
    while page := await store.calls("trs_a", limit=4, after=after):
        pages.append([row.target for row in page])
        after = page[-1].id
    assert pages == [
        ["TEST_9", "TEST_8", "TEST_7", "TEST_6"],
        ["TEST_5", "TEST_4", "TEST_3", "TEST_2"],
        ["TEST_1", "TEST_0"],
    ]
    some = await store.calls("trs_a", limit=10, execution_id="exe_1", status="refused")
    assert [row.target for row in some] == ["TEST_9", "TEST_3"]


async def test_a_row_that_is_there_already_is_no_error(store: SqlStore) -> None:
    row = a_row()
    await store.keep_calls([row], [])
    await store.keep_calls([row, a_row(1)], [])
    assert len(await store.calls("trs_a", limit=10)) == 2


async def test_what_was_used_adds_up_by_hour_for_sessions_and_owners(store: SqlStore) -> None:
    await store.keep_calls([], [Usage("trs_b", "ann", 7, Amounts(1, 2, 2**40)), Usage("trs_a", "ann", 7, Amounts(1))])
    await store.keep_calls([], [Usage("trs_a", "ann", 7, Amounts(1)), Usage("trs_a", "ann", 8, Amounts(5, 5, 5))])
    await store.keep_calls([], [Usage("trs_c", "bob", 8, Amounts(100))])
    assert await store.usage_of_session("trs_a", 0) == {7: Amounts(2), 8: Amounts(5, 5, 5)}
    assert await store.usage_of_session("trs_a", 8) == {8: Amounts(5, 5, 5)}
    assert await store.usage_of_owner("ann", 0) == {7: Amounts(3, 2, 2**40), 8: Amounts(5, 5, 5)}
    assert await store.usage_of_owner("eve", 0) == {}


async def test_old_rows_and_old_usage_are_removed_a_piece_at_a_time(store: SqlStore) -> None:
    old = [a_row(number, at=NOON - timedelta(days=31)) for number in range(5)]
    await store.keep_calls([*old, a_row(1)], [Usage("trs_a", "ann", hour, Amounts(1)) for hour in (5, 6)])
    before = NOON - timedelta(days=30)
    assert [await store.purge_calls(before, 6, at_most=3) for _ in range(3)] == [3, 2, 0]
    assert [row.started_at for row in await store.calls("trs_a", limit=10)] == [a_row(1).started_at]
    assert await store.usage_of_session("trs_a", 0) == {6: Amounts(1)}


async def test_1500_rows_are_stored_in_few_writes(store: SqlStore) -> None:
    audit = an_audit(store)
    for number in range(1500):
        audit.note(a_row(number))
    await audit.aclose(60)
    assert audit.waiting == 0
    assert len(await store.calls("trs_a", limit=2000)) == 1500


# --- behind the calls ---------------------------------------------------------------------------------------


@pytest.fixture
async def moved(anyio_backend: str, tmp_path: Path) -> MovedStore:
    store = MovedStore(tmp_path)
    await store.open()
    return store


async def test_rows_can_be_read_before_they_are_stored(moved: MovedStore) -> None:
    audit = an_audit(moved)
    rows = [a_row(number) for number in range(6)]
    for row in rows:
        audit.note(row)
    audit.note(a_row(9, "trs_other"))
    assert await moved.calls("trs_a", limit=10) == []
    assert await listed(audit) == rows[::-1]
    assert [row.target for row in await listed(audit, limit=2, after=rows[4].id)] == ["TEST_3", "TEST_2"]
    assert [row.target for row in await listed(audit, status="refused")] == ["TEST_3", "TEST_0"]
    assert [row.target for row in await listed(audit, execution_id="exe_1")] == ["TEST_5", "TEST_3", "TEST_1"]
    await audit.aclose(10)
    assert await listed(audit) == rows[::-1]
    assert moved.batches == [7]
    await moved.close()


async def test_a_store_that_is_away_loses_nothing_within_the_bound_and_the_oldest_beyond_it(moved: MovedStore) -> None:
    audit = an_audit(moved, waiting=10)
    moved.broken = True
    for number in range(14):
        audit.note(a_row(number))
    async with asyncio.timeout(30):
        await moved.refused.acquire()
    assert (audit.waiting, audit.dropped) == (10, 4)
    moved.broken = False
    audit.note(a_row(14))
    await audit.aclose(10)
    assert [row.target for row in await moved.calls("trs_a", limit=20)] == [f"TEST_{n}" for n in range(14, 4, -1)]
    assert (audit.waiting, audit.dropped) == (0, 5)
    await moved.close()


async def test_many_rows_are_written_in_bounded_batches(moved: MovedStore) -> None:
    audit = an_audit(moved)
    for number in range(2 * BATCH + 1):
        audit.note(a_row(number))
    await audit.aclose(30)
    assert moved.batches == [BATCH, BATCH, 1]
    await moved.close()


async def test_what_was_used_is_stored_with_the_rows_also_after_a_failure(moved: MovedStore) -> None:
    budget = Budget(PLENTY, moved, lambda: 3600.0 * 50)
    audit = Audit(moved, budget, AuditBounds(days=30))
    meter = await budget.meter("trs_a", "ann")
    meter.spend(Kind.CALLS, 3)
    moved.broken = True
    audit.note(a_row())
    async with asyncio.timeout(30):
        await moved.refused.acquire()
    moved.broken = False
    await audit.aclose(10)
    assert await moved.usage_of_session("trs_a", 0) == {50: Amounts(3)}
    await moved.close()


async def test_the_sweep_removes_what_is_over_its_days(moved: MovedStore) -> None:
    audit = an_audit(moved, sweep_s=0.01)
    now = datetime.now(UTC)
    await moved.keep_calls([a_row(at=now - timedelta(days=31)), a_row(1, at=now)], [])
    audit.start()
    async with asyncio.timeout(30):
        while len(await moved.calls("trs_a", limit=10)) > 1:
            pass
    await audit.aclose(10)
    await moved.close()
