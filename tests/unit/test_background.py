"""A controller in the background: found by the lock that it holds, and ended whatever it does about it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.background import State, stop

HOLDS = """
import fcntl, os, signal, sys
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
os.pwrite(lock, str(os.getpid()).encode(), 0)
print("held", flush=True)
signal.pause()
"""


@pytest.fixture(params=["gentle", "deaf"])
def controller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock as a controller does; the deaf one hears no SIGTERM."""
    arguments = [sys.executable, "-c", HOLDS, str(State(tmp_path).pid_file), request.param]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_one_that_does_not_end_by_itself_is_killed(controller: subprocess.Popen[str], tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.running_pid() == controller.pid
    assert stop(state, deadline_s=0.5 if "deaf" in controller.args else 30) == controller.pid  # type: ignore[operator]
    assert -controller.wait(10) == (signal.SIGKILL if "deaf" in controller.args else signal.SIGTERM)  # type: ignore[operator]
    assert stop(state) is None


def test_a_pid_that_nobody_holds_is_not_signalled(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.pid_file.write_text("1")
    assert state.running_pid() is None
    assert stop(state) is None
