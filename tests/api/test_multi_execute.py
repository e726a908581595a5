"""COMPOSIO_MULTI_EXECUTE_TOOL over HTTP, with real MCP servers as the tools and a real sandbox for the files."""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import KEY, OTHER_KEY, ROOT, Server, running_server
from tests.compat.requirements import promises

SLUG = "COMPOSIO_MULTI_EXECUTE_TOOL"
ECHO = [sys.executable, "-m", "tests.support.mcp_echo", "stdio"]
ZONE = {"timezone": "UTC"}


@pytest.fixture(scope="module")
def tool_server() -> Iterator[Server]:
    servers = {
        "echo": {"command": ECHO, "env": {"PYTHONPATH": str(ROOT)}},
        "time": {"command": [sys.executable, "-m", "mcp_server_time"]},
    }
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(Path(folder), api_keys=f"{KEY},{OTHER_KEY}", mcp_servers=json.dumps(servers)) as running,
    ):
        yield running


def _order(slug: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_slug": slug, "arguments": arguments}


def _data(server: Server, tools: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = server.tool(SLUG, {"tools": tools, "session_id": "many", **more})["data"]
    return data


@promises("CC-2.13", "CC-2.03", "CC-9.17")
def test_tools_run_together_and_their_answers_keep_the_order(tool_server: Server) -> None:
    texts = [f"text {number}" for number in range(50)]
    data = _data(tool_server, [_order("ECHO_ECHO", text=text) for text in texts])
    assert [result["index"] for result in data["results"]] == list(range(50))
    assert [result["response"]["data"]["text"] for result in data["results"]] == texts
    assert (data["total_count"], data["success_count"], data["error_count"]) == (50, 50, 0)


@promises("CC-2.14")
def test_each_tool_has_its_own_error(tool_server: Server) -> None:
    answer = tool_server.tool(
        SLUG,
        {
            "tools": [
                _order("ECHO_ECHO", text="fine"),
                _order("ECHO_FAIL", words="on purpose"),
                _order("TIME_GET_CURRENT_TIME"),
                _order("NOBODY_KNOWS"),
                _order("COMPOSIO_REMOTE_BASH_TOOL", command="true"),
            ],
            "session_id": "many",
        },
    )
    data = answer["data"]
    assert answer["successful"] is True
    assert (data["success_count"], data["error_count"]) == (1, 4)
    fine, failed, invalid, unknown, meta = data["results"]
    assert fine["error"] is None
    assert failed["response"]["successful"] is False
    assert "on purpose" in failed["error"]
    assert invalid["response"] is None
    assert "arguments.timezone" in invalid["error"]
    assert "NOBODY_KNOWS" in unknown["error"]
    assert "meta tool" in meta["error"]


def test_when_no_tool_succeeds_the_answer_says_so(tool_server: Server) -> None:
    answer = tool_server.tool(SLUG, {"tools": [_order("ECHO_FAIL", words="on purpose")]})
    assert answer["successful"] is False
    assert "on purpose" in answer["error"]


@promises("CC-2.03", "CC-9.17")
@pytest.mark.parametrize(
    ("tools", "field"),
    [
        ([], "arguments.tools"),
        ([_order("ECHO_ECHO", text="x")] * 51, "arguments.tools"),
        ([{"arguments": {}}], "arguments.tools"),
        ([{"tool_slug": 7}], "arguments.tools"),
        ("ECHO_ECHO", "arguments.tools"),
        (None, "arguments.tools"),
    ],
)
def test_bad_orders_are_refused_before_anything_runs(tool_server: Server, tools: Any, field: str) -> None:
    with tool_server.client() as client:
        response = client.post(f"/api/v3/tools/execute/{SLUG}", json={"arguments": {"tools": tools}})
    assert response.status_code == 422
    assert response.json()["error"]["fields"][0]["path"] == field


@promises("CC-9.04")
def test_a_small_answer_comes_whole_and_makes_no_file(tool_server: Server) -> None:
    data = _data(tool_server, [_order("ECHO_ECHO", text="small")])
    assert data["remote_file_info"] is None
    assert data["next_steps"] is None


def test_a_small_answer_that_is_to_be_kept_comes_whole_and_is_in_a_file(tool_server: Server) -> None:
    data = _data(tool_server, [_order("ECHO_ECHO", text="small")], sync_response_to_workbench=True)
    assert data["results"][0]["response"]["data"] == {"text": "small"}
    assert _read_back(tool_server, data)["results"][0]["response"]["data"] == {"text": "small"}


@promises("CC-7.04", "CC-7.05", "CC-7.08", "CC-8.03", "CC-9.03", "CC-1.22")
def test_a_large_answer_is_a_preview_and_whole_in_a_file(tool_server: Server) -> None:
    text = "long words " * 5_000
    data = _data(tool_server, [_order("ECHO_ECHO", text=text), _order("ECHO_ECHO", text="small")])
    large, small = (result["response"] for result in data["results"])
    assert "data" not in large
    assert large["successful"] is True
    assert large["data_preview"]["text"].endswith("more characters")
    assert large["structure_info"]["data_structure"] == {"text": {"type": "string", "length": len(text)}}
    assert small["data"] == {"text": "small"}
    assert data["remote_file_info"]["file_path"] in data["next_steps"]
    whole = _read_back(tool_server, data)["results"]
    assert [result["response"]["data"]["text"] for result in whole] == [text, "small"]
    assert whole[0]["response"]["successful"] is True


def test_two_large_answers_are_two_files(tool_server: Server) -> None:
    paths = {
        _data(tool_server, [_order("ECHO_ECHO", text="x" * 30_000)])["remote_file_info"]["file_path"] for _ in range(3)
    }
    assert len(paths) == 3


def test_the_calls_are_in_the_audit_of_the_session(tool_server: Server) -> None:
    tool_server.tool(SLUG, {"tools": [_order("ECHO_ECHO", text="x")], "session_id": "audited"})
    with tool_server.client() as client:
        items = client.get("/v1/sessions/audited/calls").json()["items"]
    assert [(item["helper"], item["target"], item["status"]) for item in items] == [
        ("multi_execute", "ECHO_ECHO", "ok")
    ]


def _read_back(server: Server, data: dict[str, Any]) -> Any:
    """Read the file as the instructions say."""
    path = data["remote_file_info"]["file_path"]
    answer = server.run(f"import json\nwhole = json.load(open({path!r}))\nprint(json.dumps(whole))", session="many")
    assert answer["successful"], answer["error"]
    shown = answer["data"]
    if "stdout_file_path" in shown:
        answer = server.run(
            "print(whole['results'][0]['response']['data']['text'] == 'long words ' * 5_000)", session="many"
        )
        assert answer["data"]["stdout"] == "True\n"
        return json.loads(Path(shown["stdout_file_path"]).read_text())
    return json.loads(shown["stdout"])
