"""Helper calls as the controller takes them: whose they are, what a cut pipe does to them, and what ends them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
import pytest
import structlog

from sandbox.limits import (
    HELPER_ANSWER_INLINE_BYTES,
    HELPER_ARGUMENTS_HELD_BYTES,
    HELPER_ARGUMENTS_MAX_BYTES,
    HELPER_CALLS_MAX,
    MIB,
)
from sandbox.pipe import framing
from sandbox.pipe.frames import HelperCall, HelperEnd, HelperProgress
from sandbox.pipe.messages import RunCode
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.reaper import IdleRules
from sandbox.sessions.session import Session
from tests.sessions.conftest import MakeManager
from tests.support.clock import ManualClock, until
from tests.support.far_end import FarEnd
from tests.support.scripted_runtime import Box, ScriptedRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@dataclass
class Asking:
    """Who asks in a sandbox, for one call. `end` is set when it has ended; `ended` is how often that was said."""

    call: HelperCall
    progress: list[int] = field(default_factory=list)
    told: asyncio.Future[HelperEnd] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def progressed(self, progress: HelperProgress) -> None:
        self.progress.append(progress.done)

    def ended(self, end: HelperEnd) -> None:
        self.told.set_result(end)

    async def end(self) -> HelperEnd:
        async with asyncio.timeout(20):
            return await self.told

    async def result(self) -> bytes:
        return bytes((await self.end()).result)


class Desk:
    """A session with a sandbox, and its far end. Calls come from the sandbox's own end of the pipe."""

    def __init__(self, manager: SessionManager, session: Session, scripted: ScriptedRuntime, far: FarEnd) -> None:
        self.manager = manager
        self.session = session
        self.scripted = scripted
        self.far = far
        self._numbers = 0

    @property
    def box(self) -> Box:
        return self.scripted.boxes[self.scripted.created[-1]]

    def ask(self, helper: str, arguments: object = None, **more: object) -> Asking:
        """Say a call as the agent does."""
        self._numbers += 1
        raw = msgspec.Raw(msgspec.json.encode({} if arguments is None else arguments))
        asking = Asking(HelperCall(f"h{self._numbers}", helper, raw, **{"answer_path": "/a/answer", **more}))  # type: ignore[arg-type]
        self.box.agent.answerer.helpers.ask(asking.call, asking)
        return asking

    def cancel(self, asking: Asking) -> None:
        self.box.agent.answerer.helpers.cancel(asking.call.id)

    def say(self, call: HelperCall) -> None:
        """Say what no agent of ours would say."""
        assert self.box.link is not None
        self.box.link.arrive(framing.encode(call))

    def cut(self) -> None:
        """Cut the pipe, and nothing else."""
        assert self.box.link is not None
        self.box.link.close()

    async def run(self, code: str) -> Execution:
        execution = await self.manager.start(self.session, RunCode(code), timeout_s=60)
        if code == "wait":
            await self.scripted.started.acquire()
        else:
            await execution.wait()
        return execution


@pytest.fixture
async def far(anyio_backend: str) -> FarEnd:
    return FarEnd()


@pytest.fixture
async def desk(make_manager: MakeManager, scripted: ScriptedRuntime, far: FarEnd) -> AsyncIterator[Desk]:
    manager = await make_manager(scripted, helpers=far)
    made = Desk(manager, await manager.resolve("ann", "x", None), scripted, far)
    await made.run("echo a")
    yield made
    far.released.set()


async def test_a_call_reaches_the_gateway_with_its_session_and_the_answer_comes_back(desk: Desk) -> None:
    end = await desk.ask("echo", {"a": "é\n"}).end()
    assert (msgspec.json.decode(end.result), end.error, end.path) == ({"a": "é\n"}, "", None)
    assert [call.session for call in desk.far.calls] == [desk.session]


async def test_progress_comes_before_the_answer(desk: Desk) -> None:
    asking = desk.ask("progress")
    assert await asking.result() == b'"done"'
    assert asking.progress == [1, 2, 3]


@pytest.mark.parametrize(("helper", "words"), [("no_such", "no helper no_such"), ("defect", "ZeroDivisionError")])
async def test_what_goes_wrong_is_words_and_the_sandbox_goes_on(desk: Desk, helper: str, words: str) -> None:
    assert words in (await desk.ask(helper).end()).error
    assert (await desk.ask("echo").end()).error == ""


async def test_a_defect_ends_its_call_once_with_the_cause_in_the_log_and_not_in_the_answer(desk: Desk) -> None:
    with structlog.testing.capture_logs() as lines:
        end = await desk.ask("defect").end()
        await desk.run("echo said")
    assert end.error == "something failed inside the server (ZeroDivisionError)"
    assert desk.box.link is not None
    assert desk.box.link.written.count(b'"helper_end"') == 1
    logged = [line for line in lines if line["event"] == "a helper call failed"]
    assert [(line["helper"], line["session"], line["exc_info"]) for line in logged] == [
        ("defect", desk.session.id, True)
    ]


async def test_an_answer_with_line_breaks_in_its_json_stays_one_line(desk: Desk) -> None:
    end = await desk.ask("pretty").end()
    assert (bytes(end.result), end.error) == (b'{"a":[1,2]}', "")


async def test_a_long_answer_is_written_to_the_file_that_was_named(desk: Desk) -> None:
    at_most = await desk.ask("big", {"size": HELPER_ANSWER_INLINE_BYTES}).end()
    assert (len(at_most.result), at_most.path) == (HELPER_ANSWER_INLINE_BYTES, None)
    longer = await desk.ask("big", {"size": 3 * MIB + 1}).end()
    assert (bytes(longer.result), longer.path) == (b"null", "/a/answer")
    assert desk.box.files["/a/answer"] == b'"' + b"x" * (3 * MIB - 1) + b'"'
    no_file = await desk.ask("big", {"size": 3 * MIB}, answer_path=None).end()
    assert "no file" in no_file.error


async def test_long_arguments_are_read_from_their_file_and_bounded(desk: Desk) -> None:
    desk.box.files["/a/arguments"] = b'{"text":"' + b"x" * 200_000 + b'"}'
    end = await desk.ask("echo", arguments_path="/a/arguments").end()
    assert len(end.result) == 200_011
    assert "no file /a/none" in (await desk.ask("echo", arguments_path="/a/none").end()).error


async def test_long_arguments_of_a_sandbox_are_held_as_far_as_there_is_room_and_the_next_ones_wait(desk: Desk) -> None:
    desk.box.files["/a/arguments"] = b'{"text":"' + b"x" * (HELPER_ARGUMENTS_HELD_BYTES // 4) + b'"}'
    asking = [desk.ask("wait", arguments_path="/a/arguments") for _ in range(6)]
    await desk.far.reached(3)
    assert (await desk.ask("echo").end()).error == ""
    assert len(desk.far.asked) == 4
    desk.cancel(asking[5])
    desk.far.released.set()
    assert [(await each.end()).error for each in asking[:5]] == [""] * 5
    assert len(desk.far.asked) == 6


async def test_a_file_of_arguments_that_is_over_the_bound_is_refused_unread(desk: Desk) -> None:
    desk.box.files["/a/arguments"] = b"x" * (HELPER_ARGUMENTS_MAX_BYTES + 1)
    end = await desk.ask("echo", arguments_path="/a/arguments").end()
    assert f"over {HELPER_ARGUMENTS_MAX_BYTES} bytes" in end.error


async def test_the_execution_is_named_when_it_runs_in_this_session_and_bounds_the_time(desk: Desk) -> None:
    ended = await desk.run("echo b")
    running = await desk.run("wait")
    other = await desk.manager.resolve("bob", "y", None)
    elsewhere = await desk.manager.start(other, RunCode("wait"), timeout_s=60)
    first = desk.scripted.created[0]
    asked = {}
    for name, execution in {"here": running.id, "ended": ended.id, "elsewhere": elsewhere.id, "none": "exe_0"}.items():
        asking = Asking(HelperCall(name, "who", execution=execution, timeout_s=500.0))
        desk.scripted.boxes[first].agent.answerer.helpers.ask(asking.call, asking)
        asked[name] = msgspec.json.decode((await asking.end()).result)
    assert asked["here"]["execution"] == running.id
    assert 0 < asked["here"]["timeout_s"] <= 60
    assert {asked[name]["execution"] for name in ("ended", "elsewhere", "none")} == {None}
    assert asked["none"]["timeout_s"] == 500
    assert {each["session"] for each in asked.values()} == {desk.session.id}
    running.interrupt()
    elsewhere.interrupt()


async def test_a_cancelled_call_is_cancelled_at_the_gateway_and_still_ends(desk: Desk) -> None:
    asking = desk.ask("wait")
    await desk.far.reached(1)
    desk.cancel(asking)
    await desk.far.reached(0)
    assert desk.far.cancelled == [asking.call.id]
    assert (await desk.ask("echo").end()).error == ""
    assert not desk.box.agent.answerer.helpers


async def test_calls_that_are_cancelled_before_they_began_end_too(desk: Desk) -> None:
    for _ in range(3 * HELPER_CALLS_MAX):
        desk.cancel(desk.ask("wait"))
        await until(lambda: len(desk.box.agent.answerer.helpers) < HELPER_CALLS_MAX)
    await until(lambda: not desk.box.agent.answerer.helpers)
    assert (await desk.ask("echo").end()).error == ""


async def test_over_a_new_pipe_a_running_call_goes_on_and_is_answered_once(desk: Desk) -> None:
    asking = desk.ask("wait")
    await desk.far.reached(1)
    desk.cut()
    await desk.run("echo over the new pipe")
    desk.far.released.set()
    assert await asking.result() == b'"released"'
    assert desk.far.asked == [asking.call.id]


async def test_an_answer_that_was_lost_with_the_pipe_is_told_again_and_not_asked_again(desk: Desk) -> None:
    asking = desk.ask("wait")
    await desk.far.reached(1)
    desk.cut()
    desk.far.released.set()
    await desk.far.reached(0)
    assert await asking.result() == b'"released"'
    assert desk.far.asked == [asking.call.id]


async def test_a_call_that_was_lost_with_the_pipe_before_it_came_is_made_over_the_next_one(desk: Desk) -> None:
    desk.cut()
    asking = desk.ask("echo", {"a": 1})
    assert await asking.result() == b'{"a":1}'
    assert desk.far.asked == [asking.call.id]


async def test_a_cancellation_that_was_lost_with_the_pipe_is_said_again(desk: Desk) -> None:
    asking = desk.ask("wait")
    await desk.far.reached(1)
    desk.cut()
    desk.cancel(asking)
    await desk.far.reached(0)
    assert desk.far.cancelled == [asking.call.id]


async def test_what_an_earlier_controller_may_have_done_is_not_done_again(
    make_manager: MakeManager, scripted: ScriptedRuntime
) -> None:
    before, after = FarEnd(), FarEnd()
    limits = SessionLimits(pool_size=0, keep_sandboxes=True)
    first = await make_manager(scripted, limits, helpers=before)
    desk = Desk(first, await first.resolve("ann", "x", None), scripted, before)
    running = await desk.run("wait")
    asking = desk.ask("wait", execution=running.id)
    cancelled = desk.ask("wait")
    await before.reached(2)
    desk.cancel(cancelled)
    await before.reached(1)
    desk.cut()  # as a power cut does: nothing is said
    await first.aclose()

    second = await make_manager(scripted, limits, helpers=after)
    new = desk.ask("echo", {"new": 1})
    assert "the controller was" in (await asking.end()).error
    assert "may have been done" in (await asking.end()).error
    assert await new.result() == b'{"new":1}'
    assert after.asked == [new.call.id]
    assert second.states == {"live": 1}


async def test_at_a_shutdown_calls_are_cancelled_and_told_so(
    make_manager: MakeManager, scripted: ScriptedRuntime, far: FarEnd
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=0, keep_sandboxes=True), helpers=far)
    desk = Desk(manager, await manager.resolve("ann", "x", None), scripted, far)
    await desk.run("wait")
    asking = desk.ask("wait")
    await far.reached(1)
    manager.stop_taking()
    await manager.aclose()
    await far.reached(0)
    assert far.cancelled == [asking.call.id]


@pytest.mark.parametrize("how", ["lost", "deleted"])
async def test_calls_of_a_sandbox_that_is_gone_are_cancelled(desk: Desk, how: str) -> None:
    desk.ask("wait")
    desk.ask("wait")
    await desk.far.reached(2)
    if how == "lost":
        desk.box.end()
    else:
        await desk.manager.delete("ann", desk.session.id)
    await desk.far.reached(0)
    assert len(desk.far.cancelled) == 2


async def test_a_sandbox_that_belongs_to_no_session_may_not_call(
    make_manager: MakeManager, scripted: ScriptedRuntime, far: FarEnd
) -> None:
    manager = await make_manager(scripted, SessionLimits(pool_size=1), helpers=far)
    await manager.pool.filled()
    desk = Desk(manager, await manager.resolve("ann", "x", None), scripted, far)
    assert "belongs to no session" in (await desk.ask("echo").end()).error
    assert far.asked == []
    pooled = desk.box
    await desk.run("echo claim it")
    asking = Asking(HelperCall("later", "echo"))
    pooled.agent.answerer.helpers.ask(asking.call, asking)
    assert (await asking.end()).error == ""


async def test_without_a_gateway_every_call_is_refused(make_manager: MakeManager, scripted: ScriptedRuntime) -> None:
    manager = await make_manager(scripted)
    desk = Desk(manager, await manager.resolve("ann", "x", None), scripted, FarEnd())
    await desk.run("echo a")
    assert "no gateway" in (await desk.ask("echo").end()).error


async def test_a_call_under_way_keeps_the_sandbox_from_its_rest(
    make_manager: MakeManager, scripted: ScriptedRuntime, far: FarEnd
) -> None:
    clock = ManualClock()
    limits = SessionLimits(pool_size=0, idle=IdleRules(pause_after_s=10))
    manager = await make_manager(scripted, limits, helpers=far, timers=clock)
    desk = Desk(manager, await manager.resolve("ann", "x", None), scripted, far)
    await desk.run("echo a")
    asking = desk.ask("wait")
    await far.reached(1)
    clock.advance(100)
    await desk.run("echo b")
    assert manager.states == {"live": 1}
    far.released.set()
    await asking.end()
    clock.advance(11)
    await until(lambda: manager.states == {"paused": 1})


async def test_an_ending_is_told_again_only_once_over_a_pipe(desk: Desk) -> None:
    asking = desk.ask("big", {"size": 100_000})
    await asking.end()
    link = desk.box.link
    assert link is not None
    link.written.clear()
    for _ in range(5):
        desk.say(msgspec.structs.replace(asking.call, again=True))
    await desk.run("echo said")
    assert link.written.count(b'"helper_end"') == 1
