"""Jupyter Kernel Gateway: REST to start and end kernels, a websocket for each; processes of this machine."""

import http.client
import json
import secrets
import socket
import subprocess
import sys
import time
import uuid
from importlib.metadata import version
from typing import Any

import websocket

from bench.adapters.base import Cannot, Result, TimedOut, command_line, descendants, resident_mb
from bench.adapters.serve import serve

START_S = 30.0
POLL_S = 0.05


class GatewaySession:
    """A kernel of the gateway and a websocket to its channels."""

    def __init__(self, gateway: "Gateway", timeout_s: int) -> None:
        self._gateway = gateway
        self._timeout_s = timeout_s
        self._session = uuid.uuid4().hex
        self._kernel: str = gateway.ask("POST", "/api/kernels", {"name": "python3"})["id"]
        url = f"ws://127.0.0.1:{gateway.port}/api/kernels/{self._kernel}/channels?session_id={self._session}"
        self._socket = websocket.create_connection(url, timeout=START_S, header=[gateway.authorization])

    def run(self, code: str) -> Result:
        """Wait for the reply and for `idle`."""
        limit = time.monotonic() + self._timeout_s
        message = self._send(code)
        texts: list[str] = []
        failed = replied = idle = False
        while not (replied and idle):
            kind, content = self._next(message, limit)
            if kind == "stream":
                texts.append(content["text"])
            elif kind == "error":
                failed = True
                texts.append("\n".join(content["traceback"]))
            elif kind == "execute_reply":
                replied = True
            elif kind == "status":
                idle = content["execution_state"] == "idle"
        return Result("".join(texts), failed)

    def bash(self, command: str) -> None:
        """There is none."""
        raise Cannot(f"no shell (`!{command}` in a cell)")

    def recover(self) -> str:
        """Interrupt by its REST call."""
        self._gateway.ask("POST", f"/api/kernels/{self._kernel}/interrupt")
        return "interrupts"

    def memory(self) -> tuple[float, str]:
        """Of the kernel; the remark has the gateway."""
        kernels = [pid for pid in descendants(self._gateway.pid) if self._kernel in command_line(pid)]
        return resident_mb(kernels), f"kernel; gateway {resident_mb([self._gateway.pid]):.0f} MB for all"

    def close(self) -> None:
        """Delete the kernel."""
        self._socket.close()
        self._gateway.ask("DELETE", f"/api/kernels/{self._kernel}")

    def _send(self, code: str) -> str:
        message = uuid.uuid4().hex
        kind = {"msg_type": "execute_request", "version": "5.3"}
        header = {"msg_id": message, "session": self._session, "username": "", **kind}
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self._socket.send(json.dumps(request))
        return message

    def _next(self, message: str, limit: float) -> tuple[str, dict[str, Any]]:
        while True:
            left = limit - time.monotonic()
            if left <= 0:
                raise TimedOut
            self._socket.settimeout(left)
            try:
                said = json.loads(self._socket.recv())
            except websocket.WebSocketTimeoutException as error:
                raise TimedOut from error
            if said["parent_header"].get("msg_id") == message:
                return said["header"]["msg_type"], said["content"]


class Gateway:
    """One gateway with its default settings, on loopback, with a token."""

    def __init__(self) -> None:
        self.versions = {name: version(name) for name in ("jupyter_kernel_gateway", "jupyter_server", "ipykernel")}
        self.installations: list[str] = []
        self.port = _free_port()
        token = secrets.token_hex(16)
        self.authorization = f"Authorization: token {token}"
        options = [
            f"--KernelGatewayApp.port={self.port}",
            "--KernelGatewayApp.port_retries=0",
            f"--KernelGatewayApp.auth_token={token}",
            "--ZMQChannelsWebsocketConnection.limit_rate=False",  # by default it drops output above 1 MB a second
        ]
        self._process = subprocess.Popen([sys.executable, "-m", "kernel_gateway", *options], stdin=subprocess.DEVNULL)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The gateway's process."""
        return self._process.pid

    def open(self, timeout_s: int) -> GatewaySession:
        """Start a kernel."""
        return GatewaySession(self, timeout_s)

    def open_pooled(self) -> GatewaySession:
        """Those that are started ahead are found only by listing the kernels of everybody."""
        raise Cannot("no pool that a client claims from")

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask its REST interface."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        name, _, value = self.authorization.partition(": ")
        connection.request(method, path, json.dumps(body or {}), {name: value, "content-type": "application/json"})
        response = connection.getresponse()
        raw = response.read()
        connection.close()
        if response.status >= 400:
            raise OSError(f"HTTP {response.status} from {path}: {raw[:300]!r}")
        answer: dict[str, Any] = json.loads(raw) if raw else {}
        return answer

    def close(self) -> None:
        """End the gateway, which ends its kernels."""
        self._process.terminate()
        try:
            self._process.wait(START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self) -> None:
        limit = time.monotonic() + START_S
        while True:
            try:
                self.ask("GET", "/api")
            except ConnectionError:
                if self._process.poll() is not None or time.monotonic() > limit:
                    raise
                time.sleep(POLL_S)
            else:
                return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    serve(Gateway)
