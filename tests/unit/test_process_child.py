"""A child and the link over its pipes, with small real programs in the agent's place."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from sandbox.errors import ConfigurationError, EngineUnavailable, SandboxGone
from sandbox.pipe.messages import RunBash
from sandbox.pipe.peer import Peer
from sandbox.runtimes import process_tree
from sandbox.runtimes.base import SIZES, Condition, SandboxSpec
from sandbox.runtimes.process import ProcessRuntime
from sandbox.runtimes.process_child import Child, ProcessLink

pytestmark = pytest.mark.anyio

PAUSES = """
import asyncio, sys
from pathlib import Path
from sandbox.pipe.peer import Peer
from sandbox.runtimes.base import SIZES, SandboxSpec
from sandbox.runtimes.process import ProcessRuntime

async def main():
    runtime = ProcessRuntime(unsafe=True, folder=Path(sys.argv[1]))
    await runtime.create(SandboxSpec("abcd", "test", SIZES["standard"]))
    await Peer(await runtime.open("abcd")).sync(30)
    await runtime.pause("abcd")
    print(runtime._running["abcd"].child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

Start = Callable[..., Awaitable[Child]]


@pytest.fixture
async def start(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts children, and ends them after the test."""
    children: list[Child] = []

    async def start(*command: str, log: list[bytes] | None = None) -> Child:
        said = log if log is not None else []
        environment = {"PATH": "/usr/bin:/bin"}
        child = await Child.start(command, folder=tmp_path, environment=environment, on_stderr=said.append)
        children.append(child)
        return child

    yield start
    for child in children:
        if not child.exited:
            child.kill_group(signal.SIGKILL)
            assert await child.wait_exited(10)
        child.close()


class Taken:
    """What a link delivers."""

    def __init__(self, link: ProcessLink) -> None:
        self.data = b""
        self._more = asyncio.Event()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        link.start(self._take, self.closed.set_result)

    def _take(self, data: bytes) -> None:
        self.data += data
        self._more.set()

    async def at_least(self, count: int) -> bytes:
        async with asyncio.timeout(20):
            while len(self.data) < count:
                self._more.clear()
                await self._more.wait()
        return self.data


async def test_bytes_pass_both_ways_unchanged(start: Start) -> None:
    link = (await start("cat")).open()
    taken = Taken(link)
    data = bytes(range(256)) * 8192
    link.write(data)
    await link.drain()
    assert await taken.at_least(len(data)) == data


async def test_closing_a_link_leaves_the_child_for_the_next_one(start: Start) -> None:
    child = await start("cat")
    first = child.open()
    taken = Taken(first)
    first.close()
    assert await taken.closed == "closed by the controller"
    second = child.open()
    taken = Taken(second)
    first.write(b"ignored")
    second.write(b"heard")
    assert await taken.at_least(5) == b"heard"


async def test_a_second_link_cuts_the_first(start: Start) -> None:
    child = await start("cat")
    taken = Taken(child.open())
    child.open()
    assert await taken.closed == "another stream was opened"


async def test_what_came_before_the_start_of_a_link_is_delivered_first(start: Start) -> None:
    child = await start("bash", "-c", "read; echo first; read; echo second; read")
    link = child.open()
    link.write(b"\n")
    link.write(b"\n")
    assert await Taken(link).at_least(13) == b"first\nsecond\n"


async def test_the_end_of_a_child_is_told_with_its_code(start: Start) -> None:
    log: list[bytes] = []
    child = await start("bash", "-c", "echo said; echo why >&2; exit 3", log=log)
    taken = Taken(child.open())
    assert await child.wait_exited(20)
    assert await child.wait_drained(20)
    assert child.how_it_ended == "exit code 3"
    assert b"".join(log) == b"why\n"
    assert "the agent ended" in await taken.closed


async def test_a_signal_that_ended_a_child_is_named(start: Start) -> None:
    child = await start("bash", "-c", "kill -KILL $$")
    assert await child.wait_exited(20)
    assert child.how_it_ended == "killed by SIGKILL"


async def test_the_end_of_its_input_ends_a_child(start: Start) -> None:
    child = await start("cat")
    child.end_input()
    assert await child.wait_exited(20)
    child.write(b"too late")


async def test_drain_waits_while_the_child_does_not_read(start: Start) -> None:
    child = await start("wc", "-c")
    child.kill_group(signal.SIGSTOP)
    link = child.open()
    taken = Taken(link)
    link.write(bytes(8_000_000))
    draining = asyncio.create_task(link.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    child.kill_group(signal.SIGCONT)
    async with asyncio.timeout(20):
        await draining
    child.end_input()
    assert (await taken.at_least(8)).strip() == b"8000000"


# --- the runtime around it ------------------------------------------------------------------------------


def test_the_process_runtime_wants_to_be_told_that_it_is_unsafe() -> None:
    with pytest.raises(ConfigurationError, match="no isolation") as caught:
        ProcessRuntime(unsafe=False)
    assert "--unsafe" in (caught.value.suggested_fix or "")


async def test_a_sandbox_that_was_never_made_is_gone(short_folder: Path) -> None:
    runtime = ProcessRuntime(unsafe=True, folder=short_folder)
    with pytest.raises(SandboxGone, match="ab12"):
        await runtime.open("ab12")
    assert await runtime.last_words("ab12") == ""
    await runtime.remove("ab12")
    assert "WITHOUT ISOLATION" in await runtime.check()


async def test_no_place_for_its_folder_is_told(short_folder: Path, installation: str) -> None:
    taken = short_folder / "file"
    taken.touch()
    runtime = ProcessRuntime(unsafe=True, folder=taken)
    with pytest.raises(EngineUnavailable, match="no folder for a sandbox"):
        await runtime.create(SandboxSpec("ab12", installation, SIZES["standard"]))
    assert await runtime.list(installation) == []


async def test_a_removed_sandbox_leaves_no_folder(short_folder: Path, installation: str) -> None:
    runtime = ProcessRuntime(unsafe=True, folder=short_folder)
    await runtime.create(SandboxSpec("ab12", installation, SIZES["standard"]))
    assert [info.sandbox_id for info in await runtime.list(installation)] == ["ab12"]
    assert await runtime.list("another") == []
    await runtime.remove("ab12")
    assert not any(short_folder.iterdir())  # noqa: ASYNC240 - one small folder
    assert (await runtime.inspect("ab12")).condition is Condition.GONE


async def test_what_is_done_to_a_sandbox_while_it_is_removed_leaves_no_process(
    short_folder: Path, installation: str
) -> None:
    runtime = ProcessRuntime(unsafe=True, folder=short_folder)
    before = process_tree.descendants(os.getpid())
    for number, begin in enumerate((runtime.start, runtime.pause, runtime.resume)):
        await runtime.create(SandboxSpec(f"ab{number}", installation, SIZES["standard"]))
        if begin == runtime.start:
            await runtime.stop(f"ab{number}")
        await asyncio.gather(begin(f"ab{number}"), runtime.remove(f"ab{number}"), return_exceptions=True)
    assert process_tree.descendants(os.getpid()) == before
    assert not any(short_folder.iterdir())  # noqa: ASYNC240 - one small folder


async def test_an_agent_that_does_not_end_is_killed_with_all_that_it_started(
    short_folder: Path, installation: str
) -> None:
    runtime = ProcessRuntime(unsafe=True, folder=short_folder)
    before = process_tree.descendants(os.getpid())
    await runtime.create(SandboxSpec("ab12", installation, SIZES["standard"]))
    peer = Peer(await runtime.open("ab12"))
    await peer.sync(30)
    await peer.call(RunBash("sleep 300 &"), timeout_s=30)
    agent, *others = (pid for pid in process_tree.descendants(os.getpid()) if pid not in before)
    assert len(others) == 2
    files = [os.pidfd_open(pid) for pid in others]
    os.kill(agent, signal.SIGSTOP)
    await runtime.remove("ab12")
    ended = [select.select([file], [], [], 20)[0] for file in files]
    for file in files:
        os.close(file)
    assert all(ended)


def test_a_paused_sandbox_ends_with_a_controller_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PAUSES, str(tmp_path)], stdout=subprocess.PIPE) as controller:
        assert controller.stdout is not None
        agent = os.pidfd_open(int(controller.stdout.readline()))
        controller.kill()
    try:
        ended, _, _ = select.select([agent], [], [], 20)
        assert ended
    finally:
        if not ended:
            signal.pidfd_send_signal(agent, signal.SIGKILL)
        os.close(agent)
