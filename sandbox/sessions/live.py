"""Live output of one execution: numbered events, bounded, that any number of readers follow and resume."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from sandbox.pipe.messages import (
    Artifact,
    BashResult,
    CodeResult,
    LiveArtifact,
    LiveCut,
    LiveOutput,
    Progress,
    StreamOutput,
)
from sandbox.sessions.helper_news import LiveHelperCall

ExecutionResult: TypeAlias = CodeResult | BashResult

_EVENT_CHARS = 200
"""What an event counts beside its text, so that many small ones are bounded too."""


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event of an execution. `seq` counts from 1; the last event's body is the result.

    A body `LiveCut` in the middle says that events up to this `seq` are not kept any more. A `LiveHelperCall` has the
    `seq` of the event before it.
    """

    seq: int
    body: Progress | LiveHelperCall | ExecutionResult


class LiveLog:
    """The last events of one execution, at most `limit_chars` characters of them; the oldest go first."""

    def __init__(self, limit_chars: int) -> None:
        self._limit = limit_chars
        self._events: deque[LiveEvent] = deque()
        self._added = 0
        self._last = 0
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []
        self.chars = 0

    def append(self, body: Progress | ExecutionResult, seq: int | None = None) -> None:
        """Add an event; what comes after `close` is dropped.

        `seq`: the number that the agent gave it, so that it is the same for every controller; None: the next one.
        One that is here already is dropped, and a hole before it is marked with a `LiveCut`.
        """
        seq = self._last + 1 if seq is None else seq
        if self._closed or seq <= self._last:
            return
        if self._events and seq > self._last + 1:
            self._add(seq - 1, LiveCut())
        self._add(seq, body)
        self._trim()

    def note(self, body: LiveHelperCall) -> None:
        """Add an event that the sandbox has no number for."""
        if not self._closed:
            self._add(self._last, body)
            self._trim()

    @property
    def last(self) -> int:
        """Number of the newest event; 0 before the first."""
        return self._last

    def close(self) -> None:
        """Nothing more comes: readers end when they have read what is here."""
        self._closed = True
        self._wake()

    async def follow(self, after: int = 0) -> AsyncIterator[LiveEvent]:
        """Give events with `seq` over `after`, those to come too, until the log is closed."""
        after, seen = max(after, 0), 0
        while True:
            events, seen = self._since(after, seen), self._added
            for event in events:
                after = max(after, event.seq)
                yield event
            if self._added > seen:
                continue
            if self._closed:
                return
            await self._more()

    def _add(self, seq: int, body: Progress | LiveHelperCall | ExecutionResult) -> None:
        self._last = seq
        self._added += 1
        self._events.append(LiveEvent(seq, body))
        self.chars += _weight(body)

    def _trim(self) -> None:
        while self.chars > self._limit and len(self._events) > 1:
            self.chars -= _weight(self._events.popleft().body)
        self._wake()

    def _since(self, after: int, seen: int) -> list[LiveEvent]:
        """Give what is kept after `after`, with a `LiveCut` before it when something between is gone.

        `seen`: how many events had been added when the reader looked before; 0: it never did.
        """
        if not self._events:
            return []
        first = self._events[0]
        gone = first.seq if isinstance(first.body, LiveHelperCall) else first.seq - 1
        if after < gone:
            return [LiveEvent(gone, LiveCut()), *self._events]
        new = islice(self._events, max(0, seen - (self._added - len(self._events))), None)
        follows = bool(seen) or after == 0
        return [event for event in new if event.seq > after or (follows and _unnumbered(event) and event.seq == after)]

    async def _more(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _unnumbered(event: LiveEvent) -> bool:
    return isinstance(event.body, LiveHelperCall)


def _weight(body: Progress | LiveHelperCall | ExecutionResult) -> int:
    if isinstance(body, LiveHelperCall):
        return _EVENT_CHARS + len(body.target)
    if isinstance(body, LiveOutput):
        return _EVENT_CHARS + len(body.text)
    if isinstance(body, LiveArtifact):
        return _EVENT_CHARS + _artifact_chars(body.artifact)
    if isinstance(body, CodeResult | BashResult):
        return _EVENT_CHARS + result_chars(body)
    return _EVENT_CHARS


def result_chars(result: ExecutionResult) -> int:
    """Count the characters that a result holds: all of its texts that a sandbox can make long."""
    chars = _stream_chars(result.stdout) + _stream_chars(result.stderr) + len(result.note or "")
    if isinstance(result, CodeResult):
        chars += _stream_chars(result.value) + sum(map(_artifact_chars, result.artifacts))
        if result.error is not None:
            chars += len(result.error.name) + len(result.error.message) + len(result.error.traceback)
    return chars


def _stream_chars(output: StreamOutput) -> int:
    return len(output.text) + len(output.path or "") + len(output.lost or "")


def _artifact_chars(artifact: Artifact) -> int:
    return len(artifact.type) + len(artifact.path)
