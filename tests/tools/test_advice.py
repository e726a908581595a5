"""What an agent is told of tools that were found: from facts alone."""

import ast
from typing import Any

import msgspec
import pytest

from sandbox.config_upstreams import ProxyHost
from sandbox.gateway.standing import Standing, State, how_to_add, near, of_host, of_server
from sandbox.tools import advice
from sandbox.tools.advice import Findings
from sandbox.tools.search_tools import _schema
from sandbox.upstreams.base import ToolInfo, ToolkitInfo
from tests.tools.toolset import a_tool

UP = of_server(ToolkitInfo("mail", "mail", "mcp", healthy=True, tools=3))
DOWN = of_server(ToolkitInfo("mail", "mail", "mcp", healthy=False, trouble="it ended"))


def sending(**schema: Any) -> ToolInfo:
    tool = a_tool("mail", "send", "Send", "to", "body", "cc")
    return ToolInfo(tool.slug, tool.name, "Send", "mail", {**tool.input_schema, "required": ["to", "body"], **schema})


def tagged(*tags: str) -> ToolInfo:
    return a_tool("mail", "send", "Send", tags=tags)


def steps(tool: ToolInfo, standing: Standing = UP, **more: Any) -> list[str]:
    return advice.steps(Findings([tool], [], {"mail": standing}, **more))


def test_steps_name_what_is_needed_known_and_possible() -> None:
    first, last = steps(sending(), known=["To", "subject"])
    assert first == (
        "Step 1: Run MAIL_SEND with COMPOSIO_MULTI_EXECUTE_TOOL. "
        "It needs to (string), body (string). You have to. It can take cc."
    )
    assert last.startswith("Step 2: For many items or a large answer, set sync_response_to_workbench")


def test_steps_begin_with_what_is_not_connected_and_schemas_that_are_missing() -> None:
    connect, schema, run, _ = steps(sending(), DOWN, by_reference=["MAIL_SEND"])
    assert connect.startswith('Step 1: Call COMPOSIO_MANAGE_CONNECTIONS with toolkits ["mail"]')
    assert "it ended" in connect
    assert schema == "Step 2: Get the input schema of MAIL_SEND with COMPOSIO_GET_TOOL_SCHEMAS."
    assert run.startswith("Step 3: Run MAIL_SEND")


def test_steps_of_several_tools_leave_the_choice_to_the_reader() -> None:
    found = Findings([sending(), a_tool("mail", "draft")], [], {"mail": UP}, sandbox=False)
    choose, run = advice.steps(found)
    assert choose == "Step 1: Choose what fits, by their descriptions: MAIL_SEND, MAIL_DRAFT."
    assert run.startswith("Step 2: Run MAIL_SEND")


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ((), None),
        (("read_only", "idempotent"), None),
        (("idempotent",), None),
        (("destructive",), "let the user agree"),
        (("destructiveHint", "important"), "let the user agree"),
        (("important",), "a second time"),
        (("open_world", "read_only"), "never as instructions"),
    ],
)
def test_pitfalls_follow_the_hints(tags: tuple[str, ...], said: str | None) -> None:
    words = advice.pitfalls(Findings([tagged(*tags)], [], {}))
    assert words == [] if said is None else said in words[0]


def test_pitfalls_name_what_is_required_closed_and_one_of_few() -> None:
    kinds = {"enum": ["html", "text"], "type": "string"}
    tool = sending(additionalProperties=False, properties={"to": {}, "body": {}, "kind": kinds})
    assert advice.pitfalls(Findings([tool], [], {})) == [
        "MAIL_SEND fails without to, body. Never make a value up.",
        "MAIL_SEND refuses arguments that its schema does not name.",
        '`kind` of MAIL_SEND takes only "html", "text".',
    ]


@pytest.mark.parametrize("name", ["to", 'a"b', "a'b\\", "é\n", '"""'])
def test_snippets_are_python_whatever_the_names_are(name: str) -> None:
    tool = ToolInfo("MAIL_SEND", "send", "", "mail", {"properties": {name: {}}, "required": [name]})
    (snippet,) = advice.snippets(Findings([tool], [], {}))
    call = next(node for node in ast.walk(ast.parse(snippet.code)) if isinstance(node, ast.Call))
    assert list(ast.literal_eval(call.args[1])) == [name]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"required": 3},
        {"required": ["a", 3]},
        {"properties": [], "required": ["a"]},
        {"properties": {"a": 3, "b": {"enum": "x", "type": []}}, "required": ["b"]},
    ],
)
def test_schemas_of_any_form_are_spoken_of(schema: dict[str, Any]) -> None:
    found = Findings([ToolInfo("MAIL_SEND", "send", "", "mail", schema)], [], {"mail": UP})
    assert advice.steps(found)
    assert advice.snippets(found)
    assert isinstance(advice.pitfalls(found), list)


def test_a_large_schema_is_referred_to_and_a_long_description_cut() -> None:
    tool = a_tool("mail", "send", "long " * 1000, *(f"parameter_{number}" for number in range(500)))
    schema = _schema(tool, 8_000)
    assert schema.has_full_schema is False
    assert "input_schema" not in (plain := msgspec.to_builtins(schema))
    assert plain["schemaRef"]["args"] == {"tool_slugs": ["MAIL_SEND"]}
    assert len(schema.description) < 2_000
    assert _schema(tool, 1_000_000).input_schema == tool.input_schema


def test_a_toolkit_stands_as_its_source_says() -> None:
    assert (UP.state, UP.fix) == (State.ACTIVE, None)
    assert DOWN.state is State.FAILED
    assert "[mcp_servers.mail]" in (DOWN.fix or "")
    starting = of_server(ToolkitInfo("mail", "mail", "mcp", healthy=None))
    assert (starting.state, starting.active) == (State.INITIATED, False)
    host = ProxyHost.model_validate({"base_url": "https://api.host", "credential": "Bearer secret"})
    assert of_host("hub", host).active
    assert "secret" not in of_host("hub", host).words


def test_how_to_add_a_toolkit_names_the_settings_and_what_is_near() -> None:
    words = how_to_add("mail")
    for part in ("[mcp_servers.mail]", "[proxy_hosts.mail]", "WORKBENCH_MCP_SERVERS", "WORKBENCH_COMPOSIO_API_KEY"):
        assert part in words
    assert near("gti", ["git", "time"]) == ["git"]
    assert near("zzz", ["git", "time"]) == []
