"""Sessions of the /v1 face, the server's own pages, and many callers at once."""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest

from sandbox.client import Client
from tests.api.conftest import KEY, OTHER_KEY, Server
from tests.compat.requirements import promises


def test_sessions_are_listed_newest_first_a_page_at_a_time(server: Server) -> None:
    with server.client(OTHER_KEY) as client:
        made = [
            server.bash("true", session=f"page {number}", key=OTHER_KEY)["data"]["session"]["id"] for number in range(3)
        ]
        listed, path = [], "/v1/sessions?limit=2"
        while path:
            page = client.get(path).json()
            listed += [(item["session_id"], item["label"]) for item in page["items"]]
            path = f"/v1/sessions?limit=2&after={page['next_cursor']}" if "next_cursor" in page else ""
    assert listed == [(made[number], f"page {number}") for number in (2, 1, 0)]


def test_the_client_lists_all_sessions_over_all_pages(server: Server) -> None:
    with server.client(OTHER_KEY) as client:
        made = {client.post("/v1/sessions", json={}).json()["session_id"] for _ in range(120)}
    with Client(server.url, OTHER_KEY) as listing:
        assert made <= {session["session_id"] for session in listing.sessions()}


def test_a_session_is_read_by_its_id_or_its_label(server: Server, client: httpx.Client, session: str) -> None:
    data = server.run("1", session=session)["data"]
    by_label = client.get(f"/v1/sessions/{session}").json()
    assert by_label["session_id"] == data["session"]["id"]
    assert by_label["label"] == session
    assert by_label["sandbox"]["sandbox_id_suffix"] == data["sandbox_id_suffix"]
    assert by_label["sandbox"]["status"]["kernel"] == "idle"
    assert client.get(f"/v1/sessions/{data['session']['id']}").json()["label"] == session


def test_a_session_that_never_ran_has_no_sandbox_and_reading_makes_none(client: httpx.Client) -> None:
    assert client.get("/v1/sessions/never heard of").status_code == 404
    assert client.get("/v1/sessions/never heard of").status_code == 404


def test_a_deleted_session_is_gone_with_its_sandbox(server: Server, client: httpx.Client, session: str) -> None:
    before = server.run("kept = 1", session=session)["data"]["session"]["id"]
    assert client.delete(f"/v1/sessions/{before}").json() == {"session_id": before, "deleted": True}
    assert client.get(f"/v1/sessions/{before}").status_code == 404
    assert client.delete(f"/v1/sessions/{before}").status_code == 404
    after = server.run("'kept' in globals()", session=session)["data"]
    assert after["session"]["id"] != before
    assert after["results"] == "False"


def test_a_new_kernel_forgets_variables_and_keeps_files(server: Server, client: httpx.Client, session: str) -> None:
    server.run("kept = 1\nopen('kept.txt', 'w').write('yes')", session=session)
    response = client.post(f"/v1/sessions/{session}/restart_kernel")
    assert response.status_code == 200
    assert response.json()["kernel"] in {"idle", "starting", "busy"}
    assert (
        server.run("'kept' in globals(), open('kept.txt').read()", session=session)["data"]["results"]
        == "(False, 'yes')"
    )


@promises("CC-8.10", "CC-8.02")
def test_ten_callers_of_one_session_at_once_share_one_sandbox(server: Server, session: str) -> None:
    server.run("total = 0", session=session)
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda number: server.run(f"total += {number}", session=session), range(10)))
    assert all(answer["successful"] for answer in answers)
    assert len({answer["data"]["sandbox_id_suffix"] for answer in answers}) == 1
    assert server.run("total", session=session)["data"]["results"] == "45"


def test_ten_callers_of_one_new_session_at_once_make_one_sandbox(server: Server, session: str) -> None:
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: server.bash("echo $PWD", session=session), range(10)))
    assert len({answer["data"]["stdout"] for answer in answers}) == 1
    assert len({answer["data"]["session"]["id"] for answer in answers}) == 1


def test_ten_callers_of_ten_sessions_at_once_are_apart(server: Server, session: str) -> None:
    def run(number: int) -> str:
        label = f"{session} {number}"
        server.run(f"mine = {number}", session=label)
        results: str = server.run("mine", session=label)["data"]["results"]
        return results

    with ThreadPoolExecutor(10) as threads:
        assert list(threads.map(run, range(10))) == [str(number) for number in range(10)]


def test_the_server_is_ready_and_counts(server: Server, client: httpx.Client, session: str) -> None:
    assert client.get("/readyz").json() == {"status": "ok", "checks": {"engine": "ok", "store": "ok"}}
    server.run("1", session=session)
    server.run("1 / 0", session=session)
    text = client.get("/metrics").text
    for line in (
        'workbench_executions_total{ending="completed",kind="python"}',
        'workbench_executions_total{ending="error",kind="python"}',
        'workbench_http_requests_total{method="POST",route="/api/v3/tools/execute/{slug}",status="200"}',
        'workbench_execution_seconds_count{kind="python"}',
        'workbench_request_stage_seconds_count{stage="run"}',
        "workbench_pool_ready",
        'workbench_sandboxes{state="live"}',
    ):
        assert f"\n{line} " in text
    assert session not in text


def test_the_documentation_shows_every_path_with_its_shapes(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            assert "default" in operation["responses"], path
            if method == "post" and path.endswith(("/execute/{slug}", "/executions")):
                assert operation["requestBody"]["content"]["application/json"]["examples"], path
    assert set(schemas["BashData"]["properties"]) >= {"stdout", "stdoutLines", "exit_code"}
    assert set(schemas["WorkbenchArguments"]["properties"]) >= {"code_to_execute", "timeout", "session_id"}
    references = set(_references(document))
    assert references <= {f"#/components/schemas/{name}" for name in schemas}


def test_the_documentation_page_needs_nothing_from_another_host(client: httpx.Client) -> None:
    page = client.get("/docs").text
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) >= 2
    for part in parts:
        assert part.startswith("/")
        assert client.get(part).status_code == 200


def _references(part: object) -> list[str]:
    if isinstance(part, list):
        return [found for each in part for found in _references(each)]
    if isinstance(part, dict):
        here = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return here + [found for each in part.values() for found in _references(each)]
    return []


ODD_LABELS = [
    "user/1",
    "/",
    "a/files/b",
    "a/executions",
    "50%",
    "%2F",
    "%252F",
    "what?",
    "#1",
    "a b",
    "line\n",
    "\n",
    "😀",
    "a..b/..",
]


@pytest.mark.parametrize("label", ODD_LABELS)
def test_any_label_is_reached_by_its_percent_encoded_form(client: httpx.Client, label: str) -> None:
    made = client.post("/v1/sessions", json={"label": label}).json()["session_id"]
    ref = quote(label, safe="")
    for face in ("/v1/sessions", "/api/v3/tool_router/session", "/api/v3.1/tool_router/session"):
        assert client.get(f"{face}/{ref}").json()["session_id"] == made, face
    assert client.post(f"/v1/sessions/{ref}/interrupt").json() == {"interrupted": 0}
    for part in ("executions", "calls"):
        assert client.get(f"/v1/sessions/{ref}/{part}").json() == {"items": []}, part
    found = client.post(f"/api/v3/tool_router/session/{ref}/search", json={"queries": [{"use_case": "run code"}]})
    assert found.status_code == 200, found.text
    with Client(str(client.base_url), KEY) as ours:
        assert ours.session(label)["session_id"] == made
    assert client.delete(f"/v1/sessions/{ref}").json()["session_id"] == made
    assert client.get(f"/v1/sessions/{made}").status_code == 404


def test_files_of_a_session_whose_label_has_a_slash_are_reached_by_it(client: httpx.Client, session: str) -> None:
    label = f"{session}/files/x"
    made = client.post("/v1/sessions", json={"label": label}).json()["session_id"]
    at = f"/v1/sessions/{quote(label, safe='')}/files"
    assert client.put(f"{at}/folder/a%2Fb.txt", content=b"here").status_code == 200
    assert client.get(f"/v1/sessions/{made}/files/folder/a/b.txt").content == b"here"
    assert [item["mount_relative_path"] for item in client.get(at).json()["items"]] == ["folder/a/b.txt"]
    client.delete(f"/v1/sessions/{made}")


@pytest.mark.parametrize("name", ["two\nlines.txt", "ends\n", "\n", "100%.txt", "what?.txt", "a\r\nb: c", "😀.txt"])
def test_a_file_is_served_under_the_name_that_the_list_gives(client: httpx.Client, session: str, name: str) -> None:
    made = client.post("/v1/sessions", json={"label": session}).json()["session_id"]
    at = f"/v1/sessions/{made}/files"
    assert client.put(f"{at}/decoy", content=b"another file").status_code == 200
    assert client.put(f"{at}/ends", content=b"another file").status_code == 200
    assert client.put(f"{at}/{quote(name)}", content=b"bytes").status_code == 200
    assert name in [item["mount_relative_path"] for item in client.get(at).json()["items"]]
    assert client.get(f"{at}/{quote(name)}").content == b"bytes"
    mount = f"/api/v3.1/tool_router/session/{made}/mounts/files"
    assert client.get(f"{mount}/content", params={"path": name}).content == b"bytes"
    link = client.post(f"{mount}/download_url", json={"mount_relative_path": name}).json()["download_url"]
    assert httpx.get(link, trust_env=False).content == b"bytes"
    assert client.delete(f"{at}/{quote(name)}").status_code == 200
    assert client.get(f"{at}/ends").content == b"another file"
    client.delete(f"/v1/sessions/{made}")
