"""Bash calls: each command in a fresh bash in a session of its own, from the home folder."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from sandbox.agent.callers import Callers
from sandbox.agent.environment import EXECUTION, find_shell
from sandbox.agent.live import LiveText
from sandbox.agent.output import Capture, SpillNames
from sandbox.agent.pipes import HeldPipes, OutputPipe
from sandbox.agent.processes import Process, ProcessTable
from sandbox.agent.resources import oom_kills
from sandbox.agent.spill_room import Claim
from sandbox.errors import CallFault
from sandbox.limits import BASH_RUNNING_MAX, INTERRUPT_GRACE_S
from sandbox.pipe.messages import Action, BashResult, Ending, LiveAction, Progress, Started, StreamName

_ARGUMENT_MAX_BYTES: Final = 100_000
"""A longer command does not fit one argument (128 KiB on Linux) and is handed over as a file."""

_OOM_SCORE_ADJ: Final = 500
"""When memory is used up, the machine ends a command rather than the agent."""

_INTERRUPTS: Final = 6
"""Interrupts that a command gets within its grace, evenly spread."""

_SHORT_S: Final = 0.05
"""Commands that end within this time cost no tasks that wait for a deadline and an interruption."""

Emit = Callable[[Progress], None]


class Bash:
    """Runs commands, beside each other up to BASH_RUNNING_MAX.

    `home`: where commands start. `folder`: where spill files go. `env`: all of a command's environment but the name
    of its execution. `callers` hears of each. `shell`: the file of bash; None: where it is found.
    """

    def __init__(
        self,
        *,
        home: Path,
        folder: Path,
        processes: ProcessTable,
        names: SpillNames,
        env: Mapping[str, str],
        callers: Callers | None = None,
        shell: str | None = None,
    ) -> None:
        self.running = 0
        self._home = home
        self._folder = folder
        self._processes = processes
        self._names = names
        self._env = env
        self._callers = callers or Callers()
        self._held = HeldPipes()
        self._shell = shell or find_shell()

    @property
    def background_jobs(self) -> int:
        """How many processes were left behind by what ended; where the system does not tell, pipes they hold."""
        return len(self._processes.orphans()) or len(self._held)

    async def run(
        self,
        command: str,
        *,
        timeout_s: float,
        interrupted: asyncio.Event,
        emit: Emit | None,
        execution_id: str = "",
    ) -> BashResult:
        """Run one command to its end, its deadline or its interruption, whichever is first.

        Never raises for what the command does. When this task is cancelled the command is killed.

        Raises:
            CallFault: `busy`, when BASH_RUNNING_MAX commands run.
        """
        if interrupted.is_set():
            return BashResult(Ending.INTERRUPTED, Action.NOT_STARTED)
        if self.running >= BASH_RUNNING_MAX:
            raise CallFault("busy", f"{BASH_RUNNING_MAX} bash calls run already; wait for one to end")
        self.running += 1
        prefix = self._names.new("bash")
        claim = self._names.room.claim(prefix)
        call = _Call(self._folder / prefix, claim, emit, on_stop=partial(self._callers.stop, execution_id))
        started = time.monotonic()
        self._callers.begin(execution_id, cell=False)
        try:
            process = self._start(command, call, execution_id)
            if isinstance(process, BashResult):
                return process
            await call.see_through(process, self._processes, timeout_s=timeout_s, interrupted=interrupted)
            return call.result(process, duration_s=time.monotonic() - started)
        finally:
            self.running -= 1
            self._callers.end(execution_id)
            if not call.settle(self._held):
                self._names.give_back(prefix)
            claim.end()

    def close(self) -> None:
        """Let go of the pipes that background jobs hold."""
        self._held.close()

    def _start(self, command: str, call: "_Call", execution_id: str) -> Process | BashResult:
        """Start bash, or say in a result why it cannot be."""
        try:
            argv, files = _arguments(command)
            try:
                stdout, stderr = call.open()
                return self._processes.spawn(
                    argv,
                    env={**self._env, EXECUTION: execution_id} if execution_id else self._env,
                    # A home that user code deleted or shut must not shut bash, by which it is mended.
                    cwd=str(self._home) if os.access(self._home, os.X_OK) else "/",
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=files,
                    oom_score_adj=_OOM_SCORE_ADJ,
                    program=self._shell,
                )
            finally:
                for fd in files:
                    os.close(fd)
        except OSError as error:
            why = f"bash could not be started ({error.strerror}); the sandbox may be out of processes or memory"
            return BashResult(Ending.ERROR, note=f"{why}: end some from Python, or restart the kernel")


class _Call:
    """One command: its two streams, how it is brought to its end, and what is to be said of it."""

    def __init__(self, stem: Path, claim: Claim, emit: Emit | None, *, on_stop: Callable[[], None]) -> None:
        self._claim = claim
        self._on_stop = on_stop
        self._emit = emit or _nothing
        self._live = LiveText(emit) if emit is not None else None
        self._stdout, self._stderr = (
            Capture(stem.with_name(f"{stem.name}_{name}.txt"), claim=claim, on_text=self._on_text(name))
            for name in (StreamName.STDOUT, StreamName.STDERR)
        )
        self._pipes: list[OutputPipe] = []
        self._ending = Ending.COMPLETED
        self._action = Action.NONE
        self._oom_kills = oom_kills()

    def open(self) -> tuple[int, int]:
        """Make the pipes; give the ends for the child's standard output and error."""
        for capture in (self._stdout, self._stderr):
            self._pipes.append(OutputPipe(capture))
        return self._pipes[0].write_end, self._pipes[1].write_end

    async def see_through(
        self, process: Process, processes: ProcessTable, *, timeout_s: float, interrupted: asyncio.Event
    ) -> None:
        """Read until the shell has ended, or end it; then read what is left in the pipes."""
        for pipe in self._pipes:
            pipe.start()
        self._emit(Started())
        try:
            self._ending = await _first(process, timeout_s, interrupted)
            if self._ending is not Ending.COMPLETED:
                self._on_stop()
            if self._ending is Ending.TIMED_OUT:
                await self._kill(process, processes)
            elif self._ending is Ending.INTERRUPTED:
                await self._interrupt(process, processes)
        except asyncio.CancelledError:
            self._on_stop()
            process.signal_session(signal.SIGKILL)
            raise
        for pipe in self._pipes:
            pipe.drain()
        if self._live is not None:
            self._live.close()

    def result(self, process: Process, *, duration_s: float) -> BashResult:
        """Say how it ended."""
        exit_code, signal_name = _shown(process)
        oom = oom_kills() > self._oom_kills
        killed = exit_code == 128 + signal.SIGKILL
        return BashResult(
            self._ending,
            self._action,
            exit_code=exit_code,
            signal=signal_name,
            out_of_memory=oom and killed,
            stdout=self._stdout.output(),
            stderr=self._stderr.output(),
            duration_ms=duration_s * 1000,
            note=self._note(oom_elsewhere=oom and not killed),
        )

    def settle(self, held: HeldPipes) -> bool:
        """Close what has ended, hold what is still held; say whether a file was or may be written."""
        in_use = False
        for pipe in self._pipes:
            if pipe.open and pipe.write_end < 0:
                held.add(pipe)
                in_use = True
            else:
                pipe.close()
                in_use |= pipe.capture.close().path is not None
        return in_use

    async def _interrupt(self, process: Process, processes: ProcessTable) -> None:
        """Ask as Ctrl-C would, more than once; when the shell does not end in time, kill."""
        self._act(Action.INTERRUPTED)
        for _ in range(_INTERRUPTS):
            # One that comes while the shell starts a program is lost: the program never sees it, and the shell waits.
            process.signal_session(signal.SIGINT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERRUPT_GRACE_S / _INTERRUPTS):
                    await process.wait()
                    return
        await self._kill(process, processes)

    async def _kill(self, process: Process, processes: ProcessTable) -> None:
        """End all of the session: asked to at first, then killed."""
        self._act(Action.PROCESS_GROUP_KILLED)
        process.signal_session(signal.SIGTERM)
        process.signal_session(signal.SIGCONT)  # what is stopped could not hear it
        try:
            async with asyncio.timeout(INTERRUPT_GRACE_S):
                await processes.session_end(process)
        except TimeoutError:
            await processes.kill_session(process)

    def _act(self, action: Action) -> None:
        self._action = action
        self._emit(LiveAction(action, self._ending))

    def _note(self, *, oom_elsewhere: bool) -> str | None:
        notes = []
        if held := [str(pipe.capture.path) for pipe in self._pipes if pipe.open]:
            notes.append(f"a background job still holds the output; what it writes goes to {' and '.join(held)}")
        if words := self._claim.note():
            notes.append(words)
        if oom_elsewhere:
            notes.append("memory was used up while this ran, and a process of the sandbox was killed for it")
        return "; ".join(notes) or None

    def _on_text(self, name: StreamName) -> Callable[[str], None] | None:
        live = self._live
        return None if live is None else lambda text: live.text(name, text)


async def _first(process: Process, timeout_s: float, interrupted: asyncio.Event) -> Ending:
    """Wait for the end of the shell, the deadline or the interruption; say which came first."""
    short_s = min(_SHORT_S, timeout_s)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(short_s):
            await process.wait()
    if process.exit is not None:
        return Ending.COMPLETED
    waits = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(interrupted.wait())]
    try:
        await asyncio.wait(waits, timeout=timeout_s - short_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if process.exit is not None:
        return Ending.COMPLETED
    return Ending.INTERRUPTED if interrupted.is_set() else Ending.TIMED_OUT


def _arguments(command: str) -> tuple[list[str], tuple[int, ...]]:
    """Give the arguments that make bash run `command`, and the open files to hand over with them."""
    data = command.encode("utf-8", "replace")
    if len(data) <= _ARGUMENT_MAX_BYTES and b"\0" not in data:
        return ["bash", "-c", "--", data.decode()], ()
    fd = os.memfd_create("command")
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
    except OSError:
        os.close(fd)
        raise
    return ["bash", f"/dev/fd/{fd}"], (fd,)


def _shown(process: Process) -> tuple[int | None, str | None]:
    """Give the exit code as a shell shows it, and the name of the signal that ended the shell."""
    how = process.exit
    if how is None:
        return None, None
    if how.signal is None:
        return how.code, None
    try:
        name = signal.Signals(how.signal).name
    except ValueError:
        name = f"signal {how.signal}"
    return 128 + how.signal, name


def _nothing(_: Progress) -> None:
    """Nobody follows."""
