"""The application around the kernel: its sockets and its settings."""

# ipykernel and IPython are only partly annotated.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import os
import threading
from typing import Any

import zmq
from ipykernel.kernelapp import IPKernelApp
from tornado.ioloop import IOLoop
from traitlets.config import Config

from .kernel import StreamKernel
from .outgoing import Publisher


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
