"""Keeps the limits of process 1 (open files, processes, memory) out of reach of user code, which has the same user.

A limit that was lowered can never be raised again: without this one line of user code would end bash for good.
"""

import ctypes
import errno
import logging
import os
import struct
import sys
from typing import Final

log = logging.getLogger(__name__)

_PRLIMIT64: Final = {"x86_64": (0xC000003E, 302), "aarch64": (0xC00000B7, 261)}
"""By machine: its number in `audit.h` and that of the system call which sets limits of another process."""

_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_MODE_FILTER: Final = 2

# linux/bpf_common.h, linux/seccomp.h: load a word of what is called; go on if it equals; end with this answer.
_LOAD, _EQUALS, _ANSWER = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def protect_own_limits() -> None:
    """Have the system refuse `prlimit` on this process, for it and all that it starts; of others nothing changes."""
    known = _PRLIMIT64.get(os.uname().machine) if sys.platform == "linux" else None
    if known is None:
        return
    steps = _steps(*known, os.getpid())
    program = _Program(len(steps), b"".join(steps))
    libc = ctypes.CDLL(None, use_errno=True)
    # Without the right to give itself new ones, a process may filter its own system calls.
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        log.warning("the limits of the agent are open to user code: %s", os.strerror(ctypes.get_errno()))


def _steps(machine: int, number: int, pid: int) -> list[bytes]:
    """Give the filter: three conditions, each of which leads to "allow" when it does not hold."""
    wanted = ((_MACHINE, machine), (_NUMBER, number), (_FIRST_ARGUMENT, pid))
    steps = []
    for index, (field, value) in enumerate(wanted):
        to_allow = 2 * (len(wanted) - 1 - index) + 1
        steps += [_step(_LOAD, field), _step(_EQUALS, value, otherwise=to_allow)]
    return [*steps, _step(_ANSWER, _REFUSE), _step(_ANSWER, _ALLOW)]


def _step(code: int, value: int, *, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, 0, otherwise, value)
