"""One open connection to an MCP server, as the SDK's session sees it and as tool calls use it.

The SDK's session sits on a dispatcher that carries its messages. Ours keep each call by itself (one that breaks does
not take the others with it), tell whether a request was written, bound what comes, and leave a tool's answer the
bytes that came: the SDK's own cost three to five times the processor time a call.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import msgspec
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from mcp.shared.dispatcher import CallOptions, OnNotify, OnNotifyIntercept, OnRequest
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER

from sandbox.errors import UpstreamInvalid, UpstreamUnavailable
from sandbox.limits import MIB
from sandbox.upstreams.json_values import has_too_many

OPEN_TIMEOUT_S: Final = 60.0
"""Seconds that a server may take from its start to its list of tools; `npx` and `uvx` download in that time."""

METHOD_NOT_FOUND: Final = -32601
TOOLS_MAX: Final = 10_000
"""Tools of one server."""

SDK_BYTES_MAX: Final = 32 * MIB
SDK_VALUES_MAX: Final = 1_000_000
"""What an answer to the SDK may have: the list of tools is the largest, and has so many bytes in all its pages."""


class RpcFault(msgspec.Struct, frozen=True):
    """The error of a JSON-RPC answer."""

    code: int = 0
    message: str = ""
    data: Any = None


class Incoming(msgspec.Struct, frozen=True):
    """What a server says: an answer (`result` or `error`), a notification (`method`), a request (`method` and `id`)."""

    id: int | str | None = None
    method: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: RpcFault | None = None


decode_incoming = msgspec.json.Decoder(Incoming).decode


class _Outgoing(msgspec.Struct, frozen=True, omit_defaults=True):
    jsonrpc: str
    id: int | str | None = None
    method: str | None = None
    params: Any = None
    result: Any = None
    error: Any = None


# Not left out like the other defaults: every message has it.
_RPC: Final = "2.0"
_encode = msgspec.json.Encoder().encode


def request_bytes(request_id: int, method: str, params: Mapping[str, Any] | None) -> bytes:
    """Make a request."""
    return _encode(_Outgoing(_RPC, id=request_id, method=method, params=params))


def notification_bytes(method: str, params: Mapping[str, Any] | None) -> bytes:
    """Make a notification."""
    return _encode(_Outgoing(_RPC, method=method, params=params))


def reply_bytes(asked: Incoming) -> bytes:
    """Answer a server's request: pings are answered, anything else is not offered."""
    if asked.method == "ping":
        return _encode({"jsonrpc": _RPC, "id": asked.id, "result": {}})
    fault = {"code": METHOD_NOT_FOUND, "message": "Method not found"}
    return _encode(_Outgoing(_RPC, id=asked.id, error=fault))


def result_of(answer: Incoming) -> msgspec.Raw:
    """Give the result of an answer.

    Raises:
        MCPError: it is an error.
    """
    if answer.error is not None:
        raise MCPError(code=answer.error.code, message=answer.error.message, data=answer.error.data)
    return answer.result


class McpLink(ABC):
    """A dispatcher of the SDK.

    `what`: what errors call the server. `on_tools_changed`: its list is another now. `max_bytes`: of one answer.
    """

    def __init__(self, what: str, on_tools_changed: Callable[[], None], max_bytes: int) -> None:
        self.what = what
        self.protocol_version: str | None = None
        self.ended = asyncio.Event()
        self._on_tools_changed = on_tools_changed
        self._max_bytes = max_bytes
        self._trouble = "it was closed"
        self._last_id = 0
        self._sdk_bytes = 0

    @property
    def trouble(self) -> str:
        """Why it ended, in words without credentials."""
        return self._trouble

    @abstractmethod
    async def exchange(self, method: str, params: Mapping[str, Any] | None) -> msgspec.Raw:
        """Send a request and give its result. When it is cancelled, the server is told so.

        Raises:
            UpstreamUnavailable: the connection broke; `retry` when the request was not written.
            UpstreamInvalid: the answer is over its bound, or is none.
            UpstreamError: other refusals of the transport.
            MCPError: the server answered with an error.
        """

    @abstractmethod
    async def tell(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Send a notification. One that cannot be sent is dropped."""

    @abstractmethod
    async def aclose(self) -> None:
        """End it; what is under way fails. Bounded."""

    # --- the SDK's Dispatcher ---------------------------------------------------------------------------

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Send a request of the SDK. Raises as `exchange`; `UpstreamInvalid`: the answer is too much for it.

        The SDK makes objects of all of it, and nothing else runs meanwhile.
        """
        self._stamped(opts)
        async with asyncio.timeout((opts or {}).get("timeout")):
            result = await self.exchange(method, params)
        # The pages of a list count together.
        self._sdk_bytes = len(result) + (self._sdk_bytes if (params or {}).get("cursor") else 0)
        if self._sdk_bytes > SDK_BYTES_MAX or has_too_many(bytes(result), SDK_VALUES_MAX):
            raise UpstreamInvalid(f"{self.what} answered {method} with more than is looked at: {self._sdk_bytes} bytes")
        found = msgspec.json.decode(result)
        if not isinstance(found, dict):
            return {}
        tools = found.get("tools")
        if isinstance(tools, list) and len(tools) > TOOLS_MAX:
            raise UpstreamInvalid(f"{self.what} lists {len(tools)} tools, and {TOOLS_MAX} is the most")
        return found

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Send a notification of the SDK."""
        self._stamped(opts)
        await self.tell(method, params)

    async def run(
        self,
        on_request: OnRequest,  # noqa: ARG002
        on_notify: OnNotify,  # noqa: ARG002
        on_notify_intercept: OnNotifyIntercept | None = None,  # noqa: ARG002
        *,
        task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
    ) -> None:
        """Stay as long as the connection does."""
        task_status.started()
        await self.ended.wait()

    def _stamped(self, opts: CallOptions | None) -> None:
        """Learn the version that the session agreed on: the SDK says it with each message from then on."""
        headers = (opts or {}).get("headers") or {}
        self.protocol_version = headers.get(MCP_PROTOCOL_VERSION_HEADER, self.protocol_version)

    # --- for the transports -----------------------------------------------------------------------------

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _end(self, trouble: str) -> None:
        if not self.ended.is_set():
            self._trouble = trouble
            self.ended.set()

    def _refuse_ended(self) -> None:
        if self.ended.is_set():
            self._fail_unwritten()

    def _fail_unwritten(self) -> NoReturn:
        raise UpstreamUnavailable(f"{self.what} is not there: {self._trouble}", retry=True)

    def _too_large(self) -> UpstreamInvalid:
        words = f"{self.what} answered with more than {self._max_bytes} bytes"
        return UpstreamInvalid(words, suggested_fix="Ask for less, or raise tool_answer_max_bytes.")

    def _told(self, said: Incoming) -> None:
        if said.method == "notifications/tools/list_changed":
            self._on_tools_changed()
