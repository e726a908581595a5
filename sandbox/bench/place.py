"""A controller of the bench's own: free port, temporary data folder, own installation; nothing is left of it."""

import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from sandbox import background
from sandbox.bench.wire import Wire
from sandbox.client import Client
from sandbox.config import ENV_PREFIX, RuntimeName, Settings
from sandbox.errors import InternalError

if TYPE_CHECKING:
    import subprocess

POOL_DEADLINE_S: Final = 120.0
CHILD_DEADLINE_S: Final = 10.0
POLL_S: Final = 0.02
_POOL_READY: Final = re.compile(r"^workbench_pool_ready (\S+)$", re.MULTILINE)


class Place:
    """Starts when entered; when left, the controller is ended and the sandboxes of its installation are removed.

    `more`: further settings.
    """

    def __init__(self, found: Settings, *, pool_size: int, more: Mapping[str, Any] | None = None) -> None:
        self.installation = f"bench-{secrets.token_hex(4)}"
        self.pool_size = pool_size
        self._more = dict(more or {})
        self._found = found
        self._key = secrets.token_urlsafe(24)
        self._folder = Path(tempfile.mkdtemp(prefix="workbench-bench-"))
        self._state = background.State(self._folder)
        self._child: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{_free_port()}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    @property
    def pid(self) -> int:
        """Process id of the controller.

        Raises:
            InternalError: it does not run any more.
        """
        pid = self._state.running_pid()
        if pid is None:
            raise InternalError("the controller of the bench ended", suggested_fix="Run `workbench doctor`.")
        return pid

    def wire(self) -> Wire:
        """Make a connection."""
        return Wire(self.url, self._key)

    def wait_for_pool(self) -> None:
        """Wait until the pool is full.

        Raises:
            InternalError: it is not, in time.
        """
        limit = time.monotonic() + POOL_DEADLINE_S
        with Client(self.url, self._key) as client:
            while (ready := _pool_ready(client.metrics())) < self.pool_size:
                if time.monotonic() > limit:
                    words = f"{ready} of {self.pool_size} pooled sandboxes after {POOL_DEADLINE_S:g} s"
                    raise InternalError(f"{words}. {background.last_lines(self._state)}")
                time.sleep(POLL_S)

    def _start(self) -> None:
        found = self._found
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.url.rpartition(":")[2],
            "public_url": "",
            "data_dir": self._folder,
            "database_url": "",
            "api_keys": self._key,
            "installation": self.installation,
            "pool_size": self.pool_size,
            "max_memory_bytes": 1 << 40,  # a bench's sandboxes use a fraction of their limits
            "runtime": found.runtime.value,
            "unsafe": str(found.unsafe).lower(),
            "image": found.image,
            "log_level": "warning",
            "on_shutdown": "remove",
            **self._more,
        }
        environment = {f"{ENV_PREFIX}{name.upper()}": str(value) for name, value in values.items()}
        self._child = background.start(self._state, [], environment)
        with Client(self.url, self._key) as client:
            background.wait_until_ready(self._state, client)

    def _clear(self) -> None:
        background.stop(self._state)
        if self._child is not None:
            self._child.wait(CHILD_DEADLINE_S)
        if self._found.runtime is RuntimeName.DOCKER:
            from sandbox.bench.engine import remove_installation  # noqa: PLC0415

            remove_installation(self._found, self.installation)
        shutil.rmtree(self._folder, ignore_errors=True)


def _pool_ready(metrics: str) -> int:
    found = _POOL_READY.search(metrics)
    return int(float(found.group(1))) if found else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
