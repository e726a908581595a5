"""A gateway over real stores, and what is needed to call it."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sandbox.config_upstreams import ObjectStoreName, UpstreamSettings
from sandbox.errors import CallFault
from sandbox.gateway.build import build_gateway
from sandbox.gateway.gateway import Gateway
from sandbox.metrics import Metrics
from sandbox.pipe.messages import FileInfo, FileList
from sandbox.sessions import ids
from sandbox.sessions.call_record import CallRecord
from sandbox.sessions.helper_port import HelperAnswer, SessionCall
from sandbox.sessions.session import Session
from sandbox.sessions.store_sql import SqlStore
from sandbox.upstreams.base import Objects, ToolAnswer, ToolCall, ToolInfo, ToolkitInfo
from sandbox.upstreams.build import build_upstreams, close_upstreams
from tests.sessions.conftest import database_url, postgres_database, postgres_url, store

if TYPE_CHECKING:
    from sandbox.sessions.helper_news import HelperCalled

__all__ = ["database_url", "postgres_database", "postgres_url", "store"]

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
async def sqlite(anyio_backend: str, tmp_path: Path) -> AsyncIterator[SqlStore]:
    """An open store, where the kind of database is not the point."""
    store = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    await store.open()
    yield store
    await store.close()


def a_session(config: dict[str, Any] | None = None, *, owner: str = "ann", version: int = 1) -> Session:
    """A session of its own."""
    return Session(
        ids.session_id(),
        owner,
        None,
        user_id="someone",
        created_at=NOON,
        updated_at=NOON,
        config=config or {},
        config_version=version,
    )


def raw(value: object) -> msgspec.Raw:
    """A value as JSON."""
    return msgspec.Raw(msgspec.json.encode(value))


class Calls:
    """A gateway over what settings name, and a sandbox's side of it. `news`: what followers hear.

    `changed`: sessions whose configuration is another by now, by id.
    """

    def __init__(self, gateway: Gateway, store: SqlStore, metrics: Metrics, changed: dict[str, Session]) -> None:
        self.gateway = gateway
        self.changed = changed
        self.store = store
        self.metrics = metrics
        self.news: list[HelperCalled] = []

    async def ask(
        self,
        helper: str,
        arguments: object,
        session: Session | None = None,
        *,
        timeout_s: float = 30,
        execution_id: str | None = "exe_00000000000000aa",
    ) -> HelperAnswer:
        """Call a helper, as the sessions do."""
        arguments = arguments if isinstance(arguments, msgspec.Raw) else raw(arguments)
        return await self.gateway.answer(
            SessionCall(
                "call",
                session or a_session(),
                helper,
                arguments,
                execution_id,
                timeout_s,
                NoFiles(),
                lambda _done, _total: None,
                self.news.append,
            )
        )

    async def rows(self, session: Session) -> Sequence[CallRecord]:
        """The audit of a session, newest first."""
        return await self.gateway.audit.of_session(session.id, limit=100, after=None, execution_id=None, status=None)


class NoFiles:
    """A sandbox without files."""

    async def folder(self) -> str:
        """Where they would be."""
        return "/mnt/files"

    async def stat(self, path: str, *, inside: str | None = None) -> FileInfo:
        """There is none."""
        raise CallFault("not_found", path)

    async def read(
        self,
        path: str,
        *,
        timeout_s: float,
        offset: int = 0,
        most: int | None = None,
        inside: str | None = None,
        file_id: int = 0,
    ) -> AsyncGenerator[bytes, None]:
        """There is none."""
        raise CallFault("not_found", path)
        yield b""

    async def list(self, path: str, *, prefix: str = "", after: str = "", limit: int = 1000) -> FileList:
        """There are none."""
        return FileList(())

    async def write(
        self, path: str, data: AsyncIterable[bytes], *, timeout_s: float, inside: str | None = None
    ) -> FileInfo:
        """It takes none."""
        raise CallFault("denied", path)

    async def delete(self, path: str, *, inside: str | None = None) -> bool:
        """There was none."""
        return False


class ToolSource:
    """A source of tools whose far end is not the point: each call is what `run` makes of it."""

    name = "tools (test)"

    def __init__(self, run: Callable[[ToolCall], Awaitable[ToolAnswer]], toolkit: str = "test") -> None:
        self.run = run
        self.toolkit = toolkit
        self.calls: list[ToolCall] = []
        self.tags: dict[str, tuple[str, ...]] = {}

    def claims(self, slug: str) -> bool:
        return slug.startswith(f"{self.toolkit.upper()}_")

    async def execute(self, call: ToolCall) -> ToolAnswer:
        self.calls.append(call)
        return await self.run(call)

    async def find(self, slugs: Sequence[str]) -> list[ToolInfo]:
        return [ToolInfo(slug, slug, "", self.toolkit, {}, tags=self.tags[slug]) for slug in slugs if slug in self.tags]

    async def toolkits(self) -> list[ToolkitInfo]:
        return []

    async def tools(self, toolkit: str | None = None) -> list[ToolInfo]:
        return []

    async def check(self) -> str:
        return "works"

    async def aclose(self) -> None:
        pass


class Flaky:
    """Fails with each of `errors` in turn, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self, call: ToolCall) -> ToolAnswer:
        if self.errors:
            raise self.errors.pop(0)
        return ToolAnswer(raw({"done": True}))


MakeCalls = Callable[..., Calls]


@pytest.fixture
async def make_calls(sqlite: SqlStore) -> AsyncIterator[MakeCalls]:
    """Make gateways over settings, or over sources of tools of the test's own; all are closed after it."""
    async with AsyncExitStack() as stack:

        def make(*sources: ToolSource, **settings: Any) -> Calls:
            read = UpstreamSettings(object_store=ObjectStoreName.NONE, **settings)
            upstreams = build_upstreams(read, no_objects)
            stack.push_async_callback(close_upstreams, upstreams)
            if sources:
                upstreams = replace(upstreams, tools=sources)
            metrics = Metrics()
            changed: dict[str, Session] = {}
            gateway = build_gateway(
                read, upstreams, sqlite, metrics, newest=lambda session: changed.get(session.id, session)
            )
            stack.push_async_callback(gateway.aclose, 10)
            gateway.start()
            return Calls(gateway, sqlite, metrics, changed)

        yield make


def no_objects() -> Objects:
    """There is no store of objects here."""
    raise AssertionError


async def echo(call: ToolCall) -> ToolAnswer:
    """A tool that gives back its arguments."""
    return ToolAnswer(raw(call.arguments))
