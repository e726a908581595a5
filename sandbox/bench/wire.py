"""The bench's HTTP client: the standard library's, one connection kept alive. It costs little itself."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from sandbox.client import BASH_TOOL, WORKBENCH_TOOL
from sandbox.errors import InternalError

TIMEOUT_S: Final = 600.0


class Wire:
    """One connection to one controller."""

    def __init__(self, url: str, api_key: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
        self._headers = {"x-api-key": api_key, "content-type": "application/json"}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def refresh(self) -> None:
        """Open the connection anew and use it once: the server closes those that were idle for some seconds."""
        self._connection.close()
        self._ask("GET", "/healthz", None)

    def code(self, session: str, code: str, timeout: float | None = None) -> dict[str, Any]:
        """Run Python by the workbench tool; give its `data`. `timeout`: seconds; None: the tool's default."""
        more = {} if timeout is None else {"timeout": timeout}
        return self._tool(WORKBENCH_TOOL, {"session_id": session, "code_to_execute": code, **more})

    def bash(self, session: str, command: str) -> dict[str, Any]:
        """Run a command by the bash tool; give its `data`."""
        return self._tool(BASH_TOOL, {"session_id": session, "command": command})

    def delete(self, session: str) -> None:
        """Delete a session."""
        self._ask("DELETE", f"/v1/sessions/{session}", None)

    def _tool(self, slug: str, arguments: dict[str, Any]) -> dict[str, Any]:
        answer = self._ask("POST", f"/api/v3/tools/execute/{slug}", {"arguments": arguments})
        if not answer["successful"]:
            raise InternalError(f"the bench got an answer that failed: {answer['error']}")
        data: dict[str, Any] = answer["data"]
        return data

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            self._connection.request(method, path, json.dumps(body) if body is not None else None, self._headers)
            response = self._connection.getresponse()
            raw = response.read()
        except (OSError, HTTPException) as error:
            raise InternalError(f"the bench lost its connection at {path}: {error!r}") from error
        if response.status >= 400:
            raise InternalError(f"the bench got HTTP {response.status} from {path}: {raw[:500]!r}")
        answer: dict[str, Any] = json.loads(raw) if raw else {}
        return answer
