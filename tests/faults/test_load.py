"""More is asked at once than there is room for: all that can be is served in its turn, the rest is refused plainly."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.errors import Overloaded
from sandbox.limits import MIB
from sandbox.pipe.messages import CodeResult, Ending, RunCode
from sandbox.runtimes.base import SIZES, SandboxSpec
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress, UnixAddress
from sandbox.runtimes.docker_engine import make_client
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.store_sql import SqlStore
from tests.conftest import remove_all
from tests.support.clock import ManualClock, until
from tests.support.faults import fault
from tests.support.faulty_engine import EXECUTE, bench, envelope

pytestmark = [pytest.mark.docker, pytest.mark.anyio, pytest.mark.timeout(240)]

ENOUGH_BYTES = 24 * SIZES["standard"].memory_bytes
"""Whatever the machine has: these sandboxes hardly use what they may have."""


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


@fault("L01")
@pytest.mark.parametrize("pool_size", [0, 12])
async def test_twelve_new_sessions_at_once_are_all_served_and_few_sandboxes_start_at_once(
    counting: Counting, installation: str, tmp_path: Path, pool_size: int
) -> None:
    limits = SessionLimits(
        pool_size=pool_size, pool_interval_s=0, starts_at_once=2, admission_wait_s=120, max_memory_bytes=ENOUGH_BYTES
    )
    manager = SessionManager(
        counting, SqlStore(f"sqlite:///{tmp_path}/workbench.db"), installation=installation, limits=limits
    )
    await manager.start_up()
    try:
        await manager.pool.filled()
        sessions = [await manager.resolve("ann", f"new {number}", None) for number in range(12)]
        executions = [await manager.start(session, RunCode("print(1)"), timeout_s=60) for session in sessions]
        results = await asyncio.gather(*(execution.wait() for execution in executions))
        assert [str(result.ending) for result in results] == ["completed"] * 12
        assert len({execution.sandbox_suffix for execution in executions}) == 12
        assert 1 <= counting.most <= 2
    finally:
        await manager.aclose()


@fault("L02")
def test_a_new_session_beyond_the_bound_is_refused_with_503_and_is_not_to_be_repeated(
    engine_socket: UnixAddress, sandbox_image: str, short_folder: Path
) -> None:
    settings = {"pool_size": "0", "max_sandboxes": "1", "admission_wait_s": "0.1"}
    with bench(engine_socket, sandbox_image, short_folder, **settings) as place, place.server.client() as client:
        place.server.run("kept = 1", session="old")
        body = {"arguments": {"code_to_execute": "1", "session_id": "new"}}
        refused = client.post(EXECUTE, json=body)
        assert envelope(refused)["slug"] == "Service_Overloaded"
        assert "`max_sandboxes` is 1, and there are 1" in envelope(refused)["message"]
        assert int(refused.headers["retry-after"]) > 0
        assert refused.headers["x-should-retry"] == "false"
        assert place.server.run("kept", session="old")["data"]["results"] == "1"
        client.delete("/v1/sessions/old").raise_for_status()
        assert place.server.run("2", session="new")["successful"]


@fault("L04")
async def test_a_new_session_beyond_the_bound_gets_the_room_of_the_one_that_was_idle_longest(
    counting: Counting, installation: str, tmp_path: Path
) -> None:
    clock = ManualClock()
    manager = SessionManager(
        counting,
        SqlStore(f"sqlite:///{tmp_path}/workbench.db"),
        installation=installation,
        limits=SessionLimits(pool_size=0, max_sandboxes=2, max_memory_bytes=ENOUGH_BYTES, admission_wait_s=60),
        timers=clock,
    )

    async def run(label: str, code: str) -> tuple[str, str | None]:
        clock.advance(1)
        execution = await manager.start(await manager.resolve("ann", label, None), RunCode(code), timeout_s=60)
        result = await execution.wait()
        assert isinstance(result, CodeResult)
        assert result.ending is Ending.COMPLETED, result
        return result.stdout.text, execution.recreated

    look = "print('kept' in globals(), open('kept.txt').read())"
    await manager.start_up()
    try:
        for label in ("first", "second"):
            await run(label, f"kept = 1; open('kept.txt', 'w').write('{label}')")
        clock.advance(60)
        await until(lambda: dict(manager.states) == {"paused": 2})
        assert (await run("third", "print('hi')")) == ("hi\n", None)
        assert dict(manager.states) == {"live": 1, "paused": 1, "stopped": 1}
        assert await run("second", look) == ("True second\n", None)
        clock.advance(60)
        await until(lambda: dict(manager.states) == {"paused": 2, "stopped": 1})
        text, words = await run("first", look)
        assert text == "False first\n"
        assert words == (
            "The sandbox had been stopped early, while nobody used it, to make room for another one and was started "
            "again. Variables and running programs are lost; files are kept."
        )
        assert await run("second", look) == ("True second\n", None)
    finally:
        await manager.aclose()


@fault("L03")
def test_a_sandbox_that_is_larger_than_all_there_is_is_an_error_at_once(
    engine_socket: UnixAddress, sandbox_image: str, short_folder: Path
) -> None:
    small = str(SIZES["standard"].memory_bytes // 2)
    with bench(engine_socket, sandbox_image, short_folder, max_memory_bytes=small) as place:
        error = place.refused("x")
        assert error["slug"] == "Sandbox_StartFailed"
        assert "has 1,024 MiB of memory, and there are no more than 512 MiB: `max_memory_bytes`" in error["message"]
        assert place.containers() == []


@fault("L03")
async def test_without_a_setting_no_more_is_given_than_a_share_of_what_the_engine_says_it_has(
    counting: Counting, installation: str, tmp_path: Path, engine_socket: UnixAddress
) -> None:
    with make_client(engine_socket, timeout_s=20) as client:
        has = client.info()["MemTotal"]
    store = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
    limits = SessionLimits(pool_size=0, max_sandboxes=10_000, starts_at_once=10_000, admission_queue=0)
    manager = SessionManager(counting, store, installation=installation, limits=limits)
    await manager.start_up()
    try:
        admission, one = manager.supply.admission, SIZES["standard"].memory_bytes
        for number in range(max(1, int(0.8 * has) // one)):
            await admission.enter(str(number), one, "ann")
        with pytest.raises(Overloaded, match=f"80 % of the engine's {has // MIB:,} MiB"):
            await admission.enter("more", one, "ann")
    finally:
        await manager.aclose()
