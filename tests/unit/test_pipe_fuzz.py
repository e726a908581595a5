"""A fuzz run over both sides of the pipe: mutated streams of real messages, many of them, always the same ones."""

import asyncio
import random

import msgspec
import pytest

from sandbox.limits import CALLS_PENDING_MAX
from sandbox.pipe import framing
from sandbox.pipe.answerer import Answerer, Answering
from sandbox.pipe.frames import (
    PROTOCOL_VERSION,
    Ack,
    Call,
    Cancel,
    Chunk,
    Credit,
    End,
    Event,
    Frame,
    HelperCall,
    HelperCancel,
    HelperEnd,
    HelperProgress,
    Join,
    Joined,
    Survivor,
    Sync,
    Synced,
)
from sandbox.pipe.helper_talk import UNHEARD_MAX, HelperAsk
from sandbox.pipe.messages import (
    Artifact,
    CodeResult,
    Done,
    Ending,
    ExecutionKind,
    Fault,
    GetStatus,
    LiveArtifact,
    LiveOutput,
    ReadFile,
    Result,
    RunCode,
    StreamName,
    WriteFile,
)
from sandbox.pipe.peer import Peer
from tests.support.wire import WireLink

pytestmark = pytest.mark.anyio

ROUNDS = 100_000

SAID: list[Frame] = [
    Sync("n" * 16),
    Synced("n" * 16, PROTOCOL_VERSION, "boot", (Survivor("c1", ExecutionKind.PYTHON, 5.0, running_s=1.0),)),
    Join("c1"),
    Joined("c1"),
    Call("c1", RunCode("print('x')"), 5.0, live=True),
    Call("c2", ReadFile("/mnt/files/a", 3, 9), 5.0),
    Call("c3", WriteFile("/mnt/files/b"), 5.0),
    Call("c4", GetStatus(), 5.0),
    Cancel("c1"),
    Ack("c1"),
    Chunk("c3", 1, b"\x00\xff" * 50),
    Chunk("c3", 2, b"", last=True),
    Credit("c2", 1),
    Event("c1", 1, LiveOutput(StreamName.STDERR, "é\n")),
    Event("c1", 2, LiveArtifact(Artifact("image/png", "/p", 9))),
    End("c1", CodeResult(Ending.KERNEL_DIED, signal="SIGSEGV")),
    End("c2", fault=Fault("not_found", "no /mnt/files/a")),
    End("c3"),
    HelperCall("h1", "web_search", msgspec.Raw(b'{"query":"x"}'), answer_path="/a", execution="c1", timeout_s=3.0),
    HelperCall("h2", "echo", arguments_path="/b", again=True),
    HelperCancel("h1"),
    HelperProgress("h1", 5, 10),
    HelperEnd("h1", msgspec.Raw(b'{"data":[1,"\\n"]}'), error="half"),
    HelperEnd("h2", path="/a"),
]


def mutated(rng: random.Random) -> bytes:
    """A few real messages, then up to four cuts, repeats, flips and insertions anywhere in their bytes."""
    stream = bytearray(b"".join(framing.encode(rng.choice(SAID)) for _ in range(rng.randint(1, 4))))
    for _ in range(rng.randint(0, 4)):
        place = rng.randrange(len(stream) or 1)
        match rng.randrange(4):
            case 0:
                del stream[place : place + rng.randint(1, 30)]
            case 1:
                stream[place:place] = stream[place : place + rng.randint(1, 30)]
            case 2 if stream:
                stream[place] = rng.randrange(256)
            case _:
                stream[place:place] = rng.randbytes(rng.randint(1, 8))
    return bytes(stream)


async def test_no_stream_of_bytes_makes_the_answering_side_raise_or_grow() -> None:
    async def handler(call: Answering) -> Result:
        return Done()

    said: list[bytes] = []
    answerer = Answerer(handler, said.append, lambda: asyncio.sleep(0), boot="b")
    rng = random.Random(20_260)
    for round_number in range(ROUNDS):
        answerer.feed(mutated(rng))
        if round_number % 50 == 0:
            await asyncio.sleep(0)
            said.clear()
        assert len(answerer._answers) <= CALLS_PENDING_MAX
    await asyncio.sleep(0)
    assert all(framing.decode(line) for line in b"".join(said).splitlines())


async def test_no_stream_of_bytes_makes_the_controllers_side_raise() -> None:
    rng = random.Random(11_20)
    ended = 0
    for _ in range(ROUNDS // 20):
        link = WireLink(lambda _: None)
        peer = Peer(link)
        hello = asyncio.ensure_future(peer.sync(5))
        await asyncio.sleep(0)
        sync = framing.decode(bytes(link.written).strip())
        assert isinstance(sync, Sync)
        link.arrive(framing.encode(Synced(sync.nonce, PROTOCOL_VERSION, "b")))
        await hello
        heard: list[HelperAsk] = []
        if rng.randrange(2):
            peer.helpers.listen(heard.append)
        waiting = asyncio.ensure_future(peer.call(GetStatus(), timeout_s=5, call_id="c1"))
        await asyncio.sleep(0)
        for _ in range(20):
            link.arrive(mutated(rng))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert peer.helpers.unheard <= UNHEARD_MAX
        peer.close()
        await asyncio.wait([waiting])
        ended += waiting.done() and (waiting.exception() is not None or waiting.result() is not None)
    assert ended == ROUNDS // 20
