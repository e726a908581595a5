"""A Composio-compatible tool backend: the direct road, the catalogue, connected accounts and the proxy."""

from collections.abc import Callable
from typing import Any, Final

from tests.support.faulty_server import FaultyServer, Reply, Seen, json_reply

KEY: Final = "ak_a-backend-key-nobody-may-see"
PREFIX: Final = "/api/v3.1"

Tool = Callable[[dict[str, Any]], Any]
"""Gives the data of its answer for its arguments; what it raises is the tool's error."""


def _echo(arguments: dict[str, Any]) -> Any:
    return {"echo": arguments}


def _fail(arguments: dict[str, Any]) -> Any:
    raise ValueError(f"the tool could not: {arguments}")


class ComposioBackend(FaultyServer):
    """Runs `tools`; `accounts` are the connected ones, by toolkit and user. Counts what each tool ran.

    `failure`: what a tool that fails says instead of its own words.
    """

    def __init__(self, key: str = KEY) -> None:
        super().__init__()
        self.key = key
        self.tools: dict[str, Tool] = {"TEST_ECHO": _echo, "TEST_FAIL": _fail}
        self.accounts: dict[tuple[str, str], str] = {("github", "default"): "ca_github_1"}
        self.executed: list[tuple[str, dict[str, Any]]] = []
        self.proxied: list[dict[str, Any]] = []
        self.failure: Any = None
        self.proxy_answer: dict[str, Any] = {
            "status": 200,
            "data": {"login": "octocat"},
            "headers": {"Content-Type": "application/json"},
        }

    async def answer(self, request: Seen) -> Reply:
        if request.headers.get("x-api-key") != self.key:
            return _error(401, "Invalid API key", "APIKey_Invalid")
        path = request.path.removeprefix(PREFIX)
        if request.method == "POST" and path == "/tools/execute/proxy":
            return self._proxy(request.json)
        if request.method == "POST" and path.startswith("/tools/execute/"):
            return self._execute(path.rpartition("/")[2], request.json)
        if path == "/tools":
            return self._tools(dict(request.query))
        if path == "/connected_accounts":
            return self._accounts(dict(request.query))
        return _error(404, f"Route {path} not found", "Route_NotFound")

    def _execute(self, slug: str, body: dict[str, Any]) -> Reply:
        if slug not in self.tools:
            return _error(404, f"Tool {slug} not found", "Tool_ToolNotFound")
        self.executed.append((slug, body))
        try:
            data = self.tools[slug](body["arguments"])
        except ValueError as error:
            said = str(error) if self.failure is None else self.failure
            return json_reply({"data": {}, "error": said, "successful": False, "log_id": "log_f"})
        return json_reply({"data": data, "error": None, "successful": True, "log_id": "log_1", "session_info": None})

    def _tools(self, query: dict[str, str]) -> Reply:
        asked = query["tool_slugs"].split(",") if "tool_slugs" in query else list(self.tools)
        items = [_item(slug) for slug in asked if slug in self.tools][: int(query.get("limit", 20))]
        return json_reply({"items": items, "next_cursor": None, "total_pages": 1, "current_page": 1})

    def _accounts(self, query: dict[str, str]) -> Reply:
        account = self.accounts.get((query.get("toolkit_slugs", ""), query.get("user_ids", "")))
        items = [] if account is None else [{"id": account, "status": "ACTIVE", "user_id": query["user_ids"]}]
        return json_reply({"items": items, "next_cursor": None, "total_pages": 1})

    def _proxy(self, body: dict[str, Any]) -> Reply:
        if body["connected_account_id"] not in self.accounts.values():
            return _error(404, "Connected account not found", "ConnectedAccount_ResourceNotFound")
        self.proxied.append(body)
        return json_reply(self.proxy_answer)


def _item(slug: str) -> dict[str, Any]:
    return {
        "slug": slug,
        "name": slug.title(),
        "description": f"Does {slug}",
        "toolkit": {"slug": "test", "name": "Test", "logo": ""},
        "input_parameters": {"type": "object", "properties": {}},
        "output_parameters": {"type": "object"},
        "tags": ["important"],
        "no_auth": True,
        "version": "00000000_00",
    }


def _error(status: int, message: str, slug: str) -> Reply:
    error = {"message": message, "code": 1000 + status, "slug": slug, "status": status, "request_id": "req_1"}
    return json_reply({"error": error}, status)
