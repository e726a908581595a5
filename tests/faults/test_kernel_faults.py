"""Code that ends badly, through HTTP, session and container: each ending is named and the next request answers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.controller import Controller
from tests.support.faults import bash, ending, fault, python, usable

pytestmark = pytest.mark.docker

PROGRAMS: Final = Path(__file__).parents[1] / "agent" / "programs"
SESSION: Final = "kernel faults"
SWALLOWS: Final = (PROGRAMS / "swallows_interrupts.py").read_text()


@fault("K01")
def test_a_client_that_leaves_interrupts_its_loop(fault_server: Controller) -> None:
    usable(fault_server, SESSION)
    code = "try:\n    while True: sum(range(1000))\nexcept KeyboardInterrupt:\n    stopped = True"
    body = {"arguments": {"session_id": SESSION, "code_to_execute": code}}
    with fault_server.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/api/v3/tools/execute/COMPOSIO_REMOTE_WORKBENCH", json=body, timeout=1)
    answer = python(fault_server, SESSION, "stopped")
    assert answer["data"]["results"] == "True", answer
    usable(fault_server, SESSION)


@fault("K02", "K03", "K04")
@pytest.mark.parametrize(
    ("code", "action", "variables"),
    [
        pytest.param("print('began')\nimport time; time.sleep(600)", "interrupted", "kept", id="K02 a sleep"),
        pytest.param(
            "print('began', flush=True)\nsum(range(10**13))", "kernel_restarted", "lost", id="K03 a loop in C"
        ),
        pytest.param(SWALLOWS, "kernel_restarted", "lost", id="K04 swallows KeyboardInterrupt"),
    ],
)
def test_a_timeout_interrupts_then_kills_and_says_which(
    fault_server: Controller, code: str, action: str, variables: str
) -> None:
    answer = python(fault_server, SESSION, code, timeout=1)
    assert ending(answer) == ("timed_out", action, variables, "kept"), answer
    assert answer["data"]["stdout"].startswith("began\n")
    assert answer["error"].startswith("Timed out after 1 s")
    usable(fault_server, SESSION)


@fault("K05")
@pytest.mark.parametrize("first", ["1 / 0", "import time; time.sleep(600)", SWALLOWS, "import os; os._exit(1)"])
def test_requests_queued_behind_one_that_fails_run_normally(fault_server: Controller, first: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        failing = pool.submit(python, fault_server, SESSION, first, timeout=1)
        queued = [pool.submit(python, fault_server, SESSION, f"{number} + 1") for number in range(2)]
        assert failing.result()["successful"] is False
        assert [one.result()["data"]["results"] for one in queued] == ["1", "2"]


@fault("K06", "K07", "K08", "K11", "K12", "K27")
@pytest.mark.parametrize(
    ("code", "cause"),
    [
        pytest.param("import os; os._exit(3)", "exit code 3", id="K06 os._exit"),
        pytest.param("import ctypes; ctypes.string_at(0)", "SIGSEGV", id="K07 a segmentation fault"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "SIGKILL", id="K08 kills its kernel"),
        pytest.param("import os; os.system('kill -9 -1')", "SIGKILL", id="K11 kills all it may"),
        pytest.param("import os; os.system('pkill -9 python')", "SIGKILL", id="K12 kills every python"),
        pytest.param("import os; os.closerange(0, 4096)", "SIGABRT", id="K27 closes all descriptors"),
    ],
)
def test_a_dead_kernel_is_named_with_its_cause(fault_server: Controller, code: str, cause: str) -> None:
    bash(fault_server, SESSION, "echo kept > kept.txt")
    answer = python(fault_server, SESSION, code, timeout=20)
    how, _, variables, files = ending(answer)
    assert (how, variables, files) == ("kernel_died", "lost", "kept"), answer
    assert cause in answer["error"]
    assert "Variables are lost; files are kept" in answer["error"]
    usable(fault_server, SESSION)
    assert bash(fault_server, SESSION, "cat kept.txt")["data"]["stdout"] == "kept\n"


@fault("K13", "K14")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        pytest.param("exit", None, id="K13 exit"),
        pytest.param("exit()", None, id="K13 exit()"),
        pytest.param("quit()", None, id="K13 quit()"),
        pytest.param("raise SystemExit", None, id="K13 raise SystemExit"),
        pytest.param("import sys; sys.exit(1)", "SystemExit: 1", id="K13 sys.exit"),
        pytest.param("input()", "StdinNotImplementedError", id="K14 input"),
        pytest.param("import getpass; getpass.getpass()", "StdinNotImplementedError", id="K14 getpass"),
    ],
)
def test_an_exit_or_a_question_ends_the_code_and_not_the_kernel(
    fault_server: Controller, code: str, error: str | None
) -> None:
    python(fault_server, SESSION, "kept = 1")
    answer = python(fault_server, SESSION, code)
    assert ending(answer) == ("error" if error else "completed", "none", "kept", "kept")
    assert (answer["error"] or "").startswith(error or "")
    assert python(fault_server, SESSION, "kept")["data"]["results"] == "1"
    usable(fault_server, SESSION)


@fault("K33")
@pytest.mark.parametrize(
    ("tool", "code", "expected"),
    [
        pytest.param(python, "import os; os.kill(os.getpid(), 19)", ("timed_out", "interrupted"), id="by its own cell"),
        pytest.param(bash, "kill -STOP -1", ("completed", "none"), id="between two cells"),
    ],
)
def test_a_kernel_that_was_stopped_goes_on_with_its_variables(
    fault_server: Controller, tool: Callable[..., dict[str, Any]], code: str, expected: tuple[str, str]
) -> None:
    python(fault_server, SESSION, "before_stop = 1")
    assert ending(tool(fault_server, SESSION, code, timeout=2)) == (*expected, "kept", "kept")
    answer = python(fault_server, SESSION, "before_stop", timeout=30)
    assert (ending(answer)[0], answer["data"]["results"]) == ("completed", "1"), answer
    usable(fault_server, SESSION)


@fault("K34")
def test_an_event_loop_that_was_stopped_goes_on_with_its_variables(fault_server: Controller) -> None:
    answer = python(fault_server, SESSION, "import asyncio\nleft = 1\nasyncio.get_event_loop().stop()")
    assert ending(answer) == ("completed", "none", "kept", "kept")
    answer = python(fault_server, SESSION, "await asyncio.sleep(0)\nleft", timeout=30)
    assert (ending(answer)[0], answer["data"]["results"]) == ("completed", "1"), answer
    usable(fault_server, SESSION)


@fault("K35")
def test_of_a_kernel_that_forks_only_the_first_process_answers(fault_server: Controller) -> None:
    answer = python(fault_server, SESSION, "import os\nfirst = os.getpid()\nforked = os.fork()\nNone")
    assert ending(answer) == ("completed", "none", "kept", "kept")
    answers = [python(fault_server, SESSION, "forked > 0, os.getpid() == first")["data"] for _ in range(5)]
    assert {answer["results"] for answer in answers} == {"(True, True)"}
    usable(fault_server, SESSION)


@fault("K36")
def test_an_environment_that_starts_no_kernel_is_named_and_can_be_mended(fault_server: Controller) -> None:
    session = "no kernel"
    place = "$(echo ~/.venv/lib/python3*/site-packages)/broken.pth"
    bash(fault_server, session, f"echo kept > kept.txt; echo 'import os; os._exit(9)' > {place}")
    assert ending(python(fault_server, session, "import os; os._exit(1)")) == ("kernel_died", "none", "lost", "kept")
    answer = python(fault_server, session, "print('never')", timeout=60)
    assert ending(answer) == ("kernel_died", "not_started", "lost", "kept"), answer
    assert answer["error"].startswith("No Python kernel could be started, so no line of the code ran")
    assert "exit code 9" in answer["error"]
    assert answer["data"]["stdout"] == ""
    bash(fault_server, session, "rm ~/.venv/lib/python3*/site-packages/broken.pth")
    usable(fault_server, session)
    assert bash(fault_server, session, "cat kept.txt")["data"]["stdout"] == "kept\n"


@fault("K55")
def test_a_kernel_that_is_restarted_where_none_can_start_is_named(fault_server: Controller) -> None:
    session = "no-kernel-again"
    place = "$(echo ~/.venv/lib/python3*/site-packages)/broken.pth"
    bash(fault_server, session, f"echo 'import os; os._exit(9)' > {place}")
    with fault_server.client() as client:
        restart = client.post(f"/v1/sessions/{session}/restart_kernel", timeout=120)
        error = restart.json()["error"]
        assert (restart.status_code, error["slug"]) == (503, "Sandbox_KernelStartFailed")
        assert "exit code 9" in error["message"]
        assert "bash" in error["suggested_fix"]
        bash(fault_server, session, "rm ~/.venv/lib/python3*/site-packages/broken.pth")
        assert client.post(f"/v1/sessions/{session}/restart_kernel", timeout=120).status_code == 200
    usable(fault_server, session)


@fault("K49")
@pytest.mark.parametrize(
    ("code", "mend"),
    [
        ("import json; kept = json.dumps; json.dumps = None; 1", "json.dumps = kept"),
        ("get_ipython().payload_manager.write_payload({'source': 'a', 'data': object()}); 1", "pass"),
    ],
)
def test_a_reply_that_the_kernel_cannot_write_is_told_all_the_same(
    fault_server: Controller, code: str, mend: str
) -> None:
    answer = python(fault_server, SESSION, code)
    assert (ending(answer), answer["data"]["results"]) == (("completed", "none", "kept", "kept"), "1"), answer
    assert python(fault_server, SESSION, "40 + 2")["data"]["results"] == "42"
    python(fault_server, SESSION, mend)
    usable(fault_server, SESSION)


@fault("K50")
def test_an_end_without_a_reply_is_an_error_and_not_a_wait(fault_server: Controller) -> None:
    session = "no reply"
    python(fault_server, session, "kept = 1; get_ipython().kernel.do_execute = None")
    answer = python(fault_server, session, "1")
    assert ending(answer) == ("error", "none", "kept", "kept"), answer
    assert answer["error"].startswith("KernelReplyError: the kernel ended this code but could not say how")
    assert "'NoneType' object is not callable" in answer["data"]["stderr"]
    # Nor will it ever say so again.
    answer = python(fault_server, session, "1")
    assert ending(answer) == ("kernel_died", "none", "lost", "kept"), answer
    assert "the kernel ends: code took away what it needs to answer" in answer["data"]["stderr"]
    usable(fault_server, session)


@fault("K51")
@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.modules.clear()",
        "import builtins; del builtins.len",
        "import builtins; builtins.__import__ = None",
        "get_ipython().kernel.iopub_socket.close()",
    ],
)
def test_a_kernel_that_cannot_answer_any_more_ends_and_another_one_serves(fault_server: Controller, code: str) -> None:
    bash(fault_server, SESSION, "echo kept > kept.txt")
    broken = python(fault_server, SESSION, code)
    answer = python(fault_server, SESSION, "1")
    # Whether it ends in its own cell, after it or in the next one is its own matter; that it ends is not.
    assert ending(broken)[0] in {"completed", "kernel_died"}, broken
    assert ending(answer)[0] in {"completed", "kernel_died"}, answer
    usable(fault_server, SESSION)
    assert bash(fault_server, SESSION, "cat kept.txt")["data"]["stdout"] == "kept\n"


@fault("K58")
def test_a_kernel_whose_main_thread_has_ended_is_replaced_at_once(fault_server: Controller) -> None:
    code = (
        "import asyncio, ctypes\nleave = ctypes.CDLL(None).pthread_exit\n"
        "_ = asyncio.get_running_loop().call_later(0.01, leave, None)"
    )
    assert ending(python(fault_server, SESSION, code)) == ("completed", "none", "kept", "kept")
    ended = "until [[ $(ps -o stat= --ppid 1) == *Z* ]]; do sleep 0.02; done"
    assert bash(fault_server, SESSION, ended, timeout=30)["error"] is None
    usable(fault_server, SESSION)


TRACES: Final = """
import ctypes, os, signal, time
ptrace, seize = ctypes.CDLL(None).ptrace, 0x4206
assert ptrace(seize, KERNEL, 0, 0) == 0
os.kill(KERNEL, signal.SIGKILL)
time.sleep(300)
"""
"""It keeps the dead kernel as its own, as a debugger does."""


@fault("K60")
def test_a_killed_kernel_that_does_not_end_is_left_behind(fault_server: Controller) -> None:
    session = "a kernel that does not end"
    # Where the machine lets a process be traced by its parents only, it has to say that anybody may.
    anybody = "import ctypes, os; _ = ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0); os.getpid()"
    kernel = int(python(fault_server, session, anybody)["data"]["results"])
    bash(fault_server, session, f"python3 -c '{TRACES.replace('KERNEL', str(kernel))}' > /dev/null 2>&1 &")
    zombie = f"until [[ $(ps -o stat= -p {kernel}) == Z* ]]; do sleep 0.02; done"
    assert bash(fault_server, session, zombie, timeout=30)["error"] is None
    usable(fault_server, session)
    assert bash(fault_server, session, "pkill -f '[s]eize'")["data"]["exit_code"] == 0
    usable(fault_server, session)


@fault("K52")
@pytest.mark.parametrize(
    "code",
    [
        "import signal\nfor one in signal.valid_signals() - {9, 19, 32, 33}: signal.signal(one, signal.SIG_IGN)",
        "import asyncio\nfor task in asyncio.all_tasks(): task.cancel()",
        "import asyncio; asyncio.set_event_loop_policy(None); asyncio.set_event_loop(None)",
        "import os, sys; sys.excepthook = sys.displayhook; os.environ.clear()",
        "import atexit, time; atexit.register(time.sleep, 600); import gc; gc.freeze(); gc.disable()",
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))",
    ],
)
def test_what_a_cell_sets_for_its_whole_process_leaves_the_session_usable(fault_server: Controller, code: str) -> None:
    session = "own process"
    answer = python(fault_server, session, code)
    assert ending(answer) == ("completed", "none", "kept", "kept"), answer
    usable(fault_server, session)


@fault("K22")
@pytest.mark.parametrize(
    ("code", "results"),
    [
        ("%%bash\necho from bash", "from bash"),
        ("!echo from a shell", "from a shell"),
        ("import asyncio\nawait asyncio.sleep(0)\n'awaited'", "'awaited'"),
        ("%time 1 + 1", "Wall time"),
        ("%time 20 + 2", "\n22"),
        ("40 + 2", "42"),
    ],
)
def test_a_cell_is_a_notebook_cell(fault_server: Controller, code: str, results: str) -> None:
    answer = python(fault_server, SESSION, code)
    assert ending(answer) == ("completed", "none", "kept", "kept"), answer
    assert results in answer["data"]["results"]


@fault("K23")
@pytest.mark.parametrize(("code", "words"), [("x = = 1", "SyntaxError"), ("return 1", "return")])
def test_code_that_does_not_compile_is_an_error_with_words(fault_server: Controller, code: str, words: str) -> None:
    answer = python(fault_server, SESSION, code)
    assert ending(answer) == ("error", "none", "kept", "kept")
    assert words in answer["error"]
    usable(fault_server, SESSION)
