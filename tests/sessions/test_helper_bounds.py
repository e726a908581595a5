"""An agent that is not ours any more: what it says of helper calls is bounded, or its pipe is ended."""

import msgspec
import pytest

from sandbox.limits import HELPER_ACK_EVERY, HELPER_ARGUMENTS_INLINE_BYTES, HELPER_CALLS_MAX
from sandbox.pipe import framing
from sandbox.pipe.frames import Ack, HelperCall, HelperCancel
from sandbox.pipe.messages import CodeResult, Ending
from sandbox.sessions.helper_calls import HelperCalls
from sandbox.sessions.sandbox import LiveSandbox
from tests.sessions.test_helper_calls import Desk, desk, far

__all__ = ["desk", "far"]

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


def live(desk: Desk) -> LiveSandbox:
    place = desk.manager._places.get(desk.session.id)
    assert place is not None
    assert place.live is not None
    return place.live


@pytest.mark.parametrize(
    "call",
    [
        HelperCall("i" * 101, "echo"),
        HelperCall("i", "e" * 101),
        HelperCall("i", "echo", execution="e" * 101),
        HelperCall("i", "echo", answer_path="relative"),
        HelperCall("i", "echo", arguments_path="/" * 5000),
        HelperCall("i", "echo", timeout_s=-1.0),
        HelperCall("i", "echo", msgspec.Raw(b'"' + b"x" * HELPER_ARGUMENTS_INLINE_BYTES + b'"')),
    ],
    ids=["id", "helper", "execution", "answer path", "arguments path", "time", "arguments"],
)
async def test_an_agent_that_breaks_the_bounds_of_a_call_loses_its_pipe(desk: Desk, call: HelperCall) -> None:
    running = await desk.run("wait")
    desk.say(call)
    result = await running.wait()
    assert isinstance(result, CodeResult)
    assert (result.ending, desk.far.asked) == (Ending.SANDBOX_GONE, [])
    assert "broke the protocol" in (result.note or "")


async def test_an_agent_that_makes_more_calls_than_it_may_loses_its_pipe(desk: Desk) -> None:
    running = await desk.run("wait")
    for number in range(HELPER_CALLS_MAX + 1):
        desk.say(HelperCall(f"n{number}", "wait"))
    assert (await running.wait()).ending is Ending.SANDBOX_GONE
    await desk.far.reached(0)


async def test_an_agent_that_does_not_hear_what_it_is_told_loses_its_pipe(desk: Desk) -> None:
    running = await desk.run("wait")
    desk.box.agent.answerer.helpers.close()  # it acknowledges nothing
    for number in range(HELPER_CALLS_MAX + 2 * HELPER_ACK_EVERY + 1):
        desk.say(HelperCall(f"n{number}", "no_such"))
    assert (await running.wait()).ending is Ending.SANDBOX_GONE
    assert len(desk.far.asked) <= HELPER_CALLS_MAX + 2 * HELPER_ACK_EVERY


async def test_cancellations_of_nothing_are_answered_up_to_a_bound(desk: Desk) -> None:
    running = await desk.run("wait")
    assert desk.box.link is not None
    for number in range(2 * HELPER_CALLS_MAX):
        desk.box.link.arrive(framing.encode(HelperCancel(f"n{number}")))
    assert (await running.wait()).ending is Ending.SANDBOX_GONE


async def test_endings_that_are_told_again_and_heard_leave_nothing(desk: Desk) -> None:
    helpers = live(desk).helpers
    for number in range(20 * HELPER_CALLS_MAX):
        for frame in (HelperCancel(f"n{number}"), HelperCancel(f"n{number}"), Ack(f"n{number}")):
            helpers.take(frame)
    assert len(helpers._endings) == 0
    assert len(helpers._told_again) <= 4 * HELPER_CALLS_MAX


async def test_a_call_that_is_too_long_is_not_kept_until_it_is_known_whose_it_is(desk: Desk) -> None:
    line = live(desk)._line
    early = HelperCalls(line, call_deadline_s=10)
    early.inherit()
    early.take(HelperCall("i", "echo", msgspec.Raw(b'"' + b"x" * HELPER_ARGUMENTS_INLINE_BYTES + b'"')))
    assert "too long for a line" in str(line.peer.failure)
