"""Checks of a sandbox's life: start, hello, reattach, list, removal."""

import asyncio

from sandbox.errors import SandboxGone
from sandbox.limits import MIB
from sandbox.pipe.frames import PROTOCOL_VERSION
from sandbox.pipe.messages import CodeResult, Ending, RunCode
from sandbox.pipe.peer import Peer, expect, new_call_id
from sandbox.runtimes.base import Condition
from sandbox.runtimes.conformance_bench import (
    STEP_TIMEOUT_S,
    Bench,
    Check,
    ConformanceFailure,
    Moment,
    expect_equal,
    expect_true,
)


async def _says_hello(bench: Bench) -> None:
    subject = await bench.shared()
    expect_equal("version of the pipe", PROTOCOL_VERSION, subject.hello.version)
    expect_true("the agent names its boot", bool(subject.hello.boot), shown=subject.hello)
    info = await bench.runtime.inspect(subject.sandbox_id)
    expect_equal("condition", Condition.RUNNING, info.condition)


async def _names_image_and_memory(bench: Bench) -> None:
    image_id = await bench.runtime.image_id()
    expect_true("the image has a name", bool(image_id), shown=image_id)
    expect_equal("name of the same image", image_id, await bench.runtime.image_id())
    memory = await bench.runtime.memory_bytes()
    expect_true("the machine has the memory of a small sandbox at least", memory >= 256 * MIB, shown=memory)


async def _many_at_once(bench: Bench) -> None:
    specs = [bench.spec() for _ in range(3)]
    try:
        async with asyncio.TaskGroup() as group:
            for spec in specs:
                group.create_task(bench.runtime.create(spec))
        listed = {info.sandbox_id for info in await bench.runtime.list(bench.installation)}
        expect_true("all are listed", {spec.sandbox_id for spec in specs} <= listed, shown=listed)
    finally:
        async with asyncio.TaskGroup() as group:
            for spec in specs:
                group.create_task(bench.runtime.remove(spec.sandbox_id))


async def _listed_then_not(bench: Bench) -> None:
    subject = await bench.fresh()
    listed = {info.sandbox_id: info for info in await bench.runtime.list(bench.installation)}
    expect_true("it is listed", subject.sandbox_id in listed, shown=listed)
    expect_equal("its size", "standard", listed[subject.sandbox_id].size)
    others = [info.sandbox_id for info in await bench.runtime.list(f"{bench.installation}x")]
    expect_equal("sandboxes of another installation", [], others)
    await bench.discard(subject)
    left = [info.sandbox_id for info in await bench.runtime.list(bench.installation)]
    expect_true("after remove it is not listed", subject.sandbox_id not in left, shown=left)
    info = await bench.runtime.inspect(subject.sandbox_id)
    expect_equal("condition after remove", Condition.GONE, info.condition)


async def _remove_twice(bench: Bench) -> None:
    spec = bench.spec()
    await bench.runtime.create(spec)
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(bench.runtime.remove(spec.sandbox_id))
    await bench.runtime.remove(spec.sandbox_id)
    await bench.runtime.remove("neverexisted")


async def _gone_while_removed(bench: Bench) -> None:
    subject = await bench.fresh()
    await subject.bash("mkdir many && cd many && seq 2000 | xargs touch")
    removal = asyncio.create_task(bench.discard(subject))
    seen = {Condition.GONE}
    while not removal.done():
        seen.add((await bench.runtime.inspect(subject.sandbox_id)).condition)
        await asyncio.sleep(0)
    await removal
    expect_true("it is never shown as ended with its files there", Condition.EXITED not in seen, shown=seen)


async def _open_without_sandbox(bench: Bench) -> None:
    try:
        link = await bench.runtime.open("neverexisted")
    except SandboxGone:
        return
    link.close()
    raise ConformanceFailure("opening a sandbox that does not exist: expected SandboxGone, got a stream")


async def _removal_closes_the_pipe(bench: Bench) -> None:
    spec = bench.spec()
    await bench.runtime.create(spec)
    closed = Moment("the end of the stream")
    link = await bench.runtime.open(spec.sandbox_id)
    link.start(_ignore, closed.happened)
    await bench.runtime.remove(spec.sandbox_id)
    await closed.wait()


async def _reattach(bench: Bench) -> None:
    subject = await bench.shared()
    await subject.code("import os, time\nkept = 'kept'\nos.path.exists('go') and os.remove('go')")
    boot, call_id = subject.hello.boot, new_call_id()
    waiting = RunCode("while not os.path.exists('go'):\n    time.sleep(0.02)\nprint('went')")
    started = Moment("the start of the cell")
    call = asyncio.create_task(
        subject.peer.call(waiting, timeout_s=STEP_TIMEOUT_S, call_id=call_id, on_event=started.happened, live=True)
    )
    await started.wait()
    await subject.reattach()
    await asyncio.wait([call])
    expect_true("the old call ends when its stream is closed", call.exception() is not None, shown=call)
    expect_equal("boot after reattach", boot, subject.hello.boot)
    expect_equal("calls that run after reattach", [call_id], [survivor.id for survivor in subject.hello.survivors])
    joined = asyncio.create_task(subject.peer.join(call_id, deadline_s=STEP_TIMEOUT_S))
    await subject.bash("touch go")
    result = expect(await joined, CodeResult)
    expect_equal("ending of the cell that ran on", (Ending.COMPLETED, "went\n"), (result.ending, result.stdout.text))
    expect_equal("variable", "kept\n", (await subject.code("print(kept)")).stdout.text)


async def _half_line(bench: Bench) -> None:
    subject = await bench.shared()
    subject.peer.close()
    dying = await bench.runtime.open(subject.sandbox_id)
    dying.start(_ignore, _ignore)
    dying.write(b'{"t":"call","id":"half","timeout_s":5,"body":{"t":"run_bash","comm')
    await dying.drain()
    dying.close()
    subject.peer = Peer(await bench.runtime.open(subject.sandbox_id))
    subject.hello = await subject.peer.sync()
    expect_equal("answer after half a line", "ok\n", (await subject.bash("echo ok")).stdout.text)


def _ignore(_: object) -> None:
    """Take what a link says."""


CHECKS = (
    Check("a sandbox starts and its agent says hello with the version of the pipe", _says_hello),
    Check("it names the image that sandboxes are made from, and the memory of their machine", _names_image_and_memory),
    Check("sandboxes can be created and removed at the same time", _many_at_once),
    Check("a sandbox is listed for its own installation only, and not after its removal", _listed_then_not),
    Check("removing twice, at once, or what never existed is no error", _remove_twice),
    Check("a sandbox whose removal has begun is gone, not one that ended and kept its files", _gone_while_removed),
    Check("opening a sandbox that does not exist says that it is gone", _open_without_sandbox),
    Check("removing a sandbox ends its stream", _removal_closes_the_pipe),
    Check("a call goes on while the stream is closed and is joined after reattaching", _reattach),
    Check("half a line of a controller that died is never taken for a message", _half_line),
)
