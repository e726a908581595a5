"""Budgets: refused in time, counted by the hour, kept over restarts."""

from pathlib import Path

import pytest

from sandbox.errors import HelperRefused
from sandbox.gateway.budget import HOURS, Budget, BudgetLimits, Kind
from sandbox.sessions.call_record import Amounts
from sandbox.sessions.store_sql import SqlStore

pytestmark = pytest.mark.anyio

PLENTY = Amounts(1000, 1000, 1000)
HOUR_S = 3600.0


class Time:
    """Seconds since 1970, as the test says."""

    def __init__(self) -> None:
        self.now = 500_000 * HOUR_S

    def __call__(self) -> float:
        return self.now


def a_budget(store: SqlStore, session: Amounts = PLENTY, key: Amounts = PLENTY, time: Time | None = None) -> Budget:
    return Budget(BudgetLimits(session, key), store, time or Time())


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("scope", ["session", "key"])
async def test_what_is_over_a_budget_is_refused_and_the_setting_named(sqlite: SqlStore, kind: Kind, scope: str) -> None:
    ten = Amounts(10, 10, 10)
    budget = a_budget(sqlite, ten if scope == "session" else PLENTY, ten if scope == "key" else PLENTY)
    meter = await budget.meter("trs_a", "ann")
    meter.spend(kind, 9)
    with pytest.raises(HelperRefused) as refused:
        meter.spend(kind, 2)
    assert f"`{kind.value}_per_{scope}`" in refused.value.message
    assert f"WORKBENCH_{kind.value.upper()}_PER_{scope.upper()}" in str(refused.value.suggested_fix)
    meter.spend(kind, 1)  # what was refused does not count


@pytest.mark.parametrize("kind", Kind)
async def test_nothing_is_allowed_when_the_budget_is_nothing(sqlite: SqlStore, kind: Kind) -> None:
    meter = await a_budget(sqlite, session=Amounts()).meter("trs_a", "ann")
    with pytest.raises(HelperRefused):
        meter.spend(kind, 1)


async def test_sessions_of_one_key_share_its_budget_and_no_other(sqlite: SqlStore) -> None:
    budget = a_budget(sqlite, key=Amounts(2, 0, 0))
    (await budget.meter("trs_a", "ann")).spend(Kind.CALLS, 1)
    (await budget.meter("trs_b", "ann")).spend(Kind.CALLS, 1)
    with pytest.raises(HelperRefused, match="all sessions of this API key"):
        (await budget.meter("trs_c", "ann")).spend(Kind.CALLS, 1)
    (await budget.meter("trs_d", "bob")).spend(Kind.CALLS, 1)


async def test_what_was_used_a_day_ago_does_not_count_any_more(sqlite: SqlStore) -> None:
    time = Time()
    meter = await a_budget(sqlite, session=Amounts(2, 0, 0), time=time).meter("trs_a", "ann")
    meter.spend(Kind.CALLS, 1)
    time.now += (HOURS - 1) * HOUR_S
    meter.spend(Kind.CALLS, 1)
    with pytest.raises(HelperRefused):
        meter.spend(Kind.CALLS, 1)
    time.now += HOUR_S
    meter.spend(Kind.CALLS, 1)


async def test_an_answer_that_is_there_already_counts_even_over_the_budget(sqlite: SqlStore) -> None:
    meter = await a_budget(sqlite, session=Amounts(0, 10, 0)).meter("trs_a", "ann")
    meter.spend(Kind.MODEL_CHARS, 5)
    meter.add(Kind.MODEL_CHARS, 100)
    with pytest.raises(HelperRefused):
        meter.spend(Kind.MODEL_CHARS, 1)


async def test_what_was_used_before_a_restart_counts(store: SqlStore) -> None:
    time = Time()
    before = a_budget(store, time=time)
    for session_id, calls in (("trs_a", 3), ("trs_b", 4)):
        meter = await before.meter(session_id, "ann")
        meter.spend(Kind.CALLS, calls)
        await store.keep_calls([], before.take_unwritten())
        meter.spend(Kind.CALLS, 1)
        await store.keep_calls([], before.take_unwritten())
    after = a_budget(store, session=Amounts(4, 0, 0), key=Amounts(10, 0, 0), time=time)
    with pytest.raises(HelperRefused, match="calls_per_session"):
        (await after.meter("trs_a", "ann")).spend(Kind.CALLS, 1)
    (await after.meter("trs_c", "ann")).spend(Kind.CALLS, 1)
    with pytest.raises(HelperRefused, match="calls_per_key"):
        (await after.meter("trs_d", "ann")).spend(Kind.CALLS, 1)
    time.now += HOURS * HOUR_S
    (await a_budget(store, session=Amounts(1, 0, 0), time=time).meter("trs_a", "ann")).spend(Kind.CALLS, 1)


async def test_a_store_that_does_not_answer_lets_calls_pass(tmp_path: Path) -> None:
    without_tables = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    meter = await a_budget(without_tables).meter("trs_a", "ann")
    meter.spend(Kind.CALLS, 1)
    await without_tables.close()


async def test_what_could_not_be_stored_is_stored_later(sqlite: SqlStore) -> None:
    budget = a_budget(sqlite)
    meter = await budget.meter("trs_a", "ann")
    meter.spend(Kind.CALLS, 2)
    budget.put_back(budget.take_unwritten())
    meter.spend(Kind.CALLS, 1)
    assert [usage.amounts for usage in budget.take_unwritten()] == [Amounts(calls=3)]
    assert budget.take_unwritten() == []
