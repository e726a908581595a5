"""The socket that helpers call: a real one, over a real answerer, to a controller's end of the pipe."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox.agent.callers import Caller, Callers
from sandbox.agent.relay import HELD_BYTES_MAX, Relay
from sandbox.limits import HELPER_ARGUMENTS_INLINE_BYTES, HELPER_CALLS_MAX, LINE_MAX_BYTES, MIB
from sandbox.pipe.answerer import Answering
from sandbox.pipe.frames import Ack, HelperCall, HelperCancel, HelperEnd, HelperProgress
from sandbox.pipe.helper_talk import HelperAsk
from sandbox.pipe.messages import Done, Result
from sandbox.pipe.peer import Peer
from tests.agent.kernels import until
from tests.support.wire import Agent

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

CONNECTIONS = 600


class Helper:
    """A connection to the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def say(self, helper: str = "echo", **more: Any) -> None:
        self.writer.write(json.dumps({"helper": helper, **more}).encode() + b"\n")

    async def hear(self) -> Any:
        """Give the next line; None when the connection was closed."""
        async with asyncio.timeout(20):
            try:
                line = await self._reader.readline()
            except ConnectionError:
                return None
        return json.loads(line) if line else None


class Office:
    """A relay with both ends of its pipe. `asked` and `cancelled`: what has come out of it, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "relay"
        self.callers = Callers()
        self.agent = Agent(_idle)
        self.relay = Relay(
            self.agent.answerer.helpers,
            self.callers,
            path=self.path,
            answers=folder,
            boot="b",
            connections=CONNECTIONS,
        )
        self.asked: list[HelperCall] = []
        self.cancelled: list[str] = []
        self.peer: Peer

    async def attach(self) -> None:
        """Open a new pipe."""
        self.peer = Peer(self.agent.attach())
        await self.peer.sync()
        self.peer.helpers.listen(self._hear)

    async def calls(self, count: int) -> list[HelperCall]:
        """Wait until so many calls have come, and give them."""
        await until(lambda: len(self.asked) >= count)
        return self.asked

    def answer(self, call: HelperCall, found: object = None, **more: Any) -> None:
        self.peer.helpers.say(HelperEnd(call.id, msgspec.Raw(msgspec.json.encode(found)), **more))

    def _hear(self, frame: HelperAsk) -> None:
        match frame:
            case HelperCall():
                self.asked.append(frame)
            case HelperCancel(call_id):
                self.cancelled.append(call_id)
            case Ack():
                pass


async def _idle(_call: Answering) -> Result:
    return Done()


@pytest.fixture
async def office(anyio_backend: str, short_folder: Path) -> AsyncIterator[Office]:
    made = Office(short_folder)
    await made.relay.start()
    await made.attach()
    yield made
    made.relay.close()
    await made.agent.answerer.aclose()


Connect = Callable[[], Awaitable[Helper]]


@pytest.fixture
async def connect(office: Office) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def connect() -> Helper:
            reader, writer = await asyncio.open_unix_connection(office.path, limit=4 * MIB)
            stack.callback(writer.close)
            return Helper(reader, writer)

        yield connect


async def test_a_call_arrives_as_it_was_said_and_its_progress_and_answer_come_back(
    office: Office, connect: Connect
) -> None:
    helper = await connect()
    for number in range(2):
        helper.say("run_composio_tool", arguments={"é": [1, None, "\n"]}, timeout_s=4.5)
        call = (await office.calls(number + 1))[number]
        assert (call.helper, msgspec.json.decode(call.arguments)) == ("run_composio_tool", {"é": [1, None, "\n"]})
        assert (call.execution, call.timeout_s, call.again) == (None, 4.5, False)
        office.peer.helpers.say(HelperProgress(call.id, 1, None))
        office.answer(call, {"data": 7}, error="half of it", path="/there")
        assert await helper.hear() == {"progress": {"done": 1, "total": None}}
        assert await helper.hear() == {"result": {"data": 7}, "error": "half of it", "path": "/there"}
    assert len({call.id for call in office.asked}) == 2


async def test_arguments_that_are_too_long_for_the_line_are_refused_and_go_by_file(
    office: Office, connect: Connect
) -> None:
    helper = await connect()
    helper.say(arguments={"text": "x" * HELPER_ARGUMENTS_INLINE_BYTES})
    assert "have to be in a file" in (await helper.hear())["error"]
    helper.say(arguments_path="/tmp/arguments")
    assert (await office.calls(1))[0].arguments_path == "/tmp/arguments"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\xff\xfe\n",
        b"[]\n",
        b'{"helper":"a","arguments":[]}\n',
        b'{"helper":"a","arguments":{"a":\xff}}\n',
        b'{"helper":"a","arguments":{"a":"\xff"}}\n',
        b'{"helper":"a","arguments":' + b'{"a":' * 5000 + b"1" + b"}" * 5001 + b"\n",
        b'{"helper":""}\n',
        b'{"helper":"' + b"a" * 101 + b'"}\n',
        b'{"helper":"a","colour":"red"}\n',
        b'{"helper":"a","timeout_s":0}\n',
        b'{"helper":"a","timeout_s":1e999}\n',
        b'{"helper":"a","arguments_path":"a"}\n',
        b'{"helper":"a","arguments_path":"/\\u0000"}\n',
        b'{"helper":"a"}\n{"helper":"b"}\n',
        b"a" * (LINE_MAX_BYTES + 1),
    ],
    ids=lambda garbage: garbage[:24].decode("ascii", "replace"),
)
async def test_garbage_closes_its_connection_and_nothing_else(office: Office, connect: Connect, garbage: bytes) -> None:
    good, bad = await connect(), await connect()
    good.say()
    await office.calls(1)
    bad.writer.write(garbage)
    assert await bad.hear() is None
    office.answer(office.asked[0], "well")
    assert (await good.hear())["result"] == "well"
    assert office.relay.held == 0
    assert not office.peer.closed


async def test_a_second_request_before_the_answer_closes_the_connection_and_cancels(
    office: Office, connect: Connect
) -> None:
    helper = await connect()
    helper.say()
    [call] = await office.calls(1)
    helper.say()
    assert await helper.hear() is None
    await until(lambda: office.cancelled == [call.id])


async def test_a_request_may_come_in_pieces(office: Office, connect: Connect) -> None:
    helper = await connect()
    for piece in (b'{"hel', b'per":"a","arg', b'uments":{"a":1}', b"}\n"):
        helper.writer.write(piece)
        await helper.writer.drain()
        await asyncio.sleep(0)
    assert (await office.calls(1))[0].helper == "a"


async def test_requests_that_are_never_ended_are_held_up_to_a_bound_of_all_together(
    office: Office, connect: Connect
) -> None:
    size = LINE_MAX_BYTES - 1000
    helpers = [await connect() for _ in range(HELD_BYTES_MAX // size + 4)]
    for helper in helpers:
        helper.writer.write(b"a" * size)
        with contextlib.suppress(ConnectionError):
            await helper.writer.drain()
    await until(lambda: HELD_BYTES_MAX - size < office.relay.held <= HELD_BYTES_MAX)
    other = await connect()
    other.say()
    office.answer((await office.calls(1))[0])
    assert (await other.hear())["error"] == ""
    for helper in helpers:
        helper.writer.close()
    await until(lambda: office.relay.held == 0)


async def test_connections_over_the_bound_are_closed_at_once(office: Office, connect: Connect) -> None:
    helpers = [await connect() for _ in range(CONNECTIONS)]
    await until(lambda: len(office.relay) == CONNECTIONS)
    assert await (await connect()).hear() is None
    helpers[0].say()
    office.answer((await office.calls(1))[0], 1)
    assert (await helpers[0].hear())["result"] == 1
    helpers[0].writer.close()
    await until(lambda: len(office.relay) == CONNECTIONS - 1)
    again = await connect()
    again.say()
    await office.calls(2)


async def test_a_helper_that_does_not_read_is_not_heard_until_it_does(office: Office, connect: Connect) -> None:
    helper = await connect()
    helper.say()
    office.answer((await office.calls(1))[0], "x" * 900_000)
    await until(lambda: not office.agent.answerer.helpers)
    helper.say()
    office.peer.helpers.say(HelperProgress("unknown", 1, 1))
    assert len((await helper.hear())["result"]) == 900_000
    await office.calls(2)


async def test_what_is_over_the_bound_waits_and_goes_in_its_order(office: Office, connect: Connect) -> None:
    helpers = [await connect() for _ in range(HELPER_CALLS_MAX + 3)]
    for number, helper in enumerate(helpers):
        helper.say(f"n{number}")
        await until(lambda number=number: office.relay.calls > number)  # type: ignore[misc]
    await office.calls(HELPER_CALLS_MAX)
    assert [call.helper for call in office.asked] == [f"n{number}" for number in range(HELPER_CALLS_MAX)]
    helpers[HELPER_CALLS_MAX].writer.close()
    await until(lambda: office.relay.calls == HELPER_CALLS_MAX + 2)
    office.answer(office.asked[5])
    office.answer(office.asked[2])
    calls = await office.calls(HELPER_CALLS_MAX + 2)
    assert [call.helper for call in calls[-2:]] == [f"n{HELPER_CALLS_MAX + 1}", f"n{HELPER_CALLS_MAX + 2}"]
    assert office.cancelled == []


async def test_closing_the_connection_cancels_and_the_call_counts_until_its_end(
    office: Office, connect: Connect
) -> None:
    helper = await connect()
    helper.say()
    [call] = await office.calls(1)
    helper.writer.close()
    await until(lambda: office.cancelled == [call.id])
    assert len(office.agent.answerer.helpers) == 1
    office.answer(call)
    await until(lambda: not office.agent.answerer.helpers)


async def test_a_file_with_an_answer_that_nobody_waits_for_is_removed(office: Office, connect: Connect) -> None:
    helper = await connect()
    helper.say()
    [call] = await office.calls(1)
    answer, other = (office.folder / name for name in (f"answer-{call.id}", "other"))
    assert call.answer_path == str(answer)
    answer.write_bytes(b"1")
    other.write_bytes(b"1")
    helper.writer.close()
    await until(lambda: bool(office.cancelled))
    office.answer(call, path=call.answer_path)
    await until(lambda: not answer.exists())
    assert other.exists()


async def test_a_call_belongs_to_the_cell_that_runs_or_to_the_bash_call_it_names(
    office: Office, connect: Connect
) -> None:
    office.callers.begin("cell", cell=True)
    office.callers.begin("bash", cell=False)
    said: list[dict[str, str]] = [{}, {"execution": "bash"}, {"execution": "cell"}, {"execution": "made up"}]
    for number, more in enumerate(said):
        (await connect()).say(**more)
        await office.calls(number + 1)
    office.callers.end("cell")
    office.callers.end("bash")
    for number, more in enumerate(said):
        (await connect()).say(**more)
        await office.calls(len(said) + number + 1)
    assert [call.execution for call in office.asked] == ["cell", "bash", "cell", None, None, None, None, None]


async def test_an_execution_that_is_ended_early_has_its_calls_answered_and_cancelled_and_makes_no_more(
    office: Office, connect: Connect
) -> None:
    office.callers.begin("cell", cell=True)
    office.callers.begin("bash", cell=False)
    helpers = [await connect() for _ in range(HELPER_CALLS_MAX + 2)]
    for helper in helpers:
        helper.say()
    await until(lambda: office.relay.calls == HELPER_CALLS_MAX + 2)
    office.callers.stop("cell")
    office.callers.stop("cell")
    for helper in helpers:
        answer = await helper.hear()
        assert (answer["interrupted"], answer["result"]) == (True, None)
    await until(lambda: len(office.cancelled) == HELPER_CALLS_MAX)
    assert office.relay.calls == 0

    helpers[0].say()
    assert (await helpers[0].hear())["interrupted"]
    office.callers.end("cell")
    helpers[0].say()
    assert (await helpers[0].hear())["interrupted"], "what the cell left running"
    assert len(office.asked) == HELPER_CALLS_MAX

    for call in list(office.asked):
        office.answer(call)
    helpers[1].say(execution="bash")
    assert (await office.calls(HELPER_CALLS_MAX + 1))[-1].execution == "bash"
    office.callers.begin("next", cell=True)
    helpers[0].say()
    assert (await office.calls(HELPER_CALLS_MAX + 2))[-1].execution == "next"


def test_when_its_kernel_has_ended_nothing_is_left_of_a_cell_to_call() -> None:
    callers = Callers()
    callers.begin("cell", cell=True)
    callers.stop("cell")
    callers.kernel_ended()
    assert callers.caller(None) == Caller("cell", stopped=True)
    callers.end("cell")
    assert callers.caller(None) == Caller(None)
    callers.stop("cell")
    assert callers.caller("cell") == Caller(None)


async def test_what_is_under_way_is_said_again_over_a_new_pipe_and_answered_once(
    office: Office, connect: Connect
) -> None:
    helpers = [await connect() for _ in range(3)]
    for number, helper in enumerate(helpers):
        helper.say(f"n{number}")
        await office.calls(number + 1)
    first, second, third = office.asked
    office.answer(first, 1)
    assert (await helpers[0].hear())["result"] == 1
    helpers[1].writer.close()
    await until(lambda: office.cancelled == [second.id])

    await office.attach()
    await office.calls(4)
    assert office.asked[3] == msgspec.structs.replace(third, again=True)
    await until(lambda: office.cancelled == [second.id, second.id])
    office.answer(third, 3)
    office.answer(third, 3)
    assert (await helpers[2].hear())["result"] == 3
    helpers[2].say()
    office.answer((await office.calls(5))[4], 5)
    assert (await helpers[2].hear())["result"] == 5


async def test_endings_are_acknowledged_also_when_there_are_few(office: Office, connect: Connect) -> None:
    heard: list[HelperAsk] = []
    office.peer.helpers.listen(heard.append)
    helper = await connect()
    helper.say()
    await until(lambda: len(heard) == 1)
    call = heard[0]
    assert isinstance(call, HelperCall)
    office.answer(call)
    await helper.hear()
    await until(lambda: heard[1:] == [Ack(call.id)])
