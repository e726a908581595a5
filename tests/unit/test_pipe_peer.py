"""Controller and agent on one pipe, without a transport: sync, calls, deadlines, chunks, untrusted agents."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from sandbox.errors import CallFault, Overloaded, PipeClosed, PipeTimeout, PipeVersionMismatch, PipeViolation
from sandbox.limits import CALL_SLACK_S, CALLS_PENDING_MAX, CHUNK_BYTES, CHUNK_WINDOW, LINE_MAX_BYTES
from sandbox.pipe import framing
from sandbox.pipe.answerer import Answering
from sandbox.pipe.frames import PROTOCOL_VERSION, Call, Cancel, Chunk, End, Event, Frame, Sync, Synced
from sandbox.pipe.messages import (
    BashResult,
    Done,
    Ending,
    ExecutionKind,
    Fault,
    FileInfo,
    GetStatus,
    LiveOutput,
    Method,
    ReadFile,
    RestartKernel,
    Result,
    RunBash,
    Started,
    StreamName,
    WaitReady,
    WriteFile,
)
from sandbox.pipe.peer import Peer
from tests.support.wire import Agent, WireLink

pytestmark = pytest.mark.anyio


class Workshop:
    """What the tests' agent does: enough of every kind of call to see the protocol work."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.received = bytearray()

    async def __call__(self, call: Answering) -> Result:
        self.runs.append(call.id)
        self.entered.set()
        match call.body:
            case RunBash(command="hold"):
                call.on_cancel(self.gate.set)
                await self.gate.wait()
                return BashResult(Ending.INTERRUPTED)
            case RunBash(command=command):
                call.event(Started())
                call.event(LiveOutput(StreamName.STDOUT, command))
                return BashResult(Ending.COMPLETED, exit_code=0)
            case ReadFile(length=length):
                for start in range(0, length or 0, CHUNK_BYTES):
                    await call.send(b"r" * min(CHUNK_BYTES, (length or 0) - start))
                return FileInfo("f", length or 0, 0.0)
            case WriteFile(path=path):
                async for piece in call.chunks():
                    self.received += piece
                return FileInfo(path, len(self.received), 0.0)
            case GetStatus():
                raise CallFault("not_found", "no such thing")
            case RestartKernel():
                raise ValueError("a defect")
            case _:
                await asyncio.Event().wait()
        return Done()


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


async def joined(workshop: Workshop, *, piece: int = 1 << 20) -> tuple[Agent, Peer]:
    agent = Agent(workshop, piece=piece)
    peer = Peer(agent.attach())
    await peer.sync(5)
    return agent, peer


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
async def test_a_call_ends_with_its_result_and_its_progress_came_in_order(workshop: Workshop, piece: int) -> None:
    _, peer = await joined(workshop, piece=piece)
    events: list[Event] = []
    result = await peer.call(RunBash("echo"), timeout_s=5, on_event=events.append)
    assert result == BashResult(Ending.COMPLETED, exit_code=0)
    assert [event.seq for event in events] == [1, 2]
    assert events[1].body == LiveOutput(StreamName.STDOUT, "echo")


async def test_many_calls_are_in_flight_at_once(workshop: Workshop) -> None:
    _, peer = await joined(workshop)
    results = await asyncio.gather(*(peer.call(RunBash(str(n)), timeout_s=5) for n in range(50)))
    assert results == [BashResult(Ending.COMPLETED, exit_code=0)] * 50


async def test_a_fault_of_the_agent_is_raised_with_its_name(workshop: Workshop) -> None:
    _, peer = await joined(workshop)
    with pytest.raises(CallFault, match="no such thing") as caught:
        await peer.call(GetStatus(), timeout_s=5)
    assert caught.value.fault == "not_found"


async def test_a_defect_in_the_agent_ends_the_call_and_not_the_agent(workshop: Workshop) -> None:
    _, peer = await joined(workshop)
    with pytest.raises(CallFault, match="ValueError: a defect"):
        await peer.call(RestartKernel(), timeout_s=5)
    assert await peer.call(RunBash("x"), timeout_s=5)


async def test_the_agent_ends_a_call_at_its_own_deadline(workshop: Workshop) -> None:
    _, peer = await joined(workshop)
    with pytest.raises(CallFault, match="not done within 0.05 s"):
        await peer.call(WaitReady(), timeout_s=0.05)


async def test_a_silent_agent_runs_into_the_controllers_deadline() -> None:
    peer = Peer(WireLink(lambda _: None))
    with pytest.raises(PipeTimeout, match="sync"):
        await peer.sync(0.02)


async def test_a_call_to_an_agent_that_falls_silent_ends_at_the_controllers_deadline(workshop: Workshop) -> None:
    _, peer = await joined(workshop)
    with pytest.raises(PipeTimeout, match="within 0.02 s"):
        await peer.call(WaitReady(), timeout_s=60, deadline_s=0.02)


async def test_cancelling_a_call_gives_its_ending(workshop: Workshop) -> None:
    _, peer = await joined(workshop)
    waiting = asyncio.ensure_future(peer.call(RunBash("hold"), timeout_s=5, call_id="c1"))
    await workshop.entered.wait()
    peer.cancel("c1")
    assert await waiting == BashResult(Ending.INTERRUPTED)


async def test_cancelling_the_waiting_task_cancels_the_call_in_the_agent(workshop: Workshop) -> None:
    _, peer = await joined(workshop)
    waiting = asyncio.ensure_future(peer.call(RunBash("hold"), timeout_s=5))
    await workshop.entered.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(workshop.gate.wait(), 5)


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        pytest.param(RunBash("hold"), End("c1", BashResult(Ending.INTERRUPTED)), id="a command"),
        pytest.param(WaitReady(), End("c1", fault=Fault("cancelled", "the call was cancelled")), id="any other call"),
    ],
)
async def test_a_call_that_is_cancelled_in_the_piece_that_it_comes_in_still_ends(
    workshop: Workshop, body: Method, ending: End
) -> None:
    agent = Agent(workshop)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    agent.attach().start(heard.put_nowait, lambda _: None)
    # As it comes to an agent that was busy, or frozen, when both were written.
    agent.answerer.feed(framing.encode(Call("c1", body, 5)) + framing.encode(Cancel("c1")))
    assert framing.decode(await asyncio.wait_for(heard.get(), 5)) == ending
    assert not agent.answerer._answers


async def test_the_same_call_id_is_not_run_twice(workshop: Workshop) -> None:
    _, peer = await joined(workshop)
    first = asyncio.ensure_future(peer.call(RunBash("hold"), timeout_s=5, call_id="c1"))
    await workshop.entered.wait()
    workshop.gate.set()
    assert await first == BashResult(Ending.INTERRUPTED)
    with contextlib.suppress(CallFault):
        await peer.call(RunBash("hold"), timeout_s=5, call_id="c1")
    assert workshop.runs == ["c1"]


async def test_half_a_line_of_a_dead_controller_is_never_a_message(workshop: Workshop) -> None:
    agent = Agent(workshop)
    dying = agent.attach()
    dying.write(framing.encode(Sync("old"))[:-9])
    peer = Peer(agent.attach())
    hello = await peer.sync(5)
    assert hello.boot == "boot-1"
    assert await peer.call(RunBash("x"), timeout_s=5)


async def test_what_an_agent_said_to_an_older_controller_is_dropped_before_the_echo() -> None:
    link = WireLink(lambda _: None)
    peer = Peer(link)
    hello = asyncio.ensure_future(peer.sync(5))
    await asyncio.sleep(0)
    link.arrive(
        b'alf a line","x":1}\n'
        + framing.encode(Synced("other", PROTOCOL_VERSION, "b"))
        + framing.encode(Chunk("a", 9, b""))
    )
    nonce = framing.decode(bytes(link.written).strip().split(b"\n")[-1])
    assert isinstance(nonce, Sync)
    link.arrive(framing.encode(Synced(nonce.nonce, PROTOCOL_VERSION, "b")))
    assert (await hello).boot == "b"
    assert not peer.closed


async def test_an_execution_survives_its_controller_and_its_ending_is_given_to_the_next(workshop: Workshop) -> None:
    agent, peer = await joined(workshop)
    lost = asyncio.ensure_future(peer.call(RunBash("hold"), timeout_s=5, call_id="c1"))
    await workshop.entered.wait()
    peer.close()
    with pytest.raises(PipeClosed):
        await lost

    second = Peer(agent.attach())
    (survivor,) = (await second.sync(5)).survivors
    assert (survivor.id, survivor.kind, survivor.timeout_s, survivor.ended) == ("c1", ExecutionKind.BASH, 5, False)
    workshop.gate.set()
    result = await second.join("c1", deadline_s=5)
    assert result == BashResult(Ending.INTERRUPTED)
    assert workshop.runs == ["c1"]


async def test_an_ending_that_nobody_heard_is_said_again_after_a_sync(workshop: Workshop) -> None:
    agent, peer = await joined(workshop)
    lost = asyncio.ensure_future(peer.call(RunBash("hold"), timeout_s=5, call_id="c1"))
    await workshop.entered.wait()
    peer.close()
    with pytest.raises(PipeClosed):
        await lost
    workshop.gate.set()
    await asyncio.gather(*(answer.task for answer in agent.answerer._answers.values() if answer.task))

    second = Peer(agent.attach())
    (survivor,) = (await second.sync(5)).survivors
    assert (survivor.id, survivor.ended) == ("c1", True)
    assert await second.join("c1", deadline_s=5) == BashResult(Ending.INTERRUPTED)
    assert workshop.runs == ["c1"]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 3 * CHUNK_WINDOW * CHUNK_BYTES + 17])
async def test_a_file_is_read_in_chunks_byte_for_byte(workshop: Workshop, size: int) -> None:
    _, peer = await joined(workshop)
    pieces = [piece async for piece in peer.read_file(ReadFile("/f", length=size), timeout_s=20)]
    assert b"".join(pieces) == b"r" * size
    assert all(len(piece) <= CHUNK_BYTES for piece in pieces)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 3 * CHUNK_WINDOW * CHUNK_BYTES + 17])
async def test_a_file_is_written_in_chunks_byte_for_byte(workshop: Workshop, size: int) -> None:
    async def data() -> AsyncIterator[bytes]:
        yield b"w" * size

    _, peer = await joined(workshop)
    info = await peer.write_file(WriteFile("/f"), data(), timeout_s=20)
    assert info.size == size
    assert workshop.received == b"w" * size


async def test_a_reader_that_stops_early_ends_the_call_in_the_agent(workshop: Workshop) -> None:
    agent, peer = await joined(workshop)
    reading = peer.read_file(ReadFile("/f", length=100 * CHUNK_BYTES), timeout_s=20)
    assert await anext(reading)
    await reading.aclose()  # type: ignore[attr-defined]
    for _ in range(1000):
        await asyncio.sleep(0)
        if not agent.answerer._answers:
            break
    assert not agent.answerer._answers


async def test_a_file_has_its_deadline_whichever_task_asks_for_the_next_piece() -> None:
    def fallen_silent(written: bytes) -> None:
        for line in written.splitlines():
            match framing.decode(line):
                case Sync(nonce):
                    link.arrive(framing.encode(Synced(nonce, PROTOCOL_VERSION, "b")))
                case Call(call_id):
                    link.arrive(framing.encode(Chunk(call_id, 1, b"first")))

    link = WireLink(fallen_silent)
    peer = Peer(link)
    await peer.sync(5)
    reading = peer.read_file(ReadFile("/f"), timeout_s=0.1 - CALL_SLACK_S)
    assert await asyncio.ensure_future(anext(reading)) == b"first"
    following = asyncio.ensure_future(anext(reading))
    assert await asyncio.wait({following}, timeout=5) == ({following}, set())
    with pytest.raises(PipeTimeout, match="/f was not read"):
        await following


async def test_a_closed_pipe_fails_what_is_in_flight_and_what_comes_after(workshop: Workshop) -> None:
    reasons: list[str] = []
    agent = Agent(workshop)
    peer = Peer(agent.attach(), on_closed=reasons.append)
    await peer.sync(5)
    waiting = asyncio.ensure_future(peer.call(WaitReady(), timeout_s=5))
    await workshop.entered.wait()
    peer.close()
    with pytest.raises(PipeClosed):
        await waiting
    with pytest.raises(PipeClosed):
        await peer.call(WaitReady(), timeout_s=5)
    assert reasons == ["the pipe was closed by the controller"]


async def test_an_agent_of_another_version_is_refused_by_name() -> None:
    link = WireLink(lambda _: None)
    peer = Peer(link)
    hello = asyncio.ensure_future(peer.sync(5))
    await asyncio.sleep(0)
    sync = framing.decode(bytes(link.written).strip())
    assert isinstance(sync, Sync)
    link.arrive(framing.encode(Synced(sync.nonce, 99, "b")))
    with pytest.raises(PipeVersionMismatch, match="version 99"):
        await hello
    assert peer.closed


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b'{"t":"nonsense"}\n',
        b"x" * (LINE_MAX_BYTES + 5) + b"\n",
        framing.encode(Sync("an agent does not sync")),
    ],
)
async def test_an_agent_that_breaks_the_protocol_loses_its_pipe(workshop: Workshop, line: bytes) -> None:
    agent = Agent(workshop)
    link = agent.attach()
    peer = Peer(link)
    await peer.sync(5)
    waiting = asyncio.ensure_future(peer.call(WaitReady(), timeout_s=5))
    await workshop.entered.wait()
    link.arrive(line)
    with pytest.raises(PipeViolation):
        await waiting
    assert peer.closed


async def test_chunks_and_events_and_endings_for_unknown_calls_are_ignored(workshop: Workshop) -> None:
    agent = Agent(workshop)
    link = agent.attach()
    peer = Peer(link)
    await peer.sync(5)
    unknown: list[Frame] = [Chunk("nobody", 7, b"x"), Event("nobody", 1, Started())]
    link.arrive(b"".join(framing.encode(frame) for frame in unknown))
    assert await peer.call(RunBash("x"), timeout_s=5)


async def test_a_flood_of_live_output_is_not_passed_on_without_bound(workshop: Workshop) -> None:
    async def flood(call: Answering) -> Result:
        for _ in range(30):
            call.event(LiveOutput(StreamName.STDOUT, "x" * 100_000))
        return Done()

    peer = Peer(Agent(flood).attach())
    await peer.sync(5)
    heard: list[Event] = []
    await peer.call(GetStatus(), timeout_s=5, on_event=heard.append)
    assert 0 < len(heard) <= 20


async def test_more_calls_than_a_pipe_may_hold_are_refused_and_the_others_go_on(workshop: Workshop) -> None:
    _, peer = await joined(workshop)
    waiting = [asyncio.ensure_future(peer.call(RunBash("hold"), timeout_s=5)) for _ in range(CALLS_PENDING_MAX)]
    await workshop.entered.wait()
    with pytest.raises(Overloaded, match="in flight"):
        await peer.call(RunBash("x"), timeout_s=5)
    workshop.gate.set()
    assert len(await asyncio.gather(*waiting)) == CALLS_PENDING_MAX
