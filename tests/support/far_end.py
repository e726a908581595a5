"""The far end of helper calls: a gateway of a test's own, whose helpers are a few words."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import msgspec

from sandbox.sessions.helper_port import HelperAnswer, SessionCall

_Do = Callable[[SessionCall], Awaitable[HelperAnswer]]


def value(found: object) -> HelperAnswer:
    """Make an answer of a JSON value."""
    return HelperAnswer(msgspec.Raw(msgspec.json.encode(found)))


@dataclass
class FarEnd:
    """`AnswersHelpers`; what it can answer: methods whose names begin with `do_`.

    `prepared`: an answer made before. `asked`: ids in the order they came, each as often as it came. `cancelled`: ids
    of calls that were cancelled. `waiting`: how many wait for `released`.
    """

    asked: list[str] = field(default_factory=list)
    calls: list[SessionCall] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    prepared: msgspec.Raw = field(default_factory=msgspec.Raw)
    waiting: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def holding(self) -> AbstractContextManager[None]:
        """What is answered here takes no room."""
        return nullcontext()

    async def answer(self, call: SessionCall) -> HelperAnswer:
        """Answer one call."""
        self.asked.append(call.id)
        self.calls.append(call)
        do: _Do | None = getattr(self, f"do_{call.helper}", None)
        return HelperAnswer(error=f"no helper {call.helper}") if do is None else await do(call)

    def prepare(self, size: int) -> None:
        """Make the answer of `prepared`: so many bytes."""
        self.prepared = msgspec.Raw(b'"' + bytes(size - 2).replace(b"\0", b"x") + b'"')

    async def reached(self, waiting: int) -> None:
        """Wait until so many calls wait here, for at most 30 seconds."""
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(lambda: self.waiting == waiting)

    async def do_echo(self, call: SessionCall) -> HelperAnswer:
        """Give the arguments back."""
        return HelperAnswer(call.arguments)

    async def do_who(self, call: SessionCall) -> HelperAnswer:
        """Say whose call it is."""
        return value({"session": call.session.id, "execution": call.execution_id, "timeout_s": call.timeout_s})

    async def do_big(self, call: SessionCall) -> HelperAnswer:
        """Give an answer of `size` bytes."""
        self.prepare(msgspec.json.decode(call.arguments, type=dict[str, int])["size"])
        return HelperAnswer(self.prepared)

    async def do_prepared(self, _call: SessionCall) -> HelperAnswer:
        """Give the answer that was made before."""
        return HelperAnswer(self.prepared)

    async def do_pretty(self, _call: SessionCall) -> HelperAnswer:
        """Give JSON with line breaks."""
        return HelperAnswer(msgspec.Raw(b'{\n  "a": [\n    1, 2\n  ]\n}'))

    async def do_progress(self, call: SessionCall) -> HelperAnswer:
        """Tell progress three times."""
        for done in (1, 2, 3):
            call.on_progress(done, done)
        return value("done")

    async def do_read(self, call: SessionCall) -> HelperAnswer:
        """Give the text of the file at `path`."""
        path = msgspec.json.decode(call.arguments, type=dict[str, str])["path"]
        return value(b"".join([piece async for piece in call.files.read(path, timeout_s=30)]).decode())

    async def do_rewrite(self, call: SessionCall) -> HelperAnswer:
        """Write the file at `path` once more, to `path` with `.copy`; remove the first one, twice."""
        path = msgspec.json.decode(call.arguments, type=dict[str, str])["path"]
        info = await call.files.write(f"{path}.copy", call.files.read(path, timeout_s=30), timeout_s=30)
        await call.files.delete(path)
        await call.files.delete(path)
        return value(info.size)

    async def do_defect(self, _call: SessionCall) -> HelperAnswer:
        """Break, with a value in the words."""
        raise ZeroDivisionError("nobody-may-see-this")

    async def do_wait(self, call: SessionCall) -> HelperAnswer:
        """Wait until `released`."""
        await self._count(1)
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.append(call.id)
            raise
        finally:
            await asyncio.shield(self._count(-1))
        return value("released")

    async def _count(self, step: int) -> None:
        async with self.changed:
            self.waiting += step
            self.changed.notify_all()
