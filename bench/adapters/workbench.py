"""Workbench: controllers of the bench's own, asked over HTTP; each session is a container."""

import itertools
import json
import os
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from bench.adapters.base import Result, TimedOut, descendants, resident_mb
from bench.adapters.probes import AT_ONCE, TIMEOUT_S
from bench.adapters.serve import serve
from sandbox import __version__
from sandbox.bench.engine import EngineView
from sandbox.bench.place import Place
from sandbox.client import BASH_TOOL, WORKBENCH_TOOL
from sandbox.config import RuntimeName, load_settings

HTTP_SLACK_S = 30.0


class OpenPlace(Place):
    """A controller that more than one connection may be made to."""

    def connect(self, timeout_s: float) -> "Connection":
        """Make a connection that is kept open."""
        return Connection(self.url, self._key, timeout_s)


class Connection:
    """One HTTP connection."""

    def __init__(self, url: str, key: str, timeout_s: float) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=timeout_s)
        self._headers = {"x-api-key": key, "content-type": "application/json"}

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and read its answer."""
        self._connection.request(method, path, json.dumps(body) if body is not None else None, self._headers)
        response = self._connection.getresponse()
        raw = response.read()
        if response.status >= 400:
            raise OSError(f"HTTP {response.status} from {path}: {raw[:300]!r}")
        answer: dict[str, Any] = json.loads(raw) if raw else {}
        return answer

    def refresh(self) -> None:
        """Open it anew: the server closes those that were idle for some seconds."""
        self._connection.close()

    def close(self) -> None:
        """Close it."""
        self._connection.close()


class WorkbenchSession:
    """A label and a connection; the sandbox is made or claimed by the first call."""

    def __init__(self, place: OpenPlace, engine: EngineView, label: str, timeout_s: int) -> None:
        self._place = place
        self._engine = engine
        self._label = label
        self._timeout_s = timeout_s
        self._connection = place.connect(timeout_s + HTTP_SLACK_S)

    def run(self, code: str) -> Result:
        """Run it by the workbench tool; output over the inline limit is counted in its file."""
        answer = self._tool(WORKBENCH_TOOL, {"code_to_execute": code, "timeout": self._timeout_s})
        data = answer["data"]
        if data["execution"]["ending"] == "timed_out":
            raise TimedOut
        text = data["stdout"] + data["stderr"] + data["error"]
        path = data.get("stdout_file_path")
        return Result(text, not answer["successful"], self._size(path) if path else None)

    def bash(self, command: str) -> None:
        """Run it by the bash tool."""
        self._tool(BASH_TOOL, {"command": command})

    def recover(self) -> str:
        """Interrupt the session."""
        self._connection.ask("POST", f"/v1/sessions/{self._label}/interrupt", {})
        return "interrupts"

    def memory(self) -> tuple[float, str]:
        """Agent and kernel; the remark has what the engine counts, and the controller."""
        (container,) = self._engine.containers(self._place.installation)
        agent = self._engine.first_process(container)
        megabytes = resident_mb([agent, *descendants(agent)])
        counted = self._engine.memory_mb(container)
        server = resident_mb([self._place.pid])
        return megabytes, f"agent and kernel; by `docker stats` {counted:.0f} MB; controller {server:.0f} MB for all"

    def close(self) -> None:
        """Delete the session."""
        self._connection.refresh()
        self._connection.ask("DELETE", f"/v1/sessions/{self._label}")
        self._connection.close()

    def _tool(self, slug: str, arguments: dict[str, Any]) -> dict[str, Any]:
        body = {"arguments": {**arguments, "session_id": self._label}}
        return self._connection.ask("POST", f"/api/v3/tools/execute/{slug}", body)

    def _size(self, path: str) -> int:
        data = self._tool(BASH_TOOL, {"command": f"wc -c < {path}; rm -f {path}"})["data"]
        return int(data["stdout"])


class PooledSession(WorkbenchSession):
    """One whose controller refills its pool before the next peer is asked."""

    def close(self) -> None:
        """Delete the session; wait for the pool."""
        super().close()
        self._place.wait_for_pool()


class Workbench:
    """Two controllers: without a pool, and with one."""

    def __init__(self) -> None:
        found = load_settings()
        if found.runtime is not RuntimeName.DOCKER:
            raise SystemExit("workbench is measured with the docker runtime only")
        self.versions = {"workbench": __version__}
        self._engine = EngineView(found)
        self._labels = itertools.count()
        self._bare = OpenPlace(found, pool_size=0)
        self._pooled = OpenPlace(found, pool_size=AT_ONCE)
        self.installations = [self._bare.installation, self._pooled.installation]
        with ExitStack() as stack:
            stack.callback(self._engine.close)
            stack.enter_context(self._bare)
            stack.enter_context(self._pooled)
            self._pooled.wait_for_pool()
            self._open = stack.pop_all()

    def open(self, timeout_s: int) -> WorkbenchSession:
        """Name a new session of the controller without a pool."""
        return WorkbenchSession(self._bare, self._engine, self._label(), timeout_s)

    def open_pooled(self) -> PooledSession:
        """Name a new session of the controller with a pool."""
        return PooledSession(self._pooled, self._engine, self._label(), TIMEOUT_S)

    def close(self) -> None:
        """End both controllers; their containers are removed."""
        self._open.close()

    def _label(self) -> str:
        return f"peers-{os.getpid()}-{next(self._labels)}"


if __name__ == "__main__":
    serve(Workbench)
