"""An MCP server behind HTTP that does what none should: it repeats what it was sent, says too much, or floods."""

import asyncio
from dataclasses import replace
from typing import Any, Final

import msgspec

from tests.support.faulty_server import FaultyServer, Reply, Seen, json_reply

_CHANGED: Final = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n'
_PING: Final = b'data: {"jsonrpc":"2.0","id":1,"method":"ping"}\n\n'
_EVENTS: Final = {"content-type": "text/event-stream"}
_SESSION: Final = "mcp-session-id"
_TOOL: Final = {"name": "repeat", "description": "Repeat the headers", "inputSchema": {"type": "object"}}


class OddMcpServer(FaultyServer):
    """`tools`: what it lists. `restless`: it says that they changed whenever they are listed. `pings`: at once.

    `session`: what it calls its sessions. `clings`: it never answers to the end of one. `pages`: of
    its list, the others with a tool like the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tools: Any = [_TOOL]
        self.restless = False
        self.pings = 0
        self.session: str | None = None
        self.clings = False
        self.pages = 1
        self.ending = asyncio.Event()

    def count(self, method: str) -> int:
        """How often something was asked for; the empty text: answers to what it asked."""
        return sum(request.json.get("method", "") == method for request in self.seen if request.method == "POST")

    async def answer(self, request: Seen) -> Reply:
        if request.method == "GET":
            return Reply(200, _PING * self.pings, _EVENTS) if self.pings else Reply(405)
        if request.method == "DELETE" and self.clings:
            self.ending.set()
            await asyncio.Event().wait()
        if request.method != "POST" or "id" not in request.json or "method" not in request.json:
            return Reply(202)
        said = {"jsonrpc": "2.0", "id": request.json["id"], "result": self._result(request)}
        if self.restless and request.json["method"] == "tools/list":
            return Reply(200, _CHANGED + b"data: " + msgspec.json.encode(said) + b"\n\n", _EVENTS)
        reply = json_reply(said)
        return reply if self.session is None else replace(reply, headers={**reply.headers, _SESSION: self.session})

    def _result(self, request: Seen) -> Any:
        match request.json["method"]:
            case "initialize":
                info = {"name": "odd", "version": "1"}
                return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            case "tools/list":
                page = int((request.json.get("params") or {}).get("cursor", 0)) + 1
                more = {"nextCursor": str(page)} if page < self.pages else {}
                return {"tools": self.tools if page == 1 else [{**_TOOL, **self.tools[0], "name": f"t{page}"}], **more}
            case "tools/call":
                text = msgspec.json.encode(request.headers).decode()
                return {"content": [{"type": "text", "text": text}], "structuredContent": request.headers}
        return {}
