"""An MCP server made with the SDK's own, in both transports, that does whatever a test needs.

`python -m tests.support.mcp_echo stdio` or `... http DESCRIPTOR [json]`, the descriptor of a socket that listens. What
happens in it is told by datagrams to the local port that MCP_ECHO_NOTES names, each one JSON object.
"""

import asyncio
import hashlib
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

PAGE = 4
_extra: list[str] = []


def _schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_TEXT = {"type": "string"}
_TOOLS = {
    "echo": ("Say it again", _schema(text=_TEXT)),
    "add": ("Add two numbers", _schema(a={"type": "number"}, b={"type": "number"})),
    "structured": ("Give structured content", _schema()),
    "image": ("Give an image and a text", _schema()),
    "fail": ("Fail with words", _schema(words=_TEXT)),
    "large": ("Answer with so many bytes", _schema(size={"type": "integer", "minimum": 0})),
    "hang": ("Never answer", _schema(name=_TEXT)),
    "die": ("End in the middle of the call", _schema(words=_TEXT)),
    "garbage": ("Write what is no message to standard output, then answer", _schema()),
    "digest": ("Hash a variable or a header", _schema(name=_TEXT)),
    "grow": ("Have one more tool", _schema(name=_TEXT)),
    "Odd-name.1": ("One of two with the same slug", _schema()),
    "odd_name_1": ("The other", _schema()),
    "pid": ("Give the process id", _schema()),
}


def note(**what: Any) -> None:
    """Keep what a test wants to know."""
    port = os.environ.get("MCP_ECHO_NOTES")
    if port:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(json.dumps(what).encode(), ("127.0.0.1", int(port)))


def _text(text: str, *, error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=error)


async def _list(_ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    start = int(params.cursor) if params is not None and params.cursor else 0
    named = [*_TOOLS.items(), *((name, ("Grown", _schema())) for name in _extra)]
    page = [
        types.Tool(name=name, description=words, input_schema=schema)
        for name, (words, schema) in named[start : start + PAGE]
    ]
    after = start + PAGE
    return types.ListToolsResult(tools=page, next_cursor=str(after) if after < len(named) else None)


async def _call(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:  # noqa: C901, PLR0911, PLR0912
    given = params.arguments or {}
    match params.name:
        case "echo":
            return _text(given["text"])
        case "add":
            return _text(str(given["a"] + given["b"]))
        case "structured":
            content = {"odd": [1, None, "ü"]}
            return types.CallToolResult(content=[], structured_content=content)
        case "image":
            image = types.ImageContent(type="image", data="aGVsbG8=", mime_type="image/png")
            return types.CallToolResult(content=[types.TextContent(type="text", text="see"), image])
        case "fail":
            return _text(given["words"], error=True)
        case "large":
            return _text("x" * given["size"])
        case "hang":
            note(begun=given["name"])
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                note(cancelled=given["name"])
                raise
        case "die":
            note(died=given["words"])
            sys.stderr.write(given["words"] + "\n")
            sys.stderr.flush()
            os._exit(3)
        case "garbage":
            os.write(1, b"Welcome to a server that prints!\n{broken json\n\n")
            os.write(1, b'{"id": 1, "more": ' + b"[" * 50_000 + b"\n")
            return _text("after garbage")
        case "digest":
            value = os.environ.get(given["name"]) or ctx.request.headers[given["name"]]
            return _text(hashlib.sha256(value.encode()).hexdigest())
        case "grow":
            _extra.append(given["name"])
            await ctx.session.send_tool_list_changed()
            return _text("grown")
        case "pid":
            return _text(str(os.getpid()))
    return _text(params.name)


server: Server[Any] = Server("echo", on_list_tools=_list, on_call_tool=_call)


async def _stdio() -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _http(descriptor: int, *, json_response: bool) -> None:
    app = server.streamable_http_app(json_response=json_response)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def main() -> None:
    """Serve as the arguments say."""
    if os.environ.get("MCP_ECHO_FAIL"):
        sys.exit(os.environ["MCP_ECHO_FAIL"])
    if sys.argv[1] == "stdio":
        if os.environ.get("MCP_ECHO_GATE"):
            # A slow start: it opens when somebody writes to the named pipe.
            Path(os.environ["MCP_ECHO_GATE"]).read_bytes()
        asyncio.run(_stdio())
    else:
        _http(int(sys.argv[2]), json_response=sys.argv[3:] == ["json"])


if __name__ == "__main__":
    main()
