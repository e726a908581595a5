"""Which part of the agent answers which method."""

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec

from sandbox.agent.bash import Bash
from sandbox.agent.cells import Cells
from sandbox.agent.files import Files
from sandbox.agent.processes import ProcessTable
from sandbox.agent.resources import ControlGroup
from sandbox.limits import SOURCE_MAX_BYTES
from sandbox.pipe.answerer import Answering
from sandbox.pipe.messages import (
    BashResult,
    CodeResult,
    DeleteFile,
    GetStatus,
    ListFiles,
    ReadFile,
    RestartKernel,
    Result,
    RunBash,
    RunCode,
    Status,
    WaitReady,
    WriteFile,
)

PROCESSES_LEFT_MIN: Final = 16
"""With fewer processes left than this neither bash nor a kernel can do its work."""


class Service:
    """Answers calls: the handler of the pipe's `Answerer`."""

    def __init__(
        self,
        *,
        cells: Cells,
        bash: Bash,
        files: Files,
        processes: ProcessTable,
        group: ControlGroup,
        python: str,
        home: Path,
        folder: Path,
    ) -> None:
        self._cells = cells
        self._bash = bash
        self._files = files
        self._processes = processes
        self._group = group
        self._python = python
        self._home = home
        self._folder = folder

    async def __call__(self, call: Answering) -> Result:
        """Answer one call.

        Raises:
            CallFault: as the part that answers says.
        """
        match call.body:
            case RunCode() | RunBash():
                return await self._execute(call.body, call)
            case ReadFile():
                return await self._files.read(call.body, call)
            case WriteFile():
                return await self._files.write(call.body, call.chunks())
            case ListFiles():
                return await self._files.list(call.body)
            case DeleteFile():
                return await self._files.delete(call.body)
            case WaitReady():
                await self._cells.ready()
            case RestartKernel():
                await self._cells.restart()
            case GetStatus():
                pass
        return self._status()

    async def _execute(self, body: RunCode | RunBash, call: Answering) -> Result:
        relief = await self._make_room()
        result = await self._run(body, call)
        note = "; ".join(words for words in (relief, result.note) if words)
        return msgspec.structs.replace(result, note=note or None)

    async def _make_room(self) -> str | None:
        """Kill background jobs when they leave no room for one more program; say so.

        A fork bomb goes on after the command that started it; without this the sandbox would be lost to it.
        """
        left = self._group.processes_left()
        if left is None or left >= PROCESSES_LEFT_MIN or not self._processes.orphans():
            return None
        killed = await self._processes.kill_orphans()
        return f"the sandbox had no processes left, so {killed} background jobs of earlier calls were killed"

    async def _run(self, body: RunCode | RunBash, call: Answering) -> CodeResult | BashResult:
        interrupted = asyncio.Event()
        call.on_cancel(interrupted.set)
        emit = call.event if call.live else None
        if isinstance(body, RunBash):
            command = await self._source(body.command, body.command_path)
            return await self._bash.run(
                command, timeout_s=call.timeout_s, interrupted=interrupted, emit=emit, execution_id=call.id
            )
        code = await self._source(body.code, body.code_path)
        return await self._cells.run(
            code,
            timeout_s=call.timeout_s,
            queue_timeout_s=body.queue_timeout_s,
            interrupted=interrupted,
            emit=emit,
            execution_id=call.id,
        )

    async def _source(self, text: str, path: str | None) -> str:
        return text if path is None else await self._files.take_source(path, SOURCE_MAX_BYTES)

    def _status(self) -> Status:
        kernel, pid, running, queued = self._cells.state()
        memory = self._group.memory()
        return Status(
            kernel,
            kernel_pid=pid,
            running=running,
            queued=queued,
            bash_running=self._bash.running,
            background_jobs=self._bash.background_jobs,
            memory_bytes=memory.used,
            memory_limit_bytes=memory.limit,
            cpus=self._group.cpus(),
            python=self._python,
            home=str(self._home),
            files=str(self._folder),
            open_files=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - no object for each is needed
        )
