"""What an adapter gives: a peer that opens sessions, sessions that run code. And what processes hold in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class TimedOut(Exception):
    """The peer, or its client as the peer's own way of using it, gave up waiting for the code."""


class Cannot(Exception):
    """The peer has no such thing."""


@dataclass(frozen=True, slots=True)
class Result:
    """An answer: its text, whether it is marked as failed, and characters that were kept elsewhere than in `text`.

    `whole` counts the text that is in a file when the answer has only its beginning.
    """

    text: str
    failed: bool
    whole: int | None = None


class Session(Protocol):
    """One session of a peer."""

    def run(self, code: str) -> Result:
        """Run code.

        Raises:
            TimedOut: it did not end within the time given to `Peer.open`.
        """

    def bash(self, command: str) -> None:
        """Run a shell command.

        Raises:
            Cannot: there is no shell but through code.
        """

    def recover(self) -> str:
        """Stop what runs by a call of its own; say what the caller does with it, as in "interrupts".

        Raises:
            Cannot: there is no such call.
        """

    def memory(self) -> tuple[float, str]:
        """Resident memory of its processes in MB, and a remark.

        Raises:
            Cannot: they cannot be found.
        """

    def close(self) -> None:
        """End it, with all it holds."""


class Peer(Protocol):
    """A system under measurement, started."""

    versions: dict[str, str]
    installations: list[str]

    def open(self, timeout_s: int) -> Session:
        """Start a session whose calls give up after `timeout_s`. The session may start lazily, with its first call."""

    def open_pooled(self) -> Session:
        """Open one that the peer keeps ready.

        Raises:
            Cannot: it keeps none.
        """

    def close(self) -> None:
        """End what is left."""


def resident_mb(pids: list[int]) -> float:
    """Sum of the resident memory of processes; MB.

    Raises:
        Cannot: this system does not say, or there are none.
    """
    if not pids:
        raise Cannot("its processes are not found")
    return sum(_status_kb(pid, "VmRSS") for pid in pids) * 1024 / 1e6


def descendants(root: int) -> list[int]:
    """Give the processes that descend from `root`.

    Raises:
        Cannot: this system does not say.
    """
    if not Path("/proc/self/status").exists():
        raise Cannot("no /proc on this system")
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = _status_kb(int(folder.name), "PPid")
        except Cannot:
            continue  # ended meanwhile
    found, todo = [], [root]
    while todo:
        parent = todo.pop()
        children = [pid for pid, its in parents.items() if its == parent]
        found += children
        todo += children
    return found


def command_line(pid: int) -> str:
    """Give a process's arguments; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _status_kb(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise Cannot(f"process {pid} cannot be read") from error
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise Cannot(f"process {pid} holds no memory")
