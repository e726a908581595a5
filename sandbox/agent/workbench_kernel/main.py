"""Becomes the kernel.

Arguments: FOLDER READY_FD. The kernel's sockets are made in FOLDER (`s-1` shell, `s-2` iopub, `s-3` stdin, `s-4`
control). One byte is written to READY_FD when they are bound.
"""

# ipykernel and IPython are only partly annotated.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import warnings

from tornado.ioloop import IOLoop

from .app import StreamKernelApp, configuration
from .helpers import load_helpers
from .kernel import StreamKernel
from .outgoing import bound_rich_data, tolerant_pack
from .shell import Shell
from .streams import Streams

PR_SET_PDEATHSIG = 1


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
