"""What an execution said while nobody was there is said again, in order, once, and bounded."""

import asyncio

import pytest

from sandbox.errors import CallFault
from sandbox.limits import REPLAY_CALL_BYTES
from sandbox.pipe.answerer import Answering
from sandbox.pipe.frames import Call, Event
from sandbox.pipe.messages import (
    BashResult,
    Ending,
    ExecutionKind,
    GetStatus,
    LiveOutput,
    Result,
    RunBash,
    RunCode,
    Started,
    StreamName,
)
from sandbox.pipe.peer import Peer
from sandbox.pipe.replay import Replay
from tests.support.wire import Agent

pytestmark = pytest.mark.anyio


class Talker:
    """An agent's handler that says what the test tells it to, and ends when the test says so."""

    def __init__(self) -> None:
        self.calls: dict[str, Answering] = {}
        self.runs = 0
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self, call: Answering) -> Result:
        self.runs += 1
        self.calls[call.id] = call
        call.event(Started())
        self.entered.set()
        await self.gate.wait()
        return BashResult(Ending.COMPLETED, exit_code=0)

    def say(self, call_id: str, text: str) -> None:
        self.calls[call_id].event(LiveOutput(StreamName.STDOUT, text))


async def begun(talker: Talker) -> tuple[Agent, Peer, list[Event], "asyncio.Future[Result]"]:
    agent = Agent(talker)
    peer = Peer(agent.attach())
    await peer.sync(5)
    heard: list[Event] = []
    call = asyncio.ensure_future(peer.call(RunBash("x"), timeout_s=5, call_id="c1", on_event=heard.append, live=True))
    await talker.entered.wait()
    return agent, peer, heard, call


async def lost(peer: Peer, call: "asyncio.Future[Result]") -> None:
    peer.close()
    await asyncio.wait([call])
    assert call.exception() is not None


def words(events: list[Event]) -> list[tuple[int, str]]:
    return [(event.seq, event.body.text) for event in events if isinstance(event.body, LiveOutput)]


async def test_what_was_said_before_between_and_after_controllers_arrives_once_and_in_order() -> None:
    talker = Talker()
    agent, peer, _, call = await begun(talker)
    talker.say("c1", "before")
    await lost(peer, call)
    talker.say("c1", "between")

    second = Peer(agent.attach())
    assert [survivor.id for survivor in (await second.sync(5)).survivors] == ["c1"]
    talker.say("c1", "not joined yet")
    heard: list[Event] = []
    joined = asyncio.ensure_future(second.join("c1", deadline_s=5, on_event=heard.append))
    await asyncio.sleep(0)
    talker.say("c1", "after")
    talker.gate.set()
    assert await joined == BashResult(Ending.COMPLETED, exit_code=0)
    assert words(heard) == [(2, "before"), (3, "between"), (4, "not joined yet"), (5, "after")]
    assert talker.runs == 1


async def test_an_execution_that_ended_while_nobody_was_there_is_told_whole_and_forgotten_when_acknowledged() -> None:
    talker = Talker()
    agent, peer, _, call = await begun(talker)
    await lost(peer, call)
    talker.say("c1", "alone")
    talker.gate.set()
    answer = agent.answerer._answers["c1"].task
    assert answer is not None
    await answer

    second = Peer(agent.attach())
    (survivor,) = (await second.sync(5)).survivors
    assert survivor.ended
    heard: list[Event] = []
    assert await second.join("c1", deadline_s=5, on_event=heard.append) == BashResult(Ending.COMPLETED, exit_code=0)
    assert words(heard) == [(2, "alone")]
    talker.entered.clear()
    await second.call(RunBash("y"), timeout_s=5)  # carries the acknowledgement

    third = Peer(agent.attach())
    assert "c1" not in [survivor.id for survivor in (await third.sync(5)).survivors]
    with pytest.raises(CallFault, match="not kept") as caught:
        await third.join("c1", deadline_s=5)
    assert caught.value.fault == "forgotten"


async def test_joining_what_the_agent_never_ran_is_a_fault_and_runs_nothing() -> None:
    talker = Talker()
    peer = Peer(Agent(talker).attach())
    await peer.sync(5)
    with pytest.raises(CallFault) as caught:
        await peer.join("never", deadline_s=5)
    assert caught.value.fault == "forgotten"
    assert talker.runs == 0


async def test_an_ending_is_not_acknowledged_before_somebody_joined() -> None:
    talker = Talker()
    agent, peer, _, call = await begun(talker)
    await lost(peer, call)
    second = Peer(agent.attach())
    await second.sync(5)
    talker.gate.set()
    answer = agent.answerer._answers["c1"].task
    assert answer is not None
    await answer
    await second.call(GetStatus(), timeout_s=5)
    second.close()
    third = Peer(agent.attach())
    assert [survivor.id for survivor in (await third.sync(5)).survivors] == ["c1"]


async def test_calls_that_are_no_executions_do_not_survive() -> None:
    talker = Talker()
    agent = Agent(talker)
    peer = Peer(agent.attach())
    await peer.sync(5)
    call = asyncio.ensure_future(peer.call(GetStatus(), timeout_s=5))
    await talker.entered.wait()
    await lost(peer, call)
    assert (await Peer(agent.attach()).sync(5)).survivors == ()


async def test_a_survivor_says_what_it_is_and_since_when() -> None:
    now = 100.0
    replay = Replay(lambda: now)
    replay.begin(Call("a", RunCode("x", queue_timeout_s=7), 30, live=True))
    replay.begin(Call("b", RunBash("x"), 40, live=True))
    now = 102.0
    replay.say("a", Started(), b"line\n")
    now = 105.0
    first, second = replay.survivors(["b"])
    assert (first.kind, first.timeout_s, first.queue_timeout_s) == (ExecutionKind.PYTHON, 30, 7)
    assert (first.age_s, first.running_s, first.ended) == (5, 3, False)
    assert (second.kind, second.timeout_s, second.running_s, second.ended) == (ExecutionKind.BASH, 40, None, True)


async def test_the_oldest_events_go_first_of_each_call_and_of_all() -> None:
    replay = Replay(lambda: 0.0, per_call=10, overall=16)
    for call_id in ("a", "b", "c"):
        replay.begin(Call(call_id, RunBash("x"), 5, live=True))
    for number in range(4):
        replay.say("a", Started(), b"%03d\n" % number)
    assert replay.lines("a") == b"002\n003\n"
    replay.say("b", Started(), b"b" * 9)
    assert (replay.lines("a"), replay.size) == (b"003\n", 13)
    replay.say("c", Started(), b"c" * 9)
    assert (replay.lines("a"), replay.lines("b"), replay.lines("c")) == (b"", b"", b"c" * 9)
    replay.forget("c")
    assert replay.size == 0


async def test_a_flood_that_nobody_hears_stays_bounded_in_the_agent() -> None:
    talker = Talker()
    agent, peer, _, call = await begun(talker)
    await lost(peer, call)
    for _ in range(100):
        talker.say("c1", "x" * 100_000)
    assert agent.answerer._replay.size <= REPLAY_CALL_BYTES
    second = Peer(agent.attach())
    await second.sync(5)
    heard: list[Event] = []
    talker.gate.set()
    await second.join("c1", deadline_s=5, on_event=heard.append)
    assert [event.seq for event in heard] == list(range(heard[0].seq, 102))
    assert heard[0].seq > 1
