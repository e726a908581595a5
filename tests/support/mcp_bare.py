"""The least that is an MCP server, for figures of our own side: the SDK's server costs ten times what a call costs us.

`python -m tests.support.mcp_bare stdio` or `... http PORT`. One tool, `echo`.
"""

import asyncio
import sys
from typing import Any

import msgspec

_SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def answer(body: bytes) -> bytes | None:
    """Answer one message; None: it needs no answer."""
    asked = _decode(body)
    if "id" not in asked:
        return None
    return _encode({"jsonrpc": "2.0", "id": asked["id"], "result": _result(asked["method"], asked.get("params") or {})})


def _result(method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "initialize":
            info = {"name": "bare", "version": "1"}
            return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            return {"tools": [{"name": "echo", "description": "Say it again", "inputSchema": _SCHEMA}]}
        case "tools/call":
            return {"content": [{"type": "text", "text": params["arguments"]["text"]}]}
    return {}


async def _stdio() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        said = answer(line)
        if said is not None:
            sys.stdout.buffer.write(said + b"\n")
            sys.stdout.buffer.flush()


class _Http(asyncio.Protocol):
    """POST alone, one request at a time on a connection, as our client sends them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer when the request is whole."""
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if len(body) < length:
            return
        self._held = b""
        said = answer(body) if head.startswith(b"POST") else None
        status = b"200 OK" if said else b"202 Accepted" if head.startswith(b"POST") else b"405 Method Not Allowed"
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(said or b""), said or b"")
        )


async def _http(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Http, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_stdio() if sys.argv[1] == "stdio" else _http(int(sys.argv[2])))
