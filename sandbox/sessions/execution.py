"""One run of code or of a command: what the layers above hold while it runs and after it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from enum import StrEnum
from time import monotonic
from typing import Literal

from sandbox.errors import WorkbenchError
from sandbox.pipe.messages import Action, BashResult, CodeResult, Ending, Progress, Started
from sandbox.sessions.helper_news import HelperCalled, HelperNews
from sandbox.sessions.live import ExecutionResult, LiveEvent, LiveLog, result_chars

Kind = Literal["python", "bash"]


class ExecutionState(StrEnum):
    """Where an execution is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class Execution:
    """Runs by itself: it does not depend on the request that began it.

    `id` is `exe_...`; `timeout_s` counts from the start of the cell or command. `result` is there once `state`
    is ended, unless no sandbox could be had: then `error` is. `sandbox_suffix`: last four characters of the
    sandbox's id, empty before there is one. `recreated`: in words, that the session got a new sandbox for this
    execution, or that a stopped one was started again, and what was lost; None when nothing was. `resized`: in words,
    that its sandbox got another size just before, or why not. `released`: why this
    controller stopped to follow it while it goes on.
    """

    def __init__(
        self,
        execution_id: str,
        *,
        session_id: str,
        owner: str,
        kind: Kind,
        created_at: datetime,
        timeout_s: float,
        live_chars: int,
    ) -> None:
        self.id = execution_id
        self.session_id = session_id
        self.owner = owner
        self.kind: Kind = kind
        self.created_at = created_at
        self.timeout_s = timeout_s
        self.state = ExecutionState.QUEUED
        self.result: ExecutionResult | None = None
        self.error: WorkbenchError | None = None
        self.sandbox_suffix = ""
        self.recreated: str | None = None
        self.resized: str | None = None
        self.released: WorkbenchError | None = None
        self._live = LiveLog(live_chars)
        self._news = HelperNews(self._live.note)
        self._ended = asyncio.Event()
        self._stop: Callable[[], object] | None = None
        self._acknowledge: Callable[[], None] | None = None
        self._interrupted = False
        self._sent = False
        self._asked_at = monotonic()
        self._sent_at: float | None = None
        self._started_at: float | None = None
        self._waited_s = 0.0

    def __repr__(self) -> str:
        return f"Execution({self.id}, {self.kind}, {self.state})"

    async def wait(self) -> ExecutionResult:
        """Wait for the end.

        Cancelling the wait leaves the execution alone.

        Raises:
            WorkbenchError: it did not run, because no sandbox could be had or the sandbox refused the call.
            ExecutionGoesOn: this controller stops; the execution does not.
        """
        await self._ended.wait()
        if self.result is not None:
            return self.result
        raise self.error or self.released or RuntimeError(f"{self!r} ended without a result")

    async def ended(self) -> None:
        """Wait for the end, whatever it is."""
        await self._ended.wait()

    def interrupt(self) -> None:
        """Ask it to end now, as `interrupted`; what has ended stays as it is."""
        if self.state is ExecutionState.ENDED:
            return
        self._interrupted = True
        if self._stop is not None:
            self._stop()

    async def follow(self, after: int = 0) -> AsyncIterator[LiveEvent]:
        """Give events from `after` on, as they come; the last one holds the result.

        Raises:
            WorkbenchError: as `wait`, after the events there were.
        """
        async for event in self._live.follow(after):
            yield event
        if self.error is not None:
            raise self.error

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to end."""
        return self._interrupted

    @property
    def sent(self) -> bool:
        """Whether the sandbox was asked to run it: lines of it may have run."""
        return self._sent

    @property
    def chars(self) -> int:
        """Characters of output that it holds in memory."""
        return self._live.chars + (result_chars(self.result) if self.result is not None else 0)

    @property
    def last_event(self) -> int:
        """Number of its newest event; once it has a result, that is the one with the result."""
        return self._live.last

    @property
    def left_s(self) -> float:
        """Seconds that it has from now on, by its own deadline."""
        begun_at = self._started_at if self._started_at is not None else monotonic()
        return max(0.0, begun_at + self.timeout_s - monotonic())

    def stages(self) -> dict[str, float]:
        """Give the seconds of each stage of an execution that has just ended: what it went through of them.

        `sandbox`: until it had one; `queue`: there, behind others; `run`: as the agent counts; `pipe`: the rest.
        """
        now = monotonic()
        if self._sent_at is None:
            return {"sandbox": now - self._asked_at}
        stages = {"sandbox": self._sent_at - self._asked_at}
        if self._started_at is not None and self.result is not None:
            # As the agent counts, within what can be: it is not trusted.
            called = now - self._sent_at
            run = max(0.0, min(self.result.duration_ms / 1000, called))
            queue = max(0.0, min(self._waited_s, called - run))
            stages |= {"queue": queue, "run": run, "pipe": called - run - queue}
        return stages

    # --- for the runner ---------------------------------------------------------------------------

    def stop_with(self, stop: Callable[[], object], *, sent: bool) -> None:
        """Say how an interrupt is carried out from here on. One that came before is the runner's to see."""
        self._stop = stop
        self._sent = sent
        if sent:
            self._sent_at = monotonic()

    def acknowledge_with(self, acknowledge: Callable[[], None]) -> None:
        """Say how its sandbox hears that the ending is safe; until then the sandbox keeps it too."""
        self._acknowledge = acknowledge

    def acknowledge(self) -> None:
        """Its ending is safe, or nobody will ask for it: the sandbox may forget it."""
        acknowledge, self._acknowledge = self._acknowledge, None
        if acknowledge is not None:
            acknowledge()

    def progress(self, body: Progress, seq: int | None = None) -> None:
        """Take progress from the sandbox; `seq` is the number it has there."""
        if isinstance(body, Started) and self.state is ExecutionState.QUEUED:
            self.state = ExecutionState.RUNNING
            self._started_at = monotonic()
            self._waited_s = body.waited_ms / 1000
        self._live.append(body, seq)

    def helper_called(self, called: HelperCalled) -> None:
        """A helper call of it has ended: those who follow hear of it, at a bounded rate."""
        self._news.called(called)

    def release(self, why: WorkbenchError) -> None:
        """Follow it no more: who waits gets `why`, who follows comes to the end of what there is."""
        if self.state is ExecutionState.ENDED:
            return
        self.released = why
        self._stop = None
        self._news.flush()
        self._live.close()
        self._ended.set()

    def end(self, outcome: ExecutionResult | WorkbenchError, seq: int | None = None) -> None:
        """Set how it ended; only the first time counts. `seq`: number of the last event; None: the next one."""
        if self.state is ExecutionState.ENDED or self.released is not None:
            return
        self.state = ExecutionState.ENDED
        self._stop = None
        self._news.flush()
        if isinstance(outcome, WorkbenchError):
            self.error = outcome
        else:
            self.result = outcome
            self._live.append(outcome, seq)
        self._live.close()
        self._ended.set()


def not_started(kind: Kind, why: str) -> ExecutionResult:
    """Make the result of an execution that was interrupted before a line of it ran."""
    result = CodeResult if kind == "python" else BashResult
    return result(Ending.INTERRUPTED, Action.NOT_STARTED, note=why)


def sandbox_gone(kind: Kind, cause: str, duration_ms: float = 0.0, *, files_kept: bool = False) -> ExecutionResult:
    """Make the result of an execution whose sandbox disappeared: variables are lost, and files unless they are kept."""
    if kind == "python":
        return CodeResult(
            Ending.SANDBOX_GONE,
            variables_kept=False,
            files_kept=files_kept,
            note=cause,
            duration_ms=duration_ms,
        )
    return BashResult(Ending.SANDBOX_GONE, files_kept=files_kept, note=cause, duration_ms=duration_ms)
