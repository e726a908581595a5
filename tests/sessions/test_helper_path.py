"""Helper calls from real kernels and commands, through the relay's socket and a real pipe, to a test's gateway."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.bench.process_memory import peak_mb, resident_mb
from sandbox.limits import HELPER_ARGUMENTS_MAX_BYTES, HELPER_CALLS_MAX, MIB
from sandbox.pipe.messages import BashResult, CodeResult, Ending, RunBash, RunCode
from sandbox.runtimes.base import Runtime
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress, UnixAddress, engine_address
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.session import Session
from sandbox.sessions.store_sql import SqlStore
from tests.support.borrowed import borrowed
from tests.support.engine_proxy import engine_proxy
from tests.support.far_end import FarEnd
from tests.support.raw_helper import CODE

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

THREADS = 32
MANY = f"""
from concurrent.futures import ThreadPoolExecutor
def work(number):
    answer = call("wait", {{"number": number}})
    stopped.append(answer)
    return answer
stopped = []
with ThreadPoolExecutor({THREADS}) as pool:
    list(pool.map(work, range(4 * {THREADS})))
"""
"""More calls than threads: what is left of them when the cell is interrupted must not be made any more."""


class Client:
    """A session of a manager, and the far end of its calls."""

    def __init__(self, manager: SessionManager, session: Session, far: FarEnd) -> None:
        self.manager = manager
        self.session = session
        self.far = far

    async def begin(self, code: str, timeout_s: float = 90) -> Execution:
        return await self.manager.start(self.session, RunCode(code), timeout_s=timeout_s)

    async def ended(self, code: str, timeout_s: float = 90) -> CodeResult:
        result = await (await self.begin(code, timeout_s)).wait()
        assert isinstance(result, CodeResult)
        return result

    async def run(self, code: str) -> Any:
        """Run code whose last expression is text of JSON, and give that value."""
        result = await self.ended(f"{code.rstrip()}\n")
        assert result.ending is Ending.COMPLETED, result.error
        return json.loads(result.stdout.text) if result.stdout.text else None

    async def bash(self, command: str) -> BashResult:
        result = await (await self.manager.start(self.session, RunBash(command), timeout_s=60)).wait()
        assert isinstance(result, BashResult)
        return result


async def make_client(runtime: Runtime, folder: Path, installation: str, far: FarEnd, **more: Any) -> Client:
    limits = SessionLimits(pool_size=0, **more)
    store = SqlStore(f"sqlite:///{folder}/workbench.db")
    manager = SessionManager(borrowed(runtime), store, installation=installation, limits=limits, helpers=far)
    await manager.start_up()
    client = Client(manager, await manager.resolve("ann", "x", None), far)
    await client.run(CODE)
    return client


@pytest.fixture
async def client(runtime: Runtime, installation: str, tmp_path: Path) -> AsyncIterator[Client]:
    made = await make_client(runtime, tmp_path, installation, FarEnd())
    yield made
    made.far.released.set()
    await made.manager.aclose()


async def test_a_call_from_a_cell_is_the_cells_and_its_answer_comes_back(client: Client) -> None:
    execution = await client.begin("print(json.dumps([call('who'), call('echo', {'a': 'é'}), call('progress')]))")
    result = await execution.wait()
    who, echo, progress = json.loads(result.stdout.text)
    assert who["result"]["session"] == client.session.id
    assert who["result"]["execution"] == execution.id
    assert 0 < who["result"]["timeout_s"] <= 90
    assert echo == {"result": {"a": "é"}, "error": ""}
    assert (progress["result"], [told["done"] for told in progress["told"]]) == ("done", [1, 2, 3])


async def test_many_threads_call_at_once_and_each_gets_its_own_answer(client: Client) -> None:
    code = f"""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor({THREADS}) as pool:
    answers = list(pool.map(lambda number: call("echo", {{"number": number}})["result"]["number"], range(2000)))
print(json.dumps(answers == list(range(2000))))
"""
    assert await client.run(code) is True
    assert len(client.far.asked) == len(set(client.far.asked)) == 2000


async def test_long_arguments_go_by_a_file_up_to_their_bound(client: Client) -> None:
    code = f"""
def by_file(size):
    with open("arguments.json", "w") as file:
        json.dump({{"text": "y" * size}}, file)
    answer = call("echo", arguments_path=os.path.abspath("arguments.json"))
    if answer.get("path"):
        with open(answer["path"]) as file:
            answer["result"] = json.load(file)
        os.remove(answer["path"])
    return len((answer["result"] or {{}}).get("text", "")), answer["error"]
print(json.dumps([by_file(100_000), by_file({4 * MIB}), by_file({HELPER_ARGUMENTS_MAX_BYTES})]))
"""
    small, large, too_large = await client.run(code)
    assert (small, large) == ([100_000, ""], [4 * MIB, ""])
    assert too_large[0] == 0
    assert f"over {HELPER_ARGUMENTS_MAX_BYTES} bytes" in too_large[1]


async def test_a_long_answer_goes_by_a_file_and_is_not_copied_in_the_controller(client: Client) -> None:
    size = 200 * MIB
    client.far.prepare(size)
    before = resident_mb(os.getpid())
    code = """
answer = call("prepared")
print(json.dumps([os.path.getsize(answer["path"]), answer["result"], answer["error"]]))
os.remove(answer["path"])
"""
    assert await client.run(code) == [size, None, ""]
    most = peak_mb(os.getpid())
    assert before is not None
    assert most is not None
    assert most - before < 48


async def test_the_far_end_reads_writes_and_removes_files_of_the_sandbox(client: Client) -> None:
    code = f"""
with open("big", "w") as file:
    file.write("z" * {3 * MIB})
path = os.path.abspath("big")
answers = [call(helper, {{"path": path}}) for helper in ("rewrite", "read")]
print(json.dumps([answers[0]["result"], os.path.getsize("big.copy"), os.path.exists("big"), answers[1]["error"]]))
"""
    copied, there, left, error = await client.run(code)
    assert (copied, there, left) == (3 * MIB, 3 * MIB, False)
    assert "/big" in error


@pytest.mark.parametrize("how", ["interrupt", "timeout"])
async def test_a_cell_that_is_ended_leaves_no_call_behind(client: Client, how: str) -> None:
    execution = await client.begin(MANY, timeout_s=90 if how == "interrupt" else 3)
    await client.far.reached(THREADS)
    if how == "interrupt":
        execution.interrupt()
    await client.far.reached(0)
    result = await execution.wait()
    assert isinstance(result, CodeResult)
    assert result.ending is (Ending.INTERRUPTED if how == "interrupt" else Ending.TIMED_OUT)
    assert result.variables_kept
    assert len(client.far.cancelled) == len(client.far.asked) == THREADS
    told = await client.run("print(json.dumps([answer['interrupted'] for answer in stopped]))")
    assert len(told) >= THREADS
    assert all(told)
    assert (await client.run("print(json.dumps(call('echo')))"))["error"] == ""


async def test_a_kernel_that_dies_leaves_no_call_behind(client: Client) -> None:
    code = "import threading\nfor n in range(4): threading.Thread(target=call, args=['wait']).start()\n"
    execution = await client.begin(code + "while not os.path.exists('die'): pass\nos._exit(3)")
    await client.far.reached(4)
    await client.bash("touch die")
    await client.far.reached(0)
    assert (await execution.wait()).ending is Ending.KERNEL_DIED


async def test_closing_the_connection_cancels_the_call(client: Client) -> None:
    await client.run("helper = RawHelper(); helper.send('wait')")
    await client.far.reached(1)
    await client.run("helper.close()")
    await client.far.reached(0)
    assert client.far.cancelled == client.far.asked


def in_bash(code: str) -> str:
    """Give a command that runs code with the raw helper in a Python of its own."""
    return f"cat > /tmp/helper_$$.py <<'CODE'\n{CODE}\n{code}\nCODE\npython /tmp/helper_$$.py"


async def test_a_call_from_bash_is_that_calls_and_not_the_cells(client: Client) -> None:
    cell = await client.begin("import time\nwhile not os.path.exists('go'): time.sleep(0.01)")
    command = in_bash("print(json.dumps(call('who', execution=os.environ['WORKBENCH_EXECUTION'])['result']))")
    execution = await client.manager.start(client.session, RunBash(command), timeout_s=60)
    result = await execution.wait()
    assert json.loads(result.stdout.text)["execution"] == execution.id != cell.id
    await client.bash("touch go")
    await cell.wait()


async def test_a_background_job_of_bash_goes_on_to_call_as_nobodys(client: Client) -> None:
    code = """
import time
while not os.path.exists("ended"): time.sleep(0.01)
with open("said", "w") as file:
    json.dump(call("who", execution=os.environ["WORKBENCH_EXECUTION"]), file)
os.rename("said", "job")
"""
    assert (await client.bash(f"({in_bash(code)}) > /dev/null 2>&1 &")).ending is Ending.COMPLETED
    await client.bash("touch ended; until [ -e job ]; do sleep 0.02; done")
    answer = json.loads((await client.bash("cat job")).stdout.text)
    assert (answer["error"], answer["result"]["execution"]) == ("", None)


async def test_a_bash_call_that_is_interrupted_leaves_no_call_behind(client: Client) -> None:
    command = in_bash("call('wait', execution=os.environ['WORKBENCH_EXECUTION'])")
    execution = await client.manager.start(client.session, RunBash(command), timeout_s=60)
    await client.far.reached(1)
    execution.interrupt()
    await client.far.reached(0)
    assert (await execution.wait()).ending is Ending.INTERRUPTED


async def test_garbage_and_floods_on_the_socket_harm_nobody(client: Client) -> None:
    code = """
import random
random.seed(4)
held = [RawHelper()]
held[0].send("wait")
for number in range(300):
    noise = RawHelper()
    try:
        noise.socket.sendall(random.randbytes(random.choice([1, 100, 70_000])) + b"\\n")
    except OSError:
        pass
    noise.close()
try:
    while len(held) < 3000:
        held.append(RawHelper())
        held[-1].send("wait")
except OSError:
    pass
print(json.dumps(len(held)))
"""
    assert await client.run(code) > HELPER_CALLS_MAX
    await client.far.reached(HELPER_CALLS_MAX)
    assert (await client.bash("echo on")).stdout.text == "on\n"
    assert await client.run("for helper in held: helper.close()\nprint(json.dumps(call('echo')))") == {
        "result": {},
        "error": "",
    }
    await client.far.reached(0)


@pytest.fixture
def engine_socket(docker_engine: EngineAddress) -> UnixAddress:
    if not isinstance(docker_engine, UnixAddress):
        pytest.skip("the engine has no unix socket here")
    return docker_engine


@pytest.mark.docker
async def test_over_a_pipe_that_is_cut_again_and_again_each_call_is_made_once_and_answered(
    docker_runtime: DockerRuntime,
    engine_socket: UnixAddress,
    sandbox_image: str,
    installation: str,
    short_folder: Path,
) -> None:
    with engine_proxy(engine_socket.path, short_folder) as proxy:
        cut_off = DockerRuntime(image=sandbox_image, address=engine_address({"DOCKER_HOST": proxy.url}))
        client = await make_client(cut_off, short_folder, installation, FarEnd())
        code = f"""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor({THREADS}) as pool:
    answers = list(pool.map(lambda number: call("echo", {{"number": number, "text": "x" * 5000}}), range(3000)))
numbers = [answer["result"] and answer["result"]["number"] for answer in answers]
print(json.dumps([answer["error"] for number, answer in enumerate(answers) if numbers[number] != number]))
"""
        execution = await client.begin(code)
        for step in range(1, 6):
            async with asyncio.timeout(60):
                while len(client.far.asked) < 400 * step:  # noqa: ASYNC110 - the far end has no event for it
                    await asyncio.sleep(0)
            await asyncio.to_thread(proxy.cut_streams)
        result = await execution.wait()
        assert json.loads(result.stdout.text) == []
        assert len(client.far.asked) == len(set(client.far.asked)) == 3000
        await client.manager.aclose()
        await cut_off.close()
