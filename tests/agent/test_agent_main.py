"""The whole agent as a real process, spoken to over its standard input and output."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sandbox.errors import CallFault
from sandbox.pipe import framing
from sandbox.pipe.frames import PROTOCOL_VERSION, Event, Sync, Synced
from sandbox.pipe.messages import (
    BashResult,
    CodeResult,
    DeleteFile,
    Ending,
    FileList,
    GetStatus,
    KernelState,
    ListFiles,
    LiveOutput,
    ReadFile,
    RestartKernel,
    RunBash,
    RunCode,
    Status,
    WaitReady,
    WriteFile,
)
from sandbox.pipe.peer import Peer
from sandbox.runtimes.process_child import Child, ProcessLink
from tests.compat.requirements import promises

pytestmark = pytest.mark.anyio

DEADLINE_S = 60


class Agent:
    """A running agent, its folders and a peer that speaks to it."""

    def __init__(self, folder: Path, child: Child, log: list[bytes]) -> None:
        self.home = folder / "home"
        self.files = folder / "files"
        self.private = folder / "private"
        self.child = child
        self._log = log

    def connect(self) -> None:
        self.peer = Peer(self.child.open())

    @property
    def log(self) -> str:
        return b"".join(self._log).decode()

    async def bash(self, command: str, on_event: Callable[[Event], None] | None = None) -> BashResult:
        body = RunBash(command)
        result = await self.peer.call(body, timeout_s=DEADLINE_S, on_event=on_event, live=on_event is not None)
        assert isinstance(result, BashResult)
        return result

    async def code(self, code: str) -> CodeResult:
        result = await self.peer.call(RunCode(code), timeout_s=DEADLINE_S)
        assert isinstance(result, CodeResult)
        return result

    async def status(self, body: GetStatus | WaitReady | RestartKernel) -> Status:
        result = await self.peer.call(body, timeout_s=DEADLINE_S)
        assert isinstance(result, Status)
        return result

    async def pid(self) -> int:
        return int((await self.bash("echo $PPID")).stdout.text)


def arguments(folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "sandbox.agent", "--kernel-python", sys.executable),
        *("--home", str(folder / "home"), "--files", str(folder / "files"), "--private", str(folder / "private")),
    ]


async def start(folder: Path) -> Agent:
    log: list[bytes] = []
    environment = {**os.environ, "SECRET_OF_THE_CONTROLLER": "s3cret", "PYTHONPATH": str(Path.cwd())}
    child = await Child.start(arguments(folder), folder=folder, environment=environment, on_stderr=log.append)
    return Agent(folder, child, log)


async def stop(agent: Agent) -> None:
    agent.child.end_input()
    if not await agent.child.wait_exited(DEADLINE_S):
        agent.child.kill_group(signal.SIGKILL)
        pytest.fail(f"the agent did not end: {agent.log}")
    await agent.child.wait_drained(DEADLINE_S)
    agent.child.close()


@pytest.fixture
async def agent(anyio_backend: str, short_folder: Path) -> AsyncIterator[Agent]:
    """An agent that has said hello."""
    agent = await start(short_folder)
    agent.connect()
    await agent.peer.sync()
    yield agent
    agent.peer.close()
    await stop(agent)
    assert "Traceback" not in agent.log


async def until_gone(pid: int) -> None:
    """Wait until a process that is not ours is gone."""
    fd = os.pidfd_open(pid)
    try:
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, ended.set)
        await asyncio.wait_for(ended.wait(), DEADLINE_S)
    finally:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


def there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def points_to(link: Path) -> Path:
    return link.readlink()


async def test_it_says_nothing_before_a_sync_and_the_hello_first(short_folder: Path, anyio_backend: str) -> None:
    agent = await start(short_folder)
    said, came = bytearray(), asyncio.Event()
    link: ProcessLink = agent.child.open()

    def take(data: bytes) -> None:
        said.extend(data)
        if b"\n" in said:
            came.set()

    link.start(take, lambda _: None)
    link.write(b'{"t":"half a line of a dead contr\n' + framing.encode(Sync("nonce")))
    await asyncio.wait_for(came.wait(), DEADLINE_S)
    hello = framing.decode(bytes(said).split(b"\n")[0])
    assert isinstance(hello, Synced)
    assert (hello.nonce, hello.version, hello.survivors) == ("nonce", PROTOCOL_VERSION, ())
    link.close()
    await stop(agent)


async def test_bash_and_python_share_the_files_of_one_sandbox(agent: Agent) -> None:
    assert (await agent.code("open('x.txt', 'w').write('from python'); x = 41")).ending is Ending.COMPLETED
    assert (await agent.bash("cat x.txt; pwd")).stdout.text == f"from python{agent.home}\n"
    result = await agent.code("print(x + 1)")
    assert result.stdout.text == "42\n"


async def test_the_kernel_starts_by_itself_and_the_status_says_so(agent: Agent) -> None:
    status = await agent.status(WaitReady())
    assert status.kernel is KernelState.IDLE
    assert status.kernel_pid is not None
    assert (status.running, status.queued, status.bash_running, status.background_jobs) == (0, 0, 0, 0)
    assert (status.home, status.files, status.python) == (str(agent.home), str(agent.files), sys.executable)


async def test_a_restart_gives_another_kernel_without_the_variables(agent: Agent) -> None:
    before = await agent.status(WaitReady())
    await agent.code("x = 1")
    await agent.status(RestartKernel())
    after = await agent.status(WaitReady())
    assert after.kernel_pid != before.kernel_pid
    assert (await agent.code("x")).ending is Ending.ERROR


async def test_background_jobs_are_counted_and_survive(agent: Agent) -> None:
    await agent.bash("nohup sleep 300 & setsid sleep 300 >/dev/null 2>&1 &")
    assert (await agent.status(GetStatus())).background_jobs == 2


@promises("CC-0.11")
async def test_the_folders_are_made_and_the_old_name_is_a_link(agent: Agent) -> None:
    result = await agent.bash("head -c 100000 /dev/zero | tr '\\0' x")
    assert result.stdout.path is not None
    assert Path(result.stdout.path).parent == agent.files / ".composio/output"
    assert points_to(agent.home / ".code_out") == agent.files / ".composio/output"


async def test_live_output_arrives_before_the_answer(agent: Agent) -> None:
    seen: list[str] = []

    def take(event: Event) -> None:
        if isinstance(event.body, LiveOutput):
            seen.append(event.body.text)

    await agent.bash("echo live", take)
    assert "".join(seen) == "live\n"


async def test_a_cancelled_call_ends_as_interrupted(agent: Agent) -> None:
    running = asyncio.Event()
    task = asyncio.create_task(
        agent.peer.call(
            RunBash("sleep 300"), timeout_s=DEADLINE_S, call_id="long", live=True, on_event=lambda _: running.set()
        )
    )
    await asyncio.wait_for(running.wait(), DEADLINE_S)
    agent.peer.cancel("long")
    result = await asyncio.wait_for(task, DEADLINE_S)
    assert isinstance(result, BashResult)
    assert result.ending is Ending.INTERRUPTED


async def test_files_go_up_and_down_whole(agent: Agent) -> None:
    data = os.urandom(5_000_000)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 200_000):
            yield data[start : start + 200_000]

    path = str(agent.files / "up" / "data.bin")
    info = await agent.peer.write_file(WriteFile(path), pieces(), timeout_s=DEADLINE_S)
    assert info.size == len(data)
    down = b"".join([chunk async for chunk in agent.peer.read_file(ReadFile(path), timeout_s=DEADLINE_S)])
    assert down == data
    listed = await agent.peer.call(ListFiles(str(agent.files)), timeout_s=DEADLINE_S)
    assert isinstance(listed, FileList)
    assert [file.path for file in listed.files] == ["up/data.bin"]


async def test_long_sources_come_as_files_that_are_deleted_when_read(agent: Agent) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"# " + b"x" * 300_000 + b"\necho done\n"

    path = agent.private / "source"
    await agent.peer.write_file(WriteFile(str(path)), source(), timeout_s=DEADLINE_S)
    result = await agent.peer.call(RunBash(command_path=str(path)), timeout_s=DEADLINE_S)
    assert isinstance(result, BashResult)
    assert result.stdout.text == "done\n"
    assert not there(path)


async def test_nothing_of_the_agents_environment_reaches_user_code(agent: Agent) -> None:
    shell = await agent.bash("env")
    kernel = await agent.code("import os; print(dict(os.environ))")
    for text in (shell.stdout.text, kernel.stdout.text):
        assert "s3cret" not in text
        assert "PYTHONPATH" not in text


async def test_its_streams_are_out_of_reach(agent: Agent) -> None:
    # As another user than root nothing of it can even be seen: the agent is not dumpable.
    shown = (await agent.bash("readlink /proc/$PPID/fd/0; ls -l /proc/self/fd | grep -c pipe")).stdout.text
    assert shown.splitlines()[:-1] in (["/dev/null"], [])
    await agent.bash("echo garbage > /proc/$PPID/fd/1; echo garbage > /proc/$PPID/fd/0")
    await agent.code("import os; os.write(1, b'garbage'); os.system('echo garbage')")
    assert (await agent.bash("echo usable")).stdout.text == "usable\n"


async def test_signals_of_user_code_do_not_end_it(agent: Agent) -> None:
    await agent.bash("for s in INT HUP QUIT PIPE USR1 USR2; do kill -$s $PPID; done")
    assert (await agent.bash("echo alive")).stdout.text == "alive\n"


async def test_the_end_of_its_input_ends_all_that_it_started(short_folder: Path, anyio_backend: str) -> None:
    agent = await start(short_folder)
    agent.connect()
    await agent.peer.sync()
    kernel = (await agent.status(WaitReady())).kernel_pid
    jobs = await agent.bash("sleep 300 >/dev/null 2>&1 & echo $!; setsid sleep 300 >/dev/null 2>&1 & echo $!")
    running = asyncio.create_task(agent.peer.call(RunBash("echo $$ > pid; sleep 300"), timeout_s=DEADLINE_S))
    pids = [kernel, *map(int, jobs.stdout.text.split())]
    ends = [asyncio.create_task(until_gone(pid)) for pid in pids if pid is not None]
    await asyncio.gather(asyncio.sleep(0), agent.status(GetStatus()))
    await stop(agent)
    await asyncio.gather(*ends)
    assert agent.child.how_it_ended == "exit code 0"
    assert "Traceback" not in agent.log
    agent.peer.close()
    await asyncio.gather(running, return_exceptions=True)


async def test_sigterm_ends_it_cleanly_where_it_is_not_process_1(short_folder: Path, anyio_backend: str) -> None:
    agent = await start(short_folder)
    agent.connect()
    await agent.peer.sync()
    os.kill(await agent.pid(), signal.SIGTERM)
    assert await agent.child.wait_exited(DEADLINE_S)
    assert agent.child.how_it_ended == "exit code 0"
    agent.peer.close()
    await stop(agent)


async def test_a_place_that_cannot_be_used_is_said_in_one_line(short_folder: Path, anyio_backend: str) -> None:
    await asyncio.to_thread((short_folder / "home").write_text, "a file")
    agent = await start(short_folder)
    assert await agent.child.wait_exited(DEADLINE_S)
    await agent.child.wait_drained(DEADLINE_S)
    assert agent.child.how_it_ended == "exit code 1"
    assert agent.log.startswith("agent: CRITICAL cannot start: ")
    assert agent.log.count("\n") == 1
    agent.child.close()


@pytest.mark.parametrize("method", [ListFiles, DeleteFile])
async def test_what_takes_longer_than_its_call_has_time_for_ends_with_it(
    agent: Agent, method: type[ListFiles] | type[DeleteFile]
) -> None:
    tree = agent.files / "tree"
    await agent.bash(f"mkdir -p {tree} && cd {tree} && seq 20000 | xargs mkdir")
    with pytest.raises(CallFault) as caught:
        await agent.peer.call(method(str(tree)), timeout_s=0.001)
    assert caught.value.fault == "timed_out"
    assert (await agent.bash(f"ls {tree} | grep -c .")).stdout.text != "0\n"
    listed = await agent.peer.call(ListFiles(str(agent.files)), timeout_s=DEADLINE_S)
    assert isinstance(listed, FileList)
