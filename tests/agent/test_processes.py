"""Children are started in sessions of their own, and everything that ends is reaped."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from sandbox.agent.hardening import stay_alive_on
from sandbox.agent.processes import Exit, Process, ProcessTable

pytestmark = pytest.mark.anyio

DEADLINE_S = 20


def start(processes: ProcessTable, script: str, stdout: int = -3) -> Process:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        out = null if stdout == -3 else stdout
        return processes.spawn(["sh", "-c", script], env={"PATH": os.environ["PATH"]}, cwd="/", stdout=out, stderr=null)
    finally:
        os.close(null)


async def read_line(fd: int) -> bytes:
    return await asyncio.wait_for(asyncio.to_thread(os.read, fd, 1000), DEADLINE_S)


def oom_score(process: Process) -> int:
    return int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())


async def test_an_exit_code_reaches_every_waiter(processes: ProcessTable) -> None:
    process = start(processes, "exit 7")
    first, second = await asyncio.wait_for(asyncio.gather(process.wait(), process.wait()), DEADLINE_S)
    assert first == second == process.exit == Exit(7, None)


async def test_a_signal_that_ends_a_process_is_known(processes: ProcessTable) -> None:
    process = start(processes, "kill -SEGV $$")
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == Exit(None, signal.SIGSEGV)


async def test_many_processes_that_end_at_once_are_all_reaped(processes: ProcessTable) -> None:
    started = [start(processes, f"exit {number}") for number in range(60)]
    ends = await asyncio.wait_for(asyncio.gather(*(process.wait() for process in started)), DEADLINE_S)
    assert [end.code for end in ends] == list(range(60))


async def test_a_child_leads_its_own_session_and_reads_end_of_file(processes: ProcessTable) -> None:
    reading, writing = os.pipe()
    process = start(processes, "cat; ps -o sid= -p $$ | tr -d ' '", writing)
    os.close(writing)
    assert await read_line(reading) == f"{process.pid}\n".encode()
    os.close(reading)


async def test_signals_to_a_process_that_has_ended_do_nothing(processes: ProcessTable) -> None:
    process = start(processes, "true")
    await asyncio.wait_for(process.wait(), DEADLINE_S)
    process.signal(signal.SIGKILL)
    process.signal_group(signal.SIGKILL)
    process.signal_session(signal.SIGKILL)


async def test_an_orphan_is_adopted_counted_and_reaped(processes: ProcessTable) -> None:
    reading, writing = os.pipe()
    process = start(processes, "sleep 300 & echo $!", writing)
    os.close(writing)
    orphan = int(await read_line(reading))
    await asyncio.wait_for(process.wait(), DEADLINE_S)
    assert processes.orphans() == [orphan]
    await asyncio.wait_for(processes.kill_session(process), DEADLINE_S)
    assert processes.orphans() == []
    with pytest.raises(ProcessLookupError):
        os.kill(orphan, 0)
    os.close(reading)


async def test_killing_a_session_reaches_groups_that_the_command_made(processes: ProcessTable) -> None:
    reading, writing = os.pipe()
    process = start(processes, "timeout 300 sleep 300 & sleep 0; echo ready; wait", writing)
    os.close(writing)
    await read_line(reading)
    await asyncio.wait_for(processes.kill_session(process), DEADLINE_S)
    assert process.exit == Exit(None, signal.SIGKILL)
    assert not process.session_alive
    os.close(reading)


async def test_killing_orphans_ends_what_forks_for_ever_and_spares_what_is_ours(processes: ProcessTable) -> None:
    ours = start(processes, "sleep 300")
    reading, writing = os.pipe()
    runaway = start(processes, "(while :; do (sleep 0.2 &) ; sleep 0.01; echo more; done) & exit", writing)
    os.close(writing)
    await read_line(reading)
    await asyncio.wait_for(runaway.wait(), DEADLINE_S)
    assert await asyncio.wait_for(processes.kill_orphans(), DEADLINE_S) > 0
    assert processes.orphans() == []
    assert not runaway.session_alive
    assert ours.exit is None
    os.close(reading)


async def test_kill_all_ends_daemons_too(processes: ProcessTable) -> None:
    reading, writing = os.pipe()
    start(processes, "setsid sh -c 'echo up; sleep 300' & wait", writing)
    os.close(writing)
    assert await read_line(reading) == b"up\n"
    await asyncio.wait_for(processes.kill_all(), DEADLINE_S)
    assert processes.orphans() == []
    assert os.read(reading, 10) == b""
    os.close(reading)


async def test_a_child_starts_with_default_signals_and_a_higher_oom_score(processes: ProcessTable) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    stay_alive_on(signal.SIGUSR1)
    reading, writing = os.pipe()
    try:
        process = processes.spawn(
            ["sleep", "300"],
            env={"PATH": os.environ["PATH"]},
            cwd="/",
            stdout=writing,
            stderr=writing,
            oom_score_adj=777,
        )
        assert oom_score(process) == 777
        process.signal(signal.SIGUSR1)
        assert await asyncio.wait_for(process.wait(), DEADLINE_S) == Exit(None, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(reading)
        os.close(writing)


async def test_a_program_that_does_not_exist_is_an_os_error(processes: ProcessTable) -> None:
    with pytest.raises(FileNotFoundError):
        processes.spawn(["/no/such/program"], env={}, cwd="/", stdout=2, stderr=2)


async def test_children_of_others_are_neither_counted_nor_killed(orphans_are_ours: None) -> None:
    other = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    table = ProcessTable()
    table.start()
    process = start(table, "exec sleep 300")
    assert table.orphans() == []
    await table.kill_all()
    table.close()
    assert process.exit == Exit(None, signal.SIGKILL)
    said, _ = await asyncio.wait_for(other.communicate(b"still here"), DEADLINE_S)
    assert said == b"still here"
