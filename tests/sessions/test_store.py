"""One list for every kind of database that the store can be in."""

import asyncio
import logging
import socket
import stat
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from sandbox.errors import ConfigurationError, NotFound, StoreUnavailable
from sandbox.sessions import ids
from sandbox.sessions.session import Session
from sandbox.sessions.store import Claim
from sandbox.sessions.store_sql import SqlStore
from tests.sessions.conftest import PASSWORD

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)


def a_session(name: str | None = "label/a", *, owner: str = "ann", minute: int = 0) -> Session:
    at = NOON + timedelta(minutes=minute)
    return Session(ids.session_id(), owner, name, user_id=None, created_at=at, updated_at=at)


async def test_what_is_stored_comes_back_whole(store: SqlStore) -> None:
    new = replace(
        a_session(), user_id="ünï ☃", config={"workbench": {"enable": True, "list": [1, None, "é"]}}, config_version=3
    )
    assert await store.get_or_create(new) == new
    assert await store.get("ann", new.id) == new
    assert await store.find("ann", "label/a") == new


async def test_moments_come_back_in_utc_whatever_zone_they_went_in(store: SqlStore) -> None:
    local = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    new = await store.get_or_create(replace(a_session(), created_at=local))
    found = await store.get("ann", new.id)
    assert found is not None
    assert found.created_at == NOON
    assert found.created_at.tzinfo == UTC


async def test_the_same_name_is_the_same_session_for_one_owner_only(store: SqlStore) -> None:
    first = await store.get_or_create(a_session())
    assert await store.get_or_create(a_session()) == first
    assert (await store.get_or_create(a_session(owner="bob"))).id != first.id


async def test_sessions_without_a_name_do_not_collide(store: SqlStore) -> None:
    first, second = await store.get_or_create(a_session(None)), await store.get_or_create(a_session(None))
    assert first.id != second.id


async def test_two_controllers_that_create_one_name_at_once_get_one_session(store: SqlStore, database_url: str) -> None:
    other = SqlStore(database_url)
    await other.open()
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(which.get_or_create(a_session())) for which in (store, other) * 10]
    assert len({task.result().id for task in made}) == 1
    await other.close()


async def test_many_controllers_may_open_a_new_database_at_once(database_url: str) -> None:
    stores = [SqlStore(database_url) for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        for each in stores:
            group.create_task(each.open())
    for each in stores:
        await each.check()
        await each.close()


async def test_opening_twice_keeps_what_is_there(store: SqlStore, database_url: str) -> None:
    session = await store.get_or_create(a_session())
    await store.open()
    assert await store.get("ann", session.id) == session


async def test_a_list_is_newest_first_in_pages_of_one_owner(store: SqlStore) -> None:
    made = [await store.get_or_create(a_session(f"label/{number}", minute=number // 2)) for number in range(5)]
    await store.get_or_create(a_session(owner="bob"))
    expected = sorted(made, key=lambda session: (session.created_at, session.id), reverse=True)
    assert await store.list("ann", limit=10, after=None) == expected
    assert await store.list("ann", limit=2, after=None) == expected[:2]
    assert await store.list("ann", limit=2, after=expected[1].id) == expected[2:4]
    assert await store.list("ann", limit=2, after=expected[4].id) == []


async def test_a_list_goes_on_after_a_session_that_was_deleted_meanwhile(store: SqlStore) -> None:
    made = [await store.get_or_create(a_session(f"label/{number}", minute=number)) for number in range(3)]
    await store.delete("ann", made[1].id, NOON)
    assert await store.list("ann", limit=10, after=made[1].id) == [made[0]]


async def test_a_list_does_not_go_on_after_another_owners_session(store: SqlStore) -> None:
    foreign = await store.get_or_create(a_session(owner="bob"))
    with pytest.raises(NotFound):
        await store.list("ann", limit=10, after=foreign.id)


async def test_a_deleted_session_is_gone_and_its_name_is_free(store: SqlStore) -> None:
    old = await store.get_or_create(a_session())
    assert await store.delete("ann", old.id, NOON)
    assert not await store.delete("ann", old.id, NOON)
    assert await store.get("ann", old.id) is None
    assert await store.list("ann", limit=10, after=None) == []
    assert (await store.get_or_create(a_session())).id != old.id


async def test_nobody_sees_or_deletes_another_owners_session(store: SqlStore) -> None:
    session = await store.get_or_create(a_session())
    assert await store.get("bob", session.id) is None
    assert not await store.delete("bob", session.id, NOON)
    assert await store.get("ann", session.id) == session


async def test_a_touch_is_noted(store: SqlStore) -> None:
    session = await store.get_or_create(a_session())
    await store.touch({session.id: NOON + timedelta(hours=1), "trs_nobody": NOON})
    found = await store.get("ann", session.id)
    assert found == replace(session, last_used_at=NOON + timedelta(hours=1))


async def test_a_database_of_a_newer_controller_is_left_alone(store: SqlStore, database_url: str) -> None:
    async with store._engine.begin() as connection:
        await connection.exec_driver_sql("INSERT INTO schema_version VALUES (99, '2026-01-01 00:00:00')")
    with pytest.raises(StoreUnavailable, match="schema version 99"):
        await store.open()


# --- what only one kind has ---------------------------------------------------------------------------


async def test_a_sqlite_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/state/workbench.db")
    await store.open()
    await store.get_or_create(a_session())
    files = list((tmp_path / "state").iterdir())
    assert len(files) >= 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    await store.close()


async def test_a_locked_database_is_said_to_be_unavailable_with_the_cause(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/workbench.db"
    holder, waiter = SqlStore(url), SqlStore(url, deadline_s=0.4)
    await holder.open()
    async with holder._transaction(writes=True):
        with pytest.raises(StoreUnavailable, match="locked"):
            await waiter.get_or_create(a_session())
        assert await waiter.get("ann", "trs_none") is None, "reading goes on while another writes"
    await waiter.get_or_create(a_session())
    for store in (holder, waiter):
        await store.close()


async def test_a_path_that_cannot_be_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        SqlStore(f"sqlite:///{tmp_path}/file/workbench.db")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        f"mysql://me:{PASSWORD}@host/db",
        f"postgresql://me:{PASSWORD}@host:port/db",
        f"postgresql://me:{PASSWORD}@host/db?odd={PASSWORD}",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
async def test_a_wrong_url_is_a_configuration_error_without_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SqlStore(url)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert caught.value.suggested_fix


async def test_an_unreachable_server_is_said_to_be_unavailable_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        store = SqlStore(f"postgresql://me:{PASSWORD}@127.0.0.1:{taken.getsockname()[1]}/db", deadline_s=5)
        with pytest.raises(StoreUnavailable, match="not available.*me:.*@127.0.0.1") as caught:
            await store.open()
    assert PASSWORD not in f"{caught.value!r} {caught.value} {store!r} {caplog.text}"
    assert "127.0.0.1" not in caught.value.message, "what clients are told"
    assert "me" not in caught.value.message.split()
    await store.close()


async def test_a_database_file_that_is_gone_is_named_in_the_log_and_not_to_clients(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    await store.open()
    (tmp_path / "workbench.db").unlink()
    with pytest.raises(StoreUnavailable) as caught:
        await store.check()
    assert str(tmp_path) in str(caught.value)
    assert str(tmp_path) not in caught.value.message
    await store.close()


async def test_a_server_that_accepts_and_says_nothing_is_unavailable_at_the_deadline() -> None:
    left = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = SqlStore(f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/db", deadline_s=0.4)
        with pytest.raises(StoreUnavailable):
            await store.check()
        await store.close()
        await left.wait()


@pytest.mark.postgres
async def test_a_wrong_password_is_said_to_be_unavailable_without_it(postgres_database: str) -> None:
    wrong = "wr0ng-but-secret-too"
    store = SqlStore(postgres_database.replace(PASSWORD, wrong))
    with pytest.raises(StoreUnavailable, match="password authentication failed") as caught:
        await store.open()
    assert wrong not in f"{caught.value!r} {store!r}"
    await store.close()


@pytest.mark.postgres
async def test_the_usual_forms_of_a_url_work(postgres_database: str) -> None:
    for url in (
        postgres_database.replace("postgresql://", "postgres://"),
        postgres_database.replace("postgresql://", "postgresql+psycopg://"),
        postgres_database + "?sslmode=prefer",
    ):
        store = SqlStore(url)
        await store.check()
        await store.close()


@pytest.mark.postgres
async def test_connections_that_the_server_cut_are_replaced(postgres_database: str) -> None:
    import asyncpg

    store = SqlStore(postgres_database)
    await store.open()
    session = await store.get_or_create(a_session())
    admin = await asyncpg.connect(postgres_database)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await admin.close()
    assert await store.get("ann", session.id) == session
    await store.close()


# --- which sandbox is whose -----------------------------------------------------------------------------------


def a_claim(sandbox_id: str, session: Session, *, minute: int = 0, installation: str = "here") -> Claim:
    return Claim(sandbox_id, session.id, installation, NOON + timedelta(minutes=minute))


async def test_claims_come_back_oldest_first_with_their_sessions_for_one_installation(store: SqlStore) -> None:
    one, two = await store.get_or_create(a_session()), await store.get_or_create(a_session("label/b"))
    late, early = a_claim("s1", one, minute=5), a_claim("s2", two)
    await store.change_claims([late, early, a_claim("s3", one, installation="there")], [])
    assert await store.claims("here") == [(early, two), (late, one)]


async def test_a_claim_of_a_deleted_session_has_no_session(store: SqlStore) -> None:
    session = await store.get_or_create(a_session())
    claim = a_claim("s1", session)
    await store.change_claims([claim], [])
    await store.delete("ann", session.id, NOON)
    assert await store.claims("here") == [(claim, None)]


async def test_a_claim_replaces_an_earlier_one_and_an_ended_one_is_gone(store: SqlStore) -> None:
    one, two = await store.get_or_create(a_session()), await store.get_or_create(a_session("label/b"))
    await store.change_claims([a_claim("s1", one), a_claim("s2", one)], ["never"])
    await store.change_claims([a_claim("s1", two)], ["s2"])
    assert await store.claims("here") == [(a_claim("s1", two), two)]
    await store.change_claims([], ["s1"])
    assert await store.claims("here") == []
