"""Fixtures of the session tests: stores over real databases, managers over real and scripted runtimes."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest

from sandbox.runtimes.base import Runtime
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.store_sql import SqlStore
from tests.conftest import lacking
from tests.support import postgres
from tests.support.lasting import Lasting
from tests.support.scripted_runtime import ScriptedRuntime

PASSWORD = "pa55-that-nobody-may-read"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a private PostgreSQL server."""
    binaries = postgres.find_binaries()
    if binaries is None:
        lacking("no PostgreSQL server (initdb, pg_ctl)", "install the Debian package `postgresql`")
    else:
        with postgres.cluster(binaries, PASSWORD) as url:
            yield url


@pytest.fixture
async def postgres_database(anyio_backend: str, postgres_url: str) -> str:
    """The URL of an empty database of its own."""
    import asyncpg

    name = f"test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return postgres_url.rpartition("/")[0] + "/" + name


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/workbench.db"
    return str(request.getfixturevalue("postgres_database"))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    """An open store over each kind of database."""
    store = SqlStore(database_url)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def scripted(anyio_backend: str) -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
def engine(scripted: ScriptedRuntime) -> Runtime:
    """The scripted runtime, as an engine that lives longer than the controllers that use it."""
    return cast("Runtime", Lasting(scripted))


MakeManager = Callable[..., Awaitable[SessionManager]]


@pytest.fixture
async def make_manager(anyio_backend: str, tmp_path: Path) -> AsyncIterator[MakeManager]:
    """Make managers that are closed after the test; those of one test share a database."""
    async with AsyncExitStack() as stack:

        async def make(
            runtime: Runtime,
            limits: SessionLimits | None = None,
            *,
            installation: str = "here",
            store: SqlStore | None = None,
            **more: object,
        ) -> SessionManager:
            manager = SessionManager(
                runtime,
                store or SqlStore(f"sqlite:///{tmp_path}/workbench.db"),
                installation=installation,
                limits=limits or SessionLimits(pool_size=0),
                **more,  # type: ignore[arg-type]
            )
            stack.push_async_callback(manager.aclose)
            await manager.start_up()
            return manager

        yield make
