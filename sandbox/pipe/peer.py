"""The controller's side of the pipe: many calls in flight on one stream, each with its own deadline.

Nothing that comes out of a sandbox is trusted. A line that does not parse, is too long, or breaks the chunk
window ends the pipe; events over their bound are dropped; an agent that stays silent runs into our deadline.
"""

import asyncio
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TypeVar

from sandbox.errors import CallFault, Overloaded, PipeClosed, PipeError, PipeTimeout, PipeVersionMismatch, PipeViolation
from sandbox.limits import CALL_SLACK_S, CALLS_PENDING_MAX, CHUNK_BYTES, SYNC_TIMEOUT_S
from sandbox.pipe import framing
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
    HelperCall,
    HelperCancel,
    Join,
    Joined,
    Sync,
    Synced,
)
from sandbox.pipe.helper_talk import HelperTalk
from sandbox.pipe.link import Link
from sandbox.pipe.messages import FileInfo, Method, ReadFile, Result, WriteFile
from sandbox.pipe.pending import OnEvent, Pending

_T = TypeVar("_T")

ACK_DELAY_S = 0.2
"""Acknowledgements ride on the next line we write; with none to write they go out after this long."""

SURVIVORS_MAX = 2 * CALLS_PENDING_MAX
"""Executions of an earlier controller that an agent is believed to hold: as many as may run, and as many ended."""


class Peer:
    """One pipe to one agent. Starts its link at once; nothing is believed before `sync` has answered."""

    def __init__(self, link: Link, *, on_closed: Callable[[str], None] | None = None) -> None:
        self._link = link
        self._on_closed = on_closed
        self._lines = framing.LineDecoder()
        self._pending: dict[str, Pending] = {}
        self._survivors: set[str] = set()
        self._given_up: set[str] = set()
        self._acks: list[bytes] = []
        self._ack_timer: asyncio.TimerHandle | None = None
        self._nonce: str | None = None
        self._hello: asyncio.Future[Synced] | None = None
        self._synced = False
        self._failure: PipeError | None = None
        self._loop = asyncio.get_running_loop()
        self.helpers = HelperTalk(self._write_if_open, self._violate)
        link.start(self._receive, self._link_closed)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "synced" if self._synced else "not synced"
        return f"<Peer {state}, {len(self._pending)} calls>"

    @property
    def closed(self) -> bool:
        """Whether the stream has ended."""
        return self._failure is not None

    @property
    def failure(self) -> PipeError | None:
        """Why the stream has ended; None while it has not."""
        return self._failure

    def when_closed(self, callback: Callable[[str], None]) -> None:
        """Call this once, with the reason in words, when the stream has ended. Replaces an earlier one."""
        self._on_closed = callback
        if self._failure is not None:
            callback(self._failure.message)

    def close(self) -> None:
        """End the stream; calls in flight raise `PipeClosed`."""
        self.helpers.flush()
        self._fail(PipeClosed("the pipe was closed by the controller"))

    async def sync(self, timeout_s: float = SYNC_TIMEOUT_S) -> Synced:
        """Say hello and wait for the agent's echo; what came before it is dropped.

        Raises:
            PipeTimeout: no echo in time.
            PipeClosed: the stream ended first.
            PipeVersionMismatch: the agent speaks another version; the pipe is closed.
        """
        self._raise_if_closed()
        self._synced = False
        self._survivors.clear()
        self._nonce = secrets.token_hex(8)
        self._hello = self._loop.create_future()
        self._link.write(b"\n" + framing.encode(Sync(self._nonce)))
        try:
            async with asyncio.timeout(timeout_s):
                hello = await self._hello
        except TimeoutError:
            raise PipeTimeout(f"the agent did not answer the sync within {timeout_s:g} s") from None
        if hello.version != PROTOCOL_VERSION:
            error = PipeVersionMismatch(
                f"the agent speaks version {hello.version} of the pipe, this controller {PROTOCOL_VERSION}",
                suggested_fix="rebuild the sandbox image: `workbench image build`",
            )
            self._fail(error)
            raise error
        return hello

    async def call(
        self,
        body: Method,
        *,
        timeout_s: float,
        deadline_s: float | None = None,
        call_id: str | None = None,
        on_event: OnEvent | None = None,
        live: bool = False,
        held: bool = False,
    ) -> Result:
        """Ask the agent for `body` and wait for its ending.

        `timeout_s` travels to the agent. `deadline_s` is how long we wait ourselves (default: `timeout_s` plus
        CALL_SLACK_S). A `call_id` that the agent named as a survivor is joined, any other that it knows already is
        not run again. Cancelling the awaiting task cancels the call. `held`: the agent keeps the ending until
        `acknowledge` is called; else it is acknowledged as it arrives.

        Raises:
            CallFault: the agent ended the call with a fault.
            Overloaded: CALLS_PENDING_MAX calls are in flight.
            PipeTimeout: our own deadline passed; the agent must be taken for dead.
            PipeClosed, PipeViolation: the stream ended, or was ended, before the call.
        """
        call_id = call_id or new_call_id()
        return await self._wait_for(
            Call(call_id, body, timeout_s, live),
            on_event,
            deadline_s if deadline_s is not None else timeout_s + CALL_SLACK_S,
            held=held,
        )

    async def join(
        self, call_id: str, *, deadline_s: float, on_event: OnEvent | None = None, held: bool = False
    ) -> Result:
        """Wait for the ending of an execution that the agent named as a survivor.

        What was said of it before is said again, as far as the agent keeps it. Raises as `call`; `CallFault`
        `forgotten` when its ending is not kept. `held`: as in `call`.
        """
        return await self._wait_for(Join(call_id), on_event, deadline_s, held=held)

    def acknowledge(self, call_id: str) -> None:
        """Let the agent forget the ending of a call that was `held`."""
        if not self.closed:
            self._acknowledge(call_id)

    def cancel(self, call_id: str) -> None:
        """Ask the agent to end a call early. Whoever awaits `call` gets its ending."""
        if not self.closed:
            self._write(framing.encode(Cancel(call_id)))

    async def read_file(self, body: ReadFile, *, timeout_s: float) -> AsyncIterator[bytes]:
        """Give a file's bytes as they come; at most CHUNK_WINDOW chunks wait in memory.

        Raises as `call`; `CallFault` `not_found` when there is no such file.
        """
        call_id = new_call_id()
        pending = self._begin(Call(call_id, body, timeout_s))
        deadline = self._loop.time() + timeout_s + CALL_SLACK_S
        try:
            while True:
                # Around each wait, not around all: whoever reads may ask for each piece from another task.
                async with asyncio.timeout_at(deadline):
                    chunk = await pending.chunks.get()
                if chunk is None:
                    break
                yield chunk.data
                self._write(framing.encode(Credit(call_id, pending.incoming.consume())))
            await self._ending(call_id, pending, CALL_SLACK_S)
        except TimeoutError:
            raise PipeTimeout(f"{body.path} was not read within {timeout_s:g} s") from None
        finally:
            self._leave(call_id)
            if not pending.ending.done():
                self.cancel(call_id)

    async def write_file(self, body: WriteFile, data: AsyncIterable[bytes], *, timeout_s: float) -> FileInfo:
        """Write `data` to a file; at most CHUNK_WINDOW chunks are under way. Raises as `call`."""
        call_id = new_call_id()
        pending = self._begin(Call(call_id, body, timeout_s))
        try:
            async with asyncio.timeout(timeout_s + CALL_SLACK_S):
                await self._send_chunks(call_id, pending, data)
                result = await self._ending(call_id, pending, timeout_s)
        except TimeoutError:
            self.cancel(call_id)
            raise PipeTimeout(f"{body.path} was not written within {timeout_s:g} s") from None
        except BaseException:
            if not pending.ending.done():
                self.cancel(call_id)
            raise
        finally:
            self._leave(call_id)
        return expect(result, FileInfo)

    async def _send_chunks(self, call_id: str, pending: Pending, data: AsyncIterable[bytes]) -> None:
        async for piece in data:
            for start in range(0, len(piece), CHUNK_BYTES):
                if not await self._send_chunk(call_id, pending, piece[start : start + CHUNK_BYTES], last=False):
                    return
        await self._send_chunk(call_id, pending, b"", last=True)

    async def _send_chunk(self, call_id: str, pending: Pending, data: bytes, *, last: bool) -> bool:
        """Send one chunk when the window is open; False when the call has ended meanwhile."""
        if not await pending.may_send():
            return False
        self._write(framing.encode(Chunk(call_id, pending.outgoing.take(), data, last)))
        await self._link.drain()
        return True

    async def _wait_for(
        self, asking: Call | Join, on_event: OnEvent | None, deadline_s: float, *, held: bool
    ) -> Result:
        if asking.id in self._survivors:
            asking = Join(asking.id)
        pending = self._begin(asking, on_event, held=held)
        try:
            return await self._ending(asking.id, pending, deadline_s)
        except (asyncio.CancelledError, PipeTimeout):
            self.cancel(asking.id)
            raise
        finally:
            self._leave(asking.id)

    def _leave(self, call_id: str) -> None:
        pending = self._pending.pop(call_id, None)
        if pending is not None and not pending.ending.done():
            self._given_up.add(call_id)

    def _begin(self, asking: Call | Join, on_event: OnEvent | None = None, *, held: bool = False) -> Pending:
        self._raise_if_closed()
        if len(self._pending) >= CALLS_PENDING_MAX:
            raise Overloaded(f"{CALLS_PENDING_MAX} calls are in flight on this sandbox already", retry_after_s=1)
        line = framing.encode(asking)
        self._pending[asking.id] = pending = Pending(on_event, joining=isinstance(asking, Join), held=held)
        self._write(line)
        return pending

    async def _ending(self, call_id: str, pending: Pending, deadline_s: float) -> Result:
        try:
            async with asyncio.timeout(deadline_s):
                end = await pending.ending
        except TimeoutError:
            raise PipeTimeout(f"the agent did not end call {call_id} within {deadline_s:g} s") from None
        if end.fault is not None:
            raise CallFault(end.fault.name, end.fault.message)
        if end.result is None:
            raise self._violate(f"call {call_id} ended with neither a result nor a fault")
        return end.result

    def _write(self, line: bytes) -> None:
        if self._acks:
            line = b"".join(self._acks) + line
            self._acks.clear()
        self._link.write(line)

    def _write_if_open(self, line: bytes) -> None:
        if not self.closed:
            self._write(line)

    def _acknowledge(self, call_id: str) -> None:
        self._acks.append(framing.encode(Ack(call_id)))
        if self._ack_timer is None:
            self._ack_timer = self._loop.call_later(ACK_DELAY_S, self._flush_acks)

    def _flush_acks(self) -> None:
        self._ack_timer = None
        if self._acks and not self.closed:
            self._write(b"")

    def _receive(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            frame = framing.decode(line)
            if not self._synced:
                self._greet(frame)
            elif frame is None:
                self._violate(f"a line of {len(line)} bytes is no message")
            else:
                self._take(frame)
            if self.closed:
                return
        if self._lines.overlong:
            self._lines.overlong = 0
            if self._synced:
                self._violate("a line is longer than the pipe allows")

    def _greet(self, frame: Frame | None) -> None:
        """Before the echo of our nonce everything is a leftover of an older controller, and dropped."""
        if not isinstance(frame, Synced) or frame.nonce != self._nonce:
            return
        if self._hello is None or self._hello.done():
            return
        self._survivors = {survivor.id for survivor in frame.survivors[:SURVIVORS_MAX]}
        self._synced = True
        self._hello.set_result(frame)

    def _take(self, frame: Frame) -> None:
        match frame:
            case End():
                self._end(frame)
            case Event():
                if pending := self._pending.get(frame.id):
                    pending.event(frame)
            case Joined():
                if pending := self._pending.get(frame.id):
                    pending.joining = False
            case Chunk() | Credit():
                self._stream(frame)
            case HelperCall() | HelperCancel() | Ack():
                self.helpers.take(frame)
            case _:
                self._violate(f"an agent may not send {type(frame).__name__}")

    def _end(self, end: End) -> None:
        pending = self._pending.get(end.id)
        if pending is not None and not pending.joining:
            self._survivors.discard(end.id)
            if not pending.held:
                self._acknowledge(end.id)
            pending.end(end)
        elif end.id in self._given_up:
            self._given_up.discard(end.id)
            self._acknowledge(end.id)
        # Any other is not acknowledged, so it is said again to who asks.

    def _stream(self, frame: Chunk | Credit) -> None:
        pending = self._pending.get(frame.id)
        if pending is None:
            return
        try:
            pending.stream(frame)
        except PipeViolation as violation:
            self._fail(violation)

    def _violate(self, what: str) -> PipeViolation:
        violation = PipeViolation(f"the agent broke the protocol of the pipe: {what}")
        self._fail(violation)
        return violation

    def _link_closed(self, reason: str) -> None:
        self._fail(PipeClosed(f"the pipe to the sandbox closed: {reason}"))

    def _fail(self, error: PipeError) -> None:
        if self._failure is not None:
            return
        self._failure = error
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        if self._hello is not None and not self._hello.done():
            self._hello.set_exception(error)
        for pending in self._pending.values():
            pending.fail(error)
        self._link.close()
        if self._on_closed is not None:
            self._on_closed(error.message)

    def _raise_if_closed(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(self._failure.message)


def new_call_id() -> str:
    """Give a call id that no other call of this agent has."""
    return secrets.token_hex(8)


def expect(result: Result, kind: type[_T]) -> _T:
    """Give the result as the type that the method promises.

    Raises:
        PipeViolation: the agent answered with another one.
    """
    if not isinstance(result, kind):
        raise PipeViolation(f"the agent answered with {type(result).__name__} where {kind.__name__} was due")
    return result
