"""One kernel: its process, its sockets and its life. Knows nothing of cells."""

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from sandbox.agent.kernel_channels import Channels
from sandbox.agent.kernel_pipes import KernelPipes
from sandbox.agent.kernel_wire import Message, Reply, Status, execute_request
from sandbox.agent.processes import Exit, Process, ProcessTable

LAUNCHER: Final = Path(__file__).with_name("kernel_launch.py")
OOM_SCORE: Final = 500
"""When memory is used up the machine ends the kernel, not the agent."""

_WARM_UP: Final = "warm-up"
_PF_EXITING: Final = 0x4


class KernelOwner(Protocol):
    """Who is told what a kernel says. All methods are called on the event loop."""

    def kernel_ready(self, kernel: "Kernel") -> None:
        """It can take executions now. At most once."""

    def kernel_said(self, kernel: "Kernel", message: Message) -> None:
        """A message about an execution has come."""

    def kernel_ended(self, kernel: "Kernel", how: Exit) -> None:
        """Its process is gone. Exactly once, and nothing comes after it."""


class Kernel:
    """A kernel process from its launch to its end.

    `python`: the user's interpreter. `folder`: where its sockets go, made here and removed at the end; its path is
    short, because a socket's path has at most 107 bytes.

    Raises:
        OSError: the interpreter cannot be started.
    """

    def __init__(
        self,
        owner: KernelOwner,
        *,
        python: str,
        cwd: Path,
        folder: Path,
        env: Mapping[str, str],
        processes: ProcessTable,
        pipes: KernelPipes,
    ) -> None:
        self._owner = owner
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._channels: Channels | None = None
        self._requests = 0
        self._warm_reply = self._warm_idle = False
        self.ready = False
        folder.mkdir(mode=0o700, parents=True)
        self._ready_fd, ready_end = os.pipe2(os.O_CLOEXEC)
        try:
            self._process: Process = processes.spawn(
                [python, str(LAUNCHER), str(folder), str(ready_end)],
                env=env,
                cwd=str(cwd),
                stdout=pipes.stdout,
                stderr=pipes.stderr,
                pass_fds=(ready_end,),
                oom_score_adj=OOM_SCORE,
            )
        except OSError:
            os.close(self._ready_fd)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(ready_end)
        self._stat_fd = _open_stat(self.pid)
        self._loop.add_reader(self._ready_fd, self._bound)
        self._watch = self._loop.create_task(self._wait(), name=f"kernel {self.pid}")

    @property
    def pid(self) -> int:
        """The process id of the kernel, which is also its process group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.exit is not None

    @property
    def dying(self) -> bool:
        """Whether it was killed and only its end has not been seen yet: a cell sent to it now would not run."""
        if self._stat_fd is None:
            return False
        try:
            stat = os.pread(self._stat_fd, 1024, 0)
        except OSError:
            return True
        # proc(5): after the name in brackets come state, ppid, pgrp, ...; flags are the 7th, pending signals the 29th.
        fields = stat[stat.rindex(b")") + 2 :].split()
        killed = int(fields[28]) & (1 << (signal.SIGKILL - 1))
        return bool(killed or int(fields[6]) & _PF_EXITING)

    def execute(self, code: str) -> str:
        """Ask for an execution and give the id that messages about it have as parent. Only when `ready`."""
        self._requests += 1
        msg_id = f"{self.pid}-{self._requests}"
        # Something may have stopped it since its last cell; a process that runs does not notice.
        self._process.signal(signal.SIGCONT)
        self._send(msg_id, code)
        return msg_id

    def interrupt(self) -> None:
        """Send an interrupt to the kernel and what runs in its process group."""
        self._process.signal_group(signal.SIGINT)
        self._process.signal_group(signal.SIGCONT)  # what is stopped could not hear it

    def kill(self) -> None:
        """Kill the kernel and what runs in its process group; `kernel_ended` follows."""
        self._process.signal_group(signal.SIGKILL)

    async def aclose(self) -> None:
        """Kill it and wait for its end."""
        self.kill()
        await self._watch

    def _send(self, msg_id: str, code: str, *, silent: bool = False) -> None:
        if self._channels is not None:
            self._channels.send(execute_request(msg_id, code, silent=silent))

    def _bound(self) -> None:
        """The launcher has bound its sockets, or has ended before."""
        started = os.read(self._ready_fd, 1)
        self._close_ready_fd()
        if started:
            self._channels = Channels(self._folder, self._take)
            # A statement, not nothing: the compiler and the run loop are loaded before the first cell needs them.
            self._send(_WARM_UP, "pass", silent=True)

    def _take(self, message: Message) -> None:
        if self.ready:
            self._owner.kernel_said(self, message)
            return
        content = message.content
        if message.parent == _WARM_UP:
            self._warm_reply |= isinstance(content, Reply)
            self._warm_idle |= isinstance(content, Status) and content.execution_state == "idle"
        if self._warm_reply and self._warm_idle:
            self.ready = True
            self._owner.kernel_ready(self)

    async def _wait(self) -> None:
        how = await self._process.wait()
        self._close_ready_fd()
        if self._stat_fd is not None:
            os.close(self._stat_fd)
            self._stat_fd = None
        if self._channels is not None:
            self._channels.drain()
            self._channels.close()
            self._channels = None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._owner.kernel_ended(self, how)

    def _close_ready_fd(self) -> None:
        if self._ready_fd >= 0:
            self._loop.remove_reader(self._ready_fd)
            os.close(self._ready_fd)
            self._ready_fd = -1


def _open_stat(pid: int) -> int | None:
    """Open what the operating system says of a process; None where it says nothing."""
    try:
        return os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def describe(how: Exit) -> str:
    """Say how a kernel ended: `SIGSEGV` or `exit code 3`."""
    return signal_name(how.signal) if how.signal is not None else f"exit code {how.code}"


def signal_name(number: int) -> str:
    """Give a signal's name, such as `SIGKILL`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
