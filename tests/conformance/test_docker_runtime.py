"""The docker runtime over a real engine: what only containers can show."""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.errors import EngineUnavailable, ImageMissing, SandboxGone, SandboxStartFailed, WorkbenchError
from sandbox.limits import MIB
from sandbox.pipe.link import Link
from sandbox.runtimes.base import SIZES, Condition, SandboxSpec, Size
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress, UnixAddress
from sandbox.runtimes.docker_engine import make_client
from tests.conftest import remove_all
from tests.support.images import image_running

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

TINY = Size("tiny", cpus=0.5, memory_bytes=32 * MIB, pids=16)
ImageOf = Callable[..., str]
RuntimeOf = Callable[[str], DockerRuntime]


@pytest.fixture(scope="module")
def image_of(docker_engine: EngineAddress, sandbox_image: str) -> Iterator[ImageOf]:
    """Makes images whose process 1 is the given program; each is made once."""
    made: dict[tuple[str, ...], str] = {}
    with ExitStack() as stack:

        def image(*entrypoint: str) -> str:
            if entrypoint not in made:
                made[entrypoint] = stack.enter_context(image_running(docker_engine, sandbox_image, entrypoint))
            return made[entrypoint]

        yield image


@pytest.fixture
async def runtime_of(anyio_backend: str, docker_engine: EngineAddress, installation: str) -> AsyncIterator[RuntimeOf]:
    """Makes runtimes for an image; what they made is removed."""
    runtimes: list[DockerRuntime] = []

    def runtime(image: str) -> DockerRuntime:
        runtimes.append(DockerRuntime(image=image, address=docker_engine))
        return runtimes[-1]

    yield runtime
    for made in runtimes:
        await made.close()
    await remove_all(DockerRuntime(image="any", address=docker_engine), installation)


@pytest.fixture
def spec(installation: str) -> SandboxSpec:
    return SandboxSpec(f"t{secrets.token_hex(5)}", installation, TINY)


class Echo:
    """Reads what comes out of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._data = b""
        self._more = asyncio.Event()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        link.start(self._take, self.closed.set_result)

    def _take(self, data: bytes) -> None:
        self._data += data
        self._more.set()

    async def of(self, data: bytes) -> bytes:
        """Send, and give as many bytes as were sent."""
        self._link.write(data)
        await self._link.drain()
        async with asyncio.timeout(30):
            while len(self._data) < len(data):
                self._more.clear()
                await self._more.wait()
        got, self._data = self._data[: len(data)], self._data[len(data) :]
        return got


async def test_bytes_of_every_value_pass_the_stream_unchanged(
    runtime_of: RuntimeOf, image_of: ImageOf, spec: SandboxSpec
) -> None:
    runtime = runtime_of(image_of("cat"))
    await runtime.create(spec)
    echo = Echo(await runtime.open(spec.sandbox_id))
    data = bytes(range(256)) * 4096
    assert await echo.of(data) == data
    await runtime.remove(spec.sandbox_id)
    async with asyncio.timeout(30):
        assert await echo.closed == "the engine closed the stream"


async def test_another_controller_finds_opens_and_removes_what_runs(
    runtime_of: RuntimeOf, image_of: ImageOf, spec: SandboxSpec
) -> None:
    first, second = runtime_of(image_of("cat")), runtime_of("an image it does not need")
    await first.create(spec)
    await first.close()
    (found,) = await second.list(spec.installation)
    assert (found.sandbox_id, found.size, found.condition) == (spec.sandbox_id, "tiny", Condition.RUNNING)
    assert await Echo(await second.open(spec.sandbox_id)).of(b"still here") == b"still here"
    assert await Echo(await second.open(spec.sandbox_id)).of(b"again") == b"again"
    await second.remove(spec.sandbox_id)
    assert await second.list(spec.installation) == []


async def test_a_sandbox_that_ends_at_once_leaves_its_last_words(
    runtime_of: RuntimeOf, image_of: ImageOf, spec: SandboxSpec
) -> None:
    runtime = runtime_of(image_of("bash", "-c", "echo no kernel here >&2; exit 7"))
    await runtime.create(spec)
    async with asyncio.timeout(30):
        await Echo(await runtime.open(spec.sandbox_id)).closed
    assert await runtime.last_words(spec.sandbox_id) == "no kernel here"
    info = await runtime.inspect(spec.sandbox_id)
    assert (info.condition, info.detail) == (Condition.EXITED, "exit code 7")
    with pytest.raises(SandboxGone, match="is exited: exit code 7"):
        await runtime.open(spec.sandbox_id)


async def test_running_out_of_memory_is_named(runtime_of: RuntimeOf, image_of: ImageOf, spec: SandboxSpec) -> None:
    runtime = runtime_of(image_of("tail", "/dev/zero"))
    await runtime.create(spec)
    async with asyncio.timeout(60):
        await Echo(await runtime.open(spec.sandbox_id)).closed
    assert "memory was used up in it" in (await runtime.inspect(spec.sandbox_id)).detail


async def test_a_paused_sandbox_cannot_be_opened_but_removed(
    runtime_of: RuntimeOf, image_of: ImageOf, spec: SandboxSpec, docker_engine: EngineAddress
) -> None:
    runtime = runtime_of(image_of("cat"))
    await runtime.create(spec)
    (await runtime.open(spec.sandbox_id)).close()
    with make_client(docker_engine, timeout_s=30) as client:
        client.pause(f"workbench-{spec.installation}-{spec.sandbox_id}")
    assert (await runtime.inspect(spec.sandbox_id)).condition is Condition.PAUSED
    with pytest.raises(SandboxGone, match="is paused"):
        await runtime.open(spec.sandbox_id)
    await runtime.remove(spec.sandbox_id)
    assert (await runtime.inspect(spec.sandbox_id)).condition is Condition.GONE


async def test_a_container_removed_by_hand_is_gone(
    runtime_of: RuntimeOf, image_of: ImageOf, spec: SandboxSpec, docker_engine: EngineAddress
) -> None:
    runtime = runtime_of(image_of("cat"))
    await runtime.create(spec)
    echo = Echo(await runtime.open(spec.sandbox_id))
    with make_client(docker_engine, timeout_s=30) as client:
        client.remove_container(f"workbench-{spec.installation}-{spec.sandbox_id}", force=True)
    async with asyncio.timeout(30):
        await echo.closed
    assert (await runtime.inspect(spec.sandbox_id)).condition is Condition.GONE
    with pytest.raises(SandboxGone):
        await runtime.open(spec.sandbox_id)
    await runtime.remove(spec.sandbox_id)


async def test_a_missing_image_is_named_with_the_command_that_builds_it(
    runtime_of: RuntimeOf, spec: SandboxSpec
) -> None:
    runtime = runtime_of("workbench-test:does-not-exist")
    for attempt in (runtime.check(), runtime.create(spec)):
        with pytest.raises(ImageMissing, match="workbench-test:does-not-exist") as caught:
            await attempt
        assert caught.value.suggested_fix == "build it with `workbench image build`"
    assert await runtime.list(spec.installation) == []


async def test_a_start_that_the_engine_refuses_leaves_nothing_behind(
    runtime_of: RuntimeOf, image_of: ImageOf, spec: SandboxSpec
) -> None:
    runtime = runtime_of(image_of("/does/not/exist"))
    with pytest.raises(SandboxStartFailed, match="/does/not/exist"):
        await runtime.create(spec)
    assert await runtime.list(spec.installation) == []


@pytest.mark.parametrize("steps", [0, 1, 5, 50])
async def test_a_creation_that_is_cancelled_leaves_nothing_behind(
    runtime_of: RuntimeOf, image_of: ImageOf, spec: SandboxSpec, steps: int
) -> None:
    runtime = runtime_of(image_of("cat"))
    creating = asyncio.create_task(runtime.create(spec))
    for _ in range(steps):
        await asyncio.sleep(0)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    await runtime.close()
    assert await runtime_of("any").list(spec.installation) == []


async def test_twelve_sandboxes_made_at_once_all_run(
    runtime_of: RuntimeOf, image_of: ImageOf, installation: str
) -> None:
    runtime = runtime_of(image_of("cat"))
    specs = [SandboxSpec(f"many{number}", installation, TINY) for number in range(12)]
    async with asyncio.TaskGroup() as group:
        for one in specs:
            group.create_task(runtime.create(one))
    found = await runtime.list(installation)
    assert sorted(info.sandbox_id for info in found) == sorted(one.sandbox_id for one in specs)
    assert {info.condition for info in found} == {Condition.RUNNING}


async def test_opening_and_removing_leaks_no_descriptors_and_no_threads(
    runtime_of: RuntimeOf, image_of: ImageOf, spec: SandboxSpec
) -> None:
    async def use() -> None:
        runtime = DockerRuntime(image=image_of("cat"))
        await runtime.create(spec)
        for _ in range(25):
            (await runtime.open(spec.sandbox_id)).close()
        await runtime.remove(spec.sandbox_id)
        await runtime.close()

    await use()
    before = _held()
    await use()
    assert _held() <= before


def _held() -> tuple[int, int]:
    """Count descriptors and threads; those of an executor that was let go end by themselves, a moment later."""
    for thread in threading.enumerate():
        if thread.name.startswith("docker"):
            thread.join(30)
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.parametrize("attempt", ["check", "create", "open", "inspect", "remove", "list"])
async def test_without_an_engine_every_call_says_how_to_start_one(
    spec: SandboxSpec, short_folder: Path, attempt: str
) -> None:
    runtime = DockerRuntime(image="any", address=UnixAddress(f"{short_folder}/none.sock"))
    calls: dict[str, Callable[[], object]] = {
        "check": runtime.check,
        "create": lambda: runtime.create(spec),
        "open": lambda: runtime.open("ab12"),
        "inspect": lambda: runtime.inspect("ab12"),
        "remove": lambda: runtime.remove("ab12"),
        "list": lambda: runtime.list("here"),
    }
    with pytest.raises(EngineUnavailable, match="No such file or directory") as caught:
        await calls[attempt]()  # type: ignore[misc]
    assert "start it" in (caught.value.suggested_fix or "")
    await runtime.close()


async def test_a_silent_engine_runs_into_the_deadline(short_folder: Path) -> None:
    address = f"{short_folder}/silent.sock"
    ended: asyncio.Queue[None] = asyncio.Queue()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.put_nowait(None)

    async with await asyncio.start_unix_server(hold, address):
        runtime = DockerRuntime(image="any", address=UnixAddress(address), timeout_s=0.2)
        with pytest.raises(WorkbenchError, match=r"did not list sandboxes within 0\.2 s"):
            await runtime.list("here")
        await runtime.close()
        async with asyncio.timeout(30):
            await ended.get()


async def test_sizes_become_limits_that_the_engine_keeps(
    runtime_of: RuntimeOf, image_of: ImageOf, installation: str
) -> None:
    runtime = runtime_of(image_of("cat"))
    await runtime.create(SandboxSpec("sized", installation, SIZES["standard"]))
    document = await runtime.inspect_document("sized")
    assert document is not None
    host = document["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (1024 * MIB, 1_000_000_000, 512)
