"""A runtime whose agents run in this process: the real pipe on both sides, and code that is a short script.

Code or a command is one line: `echo WORDS`, `wait` (until interrupted), `deaf` (never ends, not even when
interrupted), `die` (the stream breaks), `busy` (refused), `liar` (a result of the wrong type), `flood N`
(N live events), `size` (how long the source was). What the engine does is set on the runtime.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from sandbox import __version__
from sandbox.errors import CallFault, EngineUnavailable, RuntimeFault, SandboxGone, SandboxStartFailed
from sandbox.limits import CHUNK_BYTES, MIB
from sandbox.pipe.answerer import Answering
from sandbox.pipe.link import Link
from sandbox.pipe.messages import (
    BashResult,
    CodeResult,
    Done,
    Ending,
    FileInfo,
    GetStatus,
    KernelState,
    LiveOutput,
    ReadFile,
    RestartKernel,
    Result,
    RunBash,
    RunCode,
    Started,
    Status,
    StreamName,
    StreamOutput,
    WaitReady,
    WriteFile,
)
from sandbox.runtimes.base import Condition, SandboxInfo, SandboxSpec, Size
from tests.support.wire import Agent, WireLink

GIB = 1024 * MIB


@dataclass
class Box:
    """One sandbox: its agent, the stream that is open to it, what was written to files in it, its background jobs.

    `memory_bytes`: what its agent says is in use; `resized`: the size that it got last. `statuses`: while cleared, its
    agent does not say how it is.
    """

    spec: SandboxSpec
    runtime: "ScriptedRuntime"
    condition: Condition = Condition.RUNNING
    detail: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    link: WireLink | None = None

    jobs: int = 0
    kernel: KernelState = KernelState.IDLE
    version: str = __version__
    silent: bool = False
    memory_bytes: int | None = None
    resized: Size | None = None
    statuses: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.statuses.set()
        self.boot()

    def boot(self) -> None:
        """Begin as a new agent, which knows nothing of an earlier one."""
        self.agent = Agent(self._answer)

    def end(self, condition: Condition = Condition.GONE, detail: str = "exit code 137") -> None:
        """End as a sandbox ends that is removed from outside, or stopped or paused, and its stream with it."""
        self.condition, self.detail = condition, detail
        if self.link is not None:
            self.link.close()

    async def _answer(self, call: Answering) -> Result:
        match call.body:
            case RunCode(code, code_path):
                text = code if code_path is None else self.files.pop(code_path).decode()
                return await self._run(call, text)
            case RunBash(command, command_path):
                text = command if command_path is None else self.files.pop(command_path).decode()
                return await self._run(call, text)
            case WaitReady():
                await self.runtime.kernels_ready.wait()
                return Done()
            case GetStatus() | RestartKernel():
                await self.statuses.wait()
                return Status(self.kernel, home="/home/user", background_jobs=self.jobs, memory_bytes=self.memory_bytes)
            case ReadFile(path, length=length):
                return await self._read(call, path, length)
            case WriteFile(path):
                self.files[path] = await _joined(call.chunks())
                return FileInfo(path, len(self.files[path]), 0.0)
            case other:
                raise CallFault("unsupported", type(other).__name__)

    async def _read(self, call: Answering, path: str, length: int | None) -> Result:
        if path not in self.files:
            raise CallFault("not_found", f"no file {path}")
        data = self.files[path]
        if length == 0:
            return FileInfo(path, len(data), 0.0)
        for start in range(0, len(data[:length]), CHUNK_BYTES):
            await call.send(data[start : start + CHUNK_BYTES][: None if length is None else length - start])
        await call.send(b"", last=True)
        return FileInfo(path, len(data), 0.0)

    async def _run(self, call: Answering, text: str) -> Result:
        word, _, rest = text.partition(" ")
        if word == "busy":
            raise CallFault("busy", "the queue is full")
        call.event(Started())
        self.runtime.started.release()
        match word:
            case "wait":
                stopped = asyncio.Event()
                call.on_cancel(stopped.set)
                await stopped.wait()
                return _result(call, Ending.INTERRUPTED)
            case "deaf":
                call.on_cancel(lambda: None)
                await asyncio.Event().wait()
            case "die":
                self.end()
                await asyncio.Event().wait()
            case "liar":
                return Done()
            case "flood":
                for number in range(int(rest)):
                    call.event(LiveOutput(StreamName.STDOUT, f"{number:09} "))
            case "size":
                return _result(call, Ending.COMPLETED, str(len(text)))
        return _result(call, Ending.COMPLETED, rest)


class ScriptedRuntime:
    """See the module.

    `slow`, `removals`: while cleared, `create` or `remove` waits; `creating`, `removing`: released when one begins.
    `kernels_ready`: while cleared, agents do not get ready. `broken`: every engine call fails. `refuse`: `create`
    does. `image`, `engine`, `memory`: what is said of them; `checked`: released when the image is asked for.
    `started`: released when an execution starts. `rests`: what was asked of pause, resume, stop and start;
    `refuse_rest`: which of these fail; `rest`: while cleared, they wait; `resting`: released when one begins.
    `mute_again`: agents that are started again say nothing. `has_limits`: whether sandboxes can be resized.
    """

    name = "scripted"

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}
        self.created: list[str] = []
        self.removed: list[str] = []
        self.broken = False
        self.image = "scripted"
        self.engine = "an engine"
        self.memory = 64 * GIB
        self.refuse = False
        self.closed = False
        self.creating = asyncio.Semaphore(0)
        self.checked = asyncio.Semaphore(0)
        self.started = asyncio.Semaphore(0)
        self.slow = asyncio.Event()
        self.slow.set()
        self.removing = asyncio.Semaphore(0)
        self.removals = asyncio.Event()
        self.removals.set()
        self.rests: list[str] = []
        self.mute_again = False
        self.has_limits = True
        self.refuse_rest: set[str] = set()
        self.resting = asyncio.Semaphore(0)
        self.rest = asyncio.Event()
        self.rest.set()
        self.kernels_ready = asyncio.Event()
        self.kernels_ready.set()

    async def check(self) -> str:
        return f"{self.engine}, image {self.image}"

    async def image_id(self) -> str:
        self._answering()
        self.checked.release()
        return self.image

    async def memory_bytes(self) -> int:
        self._answering()
        return self.memory

    async def create(self, spec: SandboxSpec) -> None:
        self._answering()
        self.creating.release()
        await self.slow.wait()
        if self.refuse:
            raise SandboxStartFailed("the engine refuses to make it")
        self.boxes[spec.sandbox_id] = Box(spec, self)
        self.created.append(spec.sandbox_id)

    async def open(self, sandbox_id: str) -> Link:
        if sandbox_id not in self.boxes:
            raise SandboxGone(f"no sandbox {sandbox_id}")
        box = self.boxes[sandbox_id]
        box.link = WireLink(lambda _: None) if box.silent else box.agent.attach()
        return box.link

    async def inspect(self, sandbox_id: str) -> SandboxInfo:
        self._answering()
        box = self.boxes.get(sandbox_id)
        if box is None:
            return SandboxInfo(sandbox_id, "", "", Condition.GONE)
        return SandboxInfo(sandbox_id, box.spec.size.name, box.version, box.condition, box.detail)

    async def last_words(self, sandbox_id: str) -> str:
        return "farewell from the agent"

    async def pause(self, sandbox_id: str) -> None:
        await self._rest(sandbox_id, "pause", Condition.PAUSED)

    async def resume(self, sandbox_id: str) -> None:
        await self._rest(sandbox_id, "resume", Condition.RUNNING)

    async def stop(self, sandbox_id: str) -> None:
        await self._rest(sandbox_id, "stop", Condition.EXITED)
        box = self.boxes[sandbox_id]
        box.end(Condition.EXITED)
        await box.agent.answerer.aclose()

    async def start(self, sandbox_id: str) -> None:
        await self._rest(sandbox_id, "start", Condition.RUNNING)
        if self.mute_again:
            self.boxes[sandbox_id].silent = True
        self.boxes[sandbox_id].boot()

    async def _rest(self, sandbox_id: str, act: str, condition: Condition) -> None:
        self._answering()
        self.rests.append(act)
        self.resting.release()
        await self.rest.wait()
        if act in self.refuse_rest:
            raise RuntimeFault(f"the engine refuses to {act} it")
        box = self.boxes.get(sandbox_id)
        if box is None or box.condition is Condition.GONE:
            raise SandboxGone(f"sandbox {sandbox_id} does not exist")
        if act in ("pause", "resume") and box.condition is Condition.EXITED:
            raise SandboxGone(f"sandbox {sandbox_id} is {box.condition}")
        box.condition = condition

    async def resize(self, sandbox_id: str, size: Size) -> bool:
        self._answering()
        self.rests.append(f"resize to {size.name}")
        if "resize" in self.refuse_rest:
            raise RuntimeFault("the engine refuses to resize it")
        box = self.boxes.get(sandbox_id)
        if box is None:
            raise SandboxGone(f"sandbox {sandbox_id} does not exist")
        box.resized = size
        return self.has_limits

    async def remove(self, sandbox_id: str) -> None:
        self._answering()
        self.removing.release()
        await self.removals.wait()
        box = self.boxes.pop(sandbox_id, None)
        if box is not None:
            box.end()
            await box.agent.answerer.aclose()
            self.removed.append(sandbox_id)

    async def list(self, installation: str) -> list[SandboxInfo]:
        self._answering()
        return [
            SandboxInfo(box.spec.sandbox_id, box.spec.size.name, box.version, box.condition)
            for box in self.boxes.values()
            if box.spec.installation == installation
        ]

    async def close(self) -> None:
        self.closed = True
        for box in self.boxes.values():
            await box.agent.answerer.aclose()

    def _answering(self) -> None:
        if self.broken:
            raise EngineUnavailable("the engine does not answer")


async def _joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def _result(call: Answering, ending: Ending, text: str = "") -> Result:
    output = StreamOutput(text, len(text))
    if isinstance(call.body, RunCode):
        return CodeResult(ending, stdout=output)
    return BashResult(ending, stdout=output)
