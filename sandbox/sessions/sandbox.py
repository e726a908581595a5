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
    ExecutionGoesOn,
    KernelStartFailed,
    Overloaded,
    PipeClosed,
    PipeError,
    RuntimeFault,
    SandboxGone,
    WorkbenchError,
)
from sandbox.limits import INTERRUPT_GRACE_S, SYNC_TIMEOUT_S
from sandbox.pipe.frames import Event, Survivor, Synced
from sandbox.pipe.helper_talk import HelperAsk
from sandbox.pipe.link import Link
from sandbox.pipe.messages import (
    Action,
    BashResult,
    CodeResult,
    Ending,
    GetStatus,
    Method,
    RestartKernel,
    RunCode,
    Started,
    Status,
    WaitReady,
    WriteFile,
)
from sandbox.pipe.peer import Peer, expect, new_call_id
from sandbox.runtimes.base import Runtime, SandboxSpec
from sandbox.sessions import source
from sandbox.sessions.engine_calls import remove_from
from sandbox.sessions.execution import Execution, ExecutionState, sandbox_gone
from sandbox.sessions.helper_calls import HelperCalls
from sandbox.sessions.helper_files import LineFiles
from sandbox.sessions.line import Line
from sandbox.sessions.live import ExecutionResult
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.reopen import Lost, why_not_running

_AUTOPSY_S = 3.0
"""How long the engine is asked why a sandbox went; an ending waits for it."""


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """A session's sandbox now: its id, last four characters, size name, age in seconds.

    `agent`: the agent's words, None while the sandbox rests; `state`: `live`, `paused` or `stopped`.
    """

    sandbox_id: str
    suffix: str
    size: str
    age_s: float
    agent: Status | None
    state: str = "live"


class LiveSandbox:
    """A sandbox with a pipe. `boot.boot` makes one.

    A pipe that is cut is opened again, and calls in flight are joined over the new one; the sandbox is lost when
    it does not run any more or cannot be reached for `call_deadline_s`.
    """

    def __init__(self, runtime: Runtime, spec: SandboxSpec, link: Link, limits: SessionLimits) -> None:
        self.spec = spec
        self.sandbox_id = spec.sandbox_id
        self.suffix = spec.sandbox_id[-4:]
        self._runtime = runtime
        self._limits = limits
        self._born = monotonic()
        self._reason: str | None = None
        self._retired = False
        self._left = False
        self.ended = False
        """Whether it is gone because it ended, by itself or from outside: it is there, with its files."""
        self._cause: str | None = None
        self._autopsy = asyncio.Lock()
        self._on_gone: Callable[[str], None] | None = None
        self._watches: dict[str, asyncio.TimerHandle] = {}
        self._line = Line(
            runtime,
            spec.sandbox_id,
            link,
            limits,
            on_lost=self._line_lost,
            on_reopened=self._extend_watches,
            on_helper=self._helper_said,
        )
        self.helpers = HelperCalls(self._line, call_deadline_s=limits.call_deadline_s)
        self.files = LineFiles(self._line, call_deadline_s=limits.call_deadline_s)
        self._line.begin()

    def __repr__(self) -> str:
        return f"<LiveSandbox {self.sandbox_id} {'gone' if self.gone else 'live'}>"

    @property
    def gone(self) -> bool:
        """Whether it cannot be used any more."""
        return self._reason is not None

    @property
    def connected(self) -> bool:
        """Whether its pipe is open now."""
        return self._line.connected

    @property
    def peer(self) -> Peer:
        """The newest pipe."""
        return self._line.peer

    def when_gone(self, callback: Callable[[str], None]) -> None:
        """Call this once, with the reason in words, when it is gone; at once if it is. Replaces an earlier one."""
        self._on_gone = callback
        if self.gone:
            self._lose("the pipe is closed")

    async def reachable(self) -> bool:
        """Wait while its pipe is opened again. Whether it can take a call now, or is lost."""
        try:
            await self._line.reopened()
        except PipeClosed:
            return False
        return True

    async def run(self, execution: Execution, body: source.Run | Survivor) -> ExecutionResult:
        """Run code or a command, or follow what an earlier controller began, to its ending.

        Progress goes to the execution.

        Raises:
            Overloaded: the sandbox has too much to do already.
            CallFault: the agent refused the call for another reason.
            ExecutionGoesOn: the sandbox was left to the next controller.
        """
        began = monotonic()
        try:
            if not isinstance(body, Survivor) and source.is_long(body):
                body = await self._write_source(body)
            execution.stop_with(partial(self.cancel, execution.id), sent=True)
            execution.acknowledge_with(partial(self._line.acknowledge, execution.id))
            return await self._call(execution, body)
        except PipeError as error:
            if self._left:
                raise _goes_on(execution) from None
            self._lose(error.message)
            return sandbox_gone(execution.kind, await self.cause(), 1000 * (monotonic() - began), files_kept=self.ended)
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
        status = await self._answered(GetStatus())
        return SandboxStatus(self.sandbox_id, self.suffix, self.spec.size.name, monotonic() - self._born, status)

    def outline(self, state: str) -> SandboxStatus:
        """Say of a sandbox at rest what can be said without its agent."""
        return SandboxStatus(self.sandbox_id, self.suffix, self.spec.size.name, monotonic() - self._born, None, state)

    async def has_jobs(self) -> bool:
        """Whether background jobs of bash run, or anything else. Raises as `status`, and `CallFault`."""
        agent = await self._answered(GetStatus())
        return bool(agent.background_jobs or agent.bash_running or agent.running or agent.queued)

    async def restart_kernel(self) -> Status:
        """Give it a new kernel; what runs ends, variables are lost, files stay.

        Raises `SandboxGone` when it does not answer any more, `KernelStartFailed` when no kernel can be started.
        """
        try:
            return await self._answered(RestartKernel(), timeout_s=self._limits.boot_deadline_s)
        except CallFault as fault:
            words = f"No Python kernel could be started: {fault.message}"
            raise KernelStartFailed(words, suggested_fix="Mend it by bash, or delete the session.") from fault

    async def ready(self) -> None:
        """Greet the agent and wait for its kernel. Raises `PipeError` or `CallFault`."""
        hello = await self._line.greet(SYNC_TIMEOUT_S)
        await self.peer.call(WaitReady(), timeout_s=self._limits.boot_deadline_s)
        self._line.keep(hello.boot)

    async def greet(self, timeout_s: float) -> Synced:
        """Greet an agent that an earlier controller started, and give what it says of itself. Raises `PipeError`."""
        self.helpers.inherit()
        hello = await self._line.greet(timeout_s)
        self._line.keep(hello.boot)
        return hello

    def leave(self) -> None:
        """Close the pipe and let the sandbox be: what runs goes on, the next controller finds it."""
        self._left = True
        self._on_gone = None
        if self._reason is None:
            self._reason = "the controller stopped"
        self._stop_watches()
        self.helpers.shut_down()
        self._line.close()

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

    async def _call(self, execution: Execution, body: source.Run | Survivor) -> ExecutionResult:
        queued = isinstance(body, RunCode) or (isinstance(body, Survivor) and body.running_s is None)

        def on_event(event: Event) -> None:
            # From its start on an execution has less time than it had with the wait in the queue.
            if queued and isinstance(event.body, Started) and execution.state is ExecutionState.QUEUED:
                self._watch(execution.id, execution.timeout_s + self._limits.silence_s)
            execution.progress(event.body, event.seq)

        async def ask(peer: Peer, left_s: float) -> ExecutionResult:
            if execution.interrupted:
                # An interrupt may have been lost with the pipe; said again right behind the call.
                asyncio.get_running_loop().call_soon(peer.cancel, execution.id)
            if isinstance(body, Survivor):
                result = await peer.join(execution.id, deadline_s=left_s, on_event=on_event, held=True)
            else:
                result = await peer.call(
                    body,
                    timeout_s=execution.timeout_s,
                    deadline_s=left_s,
                    call_id=execution.id,
                    on_event=on_event,
                    live=True,
                    held=True,
                )
            return expect(result, CodeResult) if execution.kind == "python" else expect(result, BashResult)

        return await self._line.ask(ask, _seconds_left(execution, body) + self._limits.silence_s)

    async def _write_source(self, body: source.Run) -> source.Run:
        status = await self._short_call(GetStatus(), self._limits.call_deadline_s)
        path = source.new_path(status.home)

        async def ask(peer: Peer, _left_s: float) -> object:
            return await peer.write_file(WriteFile(path), source.pieces(body), timeout_s=self._limits.call_deadline_s)

        await self._line.ask(ask, self._limits.call_deadline_s)
        return source.by_path(body, path)

    async def _answered(self, body: Method, timeout_s: float | None = None) -> Status:
        try:
            return await self._short_call(body, timeout_s or self._limits.call_deadline_s)
        except PipeError as error:
            self._lose(error.message)
            raise SandboxGone(f"the sandbox is gone: {await self.cause()}") from error

    async def _short_call(self, body: Method, timeout_s: float) -> Status:
        call_id = new_call_id()

        async def ask(peer: Peer, left_s: float) -> Status:
            return expect(await peer.call(body, timeout_s=timeout_s, deadline_s=left_s, call_id=call_id), Status)

        return await self._line.ask(ask, timeout_s + self._limits.silence_s)

    def rest(self) -> None:
        """It is frozen from outside on purpose: a pipe that is cut meanwhile says nothing about it."""
        self._line.rest()

    def wake(self) -> None:
        """It goes on; a pipe that was cut meanwhile is opened again."""
        self._line.wake()

    # --- deadlines and loss ---------------------------------------------------------------------------

    def _watch(self, call_id: str, seconds: float) -> None:
        self._unwatch(call_id)
        words = f"its agent did not end an execution within {seconds:g} s and is taken for dead"
        self._watches[call_id] = asyncio.get_running_loop().call_later(seconds, self._expire, call_id, words)

    def _expire(self, call_id: str, words: str) -> None:
        if not self._line.connected:  # it cannot say that it ended
            self._watch(call_id, self._limits.silence_s)
        else:
            self._lose(words)

    def _extend_watches(self) -> None:
        now = asyncio.get_running_loop().time()
        for call_id, timer in list(self._watches.items()):
            self._watch(call_id, max(timer.when() - now, self._limits.silence_s))

    def _unwatch(self, call_id: str) -> None:
        if (timer := self._watches.pop(call_id, None)) is not None:
            timer.cancel()

    def _helper_said(self, frame: HelperAsk) -> None:
        self.helpers.take(frame)

    def _line_lost(self, lost: Lost) -> None:
        if lost.ended:
            self.ended, self._cause = True, lost.reason
        self._lose(lost.reason)

    def _lose(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
        self._stop_watches()
        self.helpers.close()
        self._line.close()
        callback, self._on_gone = self._on_gone, None
        if callback is not None:
            callback(self._reason)

    def _stop_watches(self) -> None:
        for timer in self._watches.values():
            timer.cancel()
        self._watches.clear()

    async def _find_cause(self) -> str:
        reason = self._reason or "its pipe closed"
        if self._retired:
            return reason
        try:
            async with asyncio.timeout(_AUTOPSY_S):
                info = await self._runtime.inspect(self.sandbox_id)
        except (RuntimeFault, TimeoutError):
            return f"{reason}; the engine does not answer either"
        return why_not_running(info) or reason


def _seconds_left(execution: Execution, body: source.Run | Survivor) -> float:
    """How long an execution may take from now on by its own deadlines."""
    match body:
        case RunCode():
            return body.queue_timeout_s + execution.timeout_s
        case Survivor(ended=True):
            return 0.0
        case Survivor(running_s=None):
            return max(0.0, body.queue_timeout_s + execution.timeout_s - body.age_s)
        case Survivor(running_s=float(running_s)):
            return max(0.0, execution.timeout_s - running_s)
        case _:
            return execution.timeout_s


def _goes_on(execution: Execution) -> WorkbenchError:
    """What who waits is told when the controller stops before the end."""
    if not execution.sent:
        return Overloaded("the controller was shut down before the execution began", retry_after_s=10)
    return ExecutionGoesOn(
        f"the controller is shut down; execution {execution.id} goes on in its sandbox",
        suggested_fix=f"Do not send it again: ask GET /v1/executions/{execution.id} once the controller is back.",
    )


def _refused(execution: Execution, fault: CallFault) -> ExecutionResult:
    """Give the ending that a fault stands for, or raise what the caller should see."""
    if fault.fault == "cancelled" and execution.interrupted:
        result = CodeResult if execution.kind == "python" else BashResult
        return result(Ending.INTERRUPTED, Action.INTERRUPTED)
    refusal: WorkbenchError = fault
    if fault.fault == "busy":
        refusal = Overloaded(fault.message, retry_after_s=5)
    raise refusal from None
