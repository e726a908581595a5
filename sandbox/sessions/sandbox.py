"""One live sandbox as the controller holds it: calls, loss, removal.

Here, and only here, a failure of the pipe becomes the ending `sandbox_gone`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic

from sandbox.errors import (
    CallFault,
    Overloaded,
    PipeError,
    RuntimeFault,
    SandboxGone,
    WorkbenchError,
)
from sandbox.limits import INTERRUPT_GRACE_S, SYNC_TIMEOUT_S
from sandbox.pipe.link import Link
from sandbox.pipe.messages import (
    Action,
    BashResult,
    CodeResult,
    Ending,
    Event,
    GetStatus,
    Method,
    RestartKernel,
    RunCode,
    Started,
    Status,
    WaitReady,
    WriteFile,
)
from sandbox.pipe.peer import Peer, expect
from sandbox.runtimes.base import Condition, Runtime, SandboxSpec
from sandbox.sessions import source
from sandbox.sessions.engine_calls import remove_from
from sandbox.sessions.execution import Execution, sandbox_gone
from sandbox.sessions.live import ExecutionResult
from sandbox.sessions.options import SessionLimits

_AUTOPSY_S = 3.0
"""How long the engine is asked why a sandbox went; an ending waits for it."""


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """A session's sandbox now: its id, last four characters, size name, age in seconds, the agent's words."""

    sandbox_id: str
    suffix: str
    size: str
    age_s: float
    agent: Status


class LiveSandbox:
    """A sandbox with an open pipe. `boot.boot` makes one."""

    def __init__(self, runtime: Runtime, spec: SandboxSpec, link: Link, limits: SessionLimits) -> None:
        self.sandbox_id = spec.sandbox_id
        self.suffix = spec.sandbox_id[-4:]
        self.size = spec.size.name
        self._runtime = runtime
        self._limits = limits
        self._born = monotonic()
        self._reason: str | None = None
        self._retired = False
        self._cause: str | None = None
        self._autopsy = asyncio.Lock()
        self._on_gone: Callable[[str], None] | None = None
        self._watches: dict[str, asyncio.TimerHandle] = {}
        self.peer = Peer(link, on_closed=self._closed)

    def __repr__(self) -> str:
        return f"<LiveSandbox {self.sandbox_id} {'gone' if self.gone else 'live'}>"

    @property
    def gone(self) -> bool:
        """Whether it cannot be used any more."""
        return self._reason is not None or self.peer.closed

    def when_gone(self, callback: Callable[[str], None]) -> None:
        """Call this once, with the reason in words, when it is gone; at once if it is. Replaces an earlier one."""
        self._on_gone = callback
        if self.gone:
            self._closed("the pipe is closed")

    async def run(self, execution: Execution, body: source.Run) -> ExecutionResult:
        """Run code or a command to its ending; progress goes to the execution.

        Raises:
            Overloaded: the sandbox has too much to do already.
            CallFault: the agent refused the call for another reason.
        """
        began = monotonic()
        try:
            if source.is_long(body):
                body = await self._write_source(body)
            execution.stop_with(partial(self.cancel, execution.id), sent=True)
            return await self._call(execution, body)
        except PipeError as error:
            self._lose(error.message)
            return sandbox_gone(execution.kind, await self.cause(), 1000 * (monotonic() - began))
        except CallFault as fault:
            return _refused(execution, fault)
        finally:
            self._unwatch(execution.id)

    def cancel(self, call_id: str) -> None:
        """Interrupt an execution; an agent that does not end it in time is taken for dead."""
        self.peer.cancel(call_id)
        self._watch(call_id, INTERRUPT_GRACE_S + self._limits.silence_s)

    async def status(self) -> SandboxStatus:
        """Ask the agent how it is.

        Raises:
            SandboxGone: it does not answer any more.
        """
        status = await self._short_call(GetStatus())
        return SandboxStatus(self.sandbox_id, self.suffix, self.size, monotonic() - self._born, status)

    async def restart_kernel(self) -> Status:
        """Give it a new kernel; what runs ends, variables are lost, files stay.

        Raises:
            SandboxGone: it does not answer any more.
        """
        return await self._short_call(RestartKernel())

    async def ready(self) -> None:
        """Greet the agent and wait for its kernel. Raises `PipeError` or `CallFault`."""
        await self.peer.sync(SYNC_TIMEOUT_S)
        await self.peer.call(WaitReady(), timeout_s=self._limits.boot_deadline_s)

    def retire(self, why: str) -> None:
        """End its use on purpose; what runs in it ends as `sandbox_gone` with these words."""
        if self._reason is None:
            self._retired = True
        self._lose(why)

    async def cause(self) -> str:
        """Say in words why it is gone; the engine is asked once."""
        async with self._autopsy:
            if self._cause is None:
                self._cause = await self._find_cause()
        return self._cause

    async def remove(self) -> str:
        """Remove what is left of it, and say why it had gone.

        Raises:
            RuntimeFault: the engine could not, or not in time.
        """
        self._lose("it was removed")
        cause = await self.cause()
        await remove_from(self._runtime, self.sandbox_id, self._limits.call_deadline_s)
        return cause

    async def _call(self, execution: Execution, body: source.Run) -> ExecutionResult:
        queue_s = body.queue_timeout_s if isinstance(body, RunCode) else 0.0

        def on_event(event: Event) -> None:
            # From its start on an execution has less time than it had with the wait in the queue.
            if queue_s and isinstance(event.body, Started):
                self._watch(execution.id, execution.timeout_s + self._limits.silence_s)
            execution.progress(event.body)

        result = await self.peer.call(
            body,
            timeout_s=execution.timeout_s,
            deadline_s=queue_s + execution.timeout_s + self._limits.silence_s,
            call_id=execution.id,
            on_event=on_event,
            live=True,
        )
        if execution.kind == "python":
            return expect(result, CodeResult)
        return expect(result, BashResult)

    async def _write_source(self, body: source.Run) -> source.Run:
        status = expect(await self.peer.call(GetStatus(), timeout_s=self._limits.call_deadline_s), Status)
        path = source.new_path(status.home)
        await self.peer.write_file(WriteFile(path), source.pieces(body), timeout_s=self._limits.call_deadline_s)
        return source.by_path(body, path)

    async def _short_call(self, body: Method) -> Status:
        try:
            timeout_s = self._limits.call_deadline_s
            result = await self.peer.call(body, timeout_s=timeout_s, deadline_s=timeout_s + self._limits.silence_s)
            return expect(result, Status)
        except PipeError as error:
            self._lose(error.message)
            raise SandboxGone(f"the sandbox is gone: {await self.cause()}") from error

    def _watch(self, call_id: str, seconds: float) -> None:
        self._unwatch(call_id)
        words = f"its agent did not end an execution within {seconds:g} s and is taken for dead"
        self._watches[call_id] = asyncio.get_running_loop().call_later(seconds, self._lose, words)

    def _unwatch(self, call_id: str) -> None:
        if (timer := self._watches.pop(call_id, None)) is not None:
            timer.cancel()

    def _lose(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
        self.peer.close()
        self._closed(reason)

    def _closed(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
        for timer in self._watches.values():
            timer.cancel()
        self._watches.clear()
        callback, self._on_gone = self._on_gone, None
        if callback is not None:
            callback(self._reason)

    async def _find_cause(self) -> str:
        reason = self._reason or "its pipe closed"
        if self._retired:
            return reason
        try:
            async with asyncio.timeout(_AUTOPSY_S):
                info = await self._runtime.inspect(self.sandbox_id)
        except (RuntimeFault, TimeoutError):
            return f"{reason}; the engine does not answer either"
        detail = f" ({info.detail[:300]})" if info.detail else ""
        match info.condition:
            case Condition.EXITED:
                return f"it ended by itself{detail}"
            case Condition.GONE:
                return f"it was removed from outside{detail}"
            case Condition.PAUSED:
                return f"it was paused from outside{detail}"
            case Condition.RUNNING:
                return reason


def _refused(execution: Execution, fault: CallFault) -> ExecutionResult:
    """Give the ending that a fault stands for, or raise what the caller should see."""
    if fault.fault == "cancelled" and execution.interrupted:
        result = CodeResult if execution.kind == "python" else BashResult
        return result(Ending.INTERRUPTED, Action.INTERRUPTED)
    refusal: WorkbenchError = fault
    if fault.fault == "busy":
        refusal = Overloaded(fault.message, retry_after_s=5)
    raise refusal from None
