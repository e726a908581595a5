"""Results that have come while nobody asked: the controller is killed, the database is away, the sandbox is gone."""

import asyncio
import itertools
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.runtimes.docker_address import EngineAddress
from tests.conftest import lacking
from tests.support import postgres
from tests.support.controller import Controller, ServerEvent
from tests.support.faults import fault

pytestmark = [pytest.mark.docker, pytest.mark.timeout(150)]

PYTHON: dict[str, Any] = {"code": "import sys\nprint('out')\nprint('err', file=sys.stderr)\n6 * 7"}
BASH: dict[str, Any] = {"command": "echo out; echo err >&2; exit 3"}


class Database:
    """The controller's database, seen from outside."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "workbench.db"

    def count(self, query: str, *values: str) -> int:
        with closing(sqlite3.connect(self.path)) as connection:
            return int(connection.execute(query, values).fetchone()[0])

    def has(self, execution: str) -> bool:
        """Whether an ending is stored."""
        return self.count("SELECT count(*) FROM executions WHERE id = ?", execution) == 1

    def lock(self) -> sqlite3.Connection:
        """Let nobody write until the connection is closed."""
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        return connection


@pytest.fixture
def controller(tmp_path: Path, docker_engine: EngineAddress, sandbox_image: str) -> Iterator[Controller]:
    made = Controller(tmp_path, docker_engine, sandbox_image)
    yield made
    made.close()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path)


def wait_for(holds: Callable[[], bool]) -> None:
    """Look again and again; the test's own deadline ends it."""
    for _ in itertools.takewhile(lambda _: not holds(), itertools.count()):
        pass


def has_session(controller: Controller, database: Database) -> None:
    """Have session `x` with a sandbox that the store knows of."""
    controller.start()
    controller.run("x", command="true")
    wait_for(lambda: database.count("SELECT count(*) FROM sandboxes") == 1)


def arrived(controller: Controller, execution: str) -> bool:
    """Whether the controller has got an ending: it says so in its log, and nobody has asked for it."""
    lines = controller.log().splitlines()
    return any("execution ended" in line and execution in line for line in lines)


def ending_of(controller: Controller, execution: str) -> tuple[list[ServerEvent], dict[str, Any]]:
    """Give the events of an execution to its end, and then what is said of it."""
    with controller.events(execution) as stream:
        events = list(stream)
    return events, controller.execution(execution)


def check(controller: Controller, execution: str, body: dict[str, Any]) -> list[ServerEvent]:
    """The whole result is there; the events of the execution, the last of which has it."""
    events, found = ending_of(controller, execution)
    assert (found["state"], found["successful"]) == ("ended", True), found
    data = found["data"]
    assert (data["stdout"], data["stderr"]) == ("out\n", "err\n")
    assert data["execution"]["ending"] == "completed"
    assert data["results"] == "out\n42" if "code" in body else data["exit_code"] == 3
    assert (events[-1].name, events[-1].data) == ("ended", found)
    with controller.client() as client:
        items = client.get("/v1/sessions/x/executions").json()["items"]
    assert [item for item in items if item["execution_id"] == execution] == [found]
    return events


@fault("E01")
@pytest.mark.parametrize("body", [PYTHON, BASH], ids=["python", "bash"])
def test_a_result_that_came_right_before_the_kill_is_there_for_who_asks_later(
    controller: Controller, database: Database, body: dict[str, Any]
) -> None:
    has_session(controller, database)
    execution = controller.begin("x", **body)
    wait_for(lambda: arrived(controller, execution))
    controller.kill()
    controller.start()
    check(controller, execution, body)


@fault("E02", "E03")
@pytest.mark.parametrize("body", [PYTHON, BASH], ids=["python", "bash"])
def test_a_result_that_could_not_be_stored_before_the_kill_is_told_again_by_its_sandbox_and_stored(
    controller: Controller, database: Database, body: dict[str, Any]
) -> None:
    has_session(controller, database)
    with closing(database.lock()):
        execution = controller.begin("x", **body)
        wait_for(lambda: arrived(controller, execution))
        whole = check_in_memory(controller, execution)
        controller.kill()
    assert not database.has(execution)

    controller.start()
    events = check(controller, execution, body)
    assert [event.id for event in events] == [event.id for event in whole]
    wait_for(lambda: database.has(execution))
    controller.kill()
    controller.remove_containers()

    controller.start()
    stored = check(controller, execution, body)
    assert [(event.id, event.name) for event in stored] == [
        (events[-2].id, "output_cut"),
        (events[-1].id, "ended"),
    ]


def check_in_memory(controller: Controller, execution: str) -> list[ServerEvent]:
    """The answer of a controller whose database is away."""
    events, found = ending_of(controller, execution)
    assert found["data"]["execution"]["ending"] == "completed"
    return events


@fault("E07")
@pytest.mark.postgres
def test_a_result_that_came_while_postgresql_was_down_is_stored_by_the_next_controller(controller: Controller) -> None:
    binaries = postgres.find_binaries()
    if binaries is None:
        lacking("no PostgreSQL server (initdb, pg_ctl)", "install the Debian package `postgresql`")
    with postgres.stoppable(binaries, "a-password") as cluster:
        controller.start(database_url=cluster.url)
        controller.run("x", command="true")
        wait_for(lambda: rows(cluster.url, "sandboxes") == 1)
        wait_for(lambda: rows(cluster.url, "executions") == 1)
        cluster.stop()
        execution = controller.begin("x", **PYTHON)
        wait_for(lambda: arrived(controller, execution))
        controller.kill()
        cluster.start()

        controller.start(database_url=cluster.url)
        check(controller, execution, PYTHON)
        wait_for(lambda: rows(cluster.url, "executions") == 2)
        controller.kill()
        controller.remove_containers()
        controller.start(database_url=cluster.url)
        check(controller, execution, PYTHON)
        controller.kill()


def rows(url: str, table: str) -> int:
    """Count the rows of a table of a PostgreSQL database."""
    import asyncpg

    async def count() -> int:
        connection = await asyncpg.connect(url)
        try:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
        finally:
            await connection.close()

    return asyncio.run(count())


@fault("E04")
def test_a_result_outlives_its_sandbox_and_its_controller(controller: Controller, database: Database) -> None:
    has_session(controller, database)
    execution = controller.begin("x", **PYTHON)
    wait_for(lambda: database.has(execution))
    controller.kill()
    controller.remove_containers()
    controller.start()
    check(controller, execution, PYTHON)
    answer = controller.run("x", command="true")
    assert "are lost" in answer["data"]["execution"]["recreated"]
    check(controller, execution, PYTHON)


@fault("E05")
def test_a_controller_that_is_told_to_stop_stores_the_results_that_wait(
    controller: Controller, database: Database
) -> None:
    has_session(controller, database)
    execution = controller.begin("x", **PYTHON)
    wait_for(lambda: arrived(controller, execution))
    controller.signal(signal.SIGTERM)
    controller.wait()
    assert database.has(execution)
    controller.remove_containers()
    controller.start()
    check(controller, execution, PYTHON)


@fault("E06")
def test_a_deleted_session_leaves_no_result_behind(controller: Controller, database: Database) -> None:
    has_session(controller, database)
    execution = controller.begin("x", **PYTHON)
    wait_for(lambda: database.has(execution))
    with controller.client() as client:
        assert client.delete("/v1/sessions/x").status_code == 200
    assert database.count("SELECT count(*) FROM executions") == 0
    controller.kill()
    controller.start()
    with controller.client() as client:
        assert answer_for(client, execution) == 404


def answer_for(client: httpx.Client, execution: str) -> int:
    return client.get(f"/v1/executions/{execution}").status_code
