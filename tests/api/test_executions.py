"""Executions of the /v1 face: started without waiting, followed live, interrupted; and what a disconnect does."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.client import ServerEvent, parse_events
from tests.api.conftest import BASH, KEY, OTHER_KEY, WORKBENCH, Server

FOREVER = "import time\nprint('running', flush=True)\nwhile True: time.sleep(0.01)"


def start(client: httpx.Client, session: str, **body: Any) -> str:
    """Start an execution; its id."""
    response = client.post(f"/v1/sessions/{session}/executions", json=body)
    assert response.status_code == 202, response.text
    item = response.json()
    assert item["state"] in {"queued", "running", "ended"}
    started: str = item["execution_id"]
    return started


def follow(
    client: httpx.Client, execution: str, after: int | None = None, query_after: int = 0
) -> Iterator[ServerEvent]:
    """Follow an execution to its end; resumed by the header `after` or by the query `query_after`."""
    headers = {} if after is None else {"last-event-id": str(after)}
    params = {"after": query_after} if query_after else {}
    path = f"/v1/executions/{execution}/events"
    with client.stream("GET", path, headers=headers, params=params) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield from parse_events(response.iter_lines())


def wait_for_output(client: httpx.Client, execution: str) -> None:
    """Wait until it has said something."""
    for event in follow(client, execution):
        if event.name == "output":
            return


def ended(client: httpx.Client, execution: str) -> dict[str, Any]:
    """Wait for the end; the execution as it then is."""
    assert [event.name for event in follow(client, execution)][-1] == "ended"
    item: dict[str, Any] = client.get(f"/v1/executions/{execution}").json()
    assert item["state"] == "ended"
    return item


def test_an_execution_that_ended_has_the_same_data_as_the_tool(client: httpx.Client, server: Server) -> None:
    item = ended(client, start(client, "same", code="print('a')\n5"))
    tool = server.run("print('a')\n5", session="same")
    assert (item["successful"], item["error"]) == (tool["successful"], tool["error"])
    for name in ("results", "stdout", "stderr", "error", "session", "sandbox_id_suffix", "artifacts"):
        assert item["data"][name] == tool["data"][name]


def test_a_command_runs_as_bash_with_its_limit(client: httpx.Client) -> None:
    item = ended(client, start(client, "command", command="echo said; sleep 100", timeout=1))
    assert (item["kind"], item["timeout"], item["successful"]) == ("bash", 1.0, False)
    assert item["data"]["stdout"] == "said\n"


def test_events_come_numbered_from_started_to_ended(client: httpx.Client) -> None:
    events = list(
        follow(client, start(client, "numbered", code="import sys\nprint('out')\nprint('err', file=sys.stderr)\n7"))
    )
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events[0].name == "started"
    said = {(event.data["stream"], event.data["text"]) for event in events if event.name == "output"}
    assert {("stdout", "out\n"), ("stderr", "err\n")} <= said
    assert events[-1].name == "ended"
    assert events[-1].data["successful"] is True
    assert events[-1].data["data"]["results"] == "out\n7"


def test_output_comes_while_the_code_still_runs(client: httpx.Client) -> None:
    execution = start(client, "live", code=FOREVER)
    wait_for_output(client, execution)
    assert client.get(f"/v1/executions/{execution}").json()["state"] == "running"
    response = client.post(f"/v1/executions/{execution}/interrupt")
    assert response.status_code == 202
    item = ended(client, execution)
    assert item["successful"] is False
    assert item["error"].startswith("Interrupted on request")
    assert item["data"]["stdout"] == "running\n"


def test_a_follower_resumes_where_it_stopped(client: httpx.Client) -> None:
    execution = start(client, "resume", code="print('one', flush=True)\nprint('two', flush=True)")
    events = list(follow(client, execution))
    for event in events:
        rest = [each.id for each in follow(client, execution, after=event.id)]
        assert rest == [each.id for each in events if each.id > event.id]
        assert [each.id for each in follow(client, execution, query_after=event.id)] == rest


def test_a_second_follower_sees_the_same(client: httpx.Client, server: Server) -> None:
    execution = start(client, "second", code=FOREVER)
    with server.client() as other:
        wait_for_output(client, execution)
        wait_for_output(other, execution)
        client.post(f"/v1/executions/{execution}/interrupt")
        assert list(follow(client, execution)) == list(follow(other, execution))


def test_an_image_is_announced_and_listed(client: httpx.Client) -> None:
    image = "Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + bytes(100), format='png')"
    code = f"from IPython.display import Image, display\ndisplay({image})"
    execution = start(client, "image", code=code)
    events = list(follow(client, execution))
    announced = [event.data for event in events if event.name == "artifact"]
    assert [each["type"] for each in announced] == ["image/png"]
    assert events[-1].data["data"]["artifacts"] == announced


def test_what_runs_in_a_session_is_listed_and_interrupted_together(client: httpx.Client) -> None:
    first = start(client, "together", code=FOREVER)
    second = start(client, "together", code="print('never')")
    third = start(client, "together", command="sleep 100")
    wait_for_output(client, first)
    listed = client.get("/v1/sessions/together/executions").json()["items"]
    assert {item["execution_id"] for item in listed} == {first, second, third}
    assert client.post("/v1/sessions/together/interrupt").json() == {"interrupted": 3}
    for execution in (first, second, third):
        assert ended(client, execution)["data"]["execution"]["ending"] == "interrupted"
    assert client.post("/v1/sessions/together/interrupt").json() == {"interrupted": 0}


@pytest.mark.parametrize("last", [b"\xb2", b"9" * 5000, b"-1", b"one"])
def test_an_event_id_that_is_none_is_no_place_to_go_on_from(client: httpx.Client, last: bytes) -> None:
    execution = start(client, "no event id", code="1")
    ended(client, execution)
    answer = client.get(f"/v1/executions/{execution}/events", headers={b"last-event-id": last})
    assert answer.status_code == 200
    assert answer.text.startswith("id: 1\n")


def test_executions_of_another_key_are_not_found(server: Server, client: httpx.Client) -> None:
    execution = start(client, "private", code="1")
    with server.client(OTHER_KEY) as other:
        for path in (f"/v1/executions/{execution}", f"/v1/executions/{execution}/events"):
            assert other.get(path).status_code == 404
        assert other.post(f"/v1/executions/{execution}/interrupt").status_code == 404
    ended(client, execution)


# --- a client that leaves -----------------------------------------------------------------------------


def send_and_leave(server: Server, slug: str, arguments: dict[str, Any], meanwhile: httpx.Client) -> str:
    """Call a tool over a bare socket and close it when the call runs; the execution's id."""
    body = json.dumps({"arguments": arguments}).encode()
    head = (
        f"POST /api/v3/tools/execute/{slug} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode()
    port = httpx.URL(server.url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head + body)
        execution = _running(meanwhile, arguments["session_id"])
        wait_for_output(meanwhile, execution)
    return execution


def _running(client: httpx.Client, session: str) -> str:
    """The session's newest execution; the request for it is under way, so it is asked for until it is there."""
    for _ in range(10_000):
        response = client.get(f"/v1/sessions/{session}/executions")
        if response.status_code == 200 and response.json()["items"]:
            found: str = response.json()["items"][0]["execution_id"]
            return found
    raise AssertionError("the execution did not begin")


def test_python_is_interrupted_when_its_client_leaves_and_the_session_goes_on(
    server: Server, client: httpx.Client
) -> None:
    arguments = {"code_to_execute": f"kept = 1\n{FOREVER}", "session_id": "left-python"}
    execution = send_and_leave(server, WORKBENCH, arguments, client)
    item = ended(client, execution)
    assert item["data"]["execution"]["ending"] == "interrupted"
    assert server.run("kept", session="left-python")["data"]["results"] == "1"


def test_bash_is_killed_when_its_client_leaves(server: Server, client: httpx.Client) -> None:
    arguments = {"command": "echo running; sleep 1000", "session_id": "left-bash"}
    execution = send_and_leave(server, BASH, arguments, client)
    assert ended(client, execution)["data"]["execution"]["ending"] == "interrupted"
    assert "sleep 1000" not in server.bash("ps -o args= --ppid $PPID", session="left-bash")["data"]["stdout"]


def test_a_follower_that_leaves_interrupts_nothing(server: Server, client: httpx.Client) -> None:
    execution = start(client, "follower", code=FOREVER)
    with server.client() as follower, follower.stream("GET", f"/v1/executions/{execution}/events") as response:
        next(response.iter_lines())
    assert client.get(f"/v1/executions/{execution}").json()["state"] != "ended"
    client.post(f"/v1/executions/{execution}/interrupt")
    ended(client, execution)


@pytest.mark.parametrize("after", ["-1", "x"])
def test_a_bad_place_to_resume_from_is_refused(client: httpx.Client, after: str) -> None:
    execution = start(client, "bad-after", code="1")
    assert client.get(f"/v1/executions/{execution}/events?after={after}").status_code == 422
