"""What was said on the response streams of MCP connections, kept for a while for clients whose stream was cut."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from mcp.server.streamable_http import GET_STREAM_KEY, EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCResponse, jsonrpc_message_adapter

_EVENT_BYTES: Final = 200
"""What an event counts beside its message."""


@dataclass(frozen=True, slots=True)
class _Event:
    """`data`: the message as JSON, empty for the event that only opens a stream. `last`: nothing follows it."""

    number: int
    stream: str
    data: bytes
    last: bool

    @property
    def id(self) -> str:
        """Names the event in `Last-Event-ID`, its stream too: one that is dropped still says what to go on with."""
        return f"{self.number}-{quote(self.stream, safe='')}"

    @property
    def weight(self) -> int:
        return _EVENT_BYTES + len(self.data) + len(self.stream)


class EventLog:
    """The newest events of all connections, at most `most_bytes` of them: the oldest go first, whosever they are."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._last = 0
        self._kept: OrderedDict[int, tuple[_Event, ConnectionEvents]] = OrderedDict()

    @property
    def kept_bytes(self) -> int:
        """What is held now."""
        return self._bytes

    def add(self, to: "ConnectionEvents", stream: str, data: bytes, *, last: bool) -> _Event:
        """Number an event and keep it as long as there is room."""
        self._last += 1
        event = _Event(self._last, stream, data, last)
        self._kept[event.number] = event, to
        self._bytes += event.weight
        while self._bytes > self._most_bytes and len(self._kept) > 1:
            oldest, holder = self._kept[next(iter(self._kept))]
            holder.forget(oldest.number)
        return event

    def drop(self, number: int) -> None:
        """Hold an event no longer."""
        event, _ = self._kept.pop(number)
        self._bytes -= event.weight


class ConnectionEvents(EventStore):
    """The events of one connection, as the SDK's transport keeps and replays them. Ids are of no use to another one."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._events: OrderedDict[int, _Event] = OrderedDict()
        self._open: set[str] = set()
        self._closed = False
        self._changed = asyncio.Event()

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep a message of a stream; None: the stream begins. Gives the event's id."""
        data = b"" if message is None else message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        last = isinstance(message, JSONRPCResponse | JSONRPCError)
        (self._open.discard if last else self._open.add)(stream_id)
        event = self._log.add(self, stream_id, data, last=last)
        self._events[event.number] = event
        self._wake()
        return event.id

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what followed an event on its stream, and what still comes, to the response that ends the stream.

        Following to the end here, and not in the transport, leaves no gap between what is kept and what comes.
        """
        number, stream = parse_event_id(last_event_id)
        async for event in self._follow(stream, number):
            await send_callback(EventMessage(jsonrpc_message_adapter.validate_json(event.data), event.id))
        return stream if stream == GET_STREAM_KEY else None

    def knows(self, stream: str) -> bool:
        """Whether a client can have an id of this stream, to resume it with."""
        return stream in self._open

    def forget(self, number: int) -> None:
        """Drop an event: there is no room for it any more."""
        del self._events[number]
        self._log.drop(number)

    def close(self) -> None:
        """Drop all; who follows comes to the end."""
        self._closed = True
        for number in list(self._events):
            self.forget(number)
        self._wake()

    async def _follow(self, stream: str, after: int) -> AsyncIterator[_Event]:
        while True:
            changed = self._changed
            for event in [each for each in self._events.values() if each.stream == stream and each.number > after]:
                after = event.number
                if event.data:
                    yield event
                if event.last:
                    return
            if self._closed or stream == GET_STREAM_KEY or stream not in self._open:
                return
            await changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def parse_event_id(text: str) -> tuple[int, str]:
    """Give number and stream of an event's id; of one that is none of ours, a stream that nobody has."""
    number, _, stream = text.partition("-")
    if not (number.isascii() and number.isdigit()) or len(number) > 18:
        return 0, ""
    return int(number), unquote(stream)
