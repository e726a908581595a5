"""What checks stand on: sandboxes to use up, one to share, and expectations that say what came instead."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from sandbox.errors import PipeError, SandboxStartFailed
from sandbox.limits import READY_TIMEOUT_S
from sandbox.pipe.frames import Synced
from sandbox.pipe.messages import BashResult, CodeResult, GetStatus, ReadFile, RunBash, RunCode, Status, WaitReady
from sandbox.pipe.peer import Peer, expect
from sandbox.runtimes.base import SIZES, Runtime, SandboxSpec

STEP_TIMEOUT_S: Final = 60.0
"""For one step of a check: generous, because it bounds a hang and measures nothing."""

_SHOWN_CHARS: Final = 500


class ConformanceFailure(Exception):
    """The runtime, or the agent in it, does not do what the check's name says."""


@dataclass(frozen=True, slots=True)
class Check:
    """One behaviour. `harmful`: without isolation its code would harm this machine or reach out of it."""

    name: str
    run: Callable[["Bench"], Awaitable[None]]
    harmful: bool = False


def expect_equal(what: str, expected: object, actual: object) -> None:
    """Hold `actual` against `expected`.

    Raises:
        ConformanceFailure: they differ; the message shows both, cut.
    """
    if actual != expected:
        raise ConformanceFailure(f"{what}: expected {_shown(expected)}, got {_shown(actual)}")


def expect_true(what: str, holds: bool, *, shown: object) -> None:
    """Fail with the sentence `what` and the value `shown` unless it holds.

    Raises:
        ConformanceFailure: it does not hold.
    """
    if not holds:
        raise ConformanceFailure(f"{what}: got {_shown(shown)}")


class Subject:
    """A live sandbox with a synced pipe."""

    def __init__(self, runtime: Runtime, sandbox_id: str, peer: Peer, hello: Synced) -> None:
        self.runtime = runtime
        self.sandbox_id = sandbox_id
        self.peer = peer
        self.hello = hello

    async def code(self, code: str, *, timeout_s: float = STEP_TIMEOUT_S) -> CodeResult:
        """Run Python."""
        return expect(await self.peer.call(RunCode(code), timeout_s=timeout_s), CodeResult)

    async def bash(self, command: str, *, timeout_s: float = STEP_TIMEOUT_S) -> BashResult:
        """Run a command."""
        return expect(await self.peer.call(RunBash(command), timeout_s=timeout_s), BashResult)

    async def status(self) -> Status:
        """Ask how the sandbox is."""
        return expect(await self.peer.call(GetStatus(), timeout_s=STEP_TIMEOUT_S), Status)

    async def read(self, path: str) -> bytes:
        """Read a whole file."""
        pieces = [piece async for piece in self.peer.read_file(ReadFile(path), timeout_s=STEP_TIMEOUT_S)]
        return b"".join(pieces)

    async def reattach(self) -> None:
        """Drop the stream as a controller that dies does, and open a new one."""
        self.peer.close()
        self.peer = Peer(await self.runtime.open(self.sandbox_id))
        self.hello = await self.peer.sync()


class Bench:
    """Makes sandboxes for checks and removes them all in the end."""

    def __init__(self, runtime: Runtime, installation: str) -> None:
        self.runtime = runtime
        self.installation = installation
        self._shared: Subject | None = None
        self._made: list[Subject] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for subject in self._made:
            subject.peer.close()
            await self.runtime.remove(subject.sandbox_id)

    def spec(self) -> SandboxSpec:
        """Give the specification of a sandbox that does not exist yet."""
        return SandboxSpec(f"check{secrets.token_hex(5)}", self.installation, SIZES["standard"])

    async def shared(self) -> Subject:
        """Give the sandbox that checks share; one that breaks things takes a `fresh` one instead."""
        if self._shared is None or self._shared.peer.closed:
            self._shared = await self.fresh()
        return self._shared

    async def discard_shared(self) -> None:
        """Remove the shared sandbox; the next check gets a new one."""
        if self._shared is not None:
            await self.discard(self._shared)
            self._shared = None

    async def fresh(self) -> Subject:
        """Make a sandbox and wait until its kernel is ready.

        Raises:
            SandboxStartFailed: the agent did not get there; the message has its last words.
        """
        spec = self.spec()
        await self.runtime.create(spec)
        try:
            peer = Peer(await self.runtime.open(spec.sandbox_id))
            hello = await peer.sync()
            await peer.call(WaitReady(), timeout_s=READY_TIMEOUT_S)
        except PipeError as error:
            words = await self.runtime.last_words(spec.sandbox_id)
            await self.runtime.remove(spec.sandbox_id)
            raise SandboxStartFailed(f"{error}; the agent's last words: {words or 'none'}") from error
        except BaseException:
            await self.runtime.remove(spec.sandbox_id)
            raise
        subject = Subject(self.runtime, spec.sandbox_id, peer, hello)
        self._made.append(subject)
        return subject

    async def discard(self, subject: Subject) -> None:
        """Remove a sandbox now."""
        subject.peer.close()
        await self.runtime.remove(subject.sandbox_id)
        self._made.remove(subject)


class Moment:
    """Something that must happen before the step's deadline."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._event = asyncio.Event()

    def happened(self, *_: object) -> None:
        """Say that it has happened; takes and ignores what a callback gives."""
        self._event.set()

    async def wait(self) -> None:
        """Wait for it.

        Raises:
            ConformanceFailure: it did not happen in time.
        """
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                await self._event.wait()
        except TimeoutError:
            raise ConformanceFailure(f"{self._what} did not happen within {STEP_TIMEOUT_S:g} s") from None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}... ({len(text)} characters)"
