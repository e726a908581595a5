"""A process with all that descends from it, on this machine: frozen, thawed and killed by signals."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def freeze(pid: int) -> None:
    """Stop a process, then all that descend from it: first the parent, so that it starts no more of them."""
    _signal(pid, signal.SIGSTOP)
    for child in descendants(pid):
        _signal(child, signal.SIGSTOP)


def thaw(pid: int) -> None:
    """Let all that descend from a process go on, then the process."""
    for child in descendants(pid):
        _signal(child, signal.SIGCONT)
    _signal(pid, signal.SIGCONT)


def kill(pid: int) -> None:
    """Kill all that descends from a process, and the process: it is stopped before, so that it starts no more."""
    _signal(pid, signal.SIGSTOP)
    for child in (*descendants(pid), pid):
        _signal(child, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """List the processes that descend from one, parents before their children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = list(children.get(pid, ()))
    for child in found:
        found += children.get(child, ())
    return found


def _parent(entry: Path) -> int | None:
    """The parent's id, from /proc/PID/stat; None when the process is gone."""
    try:
        stat = (entry / "stat").read_bytes()
    except OSError:
        return None
    # The name, in brackets, may hold anything, brackets and blanks too.
    return int(stat.rpartition(b")")[2].split()[1])


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
