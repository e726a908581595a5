"""More is asked at once than there is room for: all that can be is served in its turn, the rest is refused plainly."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.pipe.messages import RunCode
from sandbox.runtimes.base import SandboxSpec
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress, UnixAddress
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.store_sql import SqlStore
from tests.conftest import remove_all
from tests.support.faulty_engine import EXECUTE, bench, envelope

pytestmark = [pytest.mark.docker, pytest.mark.anyio, pytest.mark.timeout(240)]


class Counting(DockerRuntime):
    """Notes how many creations were under way at once, at most."""

    now = 0
    most = 0

    async def create(self, spec: SandboxSpec) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await super().create(spec)
        finally:
            self.now -= 1


@pytest.fixture
async def counting(
    anyio_backend: str, docker_engine: EngineAddress, sandbox_image: str, installation: str
) -> AsyncIterator[Counting]:
    """A runtime that counts; what a test leaves behind is removed."""
    yield Counting(image=sandbox_image, address=docker_engine)
    runtime = Counting(image=sandbox_image, address=docker_engine)
    await remove_all(runtime, installation)


@pytest.mark.parametrize("pool_size", [0, 6])
async def test_six_new_sessions_at_once_are_all_served_and_few_sandboxes_start_at_once(
    counting: Counting, installation: str, tmp_path: Path, pool_size: int
) -> None:
    limits = SessionLimits(pool_size=pool_size, starts_at_once=2, admission_wait_s=120)
    manager = SessionManager(
        counting, SqlStore(f"sqlite:///{tmp_path}/workbench.db"), installation=installation, limits=limits
    )
    await manager.start_up()
    try:
        await manager.pool.filled()
        sessions = [await manager.resolve("ann", f"new {number}", None) for number in range(6)]
        executions = [await manager.start(session, RunCode("print(1)"), timeout_s=60) for session in sessions]
        results = await asyncio.gather(*(execution.wait() for execution in executions))
        assert [str(result.ending) for result in results] == ["completed"] * 6
        assert len({execution.sandbox_suffix for execution in executions}) == 6
        assert 1 <= counting.most <= 2
    finally:
        await manager.aclose()


def test_a_new_session_beyond_the_bound_is_refused_with_503_and_is_not_to_be_repeated(
    engine_socket: UnixAddress, sandbox_image: str, short_folder: Path
) -> None:
    settings = {"pool_size": "0", "max_sandboxes": "1", "admission_wait_s": "0.1"}
    with bench(engine_socket, sandbox_image, short_folder, **settings) as place, place.server.client() as client:
        place.server.run("kept = 1", session="old")
        body = {"arguments": {"code_to_execute": "1", "session_id": "new"}}
        refused = client.post(EXECUTE, json=body)
        assert envelope(refused)["slug"] == "Service_Overloaded"
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["x-should-retry"] == "false"
        assert place.server.run("kept", session="old")["data"]["results"] == "1"
        client.delete("/v1/sessions/old").raise_for_status()
        assert place.server.run("2", session="new")["successful"]
