"""The gateway: every helper call of every session passes here, in one order.

Policy of the session, budget, a turn, the call with its deadline, sending again what was not done; then a row of the
audit, a metric, and news for those who follow the execution.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from sandbox.errors import (
    HelperRefused,
    NotFound,
    Overloaded,
    UpstreamError,
    UpstreamUnavailable,
    WorkbenchError,
)
from sandbox.gateway.audit import Audit
from sandbox.gateway.budget import Budget, Kind
from sandbox.gateway.calling import CANCELLED, FAILED, OK, REFUSED, Course, Origin
from sandbox.gateway.methods import Method, ProxyExecute, RunTool
from sandbox.gateway.methods.base import Sending
from sandbox.gateway.methods.forward import ForwardMeta
from sandbox.gateway.methods.model import InvokeModel, ModelArguments
from sandbox.gateway.methods.proxy import ProxyArguments
from sandbox.gateway.observer import GatewayObserver
from sandbox.gateway.policy import Policies, Policy
from sandbox.gateway.retry import Retries
from sandbox.gateway.turns import Turns
from sandbox.gateway.unsent import UnsentRows
from sandbox.sessions.helper_port import HelperAnswer, SessionCall
from sandbox.sessions.session import Session, storable
from sandbox.upstreams.answer_room import AnswerRoom
from sandbox.upstreams.base import ProxyAnswer, ToolAnswer

LIST_HELPERS: Final = "list_helpers"
MULTI_EXECUTE: Final = "multi_execute"
FORWARD: Final = "forward"

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What a gateway is made of.

    `newest`: gives a session as it is now. `answers`: room for what upstreams answer. `redact`: takes credentials out
    of words. `timeout_s`: of a call; less may be asked.
    """

    newest: Callable[[Session], Session]
    answers: AnswerRoom
    policies: Policies
    budget: Budget
    turns: Turns
    audit: Audit
    redact: Callable[[str], str]
    retries: int
    timeout_s: float
    audit_arguments: bool = False


@dataclass(frozen=True, slots=True)
class _Order(Generic[R]):
    """A call that may be sent. `asked`: its arguments as they came; `arguments`: as `policy` settled them."""

    method: Method[Any, R]
    origin: Origin
    asked: Any
    policy: Policy
    arguments: Any


class Gateway:
    """Answers the helper calls of sessions. `methods`: by name."""

    def __init__(self, methods: Mapping[str, Method[Any, Any]], parts: GatewayParts, observer: GatewayObserver) -> None:
        self._methods = methods
        self._parts = parts
        self._observer = observer
        self._retries = Retries(parts.retries, observer.helper_retried)
        self._tool = next(method for method in methods.values() if isinstance(method, RunTool))
        self._model = next(method for method in methods.values() if isinstance(method, InvokeModel))
        self._forward = ForwardMeta(self._tool.tools, self._tool.redact)
        self._proxy = next(method for method in methods.values() if isinstance(method, ProxyExecute))
        self._unsent = UnsentRows()
        self._running: set[asyncio.Task[Any]] = set()
        self._closing = False

    # --- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to keep the audit small."""
        self._parts.audit.start()

    async def aclose(self, timeout_s: float) -> None:
        """Refuse new calls, cancel those under way, and store what is left of the audit."""
        self._closing = True
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        await self._parts.audit.aclose(timeout_s)

    @property
    def turns(self) -> Turns:
        """What runs and waits."""
        return self._parts.turns

    @property
    def audit(self) -> Audit:
        """The calls that were made."""
        return self._parts.audit

    @property
    def policies(self) -> Policies:
        """What sessions may use."""
        return self._parts.policies

    # --- calls --------------------------------------------------------------------------------------------

    def holding(self) -> AbstractContextManager[None]:
        """See `AnswersHelpers.holding`."""
        return self._parts.answers.holding()

    async def answer(self, call: SessionCall) -> HelperAnswer:
        """See `AnswersHelpers.answer`."""
        try:
            answer = await self._answer(call)
        except WorkbenchError as error:
            return HelperAnswer(error=self._parts.redact(words_of(error)))
        if answer.error:
            return HelperAnswer(answer.result, self._parts.redact(answer.error))
        return answer

    async def run_tool(
        self,
        session: Session,
        slug: str,
        arguments: dict[str, Any],
        *,
        account: str | None = None,
        timeout_s: float | None = None,
        helper: str = MULTI_EXECUTE,
    ) -> ToolAnswer:
        """Run a tool for a session that asks from outside of its sandbox, under the same rules.

        Raises:
            HelperRefused: policy or budget.
            InvalidArguments, NotFound, UpstreamError, Overloaded: as the helper's error would say.
        """
        size = msgspec.Raw(msgspec.json.encode(arguments))
        origin = Origin(helper, session, size, timeout_s or self._parts.timeout_s)
        return await self._from_outside(self._tool, lambda: self._tool.asked(slug, arguments, account), origin)

    async def forward(
        self, session: Session, slug: str, arguments: dict[str, Any], *, timeout_s: float | None = None
    ) -> ToolAnswer:
        """Let the backend answer a meta tool for a session. Raises as `run_tool`; `NotFound`: it has no such tool."""
        size = msgspec.Raw(msgspec.json.encode(arguments))
        origin = Origin(FORWARD, session, size, timeout_s or self._parts.timeout_s)
        return await self._from_outside(self._forward, lambda: self._tool.asked(slug, arguments, None), origin)

    async def request(self, session: Session, arguments: ProxyArguments) -> ProxyAnswer:
        """Send one raw request for a session that asks from outside of its sandbox. Raises as `run_tool`."""
        size = msgspec.Raw(msgspec.json.encode(arguments))
        origin = Origin(ProxyExecute.name, session, size, self._parts.timeout_s)
        return await self._from_outside(self._proxy, lambda: arguments, origin)

    async def ask_model(self, session: Session, query: str, *, helper: str) -> str:
        """Ask the model for a session; counts as `invoke_llm` does. Raises as `run_tool`."""
        size = msgspec.Raw(msgspec.json.encode(query))
        origin = Origin(helper, session, size, self._model.timeout_s or self._parts.timeout_s)
        return await self._from_outside(self._model, lambda: ModelArguments(query), origin)

    async def _answer(self, call: SessionCall) -> HelperAnswer:
        if call.helper == LIST_HELPERS:
            return self._listing(call.session)
        method = self._methods.get(call.helper)
        if method is None:
            raise NotFound(f"no helper {call.helper[:50]!r}; there are {', '.join(self._methods)}")
        origin = Origin(
            call.helper,
            call.session,
            call.arguments,
            min(call.timeout_s, method.timeout_s or self._parts.timeout_s),
            call.execution_id,
            call.files,
            call.on_progress,
            call.on_called,
        )
        _, answer = await self._pass(method, lambda: method.read(call.arguments), origin)
        return answer

    async def _from_outside(self, method: Method[Any, R], read: Callable[[], Any], origin: Origin) -> R:
        try:
            result, _ = await self._pass(method, read, origin)
        except WorkbenchError as error:
            error.message = self._parts.redact(error.message)
            error.args = (error.message,)
            raise
        return result

    def _listing(self, session: Session) -> HelperAnswer:
        """Give the names of the helpers that the session may call."""
        policy = self._parts.policies.of(session)
        names = []
        for name in self._methods:
            try:
                policy.check_helper(name)
            except HelperRefused:
                continue
            names.append(name)
        return HelperAnswer(msgspec.Raw(msgspec.json.encode(names)))

    # --- the order of things --------------------------------------------------------------------------------

    async def _pass(self, method: Method[Any, R], read: Callable[[], Any], origin: Origin) -> tuple[R, HelperAnswer]:
        """Take one call through; whatever becomes of it is told in the end."""
        course = Course()
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
        try:
            with self.holding():
                result, answer = await self._go(method, read, origin, course)
        except HelperRefused:
            course.status = REFUSED
            raise
        except WorkbenchError as error:
            course.status = error.slug
            raise
        except asyncio.CancelledError:
            course.status = CANCELLED
            raise
        else:
            course.status = FAILED if answer.error else OK
            course.answer_bytes = answer.size
            return result, answer
        finally:
            if task is not None:
                self._running.discard(task)
            self._tell(origin, course)

    async def _go(
        self, method: Method[Any, R], read: Callable[[], Any], origin: Origin, course: Course
    ) -> tuple[R, HelperAnswer]:
        if self._closing:
            raise Overloaded("the controller shuts down", retry_after_s=10)
        session, until = origin.session, course.began + origin.timeout_s
        policy = self._policy(method, origin)
        asked = read()
        course.target = storable(method.target(asked))
        method.ready(asked)
        try:
            async with asyncio.timeout(origin.timeout_s):
                order = _Order(method, origin, asked, policy, await _permitted(method, asked, policy))
                meter = await self._parts.budget.meter(session.id, session.owner)
                meter.spend(Kind.CALLS, 1)
                method.spend(order.arguments, meter)

                sending = Sending(origin.principal, until, meter, origin.files, origin.on_progress)
                result = await self._retries.run(lambda: self._send(order, sending, course), until=until)
        except TimeoutError:
            raise course.undone or _too_slow(method.name, course, origin) from None
        return result, method.answer(result)

    async def _send(self, order: _Order[R], sending: Sending, course: Course) -> R:
        """Send once, in its turn. While it waits to be sent again, others have the turn."""
        session_id = sending.principal.session_id
        await self._parts.turns.take(session_id)
        try:
            arguments = order.arguments
            if (policy := self._policy(order.method, order.origin)) is not order.policy:
                # The session's configuration was changed while it waited.
                arguments = await _permitted(order.method, order.asked, policy)
            course.attempts += 1
            course.undone = None
            return await order.method.send(arguments, sending)
        except UpstreamError as error:
            course.undone = error
            raise
        finally:
            self._parts.turns.give_back(session_id)

    def _policy(self, method: Method[Any, Any], origin: Origin) -> Policy:
        """Give the policy of the session as it is now. Raises `HelperRefused` when it forbids all such calls."""
        policy = self._parts.policies.of(self._parts.newest(origin.session))
        if origin.from_sandbox:
            policy.check_helper(method.name)
        elif method is self._proxy:
            policy.check_requests()
        return policy

    def _tell(self, origin: Origin, course: Course) -> None:
        seconds = course.seconds
        self._observer.helper_called(origin.helper, course.status, seconds)
        if course.attempts or self._unsent.is_kept(origin.session.id, course.began_at):
            self._parts.audit.note(course.record(origin, seconds, with_arguments=self._parts.audit_arguments))
        if origin.on_called is not None:
            origin.on_called(course.news(origin.helper, seconds))


def words_of(error: WorkbenchError) -> str:
    """Write an error for code that reads one text: what is wrong, and what to do."""
    return f"{error.message}. {error.suggested_fix}" if error.suggested_fix else error.message


async def _permitted(method: Method[Any, Any], asked: Any, policy: Policy) -> Any:
    """Give the arguments with what the policy fills in. Raises `HelperRefused` when it forbids their target."""
    await method.permit(asked, policy)
    return method.settled(asked, policy)


def _too_slow(name: str, course: Course, origin: Origin) -> UpstreamUnavailable:
    what = f"{name} {course.target}".strip()
    if not course.attempts:
        return UpstreamUnavailable(
            f"{what}: waited {origin.timeout_s:g} s for its turn and was not sent",
            suggested_fix="Make fewer calls at the same time, or raise `helper_calls_at_once`.",
        )
    return UpstreamUnavailable(f"{what}: no answer within {origin.timeout_s:g} s; it may have been done")
