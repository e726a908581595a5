"""Starts the kernel: run by `kernel_launch.py` with the user's interpreter, so it imports nothing of ours.

Arguments: FOLDER READY_FD. The kernel's sockets are made in FOLDER (`s-1` shell, `s-2` iopub, `s-3` stdin, `s-4`
control). One byte is written to READY_FD when they are bound. Text goes straight to file descriptors 1 and 2 and never
over iopub, so what children, C extensions and threads write is captured the same way as what Python prints.
"""

# ipykernel and IPython are only partly annotated.
# mypy: disable-error-code="no-untyped-call, no-any-return"

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import zmq
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from tornado.ioloop import IOLoop
from traitlets.config import Config

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator

BUFFER_BYTES = 64 * 1024
FLUSH_S = 0.05
IDLE_FLUSH_S = 0.5
RICH_MAX_CHARS = 64 * 1024 * 1024
PR_SET_PDEATHSIG = 1
HIGH_FD = 200
COPY_MAX_BYTES = 64 * 1024


class Streams:
    """Standard output and error as plain files on descriptors 1 and 2, put back when user code replaced them."""

    def __init__(self) -> None:
        self._kept = tuple(self._dup_high(fd) for fd in (1, 2))
        self._inodes = tuple(self._identity(fd) for fd in (1, 2))
        self._stdin = sys.stdin
        self._flushing = threading.Lock()
        self.busy = False
        self._idle_mode = False
        self._wake = threading.Event()
        self.out = self._open(1)
        self.err = self._open(2)
        self._install()
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._flushing.release, after_in_child=self._flushing.release
        )
        threading.Thread(target=self._flush_often, name="flush", daemon=True).start()

    @staticmethod
    def _dup_high(fd: int) -> int:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH_FD)

    @staticmethod
    def _identity(fd: int) -> tuple[int, int] | None:
        try:
            stat = os.fstat(fd)
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    @staticmethod
    def _open(fd: int) -> io.TextIOWrapper:
        raw = io.BufferedWriter(io.FileIO(fd, "w", closefd=False), BUFFER_BYTES)
        # Text that is no valid Unicode must not break a print.
        return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=fd == 2)

    def _install(self) -> None:
        sys.stdout = sys.__stdout__ = self.out  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = self.err  # type: ignore[misc]

    def begin(self) -> None:
        """Before a cell: everything in its place, and what came since the last cell on its way."""
        self.busy = True
        if self._idle_mode:
            self._wake.set()
        self.restore()

    def end(self) -> None:
        """After a cell, before its reply: all that it printed is in the pipes."""
        for stream in (sys.stdout, sys.stderr):
            # A stream of the user's own may do anything when it is flushed; the reply must still go out.
            if stream is not self.out and stream is not self.err:
                with contextlib.suppress(BaseException):
                    stream.flush()
        self.restore()
        self.busy = False

    def restore(self) -> None:
        """Put descriptors 0 to 2 and the `sys` streams back where user code replaced or closed them."""
        for stream in (self.out, self.err):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        for fd, kept, identity in zip((1, 2), self._kept, self._inodes, strict=True):
            if self._identity(fd) != identity:
                with contextlib.suppress(OSError):
                    os.dup2(kept, fd)
        if self._identity(0) is None:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if self.out.closed:
            self.out = self._open(1)
        if self.err.closed:
            self.err = self._open(2)
        if sys.stdout is not self.out or sys.stderr is not self.err:
            self._install()
        if sys.stdin is not self._stdin:
            sys.stdin = self._stdin
        for stream in (self.out, self.err):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()

    def _before_fork(self) -> None:
        # What is buffered would be written twice, once by the child; and a child must not inherit a lock in use.
        self._flushing.acquire()
        with contextlib.suppress(OSError, ValueError):
            self.out.flush()

    def _flush_often(self) -> None:
        quiet = 0
        while True:
            self._idle_mode = quiet > 1 / FLUSH_S
            if self._idle_mode:
                self._wake.wait(IDLE_FLUSH_S)
                self._wake.clear()
            else:
                time.sleep(FLUSH_S)
            quiet = 0 if self.busy else quiet + 1
            with self._flushing, contextlib.suppress(OSError, ValueError):
                self.out.flush()


class Shell(ZMQInteractiveShell):
    """IPython's shell without colours, pagers and terminals; `exit()` ends the cell, not the kernel."""

    helpers: tuple[Callable[..., Any], ...] = ()

    def init_user_ns(self) -> None:
        """Put the helpers beside what IPython puts there: when it starts, and again after `%reset`."""
        super().init_user_ns()
        named = {helper.__name__: helper for helper in self.helpers}
        self.user_ns.update(named)
        self.user_ns_hidden.update(named)

    def init_environment(self) -> None:
        """Tell programs that nobody looks at a terminal."""
        os.environ.update(TERM="dumb", NO_COLOR="1", PAGER="cat", GIT_PAGER="cat")

    def ask_exit(self) -> None:
        """End the cell, as `sys.exit()` does."""
        raise SystemExit

    def system_piped(self, cmd: str) -> None:
        """Run `!cmd` on the cell's own descriptors: no terminal, standard error stays apart."""
        argv = ["/bin/bash", "-c", self.var_expand(cmd, depth=1)]
        sys.stdout.flush()
        sys.stderr.flush()
        # Under %%capture and the like what it prints goes where Python's own output goes.
        captured = sys.stdout is not StreamKernel.streams.out
        stdout = subprocess.PIPE if captured else None
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=stdout, check=False)
        if captured:
            sys.stdout.write(done.stdout.decode("utf-8", "replace"))
        self.user_ns["_exit_code"] = done.returncode

    system = system_piped


class Publisher:
    """The iopub socket as ipykernel uses it, without its thread: a message is sent where it is made.

    Each goes as one frame, its parts on a line each (JSON has no line breaks): what sends is at times interrupted,
    and half a message would spoil the next.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        # A signal handler of the user's may display something while something is sent.
        self._sending = threading.RLock()

    def send_multipart(self, parts: list[bytes], **_: Any) -> None:
        """Send one message. From any thread."""
        message = b"\n".join(parts)
        with self._sending:
            self._socket.send(message, 0, len(message) < COPY_MAX_BYTES)

    def wait_for_subscriber(self) -> None:
        """Wait until the agent listens: nothing that is said from here on is missed."""
        self._socket.recv()

    def stop(self) -> None:
        """Nothing to stop: there is no thread."""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class NoThread:
    """Stands where ipykernel has a thread for a channel: the main thread's loop serves the channel.

    Two hops from thread to thread are a fifth of what a short cell takes.
    """

    parent_thread = threading.main_thread()

    def __init__(self) -> None:
        self.io_loop = IOLoop.current()

    def __bool__(self) -> bool:
        """There is none."""
        return False

    def start(self) -> None:
        """Nothing to start."""


class StreamKernel(IPythonKernel):
    """The kernel of a sandbox: sends no text, survives what user code does to its streams."""

    _execute_sleep = 0
    _supports_kernel_subshells = False
    shell_class = Shell
    streams: Streams
    _process_id = os.getpid()

    def _publish_execute_input(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: the agent knows what it sent."""

    async def do_execute(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run a cell between a clean beginning and a flushed end."""
        self.streams.begin()
        try:
            return await super().do_execute(*args, **kwargs)
        finally:
            self.streams.end()
            if os.getpid() != self._process_id:
                # A bare os.fork(): two processes must not answer on one socket.
                os._exit(0)

    @contextlib.contextmanager
    def _cancel_on_sigint(self, future: asyncio.Future[Any]) -> Iterator[None]:
        """While a cell with top-level await runs: an interrupt ends it, whether it waits or computes.

        ipykernel's own asks the loop to cancel without waking it, so a cell that only waits would wait on.
        """
        loop = asyncio.get_running_loop()

        def interrupt(*_: object) -> None:
            if asyncio.current_task(loop) is future:
                raise KeyboardInterrupt
            loop.call_soon_threadsafe(future.cancel)

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class StreamKernelApp(IPKernelApp):
    """The application around it, without connection file, heartbeat, history and configuration files."""

    blocking_class = None  # a client, which would have to be imported

    def init_connection_file(self) -> None:
        """Nothing to do: the sockets' places are given."""

    def write_connection_file(self, **kwargs: Any) -> None:
        """Nothing to do: the agent knows the sockets' places."""

    def load_config_file(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: a broken file in the home folder must not stop the kernel."""

    def log_connection_info(self) -> None:
        """Nothing to do: nobody else may connect."""

    def init_heartbeat(self) -> None:
        """Nothing to do: the agent is the parent and is told when the process ends."""

    def init_control(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Bind the control channel, which the agent does not use, without a thread for it or for subshells."""
        self.control_socket = context.socket(zmq.ROUTER)
        self.control_port = self._bind_socket(self.control_socket, self.control_port)
        self.debugpy_socket = context.socket(zmq.STREAM)
        self.debug_shell_socket = context.socket(zmq.DEALER)
        self.control_thread = self.shell_channel_thread = NoThread()

    def init_iopub(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Bind iopub without a bound on its queue: a message that is dropped could be the end of a cell."""
        socket = context.socket(zmq.XPUB)
        socket.linger = 1000
        socket.sndhwm = 0
        self.iopub_port = self._bind_socket(socket, self.iopub_port)
        self.configure_tornado_logger()
        self.iopub_socket = self.iopub_thread = Publisher(socket)


def bound_rich_data(message: dict[str, Any]) -> dict[str, Any]:
    """Take what is over RICH_MAX_CHARS out of a display message, with a word on standard error."""
    data = message["content"].get("data", {})
    for mime in [mime for mime, value in data.items() if isinstance(value, str) and len(value) > RICH_MAX_CHARS]:
        sys.stderr.write(f"display: {mime} of {len(data[mime])} characters left out (limit {RICH_MAX_CHARS})\n")
        data[mime] = ""
    return message


def tolerant_pack(pack: Callable[[object], bytes]) -> Callable[[object], bytes]:
    """Make the session send text that is no valid Unicode too: an error's words must not hide the error."""

    def pack_any(content: object) -> bytes:
        try:
            return pack(content)
        except UnicodeEncodeError:
            return json.dumps(content, ensure_ascii=False, default=str).encode("utf-8", "replace")

    return pack_any


def load_package(name: str, folder: str) -> types.ModuleType:
    """Load the package in a folder under a name.

    Raises:
        ImportError: there is none.
    """
    source = os.path.join(folder, "__init__.py")  # noqa: PTH118
    spec = importlib.util.spec_from_file_location(name, source, submodule_search_locations=[folder])
    if spec is None or spec.loader is None:
        raise ImportError(f"{source} is no Python source")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_helpers() -> types.ModuleType | None:
    """Load the helpers from the folder that WORKBENCH_HELPERS names; without them there is still a kernel.

    By path and under a name of their own: what lies in the user's folders neither shadows them nor is shadowed.
    """
    folder = os.environ.get("WORKBENCH_HELPERS")
    if not folder:
        return None
    name = "workbench_helpers"
    try:
        module = load_package(name, folder)
    except Exception as error:  # noqa: BLE001 - the border to a folder that may hold anything
        sys.modules.pop(name, None)
        sys.stderr.write(f"the helpers in {folder} cannot be loaded: {type(error).__name__}: {error}\n")
        return None
    return module


def configuration(folder: str) -> Config:
    """All settings of the kernel application."""
    config = Config()
    app = config.StreamKernelApp
    app.transport, app.ip = "ipc", os.path.join(folder, "s")  # noqa: PTH118
    app.shell_port, app.iopub_port, app.stdin_port, app.control_port = 1, 2, 3, 4
    app.kernel_class = StreamKernel
    app.outstream_class = None
    app.auto_create = False
    app.log_level = "ERROR"
    config.Session.key = b""
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.separate_in = ""
    return config


def main() -> None:
    """Become the kernel for as long as the process lives: user code that stops the event loop stops one turn of it."""
    folder, ready_fd = sys.argv[1], int(sys.argv[2])
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.set_inheritable(ready_fd, False)
    sys.argv = [""]
    # The debugger is not offered, and importing it costs memory and start time.
    sys.modules["debugpy"] = sys.modules["debugpy.server"] = None  # type: ignore[assignment]
    warnings.filterwarnings("ignore", message="To exit: use 'exit'")
    StreamKernel.streams = Streams()
    helpers = load_helpers()
    if helpers is not None:
        Shell.helpers = helpers.FUNCTIONS
    app = StreamKernelApp.instance(config=configuration(folder))
    app.initialize([])
    if helpers is not None:
        app.kernel.shell.events.register("pre_run_cell", helpers.begin_cell)
    app.session.pack = tolerant_pack(app.session.pack)
    for publisher in (app.kernel.shell.display_pub, app.kernel.shell.displayhook):
        publisher.register_hook(bound_rich_data)
    del sys.modules["debugpy"], sys.modules["debugpy.server"]
    os.write(ready_fd, b"1")
    os.close(ready_fd)
    app.iopub_thread.wait_for_subscriber()
    app.start()
    while True:
        IOLoop.current().start()
