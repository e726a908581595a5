"""What code does to the socket that helpers call, and calls whose end is not theirs, over HTTP and a real container."""

import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from sandbox.bench.process_memory import peak_mb
from sandbox.runtimes.docker_address import EngineAddress
from tests.support.controller import Controller
from tests.support.faults import ending, fault, python, usable
from tests.support.raw_helper import CODE

pytestmark = [pytest.mark.docker, pytest.mark.timeout(150)]

NOISE: Final = """
import random
random.seed(7)
for size in [1, 100, 5_000, 70_000, 2_000_000] * 60:
    noise = RawHelper()
    try:
        noise.socket.sendall(random.randbytes(size) + b"\\n")
    except OSError:
        pass
    noise.close()
held = []
try:
    while len(held) < 5000:
        held.append(RawHelper())
        held[-1].socket.sendall(b'{"helper":"' + b"x" * 100_000)
except OSError:
    pass
"""
"""Bytes that are no request, and requests that never end on as many connections as there can be."""

ANSWERED: Final = "for helper in held: helper.close()\nprint(sorted(call('list_helpers')))"


@fault("H01")
def test_garbage_and_floods_on_the_socket_of_helpers_harm_nobody(fault_server: Controller, label: str) -> None:
    answer = python(fault_server, label, CODE + NOISE, timeout=100)
    assert ending(answer)[0] == "completed", answer
    usable(fault_server, label)
    assert python(fault_server, label, ANSWERED, timeout=30)["data"]["stdout"] == "['error', 'result']\n"


@fault("H02")
def test_without_the_socket_of_helpers_the_session_is_usable(fault_server: Controller, label: str) -> None:
    code = "import os\nos.remove(os.environ['WORKBENCH_RELAY'])\nos.mkdir(os.environ['WORKBENCH_RELAY'])"
    assert python(fault_server, label, code, timeout=30)["error"] is None
    usable(fault_server, label)


BOMB: Final = """
from concurrent.futures import ThreadPoolExecutor
with open("arguments.json", "w") as file:
    file.write('{"tool_slug": "A_B", "arguments": {"a": [' + "[]," * 20_000_000 + "[]]}}")

def ask(_):
    return call("run_composio_tool", arguments_path=os.path.abspath("arguments.json"))["error"]

with ThreadPoolExecutor(6) as pool:
    print({error.partition(".")[0] for error in pool.map(ask, range(6))})
endpoint = "http://" + "\\u1e9b\\u0323" * 11_000_000
with open("arguments.json", "w") as file:
    json.dump({"method": "GET", "endpoint": endpoint, "toolkit": "a"}, file, ensure_ascii=False)
print("proxy_hosts" in call("proxy_execute", arguments_path=os.path.abspath("arguments.json"))["error"])
"""
"""Arguments of 60 MB that would take minutes to be read, and gigabytes of the controller's memory."""


@fault("H15")
def test_arguments_of_millions_of_values_are_refused_at_once(fault_server: Controller, label: str) -> None:
    before = peak_mb(fault_server.pid) or 0.0
    answer = python(fault_server, label, CODE + BOMB, timeout=100)
    assert answer["data"]["stdout"] == "{'run_composio_tool: the arguments have more than 2,000,000 values'}\nTrue\n", (
        answer
    )
    assert (peak_mb(fault_server.pid) or 0.0) - before < 700
    usable(fault_server, label)


ASK: Final = "answer = invoke_llm('how are you?')\nprint(json.dumps(answer))"


class Silent:
    """A model's endpoint that takes requests and says nothing."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(60)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def asked(self) -> socket.socket:
        """Wait for a request, and give its connection with nothing more to read."""
        connection, _ = self._listener.accept()
        connection.settimeout(60)
        while not connection.recv(65_536).endswith(b"}"):
            pass
        return connection

    def asked_again(self) -> bool:
        """Whether there is another request now."""
        self._listener.setblocking(False)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    made = Silent()
    yield made
    made.close()


@pytest.fixture
def asking(docker_engine: EngineAddress, sandbox_image: str, silent: Silent) -> Iterator[Controller]:
    """A controller whose model never answers."""
    with tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder:
        made = Controller(
            Path(folder), docker_engine, sandbox_image, model_base_url=silent.url, model_name="m", model_api_key="k"
        )
        made.start()
        yield made
        made.close()


@fault("H03")
def test_a_call_that_the_killed_controller_made_is_told_so_and_not_made_again(
    asking: Controller, silent: Silent
) -> None:
    asking.run("x", code_to_execute="import json")
    execution = asking.begin("x", code=ASK)
    with silent.asked():
        asking.kill()
        asking.start()
    with asking.events(execution) as events:
        ended = list(events)[-1].data
    result, error = json.loads(ended["data"]["stdout"])
    assert not result
    assert "the controller was restarted" in error
    assert not silent.asked_again()
    usable(asking, "x")


@fault("H04", "H05")
@pytest.mark.parametrize(
    "before",
    [
        pytest.param("import json", id="H04"),
        pytest.param("import json, socket; socket.setdefaulttimeout(0.000001)", id="H05 a default timeout of sockets"),
    ],
)
def test_an_interrupted_call_is_cancelled_up_to_the_upstream(asking: Controller, silent: Silent, before: str) -> None:
    asking.run("x", code_to_execute=before)
    execution = asking.begin("x", code=ASK)
    with silent.asked() as upstream:
        with asking.client() as client:
            assert client.post("/v1/sessions/x/interrupt").status_code == 200
        assert upstream.recv(1) == b""
    with asking.events(execution) as events:
        ended = list(events)[-1].data
    assert ended["data"]["execution"]["ending"] == "interrupted"
    usable(asking, "x")
