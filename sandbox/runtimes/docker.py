"""The `docker` runtime: one container a sandbox, the pipe over attach."""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import docker
import docker.errors

from sandbox.errors import RuntimeFault, SandboxGone, SandboxStartFailed, WorkbenchError
from sandbox.pipe.link import Link
from sandbox.pipe.traffic import Traffic
from sandbox.runtimes import docker_rest, docker_spec
from sandbox.runtimes.base import Condition, SandboxInfo, SandboxSpec, Size
from sandbox.runtimes.docker_address import EngineAddress, engine_address
from sandbox.runtimes.docker_attach import AttachLink, attach
from sandbox.runtimes.docker_engine import DockerEngine, OnCall
from sandbox.runtimes.last_words import LastWords, OnLog

ENGINE_TIMEOUT_S: Final = 60.0
ATTACH_TIMEOUT_S: Final = 15.0

_Entries = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Machine:
    """What the engine says of the machine that it is on."""

    cgroup_v2: bool
    memory_bytes: int
    cpus: int


@dataclass(slots=True)
class _Known:
    """What this process knows of one container. `first`: the stream that was opened before the start."""

    container: str
    words: LastWords
    first: AttachLink | None = None


class DockerRuntime:
    """A `Runtime` over a Docker engine. The engine is the truth; what is kept here only saves round trips."""

    name = "docker"

    def __init__(
        self,
        *,
        image: str,
        address: EngineAddress | None = None,
        on_log: OnLog | None = None,
        on_call: OnCall | None = None,
        traffic: Traffic | None = None,
        timeout_s: float = ENGINE_TIMEOUT_S,
    ) -> None:
        """Connects at first use. `address` None: docker's usual environment. `timeout_s`: for each engine call."""
        self.image = image
        self._engine = DockerEngine(address or engine_address(os.environ), timeout_s=timeout_s, on_call=on_call)
        self._on_log = on_log
        self._traffic = traffic
        self._known: dict[str, _Known] = {}
        self._cleaning: set[asyncio.Task[None]] = set()
        self._machine: _Machine | None = None

    def __repr__(self) -> str:
        return f"DockerRuntime({self.image!r}, {str(self._engine.address)!r})"

    # --- Runtime --------------------------------------------------------------------------------

    async def check(self) -> str:
        """Say what engine and image this is; see `Runtime.check`."""
        version = await self._engine.call(lambda client: client.version(), what="say its version")
        image_id = await self.image_id()
        return f"Docker {version['Version']} at {self._engine.address}, image {self.image} ({image_id[7:19]})"

    async def image_id(self) -> str:
        """Give the digest behind the image's name; see `Runtime.image_id`."""
        image = self.image
        found = await self._engine.call(lambda client: client.inspect_image(image), what=f"find image {image}")
        return str(found["Id"])

    async def memory_bytes(self) -> int:
        """Give the memory of the engine's machine; see `Runtime.memory_bytes`."""
        return (await self._describe()).memory_bytes

    async def create(self, spec: SandboxSpec) -> None:
        """Create, attach, start; see `Runtime.create`."""
        making = asyncio.create_task(self._make(spec))
        try:
            await asyncio.shield(making)
        except asyncio.CancelledError:
            # The engine may be making it at this moment: let that end, then take it away.
            self._in_background(self._unmake(making, spec.sandbox_id))
            raise

    async def open(self, sandbox_id: str) -> Link:
        """Give the stream opened by `create` the first time, a new one after that; see `Runtime.open`."""
        known = await self._must_exist(sandbox_id)
        first, known.first = known.first, None
        if first is not None and not first.closed:
            return first
        await self._must_run(sandbox_id, known)
        return await self._attach(sandbox_id, known)

    async def inspect(self, sandbox_id: str) -> SandboxInfo:
        """Say how a sandbox is; see `Runtime.inspect`."""
        document = await self.inspect_document(sandbox_id)
        return docker_spec.gone(sandbox_id) if document is None else docker_spec.info_from_inspect(document)

    async def inspect_document(self, sandbox_id: str) -> dict[str, Any] | None:
        """Give the engine's whole document, to be held against `HARDENING`; None when there is no such container."""
        known = await self._find(sandbox_id)
        if known is None:
            return None
        try:
            return await self._inspect_container(sandbox_id, known.container)
        except SandboxGone:
            self._known.pop(sandbox_id, None)
            return None

    async def last_words(self, sandbox_id: str) -> str:
        """Give the end of the agent's log as far as it came while this process was attached."""
        known = self._known.get(sandbox_id)
        return known.words.text() if known else ""

    async def pause(self, sandbox_id: str) -> None:
        """Freeze by the control group's freezer; see `Runtime.pause`."""
        container = (await self._must_exist(sandbox_id)).container
        await self._engine.call(lambda client: docker_rest.pause(client, container), what=f"pause sandbox {sandbox_id}")

    async def resume(self, sandbox_id: str) -> None:
        """Thaw; see `Runtime.resume`."""
        container = (await self._must_exist(sandbox_id)).container
        await self._engine.call(
            lambda client: docker_rest.resume(client, container), what=f"resume sandbox {sandbox_id}"
        )

    async def stop(self, sandbox_id: str) -> None:
        """Kill at once, frozen or not; see `Runtime.stop`."""
        known = await self._must_exist(sandbox_id)
        await self._engine.call(
            lambda client: client.stop(known.container, timeout=0), what=f"stop sandbox {sandbox_id}"
        )
        if known.first is not None:
            known.first.close()
            known.first = None

    async def start(self, sandbox_id: str) -> None:
        """Attach, start; see `Runtime.start`."""
        known = await self._must_exist(sandbox_id)
        known.words = LastWords(sandbox_id, self._on_log)  # a new agent's: not those of the one before it
        try:
            await self._attach_and_start(sandbox_id, known)
        except WorkbenchError as error:
            if known.first is not None:
                known.first.close()
                known.first = None
            # A plain refusal is a failed start; what has a name of its own keeps it.
            if type(error) is RuntimeFault:
                raise SandboxStartFailed(error.message, suggested_fix=error.suggested_fix) from error
            raise

    async def resize(self, sandbox_id: str, size: Size) -> bool:
        """Change the limits of its control group; see `Runtime.resize`."""
        container = (await self._must_exist(sandbox_id)).container
        cpus = (await self._describe()).cpus
        await self._engine.call(
            lambda client: docker_rest.resize(client, container, size, cpus), what=f"resize sandbox {sandbox_id}"
        )
        return True

    async def remove(self, sandbox_id: str) -> None:
        """Kill and remove; see `Runtime.remove`."""
        known = await self._find(sandbox_id)
        if known is None:
            return
        if known.first is not None:
            known.first.close()
        await self._engine.call(
            lambda client: _force_remove(client, known.container), what=f"remove sandbox {sandbox_id}"
        )
        self._known.pop(sandbox_id, None)

    async def list(self, installation: str) -> list[SandboxInfo]:
        """List all of an installation; see `Runtime.list`."""
        entries = await self._entries(f"{docker_spec.LABEL_INSTALLATION}={installation}")
        for entry in entries:
            self._remember(entry)
        return [docker_spec.info_from_list(entry) for entry in entries]

    async def close(self) -> None:
        """Let go of the engine; what `create` left unfinished is taken away first."""
        if self._cleaning:
            await asyncio.wait(self._cleaning)
        for known in self._known.values():
            if known.first is not None:
                known.first.close()
        self._known.clear()
        await self._engine.close()

    # --- create -----------------------------------------------------------------------------------

    async def _make(self, spec: SandboxSpec) -> None:
        machine = await self._describe()
        body = docker_spec.create_body(spec, image=self.image, cgroup_v2=machine.cgroup_v2, cpus_max=machine.cpus)
        name = docker_spec.container_name(spec)
        try:
            made = await self._engine.call(
                lambda client: client.create_container_from_config(body, name),
                what=f"create sandbox {spec.sandbox_id}",
            )
            known = _Known(made["Id"], LastWords(spec.sandbox_id, self._on_log))
            self._known[spec.sandbox_id] = known
            await self._attach_and_start(spec.sandbox_id, known)
        except WorkbenchError as error:
            with suppress(RuntimeFault):  # the first error is the one that says why
                await self.remove(spec.sandbox_id)
            # A plain refusal is a failed start; what has a name of its own keeps it.
            if type(error) in (RuntimeFault, SandboxGone):
                raise SandboxStartFailed(error.message, suggested_fix=error.suggested_fix) from error
            raise

    async def _attach_and_start(self, sandbox_id: str, known: _Known) -> None:
        # Attached before the start: nothing of what the agent says is lost, and `open` has its stream.
        known.first = await self._attach(sandbox_id, known)
        await self._engine.call(lambda client: client.start(known.container), what=f"start sandbox {sandbox_id}")

    async def _unmake(self, making: asyncio.Task[None], sandbox_id: str) -> None:
        await asyncio.wait([making])
        if making.exception() is None:
            with suppress(RuntimeFault):  # nobody is left to be told; cleaning up by labels finds it
                await self.remove(sandbox_id)

    async def _describe(self) -> _Machine:
        if self._machine is None:
            info = await self._engine.call(lambda client: client.info(), what="describe itself")
            self._machine = _Machine(
                str(info.get("CgroupVersion", "")) == "2", int(info["MemTotal"]), int(info["NCPU"])
            )
        return self._machine

    # --- calls to the engine -----------------------------------------------------------------------

    async def _attach(self, sandbox_id: str, known: _Known) -> AttachLink:
        return await attach(
            self._engine.address,
            known.container,
            api_version=await self._engine.api_version(),
            sandbox_id=sandbox_id,
            on_stderr=known.words.add,
            timeout_s=min(ATTACH_TIMEOUT_S, self._engine.timeout_s),
            traffic=self._traffic,
        )

    async def _must_exist(self, sandbox_id: str) -> _Known:
        known = await self._find(sandbox_id)
        if known is None:
            raise SandboxGone(f"sandbox {sandbox_id} does not exist")
        return known

    async def _must_run(self, sandbox_id: str, known: _Known) -> None:
        """Attaching to what has exited would hang at the engine instead of failing."""
        document = await self._inspect_container(sandbox_id, known.container)
        info = docker_spec.info_from_inspect(document)
        if info.condition is not Condition.RUNNING:
            raise SandboxGone(f"sandbox {sandbox_id} is {info.condition}: {info.detail}")

    async def _inspect_container(self, sandbox_id: str, container: str) -> dict[str, Any]:
        document: dict[str, Any] = await self._engine.call(
            lambda client: client.inspect_container(container), what=f"inspect sandbox {sandbox_id}"
        )
        return document

    async def _entries(self, label: str) -> _Entries:
        entries: _Entries = await self._engine.call(
            lambda client: client.containers(all=True, filters={"label": [label]}), what="list sandboxes"
        )
        return entries

    # --- what is known ------------------------------------------------------------------------------

    async def _find(self, sandbox_id: str) -> _Known | None:
        """What is known of a sandbox, else what the engine says; None when there is no such container."""
        if sandbox_id not in self._known:
            for entry in await self._entries(f"{docker_spec.LABEL_SANDBOX}={sandbox_id}"):
                self._remember(entry)
        return self._known.get(sandbox_id)

    def _remember(self, entry: dict[str, Any]) -> None:
        sandbox_id = docker_spec.info_from_list(entry).sandbox_id
        if sandbox_id not in self._known:
            self._known[sandbox_id] = _Known(entry["Id"], LastWords(sandbox_id, self._on_log))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)


def _force_remove(client: docker.APIClient, container: str) -> None:
    """Kill and remove with its volumes; fine when it is gone or another remove is at it."""
    try:
        client.remove_container(container, force=True, v=True)
    except docker.errors.NotFound:
        pass
    except docker.errors.APIError as error:
        if error.status_code != HTTPStatus.CONFLICT or "in progress" not in str(error.explanation):
            raise
