"""Starts the echo server and hears what happens in it."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.config_upstreams import McpServer
from sandbox.upstreams.base import Principal, ToolCall
from tests.support import prepared

DEADLINE_S = 30.0
ECHO = (sys.executable, "-m", "tests.support.mcp_echo", "stdio")


def tool_call(slug: str, *, timeout_s: float = DEADLINE_S, **arguments: Any) -> ToolCall:
    """Make a call of nobody in particular."""
    return ToolCall(slug, arguments, Principal("session", "owner"), timeout_s)


class Notes:
    """What echo servers tell, in order."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)

    @property
    def env(self) -> dict[str, str]:
        """Variables with which a server tells us."""
        return {"MCP_ECHO_NOTES": str(self._socket.getsockname()[1]), "PYTHONPATH": os.getcwd()}  # noqa: PTH109

    async def next(self) -> dict[str, Any]:
        """Wait for the next note."""
        async with asyncio.timeout(DEADLINE_S):
            said = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        found: dict[str, Any] = json.loads(said)
        return found

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def echo_stdio(env: Mapping[str, str]) -> McpServer:
    """Configure the echo server as a command."""
    return McpServer.model_validate({"command": ECHO, "env": dict(env)})


class EchoHttp:
    """The echo server behind HTTP; can be killed and started again at the same address."""

    def __init__(self, env: Mapping[str, str], *options: str) -> None:
        self._env = {**os.environ, **env}
        self._options = options
        self._port = 0
        self._process: prepared.Prepared | None = None
        self.start()

    @property
    def url(self) -> str:
        """Of its endpoint."""
        return f"http://127.0.0.1:{self._port}/mcp"

    def start(self) -> None:
        """Start it. It listens from now on, and answers when it is there."""
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", self._port))
            listening.listen(128)
            self._port = listening.getsockname()[1]
            self._process = prepared.start(
                "from tests.support.mcp_echo import main; main()",
                *("http", "0", *self._options),
                env=self._env,
                cwd=Path.cwd(),
                stdin=listening.fileno(),
                stdout=1,
                stderr=2,
            )

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
