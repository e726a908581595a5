"""MCP over HTTP as it is on the wire: messages and events without the SDK."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

ACCEPT = {"accept": "application/json, text/event-stream"}
VERSION = "2025-11-25"


def message(method: str, params: dict[str, Any] | None = None, *, number: int | None = 1) -> dict[str, Any]:
    """A request, or a notification when `number` is None."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        body["params"] = params
    return body if number is None else {**body, "id": number}


def initialize(version: str = VERSION) -> dict[str, Any]:
    """The request that opens a connection."""
    info = {"name": "test", "version": "1"}
    return message("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": info}, number=0)


def call(tool: str, arguments: dict[str, Any], *, number: int = 1, token: str | None = None) -> dict[str, Any]:
    """The call of a tool."""
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    return message("tools/call", params, number=number)


def messages_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The messages of an answer: the one of its body, or those of its events."""
    if response.headers["content-type"].startswith("application/json"):
        return [response.json()]
    return [json.loads(data) for _, data in events_in(response.text.splitlines()) if data]


def events_in(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Id and data of each event."""
    event_id, data = "", ""
    for line in [*lines, ""]:
        name, _, value = line.partition(":")
        if name == "id":
            event_id = value.strip()
        elif name == "data":
            data += value.strip()
        elif not line and (event_id or data):
            yield event_id, data
            event_id, data = "", ""


async def events_of(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any] | None]]:
    """Id and message of each event as it comes."""
    lines: list[str] = []
    async for line in response.aiter_lines():
        lines.append(line)
        if not line:
            for event_id, data in events_in(lines):
                yield event_id, json.loads(data) if data else None
            lines = []


def connect(client: httpx.Client, path: str, version: str = VERSION) -> dict[str, str]:
    """Open a connection; the headers of what follows."""
    response = client.post(path, json=initialize(version), headers=ACCEPT)
    assert response.status_code == 200, response.text
    headers = {**ACCEPT, "mcp-session-id": response.headers["mcp-session-id"], "mcp-protocol-version": version}
    said = client.post(path, json=message("notifications/initialized", number=None), headers=headers)
    assert said.status_code == 202, said.text
    assert not said.content
    return headers
