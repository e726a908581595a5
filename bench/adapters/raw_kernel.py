"""jupyter_client alone: its blocking client and a default ipykernel, a process of this machine."""

import os
import queue
import time
from importlib.metadata import version
from typing import Any

from jupyter_client.manager import KernelManager

from bench.adapters.base import Cannot, Result, TimedOut, command_line, descendants, resident_mb
from bench.adapters.serve import serve

READY_S = 60.0


class RawSession:
    """A kernel and its client."""

    def __init__(self, timeout_s: int) -> None:
        self._timeout_s = timeout_s
        self._manager = KernelManager()
        self._manager.start_kernel()
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=READY_S)

    def run(self, code: str) -> Result:
        """Wait for the reply and for `idle`."""
        limit = time.monotonic() + self._timeout_s
        message = self._client.execute(code)
        texts: list[str] = []
        failed = False
        while True:
            kind, content = self._next(self._client.get_iopub_msg, message, limit)
            if kind == "stream":
                texts.append(content["text"])
            elif kind == "error":
                failed = True
                texts.append("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                break
        self._next(self._client.get_shell_msg, message, limit)
        return Result("".join(texts), failed)

    def bash(self, command: str) -> None:
        """There is none."""
        raise Cannot(f"no shell (`!{command}` in a cell)")

    def recover(self) -> str:
        """SIGINT to the kernel."""
        self._manager.interrupt_kernel()
        return "interrupts"

    def memory(self) -> tuple[float, str]:
        """Of the kernel."""
        kernels = [pid for pid in descendants(os.getpid()) if self._manager.connection_file in command_line(pid)]
        return resident_mb(kernels), "kernel"

    def close(self) -> None:
        """Kill the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def _next(self, get: Any, message: str, limit: float) -> tuple[str, dict[str, Any]]:
        """Give kind and content of the next message about `message`."""
        while True:
            try:
                said = get(timeout=max(0.0, limit - time.monotonic()))
            except queue.Empty as error:
                raise TimedOut from error
            if said["parent_header"].get("msg_id") == message:
                return said["msg_type"], said["content"]


class RawKernels:
    """The library has no server: each session is its own."""

    def __init__(self) -> None:
        self.versions = {name: version(name) for name in ("jupyter_client", "ipykernel")}
        self.installations: list[str] = []

    def open(self, timeout_s: int) -> RawSession:
        """Start a kernel."""
        return RawSession(timeout_s)

    def open_pooled(self) -> RawSession:
        """There is no pool."""
        raise Cannot("no pool")

    def close(self) -> None:
        """Nothing is left."""


if __name__ == "__main__":
    serve(RawKernels)
