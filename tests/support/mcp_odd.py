"""An MCP server behind HTTP that does what none should: it repeats what it was sent, says too much, or floods."""

from typing import Any, Final

import msgspec

from tests.support.faulty_server import FaultyServer, Reply, Seen, json_reply

_CHANGED: Final = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n'
_PING: Final = b'data: {"jsonrpc":"2.0","id":1,"method":"ping"}\n\n'
_EVENTS: Final = {"content-type": "text/event-stream"}
_TOOL: Final = {"name": "repeat", "description": "Repeat the headers", "inputSchema": {"type": "object"}}


class OddMcpServer(FaultyServer):
    """`tools`: what it lists. `restless`: it says that they changed whenever they are listed. `pings`: at once."""

    def __init__(self) -> None:
        super().__init__()
        self.tools: Any = [_TOOL]
        self.restless = False
        self.pings = 0

    def count(self, method: str) -> int:
        """How often something was asked for; the empty text: answers to what it asked."""
        return sum(request.json.get("method", "") == method for request in self.seen if request.method == "POST")

    async def answer(self, request: Seen) -> Reply:
        if request.method == "GET":
            return Reply(200, _PING * self.pings, _EVENTS) if self.pings else Reply(405)
        if request.method != "POST" or "id" not in request.json or "method" not in request.json:
            return Reply(202)
        said = {"jsonrpc": "2.0", "id": request.json["id"], "result": self._result(request)}
        if self.restless and request.json["method"] == "tools/list":
            return Reply(200, _CHANGED + b"data: " + msgspec.json.encode(said) + b"\n\n", _EVENTS)
        return json_reply(said)

    def _result(self, request: Seen) -> Any:
        match request.json["method"]:
            case "initialize":
                info = {"name": "odd", "version": "1"}
                return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            case "tools/list":
                return {"tools": self.tools}
            case "tools/call":
                text = msgspec.json.encode(request.headers).decode()
                return {"content": [{"type": "text", "text": text}], "structuredContent": request.headers}
        return {}
