"""All children of the agent: started here, reaped here, orphans that the agent adopted included."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: by itself with `code`, or by `signal` (its number). Exactly one is set."""

    code: int | None
    signal: int | None


class Process:
    """One child of ours, leader of its own session and process group. Made by `ProcessTable.spawn`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit: Exit | None = None
        self._ended = asyncio.Event()

    async def wait(self) -> Exit:
        """Wait until it has ended. Any number of tasks may wait."""
        await self._ended.wait()
        assert self.exit is not None  # noqa: S101 - `ended` set the event after it
        return self.exit

    def signal(self, signum: int) -> None:
        """Send a signal to this process alone; nothing happens when it has ended."""
        if self.exit is None:
            os.kill(self.pid, signum)

    def signal_group(self, signum: int) -> None:
        """Send a signal to its process group; no error when nothing of it is left."""
        _signal_group(self.pid, signum)

    def signal_session(self, signum: int) -> None:
        """Send a signal to every group of its session.

        A command can make groups of its own (`timeout`, `set -m`) that a signal to the first one misses.
        """
        # Its first group first: else the shell could see the others end and go on for a moment.
        for group in (self.pid, *(_session_groups(self.pid) - {self.pid})):
            _signal_group(group, signum)

    @property
    def session_alive(self) -> bool:
        """Whether any process of its session still runs."""
        return bool(_session_groups(self.pid))

    def ended(self, how: Exit) -> None:
        """Resolve the waiters. For `ProcessTable` alone."""
        self.exit = how
        self._ended.set()


def open_own_score() -> int | None:
    """Open the OOM score of this process for writing; None where there is none.

    To be called before the process becomes non-dumpable: afterwards the file belongs to root.
    """
    try:
        return os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None


class ProcessTable:
    """Starts children and reaps everything that ends. One per agent, on the main thread's loop.

    Children that the process had before it was made are not killed by it.

    `start` before the first `spawn`; nobody else in the process may call `waitpid`. `own_score`: the descriptor
    from `open_own_score`, where that cannot be called any more.
    """

    def __init__(self, own_score: int | None = None) -> None:
        self._processes: dict[int, Process] = {}
        self._own_score = open_own_score() if own_score is None else own_score
        self._reaped = asyncio.Event()
        self._before = frozenset(_children())

    def start(self) -> None:
        """Begin to reap."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        self._reap()

    def close(self) -> None:
        """Stop to reap. What still runs goes on."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)
        if self._own_score is not None:
            os.close(self._own_score)
            self._own_score = None

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        stdout: int,
        stderr: int,
        pass_fds: Sequence[int] = (),
        oom_score_adj: int | None = None,
        program: str | None = None,
    ) -> Process:
        """Start a program in a session of its own, with standard input at its end.

        `program`: its file, when that is not what `argv` calls it.

        Raises:
            OSError: it cannot be started: no such program or folder, no room for one more process.
        """
        with self._scored(oom_score_adj):
            popen = subprocess.Popen(
                argv,
                executable=program,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        # The table reaps; Popen must neither wait nor warn that nobody waited.
        popen.returncode = 0
        process = Process(popen.pid)
        self._processes[popen.pid] = process
        return process

    def orphans(self) -> list[int]:
        """Pids of the children that we did not start: what user code left behind and we adopted."""
        return [pid for pid in self._children() if pid not in self._processes]

    async def kill_session(self, process: Process, *, timeout_s: float = 2.0) -> None:
        """Kill all of a session and wait until nothing of it runs any more, at most `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                # Again after each that is reaped: what forks while it is killed takes more than one round.
                while process.exit is None or process.session_alive:
                    process.signal_session(signal.SIGKILL)
                    await self._next_reap()

    async def session_end(self, process: Process) -> None:
        """Wait until no process of a session runs. Set a timeout around it."""
        while process.exit is None or process.session_alive:
            await self._next_reap()

    async def kill_orphans(self, *, timeout_s: float = 2.0) -> int:
        """Kill what user code left behind, with all of their sessions; give how many orphans there were.

        Of a session of ours that still runs only the orphans are killed. A fork bomb shares one process group,
        and a signal to a group reaches all of it at once.
        """
        found: set[int] = set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while orphans := self.orphans():
                    found.update(orphans)
                    for session in {_stat(pid).session for pid in orphans} - {0, *self._processes}:
                        for group in _session_groups(session):
                            _signal_group(group, signal.SIGKILL)
                    for pid in orphans:
                        _kill(pid)
                    await self._next_reap()
        return len(found)

    async def kill_all(self, *, timeout_s: float = 2.0) -> None:
        """Kill every child, adopted ones included, and what they leave behind, for at most `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while children := self._children():
                    for pid in children:
                        _kill(pid)
                    await self._next_reap()

    def _children(self) -> list[int]:
        return [pid for pid in _children() if pid not in self._before]

    @contextlib.contextmanager
    def _scored(self, score: int | None) -> Iterator[None]:
        """Have a child start with this OOM score: it inherits ours, which is raised for that moment.

        Its own could be written only once it runs, and what it starts until then would not have it.
        """
        if score is None or self._own_score is None:
            yield
            return
        own = os.pread(self._own_score, 16, 0)
        os.pwrite(self._own_score, str(score).encode(), 0)
        try:
            yield
        finally:
            os.pwrite(self._own_score, own, 0)

    async def _next_reap(self) -> None:
        self._reaped.clear()
        await self._reaped.wait()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._reaped.set()
            if process := self._processes.pop(pid, None):
                process.ended(_exit(status))


def _exit(status: int) -> Exit:
    if os.WIFSIGNALED(status):
        return Exit(None, os.WTERMSIG(status))
    return Exit(os.WEXITSTATUS(status), None)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _signal_group(group: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signum)


@dataclass(frozen=True, slots=True)
class _Stat:
    """State, process group and session of a process; group and session are 0 when there is no such process."""

    state: bytes
    group: int
    session: int

    @property
    def runs(self) -> bool:
        return self.state not in (b"Z", b"X")


def _stat(pid: int) -> _Stat:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return _Stat(b"X", 0, 0)
    # "pid (name) state ppid pgrp session ...": the name may hold spaces and brackets.
    state, _, group, session, _ = stat[stat.rindex(b")") + 2 :].split(b" ", 4)
    return _Stat(state, int(group), int(session))


def _session_groups(session: int) -> set[int]:
    """Give the process groups of all running processes of a session."""
    found = (_stat(int(folder.name)) for folder in Path("/proc").glob("[0-9]*"))
    return {stat.group for stat in found if stat.session == session and stat.runs}


def _children() -> list[int]:
    """Pids of our children, or none where the kernel does not tell."""
    own = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_bytes().split()]
    except OSError:
        return []
