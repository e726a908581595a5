"""The catalogue: the tools of a session, of all, and one by its slug."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import BASH, WORKBENCH
from tests.api.tool_router.conftest import DEFAULT_TOOLS, PREFIXES, execute, make, path, refused
from tests.compat.requirements import promises

ITEM = {
    "slug",
    "name",
    "description",
    "human_description",
    "input_parameters",
    "output_parameters",
    "toolkit",
    "tags",
    "scopes",
    "scope_requirements",
    "no_auth",
    "is_deprecated",
    "version",
    "available_versions",
    "deprecated",
}


def slugs(client: httpx.Client, session: dict[str, Any]) -> list[str]:
    items = client.get(path(session, "/tools"), params={"limit": 500}).json()["items"]
    assert session["tool_router_tools"] == [slug for slug in (item["slug"] for item in items) if "COMPOSIO_" in slug]
    return [item["slug"] for item in items]


@promises("CC-0.06", "CC-2.06", "CC-4.30")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_item_has_every_field_of_the_contract(equipped_client: httpx.Client, prefix: str) -> None:
    item = equipped_client.get(f"{prefix}/tools/{WORKBENCH}", params={"toolkit_versions": "latest"}).json()
    assert set(item) == ITEM
    assert item["slug"] == WORKBENCH
    assert item["toolkit"] == {"slug": "composio", "name": "composio", "logo": ""}
    assert set(item["tags"]) >= {"destructiveHint", "openWorldHint"}
    assert (item["no_auth"], item["is_deprecated"], item["scopes"]) == (True, False, [])
    assert (item["scope_requirements"], item["version"]) == (None, "00000000_00")
    assert item["available_versions"] == ["00000000_00"]
    assert item["deprecated"] == {
        "displayName": item["name"],
        "version": "00000000_00",
        "available_versions": ["00000000_00"],
        "is_deprecated": False,
        "toolkit": {"logo": ""},
    }
    taken, given = item["input_parameters"], item["output_parameters"]
    assert (taken["type"], taken["required"], type(taken["title"])) == ("object", ["code_to_execute"], str)
    assert {"code_to_execute", "session_id", "thought"} <= set(taken["properties"])
    assert given["required"] == ["data", "successful"]
    assert {"results", "stdout", "stderr"} <= set(given["properties"]["data"]["properties"])


@promises("CC-0.06", "CC-4.32")
def test_slugs_are_looked_up_one_by_one_or_together(equipped_client: httpx.Client) -> None:
    wanted = [BASH, "ECHO_ADD", WORKBENCH]
    page = equipped_client.get("/api/v3.1/tools", params={"tool_slugs": ",".join([*wanted, "NOT_THERE"])}).json()
    assert [item["slug"] for item in page["items"]] == wanted
    assert (page["next_cursor"], page["total_pages"], page["current_page"], page["total_items"]) == (None, 1, 1, 3)
    echo = equipped_client.get("/api/v3.1/tools/ECHO_ADD").json()
    assert set(echo) == ITEM
    assert echo == page["items"][1]
    assert echo["toolkit"]["slug"] == "echo"
    assert echo["input_parameters"]["required"] == ["a", "b"]
    assert equipped_client.get(f"/api/v3/tools/{BASH.lower()}").json() == page["items"][0]


@pytest.mark.parametrize("slug", ["NOT_THERE", "COMPOSIO_NOT_THERE", "ECHO_NOT_THERE"])
def test_an_unknown_slug_is_not_found(equipped_client: httpx.Client, slug: str) -> None:
    error = refused(equipped_client.get(f"/api/v3.1/tools/{slug}"), 404, slug)
    assert error["slug"] == "Tool_NotFound"


@promises("CC-4.31")
def test_all_tools_are_listed_page_by_page_and_filtered(equipped_client: httpx.Client) -> None:
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = equipped_client.get(
            "/api/v3/tools", params={"limit": 7, **({"cursor": cursor} if cursor else {})}
        ).json()
        seen += [item["slug"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == page["total_items"]
    assert {*DEFAULT_TOOLS, "ECHO_ECHO"} <= set(seen)
    only = equipped_client.get("/api/v3/tools", params={"toolkit_slug": "echo", "limit": 1000}).json()["items"]
    assert {item["toolkit"]["slug"] for item in only} == {"echo"}
    found = equipped_client.get("/api/v3/tools", params={"search": "add two", "limit": "10.0"}).json()["items"]
    assert [item["slug"] for item in found] == ["ECHO_ADD"]
    refused(equipped_client.get("/api/v3/tools", params={"cursor": "x"}), 400, "cursor")


def test_the_catalogue_needs_a_key(equipped_client: httpx.Client) -> None:
    with httpx.Client(base_url=equipped_client.base_url) as stranger:
        refused(stranger.get(f"/api/v3/tools/{WORKBENCH}"), 401)
        refused(stranger.get("/api/v3/tools"), 401)


# --- of a session -------------------------------------------------------------------------------------

SWITCHED = [
    ({"search": {"enable": False}}, {"COMPOSIO_SEARCH_TOOLS", "COMPOSIO_GET_TOOL_SCHEMAS"}),
    ({"execute": {"enable_multi_execute": False}}, {"COMPOSIO_MULTI_EXECUTE_TOOL"}),
    ({"manage_connections": {"enable": False}}, {"COMPOSIO_MANAGE_CONNECTIONS"}),
    ({"workbench": {"enable": False}}, {WORKBENCH, BASH}),
    ({"sandbox": {"enable": False}}, {WORKBENCH, BASH}),
    ({}, set()),
]


@promises("CC-0.15", "CC-1.20", "CC-1.25", "CC-1.26")
@pytest.mark.parametrize(("body", "gone"), SWITCHED)
def test_what_is_switched_off_vanishes_and_refuses_calls(
    equipped_client: httpx.Client, body: dict[str, Any], gone: set[str]
) -> None:
    session = make(equipped_client, **body)
    assert slugs(equipped_client, session) == [slug for slug in DEFAULT_TOOLS if slug not in gone]
    arguments: dict[str, Any] = {
        "code_to_execute": "1",
        "command": "true",
        "queries": [{"use_case": "x"}],
        "tool_slugs": ["ECHO_ADD"],
        "toolkits": ["echo"],
        "tools": [{"tool_slug": "ECHO_ADD", "arguments": {"a": 1, "b": 2}}],
    }
    for slug in gone:
        for at, call in (
            (path(session, "/execute"), {"tool_slug": slug, "arguments": arguments}),
            (path(session, "/execute_meta"), {"slug": slug, "arguments": arguments}),
            (f"/api/v3/tools/execute/{slug}", {"arguments": {**arguments, "session_id": session["session_id"]}}),
        ):
            response = equipped_client.post(at, json=call)
            error = refused(response, 400, slug, "is switched off in this session")
            assert error["slug"] == "Tool_SwitchedOff"
            assert response.headers["x-should-retry"] == "false"
    if not gone:
        assert execute(equipped_client, session, BASH, {"command": "true"})["result_type"] == "completed"


@promises("CC-1.23")
def test_a_tool_for_raw_requests_is_there_when_it_is_asked_for(equipped_client: httpx.Client) -> None:
    assert "COMPOSIO_PROXY_EXECUTE" in slugs(equipped_client, make(equipped_client, proxy_execute={"enable": True}))
    refused(
        equipped_client.post(
            path(make(equipped_client), "/execute"),
            json={
                "tool_slug": "COMPOSIO_PROXY_EXECUTE",
                "arguments": {"toolkit_slug": "api", "endpoint": "/", "method": "GET"},
            },
        ),
        400,
        "proxy_execute.enable",
    )


def test_preloaded_tools_are_listed_beside_the_meta_tools(equipped_client: httpx.Client) -> None:
    session = make(equipped_client, preload={"tools": ["ECHO_ADD", "echo_echo", "NOT_THERE"]})
    assert slugs(equipped_client, session) == [*DEFAULT_TOOLS, "ECHO_ADD", "ECHO_ECHO"]
    assert [warning["code"] for warning in session["warnings"]] == ["TOOL_NOT_AVAILABLE"]
    everything = slugs(equipped_client, make(equipped_client, preload={"tools": "all"}))
    assert len(everything) > len(DEFAULT_TOOLS) + 5


def test_preloaded_tools_obey_the_sessions_rules(equipped_client: httpx.Client) -> None:
    session = make(equipped_client, preload={"tools": "all"}, tools={"echo": {"enable": ["ECHO_ADD"]}})
    assert slugs(equipped_client, session) == [*DEFAULT_TOOLS, "ECHO_ADD"]
    none = make(equipped_client, preload={"tools": ["ECHO_ADD"]}, toolkits={"enable": []})
    assert slugs(equipped_client, none) == DEFAULT_TOOLS


@promises("CC-1.25")
@pytest.mark.parametrize(
    "body",
    [
        {"preset": "direct_tools"},
        {
            "manage_connections": {"enable": False},
            "workbench": {"enable": False},
            "preload": {"tools": "all"},
            "search": {"enable": False},
            "execute": {"enable_multi_execute": False},
        },
    ],
    ids=["preset", "as the SDKs send it"],
)
def test_the_direct_tools_preset_shows_tools_and_no_meta_tool(
    equipped_client: httpx.Client, body: dict[str, Any]
) -> None:
    session = make(equipped_client, toolkits=["echo"], **body)
    listed = slugs(equipped_client, session)
    assert {slug.partition("_")[0] for slug in listed} == {"ECHO"}
    assert session["config"]["preload"] == {"tools": "all"}
    with_sandbox = make(equipped_client, **{**body, "workbench": {"enable": True}, "preload": {"tools": []}})
    assert slugs(equipped_client, with_sandbox) == [WORKBENCH, BASH]
