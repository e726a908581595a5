"""The agent's side of the pipe: takes calls, runs each once, sends events, chunks and exactly one ending."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Protocol

from sandbox.errors import CallFault, PipeViolation
from sandbox.limits import CALLS_PENDING_MAX
from sandbox.pipe import framing
from sandbox.pipe.asking import HelperAsking
from sandbox.pipe.frames import (
    PROTOCOL_VERSION,
    Ack,
    Call,
    Cancel,
    Chunk,
    Credit,
    End,
    Event,
    Frame,
    HelperEnd,
    HelperProgress,
    Join,
    Joined,
    Sync,
    Synced,
)
from sandbox.pipe.ledger import Known, Ledger
from sandbox.pipe.messages import Fault, Method, Progress, Result, RunBash, RunCode
from sandbox.pipe.replay import Replay
from sandbox.pipe.window import ReceiveWindow, SendWindow

log = logging.getLogger(__name__)

Write = Callable[[bytes], None]
Drain = Callable[[], Awaitable[None]]


class Answering(Protocol):
    """One call while it is answered: what a handler sees."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def body(self) -> Method: ...  # noqa: D102
    @property
    def timeout_s(self) -> float: ...  # noqa: D102
    @property
    def live(self) -> bool:
        """Whether the caller wants live output."""

    def event(self, body: Progress) -> None:
        """Send progress now, numbered."""

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call this when the caller cancels (at once if it did already); else the handler's task is cancelled."""

    async def send(self, data: bytes, *, last: bool = False) -> None:
        """Send one chunk of at most CHUNK_BYTES once the window is open."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Give what the caller uploads, piece by piece, until its last chunk."""


Handler = Callable[[Answering], Awaitable[Result]]


class _Answer:
    """The one implementation of `Answering`."""

    def __init__(self, call: Call, write: Write, drain: Drain, replay: Replay) -> None:
        self.id = call.id
        self.body = call.body
        self.timeout_s = call.timeout_s
        self.live = call.live
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        self.cancelled = False
        self.streams = False
        self._write = write
        self._drain = drain
        self._replay = replay
        self._events = 0
        self._on_cancel: Callable[[], None] | None = None
        self._out = SendWindow()
        self._in = ReceiveWindow()
        self._arrived: asyncio.Queue[Chunk] = asyncio.Queue()
        self._credited = asyncio.Event()

    def event(self, body: Progress) -> None:
        self._events += 1
        line = framing.encode(Event(self.id, self._events, body))
        self._replay.say(self.id, body, line)
        self._write(line)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        self._on_cancel = callback
        if self.cancelled:
            callback()

    async def send(self, data: bytes, *, last: bool = False) -> None:
        self.streams = True
        while not self._out.open:
            self._credited.clear()
            await self._credited.wait()
        self._write(framing.encode(Chunk(self.id, self._out.take(), data, last)))
        await self._drain()

    async def chunks(self) -> AsyncIterator[bytes]:
        self.streams = True
        while True:
            chunk = await self._arrived.get()
            if chunk.data:
                yield chunk.data
            self._write(framing.encode(Credit(self.id, self._in.consume())))
            if chunk.last:
                return

    def cancel(self) -> None:
        self.cancelled = True
        if self._on_cancel is not None:
            self._on_cancel()
        elif self.begun and self.task is not None:
            # Not before its first step: a task that is cancelled then does nothing at all, and the call never ended.
            self.task.cancel()

    def abandon(self) -> None:
        """The caller that streamed with us is gone: its stream cannot go on."""
        if self.streams and self.task is not None:
            self.task.cancel()

    def chunk(self, chunk: Chunk) -> None:
        self._in.accept(chunk.seq, chunk.data, last=chunk.last)
        self._arrived.put_nowait(chunk)

    def credit(self, seq: int) -> None:
        self._out.credit(seq)
        self._credited.set()


class Answerer:
    """Serves calls that come as bytes. What does not parse is dropped: it can be half a line of a dead caller.

    `handler` answers one call; it raises `CallFault` to end with that fault, anything else ends as `internal`.
    `write` queues bytes, `drain` waits until the queue is short. `boot` names this process. `helpers`: the calls that
    go the other way.
    """

    def __init__(self, handler: Handler, write: Write, drain: Drain, *, boot: str) -> None:
        self._handler = handler
        self._write = write
        self._drain = drain
        self._boot = boot
        self._lines = framing.LineDecoder()
        self._ledger = Ledger()
        self._replay = Replay(monotonic)
        self._answers: dict[str, _Answer] = {}
        self.helpers = HelperAsking(write)
        self.dropped = 0

    def feed(self, data: bytes) -> None:
        """Take bytes as they come from the stream."""
        for line in self._lines.feed(data):
            frame = framing.decode(line)
            if frame is None:
                self.dropped += 1
            else:
                self._take(frame)

    async def aclose(self) -> None:
        """Cancel what runs and wait for it."""
        tasks = [answer.task for answer in self._answers.values() if answer.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.helpers.close()

    def _take(self, frame: Frame) -> None:
        match frame:
            case Call():
                self._begin(frame)
            case Join():
                self._say_again(frame.id)
            case Ack():
                if self._ledger.acknowledge(frame.id):
                    self._replay.forget(frame.id)
            case Cancel():
                if answer := self._answers.get(frame.id):
                    answer.cancel()
            case Chunk() | Credit():
                self._stream(frame)
            case HelperEnd() | HelperProgress():
                self.helpers.take(frame)
            case Sync():
                self._sync(frame)
            case _:
                self.dropped += 1

    def _sync(self, sync: Sync) -> None:
        for answer in list(self._answers.values()):
            answer.abandon()
        survivors = self._replay.survivors(ending.id for ending in self._ledger.endings)
        self._write(framing.encode(Synced(sync.nonce, PROTOCOL_VERSION, self._boot, survivors)))
        self.helpers.say_again()

    def _say_again(self, call_id: str) -> None:
        """Repeat what is kept of a call; an ending that is not kept, or a call that never was, is a fault."""
        self._write(framing.encode(Joined(call_id)) + self._replay.lines(call_id))
        if not self._ledger.is_running(call_id):
            self._write(framing.encode(self._ledger.ending(call_id)))

    def _begin(self, call: Call) -> None:
        if len(self._answers) >= CALLS_PENDING_MAX and call.id not in self._answers:
            fault = Fault("busy", f"{CALLS_PENDING_MAX} calls run already; wait for one to end")
            self._write(framing.encode(End(call.id, fault=fault)))
            return
        match self._ledger.begin(call.id):
            case Known.NEW:
                self._replay.begin(call)
                answer = _Answer(call, self._write, self._drain, self._replay)
                self._answers[call.id] = answer
                answer.task = asyncio.get_running_loop().create_task(self._answer(answer))
            case Known.ENDED:
                self._write(framing.encode(self._ledger.ending(call.id)))
            case Known.RUNNING:
                pass

    def _stream(self, frame: Chunk | Credit) -> None:
        answer = self._answers.get(frame.id)
        if answer is None:
            return
        try:
            if isinstance(frame, Chunk):
                answer.chunk(frame)
            else:
                answer.credit(frame.seq)
        except PipeViolation as violation:
            log.warning("call %s broke the chunk window: %s", frame.id, violation)
            answer.cancel()

    async def _answer(self, answer: _Answer) -> None:
        ending = await self._ending(answer)
        try:
            line = framing.encode(ending)
        except PipeViolation as violation:
            ending = End(answer.id, fault=Fault("unsendable", violation.message))
            line = framing.encode(ending)
        self._answers.pop(answer.id, None)
        if (dropped := self._ledger.end(ending)) is not None:
            self._replay.forget(dropped)
        self._write(line)

    async def _ending(self, answer: _Answer) -> End:
        answer.begun = True
        executes = isinstance(answer.body, RunCode | RunBash)
        if answer.cancelled and not executes:
            return _cancelled(answer.id)
        # Executions keep their own deadline: they interrupt, wait a grace and kill before they answer.
        timeout_s = None if executes else answer.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                result = await self._handler(answer)
            return End(answer.id, result)
        except CallFault as fault:
            return End(answer.id, fault=Fault(fault.fault, fault.message))
        except TimeoutError:
            return End(answer.id, fault=Fault("timed_out", f"not done within {answer.timeout_s:g} s"))
        except asyncio.CancelledError:
            return _cancelled(answer.id)
        except Exception as error:  # the agent's border: a defect must end the call, not the agent
            log.exception("a call of %s failed", type(answer.body).__name__)
            return End(answer.id, fault=Fault("internal", f"{type(error).__name__}: {error}"[:2000]))


def _cancelled(call_id: str) -> End:
    return End(call_id, fault=Fault("cancelled", "the call was cancelled"))
