"""The contract of a runtime: create, open the stream, rest and wake, remove, list. Nothing else differs by driver."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sandbox.limits import MIB
from sandbox.pipe.link import Link


@dataclass(frozen=True, slots=True)
class Size:
    """What one sandbox may use: CPUs (fractions allowed), memory in bytes (no swap beyond it), processes."""

    name: str
    cpus: float
    memory_bytes: int
    pids: int = 512


SIZES: dict[str, Size] = {
    size.name: size
    for size in (
        Size("standard", cpus=1, memory_bytes=1024 * MIB),
        Size("medium", cpus=2, memory_bytes=2048 * MIB),
        Size("large", cpus=4, memory_bytes=4096 * MIB, pids=1024),
        Size("xlarge", cpus=8, memory_bytes=8192 * MIB, pids=2048),
    )
}
"""The compute tiers of the public contract (`sandbox_size`)."""


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What to make: a unique id (lower-case letters and digits), its size, and whose it is.

    `installation` names this controller's installation: drivers label what they make with it and list only
    what carries it, so that two installations on one engine never touch each other's sandboxes.
    """

    sandbox_id: str
    installation: str
    size: Size


class Condition(StrEnum):
    """What the engine says of a sandbox."""

    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """What the engine knows of one sandbox. `detail`: exit code, memory used up and the like, in words."""

    sandbox_id: str
    size: str
    version: str
    condition: Condition
    detail: str = ""


class Runtime(Protocol):
    """A driver. Every method has its own deadline inside and maps foreign errors to `RuntimeFault`s."""

    name: str

    async def check(self) -> str:
        """Say in one line what engine and image this is.

        Raises:
            EngineUnavailable: the engine does not answer; the message says what to do.
            ImageMissing: the sandbox image is not there; the message names the command that builds it.
        """

    async def image_id(self) -> str:
        """Name what sandboxes are made from now: another name only for another image. Raises as `check`."""

    async def memory_bytes(self) -> int:
        """Say how much memory the machine has that sandboxes run on, in bytes.

        Raises:
            EngineUnavailable: as `check`.
        """

    async def create(self, spec: SandboxSpec) -> None:
        """Create and start a sandbox. Nothing half made is left behind when it fails.

        Raises:
            EngineUnavailable, ImageMissing: as `check`.
            SandboxStartFailed: the engine refused; the message has its words.
        """

    async def open(self, sandbox_id: str) -> Link:
        """Open the pipe's stream to a running sandbox; an older stream to it may be cut.

        Raises:
            EngineUnavailable: as `check`.
            SandboxGone: there is no such running sandbox.
        """

    async def inspect(self, sandbox_id: str) -> SandboxInfo:
        """Say how a sandbox is; a sandbox that does not exist has condition `gone`.

        Raises:
            EngineUnavailable: as `check`.
        """

    async def last_words(self, sandbox_id: str) -> str:
        """Give the end of what the agent wrote to its log (standard error), bounded; empty when unknown."""

    async def pause(self, sandbox_id: str) -> None:
        """Freeze a running sandbox: processes, memory and the open stream stay, nothing runs. Twice is no error.

        Raises:
            EngineUnavailable: as `check`.
            SandboxGone: there is no such running sandbox.
        """

    async def resume(self, sandbox_id: str) -> None:
        """Let a paused sandbox go on where it was. Resuming one that runs is no error.

        Raises:
            EngineUnavailable: as `check`.
            SandboxGone: there is no such sandbox that runs or is paused.
        """

    async def stop(self, sandbox_id: str) -> None:
        """End all processes of a sandbox, running or paused; its files stay. Twice is no error.

        Raises:
            EngineUnavailable: as `check`.
            SandboxGone: there is no such sandbox.
        """

    async def start(self, sandbox_id: str) -> None:
        """Start the agent of a stopped sandbox again, on the files that it has; `open` gives its new stream.

        Raises:
            EngineUnavailable: as `check`.
            SandboxGone: there is no such sandbox.
            SandboxStartFailed: the engine refused; the message has its words. The sandbox stays stopped.
        """

    async def resize(self, sandbox_id: str, size: Size) -> bool:
        """Give a running sandbox the limits of another size; nothing in it is lost. To the size it has is no error.

        Whether it has them now: a driver without limits says no and does nothing. Its label keeps the first size.

        Raises:
            EngineUnavailable: as `check`.
            SandboxGone: there is no such sandbox.
            RuntimeFault: the engine refused; the message has its words.
        """

    async def remove(self, sandbox_id: str) -> None:
        """Kill and remove with all its files. Removing what does not exist is no error.

        Raises:
            EngineUnavailable: as `check`.
        """

    async def list(self, installation: str) -> list[SandboxInfo]:
        """List all sandboxes of an installation, whatever their condition.

        Raises:
            EngineUnavailable: as `check`.
        """

    async def close(self) -> None:
        """Let go of the engine; sandboxes stay as they are."""
