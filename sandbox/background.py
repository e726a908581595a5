"""A controller that goes on when the command that started it has ended, and how to find and end it again.

The started process inherits the locked descriptor of its pid file and holds the lock for as long as it lives: a
lock that is free means that the file is stale, so a pid that the system gave to somebody else is never signalled.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.errors import WorkbenchError

if TYPE_CHECKING:
    from sandbox.client import Client

    Child = subprocess.Popen[bytes]

READY_DEADLINE_S: Final = 120.0
STOP_DEADLINE_S: Final = 30.0
KILL_DEADLINE_S: Final = 10.0
POLL_S: Final = 0.05
LOG_LINES: Final = 20


class ControllerNotReady(WorkbenchError):
    """A controller that was started here ended, or was not ready before the deadline."""

    slug, code = "Client_ControllerNotReady", 1803


@dataclass(frozen=True, slots=True)
class State:
    """Where a background controller of one data folder leaves its pid and its log."""

    folder: Path

    @property
    def pid_file(self) -> Path:
        """Its pid, locked while it lives."""
        return self.folder / "controller.pid"

    @property
    def log_file(self) -> Path:
        """What it writes to standard output and standard error."""
        return self.folder / "controller.log"

    def running_pid(self) -> int | None:
        """Give the pid of the controller that was started here and still runs."""
        try:
            with self.pid_file.open("r+", encoding="utf-8") as file:
                if _lock(file.fileno()):
                    return None
                text = file.read().strip()
        except FileNotFoundError:
            return None
        return int(text) if text.isdigit() else None


def start(state: State, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> "Child":
    """Start `workbench serve ARGUMENTS` in a process group of its own.

    Who lives longer than the controller has to `wait()` for what this gives.

    Raises:
        ControllerNotReady: one that was started here runs already.
    """
    state.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(state.pid_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(lock):
            raise ControllerNotReady(f"a controller that was started here runs already, see {state.log_file}")
        log_descriptor = os.open(state.log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(log_descriptor, "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "sandbox.cli", "serve", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                pass_fds=(lock,),
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(process.pid).encode(), 0)
    finally:
        os.close(lock)
    return process


def wait_until_ready(state: State, client: "Client", deadline_s: float = READY_DEADLINE_S) -> None:
    """Wait until the controller that was started here is ready.

    Raises:
        ControllerNotReady: it ended, or time is up; the message has the end of its log.
    """
    limit = time.monotonic() + deadline_s
    while not client.ready():
        if state.running_pid() is None:
            raise ControllerNotReady(f"The controller ended while it started. {last_lines(state)}")
        if time.monotonic() > limit:
            raise ControllerNotReady(f"The controller was not ready within {deadline_s:g} s. {last_lines(state)}")
        time.sleep(POLL_S)


def stop(state: State, deadline_s: float = STOP_DEADLINE_S) -> int | None:
    """End the controller that was started here and wait for it; give its pid, None when there was none.

    One that does not end by itself before the deadline is killed with its process group.

    Raises:
        ControllerNotReady: it does not even end then.
    """
    pid = state.running_pid()
    if pid is None:
        return None
    for send, sent, seconds in ((os.kill, signal.SIGTERM, deadline_s), (os.killpg, signal.SIGKILL, KILL_DEADLINE_S)):
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            send(pid, sent)
        if _ended(state, pid, seconds):
            state.pid_file.unlink(missing_ok=True)
            return pid
    raise ControllerNotReady(f"The controller (process {pid}) does not end, not even killed.")


def _ended(state: State, pid: int, deadline_s: float) -> bool:
    limit = time.monotonic() + deadline_s
    while state.running_pid() == pid:
        if time.monotonic() > limit:
            return False
        time.sleep(POLL_S)
    return True


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def last_lines(state: State) -> str:
    """Give the end of the controller's log, in words that can follow an error."""
    lines = state.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    shown = "\n".join(f"  | {line}" for line in lines)
    return f"The end of {state.log_file}:\n{shown}" if lines else f"{state.log_file} is empty."
