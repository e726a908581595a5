"""Checks of executions: answers, endings, what is kept, many at once."""

import asyncio

from sandbox.limits import INLINE_CHARS
from sandbox.pipe.messages import Action, CodeResult, Ending, KernelState, RunCode
from sandbox.pipe.peer import expect, new_call_id
from sandbox.runtimes.conformance_bench import STEP_TIMEOUT_S, Bench, Check, Moment, expect_equal, expect_true
from sandbox.runtimes.conformance_cells import CELLS, COMMANDS

_PNG_BASE64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


async def _cells(bench: Bench) -> None:
    subject = await bench.shared()
    for cell in CELLS:
        result = await subject.code(cell.code)
        error = (result.error.name, result.error.message) if result.error else None
        expect_equal(
            f"answer of {cell.code!r} (ending, stdout, stderr, value, error)",
            (cell.ending, cell.stdout, cell.stderr, cell.value, cell.error),
            (result.ending, result.stdout.text, result.stderr.text, result.value.text.rstrip("\n"), error),
        )


async def _syntax_error(bench: Bench) -> None:
    subject = await bench.shared()
    result = await subject.code("x = (1,\nprint(")
    expect_equal("ending", Ending.ERROR, result.ending)
    expect_equal("exception", "SyntaxError", result.error.name if result.error else None)
    expect_true("no file is left out of the traceback", bool(result.error and result.error.traceback), shown=result)


async def _commands(bench: Bench) -> None:
    subject = await bench.shared()
    for command in COMMANDS:
        result = await subject.bash(command.command)
        expect_equal(
            f"answer of {command.command!r} (ending, exit code, stdout, stderr)",
            (Ending.COMPLETED, command.exit_code, command.stdout, command.stderr),
            (result.ending, result.exit_code, result.stdout.text, result.stderr.text),
        )


async def _shared_files(bench: Bench) -> None:
    subject = await bench.shared()
    await subject.code("open('shared.txt', 'w').write('from python\\n')")
    expect_equal("read by bash", "from python\n", (await subject.bash("cat shared.txt")).stdout.text)
    await subject.bash("echo from bash >> shared.txt")
    said = await subject.code("print(open('shared.txt').read(), end='')")
    expect_equal("read by Python", "from python\nfrom bash\n", said.stdout.text)


async def _artifact(bench: Bench) -> None:
    subject = await bench.shared()
    result = await subject.code(
        "import base64\nfrom IPython.display import Image, display\n"
        f"png = base64.b64decode('{_PNG_BASE64}')\ndisplay(Image(data=png))\nprint(png.hex())"
    )
    expect_equal("types of artifacts", ["image/png"], [artifact.type for artifact in result.artifacts])
    image = bytes.fromhex(result.stdout.text.strip())
    expect_equal("size of the artifact", len(image), result.artifacts[0].size)
    expect_equal("bytes of the artifact", image, await subject.read(result.artifacts[0].path))


async def _spill(bench: Bench) -> None:
    subject = await bench.shared()
    result = await subject.code("for n in range(10_000):\n    print(f'{n:06} é ')")
    whole = "".join(f"{n:06} é \n" for n in range(10_000))
    await _expect_spill(bench, whole, result.stdout.text, result.stdout.bytes, result.stdout.path)
    expect_equal("lines", 10_000, result.stdout.lines)
    fits = await subject.code(f"print('x' * {INLINE_CHARS - 1})")
    expect_equal("spill of output that just fits", None, fits.stdout.path)
    command = await subject.bash("for n in $(seq 20000); do echo $n; done; echo err >&2")
    numbers = "".join(f"{n}\n" for n in range(1, 20_001))
    await _expect_spill(bench, numbers, command.stdout.text, command.stdout.bytes, command.stdout.path)
    expect_equal("standard error beside a spill", ("err\n", None), (command.stderr.text, command.stderr.path))


async def _expect_spill(bench: Bench, whole: str, text: str, size: int, path: str | None) -> None:
    subject = await bench.shared()
    expect_equal("inline part", whole[:INLINE_CHARS], text)
    expect_equal("counted bytes", len(whole.encode()), size)
    expect_true("there is a spill", path is not None, shown=path)
    expect_equal("bytes of the spill", whole.encode(), await subject.read(path or ""))


async def _background_job(bench: Bench) -> None:
    subject = await bench.shared()
    started = await subject.bash(
        "rm -f go went\n(while [ ! -e go ]; do sleep 0.05; done; echo went > went) &\necho started"
    )
    expect_equal("answer", (Ending.COMPLETED, "started\n"), (started.ending, started.stdout.text))
    seen = await subject.bash("touch go; for n in $(seq 400); do [ -e went ] && break; sleep 0.05; done; cat went")
    expect_equal("what the job wrote after its call had ended", "went\n", seen.stdout.text)


async def _bash_deadline(bench: Bench) -> None:
    subject = await bench.shared()
    result = await subject.bash("echo begun; sleep 600 & echo $! > child.pid; trap '' TERM; wait", timeout_s=1)
    expect_equal(
        "ending, action and output so far",
        (Ending.TIMED_OUT, Action.PROCESS_GROUP_KILLED, "begun\n"),
        (result.ending, result.action, result.stdout.text),
    )
    left = await subject.bash(
        'for n in $(seq 200); do kill -0 "$(cat child.pid)" 2>/dev/null || break; sleep 0.05; done\n'
        'kill -0 "$(cat child.pid)" 2>/dev/null && echo alive || echo gone'
    )
    expect_equal("its child", "gone\n", left.stdout.text)


async def _code_deadline(bench: Bench) -> None:
    subject = await bench.shared()
    await subject.code("import time\nkept = 'kept'")
    result = await subject.code("print('begun', flush=True)\ntime.sleep(600)", timeout_s=1)
    expect_equal(
        "ending, action, variables kept, output so far",
        (Ending.TIMED_OUT, Action.INTERRUPTED, True, "begun\n"),
        (result.ending, result.action, result.variables_kept, result.stdout.text),
    )
    expect_equal("variable", "kept\n", (await subject.code("print(kept)")).stdout.text)


async def _cancel(bench: Bench) -> None:
    subject = await bench.shared()
    await subject.code("import time\nkept = 'kept'")
    call_id, started = new_call_id(), Moment("the start of the cell")
    call = asyncio.create_task(
        subject.peer.call(
            RunCode("time.sleep(600)"),
            timeout_s=STEP_TIMEOUT_S,
            call_id=call_id,
            on_event=started.happened,
            live=True,
        )
    )
    await started.wait()
    subject.peer.cancel(call_id)
    result = expect(await call, CodeResult)
    expect_equal("ending and variables kept", (Ending.INTERRUPTED, True), (result.ending, result.variables_kept))
    expect_equal("variable", "kept\n", (await subject.code("print(kept)")).stdout.text)


async def _kernel_death(bench: Bench) -> None:
    subject = await bench.shared()
    await subject.code("import os\nlost = 1\nopen('survivor.txt', 'w').write('still here')")
    result = await subject.code("print('last', flush=True)\nos._exit(3)")
    expect_equal(
        "ending, exit code, variables kept, files kept, output so far",
        (Ending.KERNEL_DIED, 3, False, True, "last\n"),
        (result.ending, result.exit_code, result.variables_kept, result.files_kept, result.stdout.text),
    )
    after = await subject.code("print('lost' in globals(), open('survivor.txt').read())")
    expect_equal("next cell", (Ending.COMPLETED, "False still here\n"), (after.ending, after.stdout.text))
    expect_equal("state of the kernel", KernelState.IDLE, (await subject.status()).kernel)


async def _many_calls(bench: Bench) -> None:
    subject = await bench.shared()
    async with asyncio.TaskGroup() as group:
        commands = [group.create_task(subject.bash(f"sleep 0.1; echo {n}")) for n in range(10)]
        cells = [group.create_task(subject.code(f"print({n})")) for n in range(10)]
    expect_equal("answers of bash", [f"{n}\n" for n in range(10)], [task.result().stdout.text for task in commands])
    expect_equal("answers of Python", [f"{n}\n" for n in range(10)], [task.result().stdout.text for task in cells])


CHECKS = (
    Check("a list of cells gives its literal answers, in one kernel that remembers", _cells),
    Check("a syntax error is an error with a traceback", _syntax_error),
    Check("a list of bash commands gives its literal answers", _commands),
    Check("Python and bash see the same files", _shared_files),
    Check("a displayed image is saved and listed with its exact bytes", _artifact),
    Check("output over the inline limit is complete in a spill, byte for byte", _spill),
    Check("a background job of bash lives on after its call", _background_job),
    Check("the deadline of a command kills its whole process group", _bash_deadline),
    Check("the deadline of a sleeping cell interrupts it and keeps variables", _code_deadline),
    Check("cancelling interrupts a cell and keeps variables", _cancel),
    Check("a kernel that ends itself is named with its exit code, and the next cell runs", _kernel_death),
    Check("twenty calls in flight each get their own answer", _many_calls),
)
