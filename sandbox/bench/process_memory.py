"""Memory of a process of this machine, from /proc; None where that cannot be read (another machine, another system)."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

_LINE: Final = re.compile(r"^(VmRSS|VmHWM):\s+(\d+) kB$", re.MULTILINE)


def resident_mb(pid: int) -> float | None:
    """Memory that it holds now; MB. Also begins a new peak, where that is allowed."""
    with suppress(OSError):  # then the peak counts from the process's start, which only makes growth look larger
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    return _read(pid, "VmRSS")


def peak_mb(pid: int) -> float | None:
    """Give the most memory it held since `resident_mb` was asked; MB."""
    return _read(pid, "VmHWM")


def _read(pid: int, name: str) -> float | None:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    values = {found.group(1): int(found.group(2)) for found in _LINE.finditer(text)}
    return values[name] * 1024 / 1e6 if name in values else None
