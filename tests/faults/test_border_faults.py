"""What user code must not reach or find, and what the log must not hold, over a real sandbox with planted secrets."""

from typing import Final

import pytest

from tests.support.controller import Controller
from tests.support.faults import PLANTED, bash, ending, fault, python, usable

pytestmark = pytest.mark.docker

SESSION: Final = "border faults"
SEARCH: Final = (
    "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; "
    "grep -raohE '{pattern}' /home /mnt /tmp /run /etc /opt /var 2>/dev/null; true"
)


@fault("S01")
def test_no_credential_of_the_controller_is_in_the_sandbox(fault_server: Controller) -> None:
    # Written in two halves, so that the search does not find itself.
    halves = "|".join(f"{secret[:4]}[{secret[4]}]{secret[5:]}" for secret in (PLANTED, fault_server.key))
    answer = bash(fault_server, SESSION, SEARCH.format(pattern=halves), timeout=60)
    assert ending(answer)[0] == "completed"
    assert PLANTED not in str(answer)
    assert fault_server.key not in str(answer)


@fault("S02")
@pytest.mark.parametrize("path", ["environ", "mem", "maps", "fd/0", "root"])
def test_process_1_is_closed_to_user_code(fault_server: Controller, path: str) -> None:
    answer = python(fault_server, SESSION, f"open('/proc/1/{path}', 'rb').read()")
    assert answer["error"].startswith("PermissionError")


@fault("S03")
@pytest.mark.parametrize("address", ["1.1.1.1", "169.254.169.254", "172.17.0.1", "172.17.0.2", "10.0.0.1"])
def test_there_is_no_route_out_of_the_sandbox(fault_server: Controller, address: str) -> None:
    answer = python(fault_server, SESSION, f"import socket\nsocket.create_connection(({address!r}, 80), timeout=5)")
    assert "Network is unreachable" in answer["error"]


@fault("S04")
@pytest.mark.parametrize("number", ["TERM", "INT", "KILL", "STOP", "HUP", "USR1", "SEGV"])
def test_signals_to_process_1_are_refused_or_dropped(fault_server: Controller, number: str) -> None:
    python(fault_server, SESSION, "kept = 1")
    assert ending(bash(fault_server, SESSION, f"kill -{number} 1"))[0] == "completed"
    assert python(fault_server, SESSION, "kept")["data"]["results"] == "1"


@fault("S05")
def test_garbage_in_the_sockets_of_the_kernel_costs_at_most_that_kernel(fault_server: Controller) -> None:
    code = (
        "import os, socket\nfound = [line.split()[-1] for line in open('/proc/net/unix') if '/' in line]\n"
        "for path in found:\n"
        "    with socket.socket(socket.AF_UNIX) as one:\n"
        "        one.settimeout(2)\n"
        "        try: one.connect(path); one.sendall(os.urandom(100_000))\n"
        "        except OSError: pass"
    )
    python(fault_server, SESSION, code, timeout=60)
    usable(fault_server, SESSION)


@fault("S06")
def test_code_values_and_keys_are_never_in_the_log(fault_server: Controller) -> None:
    python(fault_server, SESSION, "marked_code = 'marked-value'; raise ValueError('marked-' + 'error')")
    python(fault_server, SESSION, "print('marked-' + 'output', flush=True)\nwhile True: pass", timeout=1)
    bash(fault_server, SESSION, "echo marked-command >&2; exit 3")
    assert fault_server.tool(SESSION, command="true # marked-invalid", timeout="marked-wrong").status_code >= 400
    log = fault_server.log()
    assert "execution" in log
    assert "marked" not in log
    assert fault_server.key not in log
    assert PLANTED not in log
