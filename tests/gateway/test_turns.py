"""Turns: bounded, fair between sessions, and given up by who does not wait any more."""

import asyncio

import pytest

from sandbox.errors import Overloaded
from sandbox.gateway.turns import TurnBounds, Turns

pytestmark = pytest.mark.anyio


class Stage:
    """Calls that hold their turns until they are told to end; `order`: who got one, in order."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.order: list[str] = []
        self.ends: list[asyncio.Event] = []

    async def call(self, session_id: str) -> None:
        await self.turns.take(session_id)
        try:
            self.order.append(session_id)
            end = asyncio.Event()
            self.ends.append(end)
            await end.wait()
        finally:
            self.turns.give_back(session_id)

    def end_one(self) -> None:
        self.ends.pop(0).set()


async def settled() -> None:
    """Let all run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_sessions_take_turns_however_many_calls_one_makes() -> None:
    stage = Stage(Turns(TurnBounds(1, 1, 100)))
    async with asyncio.TaskGroup() as group:
        for session_id in ("a", "a", "a", "a", "b", "b", "c"):
            group.create_task(stage.call(session_id))
        for _ in range(7):
            await settled()
            stage.end_one()
    assert stage.order == ["a", "a", "b", "c", "a", "b", "a"]


async def test_no_more_run_than_the_bounds_allow() -> None:
    turns = Turns(TurnBounds(3, 2, 100))
    stage = Stage(turns)
    async with asyncio.TaskGroup() as group:
        for session_id in ("a", "a", "a", "b", "b", "b"):
            group.create_task(stage.call(session_id))
        await settled()
        assert (turns.running, turns.waiting, stage.order) == (3, 3, ["a", "a", "b"])
        for _ in range(6):
            stage.end_one()
            await settled()
            assert turns.running <= 3
    assert (turns.running, turns.waiting) == (0, 0)


async def test_a_session_at_its_own_bound_does_not_hold_others_up() -> None:
    turns = Turns(TurnBounds(10, 1, 100))
    stage = Stage(turns)
    async with asyncio.TaskGroup() as group:
        for session_id in ("a", "a", "a", "b"):
            group.create_task(stage.call(session_id))
        await settled()
        assert stage.order == ["a", "b"]
        for _ in range(4):
            stage.end_one()
            await settled()


async def test_when_too_many_wait_the_next_is_refused_and_the_settings_named() -> None:
    stage = Stage(Turns(TurnBounds(1, 1, 1)))
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.call("a"))
        group.create_task(stage.call("a"))
        await settled()
        with pytest.raises(Overloaded, match="helper_queue"):
            await stage.turns.take("b")
        for _ in range(2):
            stage.end_one()
            await settled()


@pytest.mark.parametrize("given", [False, True])
async def test_a_call_that_does_not_wait_any_more_leaves_its_place_or_its_turn(given: bool) -> None:
    turns = Turns(TurnBounds(1, 1, 10))
    await turns.take("a")
    waiting = asyncio.ensure_future(turns.take("b"))
    await settled()
    if given:
        turns.give_back("a")  # the turn is given in the moment in which it is given up
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not given:
        turns.give_back("a")
    assert (turns.running, turns.waiting) == (0, 0)
    await turns.take("c")
