"""What user code must not reach or find, and what the log must not hold, over a real sandbox with planted secrets."""

import ipaddress
import json
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client
from tests.compat.requirements import promises
from tests.conftest import lacking
from tests.support import postgres
from tests.support.api_host import ApiHost
from tests.support.composio_backend import ComposioBackend
from tests.support.controller import Controller
from tests.support.faults import PLANTED, bash, ending, fault, python, usable
from tests.support.faulty_server import Fault
from tests.support.mcp_running import ECHO, EchoHttp, Notes
from tests.support.model_server import ModelServer
from tests.support.outside import Outside, s3_server, serving
from tests.support.raw_helper import CODE
from tests.support.search_servers import ExaServer

pytestmark = pytest.mark.docker

SESSION: Final = "border faults"
SEARCH: Final = (
    "{{ env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; }} | grep -aoE '{pattern}'; "
    "grep -raohE '{pattern}' /home /mnt /tmp /run /etc /opt /var /dev/shm 2>/dev/null; true"
)
"""Prints what it finds and nothing else: an answer that is cut could hide it."""

MEMORY: Final = """
import glob, os
found = 0
for place in glob.glob('/proc/[0-9]*'):
    try:
        maps, memory = open(f'{place}/maps'), open(f'{place}/mem', 'rb')
    except OSError:
        continue
    with maps, memory:
        for line in maps:
            low, high = (int(end, 16) for end in line.split()[0].split('-'))
            if 'r' not in line.split()[1]:
                continue
            try:
                memory.seek(low)
                data = memory.read(high - low)
            except (OSError, OverflowError, ValueError):
                continue
            for first, rest in HALVES:
                at = data.find(first)
                while at >= 0:
                    found += data[at + len(first) : at + len(first) + len(rest)] == rest
                    at = data.find(first, at + 1)
print(found)
"""


def halves(secret: str) -> tuple[bytes, bytes]:
    """Write it in two halves, so that a search does not find itself."""
    return secret[:6].encode(), secret[6:].encode()


def pattern(*secret: str) -> str:
    """Write them as an expression that does not match itself."""
    return "|".join(f"{one[:4]}[{one[4]}]{one[5:]}" for one in secret)


CREDENTIALS: Final = {
    name: f"{name.replace('_', '')}{secrets.token_hex(8)}"
    for name in ("tools", "model", "search", "proxy", "s3", "mcp_env", "mcp_header", "database", "environment")
}
"""Of all that a controller can be set to call, each its own. The access key of S3 is in its links, and no secret."""

NOTHING: Final = ("completed", "none", "kept", "kept")


def _outside(notes: Notes, http: EchoHttp) -> Outside:
    """Upstreams that want the planted credentials."""
    return Outside(
        ComposioBackend(CREDENTIALS["tools"]),
        ModelServer(CREDENTIALS["model"]),
        ExaServer(CREDENTIALS["search"]),
        api=ApiHost(f"Bearer {CREDENTIALS['proxy']}"),
        mcp={
            "near": {"command": ECHO, "env": {**notes.env, "TOKEN": CREDENTIALS["mcp_env"]}},
            "far": {"url": http.url, "headers": {"X-Token": CREDENTIALS["mcp_header"]}},
        },
    )


@pytest.fixture(scope="module")
def planted_outside() -> Iterator[Outside]:
    """All upstreams, with planted credentials."""
    notes = Notes()
    http = EchoHttp(notes.env, "json")
    with serving(_outside(notes, http)) as made:
        yield made
    http.kill()
    notes.close()


@pytest.fixture(scope="module")
def planted_server(docker_engine: EngineAddress, sandbox_image: str, planted_outside: Outside) -> Iterator[Controller]:
    """A server with every credential that it can be given: settings, environment, a password in its database URL."""
    binaries = postgres.find_binaries()
    if binaries is None:
        lacking("no PostgreSQL server (initdb, pg_ctl)", "install the Debian package `postgresql`")
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        postgres.cluster(binaries, CREDENTIALS["database"]) as database_url,
        s3_server("files") as s3_settings,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name in ("COMPOSIO_API_KEY", "OPENAI_API_KEY", "EXA_API_KEY", "AWS_SESSION_TOKEN"):
            environment.setenv(name, CREDENTIALS["environment"])
        settings = {
            **planted_outside.settings(),
            **s3_settings,
            "s3_secret_access_key": CREDENTIALS["s3"],
            "database_url": database_url,
            "audit_arguments": "true",
        }
        server = Controller(Path(folder), docker_engine, sandbox_image, log_level="debug", **settings)
        try:
            server.start()
            yield server
        finally:
            server.close()


EACH_UPSTREAM: Final = """
open('/mnt/files/a.txt', 'w').write('text')
answers = [
    run_composio_tool('TEST_ECHO', {'a': 1}),
    run_composio_tool('NEAR_DIGEST', {'name': 'TOKEN'}),
    run_composio_tool('FAR_DIGEST', {'name': 'x-token'}),
    run_composio_tool('TIME_GET_CURRENT_TIME', {'timezone': 'UTC'}),
    proxy_execute('GET', '/things', 'desk'),
    invoke_llm('how are you?'),
    web_search('the weather'),
    upload_local_file('/mnt/files/a.txt'),
]
print([error for _, error in answers])
"""


def _search(server: Controller) -> None:
    """Look for each credential in the whole sandbox, in the log and in the audit."""
    secret = (*CREDENTIALS.values(), server.key)
    answer = bash(server, SESSION, SEARCH.format(pattern=pattern(*secret)), timeout=60)
    assert ending(answer) == NOTHING
    assert (answer["data"]["stdout"], answer["data"]["stderr"]) == ("", "")
    searched = MEMORY.replace("HALVES", repr([halves(one) for one in secret]))
    assert python(server, SESSION, searched, timeout=120)["data"]["stdout"] == "0\n"
    with server.client() as client:
        audit = client.get(f"/v1/sessions/{SESSION}/calls", params={"limit": 1000}).text
    assert "TEST_ECHO" in audit
    said = server.log() + audit
    assert [one for one in secret if one in said] == []


@promises("CC-1.52")
@fault("S01", "H20")
@pytest.mark.postgres
def test_no_credential_of_the_controller_is_in_the_sandbox(
    planted_server: Controller, planted_outside: Outside
) -> None:
    usable(planted_server, SESSION)
    assert python(planted_server, SESSION, EACH_UPSTREAM)["data"]["stdout"] == f"{[''] * 8}\n"
    _search(planted_server)
    # An upstream that says what it was sent does not give it away either.
    for server in planted_outside.servers:
        server.always = Fault.UNAUTHORIZED
    said = python(planted_server, SESSION, EACH_UPSTREAM)["data"]["stdout"]
    planted_outside.recover()
    assert said.count("no such key") == 4
    _search(planted_server)


@fault("H21")
@pytest.mark.postgres
def test_what_a_session_may_not_call_is_refused_with_a_reason_and_audited(
    planted_server: Controller, label: str
) -> None:
    config = {"tools": {"time": {"disable": ["TIME_CONVERT_TIME"]}}, "toolkits": {"disable": ["desk"]}}
    with planted_server.client() as client:
        made = client.post("/v1/sessions", json={"label": label, "config": config})
        assert made.status_code < 300, made.text
    asked = [
        ("run_composio_tool", {"tool_slug": "TIME_CONVERT_TIME", "arguments": {}}),
        ("run_composio_tool", {"tool_slug": " time_convert_time ", "arguments": {}}),
        ("run_composio_tool", {"tool_slug": "COMPOSIO_SEARCH_TOOLS", "arguments": {}}),
        ("run_composio_tool", {"tool_slug": "composio_remote_bash_tool", "arguments": {"command": "true"}}),
        ("proxy_execute", {"method": "GET", "endpoint": "/things", "toolkit": "desk"}),
    ]
    code = CODE + f"print(json.dumps([call(*each)['error'] for each in {asked!r}]))"
    errors = json.loads(python(planted_server, label, code)["data"]["stdout"])
    reasons = ["tools.time.disable"] * 2 + ["meta tool"] * 2 + ["toolkits.disable"]
    assert [reason for reason, error in zip(reasons, errors, strict=True) if reason not in error] == []
    assert [row["status"] for row in _calls(planted_server, label)] == ["refused"] * 5


@fault("H22")
@pytest.mark.postgres
def test_a_call_that_names_another_session_or_its_execution_is_its_own(planted_server: Controller, label: str) -> None:
    others = f"other {label}"[:150]
    execution = planted_server.begin(others, code="import time\nwhile True: time.sleep(0.01)")
    code = CODE + (
        f"raw = RawHelper()\nprint(json.dumps([call('list_helpers', session={others!r}), "
        f"raw.call('run_composio_tool', {{'tool_slug': 'TEST_ECHO'}}, execution={execution!r})['error']]))"
    )
    assert json.loads(python(planted_server, label, code)["data"]["stdout"]) == [None, ""]
    assert [(row["target"], row["execution_id"]) for row in _calls(planted_server, label)] == [("TEST_ECHO", None)]
    assert _calls(planted_server, others) == []
    with planted_server.client() as client:
        assert client.post(f"/v1/executions/{execution}/interrupt").status_code == 202


def _calls(server: Controller, session: str) -> list[dict[str, Any]]:
    """Give a session's rows of the audit."""
    with server.client() as client:
        found: list[dict[str, Any]] = client.get(f"/v1/sessions/{session}/calls").json()["items"]
        return found


@fault("S01")
def test_the_search_finds_what_is_there(fault_server: Controller) -> None:
    there = f"there{secrets.token_hex(8)}"
    python(
        fault_server,
        SESSION,
        f"import os\nos.environ['THERE'] = there = {there!r}\nopen('/tmp/there', 'w').write(there)",
    )
    job = f"THERE={there} nohup sleep 30 > /dev/null 2>&1 & "
    found = bash(fault_server, SESSION, job + SEARCH.format(pattern=pattern(there)), timeout=60)["data"]["stdout"]
    assert set(found.split()) == {there}
    assert len(found.split()) >= 2
    searched = python(fault_server, SESSION, MEMORY.replace("HALVES", repr([halves(there)])), timeout=120)
    assert int(searched["data"]["stdout"]) >= 1


@fault("S02")
@pytest.mark.parametrize("path", ["environ", "mem", "maps", "fd/0", "root"])
def test_process_1_is_closed_to_user_code(fault_server: Controller, path: str) -> None:
    answer = python(fault_server, SESSION, f"open('/proc/1/{path}', 'rb').read()")
    assert answer["error"].startswith("PermissionError")


CONNECT: Final = """
import errno, socket
for address, port in PLACES:
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as one:
            one.settimeout(5)
            try:
                one.connect((address, port))
                print(address, port, kind.name, 'reached')
            except OSError as error:
                print(address, port, kind.name, errno.errorcode[error.errno])
"""
NO_ROUTE: Final = {"ENETUNREACH", "EADDRNOTAVAIL"}
"""What the machine says when it has no way to go; IPv6 is not even there."""


def own_addresses() -> set[str]:
    """The addresses of this machine on all of its networks, bridges included, but for loopback and link-local ones."""
    trie = Path("/proc/net/fib_trie").read_text(encoding="ascii")
    found = set(re.findall(r"\|-- (\S+)\n +/32 host LOCAL", trie))
    found |= {
        str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))
        for line in Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines()
    }
    return {one for one in found if not (ip := ipaddress.ip_address(one)).is_loopback and not ip.is_link_local}


def gateways(engine: EngineAddress) -> set[str]:
    """Where this machine sends what is for the internet, and the near end of each network of the engine."""
    with make_client(engine, timeout_s=20) as client:
        configs = [one for network in client.networks() for one in network["IPAM"]["Config"] or ()]
    found = {config["Gateway"] for config in configs if "Gateway" in config}
    rows = [line.split() for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]]
    return found | {str(ipaddress.IPv4Address(bytes.fromhex(row[2])[::-1])) for row in rows if int(row[2], 16)}


@fault("S03")
def test_there_is_no_route_out_of_the_sandbox(fault_server: Controller, docker_engine: EngineAddress) -> None:
    outside = {"1.1.1.1", "169.254.169.254", "fd00:ec2::254", "10.0.0.1", "172.17.0.1", "172.17.0.2", "224.0.0.1"}
    here = own_addresses()
    assert here
    ports = (80, httpx.URL(fault_server.url).port)
    places = [(one, port) for one in sorted(outside | here | gateways(docker_engine)) for port in ports]
    answer = python(fault_server, SESSION, CONNECT.replace("PLACES", repr(places)), timeout=120)
    assert ending(answer) == ("completed", "none", "kept", "kept"), answer
    said = [line.split() for line in answer["data"]["stdout"].splitlines()]
    assert len(said) == 2 * len(places)
    assert [words for words in said if words[-1] not in NO_ROUTE] == []


@fault("S03")
def test_the_loopback_of_the_sandbox_is_not_that_of_the_host(fault_server: Controller) -> None:
    port = httpx.URL(fault_server.url).port
    code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=5)"
    assert python(fault_server, SESSION, code)["error"].startswith("ConnectionRefusedError")
    links = bash(fault_server, SESSION, "ls /sys/class/net; tail -n +2 /proc/net/route")["data"]
    assert links["stdout"] == "lo\n"


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
        "        try: one.connect(path); one.sendall(os.urandom(100_000)); sent = 1\n"
        "        except OSError: pass\nsent"
    )
    answer = python(fault_server, SESSION, code, timeout=60)
    assert ending(answer) == ("completed", "none", "kept", "kept"), answer
    assert answer["data"]["results"] == "1"
    usable(fault_server, SESSION)


@fault("S05")
def test_a_flood_through_the_socket_of_the_kernel_does_not_end_the_agent(fault_server: Controller) -> None:
    code = (
        "socket, much = get_ipython().kernel.iopub_socket._socket, bytes(60_000_000)\n"
        "for _ in range(12): socket.send(much, copy=False)"
    )
    answer = python(fault_server, SESSION, code, timeout=60)
    assert ending(answer)[0] == "completed", answer
    usable(fault_server, SESSION)


@fault("S07")
@pytest.mark.parametrize("limit", ["nofile=3:3", "nproc=0:0", "as=1000000:1000000"])
def test_the_limits_of_process_1_are_out_of_reach(fault_server: Controller, limit: str) -> None:
    data = bash(fault_server, SESSION, f"prlimit --pid 1 --{limit}")["data"]
    assert (data["exit_code"], "Operation not permitted" in data["stderr"]) == (1, True), data
    own = bash(fault_server, SESSION, "ulimit -n 50; sleep 60 & prlimit --pid $! --nofile=7:7; ulimit -n; kill $!")
    assert (own["data"]["exit_code"], own["data"]["stdout"]) == (0, "50\n")
    usable(fault_server, SESSION)


ITS_TIME: Final = """
import os
for change in (
    lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    lambda pid: os.setpriority(os.PRIO_PGRP, pid, 19),
    lambda pid: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
    lambda pid: os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))}),
):
    for pid in (1, 0):
        try:
            print(change(pid))
        except PermissionError:
            print('refused')
"""


@fault("S08")
def test_the_time_of_process_1_is_out_of_reach(fault_server: Controller) -> None:
    assert bash(fault_server, SESSION, f'python3 -c "{ITS_TIME}"')["data"]["stdout"] == "refused\nNone\n" * 4
    all_of_it = bash(fault_server, SESSION, "renice -n 19 -u $(id -u); ionice -c 3 -u $(id -u); ionice -c 3 -p 1")
    assert all_of_it["data"]["stderr"].lower().count("operation not permitted") == 3, all_of_it
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
