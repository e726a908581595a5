"""A thin client of our own HTTP face: for the command line, the demonstration and the bench.

Blocking, one connection kept alive. It knows addresses and field names and nothing else.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

import httpx

from sandbox.errors import ConfigurationError, WorkbenchError

WORKBENCH_TOOL: Final = "COMPOSIO_REMOTE_WORKBENCH"
BASH_TOOL: Final = "COMPOSIO_REMOTE_BASH_TOOL"

CONNECT_TIMEOUT_S: Final = 5.0
SHORT_TIMEOUT_S: Final = 60.0
"""For requests that run no code. Deleting a session and restarting a kernel wait for the engine."""

EXECUTE_SLACK_S: Final = 180.0
"""An answer may take this much longer than the code: a sandbox may have to start, earlier code to end."""

SILENCE_MAX_S: Final = 60.0
"""A live stream that says nothing for this long is opened again where it stopped."""

RECONNECT_S: Final = 30.0
"""For how long a live stream is opened again without one event: a controller that is started anew takes seconds."""


class ControllerUnreachable(WorkbenchError):
    """Nothing answers at the URL."""

    slug, code = "Client_ControllerUnreachable", 1801


class RequestRefused(WorkbenchError):
    """The controller answered with an error. `http_status` is the status of its answer."""

    slug, code = "Client_RequestRefused", 1802

    def __init__(self, message: str, *, http_status: int, suggested_fix: str | None = None) -> None:
        super().__init__(message, suggested_fix=suggested_fix)
        self.http_status = http_status


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """The answer of a tool as it is on the wire. `data` has the tool's fields; `error` is one line or None."""

    successful: bool
    error: str | None
    data: Mapping[str, Any]
    log_id: str = ""

    def text(self, name: str) -> str:
        """Give a text field of `data`; empty when it is not there."""
        return str(self.data.get(name) or "")

    @property
    def execution(self) -> Mapping[str, Any]:
        """How it ended: `ending`, `action`, `variables`, `files`, `duration_ms`, ..."""
        found = self.data.get("execution")
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event. `id` counts from 1 within an execution; `name` is its kind, `data` its fields."""

    id: int
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Client:
    """Calls a controller at `url` (no slash at its end) with an API key. Use it as a context manager.

    Raises:
        ConfigurationError: `url` is no URL.
    """

    retry_pause_s: ClassVar[float] = 0.5
    reconnect_s: ClassVar[float] = RECONNECT_S

    def __init__(self, url: str, api_key: str) -> None:
        self.url = _checked(url).rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers={"x-api-key": api_key},
            timeout=httpx.Timeout(SHORT_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # A proxy of the environment is for the world outside, not for our own controller.
            trust_env=False,
            # Without TLS no certificate is looked at, and to read all of the machine's takes longer than most calls.
            verify=httpx.URL(self.url).scheme != "http",
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    # --- tools ---------------------------------------------------------------------------------------

    def run_code(self, code: str, *, session: str, timeout_s: float) -> ToolAnswer:
        """Run Python by the workbench tool and wait for its answer.

        Raises:
            ControllerUnreachable, RequestRefused: there is no answer of the tool.
        """
        return self._tool(WORKBENCH_TOOL, {"code_to_execute": code}, session=session, timeout_s=timeout_s)

    def run_bash(self, command: str, *, session: str, timeout_s: float) -> ToolAnswer:
        """Run a command by the bash tool and wait for its answer. Raises: as `run_code`."""
        return self._tool(BASH_TOOL, {"command": command}, session=session, timeout_s=timeout_s)

    def _tool(self, slug: str, arguments: dict[str, Any], *, session: str, timeout_s: float) -> ToolAnswer:
        body = {"arguments": {**arguments, "session_id": session, "timeout": timeout_s}}
        answer = self._ask("POST", f"/api/v3/tools/execute/{slug}", body, timeout_s=timeout_s + EXECUTE_SLACK_S)
        return ToolAnswer(
            bool(answer.get("successful")), answer.get("error"), answer.get("data") or {}, str(answer.get("log_id", ""))
        )

    # --- executions ----------------------------------------------------------------------------------

    def start(self, session: str, body: Mapping[str, str], *, timeout_s: float) -> str:
        """Start an execution (`{"code": ...}` or `{"command": ...}`) and give its id at once. Raises: as `run_code`."""
        path = f"/v1/sessions/{self.segment(session, make=True)}/executions"
        answer = self._ask("POST", path, {**body, "timeout": timeout_s})
        return str(answer["execution_id"])

    def execution(self, execution_id: str) -> dict[str, Any]:
        """Say how an execution is, or how it ended. Raises: as `run_code`."""
        return self._ask("GET", f"/v1/executions/{execution_id}")

    def follow(
        self, execution_id: str, after: int = 0, *, waits: Callable[[str], None] | None = None
    ) -> Iterator[ServerEvent]:
        """Give events after number `after` as they come; the last one is `ended`.

        A stream that breaks off or falls silent is opened again where it stopped. `waits` is told when the controller
        is gone, once each time.

        Raises:
            ControllerUnreachable: it could not be opened again for `reconnect_s`.
            RequestRefused: there is no such execution for this key.
        """
        limit: float | None = None
        while True:
            try:
                for event in self._events(execution_id, after):
                    after, limit = max(after, event.id), None
                    yield event
                    if event.name == "ended":
                        return
                reason = "the stream ended before the execution did"
            except httpx.ReadTimeout:
                continue
            except httpx.TransportError as error:
                reason = str(error) or type(error).__name__
            if limit is None:
                limit = time.monotonic() + self.reconnect_s
                if waits is not None:
                    waits(f"the controller at {self.url} does not answer; waiting up to {self.reconnect_s:g} s for it")
            elif time.monotonic() > limit:
                raise _lost(self.url, reason, execution_id)
            time.sleep(self.retry_pause_s)

    def _events(self, execution_id: str, after: int) -> Iterator[ServerEvent]:
        headers = {"accept": "text/event-stream"}
        if after:
            headers["last-event-id"] = str(after)
        timeout = httpx.Timeout(SILENCE_MAX_S, connect=CONNECT_TIMEOUT_S)
        path = f"/v1/executions/{execution_id}/events"
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.is_error:
                response.read()
                raise _refused(response)
            yield from parse_events(response.iter_lines())

    def interrupt_execution(self, execution_id: str) -> dict[str, Any]:
        """Tell one execution to stop. Raises: as `run_code`."""
        return self._ask("POST", f"/v1/executions/{execution_id}/interrupt")

    # --- sessions ------------------------------------------------------------------------------------

    def sessions(self) -> list[dict[str, Any]]:
        """List this key's sessions, all pages. Raises: as `run_code`."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = self._ask("GET", "/v1/sessions", query={"after": after} if after else None)
            found += page["items"]
            after = page.get("next_cursor")
            if not after:
                return found

    def session(self, session: str) -> dict[str, Any]:
        """Say how one session is; `session` is its id or its label. Raises: as `run_code`."""
        return self._ask("GET", f"/v1/sessions/{self.segment(session)}")

    def calls(self, session: str, *, limit: int) -> list[dict[str, Any]]:
        """List the last helper calls of a session, newest first. Raises: as `run_code`."""
        page = self._ask("GET", f"/v1/sessions/{self.segment(session)}/calls", query={"limit": str(limit)})
        found: list[dict[str, Any]] = page["items"]
        return found

    def files(self, session: str, *, prefix: str = "") -> Iterator[dict[str, Any]]:
        """Give the files of a session whose path begins with `prefix`, page by page. Raises: as `run_code`."""
        query = {"limit": "500", "prefix": prefix}
        while True:
            page = self._ask("GET", f"/v1/sessions/{self.segment(session)}/files", query=query)
            yield from page["items"]
            if "next_cursor" not in page:
                return
            query["cursor"] = page["next_cursor"]

    def delete_session(self, session: str) -> dict[str, Any]:
        """Delete a session with its sandbox and files. Raises: as `run_code`."""
        return self._ask("DELETE", f"/v1/sessions/{self.segment(session)}")

    def interrupt(self, session: str) -> dict[str, Any]:
        """Tell all executions of a session to stop. Raises: as `run_code`."""
        return self._ask("POST", f"/v1/sessions/{self.segment(session)}/interrupt")

    def restart_kernel(self, session: str) -> dict[str, Any]:
        """Start a session's kernel anew; variables are lost. Raises: as `run_code`."""
        return self._ask("POST", f"/v1/sessions/{self.segment(session)}/restart_kernel")

    def segment(self, session: str, *, make: bool = False) -> str:
        """Give what stands for a session in a path: a label that is no segment of one goes by its session's id.

        `make`: have a session of such a label made where there is none. Raises: as `run_code`.
        """
        if "/" not in session and session not in {"", ".", ".."}:
            return quote(session, safe="")
        for each in self.sessions():
            if each["label"] == session:
                return str(each["session_id"])
        if make:
            return str(self._ask("POST", "/v1/sessions", {"label": session})["session_id"])
        raise RequestRefused(
            f"no session {session!r}", http_status=httpx.codes.NOT_FOUND, suggested_fix="See `workbench sessions`."
        )

    # --- the controller ------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether a controller answers and can take sessions now."""
        try:
            return self._http.get("/readyz", timeout=CONNECT_TIMEOUT_S).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def alive(self) -> bool:
        """Whether a controller answers at all."""
        try:
            return self._http.get("/healthz", timeout=CONNECT_TIMEOUT_S).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def metrics(self) -> str:
        """Give the text of `/metrics`. Raises: as `run_code`."""
        return self._send("GET", "/metrics", None, None, SHORT_TIMEOUT_S).text

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        timeout_s: float = SHORT_TIMEOUT_S,
    ) -> dict[str, Any]:
        response = self._send(method, path, body, query, timeout_s)
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
        timeout_s: float,
    ) -> httpx.Response:
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        try:
            response = self._http.request(method, path, json=body, params=query, timeout=timeout)
        except httpx.TimeoutException as error:
            raise ControllerUnreachable(f"The controller at {self.url} did not answer {path} in time") from error
        except httpx.TransportError as error:
            raise _unreachable(self.url, str(error)) from error
        if response.is_error:
            raise _refused(response)
        return response


def parse_events(lines: Iterator[str]) -> Iterator[ServerEvent]:
    """Read the lines of a server-sent event stream; comments and fields that we do not know are left out."""
    values: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            values[name] = f"{values[name]}\n{value}" if name == "data" and name in values else value
        elif values:
            if "data" in values:
                data = json.loads(values["data"])
                yield ServerEvent(int(values.get("id") or 0), values.get("event", "message"), data)
            values = {}


def _checked(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise ConfigurationError(
            f"{url!r} is no URL of a controller", suggested_fix="Write it like http://127.0.0.1:8380 (WORKBENCH_URL)."
        )
    return url


def _unreachable(url: str, reason: str) -> ControllerUnreachable:
    return ControllerUnreachable(
        f"No controller answers at {url} ({reason})",
        suggested_fix="Start one with `workbench serve`, or see the whole thing with `make demo`.",
    )


def _lost(url: str, reason: str, execution_id: str) -> ControllerUnreachable:
    return ControllerUnreachable(
        f"The controller at {url} went away while {execution_id} ran ({reason})",
        suggested_fix="Start it again with `workbench serve`: it finds what still runs in its sandboxes. "
        f"How this ended is at {url}/v1/executions/{execution_id}.",
    )


def _refused(response: httpx.Response) -> RequestRefused:
    """Read the error envelope; an answer without one is not of a controller of ours."""
    try:
        error = response.json()["error"]
        message, fix = str(error["message"]), error.get("suggested_fix")
    except (ValueError, KeyError, TypeError):
        message, fix = f"HTTP {response.status_code} {response.reason_phrase}, not from a workbench controller", None
    return RequestRefused(message, http_status=response.status_code, suggested_fix=fix)
