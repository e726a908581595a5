"""Room for bytes."""

import asyncio

import pytest

from sandbox.byte_room import ByteRoom

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]


async def _hold(room: ByteRoom, size: int, held: list[int], until: asyncio.Event) -> None:
    async with room.taken(size):
        held.append(size)
        await until.wait()


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_wants_more_than_is_left_waits_and_nobody_passes_by() -> None:
    room, held, done = ByteRoom(100), list[int](), asyncio.Event()
    async with asyncio.TaskGroup() as group, room.taken(70):
        for size in (60, 10, 40):
            group.create_task(_hold(room, size, held, done))
        await _turns()
        assert held == []
        done.set()
    assert held == [60, 10, 40]


@pytest.mark.parametrize("given", [False, True])
async def test_who_does_not_wait_any_more_leaves_its_place_or_its_room(given: bool) -> None:
    room, held, done = ByteRoom(100), list[int](), asyncio.Event()
    async with room.taken(70):
        leaving = asyncio.create_task(_hold(room, 50, held, done))
        staying = asyncio.create_task(_hold(room, 20, held, done))
        await _turns()
        if not given:
            leaving.cancel()
            await _turns()
            assert held == [20]
    if given:
        leaving.cancel()  # its room was given in this moment
    await asyncio.wait({leaving})
    done.set()
    await staying
    async with asyncio.timeout(10), room.taken(100):
        assert held == [20]


async def test_who_leaves_in_the_moment_in_which_room_is_made_just_leaves() -> None:
    room, held = ByteRoom(1), list[int]()
    async with room.taken(1):
        leaving = asyncio.create_task(_hold(room, 1, held, asyncio.Event()))
        await _turns()
        leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    async with room.taken(1):
        assert held == []
