"""Idle containers: what rest keeps and loses, and what somebody else does to a container that rests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sandbox.errors import Overloaded
from sandbox.pipe.messages import BashResult, CodeResult, Ending, RunBash, RunCode
from sandbox.runtimes.base import Condition
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.reaper import IdleRules
from sandbox.sessions.store_sql import SqlStore
from tests.compat.requirements import promises
from tests.conftest import remove_all
from tests.support.borrowed import borrowed
from tests.support.clock import ManualClock, until
from tests.support.faults import fault
from tests.support.images import image_running

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.timeout(120)]

PAUSE_S, STOP_S, REMOVE_S = 60, 1800, 86_400
AT_REST = pytest.mark.parametrize(("seconds", "state"), [(PAUSE_S, "paused"), (STOP_S, "stopped")])


class Idle:
    """One session over a real container, and the clock of its rest."""

    def __init__(self, manager: SessionManager, runtime: DockerRuntime, installation: str, clock: ManualClock) -> None:
        self.manager = manager
        self.runtime = runtime
        self.installation = installation
        self.clock = clock

    async def _run(self, body: RunCode | RunBash) -> Execution:
        session = await self.manager.resolve("ann", "x", None)
        execution = await self.manager.start(session, body, timeout_s=60)
        await execution.ended()
        return execution

    async def python(self, code: str) -> tuple[str, str | None]:
        """Run Python; what it printed, and what the answer says was lost before."""
        execution = await self._run(RunCode(code))
        result = await execution.wait()
        assert isinstance(result, CodeResult)
        assert result.ending is Ending.COMPLETED, result
        return result.stdout.text, execution.recreated

    async def started_again(self) -> str:
        """Find the file and not the variable; what the answer says of that."""
        text, words = await self.python("print('before' in globals(), open('kept.txt').read())")
        assert text == "False kept\n"
        assert words is not None
        assert "files are kept" in words
        return words

    async def replaced(self) -> str:
        """Find neither the file nor the variable; what the answer says of that."""
        text, words = await self.python("import os; print('before' in globals(), os.path.exists('kept.txt'))")
        assert text == "False False\n"
        assert words is not None
        return words

    async def bash(self, command: str) -> str:
        """Run a command; what it printed."""
        result = await (await self._run(RunBash(command))).wait()
        assert isinstance(result, BashResult)
        return result.stdout.text

    async def rest(self, seconds: float, state: str) -> None:
        """Let so much time pass, and wait until the sandbox is in that state."""
        self.clock.advance(seconds)
        await until(lambda: dict(self.manager.states) == ({state: 1} if state else {}))

    async def container(self) -> str:
        """The id of the one container."""
        (info,) = await self.runtime.list(self.installation)
        document = await self.runtime.inspect_document(info.sandbox_id)
        assert document is not None
        return str(document["Id"])

    async def condition(self) -> Condition:
        """What the engine says of it."""
        (info,) = await self.runtime.list(self.installation)
        return info.condition


async def controller(runtime: DockerRuntime, installation: str, folder: Path, **limits: int) -> Idle:
    """A controller over this engine and store, which leaves its sandboxes to the next one."""
    rules = IdleRules(PAUSE_S, STOP_S, REMOVE_S)
    clock = ManualClock()
    manager = SessionManager(
        borrowed(runtime),
        SqlStore(f"sqlite:///{folder}/workbench.db"),
        installation=installation,
        limits=SessionLimits(pool_size=0, keep_sandboxes=True, idle=rules, **limits),  # type: ignore[arg-type]
        timers=clock,
    )
    await manager.start_up()
    return Idle(manager, runtime, installation, clock)


@pytest.fixture
async def idle(docker_runtime: DockerRuntime, installation: str, tmp_path: Path) -> AsyncIterator[Idle]:
    """A session with a variable and a file."""
    idle = await controller(docker_runtime, installation, tmp_path)
    await idle.python("before = 'before'; open('kept.txt', 'w').write('kept')")
    yield idle
    await idle.manager.aclose()


ByHand = Callable[[str, str], None]


@pytest.fixture
def by_hand(docker_engine: EngineAddress) -> ByHand:
    """Do something to a container as an administrator would."""

    def act(verb: str, container: str) -> None:
        with make_client(docker_engine, timeout_s=20) as client:
            match verb:
                case "remove":
                    client.remove_container(container, force=True)
                case "kill":
                    client.kill(container)
                case "unpause":
                    client.unpause(container)
                case "start":
                    client.start(container)

    return act


@fault("I01")
async def test_a_paused_sandbox_is_frozen_and_goes_on_with_its_variables(idle: Idle) -> None:
    await idle.rest(PAUSE_S, "paused")
    assert await idle.condition() is Condition.PAUSED
    assert await idle.python("print(before, open('kept.txt').read())") == ("before kept\n", None)


@promises("CC-1.41", "CC-8.01")
@fault("I02")
async def test_a_stopped_sandbox_has_its_files_and_the_answer_says_that_variables_are_gone(idle: Idle) -> None:
    await idle.rest(PAUSE_S, "paused")
    await idle.rest(STOP_S - PAUSE_S, "stopped")
    assert await idle.condition() is Condition.EXITED
    assert "Variables and running programs are lost; files are kept." in await idle.started_again()


@fault("I03")
async def test_an_expired_sandbox_leaves_no_container_and_the_next_answer_says_that_all_is_gone(idle: Idle) -> None:
    await idle.rest(STOP_S, "stopped")
    await idle.rest(REMOVE_S - STOP_S, "")
    assert await idle.runtime.list(idle.installation) == []
    assert "removed after 24 h without use" in await idle.replaced()


@fault("I04")
async def test_a_background_job_of_bash_keeps_it_running(idle: Idle) -> None:
    await idle.bash("nohup sleep 300 > /dev/null 2>&1 &")
    timers = len(idle.clock.timers)
    idle.clock.advance(REMOVE_S)
    await until(lambda: len(idle.clock.timers) == timers)
    assert await idle.condition() is Condition.RUNNING
    await idle.bash("pkill sleep; while pgrep sleep > /dev/null; do :; done")
    await idle.rest(PAUSE_S, "paused")


@fault("I05")
async def test_twenty_requests_at_once_on_a_stopped_sandbox_start_it_once(idle: Idle) -> None:
    container = await idle.container()
    await idle.rest(STOP_S, "stopped")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(idle.bash("cat kept.txt")) for _ in range(20)]
    assert {task.result() for task in tasks} == {"kept"}
    assert await idle.container() == container


@fault("I06")
async def test_a_paused_container_that_is_ended_by_hand_is_started_again_with_its_files(
    idle: Idle, by_hand: ByHand
) -> None:
    await idle.rest(PAUSE_S, "paused")
    container = await idle.container()
    by_hand("kill", container)
    assert "Variables and running programs are lost; files are kept." in await idle.started_again()
    assert await idle.container() == container


@fault("I07")
@AT_REST
async def test_a_container_at_rest_that_is_removed_by_hand_is_replaced_and_the_answer_says_so(
    idle: Idle, by_hand: ByHand, seconds: float, state: str
) -> None:
    await idle.rest(seconds, state)
    container = await idle.container()
    by_hand("remove", container)
    assert "Variables and files of the old one are lost." in await idle.replaced()
    assert await idle.container() != container


@fault("I08")
async def test_a_paused_container_that_is_resumed_by_hand_loses_nothing(idle: Idle, by_hand: ByHand) -> None:
    await idle.rest(PAUSE_S, "paused")
    by_hand("unpause", await idle.container())
    assert await idle.python("print(before)") == ("before\n", None)


@fault("I09")
async def test_a_stopped_container_that_is_started_by_hand_keeps_its_files(idle: Idle, by_hand: ByHand) -> None:
    await idle.rest(STOP_S, "stopped")
    by_hand("start", await idle.container())
    await idle.started_again()


@fault("I10")
@AT_REST
async def test_deleting_a_session_at_rest_leaves_no_container(idle: Idle, seconds: float, state: str) -> None:
    await idle.rest(seconds, state)
    session = await idle.manager.get("ann", "x")
    await idle.manager.delete("ann", session.id)
    assert await idle.runtime.list(idle.installation) == []


@fault("I11")
@AT_REST
async def test_a_new_controller_finds_a_sandbox_at_rest_with_all_that_it_had(
    idle: Idle, tmp_path: Path, seconds: float, state: str
) -> None:
    await idle.rest(seconds, state)
    container = await idle.container()
    await idle.manager.aclose()
    later = await controller(idle.runtime, idle.installation, tmp_path)
    text, words = await later.python("print('before' in globals(), open('kept.txt').read())")
    assert text == f"{state == 'paused'} kept\n"
    assert (words is None) == (state == "paused")
    assert await later.container() == container
    await later.manager.aclose()


FAREWELL = "it cannot find its way"
ONCE = f"""
import os, sys
if os.path.exists("/home/user/stubborn"):
    sys.exit({FAREWELL!r})
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Process 1 of an image whose agent does not start again once there is a certain file."""


@fault("I12")
async def test_a_start_again_that_fails_is_told_with_the_agents_last_words(
    anyio_backend: str, docker_engine: EngineAddress, sandbox_image: str, installation: str, tmp_path: Path
) -> None:
    with make_client(docker_engine, timeout_s=20) as client:
        entrypoint = client.inspect_image(sandbox_image)["Config"]["Entrypoint"]
    with image_running(docker_engine, sandbox_image, ["python", "-c", ONCE, *entrypoint]) as image:
        runtime = DockerRuntime(image=image, address=docker_engine)
        idle = await controller(runtime, installation, tmp_path)
        await idle.bash("touch stubborn")
        await idle.rest(STOP_S, "stopped")
        text, words = await idle.python("import os; print(os.path.exists('stubborn'))")
        await idle.manager.aclose()
        await remove_all(runtime, installation)
    assert text == "False\n"
    assert words is not None
    assert "the old one could not be woken" in words
    assert f"its last words: {FAREWELL}" in words


@fault("I13")
async def test_a_sandbox_that_wakes_passes_the_bounds_like_a_new_one(
    docker_runtime: DockerRuntime, installation: str, tmp_path: Path
) -> None:
    idle = await controller(docker_runtime, installation, tmp_path, max_sandboxes=1, admission_queue=0)
    await idle.python("open('kept.txt', 'w').write('kept')")
    await idle.rest(STOP_S, "stopped")
    other = await idle.manager.resolve("ann", "other", None)
    await (await idle.manager.start(other, RunCode("1"), timeout_s=60)).wait()
    with pytest.raises(Overloaded, match="`max_sandboxes` is 1"):
        await idle.python("1")
    await idle.manager.delete("ann", other.id)
    assert (await idle.python("print(open('kept.txt').read())"))[0] == "kept\n"
    await idle.manager.aclose()
