"""After 500 executions an agent and its container hold what they held before."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, cast

import docker
import pytest

from sandbox.errors import CallFault
from sandbox.pipe.frames import Event
from sandbox.pipe.messages import (
    DeleteFile,
    Ending,
    FileList,
    GetStatus,
    ListFiles,
    ReadFile,
    RunBash,
    RunCode,
    Started,
    Status,
    WaitReady,
    WriteFile,
)
from sandbox.pipe.peer import Peer, expect
from sandbox.runtimes.base import SIZES, SandboxSpec
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client
from sandbox.sessions import ids

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.timeout(300)]

MIB: Final = 1024 * 1024
CALL_S: Final = 60.0
SETTLE_S: Final = 20.0
MEMORY_GROWTH_BYTES: Final = 24 * MIB
"""Of agent and kernel together: IPython keeps the source and the results of each cell."""

SPILLS: Final = "/mnt/files/.composio/output"
SPILLS_A_ROUND: Final = 3
"""Of Python, of bash, and what a background job said after its call had ended. They stay until they are deleted."""

ROUNDS: Final = 25
LOOP: Final = "while True: pass"


@dataclass(frozen=True)
class Held:
    """What a sandbox holds, where nothing may stay behind."""

    open_files: int
    processes: int
    programs: int

    def over(self, base: "Held") -> dict[str, tuple[int, int]]:
        """What is more than at the base line: now and then."""
        return {name: (now, then) for name, now in vars(self).items() if now > (then := vars(base)[name])}


class Inside:
    """One sandbox, its pipe, and the engine's view of it."""

    def __init__(self, peer: Peer, engine: docker.APIClient, container: str) -> None:
        self.peer = peer
        self._engine = engine
        self._container = container
        self._numbers = itertools.count()

    async def twenty(self) -> None:
        """Do twenty calls of every kind."""
        for _ in range(3):
            await self.code("x = list(range(100)); print(len(x))", Ending.COMPLETED)
            await self.bash("echo out; echo err >&2; exit 3", Ending.COMPLETED)
        await self.code("raise ValueError('y' * 1000)", Ending.ERROR)
        await self.code("print('z' * 100_000)", Ending.COMPLETED)
        await self.bash("head -c 100000 /dev/zero | tr '\\0' z", Ending.COMPLETED)
        await self.code("import subprocess; subprocess.run(['true']).returncode", Ending.COMPLETED)
        await self.cancelled(RunCode(LOOP))
        await self.cancelled(RunBash("sleep 100"))
        go = f"/tmp/go{next(self._numbers)}"
        await self.bash(f"(until [ -e {go} ]; do sleep 0.05; done; echo late) & echo early", Ending.COMPLETED)
        await self.bash(f"touch {go}", Ending.COMPLETED)
        await self.files()

    async def code(self, code: str, ending: Ending, timeout_s: float = CALL_S) -> None:
        """Run Python to this ending."""
        assert (await self.peer.call(RunCode(code), timeout_s=timeout_s)).ending is ending  # type: ignore[union-attr]

    async def bash(self, command: str, ending: Ending, timeout_s: float = CALL_S) -> None:
        """Run a command to this ending."""
        assert (await self.peer.call(RunBash(command), timeout_s=timeout_s)).ending is ending  # type: ignore[union-attr]

    async def cancelled(self, body: RunCode | RunBash) -> None:
        """Run what does not end, and cancel it when it has begun."""
        begun = asyncio.Event()

        def on_event(event: Event) -> None:
            if isinstance(event.body, Started):
                begun.set()

        call_id = ids.execution_id()
        running = asyncio.create_task(
            self.peer.call(body, timeout_s=CALL_S, call_id=call_id, on_event=on_event, live=True)
        )
        await begun.wait()
        self.peer.cancel(call_id)
        assert (await running).ending is Ending.INTERRUPTED  # type: ignore[union-attr]

    async def files(self) -> None:
        """Write a file, read half of it and leave, list, delete, and ask for what is not there."""
        path = "/home/user/some.bin"

        async def data() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield bytes(200_000)

        await self.peer.write_file(WriteFile(path), data(), timeout_s=CALL_S)
        reading = cast("AsyncGenerator[bytes, None]", self.peer.read_file(ReadFile(path), timeout_s=CALL_S))
        async with contextlib.aclosing(reading):
            await anext(reading)
        await self.peer.call(DeleteFile(path), timeout_s=CALL_S)
        with pytest.raises(CallFault, match="some.bin"):
            await self.peer.call(DeleteFile(path), timeout_s=CALL_S)

    async def spills(self) -> int:
        """How many spill files there are."""
        listed = await self.peer.call(ListFiles(SPILLS), timeout_s=CALL_S)
        return len(expect(listed, FileList).files)

    async def held(self) -> Held:
        """What it holds now. The engine counts threads as processes."""
        status = expect(await self.peer.call(GetStatus(), timeout_s=CALL_S), Status)
        stats = await self._stats()
        top = await asyncio.to_thread(self._engine.top, self._container)
        return Held(status.open_files, int(stats["pids_stats"]["current"]), len(top["Processes"]))

    async def settled(self, base: Held) -> Held:
        """What it holds once that is no more than at the base line, or at the deadline."""
        held = await self.held()
        deadline = asyncio.get_running_loop().time() + SETTLE_S
        while held.over(base) and asyncio.get_running_loop().time() < deadline:
            held = await self.held()
        return held

    async def memory_bytes(self) -> int:
        """Memory of all processes in it, without files that the kernel caches."""
        detail = (await self._stats())["memory_stats"]["stats"]
        return int(detail["anon"] if "anon" in detail else detail["rss"])

    async def _stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = await asyncio.to_thread(self._engine.stats, self._container, stream=False)
        return stats


async def test_500_executions_leave_nothing_in_an_agent_but_their_spills(
    docker_runtime: DockerRuntime, docker_engine: EngineAddress, installation: str
) -> None:
    spec = SandboxSpec(ids.sandbox_id(), installation, SIZES["standard"])
    await docker_runtime.create(spec)
    peer = Peer(await docker_runtime.open(spec.sandbox_id))
    await peer.sync()
    await peer.call(WaitReady(), timeout_s=CALL_S)
    document = await docker_runtime.inspect_document(spec.sandbox_id)
    assert document is not None
    with make_client(docker_engine, timeout_s=60) as engine:
        inside = Inside(peer, engine, document["Id"])
        for _ in range(3):
            await inside.twenty()
        base, memory, spills = await inside.held(), await inside.memory_bytes(), await inside.spills()
        for _ in range(ROUNDS):
            await inside.twenty()
        await inside.bash("sleep 100", Ending.TIMED_OUT, timeout_s=1)
        await inside.code(LOOP, Ending.TIMED_OUT, timeout_s=1)
        held = await inside.settled(base)
        assert not held.over(base)
        assert await inside.memory_bytes() - memory < MEMORY_GROWTH_BYTES
        assert await inside.spills() == spills + SPILLS_A_ROUND * ROUNDS
        await inside.bash('test -z "$(ls -A /tmp ~/.cache/workbench | grep -v :)"', Ending.COMPLETED)
    peer.close()
