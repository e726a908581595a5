"""Ended executions in the store, over every kind of database: kept once, found by their owner, removed in time."""

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.sessions import ids
from sandbox.sessions.record import ExecutionRecord
from sandbox.sessions.session import Session
from sandbox.sessions.store import DELETED_SESSIONS_AGE, Retention
from sandbox.sessions.store_sql import SqlStore
from sandbox.sessions.tables import CREATE_SCHEMA_VERSION, MIGRATIONS, schema_version

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)
ALL = 1_000_000
LOOSE = Retention(timedelta(days=1), overall=ALL, overall_bytes=ALL)


async def a_session(store: SqlStore, name: str = "label/a") -> Session:
    new = Session(ids.session_id(), "ann", name, user_id=None, created_at=NOON, updated_at=NOON)
    return await store.get_or_create(new)


def a_record(session: Session, *, minute: int = 0, result: bytes = b'{"a": "\\u0000"}') -> ExecutionRecord:
    return ExecutionRecord(
        id=ids.execution_id(),
        session_id=session.id,
        owner=session.owner,
        kind="bash",
        timeout_s=7.5,
        created_at=NOON + timedelta(minutes=minute),
        ended_at=NOON + timedelta(minutes=minute, seconds=30),
        sandbox_suffix="abcd",
        recreated="A new sandbox ☃",
        last_event=3,
        result=result,
    )


async def kept(store: SqlStore, *records: ExecutionRecord, per_session: int = 100) -> None:
    await store.keep_executions(records, per_session=per_session)


async def test_what_is_kept_comes_back_whole_to_its_owner_only(store: SqlStore) -> None:
    session = await a_session(store)
    record = a_record(session, result=bytes(range(256)))
    bare = replace(a_record(session), recreated=None)
    await kept(store, record, bare)
    assert await store.execution("ann", record.id) == record
    assert await store.execution("ann", bare.id) == bare
    assert await store.execution("bob", record.id) is None
    assert await store.execution("ann", ids.execution_id()) is None


async def test_the_first_word_on_an_execution_stands(store: SqlStore) -> None:
    record = a_record(await a_session(store))
    await kept(store, record)
    await kept(store, replace(record, result=b"another"), replace(record, owner="bob"))
    assert await store.execution("ann", record.id) == record
    assert await store.execution("bob", record.id) is None


async def test_executions_of_a_session_come_in_the_order_of_their_endings(store: SqlStore) -> None:
    session, other = await a_session(store), await a_session(store, "label/b")
    records = [a_record(session, minute=minute) for minute in range(3)]
    await kept(store, *records, a_record(other))
    assert await store.executions(session.id) == records[::-1]


async def test_of_each_session_the_newest_are_kept_and_no_others_are_touched(store: SqlStore) -> None:
    session, other = await a_session(store), await a_session(store, "label/b")
    records = [a_record(session, minute=minute) for minute in range(5)]
    theirs = [a_record(other, minute=-minute) for minute in range(3)]
    await kept(store, *records[:3], *theirs, per_session=3)
    await kept(store, *records[3:], per_session=3)
    assert await store.executions(session.id) == records[:1:-1]
    assert await store.executions(other.id) == theirs


async def test_a_deleted_session_takes_its_executions_along_and_none_comes_after(store: SqlStore) -> None:
    session, other = await a_session(store), await a_session(store, "label/b")
    early, late, theirs = a_record(session), a_record(session), a_record(other)
    await kept(store, early)
    assert await store.delete("ann", session.id, NOON)
    await kept(store, late, theirs)
    for record in (early, late):
        assert await store.execution("ann", record.id) is None
    assert await store.executions(session.id) == []
    assert await store.executions(other.id) == [theirs]
    assert await rows(store, "executions") == 1


async def rows(store: SqlStore, table: str) -> int:
    async with store._engine.connect() as connection:
        found = await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")
        return int(found.scalar_one())


async def test_a_session_that_is_deleted_while_its_results_come_in_leaves_none(
    store: SqlStore, database_url: str
) -> None:
    other = SqlStore(database_url)
    session = await a_session(store)
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(kept(store, *(a_record(session) for _ in range(5))))
        group.create_task(other.delete("ann", session.id, NOON))
    assert await rows(store, "executions") == 0
    await other.close()


async def test_two_controllers_that_keep_the_same_execution_keep_it_once(store: SqlStore, database_url: str) -> None:
    other = SqlStore(database_url)
    records = [a_record(await a_session(store)) for _ in range(20)]
    async with asyncio.TaskGroup() as group:
        for which in (store, other) * 3:
            group.create_task(kept(which, *records))
    assert await rows(store, "executions") == 20
    await other.close()


async def test_a_step_removes_what_is_too_old_oldest_first_and_no_more_than_it_may(store: SqlStore) -> None:
    session = await a_session(store)
    records = [a_record(session, minute=minute) for minute in range(5)]
    await kept(store, *records)
    now = records[3].ended_at + LOOSE.age
    assert await store.purge(LOOSE, now, at_most=2) == 2
    assert await store.executions(session.id) == records[:1:-1]
    assert await store.purge(LOOSE, now, at_most=2) == 1
    assert await store.purge(LOOSE, now, at_most=2) == 0
    assert await store.executions(session.id) == records[:2:-1]


@pytest.mark.parametrize(
    ("bounds", "left"),
    [
        pytest.param(replace(LOOSE, overall=2), 2, id="number"),
        pytest.param(replace(LOOSE, overall_bytes=3500), 3, id="bytes"),
        pytest.param(replace(LOOSE, overall_bytes=999), 0, id="none fits"),
        pytest.param(replace(LOOSE, overall=5, overall_bytes=5000), 5, id="all fit"),
    ],
)
async def test_beyond_the_bounds_over_all_the_oldest_are_removed(store: SqlStore, bounds: Retention, left: int) -> None:
    session = await a_session(store)
    records = [a_record(session, minute=minute // 2, result=secrets.token_bytes(1000)) for minute in range(5)]
    records.sort(key=lambda record: (record.ended_at, record.id), reverse=True)
    await kept(store, *records)
    while await store.purge(bounds, NOON, at_most=2):
        pass
    assert await store.executions(session.id) == records[:left]


async def test_a_session_that_was_deleted_long_ago_leaves_no_row_and_its_id_stays_refused(store: SqlStore) -> None:
    gone, lately, living = [await a_session(store, f"label/{number}") for number in range(3)]
    await store.delete("ann", gone.id, NOON)
    await store.delete("ann", lately.id, NOON + timedelta(seconds=1))
    assert await store.purge(LOOSE, NOON + DELETED_SESSIONS_AGE, at_most=10) == 0
    assert await store.purge(LOOSE, NOON + DELETED_SESSIONS_AGE + timedelta(seconds=1), at_most=10) == 1
    assert await rows(store, "sessions") == 2
    for deleted in (gone, lately):
        assert await store.get("ann", deleted.id) is None
    assert await store.get("ann", living.id) == living


async def test_a_database_of_before_gets_the_table_and_keeps_its_sessions(database_url: str) -> None:
    store = SqlStore(database_url)
    async with store._engine.begin() as connection:
        await connection.exec_driver_sql(CREATE_SCHEMA_VERSION)
        for version, statements in enumerate(MIGRATIONS[:2], 1):
            for statement in statements:
                await connection.exec_driver_sql(statement)
            await connection.execute(schema_version.insert().values(version=version, applied_at=NOON))
    session = await a_session(store)
    await store.open()
    record = a_record(session)
    await kept(store, record)
    assert await store.get("ann", session.id) == session
    assert await store.execution("ann", record.id) == record
    await store.close()
