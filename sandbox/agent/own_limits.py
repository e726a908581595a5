"""Keeps limits, priority and CPUs of process 1 out of reach of user code, which has the same user.

What was lowered can never be raised again, and all that process 1 starts inherits it: without this one line of user
code would end bash for good, or leave the agent the time that nobody else wants.
"""

import ctypes
import errno
import logging
import os
import struct
import sys
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Calls:
    """The numbers of a machine: its own (`audit.h`) and those of the system calls that change another process.

    `of_process`: their first argument is a process. `of_kind`: the second is a process or a group; with the first one
    they may mean all processes of a user instead.
    """

    machine: int
    of_process: tuple[int, ...]
    of_kind: tuple[tuple[int, int], ...]


# of_process: prlimit64, sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr.
# of_kind: setpriority with PRIO_USER, ioprio_set with IOPRIO_WHO_USER.
_CALLS: Final = {
    "x86_64": _Calls(0xC000003E, (302, 142, 144, 203, 314), ((141, 2), (251, 3))),
    "aarch64": _Calls(0xC00000B7, (261, 118, 119, 122, 274), ((140, 2), (30, 3))),
}

_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_MODE_FILTER: Final = 2

# linux/bpf_common.h, linux/seccomp.h: load a word of what is called; go on if it equals; end with this answer.
_LOAD, _EQUALS, _ANSWER = 0x20, 0x15, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _MACHINE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def protect_own_limits() -> None:
    """Have the system refuse to change this process, for it and all that it starts; of others nothing changes."""
    known = _CALLS.get(os.uname().machine) if sys.platform == "linux" else None
    if known is None:
        return
    steps = _steps(known, os.getpid())
    program = _Program(len(steps), b"".join(steps))
    libc = ctypes.CDLL(None, use_errno=True)
    # Without the right to give itself new ones, a process may filter its own system calls.
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        log.warning("the limits of the agent are open to user code: %s", os.strerror(ctypes.get_errno()))


def _steps(calls: _Calls, pid: int) -> list[bytes]:
    """Give the filter: a block for each call, passed over by all other calls, and "allow" at the end."""
    blocks: list[bytes] = []
    refuse_if_ours = [_step(_EQUALS, pid, otherwise=1), _step(_ANSWER, _REFUSE), _step(_ANSWER, _ALLOW)]
    for number in calls.of_process:
        block = [_step(_LOAD, _FIRST_ARGUMENT), *refuse_if_ours]
        blocks += [_step(_EQUALS, number, otherwise=len(block)), *block]
    for number, user in calls.of_kind:
        to_refuse = _step(_EQUALS, user, then=2)
        block = [_step(_LOAD, _FIRST_ARGUMENT), to_refuse, _step(_LOAD, _SECOND_ARGUMENT), *refuse_if_ours]
        blocks += [_step(_EQUALS, number, otherwise=len(block)), *block]
    begin = [
        _step(_LOAD, _MACHINE),
        _step(_EQUALS, calls.machine, otherwise=len(blocks) + 1),
        _step(_LOAD, _NUMBER),
    ]
    return [*begin, *blocks, _step(_ANSWER, _ALLOW)]


def _step(code: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)
