"""Tasks that outlive the request that began them, supervised: none is lost, none dies in silence."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

_T = TypeVar("_T")


class Background:
    """A set of running tasks. One that fails is logged, without its values, and hurts no other."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lasting: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(
        self, work: Coroutine[Any, Any, _T], name: str, *, awaited: bool = False, apart: bool = False
    ) -> asyncio.Task[_T]:
        """Run `work` as a task of this set. `awaited`: its failure is for those who await it, not for the log.

        `apart`: it does not belong to the request that happened to begin it, so its log lines do not name that.
        """
        context = Context() if apart else None
        task = asyncio.get_running_loop().create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._awaited_done if awaited else self._done)
        return task

    async def whole(self, work: Coroutine[Any, Any, _T], name: str) -> _T:
        """Do `work` to its end, also when the caller leaves in the middle; its result or failure is the caller's."""
        return await asyncio.shield(self.spawn(work, name, awaited=True))

    def spawn_lasting(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work`, which may take for ever: `settle` does not wait for it."""
        task = self.spawn(work, name)
        self._lasting.add(task)
        task.add_done_callback(self._lasting.discard)

    async def settle(self, timeout_s: float) -> bool:
        """Wait until nothing runs but what lasts, at most `timeout_s`. Whether that was reached."""
        return await _none_of(lambda: self._tasks - self._lasting, timeout_s)

    async def aclose(self, timeout_s: float) -> None:
        """Cancel what runs and wait for it, at most `timeout_s`."""
        for task in list(self._tasks):
            task.cancel()
        if not await _none_of(lambda: self._tasks, timeout_s):
            log.error("background tasks did not end", tasks=sorted(task.get_name() for task in self._tasks))

    def _awaited_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # marked as seen: those who awaited it may all have left

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("a background task failed", task=task.get_name(), error=type(error).__name__, exc_info=error)


async def _none_of(tasks: Callable[[], set[asyncio.Task[Any]]], timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            while running := tasks():
                await asyncio.wait(running)
    except TimeoutError:
        return False
    return True
