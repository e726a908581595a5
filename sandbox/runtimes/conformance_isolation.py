"""Checks of isolation: for drivers whose sandboxes keep code in. Some would harm a machine without that."""

from sandbox.pipe.messages import Ending
from sandbox.runtimes.conformance_bench import Bench, Check, expect_equal, expect_true

_CONNECT = """
import socket
def attempt(host, port):
    try:
        socket.create_connection((host, port), timeout=3).close()
        return 'connected'
    except OSError as error:
        return 'no route'
places = [('1.1.1.1', 53), ('8.8.8.8', 443), ('169.254.169.254', 80), ('172.17.0.1', 22), ('example.com', 80)]
for place in places:
    print(*place, attempt(*place))
print(socket.if_nameindex())
"""

_CONNECT_ANSWER = """\
1.1.1.1 53 no route
8.8.8.8 443 no route
169.254.169.254 80 no route
172.17.0.1 22 no route
example.com 80 no route
"""

_PRIVILEGES = """
import os
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
for name in ('Uid', 'Gid', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp'):
    print(name, *status[name].split())
print('groups', *os.getgroups())
"""

_PRIVILEGES_ANSWER = """\
Uid 1000 1000 1000 1000
Gid 1000 1000 1000 1000
CapInh 0000000000000000
CapPrm 0000000000000000
CapEff 0000000000000000
CapBnd 0000000000000000
CapAmb 0000000000000000
NoNewPrivs 1
Seccomp 2
"""

_LOOK_INTO_1 = """
import os
def attempt(what, action):
    try:
        action()
        print(what, 'open')
    except OSError as error:
        print(what, type(error).__name__)
attempt('environ', lambda: open('/proc/1/environ').read())
attempt('mem', lambda: open('/proc/1/mem', 'rb').read(1))
attempt('maps', lambda: open('/proc/1/maps').read())
attempt('fd', lambda: os.listdir('/proc/1/fd'))
attempt('cwd', lambda: os.listdir('/proc/1/cwd'))
attempt('stdin', lambda: open('/proc/1/fd/0', 'wb'))
"""

_LOOK_INTO_1_ANSWER = "".join(f"{what} PermissionError\n" for what in ("environ", "mem", "maps", "fd", "cwd", "stdin"))


async def _no_network(bench: Bench) -> None:
    said = (await (await bench.shared()).code(_CONNECT)).stdout.text
    expect_true("nothing answers", said.startswith(_CONNECT_ANSWER), shown=said)
    expect_equal("interfaces", "[(1, 'lo')]", said.removeprefix(_CONNECT_ANSWER).strip())


async def _no_privileges(bench: Bench) -> None:
    subject = await bench.shared()
    for who, result in (
        ("Python", await subject.code(_PRIVILEGES)),
        ("bash", await subject.bash(f"python3 - <<'END'\n{_PRIVILEGES}\nEND")),
    ):
        said = result.stdout.text
        expect_true(f"privileges of {who}", said.startswith(_PRIVILEGES_ANSWER), shown=said)
        groups = set(said.removeprefix(_PRIVILEGES_ANSWER).split()[1:])
        expect_true(f"groups of {who}", groups <= {"1000"}, shown=groups)


async def _agent_is_closed(bench: Bench) -> None:
    result = await (await bench.shared()).code(_LOOK_INTO_1)
    expect_equal("what opens in /proc/1", _LOOK_INTO_1_ANSWER, result.stdout.text)


async def _agent_survives(bench: Bench) -> None:
    subject = await bench.fresh()
    status = await subject.status()
    await subject.bash("for signal in KILL TERM INT HUP QUIT STOP; do kill -$signal 1; done")
    await subject.code("import os\nfor number in (9, 15, 2, 1, 3, 19):\n    os.kill(1, number)")
    everything = await subject.bash("kill -9 -1")
    expect_true("the call ends", everything.ending in set(Ending), shown=everything)
    at_once = await subject.code("print('usable')")
    expect_equal("the next cell", (Ending.COMPLETED, "usable\n"), (at_once.ending, at_once.stdout.text))
    expect_true("it is told what was lost", "variables are lost" in (at_once.note or ""), shown=at_once)
    renewed = await subject.status()
    expect_true("the kernel is a new process", renewed.kernel_pid != status.kernel_pid, shown=renewed)
    await bench.discard(subject)


async def _system_is_closed(bench: Bench) -> None:
    subject = await bench.shared()
    result = await subject.bash(
        "for path in /etc/passwd /usr/bin/env /proc/sys/kernel/hostname /sys/fs/cgroup; do\n"
        '  [ -w "$path" ] && echo "$path is writable"\ndone\n'
        "ls /var/run/docker.sock /run/docker.sock 2>/dev/null\n"
        "mount -t tmpfs none /mnt 2>/dev/null && echo mounted\n"
        "unshare -Ur true 2>/dev/null && echo unshared\n"
        "echo end"
    )
    expect_equal("what is open of the system", "end\n", result.stdout.text)


CHECKS = (
    Check("a sandbox has no route to anything, and no interface but loopback", _no_network, harmful=True),
    Check("user code is not root, and has no capabilities and no way to new privileges", _no_privileges),
    Check("user code cannot look into the agent", _agent_is_closed, harmful=True),
    Check("user code cannot end or stop the agent", _agent_survives, harmful=True),
    Check("user code cannot change the system, mount, or find an engine", _system_is_closed, harmful=True),
)
