"""Files written by the pipe to a real filesystem that is full: a named fault, nothing half made, usable afterwards."""

from collections.abc import AsyncIterator

import pytest

from sandbox.errors import CallFault
from sandbox.pipe.messages import WriteFile
from sandbox.runtimes.conformance_bench import Bench, Subject
from sandbox.runtimes.docker import DockerRuntime

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

PATH = "/dev/shm/upload.bin"


@pytest.fixture
async def subject(docker_runtime: DockerRuntime, installation: str) -> AsyncIterator[Subject]:
    async with Bench(docker_runtime, installation) as bench:
        yield await bench.fresh()


async def upload(subject: Subject, *, append: bool = False) -> int:
    """Write 300 kB; how many bytes the file then has."""

    async def data() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"new" + bytes(99_997)

    return (await subject.peer.write_file(WriteFile(PATH, append), data(), timeout_s=60)).size


async def test_a_file_that_does_not_fit_is_refused_and_leaves_the_old_one_as_it_was(subject: Subject) -> None:
    filled = await subject.bash(
        f"printf old > {PATH}; cat /dev/zero > /dev/shm/full; truncate -s -131072 /dev/shm/full; stat -f -c %a /dev/shm"
    )
    assert filled.stdout.text == "32\n"
    with pytest.raises(CallFault, match=PATH) as caught:
        await upload(subject)
    assert caught.value.fault == "no_space"
    found = await subject.bash(f"cat {PATH}; ls -A /dev/shm; stat -f -c %a /dev/shm")
    assert found.stdout.text == "oldfull\nupload.bin\n32\n"
    await subject.bash("rm /dev/shm/full")
    assert await upload(subject) == 300_000
    assert (await subject.code("6 * 7")).value.text == "42"
