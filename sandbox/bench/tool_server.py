"""The servers whose tools the bench calls: a Composio-compatible backend, and an MCP server made with the SDK's own.

`python -m sandbox.bench.tool_server composio DESCRIPTOR`, or `mcp`: the descriptor of a socket that listens. Both have
one tool, `echo`, which gives its arguments back. The backend answers `GET /ledger` with what it ran.
"""

import asyncio
import socket
import sys
from typing import Any, Final, cast

import httptools
import msgspec

TOOLKIT: Final = "bench"
SLUG: Final = "BENCH_ECHO"

_NOT_FOUND: Final = b'{"error":{"message":"no such route","slug":"Route_NotFound","status":404}}'


class _Call(msgspec.Struct):
    arguments: dict[str, Any]


_call: Final = msgspec.json.Decoder(_Call)


class Ledger:
    """Counts what was run, by the number `n` among the arguments; `again`: with a number that was there before."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.again = 0

    def note(self, number: int) -> None:
        """Count a call."""
        self.again += number in self.numbers
        self.numbers.add(number)

    def said(self) -> dict[str, int]:
        """Give the counts, and begin anew."""
        said = {"calls": len(self.numbers) + self.again, "again": self.again}
        self.numbers.clear()
        self.again = 0
        return said


class ComposioProtocol(asyncio.Protocol):
    """One connection that is kept alive: requests one after the other, the answer written in one piece."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request; what is no HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.abort()

    def on_url(self, url: bytes) -> None:
        """Begin a request."""
        self._url = url
        self._body.clear()

    def on_body(self, body: bytes) -> None:
        """Take a piece of its body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer it."""
        status, body = self._answer()
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        if self._transport is not None:
            self._transport.write(head + body)

    def _answer(self) -> tuple[bytes, bytes]:
        if self._url == b"/ledger":
            return b"200 OK", msgspec.json.encode(self._ledger.said())
        if not self._url.endswith(f"/tools/execute/{SLUG}".encode()):
            return b"404 Not Found", _NOT_FOUND
        arguments = _call.decode(self._body).arguments
        self._ledger.note(arguments["n"])
        answer = {"data": arguments, "error": None, "successful": True, "log_id": "log_bench", "session_info": None}
        return b"200 OK", msgspec.json.encode(answer)


async def _serve_composio(listening: socket.socket) -> None:
    ledger = Ledger()
    server = await asyncio.get_running_loop().create_server(lambda: ComposioProtocol(ledger), sock=listening)
    await server.serve_forever()


async def _serve_mcp(listening: socket.socket) -> None:
    import uvicorn  # noqa: PLC0415 - for this server alone
    from mcp.server.lowlevel import Server  # noqa: PLC0415
    from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool  # noqa: PLC0415

    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tools = ListToolsResult(tools=[Tool(name="echo", description="Give it back", input_schema=schema)])

    async def list_tools(_context: Any, _params: Any) -> ListToolsResult:
        return tools

    async def call_tool(_context: Any, params: CallToolRequestParams) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text=str((params.arguments or {})["n"]))])

    server: Server[Any] = Server(TOOLKIT, on_list_tools=list_tools, on_call_tool=call_tool)
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    await uvicorn.Server(uvicorn.Config(app, log_level="warning", loop="none")).serve([listening])


def main() -> None:
    """Serve until the process is ended."""
    import uvloop  # noqa: PLC0415 - it is not there on every system

    kind, descriptor = sys.argv[1:]
    listening = socket.socket(fileno=int(descriptor))
    uvloop.run(_serve_mcp(listening) if kind == "mcp" else _serve_composio(listening))


if __name__ == "__main__":
    main()
