"""What a session's configuration allows, as tables."""

from typing import Any

import pytest

from sandbox.errors import HelperRefused, InvalidArguments, InvalidRequest
from sandbox.gateway.policy import Policies, Policy, normal_slug, toolkit_of
from sandbox.sessions.session_config import changed_config, read_config
from tests.compat.requirements import promises
from tests.gateway.conftest import a_session

SERVERS = ("time", "my-files", "google", "google_maps")


def test_the_search_toolkit_of_the_hosted_backend_is_no_meta_tool() -> None:
    policy({}).check_tool("COMPOSIO_SEARCH_EXA_ANSWER")
    with pytest.raises(HelperRefused, match="toolkit composio_search"):
        policy({"toolkits": {"disable": ["composio_search"]}}).check_tool("COMPOSIO_SEARCH_EXA_ANSWER")


def policy(config: dict[str, Any]) -> Policy:
    return Policies(SERVERS).of(a_session(config))


@pytest.mark.parametrize(
    ("slug", "toolkit"),
    [
        ("TIME_GET_CURRENT_TIME", "time"),
        ("MY_FILES_READ", "my_files"),
        ("GOOGLE_MAPS_GEOCODE", "google_maps"),
        ("GOOGLE_SEARCH", "google"),
        ("GMAIL_SEND_EMAIL", "gmail"),
        ("TIMEKEEPER_ASK", "timekeeper"),
        ("PING", "ping"),
    ],
)
def test_a_tool_belongs_to_the_longest_toolkit_that_it_begins_with(slug: str, toolkit: str) -> None:
    assert toolkit_of(slug, ("time", "my_files", "google", "google_maps")) == toolkit


ALLOWED = [
    ({}, "GMAIL_SEND_EMAIL"),
    ({"toolkits": ["gmail"]}, "GMAIL_SEND_EMAIL"),
    ({"toolkits": {"enable": ["GMAIL"]}}, "GMAIL_SEND_EMAIL"),
    ({"toolkits": {"enable": ["my-files"]}}, "MY_FILES_READ"),
    ({"toolkits": {"disable": ["gmail"]}}, "GITHUB_GET_REPO"),
    ({"tools": {"gmail": ["GMAIL_SEND_EMAIL"]}}, "GMAIL_SEND_EMAIL"),
    ({"tools": {"gmail": {"enable": ["gmail_send_email"]}}}, "GMAIL_SEND_EMAIL"),
    ({"tools": {"gmail": {"enable": []}}}, "GITHUB_GET_REPO"),
    ({"tools": {"gmail": {"disable": ["GMAIL_DELETE"]}}}, "GMAIL_SEND_EMAIL"),
    ({"toolkits": None, "tools": None, "workbench": None}, "GMAIL_SEND_EMAIL"),
]

REFUSED = [
    ({}, "COMPOSIO_SEARCH_TOOLS", "meta tool"),
    ({"toolkits": ["composio"]}, "COMPOSIO_MULTI_EXECUTE_TOOL", "meta tool"),
    ({"toolkits": ["github"]}, "GMAIL_SEND_EMAIL", "toolkits.enable: github"),
    ({"toolkits": {"enable": []}}, "GMAIL_SEND_EMAIL", "toolkits.enable: none"),
    ({"toolkits": {"disable": ["gmail"]}}, "GMAIL_SEND_EMAIL", "toolkits.disable"),
    ({"toolkits": {"disable": ["google_drive"]}}, "GOOGLE_DRIVE_READ", "toolkits.disable"),
    ({"toolkits": {"enable": ["google"]}}, "GOOGLE_MAPS_GEOCODE", "toolkits.enable: google"),
    ({"tools": {"gmail": ["GMAIL_FETCH"]}}, "GMAIL_SEND_EMAIL", "tools.gmail.enable: GMAIL_FETCH"),
    ({"tools": {"GMAIL": {"disable": ["GMAIL_SEND_EMAIL"]}}}, "GMAIL_SEND_EMAIL", "tools.gmail.disable"),
    ({"tools": {"my-files": {"disable": ["MY_FILES_READ"]}}}, "MY_FILES_READ", "tools.my_files.disable"),
]


@pytest.mark.parametrize(("config", "slug"), ALLOWED)
def test_a_tool_that_nothing_forbids_is_allowed(config: dict[str, Any], slug: str) -> None:
    policy(config).check_tool(slug)


@pytest.mark.parametrize(("config", "slug", "words"), REFUSED)
def test_a_refusal_names_what_forbids_the_tool_and_what_would_allow_it(
    config: dict[str, Any], slug: str, words: str
) -> None:
    with pytest.raises(HelperRefused) as refused:
        policy(config).check_tool(slug)
    assert words in refused.value.message
    assert refused.value.suggested_fix


TAGS = [
    ({"tags": ["readOnlyHint"]}, ("readOnlyHint",), None),
    ({"tags": ["readOnlyHint"]}, ("destructiveHint",), "tags.enable: readOnlyHint"),
    ({"tags": {"disable": ["destructiveHint"]}}, ("destructiveHint", "openWorldHint"), "tags.disable"),
    ({"tags": {"disable": ["destructiveHint"]}}, (), None),
    ({"tags": ["readOnlyHint"]}, None, "not known"),
    ({"tools": {"gmail": {"tags": ["important"]}}, "tags": ["readOnlyHint"]}, ("important",), None),
    ({"tools": {"gmail": {"tags": ["important"]}}}, ("readOnlyHint",), "tools.gmail.tags.enable"),
    ({"tools": {"github": {"tags": ["important"]}}}, None, None),
    ({}, None, None),
]


@pytest.mark.parametrize(("config", "tags", "words"), TAGS)
def test_tools_are_chosen_by_their_tags(
    config: dict[str, Any], tags: tuple[str, ...] | None, words: str | None
) -> None:
    if words is None:
        policy(config).check_tags("GMAIL_SEND_EMAIL", tags)
        return
    assert policy(config).wants_tags("GMAIL_SEND_EMAIL")
    with pytest.raises(HelperRefused) as refused:
        policy(config).check_tags("GMAIL_SEND_EMAIL", tags)
    assert words in refused.value.message


HELPERS = [
    ({"helpers": {"disable": ["web_search"]}}, "web_search", "helpers.disable"),
    ({"helpers": {"disable": ["web_search"]}}, "invoke_llm", None),
    ({"workbench": {"enable_proxy_execution": False}}, "proxy_execute", "workbench.enable_proxy_execution"),
    ({"workbench": {"enable_proxy_execution": False}}, "run_composio_tool", None),
    ({"proxy_execute": {"enable": False}}, "proxy_execute", "proxy_execute.enable"),
    ({"proxy_execute": {"enable": True}}, "proxy_execute", None),
    (
        {"proxy_execute": {"enable": True}, "workbench": {"enable_proxy_execution": False}},
        "proxy_execute",
        "workbench.enable_proxy_execution",
    ),
    ({"workbench": {"enable_tool_execution": False}}, "run_composio_tool", "workbench.enable_tool_execution"),
    ({"workbench": {"enable": False}}, "invoke_llm", "workbench.enable"),
]


@promises("CC-1.21")
@pytest.mark.parametrize(("config", "helper", "words"), HELPERS)
def test_helpers_are_switched_off_by_name(config: dict[str, Any], helper: str, words: str | None) -> None:
    if words is None:
        policy(config).check_helper(helper)
        return
    with pytest.raises(HelperRefused, match=words.replace(".", r"\.")):
        policy(config).check_helper(helper)


@promises("CC-1.23")
def test_raw_requests_from_outside_are_switched_off_with_the_tool_for_them() -> None:
    policy({"workbench": {"enable_proxy_execution": False}}).check_requests()
    with pytest.raises(HelperRefused, match=r"proxy_execute\.enable"):
        policy({"proxy_execute": {"enable": False}}).check_requests()


@pytest.mark.parametrize(
    ("asked", "given"), [(None, "ca_1"), ("ca_2", "ca_2"), ("ca_3", None)], ids=["none", "allowed", "another"]
)
def test_a_session_names_the_accounts_of_a_toolkit(asked: str | None, given: str | None) -> None:
    rules = policy({"connected_accounts": {"Gmail": ["ca_1", "ca_2"]}})
    if given is None:
        with pytest.raises(HelperRefused, match=r"connected_accounts\.gmail"):
            rules.account_for("GMAIL_SEND", asked)
    else:
        assert rules.account_for("GMAIL_SEND", asked) == given
    assert rules.account_for("GITHUB_STAR", asked) == asked


CHANGES = [
    ({"toolkits": {"enable": ["a"]}}, {"toolkits": None}, {}),
    ({"tools": {"a": {"enable": ["A_B"]}}}, {"tools": {"b": {"tags": ["x"]}}}, {"tools": {"b": {"tags": ["x"]}}}),
    ({"auth_configs": {"a": "1"}}, {"auth_configs": {"b": "2"}}, {"auth_configs": {"b": "2"}}),
    ({"connected_accounts": {"a": ["1"]}}, {"connected_accounts": {}}, {"connected_accounts": {}}),
    (
        {"workbench": {"sandbox_size": "large", "auto_offload_threshold": 300}},
        {"workbench": {"sandbox_size": "medium"}},
        {"workbench": {"sandbox_size": "medium", "auto_offload_threshold": 300}},
    ),
    ({"workbench": {"sandbox_size": "large"}}, {"workbench": None}, {}),
    (
        {"manage_connections": {"callback_url": "http://a/", "enable": False}},
        {"manage_connections": {"callback_url": None}},
        {"manage_connections": {"enable": False}},
    ),
    ({"multi_account": {"enable": True}}, {"multi_account": {"require_explicit_selection": True}},
     {"multi_account": {"enable": True, "require_explicit_selection": True}}),
    ({"experimental": {"a": 1}}, {"experimental": {"b": 2}}, {"experimental": {"a": 1, "b": 2}}),
    ({"preload": {"tools": ["A_B"]}}, {"preload": {"tools": "all"}}, {"preload": {"tools": "all"}}),
    ({"search": {"enable": False}}, {}, {"search": {"enable": False}}),
]  # fmt: skip


@promises("CC-1.30", "CC-1.31", "CC-1.32")
@pytest.mark.parametrize(("old", "change", "new"), CHANGES)
def test_a_change_merges_some_blocks_and_replaces_the_others(
    old: dict[str, Any], change: dict[str, Any], new: dict[str, Any]
) -> None:
    assert changed_config(old, change) == new


@promises("CC-1.51")
@pytest.mark.parametrize(
    ("config", "toolkit", "words"),
    [
        ({"toolkits": ["github"]}, "github", None),
        ({"toolkits": ["github"]}, "gmail", "toolkits.enable"),
        ({"toolkits": {"disable": ["gmail"]}}, "gmail", "toolkits.disable"),
        ({}, "composio", "meta tools"),
    ],
)
def test_a_proxy_obeys_the_toolkits_of_the_session(config: dict[str, Any], toolkit: str, words: str | None) -> None:
    if words is None:
        policy(config).check_toolkit(toolkit)
        return
    with pytest.raises(HelperRefused, match=words):
        policy(config).check_toolkit(toolkit)


def test_a_configuration_that_cannot_be_read_allows_nothing() -> None:
    with pytest.raises(HelperRefused, match="cannot be read"):
        policy({"toolkits": 5})


def test_a_policy_follows_the_version_of_the_configuration() -> None:
    policies = Policies(())
    session = a_session({"toolkits": ["gmail"]})
    policies.of(session).check_tool("GMAIL_SEND")
    changed = type(session)(
        session.id, "ann", None, None, session.created_at, session.updated_at, {"toolkits": ["github"]}, 2
    )
    with pytest.raises(HelperRefused):
        policies.of(changed).check_tool("GMAIL_SEND")


@pytest.mark.parametrize("slug", ["", "  ", "A B", "A\nB", "x" * 201])
def test_what_is_no_slug_is_named(slug: str) -> None:
    with pytest.raises(InvalidArguments, match="tool_slug"):
        normal_slug(slug)


WRONG = [
    ([], "config"),
    ({"toolkitz": []}, "config.toolkitz"),
    ({"workbench": {"enabled": True}}, "config.workbench.enabled"),
    ({"workbench": {"enable": "yes"}}, "config.workbench.enable"),
    ({"workbench": {"auto_offload_threshold": 0}}, "config.workbench.auto_offload_threshold"),
    ({"toolkits": {"enable": [1]}}, "config.toolkits.enable"),
    ({"toolkits": {"enable": ["a"], "disable": ["b"]}}, "config.toolkits"),
    ({"toolkits": [""]}, "config.toolkits"),
    ({"tools": {"gmail": 3}}, "config.tools"),
    ({"tools": {"gmail": {"enable": ["A"], "disable": []}}}, "config.tools.gmail"),
    ({"helpers": {"disable": ["web_serch"]}}, "config.helpers.disable"),
    (
        {"proxy_execute": {"enable": False}, "workbench": {"enable_proxy_execution": True}},
        "config.proxy_execute.enable",
    ),
    ({"workbench": {"sandbox_size": "huge"}}, "config.workbench.sandbox_size"),
    ({"search": {"enable": 1}}, "config.search.enable"),
    ({"execute": {"multi": True}}, "config.execute.multi"),
    ({"preload": {"tools": ["A", ""]}}, "config.preload.tools"),
    ({"multi_account": {"max_accounts_per_toolkit": 11}}, "config.multi_account.max_accounts_per_toolkit"),
    ({"connected_accounts": {"gmail": 3}}, "config.connected_accounts"),
    ({"auth_configs": {"gmail": ""}}, "config.auth_configs.gmail"),
    ({"manage_connections": {"callback_url": "x" * 3000}}, "config.manage_connections.callback_url"),
    ({"instant": True}, "config.instant"),
    ({"experimental": {"x": "y" * 300_000}}, "config.experimental"),
]


@promises("CC-1.29", "CC-1.24")
@pytest.mark.parametrize(("config", "key"), WRONG)
def test_a_wrong_key_of_a_configuration_is_named(config: object, key: str) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        read_config(config)
    assert wrong.value.message.startswith(key)


@pytest.mark.parametrize("config", [{}, *(config for config, _ in ALLOWED), *(config for config, *_ in HELPERS)])
def test_a_configuration_is_the_same_after_it_was_written_and_read(config: dict[str, Any]) -> None:
    read = read_config(config)
    assert read_config(read.as_json()) == read
