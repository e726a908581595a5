"""Sessions of the Composio face: made, read, changed, attached to, deleted, and what they were before."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.conftest import BASH, OTHER_KEY, WORKBENCH, Server
from tests.api.tool_router.conftest import DEFAULT_TOOLS, PREFIXES, SESSIONS, execute, make, path, refused
from tests.compat.requirements import promises


@promises("CC-0.05", "CC-1.28", "CC-1.35", "CC-1.36", "CC-4.10", "CC-9.15")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_session_is_answered_with_every_field_of_the_contract(server: Server, prefix: str) -> None:
    body = {
        "user_id": "user_1",
        "manage_connections": {"enable": True},
        "workbench": {"enable": True, "auto_offload_threshold": 20000, "sandbox_size": "standard"},
    }
    with server.client() as client:
        response = client.post(f"{prefix}/tool_router/session", json=body)
    assert response.status_code == 201
    answer = response.json()
    session_id = answer.pop("session_id")
    assert session_id.startswith("trs_")
    assert answer == {
        "mcp": {"type": "http", "url": f"{server.url}/tool_router/{session_id}/mcp"},
        "tool_router_tools": DEFAULT_TOOLS,
        "config": {
            "user_id": "user_1",
            "instant": False,
            "execute": {"enable_multi_execute": True},
            "search": {"enable": True},
            "preload": {"tools": []},
            "manage_connections": {
                "enabled": True,
                "enable": True,
                "enable_wait_for_connections": False,
                "enable_connection_removal": True,
            },
            "workbench": {
                "enable": True,
                "enabled": True,
                "proxy_execution_enabled": True,
                "enable_proxy_execution": True,
                "tool_execution_enabled": True,
                "enable_tool_execution": True,
                "sandbox_size": "standard",
                "auto_offload_threshold": 20000,
            },
            "multi_account": {"enable": False, "require_explicit_selection": False},
        },
        "config_version": 1,
        "experimental": {"assistive_prompt": None},
        "warnings": [],
    }


@promises("CC-4.11", "CC-4.14")
@pytest.mark.parametrize("prefix", PREFIXES)
def test_reading_and_attaching_answer_the_same_as_making(client: httpx.Client, prefix: str) -> None:
    session = make(client, toolkits={"enable": ["time"]}, tags=["readOnlyHint"])
    at = f"{prefix}/tool_router/session/{session['session_id']}"
    assert client.get(at).json() == session
    assert client.post(f"{at}/attach").json() == session
    assert client.post(f"{at}/attach", json={}).json() == session


@promises("CC-1.27", "CC-1.28")
def test_lists_and_choices_come_back_in_both_spellings(client: httpx.Client) -> None:
    tools = {"gmail": ["GMAIL_SEND"], "github": {"tags": {"disable": ["x"]}}}
    config = make(client, toolkits=["gmail", "github"], tools=tools, tags={"disable": ["destructiveHint"]})["config"]
    assert config["toolkits"] == {"enable": ["gmail", "github"], "enabled": ["gmail", "github"]}
    assert config["tags"] == {"disable": ["destructiveHint"], "disabled": ["destructiveHint"]}
    assert config["tools"]["gmail"] == {"enable": ["GMAIL_SEND"], "enabled": ["GMAIL_SEND"]}
    assert config["tools"]["github"]["tags"] == {"disable": ["x"], "disabled": ["x"]}


@promises("CC-1.27")
def test_what_has_no_effect_is_said_again_with_a_warning(client: httpx.Client) -> None:
    session = make(
        client,
        auth_configs={"gmail": "ac_1"},
        connected_accounts={"gmail": "ca_1", "github": ["ca_2"]},
        multi_account={"enable": True, "max_accounts_per_toolkit": 3},
        instant={"toolkits": {"enable": ["x"]}},
        experimental={"fast_mode": True},
        toolkits=["gmail"],
        preload={"tools": ["GMAIL_SEND"]},
        manage_connections={"enable_wait_for_connections": True, "callback_url": "https://here.example/"},
    )
    config = session["config"]
    assert config["auth_configs"] == {"gmail": "ac_1"}
    assert config["connected_accounts"] == {"gmail": ["ca_1"], "github": ["ca_2"]}
    assert config["multi_account"]["max_accounts_per_toolkit"] == 3
    assert config["instant"]["toolkits"] == {"enable": ["x"]}
    assert config["instant"]["return_instant_charge"] is False
    assert config["experimental"] == {"fast_mode": True}
    assert config["manage_connections"]["callback_url"] == "https://here.example/"
    said = [(warning["code"], warning["message"]) for warning in session["warnings"]]
    for code, word in [
        ("CONFIG_WITHOUT_EFFECT", "auth_configs"),
        ("CONFIG_WITHOUT_EFFECT", "connected_accounts"),
        ("CONFIG_WITHOUT_EFFECT", "multi_account"),
        ("CONFIG_WITHOUT_EFFECT", "instant"),
        ("CONFIG_WITHOUT_EFFECT", "experimental.fast_mode"),
        ("TOOLKIT_NOT_CONFIGURED", "gmail"),
        ("TOOL_NOT_AVAILABLE", "GMAIL_SEND"),
    ]:
        assert any(code == each and word in words for each, words in said), (code, word, said)
    assert "COMPOSIO_WAIT_FOR_CONNECTIONS" in session["tool_router_tools"]


WRONG = [
    ({"user": "x"}, 400, "user: is not a key"),
    ({"expected_config_version": 1}, 400, "expected_config_version: is not a key"),
    ({"workbench": {"enabled": True}}, 400, "workbench.enabled: is not a key"),
    ({"workbench": {"enable": "yes"}}, 400, "workbench.enable: "),
    ({"workbench": {"sandbox_size": "huge"}}, 400, "workbench.sandbox_size: "),
    ({"workbench": {"auto_offload_threshold": 0}}, 400, "workbench.auto_offload_threshold: "),
    ({"sandbox": {}, "workbench": {}}, 400, "sandbox: "),
    ({"toolkits": {"enable": [], "disable": []}}, 400, "toolkits: "),
    ({"toolkits": {"enable": ["a"], "require_approval": ["a"]}}, 400, "toolkits.require_approval: cannot be kept"),
    ({"experimental": {"permissions": {"default": "ask_every_call"}}}, 400, "experimental.permissions: cannot be kept"),
    ({"experimental": {"custom_tools": [{"slug": "A"}]}}, 400, "experimental.custom_tools"),
    ({"proxy_execute": {"enable": False}, "workbench": {"enable_proxy_execution": True}}, 400, "proxy_execute.enable"),
    ({"preset": "fast"}, 400, "preset: "),
    ({"preload": {"tools": 3}}, 400, "preload.tools"),
    ({"user_id": None}, 422, '"user_id"'),
    ({"user_id": ""}, 422, '"user_id"'),
    ({"user_id": 7}, 422, '"user_id"'),
]


@promises("CC-1.29", "CC-1.24", "CC-1.06")
@pytest.mark.parametrize(("more", "status", "words"), WRONG)
def test_a_wrong_request_is_refused_with_its_key(
    client: httpx.Client, more: dict[str, Any], status: int, words: str
) -> None:
    refused(client.post(SESSIONS, json={"user_id": "user_1", **more}), status, words)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"'])
def test_what_is_no_object_is_refused(client: httpx.Client, body: bytes) -> None:
    refused(client.post(SESSIONS, content=body), 400)


ROADS = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/attach"),
    ("GET", "/config_history"),
    ("GET", "/toolkits"),
    ("GET", "/tools"),
    ("POST", "/link"),
    ("POST", "/execute"),
    ("POST", "/execute_meta"),
    ("POST", "/search"),
    ("POST", "/proxy_execute"),
]
BODIES: dict[str, dict[str, Any]] = {
    "/link": {"toolkit": "time"},
    "/execute": {"tool_slug": BASH, "arguments": {"command": "true"}},
    "/execute_meta": {"slug": BASH, "arguments": {"command": "true"}},
    "/search": {"queries": [{"use_case": "x"}]},
    "/proxy_execute": {"toolkit_slug": "api", "endpoint": "/", "method": "GET"},
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("method", "rest"), ROADS)
@pytest.mark.parametrize("whose", ["nobody's", "another's", "deleted"])
def test_a_session_that_this_key_has_not_is_not_found(
    server: Server, whose: str, method: str, rest: str, prefix: str
) -> None:
    with server.client() as client, server.client(OTHER_KEY) as other:
        session_id = "trs_nobodyhasthisone" if whose == "nobody's" else make(other)["session_id"]
        if whose == "deleted":
            other.delete(f"{SESSIONS}/{session_id}")
        asking = other if whose == "deleted" else client
        response = asking.request(
            method,
            f"{prefix}/tool_router/session/{session_id}{rest}",
            json=BODIES.get(rest, {}) if method in ("POST", "PATCH") else None,
        )
        refused(response, 404, session_id)


@pytest.mark.parametrize("road", ["/tool_router/nothing", "/tool_router/session/x/y/z", "/nothing"])
def test_what_is_at_no_path_is_answered_with_the_envelope(client: httpx.Client, road: str) -> None:
    refused(client.get(f"/api/v3.1{road}"), 404)
    refused(client.put(SESSIONS), 405)
    with httpx.Client(base_url=client.base_url) as stranger:
        refused(stranger.post(SESSIONS, json={"user_id": "x"}), 401)


# --- changes ------------------------------------------------------------------------------------------


@promises("CC-1.31", "CC-4.12")
def test_a_change_keeps_what_it_does_not_name_and_counts_up(client: httpx.Client) -> None:
    session = make(client, toolkits=["time"], workbench={"auto_offload_threshold": 300})
    changed = client.patch(path(session), json={"sandbox": {"sandbox_size": "large"}}).json()
    assert changed["config_version"] == 2
    assert changed["config"]["workbench"]["sandbox_size"] == "large"
    assert changed["config"]["workbench"]["auto_offload_threshold"] == 300
    assert changed["config"]["toolkits"] == session["config"]["toolkits"]
    assert set(changed) == set(session)
    assert client.get(path(session)).json() == changed


@promises("CC-1.30", "CC-1.32")
def test_null_clears_a_block_and_maps_are_replaced(client: httpx.Client) -> None:
    session = make(client, toolkits=["time"], tools={"time": ["TIME_A"]}, workbench={"enable": False})
    cleared = client.patch(path(session), json={"toolkits": None, "workbench": None, "tools": {}}).json()["config"]
    assert "toolkits" not in cleared
    assert "tools" not in cleared
    assert cleared["workbench"]["enable"] is True


@promises("CC-0.15", "CC-1.33")
def test_a_change_of_another_version_is_a_conflict(client: httpx.Client) -> None:
    session = make(client)
    at = path(session)
    assert client.patch(at, json={"expected_config_version": 1, "search": {"enable": False}}).status_code == 200
    error = refused(client.patch(at, json={"expected_config_version": 1}), 409, "is 1", "version 2")
    assert error["slug"] == "Resource_Conflict"
    assert client.get(at).json()["config_version"] == 2


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"user_id": "x"}, 400, "user_id: is not a key"),
        ({"preset": "direct_tools"}, 400, "preset"),
        ({"instant": None}, 400, "instant"),
        ({"workbench": {"sandbox_size": None, "enable": 3}}, 400, "workbench.enable"),
        ({"workbench": 3}, 400, "workbench"),
        ({"expected_config_version": "1"}, 422, "expected_config_version"),
        ({"expected_config_version": True}, 422, "expected_config_version"),
        ({"expected_config_version": 0}, 422, "expected_config_version"),
        ({"expected_config_version": 10**12}, 422, "expected_config_version"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(
    client: httpx.Client, body: dict[str, Any], status: int, words: str
) -> None:
    session = make(client)
    refused(client.patch(path(session), json=body), status, words)
    assert client.get(path(session)).json() == session


def test_of_changes_of_one_version_at_once_exactly_one_wins(server: Server) -> None:
    with server.client() as client, ThreadPoolExecutor(10) as threads:
        session = make(client)
        bodies = [{"expected_config_version": 1, "tags": [f"tag{n}"]} for n in range(20)]
        answers = list(threads.map(lambda body: client.patch(path(session), json=body), bodies))
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
        winner = next(answer.json() for answer in answers if answer.status_code == 200)
        assert client.get(path(session)).json() == winner


@promises("CC-1.34", "CC-4.15")
def test_history_lists_all_versions_page_by_page(client: httpx.Client) -> None:
    session = make(client)
    for size in ("medium", "large", "xlarge", "standard"):
        client.patch(path(session), json={"workbench": {"sandbox_size": size}})
    at = path(session, "/config_history")
    whole = client.get(at).json()
    assert [item["version"] for item in whole["items"]] == [5, 4, 3, 2, 1]
    assert [item["is_current"] for item in whole["items"]] == [True, False, False, False, False]
    sizes = [item["config"]["workbench"]["sandbox_size"] for item in whole["items"]]
    assert sizes == ["standard", "xlarge", "large", "medium", "standard"]
    assert set(whole["items"][0]) == {"version", "is_current", "created_at", "config"}
    assert (whole["next_cursor"], whole["total_pages"], whole["current_page"], whole["total_items"]) == (None, 1, 1, 5)
    pages: list[tuple[list[int], int, int]] = []
    cursor: str | None = None
    while not pages or cursor:
        page = client.get(at, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        pages.append(([item["version"] for item in page["items"]], page["current_page"], page["total_pages"]))
        cursor = page["next_cursor"]
    assert pages == [([5, 4], 1, 3), ([3, 2], 2, 3), ([1], 3, 3)]
    refused(client.get(at, params={"cursor": "nonsense"}), 400, "cursor")
    refused(client.get(at, params={"limit": 0}), 422, "limit")


# --- attach, delete -----------------------------------------------------------------------------------


def test_a_clients_own_tools_get_their_names_and_are_not_kept(client: httpx.Client) -> None:
    own = {"name": "n", "description": "d", "input_schema": {"type": "object", "properties": {}}}
    experimental = {
        "custom_tools": [
            {"slug": "shout", **own},
            {"slug": "MAIL", "extends_toolkit": "gmail", "preload": True, **own},
        ],
        "custom_toolkits": [{"slug": "crm", "name": "c", "description": "d", "tools": [{"slug": "FIND", **own}]}],
    }
    session = make(client, experimental=experimental)
    said = session["experimental"]
    assert [tool["slug"] for tool in said["custom_tools"]] == ["LOCAL_SHOUT", "LOCAL_GMAIL_MAIL"]
    assert [tool["original_slug"] for tool in said["custom_tools"]] == ["shout", "MAIL"]
    assert said["custom_tools"][1]["preload"] is True
    assert said["custom_toolkits"][0]["tools"][0]["slug"] == "LOCAL_CRM_FIND"
    assert client.post(path(session, "/attach"), json={"experimental": experimental}).json()["experimental"] == said
    again = client.get(path(session)).json()
    assert again["experimental"] == {"assistive_prompt": None}
    assert "experimental" not in again["config"]
    refused(client.post(path(session, "/attach"), json={"toolkits": []}), 400, "toolkits: is not a key")


@promises("CC-0.15", "CC-4.13")
def test_a_deleted_session_is_gone_with_what_ran_in_it(client: httpx.Client) -> None:
    session = make(client)
    execute(client, session, WORKBENCH, {"code_to_execute": "x = 1"})
    response = client.delete(path(session))
    assert (response.status_code, response.json()) == (200, {"session_id": session["session_id"], "deleted": True})
    refused(client.delete(path(session)), 404)


@promises("CC-1.40")
def test_each_session_has_a_sandbox_of_its_own_whatever_its_user(client: httpx.Client) -> None:
    first, second = make(client), make(client)
    execute(client, first, WORKBENCH, {"code_to_execute": "x = 1"})
    answer = execute(client, second, WORKBENCH, {"code_to_execute": "x"})
    assert answer["error"] == "NameError: name 'x' is not defined"


@promises("CC-9.11")
def test_a_label_is_taken_where_an_id_is(server: Server, session: str) -> None:
    server.run("x = 41", session=session)
    with server.client() as client:
        at = f"{SESSIONS}/{session}"
        answer = client.post(f"{at}/execute", json={"tool_slug": WORKBENCH, "arguments": {"code_to_execute": "x + 1"}})
        assert answer.json()["data"]["results"] == "42"
        read = client.get(at).json()
        assert read["session_id"] == answer.json()["data"]["session"]["id"]
        assert read["config"]["user_id"] == "default"
        assert client.patch(at, json={"search": {"enable": False}}).json()["config_version"] == 2
        assert client.delete(at).json() == {"session_id": read["session_id"], "deleted": True}


@promises("CC-9.14")
def test_another_size_is_told_by_the_next_answer(client: httpx.Client) -> None:
    session = make(client, workbench={"sandbox_size": "medium"})
    execute(client, session, BASH, {"command": "true"})
    client.patch(path(session), json={"workbench": {"sandbox_size": "large"}})
    said = execute(client, session, BASH, {"command": "true"})["data"]["session"]["instructions"]
    assert said.startswith("Size large changes nothing")
    detail = client.get(f"/v1/sessions/{session['session_id']}").json()
    assert detail["sandbox"]["size"] == "large"
