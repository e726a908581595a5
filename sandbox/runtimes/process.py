"""The `process` runtime, for development only: the agent as a child process, with no isolation at all."""

import asyncio
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import sandbox
from sandbox import __version__
from sandbox.errors import ConfigurationError, EngineUnavailable, SandboxGone, SandboxStartFailed
from sandbox.helper_source import helpers_folder
from sandbox.pipe.link import Link
from sandbox.runtimes import process_tree
from sandbox.runtimes.base import Condition, SandboxInfo, SandboxSpec, Size
from sandbox.runtimes.last_words import LastWords, OnLog
from sandbox.runtimes.process_child import Child

_END_GRACE_S: Final = 5.0
"""How long an agent whose standard input ended may take to end its kernel and itself."""

_KILL_GRACE_S: Final = 5.0
_WORDS_GRACE_S: Final = 1.0

SOURCE_FOLDER: Final = Path(sandbox.__file__).parent.parent


@dataclass(slots=True)
class _Running:
    """One child, its folder and whose it is. `changing`: held by what starts, ends, freezes or thaws it."""

    spec: SandboxSpec
    folder: Path
    child: Child
    words: LastWords
    paused: bool = False
    removing: bool = False
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


class ProcessRuntime:
    """A `Runtime` whose sandboxes are children of this process. They end with it: nothing is found again."""

    name = "process"

    def __init__(
        self,
        *,
        unsafe: bool,
        folder: Path | None = None,
        on_log: OnLog | None = None,
        kernel_python: str = sys.executable,
    ) -> None:
        """`folder`: where each sandbox gets a folder of its own; None: the system's temporary folder.

        Raises:
            ConfigurationError: `unsafe` is not set.
        """
        if not unsafe:
            raise ConfigurationError(
                "the process runtime runs code as this user, on this machine, with no isolation",
                suggested_fix="use --runtime docker, or add --unsafe on a machine where that does not matter",
            )
        self._folder = folder or Path(tempfile.gettempdir())
        self._on_log = on_log
        self._kernel_python = kernel_python
        self._running: dict[str, _Running] = {}

    def __repr__(self) -> str:
        return f"ProcessRuntime({len(self._running)} running)"

    async def check(self) -> str:
        """Say what this is; see `Runtime.check`."""
        version = ".".join(str(part) for part in sys.version_info[:3])
        return f"processes of this machine WITHOUT ISOLATION, Python {version}"

    async def image_id(self) -> str:
        """Give the version of the package that the children run; see `Runtime.image_id`."""
        return __version__

    async def memory_bytes(self) -> int:
        """Give the memory of this machine; see `Runtime.memory_bytes`."""
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    async def create(self, spec: SandboxSpec) -> None:
        """Start an agent in a fresh folder; see `Runtime.create`."""
        if spec.sandbox_id in self._running:
            raise SandboxStartFailed(f"sandbox {spec.sandbox_id} exists already")
        try:
            folder = self._make_folder(spec)
        except OSError as error:
            raise EngineUnavailable("no folder for a sandbox", inside=f"in {self._folder}: {error}") from error
        words = LastWords(spec.sandbox_id, self._on_log)
        try:
            child = await self._start_agent(folder, words)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._running[spec.sandbox_id] = _Running(spec, folder, child, words)

    async def open(self, sandbox_id: str) -> Link:
        """Give a new stream to the child, cutting the older one; see `Runtime.open`."""
        return self._must_live(sandbox_id).child.open()

    async def inspect(self, sandbox_id: str) -> SandboxInfo:
        """Say how a sandbox is; see `Runtime.inspect`."""
        running = self._running.get(sandbox_id)
        if running is None:
            return SandboxInfo(sandbox_id, "", "", Condition.GONE, "no such child")
        return _info(running)

    async def last_words(self, sandbox_id: str) -> str:
        """Give the end of the agent's log."""
        running = self._running.get(sandbox_id)
        if running is None:
            return ""
        if running.child.exited:
            await running.child.wait_drained(_WORDS_GRACE_S)
        return running.words.text()

    async def pause(self, sandbox_id: str) -> None:
        """Stop the agent and all that descends from it by signals; see `Runtime.pause`."""
        async with self._changing(sandbox_id):
            running = self._must_live(sandbox_id, paused=True)
            running.paused = True
            await asyncio.to_thread(process_tree.freeze, running.child.pid)

    async def resume(self, sandbox_id: str) -> None:
        """Let the agent and its descendants go on; see `Runtime.resume`."""
        async with self._changing(sandbox_id):
            running = self._must_live(sandbox_id, paused=True)
            await asyncio.to_thread(process_tree.thaw, running.child.pid)
            running.paused = False

    async def stop(self, sandbox_id: str) -> None:
        """End the agent and keep its folder; see `Runtime.stop`."""
        async with self._changing(sandbox_id):
            running = self._must_exist(sandbox_id)
            await _end(running)
            running.paused = False

    async def start(self, sandbox_id: str) -> None:
        """Start a new agent in the folder of the old one; see `Runtime.start`."""
        async with self._changing(sandbox_id):
            running = self._must_exist(sandbox_id)
            if running.child.exited:
                words = LastWords(sandbox_id, self._on_log)
                running.child = await self._start_agent(running.folder, words)
                running.words = words

    async def resize(self, sandbox_id: str, size: Size) -> bool:  # noqa: ARG002 - nothing here has limits
        """Say that there are no limits to change; see `Runtime.resize`."""
        self._must_exist(sandbox_id)
        return False

    async def remove(self, sandbox_id: str) -> None:
        """End the agent with all that it started, delete its folder; see `Runtime.remove`."""
        running = self._running.get(sandbox_id)
        if running is None:
            return
        # Before the agent ends: who looks in between must not take it for one that ended and kept its files.
        running.removing = True
        async with running.changing:
            await _end(running)
        await asyncio.to_thread(shutil.rmtree, running.folder, ignore_errors=True)
        self._running.pop(sandbox_id, None)

    async def list(self, installation: str) -> list[SandboxInfo]:
        """List the children of an installation; see `Runtime.list`."""
        return [_info(running) for running in self._running.values() if running.spec.installation == installation]

    async def close(self) -> None:
        """End all children: unlike containers they cannot outlive us."""
        async with asyncio.TaskGroup() as group:
            for sandbox_id in self._running:
                group.create_task(self.remove(sandbox_id))

    def _changing(self, sandbox_id: str) -> asyncio.Lock:
        return self._must_exist(sandbox_id).changing

    def _must_exist(self, sandbox_id: str) -> _Running:
        running = self._running.get(sandbox_id)
        if running is None or running.removing:
            raise SandboxGone(f"sandbox {sandbox_id} {'is being removed' if running else 'does not exist'}")
        return running

    def _must_live(self, sandbox_id: str, *, paused: bool = False) -> _Running:
        """Give a sandbox whose agent lives. `paused`: whether it may be paused."""
        running = self._must_exist(sandbox_id)
        info = _info(running)
        if info.condition is Condition.RUNNING or (paused and info.condition is Condition.PAUSED):
            return running
        raise SandboxGone(f"sandbox {sandbox_id} is {info.condition}: {info.detail}")

    async def _start_agent(self, folder: Path, words: LastWords) -> Child:
        command = self._command(folder)
        try:
            return await Child.start(
                command, folder=SOURCE_FOLDER, environment=_environment(folder), on_stderr=words.add
            )
        except OSError as error:
            raise SandboxStartFailed(f"the agent cannot be started: {error}") from error

    def _make_folder(self, spec: SandboxSpec) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Short names: the kernel's unix sockets are in there, and their paths must stay under 108 bytes.
        folder = Path(tempfile.mkdtemp(prefix=f"wb-{spec.sandbox_id[:8]}-", dir=self._folder))
        for part in ("home/user", "mnt/files", "tmp"):
            (folder / part).mkdir(parents=True)
        (folder / "private").mkdir(mode=0o700)
        return folder

    def _command(self, folder: Path) -> tuple[str, ...]:
        return (
            sys.executable,
            *("-m", "sandbox.agent"),
            *("--home", str(folder / "home/user")),
            *("--files", str(folder / "mnt/files")),
            *("--kernel-python", self._kernel_python),
            *("--private", str(folder / "private")),
            *("--helpers", str(helpers_folder())),
        )


def _environment(folder: Path) -> dict[str, str]:
    """From scratch: nothing of the controller's environment, where its keys are, reaches user code."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(folder / "home/user"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
    }


async def _end(running: _Running) -> None:
    """End an agent, which ends what it started; kill it when it does not."""
    child = running.child
    if running.paused:
        await asyncio.to_thread(process_tree.thaw, child.pid)
    child.end_input()
    if not await child.wait_exited(_END_GRACE_S):
        await asyncio.to_thread(process_tree.kill, child.pid)
        await child.wait_exited(_KILL_GRACE_S)
    child.close()


def _info(running: _Running) -> SandboxInfo:
    child = running.child
    if running.removing:
        condition, detail = Condition.GONE, "being removed"
    elif child.exited:
        condition, detail = Condition.EXITED, child.how_it_ended
    else:
        condition = Condition.PAUSED if running.paused else Condition.RUNNING
        detail = condition.value
    return SandboxInfo(running.spec.sandbox_id, running.spec.size.name, __version__, condition, detail)
