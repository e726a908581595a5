"""What the agent does to itself before anything else: no user code may reach its streams, memory or life."""

import contextlib
import ctypes
import fcntl
import logging
import os
import resource
import signal
import sys
from typing import Final

from sandbox.agent.own_limits import protect_own_limits

log = logging.getLogger(__name__)

_HIGH_FD: Final = 100
_OPEN_FILES: Final = 65_536
"""Enough for anyone; children inherit it, and some programs walk through every number up to it."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36

_UNMOVED_BY: Final = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def take_stdio() -> tuple[int, int]:
    """Move standard input and output away; give where they are now. 0 becomes /dev/null, 1 becomes 2.

    What a child or a careless library writes to its standard output can so never get into the pipe.
    """
    pipe_in = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    pipe_out = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return pipe_in, pipe_out


def harden() -> None:
    """Close /proc to user code, stay alive whatever signals come, adopt orphans, allow many open files.

    Elsewhere than in a container: be let go on, should it be stopped, when what started it has ended.
    """
    os.umask(0o022)
    _prctl(_PR_SET_DUMPABLE, 0)
    adopt_orphans(True)
    for signum in _UNMOVED_BY:
        stay_alive_on(signum)
    if os.getpid() == 1:
        stay_alive_on(signal.SIGTERM)
        protect_own_limits()
    else:
        # Stopped by whoever started it, it would never see that its standard input has ended with them.
        _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def stay_alive_on(signum: signal.Signals) -> None:
    """Take a signal and do nothing.

    A handler rather than SIG_IGN: an ignored signal stays ignored in every program a child becomes, a handled
    one is set back to its default there.
    """
    signal.signal(signum, lambda _signum, _frame: None)


def adopt_orphans(adopt: bool) -> None:
    """Become, or stop to be, the parent of what our descendants leave behind (as process 1 we are anyway)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(adopt))


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        log.warning("prctl %d failed: %s", option, os.strerror(ctypes.get_errno()))
