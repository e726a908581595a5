"""Progress of a call for a client that asked for it: the output as it comes, at a bounded rate."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic
from typing import Final

from sandbox.errors import WorkbenchError
from sandbox.pipe.messages import LiveOutput
from sandbox.sessions.execution import Execution

Report = Callable[[float, str], Awaitable[None]]
"""Sends one notification: seconds since the call began, and words."""

EVERY_S: Final = 0.2
QUIET_S: Final = 10.0
"""After so long without output a client is told that the call goes on."""

TAIL_CHARS: Final = 1_000
"""Characters of the newest output that one notification has."""


class Tail:
    """The newest characters of output since it was last taken."""

    def __init__(self) -> None:
        self._text = ""
        self.changed = asyncio.Event()

    def add(self, text: str) -> None:
        """Take more output."""
        self._text = (self._text + text)[-TAIL_CHARS:]
        self.changed.set()

    def take(self) -> str:
        """Give what came, and begin anew."""
        text, self._text = self._text, ""
        self.changed.clear()
        return text


async def report_progress(execution: Execution | None, report: Report) -> None:
    """Report until cancelled: output of the execution at most every EVERY_S, else from time to time that it goes on."""
    tail = Tail()
    async with asyncio.TaskGroup() as group:
        if execution is not None:
            group.create_task(_gather(execution, tail))
        group.create_task(_send(tail, report))


async def _gather(execution: Execution, tail: Tail) -> None:
    with suppress(WorkbenchError):  # the answer says it
        async for event in execution.follow():
            if isinstance(event.body, LiveOutput):
                tail.add(event.body.text)


async def _send(tail: Tail, report: Report) -> None:
    began = monotonic()
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await tail.changed.wait()
        seconds = round(monotonic() - began, 3)
        await report(seconds, tail.take() or f"Runs for {seconds:.0f} s")
        await asyncio.sleep(EVERY_S)
