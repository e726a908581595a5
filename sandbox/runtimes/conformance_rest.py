"""Checks of rest and waking, and of another size: paused and resumed, stopped and started again, resized."""

from collections.abc import Awaitable

from sandbox.errors import SandboxGone
from sandbox.limits import READY_TIMEOUT_S
from sandbox.pipe.messages import WaitReady
from sandbox.pipe.peer import Peer
from sandbox.runtimes.base import SIZES, Condition
from sandbox.runtimes.conformance_bench import Bench, Check, ConformanceFailure, Subject, expect_equal, expect_true


async def _paused_goes_on(bench: Bench) -> None:
    subject = await bench.shared()
    await subject.code("before = 'before'")
    await bench.runtime.pause(subject.sandbox_id)
    expect_equal("condition while paused", Condition.PAUSED, await _condition(subject))
    await bench.runtime.resume(subject.sandbox_id)
    expect_equal("condition afterwards", Condition.RUNNING, await _condition(subject))
    expect_equal("variable", "before\n", (await subject.code("print(before)")).stdout.text)
    expect_equal("bash", "ok\n", (await subject.bash("echo ok")).stdout.text)


async def _stopped_has_its_files(bench: Bench) -> None:
    subject = await bench.fresh()
    await subject.code("before = 'before'")
    await subject.bash("echo kept > kept.txt")
    boot = subject.hello.boot
    await bench.runtime.stop(subject.sandbox_id)
    expect_equal("condition while stopped", Condition.EXITED, await _condition(subject))
    listed = [info.sandbox_id for info in await bench.runtime.list(bench.installation)]
    expect_true("a stopped sandbox is listed", subject.sandbox_id in listed, shown=listed)
    await _start_again(bench, subject)
    expect_true("the agent is a new one", subject.hello.boot != boot, shown=subject.hello)
    expect_equal("file", "kept\n", (await subject.bash("cat kept.txt")).stdout.text)
    expect_equal("variable", "False\n", (await subject.code("print('before' in globals())")).stdout.text)


async def _twice_is_no_error(bench: Bench) -> None:
    subject = await bench.fresh()
    for rest in (bench.runtime.pause, bench.runtime.resume, bench.runtime.pause, bench.runtime.stop):
        await rest(subject.sandbox_id)
        await rest(subject.sandbox_id)
    await _start_again(bench, subject)
    expect_equal("answer", "ok\n", (await subject.bash("echo ok")).stdout.text)


async def _gone_cannot_rest_or_wake(bench: Bench) -> None:
    runtime = bench.runtime
    for act in (runtime.pause, runtime.resume, runtime.stop, runtime.start):
        await _expect_gone(act.__name__, act("neverexisted"))
    subject = await bench.fresh()
    await runtime.stop(subject.sandbox_id)
    for act in (runtime.pause, runtime.resume):
        await _expect_gone(f"{act.__name__} of a stopped sandbox", act(subject.sandbox_id))


async def _removed_at_rest(bench: Bench) -> None:
    for rest in (bench.runtime.pause, bench.runtime.stop):
        subject = await bench.fresh()
        await rest(subject.sandbox_id)
        await bench.discard(subject)
        expect_equal("condition after remove", Condition.GONE, await _condition(subject))


async def _resized_in_place(bench: Bench) -> None:
    subject = await bench.fresh()
    await subject.code("before = 'before'")
    for size in (SIZES["medium"], SIZES["medium"], SIZES["standard"]):
        limited = await bench.runtime.resize(subject.sandbox_id, size)
        if limited:
            expect_equal(f"memory limit of {size.name}", size.memory_bytes, (await subject.status()).memory_limit_bytes)
            cpus = (await subject.status()).cpus
            expect_true(f"CPUs of {size.name}, or all there are", 0 < (cpus or 0) <= size.cpus, shown=cpus)
    expect_equal("variable", "before\n", (await subject.code("print(before)")).stdout.text)
    await _expect_gone("resize", bench.runtime.resize("neverexisted", SIZES["large"]))


async def _condition(subject: Subject) -> Condition:
    return (await subject.runtime.inspect(subject.sandbox_id)).condition


async def _start_again(bench: Bench, subject: Subject) -> None:
    subject.peer.close()
    await bench.runtime.start(subject.sandbox_id)
    subject.peer = Peer(await bench.runtime.open(subject.sandbox_id))
    subject.hello = await subject.peer.sync()
    await subject.peer.call(WaitReady(), timeout_s=READY_TIMEOUT_S)


async def _expect_gone(what: str, act: Awaitable[object]) -> None:
    try:
        await act
    except SandboxGone:
        return
    raise ConformanceFailure(f"{what}: expected SandboxGone, got no error")


CHECKS = (
    Check("a paused sandbox goes on with its variables and its stream", _paused_goes_on),
    Check("a stopped sandbox has its files and a new kernel when it is started again", _stopped_has_its_files),
    Check("pausing, resuming and stopping what is so already is no error", _twice_is_no_error),
    Check(
        "what does not exist or does not run can neither rest nor wake, and says that it is gone",
        _gone_cannot_rest_or_wake,
    ),
    Check("a sandbox at rest can be removed", _removed_at_rest),
    Check("a sandbox is resized in place, or the driver says that it has no limits", _resized_in_place),
)
