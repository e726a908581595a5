"""Processes that begin with the controller imported: forks of one that did so once, for all servers of a test run.

To import the controller takes longer than everything else at its start. What is forked is a process of its own with
its own environment, folder, output and signals, and ends as any interpreter does.
"""

import atexit
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
ANSWER_S: Final = 120.0

_LONGEST: Final = 1 << 20


class Prepared:
    """A started process, with those methods of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, ended: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended: int | None = ended

    def poll(self) -> int | None:
        """Give how it ended, None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout_s: float | None) -> int | None:
        if self._ended is not None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._ended, selectors.EVENT_READ)
                if not selector.select(timeout_s):
                    return None
            said = os.read(self._ended, 16)
            os.close(self._ended)
            self._ended = None
            self.returncode = int(said) if said else -signal.SIGKILL
        return self.returncode


def start(
    program: str,
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path,
    stdout: int,
    stderr: int,
    stdin: int | None = None,
    new_session: bool = False,
) -> Prepared:
    """Run a program's text. `arguments`: what it finds in `sys.argv`; `stdin` (None: nothing to read), `stdout`,
    `stderr`: descriptors; `new_session`: it leads one.
    """
    order = {
        "program": program,
        "arguments": arguments,
        "env": dict(env),
        "cwd": str(cwd),
        "new_session": new_session,
    }
    if stdin is not None:
        return _preparer().start(order, stdin, stdout, stderr)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - no path of a file
        return _preparer().start(order, nothing.fileno(), stdout, stderr)


def run(
    program: str, *arguments: str, env: Mapping[str, str], cwd: Path, timeout_s: float, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run a program's text to its end, and give what it said.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    with TemporaryFile("w+") as read, TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        read.write(stdin)
        read.seek(0)
        process = start(
            program,
            *arguments,
            env=env,
            cwd=cwd,
            stdin=read.fileno(),
            stdout=output.fileno(),
            stderr=errors.fileno(),
        )
        try:
            code = process.wait(timeout_s)
        finally:
            process.kill()
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(arguments, code, output.read(), errors.read())


class _Preparer:
    """The process that imported the controller, and forks."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            begin = f"from tests.support.prepared import next_program; exec(next_program({theirs.fileno()}))"
            self._process = subprocess.Popen(
                [sys.executable, "-c", begin],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._socket = ours
        self._socket.settimeout(ANSWER_S)
        self._lock = threading.Lock()
        atexit.register(self._close)

    def start(self, order: dict[str, Any], *streams: int) -> Prepared:
        ended, told = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._socket, [json.dumps(order).encode()], [*streams, told])
                return Prepared(int(self._socket.recv(16)), ended)
        finally:
            os.close(told)

    def _close(self) -> None:
        with self._socket:
            self._socket.shutdown(socket.SHUT_RDWR)  # also where a fork of ours still has the socket
        self._process.wait(ANSWER_S)


@cache
def _preparer() -> _Preparer:
    return _Preparer()


# --- in the process that forks ------------------------------------------------------------------------


def next_program(orders_fd: int) -> str:
    """Fork for each order, and give the order's program in its process. Ends when nobody can order any more."""
    import sandbox.app
    import sandbox.cli
    import sandbox.client  # noqa: F401

    gc.collect()
    gc.freeze()
    with socket.socket(fileno=orders_fd) as orders, selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        while True:
            for key, _events in selector.select():
                if key.fileobj is not orders:
                    _tell_end(selector, key)
                elif (program := _fork(orders, selector)) is not None:
                    return program


def _fork(orders: socket.socket, selector: selectors.BaseSelector) -> str | None:
    """Take an order and fork; its program in the new process, None in this one."""
    data, descriptors, _flags, _address = socket.recv_fds(orders, _LONGEST, 4)
    if not data:
        sys.exit()
    *streams, told = descriptors
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, told))
        orders.send(str(pid).encode())
        return None
    os.close(told)
    for key in list(selector.get_map().values()):
        if key.fileobj is not orders:
            os.close(key.fd)
            os.close(key.data[1])
    return _become(json.loads(data), streams)


def _become(order: dict[str, Any], streams: list[int]) -> str:
    """Take an order's streams, environment, folder and arguments; its program."""
    for own, given in enumerate(streams):
        os.dup2(given, own)
        os.close(given)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    if order["new_session"]:
        os.setsid()
    sys.argv[:] = ["-c", *order["arguments"]]
    program: str = order["program"]
    return program


def _tell_end(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Tell how a process ended to who waits for it."""
    pid, told = key.data
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    selector.unregister(key.fileobj)
    os.close(key.fd)
    os.close(told)
