"""What the sandbox may use and does use, as its control group says. Version 1 and 2 of control groups."""

import contextlib
import functools
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.limits import KIB

_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "PYTHON_CPU_COUNT",
)

_FILE_MAX_BYTES: Final = 16 * KIB

_UNLIMITED_BYTES: Final = 1 << 60
"""Version 1 writes "no limit" as a number of pages that is about as large as it gets."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in use (without file cache that can go at once) and the limit; None: not known, no limit."""

    used: int | None
    limit: int | None


class ControlGroup:
    """Reads the control group that this process is in. A file that is not there reads as unknown.

    `root` is where control groups are mounted, `own` the file that names ours.
    """

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> None:
        self._root = root
        self._unified = (root / "cgroup.controllers").exists()
        self._paths = _own_paths(own)
        self._files: dict[tuple[str, str], int | None] = {}

    def memory(self) -> Memory:
        """Give memory in use and its limit."""
        if self._unified:
            used, limit = self._number("memory", "memory.current"), self._number("memory", "memory.max")
        else:
            used = self._number("memory", "memory.usage_in_bytes")
            limit = self._number("memory", "memory.limit_in_bytes")
        if limit is not None and limit >= _UNLIMITED_BYTES:
            limit = None
        if used is not None:
            stat = self._table("memory", "memory.stat")
            used = max(0, used - stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        return Memory(used, limit)

    def oom_kills(self) -> int:
        """Give how many processes were killed because memory was used up; 0 when not known."""
        name = "memory.events" if self._unified else "memory.oom_control"
        return self._table("memory", name).get("oom_kill", 0)

    def processes_left(self) -> int | None:
        """Give how many more processes and threads there may be, or None when there is no limit."""
        used, limit = self._number("pids", "pids.current"), self._number("pids", "pids.max")
        return None if used is None or limit is None else max(0, limit - used)

    def cpus(self) -> float | None:
        """Give how many CPUs may be used (fractions allowed), or None when there is no limit."""
        if self._unified:
            quota, _, period = self._text("cpu", "cpu.max").partition(" ")
        else:
            quota = self._text("cpu", "cpu.cfs_quota_us")
            period = self._text("cpu", "cpu.cfs_period_us")
        if not quota.isdigit() or not period.isdigit() or int(period) == 0:
            return None
        return int(quota) / int(period)

    def _text(self, controller: str, name: str) -> str:
        # Files stay open: some are read for every execution, and to find them costs ten times what it costs to read.
        if (controller, name) not in self._files:
            self._files[controller, name] = self._open(controller, name)
        fd = self._files[controller, name]
        if fd is None:
            return ""
        try:
            return os.pread(fd, _FILE_MAX_BYTES, 0).decode("ascii").strip()
        except OSError:
            return ""

    def _open(self, controller: str, name: str) -> int | None:
        base = self._root if self._unified else self._root / controller
        own = self._paths.get("" if self._unified else controller, "")
        # In a container the mount often begins at our own group already, and the path is the host's.
        for folder in (base / own, base):
            with contextlib.suppress(OSError):
                return os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        return None

    def _number(self, controller: str, name: str) -> int | None:
        text = self._text(controller, name)
        return int(text) if text.isdigit() else None

    def _table(self, controller: str, name: str) -> dict[str, int]:
        rows = (line.split() for line in self._text(controller, name).splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def thread_env(cpus: float | None) -> dict[str, str]:
    """Variables that make numeric libraries start as many threads as there are CPUs for us, not for the host.

    Empty without a limit: libraries know better then.
    """
    if cpus is None:
        return {}
    threads = str(max(1, math.ceil(cpus)))
    return dict.fromkeys(_THREAD_VARIABLES, threads)


def oom_kills() -> int:
    """Give how many processes of this sandbox were killed because memory was used up."""
    return own_group().oom_kills()


@functools.cache
def own_group() -> ControlGroup:
    """Give the control group of this process; where it is does not change."""
    return ControlGroup()


def _own_paths(own: Path) -> dict[str, str]:
    """Map controller (version 2: the empty word) to our group's path below the mount, without leading slash."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    paths: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path.lstrip("/")
    return paths
