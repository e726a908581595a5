"""What is stored behind the hot path: gathered, bounded, asked for again while the store is away, and never lost."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from sandbox.errors import StoreUnavailable
from sandbox.sessions.background import Background
from sandbox.sessions.write_behind import Pace, Room, WriteBehind

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

GATHERS = Pace(gather_s=0.01)


class Shelf:
    """Where batches are put: `away`: it refuses them; while `open` is cleared, writes hang."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.away = False
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Semaphore(0)
        self.background = Background()

    async def write(self, batch: Sequence[str]) -> None:
        self.asked.release()
        await self.open.wait()
        if self.away:
            raise StoreUnavailable("the shelf is away")
        self.batches.append(list(batch))

    def queue(self, pace: Pace | None = None, room: Room | None = None) -> WriteBehind[str]:
        return WriteBehind("letters", self.write, self.background, pace=pace, room=room)


@pytest.fixture
async def shelf(anyio_backend: str) -> Shelf:
    return Shelf()


def put(queue: WriteBehind[str], letters: str, weight: int = 0) -> None:
    for letter in letters:
        queue.put(letter, letter, weight)


async def test_what_comes_within_the_time_of_gathering_is_one_write(shelf: Shelf) -> None:
    queue = shelf.queue(GATHERS)
    put(queue, "abc")
    assert [*queue] == ["a", "b", "c"]
    await queue.written()
    put(queue, "d")
    await queue.written()
    assert shelf.batches == [["a", "b", "c"], ["d"]]
    assert len(queue) == 0


async def test_for_one_key_the_last_word_wins_also_while_the_one_before_is_written(shelf: Shelf) -> None:
    shelf.open.clear()
    queue = shelf.queue()
    queue.put("key", "old")
    put(queue, "a")
    queue.put("key", "new")
    await shelf.asked.acquire()
    queue.put("key", "newest")
    assert (queue.get("key"), queue.get("a"), queue.get("b")) == ("newest", "a", None)
    shelf.open.set()
    await queue.written()
    assert shelf.batches == [["a", "new"], ["newest"]]


@pytest.mark.parametrize(
    ("pace", "batches"),
    [
        (Pace(batch=2), ["ab", "cd", "e"]),
        (Pace(batch_weight=35), ["abc", "de"]),
        (Pace(batch_weight=5), ["a", "b", "c", "d", "e"]),
        (Pace(gather_s=0.01, batch=2, full_at=2), ["ab", "cd", "e"]),
    ],
)
async def test_a_write_takes_the_oldest_and_no_more_than_it_may(shelf: Shelf, pace: Pace, batches: list[str]) -> None:
    queue = shelf.queue(pace)
    put(queue, "abcde", weight=10)
    await queue.written()
    assert ["".join(batch) for batch in shelf.batches] == batches


async def test_a_store_that_is_away_is_asked_again_until_it_is_back_and_nothing_is_lost(shelf: Shelf) -> None:
    shelf.away = True
    queue = shelf.queue()
    with structlog.testing.capture_logs() as logs:
        put(queue, "ab")
        await shelf.asked.acquire()
        put(queue, "c")
        await shelf.asked.acquire()
        shelf.away = False
        await queue.written()
    assert shelf.batches == [["a", "b", "c"]]
    assert [(each["what"], each["waiting"], each["given_up"], each["error"]) for each in logs] == [
        ("letters", 2, 0, "the shelf is away"),
        ("letters", 3, 0, "the shelf is away"),
    ]


@pytest.mark.parametrize("room", [Room(number=3), Room(weight=35)])
async def test_beyond_its_room_the_oldest_is_given_up_and_that_is_said_once(shelf: Shelf, room: Room) -> None:
    shelf.away = True
    queue = shelf.queue(GATHERS, room)
    with structlog.testing.capture_logs() as logs:
        put(queue, "abcde", weight=10)
        assert [*queue] == ["c", "d", "e"]
        assert queue.given_up == 2
        for _ in range(2):
            await shelf.asked.acquire()
        shelf.away = False
        await queue.written()
    assert shelf.batches == [["c", "d", "e"]]
    assert [each["given_up"] for each in logs] == [2, 0]


async def test_what_is_too_heavy_alone_is_given_up_and_keeps_nothing_else_out(shelf: Shelf) -> None:
    queue = shelf.queue(room=Room(weight=5))
    put(queue, "a", weight=6)
    assert (len(queue), queue.given_up) == (0, 1)
    put(queue, "b", weight=5)
    await queue.written()
    assert shelf.batches == [["b"]]


async def test_what_is_given_up_or_dropped_while_it_is_written_is_stored_once_and_gone(shelf: Shelf) -> None:
    shelf.open.clear()
    queue = shelf.queue(room=Room(number=2))
    put(queue, "ab")
    await shelf.asked.acquire()
    put(queue, "c")
    queue.drop("b")
    queue.drop("unknown")
    assert [*queue] == ["c"]
    shelf.open.set()
    await queue.written()
    assert shelf.batches == [["a", "b"], ["c"]]


async def test_in_a_hurry_nothing_is_gathered_any_more(shelf: Shelf) -> None:
    queue = shelf.queue(Pace(gather_s=1000))
    put(queue, "a")
    queue.hurry()
    await queue.written()
    put(queue, "b")
    await queue.written()
    assert shelf.batches == [["a"], ["b"]]


async def test_in_a_hurry_a_store_that_is_away_is_asked_once_more_and_not_again(shelf: Shelf) -> None:
    shelf.away = True
    queue = shelf.queue()
    put(queue, "a")
    await shelf.asked.acquire()
    queue.hurry()
    await queue.written()
    await shelf.asked.acquire()
    assert shelf.asked.locked()
    assert [*queue] == ["a"]


async def test_a_write_that_hangs_holds_up_a_shutdown_no_longer_than_its_deadline(shelf: Shelf) -> None:
    shelf.open.clear()
    queue = shelf.queue()
    put(queue, "a")
    await shelf.asked.acquire()
    queue.hurry()
    assert not await shelf.background.settle(0.01)
    await shelf.background.aclose(5)
    await queue.written()
    assert len(shelf.background) == 0
    assert [*queue] == ["a"]


async def test_what_a_cancelled_write_took_waits_on_and_goes_with_the_next(shelf: Shelf) -> None:
    shelf.open.clear()
    queue = shelf.queue()
    put(queue, "a")
    await shelf.asked.acquire()
    await shelf.background.aclose(5)
    shelf.open.set()
    put(queue, "b")
    await queue.written()
    assert shelf.batches == [["a", "b"]]


async def test_a_queue_that_is_cancelled_before_its_first_write_goes_on_with_the_next_word(shelf: Shelf) -> None:
    queue = shelf.queue()
    put(queue, "a")
    await shelf.background.aclose(5)
    await queue.written()
    put(queue, "b")
    await queue.written()
    assert shelf.batches == [["a", "b"]]
