"""The helper calls that come out of one sandbox: each is answered by the gateway once, whatever becomes of the pipe."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec
import structlog

from sandbox.byte_room import ByteRoom
from sandbox.errors import CallFault, PipeViolation, WorkbenchError
from sandbox.limits import (
    CALL_SLACK_S,
    HELPER_ACK_EVERY,
    HELPER_ANSWER_INLINE_BYTES,
    HELPER_ARGUMENTS_HELD_BYTES,
    HELPER_ARGUMENTS_MAX_BYTES,
    HELPER_CALLS_MAX,
)
from sandbox.pipe.frames import Ack, HelperCall, HelperCancel, HelperEnd, HelperProgress
from sandbox.pipe.helper_talk import HelperAsk
from sandbox.sessions import helper_frames as frames
from sandbox.sessions.execution import Execution
from sandbox.sessions.helper_endings import HelperEndings
from sandbox.sessions.helper_files import LineFiles
from sandbox.sessions.helper_port import AnswersHelpers, HelperAnswer, SessionCall
from sandbox.sessions.line import Line
from sandbox.sessions.session import Session

log = structlog.get_logger(__name__)

_ERROR_CHARS: Final = 20_000
_PROGRESS_S: Final = 0.1
_EARLY_MAX: Final = 2 * HELPER_CALLS_MAX
_UNHEARD_MAX: Final = HELPER_CALLS_MAX + 2 * HELPER_ACK_EVERY
"""Calls that run, or whose endings the agent has not heard: one that does not read what it is told may not go on."""


_NO_SESSION: Final = "this sandbox belongs to no session yet, so helpers cannot be called"
_NO_GATEWAY: Final = "helpers are switched off: this controller has no gateway"
_CANCELLED: Final = "the call was cancelled"
_SHUT_DOWN: Final = "the controller was shut down during this call; it may have been done, and was not repeated"
_RESTARTED: Final = "the controller was restarted during this call; it may have been done, and was not repeated"


@dataclass(frozen=True, slots=True)
class Bound:
    """Whose calls they are.

    `session` gives it as it is now. `answers`: None when there is no gateway. `running`: gives an execution of the
    session that has not ended. `used`: keeps the sandbox from its rest.
    """

    session: Callable[[], Session]
    answers: AnswersHelpers | None
    running: Callable[[str], Execution | None]
    used: Callable[[], AbstractContextManager[None]]


@dataclass(slots=True)
class _Running:
    """A call that is being answered; `progress_at`: when its progress was told last."""

    call: HelperCall
    task: asyncio.Task[None] | None = None
    progress_at: float = field(default=0.0)


class HelperCalls:
    """Calls under way and how the last ones ended. An agent is held to its bounds: over them its pipe is ended.

    A call that the agent says again is not done again: it goes on, or its ending is told again. One that is not known
    here was lost with a pipe before it came, and is done now; unless an earlier controller may have done it.
    """

    def __init__(self, line: Line, *, call_deadline_s: float) -> None:
        self._line = line
        self._files = LineFiles(line, call_deadline_s=call_deadline_s)
        self._room = ByteRoom(HELPER_ARGUMENTS_HELD_BYTES)
        self._bound: Bound | None = None
        self._inherited = False
        self._early: list[HelperAsk] = []
        self._running: dict[str, _Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._endings = HelperEndings()
        self._told_over: object = None
        self._told_again: set[str] = set()
        self._use: AbstractContextManager[None] | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._running)

    def inherit(self) -> None:
        """Its agent may have called an earlier controller; what it says waits until it is known whose it is."""
        self._inherited = True

    def bind(self, bound: Bound) -> None:
        """From here on the calls are those of a session."""
        self._bound = bound
        early, self._early = self._early, []
        for frame in early:
            self.take(frame)

    def take(self, frame: HelperAsk) -> None:
        """Take what the agent says."""
        if self._closed:
            return
        if self._bound is None and self._inherited:
            self._wait(frame)
            return
        match frame:
            case HelperCall():
                self._begin(frame)
            case HelperCancel():
                self._cancel(frame.id)
            case Ack():
                self._endings.heard(frame.id)

    def close(self) -> None:
        """The sandbox is lost: nobody waits for an answer."""
        self._closed = True
        for running in self._running.values():
            if running.task is not None:
                running.task.cancel()
        self._running.clear()
        self._early.clear()
        self._release()

    def shut_down(self) -> None:
        """The controller stops: what is under way is cancelled, and told so."""
        for call_id in list(self._running):
            self._finish(HelperEnd(call_id, error=_SHUT_DOWN))
        self.close()

    # --- what the agent says ------------------------------------------------------------------------------

    def _wait(self, frame: HelperAsk) -> None:
        if isinstance(frame, HelperCall) and (wrong := frames.wrong(frame)) is not None:
            self._violate(wrong)
        elif len(self._early) >= _EARLY_MAX:
            self._violate(f"more than {HELPER_CALLS_MAX} helper calls are under way")
        else:
            self._early.append(frame)

    def _begin(self, call: HelperCall) -> None:
        if call.id in self._running:
            return
        if (ended := self._endings.get(call.id)) is not None:
            self._tell_again(ended)
        elif (wrong := frames.wrong(call)) is not None:
            self._violate(wrong)
        elif self._full:
            self._violate(f"more than {HELPER_CALLS_MAX} helper calls are under way")
        elif call.again and self._inherited:
            self._refuse(call.id, _RESTARTED)
        elif self._bound is None:
            self._refuse(call.id, _NO_SESSION)
        elif self._bound.answers is None:
            self._refuse(call.id, _NO_GATEWAY)
        else:
            self._start(call, self._bound, self._bound.answers)

    def _start(self, call: HelperCall, bound: Bound, answers: AnswersHelpers) -> None:
        if self._use is None:
            self._use = bound.used()
            self._use.__enter__()
        running = self._running[call.id] = _Running(call)
        running.task = task = self._loop.create_task(self._answer(running, bound, answers))
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, call.id))

    def _done(self, call_id: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        running = self._running.get(call_id)
        if running is not None and running.task is task:
            # Cancelled before its first step: it never came to tell its own end.
            self._finish(HelperEnd(call_id, error=_CANCELLED))

    def _cancel(self, call_id: str) -> None:
        running = self._running.get(call_id)
        if running is not None:
            if running.task is not None:
                running.task.cancel()
        elif (ended := self._endings.get(call_id)) is not None:
            # It crossed its ending on the way, or the ending was lost with the pipe.
            self._tell_again(ended)
        elif self._full or len(call_id) > frames.ID_CHARS:
            self._violate("helper calls are cancelled that are not under way")
        else:
            self._refuse(call_id, _CANCELLED)

    @property
    def _full(self) -> bool:
        running = len(self._running)
        return running >= HELPER_CALLS_MAX or running + len(self._endings) >= _UNHEARD_MAX

    def _refuse(self, call_id: str, why: str) -> None:
        end = HelperEnd(call_id, error=why)
        self._endings.add(end)
        self._say(end)

    def _tell_again(self, end: HelperEnd) -> None:
        """Tell an ending once more over a newer pipe; over the same one it is on its way already."""
        if self._told_over is not self._line.peer:
            self._told_over = self._line.peer
            self._told_again.clear()
        if end.id not in self._told_again:
            if len(self._told_again) >= _EARLY_MAX:
                self._told_again = {known for known in self._told_again if self._endings.get(known) is not None}
            self._told_again.add(end.id)
            self._say(end)

    # --- one call -----------------------------------------------------------------------------------------

    async def _answer(self, running: _Running, bound: Bound, answers: AnswersHelpers) -> None:
        call = running.call
        try:
            end = await self._ending(running, bound, answers)
        except asyncio.CancelledError:
            end = HelperEnd(call.id, error=_CANCELLED)
        except TimeoutError:
            end = HelperEnd(call.id, error=f"{call.helper} was not done in time")
        except WorkbenchError as error:
            end = HelperEnd(call.id, error=error.message[:_ERROR_CHARS])
        except Exception as error:  # the gateway's border: a defect of ours ends one call, and nothing else
            log.exception("a helper call failed", helper=call.helper, session=bound.session().id)
            end = HelperEnd(call.id, error=f"something failed inside the server ({type(error).__name__})")
        self._finish(end)

    async def _ending(self, running: _Running, bound: Bound, answers: AnswersHelpers) -> HelperEnd:
        call = running.call
        execution = bound.running(call.execution) if call.execution is not None else None
        timeout_s = frames.timeout_s(call, execution)
        async with asyncio.timeout(timeout_s + CALL_SLACK_S):
            async with self._arguments(call, timeout_s) as arguments:
                # It is in memory until the sandbox has it.
                with answers.holding():
                    answer = await answers.answer(
                        SessionCall(
                            call.id,
                            bound.session(),
                            call.helper,
                            arguments,
                            execution.id if execution is not None else None,
                            timeout_s,
                            self._files,
                            lambda done, total: self._progress(running, done, total),
                            *(() if execution is None else (execution.helper_called,)),
                        )
                    )
                    return await self._told(call, answer, timeout_s)

    @asynccontextmanager
    async def _arguments(self, call: HelperCall, timeout_s: float) -> AsyncIterator[msgspec.Raw]:
        """Give the arguments of a call. Those in a file are read when there is room for them, and held meanwhile."""
        path = call.arguments_path
        if path is None:
            yield call.arguments
            return
        size = max(0, (await self._files.stat(path)).size)
        if size > HELPER_ARGUMENTS_MAX_BYTES:
            raise CallFault("invalid", f"the arguments have over {HELPER_ARGUMENTS_MAX_BYTES} bytes")
        async with self._room.taken(size):
            yield await self._read_arguments(path, size, timeout_s)

    async def _read_arguments(self, path: str, size: int, timeout_s: float) -> msgspec.Raw:
        pieces: list[bytes] = []
        left = size
        async for piece in self._files.read(path, timeout_s=timeout_s, most=size + 1):
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise CallFault("invalid", "the file of the arguments has grown while it was read")
        return msgspec.Raw(b"".join(pieces))

    async def _told(self, call: HelperCall, answer: HelperAnswer, timeout_s: float) -> HelperEnd:
        """Give the ending with an answer: on the line, or in a file."""
        error = answer.error[:_ERROR_CHARS]
        if answer.size <= HELPER_ANSWER_INLINE_BYTES:
            return HelperEnd(call.id, frames.on_one_line(answer.pieces), error=error)
        if call.answer_path is None:
            return HelperEnd(call.id, error=error or f"the answer has {answer.size} bytes, and there is no file for it")
        await self._files.write_whole(call.answer_path, answer.pieces, timeout_s=timeout_s)
        return HelperEnd(call.id, path=call.answer_path, error=error)

    def _progress(self, running: _Running, done: int, total: int | None) -> None:
        now = self._loop.time()
        if running.call.id in self._running and (done == total or now - running.progress_at >= _PROGRESS_S):
            running.progress_at = now
            self._say(HelperProgress(running.call.id, done, total))

    def _finish(self, end: HelperEnd) -> None:
        running = self._running.pop(end.id, None)
        if running is None:
            return
        if running.task is not None and running.task is not asyncio.current_task():
            running.task.cancel()
        self._endings.add(end)
        self._say(end)
        if not self._running:
            self._release()

    def _release(self) -> None:
        use, self._use = self._use, None
        if use is not None:
            use.__exit__(None, None, None)

    def _say(self, frame: HelperEnd | HelperProgress) -> None:
        try:
            self._line.peer.helpers.say(frame)
        except PipeViolation as violation:
            log.warning("an answer of a helper could not be told", error=violation.message)
            self._line.peer.helpers.say(HelperEnd(frame.id, error="the answer could not be told"))

    def _violate(self, what: str) -> None:
        self._line.peer.helpers.violate(what)
