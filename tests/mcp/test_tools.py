"""The two run tools through the official SDK's client."""

import json
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, TextContent

from tests.api.conftest import BASH, KEY, OTHER_KEY, WORKBENCH, Server
from tests.compat.requirements import promises
from tests.mcp.conftest import NEW, OLD, connected
from tests.support.clock import until

pytestmark = pytest.mark.anyio


def answer_of(result: CallToolResult) -> dict[str, Any]:
    """The answer, which is there twice and the same."""
    first = result.content[0]
    assert isinstance(first, TextContent)
    answer: dict[str, Any] = json.loads(first.text)
    assert answer == result.structured_content
    assert result.is_error is not answer["successful"]
    return answer


async def test_a_client_finds_the_tools_with_schemas_and_hints(server: Server, path: str, mode: str) -> None:
    async with connected(server, path, mode=mode) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        info, version = client.server_info, client.protocol_version
    assert info is not None
    assert info.name == "workbench"
    assert version == ("2025-11-25" if mode == OLD else "2026-07-28")
    tool = listed[WORKBENCH]
    assert tool.input_schema["required"] == ["code_to_execute"]
    assert "$ref" not in json.dumps(tool.input_schema)
    assert tool.annotations is not None
    assert tool.annotations.destructive_hint is True
    assert tool.annotations.read_only_hint is False
    assert listed[BASH].input_schema["required"] == ["command"]


@promises("CC-4.51", "CC-4.50")
async def test_variables_and_files_are_kept_between_calls_of_both_tools(server: Server, path: str, mode: str) -> None:
    async with connected(server, path, mode=mode) as client:
        await client.call_tool(WORKBENCH, {"code_to_execute": "x = 6 * 7; open('x.txt', 'w').write(str(x))"})
        second = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "x"}))
        shell = answer_of(await client.call_tool(BASH, {"command": "cat x.txt"}))
    assert second["data"]["results"] == "42"
    assert shell["data"]["stdout"] == "42"


async def test_code_that_raises_is_an_answer_with_its_error(server: Server, path: str, mode: str) -> None:
    async with connected(server, path, mode=mode) as client:
        result = await client.call_tool(WORKBENCH, {"code_to_execute": "print('so far')\n1 / 0"})
    answer = answer_of(result)
    assert result.is_error
    assert answer["error"] == "ZeroDivisionError: division by zero"
    assert answer["data"]["stdout"] == "so far\n"


@pytest.mark.parametrize("arguments", [{}, {"code_to_execute": 3}, {"code_to_execute": "1", "timeout": 0}])
async def test_wrong_arguments_are_an_answer_in_the_words_of_the_direct_road(
    server: Server, path: str, mode: str, arguments: dict[str, Any]
) -> None:
    async with connected(server, path, mode=mode) as client:
        result = await client.call_tool(WORKBENCH, arguments)
    with server.client() as http:
        direct = http.post(f"/api/v3/tools/execute/{WORKBENCH}", json={"arguments": arguments}).json()
    assert answer_of(result) == {"data": {}, "successful": False, "error": direct["error"]["message"]}


async def test_an_unknown_tool_is_an_error_of_the_protocol(server: Server, path: str, mode: str) -> None:
    async with connected(server, path, mode=mode) as client:
        with pytest.raises(MCPError, match="No tool 'NO_SUCH_TOOL'; there are: COMPOSIO_"):
            await client.call_tool("NO_SUCH_TOOL", {})


async def test_two_sessions_know_nothing_of_each_other(server: Server, path: str, mode: str) -> None:
    other = path.replace("/mcp", "-other/mcp")
    async with connected(server, path, mode=mode) as one, connected(server, other, mode=mode) as two:
        await one.call_tool(WORKBENCH, {"code_to_execute": "x = 'mine'"})
        seen = answer_of(await two.call_tool(WORKBENCH, {"code_to_execute": "'x' in globals()"}))
    assert seen["data"]["results"] == "False"


async def test_the_session_of_the_address_wins_over_one_in_the_arguments(server: Server, path: str, mode: str) -> None:
    async with connected(server, path, mode=mode) as client:
        await client.call_tool(WORKBENCH, {"code_to_execute": "x = 1"})
        seen = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "x", "session_id": "another"}))
    assert seen["data"]["results"] == "1"


async def test_the_session_is_the_one_that_other_faces_know_by_this_label(server: Server, path: str) -> None:
    async with connected(server, path) as client:
        await client.call_tool(WORKBENCH, {"code_to_execute": "x = 'by MCP'"})
    assert server.run("x", session=path.split("/")[2])["data"]["results"] == "'by MCP'"


async def test_each_connection_to_the_plain_address_has_a_session_of_its_own(server: Server) -> None:
    async with connected(server, "/mcp") as one, connected(server, "/mcp") as two:
        await one.call_tool(WORKBENCH, {"code_to_execute": "x = 'mine'"})
        again = answer_of(await one.call_tool(WORKBENCH, {"code_to_execute": "x"}))
        seen = answer_of(await two.call_tool(WORKBENCH, {"code_to_execute": "'x' in globals()"}))
    assert again["data"]["results"] == "'mine'"
    assert seen["data"]["results"] == "False"
    assert again["data"]["session"]["id"] != seen["data"]["session"]["id"]


async def test_a_client_without_connection_names_its_session_in_the_arguments(server: Server) -> None:
    async with connected(server, "/mcp", mode=NEW) as client:
        await client.call_tool(WORKBENCH, {"code_to_execute": "x = 3", "session_id": "named"})
        named = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "x", "session_id": "named"}))
        other = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "'x' in globals()"}))
    assert named["data"]["results"] == "3"
    assert other["data"]["results"] == "False"


async def test_the_session_of_a_connection_to_the_plain_address_ends_with_it(server: Server) -> None:
    async with connected(server, "/mcp") as client:
        answer = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "1"}))
    with server.client() as http:
        # It ends after the answer that its connection has ended.
        await until(lambda: http.get(f"/v1/sessions/{answer['data']['session']['id']}").status_code == 404)


async def test_a_session_that_is_switched_off_has_no_run_tools(server: Server, path: str, mode: str) -> None:
    label = path.split("/")[2]
    with server.client() as http:
        http.post("/v1/sessions", json={"label": label, "config": {"workbench": {"enable": False}}}).raise_for_status()
    async with connected(server, path, mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        with pytest.raises(MCPError, match="switched off"):
            await client.call_tool(BASH, {"command": "true"})
    assert not names & {WORKBENCH, BASH}


@promises("CC-4.52")
@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"x-user-api-key": KEY},
        {"x-consumer-api-key": KEY},
        {"authorization": f"Bearer {KEY}"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_a_key_is_taken_from_every_header_that_clients_use(
    server: Server, path: str, headers: dict[str, str]
) -> None:
    async with connected(server, path, headers=headers) as client:
        assert (await client.list_tools()).tools


async def test_the_same_label_of_another_key_is_another_session(server: Server, path: str, mode: str) -> None:
    async with connected(server, path, mode=mode) as client:
        await client.call_tool(WORKBENCH, {"code_to_execute": "x = 'mine'"})
    async with connected(server, path, mode=mode, headers={"x-api-key": OTHER_KEY}) as client:
        seen = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": "'x' in globals()"}))
    assert seen["data"]["results"] == "False"


async def test_a_session_that_is_deleted_meanwhile_is_not_there_for_its_connection(server: Server) -> None:
    with server.client() as http:
        session_id = http.post("/v1/sessions", json={}).raise_for_status().json()["session_id"]
        async with connected(server, f"/tool_router/{session_id}/mcp", mode=OLD) as client:
            assert (await client.call_tool(WORKBENCH, {"code_to_execute": "1"})).is_error is False
            http.delete(f"/v1/sessions/{session_id}").raise_for_status()
            with pytest.raises(MCPError, match="Session terminated"):
                await client.call_tool(WORKBENCH, {"code_to_execute": "1"})
