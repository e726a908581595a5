"""The database is locked, gone or down: 503 with the cause, what runs goes on, and it recovers by itself."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import KEY, Server, running_server
from tests.conftest import lacking
from tests.support import postgres
from tests.support.faulty_engine import EXECUTE, Bench, answer_of, envelope

PASSWORD = "pa55-that-nobody-may-read"


def refused(server: Server, session: str) -> dict[str, Any]:
    """Ask for a session that is not in memory; the inside of the error's envelope."""
    with server.client() as client:
        body = {"arguments": {"code_to_execute": "1", "session_id": session}}
        return envelope(client.post(EXECUTE, json=body))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a SQLite file."""
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    other.close()


@contextmanager
def away(path: Path) -> Iterator[None]:
    """Take a SQLite file away for a while."""
    elsewhere = path.rename(path.with_suffix(".away"))
    yield
    elsewhere.rename(path)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("broken", "words"),
    [pytest.param(locked, "locked", id="locked"), pytest.param(away, "gone", id="gone")],
)
def test_a_database_that_is_locked_or_gone_stops_new_sessions_and_nothing_that_runs(
    workplace: Bench, label: str, broken: Callable[[Path], Any], words: str
) -> None:
    server, path = workplace.server, workplace.server.data_dir / "workbench.db"
    execution = workplace.begin(label)
    with broken(path):
        error = refused(server, f"{label} new")
        assert error["slug"] == "Store_Unavailable"
        assert words in error["message"]
        assert error["suggested_fix"]
        assert server.bash("touch go", session=label)["successful"]
        assert answer_of(workplace.ended(execution))["ending"] == "completed"
        assert server.run("kept", session=label)["data"]["results"] == "'kept'"
        with server.client() as client:
            assert client.delete(f"/v1/sessions/{label}").status_code == 503
    assert server.run("kept", session=label)["data"]["results"] == "'kept'"
    with server.client() as client:
        assert client.delete(f"/v1/sessions/{label}").status_code == 200


@pytest.mark.docker
def test_a_database_file_that_was_put_back_from_a_copy_is_used(workplace: Bench, label: str) -> None:
    path = workplace.server.data_dir / "workbench.db"
    first = workplace.server.run("1", session=label)["data"]["session"]["id"]
    with sqlite3.connect(path) as source, sqlite3.connect(path.with_suffix(".copy")) as copy:
        source.backup(copy)
    for connection in (source, copy):
        connection.close()
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    assert refused(workplace.server, f"{label} new")["slug"] == "Store_Unavailable"
    path.with_suffix(".copy").rename(path)
    with workplace.server.client() as client:
        ids = [item["session_id"] for item in client.get("/v1/sessions").json()["items"]]
    assert first in ids
    with sqlite3.connect(path) as now:
        assert now.execute("SELECT count(*) FROM sessions WHERE id = ?", [first]).fetchone() == (1,)
    now.close()


@pytest.mark.postgres
def test_a_postgresql_that_is_stopped_stops_new_sessions_and_nothing_that_runs(short_folder: Path) -> None:
    binaries = postgres.find_binaries()
    if binaries is None:
        lacking("no PostgreSQL server (initdb, pg_ctl)", "install the Debian package `postgresql`")
    with (
        postgres.stoppable(binaries, PASSWORD) as cluster,
        running_server(short_folder, api_keys=KEY, database_url=cluster.url, pool_size="0") as server,
    ):
        server.run("kept = 'kept'", session="x")
        cluster.stop()
        error = refused(server, "new")
        assert error["slug"] == "Store_Unavailable"
        assert PASSWORD not in error["message"]
        assert server.run("kept", session="x")["data"]["results"] == "'kept'"
        with server.client() as client:
            assert client.get("/readyz").status_code == 503
        cluster.start()
        assert server.run("1", session="new")["successful"]
        assert PASSWORD not in server.log.read_text()
