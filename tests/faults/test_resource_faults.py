"""Code that uses up or takes away what it runs on, through HTTP, session and container."""

from typing import Final

import pytest

from tests.support.controller import Controller
from tests.support.faults import bash, ending, fault, python, usable

pytestmark = pytest.mark.docker

SESSION: Final = "resource faults"
NEARLY_FULL: Final = """
from pathlib import Path
root = Path("/sys/fs/cgroup")
limit, used = "memory.max", "memory.current"
if not (root / limit).exists():
    root, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
held = []
while int((root / limit).read_text()) - int((root / used).read_text()) > 16_000_000:
    held.append(bytearray(b"x") * 4_000_000)
"""
WORKERS: Final = """
import subprocess, sys
hold = "x = b'x' * 60_000_000; import sys; sys.stdin.read()"
made = [subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE) for _ in range(64)]
for one in made: one.stdin.close()
print(sorted({one.wait() for one in made}))
"""


@fault("K09")
def test_a_list_that_grows_over_the_memory_is_named(fault_server: Controller) -> None:
    answer = python(fault_server, SESSION, "grown = []\nwhile True: grown.append(b'x' * 10_000_000)", timeout=60)
    assert ending(answer) == ("kernel_died", "none", "lost", "kept"), answer
    assert "out of memory" in answer["error"]
    usable(fault_server, SESSION)


@fault("K54")
def test_memory_that_is_used_up_in_a_moment_is_named_too(fault_server: Controller) -> None:
    assert python(fault_server, SESSION, NEARLY_FULL, timeout=60)["error"] is None
    answer = python(fault_server, SESSION, "more = bytearray(b'x') * 200_000_000", timeout=60)
    assert ending(answer) == ("kernel_died", "none", "lost", "kept"), answer
    assert "out of memory" in answer["error"], answer
    usable(fault_server, SESSION)


@fault("K59")
def test_memory_that_belongs_to_no_process_ends_who_took_it_and_not_the_agent(fault_server: Controller) -> None:
    session = "memory of nobody"
    taking = "import os; file = os.memfd_create('x')\nwhile True: os.write(file, bytes(1 << 20))"
    data = bash(fault_server, session, f'python3 -c "{taking}"', timeout=60)["data"]
    assert (data["execution"]["ending"], data["exit_code"]) == ("completed", 137), data
    assert "memory" in data["execution"]["note"].lower()
    usable(fault_server, session)


@fault("K10")
def test_64_workers_over_the_memory_leave_the_session_usable(fault_server: Controller) -> None:
    answer = python(fault_server, SESSION, WORKERS, timeout=60)
    # Which of the processes the machine kills is its choice: workers, or the kernel that waits for them.
    if ending(answer)[0] == "completed":
        assert "-9" in answer["data"]["stdout"]
        assert "memory" in answer["data"]["execution"]["note"]
    else:
        assert "out of memory" in answer["error"], answer
    usable(fault_server, SESSION)


@fault("K25")
def test_a_fork_bomb_ends_at_its_deadline(fault_server: Controller) -> None:
    answer = bash(fault_server, SESSION, "bomb() { bomb | bomb & }; bomb; sleep 600", timeout=2)
    assert ending(answer)[:2] == ("timed_out", "process_group_killed"), answer
    usable(fault_server, SESSION)


@fault("K26")
def test_threads_up_to_the_limit_of_processes_are_an_error(fault_server: Controller) -> None:
    code = (
        "import threading\nend = threading.Event()\ntry:\n"
        "    for _ in range(100_000): threading.Thread(target=end.wait, daemon=True).start()\n"
        "finally: end.set()"
    )
    answer = python(fault_server, SESSION, code, timeout=60)
    assert ending(answer) == ("error", "none", "kept", "kept"), answer
    assert "RuntimeError: can't start new thread" in answer["error"]
    usable(fault_server, SESSION)


@fault("K53")
def test_the_answer_is_whole_while_no_thread_is_left(fault_server: Controller) -> None:
    code = (
        "import threading\nend = threading.Event()\nmade = 0\ntry:\n"
        "    while True: threading.Thread(target=end.wait, daemon=True).start(); made += 1\n"
        "except RuntimeError: pass\nprint('x' * 99_999)\nmade > 50"
    )
    answer = python(fault_server, SESSION, code, timeout=60)
    python(fault_server, SESSION, "end.set()")
    assert ending(answer) == ("completed", "none", "kept", "kept"), answer
    path = answer["data"]["results_file_path"]
    assert bash(fault_server, SESSION, f"tail -c 6 {path}")["data"]["stdout"] == "x\nTrue"
    usable(fault_server, SESSION)


@fault("K29", "K30", "K31")
@pytest.mark.parametrize(
    ("session", "code", "ended"),
    [
        pytest.param(
            "moved",
            "import os\nos.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
            "completed",
            id="K29 a deleted folder",
        ),
        pytest.param(
            "no tmp", "import os\n_ = os.system('rm -rf /tmp/* /tmp/.[!.]*')", "completed", id="K30 deletes /tmp"
        ),
        pytest.param(
            "limited",
            "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))\n"
            "with open('big', 'w') as big: big.write('xxx')",
            "error",
            id="K31 no room for a file",
        ),
    ],
)
def test_what_is_taken_away_from_the_code_leaves_the_session_usable(
    fault_server: Controller, session: str, code: str, ended: str
) -> None:
    answer = python(fault_server, session, code)
    assert ending(answer) == (ended, "none", "kept", "kept"), answer
    usable(fault_server, session)


@fault("K43")
@pytest.mark.parametrize(
    ("write", "words"),
    [
        (
            "from pathlib import Path\nPath('/dev/shm/more').write_text('x')",
            "OSError: [Errno 28] No space left on device",
        ),
        ("import shutil\nshutil.copy('/etc/passwd', '/dev/shm/more')", "OSError: [Errno 28] No space left on device"),
    ],
)
def test_a_file_on_a_disk_that_is_full_to_its_last_byte_is_an_error_with_its_cause(
    fault_server: Controller, write: str, words: str
) -> None:
    filled = bash(fault_server, SESSION, "rm -f /dev/shm/*; cat /dev/zero > /dev/shm/full; stat -f -c %a /dev/shm")[
        "data"
    ]
    assert (filled["stdout"], "No space left" in filled["stderr"]) == ("0\n", True)
    answer = python(fault_server, SESSION, f"before_full = 1\n{write}")
    command = bash(fault_server, SESSION, "echo text > /dev/shm/other")["data"]
    usable(fault_server, SESSION)
    bash(fault_server, SESSION, "rm -f /dev/shm/*")
    assert ending(answer) == ("error", "none", "kept", "kept"), answer
    assert words in answer["error"]
    assert (command["exit_code"], "No space left on device" in command["stderr"]) == (1, True)
    assert python(fault_server, SESSION, "before_full")["data"]["results"] == "1"
    assert bash(fault_server, SESSION, "echo text > /dev/shm/other; cat /dev/shm/other")["data"]["stdout"] == "text\n"


@fault("K32")
def test_shared_memory_that_is_full_is_an_error_with_its_cause(fault_server: Controller) -> None:
    code = "with open('/dev/shm/full', 'wb') as full:\n    while True: full.write(bytes(1_000_000))"
    answer = python(fault_server, SESSION, code, timeout=60)
    bash(fault_server, SESSION, "rm -f /dev/shm/full")
    assert ending(answer) == ("error", "none", "kept", "kept"), answer
    assert "No space left" in answer["error"]
    usable(fault_server, SESSION)
