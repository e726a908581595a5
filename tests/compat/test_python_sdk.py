"""The Python package `composio`, unmodified, of three generations, against a real server."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest

from tests.api.conftest import KEY, Server
from tests.compat.conftest import python_of
from tests.compat.environments import INSTALL_S, Environments
from tests.compat.requirements import promises
from tests.compat.runs import RUN_S, Said, run_program
from tests.compat.versions import MIDDLE, NEWEST, OLD, SDKS, PythonEnvironment

META_TOOLS: Final = {
    "COMPOSIO_SEARCH_TOOLS",
    "COMPOSIO_GET_TOOL_SCHEMAS",
    "COMPOSIO_MANAGE_CONNECTIONS",
    "COMPOSIO_MULTI_EXECUTE_TOOL",
    "COMPOSIO_REMOTE_WORKBENCH",
    "COMPOSIO_REMOTE_BASH_TOOL",
}
RUN_TOOLS: Final = {"COMPOSIO_REMOTE_WORKBENCH", "COMPOSIO_REMOTE_BASH_TOOL"}

pytestmark = pytest.mark.timeout(INSTALL_S + RUN_S)

every = pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.name, indirect=True)
since_sessions = pytest.mark.parametrize("sdk", [NEWEST, MIDDLE], ids=lambda sdk: sdk.name, indirect=True)
newest = pytest.mark.parametrize("sdk", [NEWEST], ids=lambda sdk: sdk.name, indirect=True)
middle = pytest.mark.parametrize("sdk", [MIDDLE], ids=lambda sdk: sdk.name, indirect=True)
old = pytest.mark.parametrize("sdk", [OLD], ids=lambda sdk: sdk.name, indirect=True)


Runs = Callable[[PythonEnvironment], Said]


@pytest.fixture(scope="session")
def runs(environments: Environments, compat: Server, full: Server, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """What each generation said; it runs once."""

    @cache
    def said(wanted: PythonEnvironment) -> Said:
        python = python_of(environments, wanted)
        return run_program(python, "sdk.py", tmp_path_factory.mktemp("sdk"), compat.url, full_url=full.url)

    return said


@pytest.fixture
def sdk(runs: Runs, request: pytest.FixtureRequest) -> Said:
    """What one generation said."""
    return runs(request.param)


@every
@promises("CC-0.05", "CC-4.10", "CC-4.11", "CC-5.20")
def test_a_session_is_made_and_found_again(sdk: Said) -> None:
    made = sdk.value("create")
    assert made["session_id"].startswith("trs_")
    assert sdk.value("use") == made["session_id"]


@every
@promises("CC-0.13", "CC-4.50")
def test_the_place_for_mcp_clients_comes_with_the_key(sdk: Said, compat: Server) -> None:
    mcp = sdk.value("create")["mcp"]
    assert mcp["type"] == "http"
    assert mcp["url"].startswith(compat.url)
    assert mcp["headers"] == {"x-api-key": KEY}


@newest
@promises("CC-5.21")
def test_the_place_for_mcp_clients_may_be_asked_for(sdk: Said) -> None:
    assert sdk.value("create_with_mcp")["headers"] == {"x-api-key": KEY}


@every
@promises("CC-1.36", "CC-4.31")
def test_the_six_tools_come_in_the_form_of_openai(sdk: Said) -> None:
    assert set(sdk.value("openai_tools")) == META_TOOLS


@every
@promises("CC-0.03", "CC-4.01", "CC-4.23")
def test_what_a_model_wants_is_run_by_the_user(sdk: Said) -> None:
    (answer,) = sdk.value("openai_call")
    assert answer["data"]["stdout"] == "hello\n"
    assert (answer["error"], answer["successful"]) == (None, True)


@since_sessions
@promises("CC-0.02")
def test_what_a_model_wants_is_run_in_its_session(sdk: Said) -> None:
    (answer,) = sdk.value("openai_session_call")
    assert answer["data"]["results"] == "42"


@every
@promises("CC-0.02", "CC-0.04", "CC-1.01", "CC-1.02", "CC-4.01", "CC-4.02", "CC-4.03", "CC-9.07", "CC-9.08")
def test_an_agents_tools_share_variables_and_files_and_tell_how_code_ended(sdk: Said) -> None:
    first, kept, seen, failed = sdk.value("agentic")
    assert (first["data"]["stdout"], first["error"], first["successful"]) == ("42\n", None, True)
    assert kept["data"]["results"] == "41"
    assert (seen["data"]["stdout"], seen["data"]["exit_code"], seen["successful"]) == ("by python", 3, True)
    assert failed["successful"] is False
    assert failed["error"] == "ZeroDivisionError: division by zero"


@every
@promises("CC-1.50", "CC-7.05", "CC-7.08", "CC-9.04")
def test_a_large_answer_is_a_preview_and_a_file_that_the_next_tool_reads(sdk: Said) -> None:
    answer, size = sdk.value("agentic_large")
    (result,) = answer["data"]["results"]
    assert {"data_preview", "structure_info", "successful"} <= set(result["response"])
    assert answer["data"]["remote_file_info"]["file_path"].endswith(".json")
    assert int(size["data"]["stdout"]) > 50000


@newest
@promises("CC-4.03")
def test_the_published_provider_of_an_agent_framework_works(sdk: Said) -> None:
    framework = sdk.value("agents_framework")
    assert set(framework["tools"]) == META_TOOLS
    assert framework["answer"]["data"]["stdout"] == "framework\n"


@since_sessions
@promises("CC-0.02", "CC-2.15", "CC-4.25", "CC-6.01")
def test_a_session_executes_meta_tools_and_others(sdk: Said) -> None:
    python, bash, failed, echo = sdk.value("execute")
    assert python["data"]["results"] == "2"
    assert (bash["data"]["stdout"], bash["data"]["stderr"]) == ("out", "err")
    assert failed["result_type"] == "failed"
    assert failed["error"] == "NameError: name 'unknown_name' is not defined"
    assert echo["data"] == {"text": "said"}
    assert [each["result_type"] for each in (python, bash, echo)] == ["completed"] * 3
    assert all(each["log_id"] for each in (python, bash, failed, echo))


@since_sessions
@promises("CC-1.50")
def test_an_execution_that_does_not_ask_for_it_keeps_its_answer_whole(sdk: Said) -> None:
    assert sdk.value("execute_large") > 50000


@newest
@promises("CC-0.04")
def test_a_session_executes_by_the_road_of_meta_tools(sdk: Said) -> None:
    assert sdk.value("execute_meta")["data"]["results"] == "41"


@since_sessions
@promises("CC-2.13", "CC-2.14")
def test_several_tools_have_their_answers_and_errors_in_order(sdk: Said) -> None:
    data = sdk.value("multi_execute")["data"]
    assert (data["total_count"], data["success_count"], data["error_count"]) == (2, 1, 1)
    assert [result["index"] for result in data["results"]] == [0, 1]
    assert data["results"][0]["response"]["data"] == {"text": "one"}
    assert data["results"][1]["response"] is None
    assert "GMAIL_SEND_EMAIL" in data["results"][1]["error"]
    assert data["remote_file_info"]["file_path"].endswith(".json")


@every
@promises("CC-4.23", "CC-4.32")
def test_a_tool_is_executed_without_a_session(sdk: Said) -> None:
    answer = sdk.value("direct")
    assert (answer["data"]["results"], answer["successful"]) == ("23", True)


@since_sessions
@promises("CC-4.12")
def test_a_session_is_changed(sdk: Said) -> None:
    changed = sdk.value("update")
    assert changed["preload"] == {"tools": ["ECHO_ECHO"]}
    assert changed["version"] in (None, 2)


@newest
@promises("CC-1.33", "CC-5.01", "CC-5.11")
def test_a_change_of_an_old_version_is_a_conflict(sdk: Said) -> None:
    stale = sdk.raised("stale_update")
    assert stale["status"] == 409
    assert "SessionConfigConflictError" in stale["raised"]


@newest
@promises("CC-1.34", "CC-4.15")
def test_the_history_of_a_session_is_listed(sdk: Said) -> None:
    assert sdk.value("history") == [[2, True], [1, False]]


@since_sessions
@promises("CC-4.21")
def test_tools_are_found_by_use_case(sdk: Said) -> None:
    found = sdk.value("search")
    assert found["success"] is True
    assert found["results"][0]["primary_tool_slugs"] == ["ECHO_ECHO"]
    assert "ECHO_ECHO" in found["tool_schemas"]


@every
@promises("CC-4.16")
def test_toolkits_are_listed_with_their_connections(sdk: Said) -> None:
    listed = sdk.value("toolkits")
    assert {item["slug"]: item["connection"]["is_active"] for item in listed["items"]} == {"echo": True, "github": True}


@since_sessions
@promises("CC-4.22")
def test_a_raw_request_reaches_an_api(sdk: Said) -> None:
    answer = sdk.value("proxy")
    assert answer["status"] == 200
    assert answer["data"]["target"] == "/v1/user?per_page=1"


@since_sessions
@promises("CC-0.12", "CC-1.07", "CC-4.42", "CC-4.43", "CC-4.44", "CC-5.30")
def test_files_that_code_made_are_listed_linked_and_deleted(sdk: Said, compat: Server) -> None:
    said = sdk.value("files")
    assert "a/made.txt" in [item["mount_relative_path"] for item in said["list"]["items"]]
    assert [item["mount_relative_path"] for item in said["below"]["items"]] == ["a/made.txt"]
    assert said["download"] == ["a/made.txt", "/mnt/files", True]
    assert said["url"].startswith(compat.url)
    assert said["delete"] == {"mount_relative_path": "a/made.txt", "sandbox_mount_prefix": "/mnt/files"}
    assert said["after"]["items"] == []


@since_sessions
@pytest.mark.parametrize("step", ["upload_bytes", "download_bytes"])
@promises("CC-5.30")
def test_the_package_itself_keeps_bytes_of_files_from_an_address_that_is_not_public(sdk: Said, step: str) -> None:
    assert "BlockedInternalUrlError" in sdk.raised(step)["raised"]


@since_sessions
@promises("CC-1.25")
def test_the_preset_without_meta_tools_has_the_toolkits_tools(sdk: Said) -> None:
    names = sdk.value("direct_tools")
    assert "ECHO_ECHO" in names
    assert not META_TOOLS & set(names)


@since_sessions
@promises("CC-0.15", "CC-1.20")
def test_a_session_without_a_sandbox_does_not_list_its_tools(sdk: Said) -> None:
    assert not RUN_TOOLS & set(sdk.value("switched_off"))


_ERRORS: Final = [
    ("wrong_key", 401, "AuthenticationError", SDKS),
    ("unknown_tool", 404, "NotFoundError", SDKS),
    ("unknown_session", 404, "NotFoundError", SDKS),
    ("bad_arguments", 422, "UnprocessableEntityError", SDKS),
    ("switched_off_call", 400, "BadRequestError", (NEWEST, MIDDLE)),
    ("authorize", 400, "BadRequestError", SDKS),
    ("delete_twice", 404, "NotFoundError", (NEWEST, MIDDLE)),
]


@pytest.mark.parametrize(
    ("sdk", "step", "status", "kind"),
    [
        pytest.param(each, step, status, kind, id=f"{step}-{each.name}")
        for step, status, kind, who in _ERRORS
        for each in who
    ],
    indirect=["sdk"],
)
@promises("CC-5.01", "CC-0.15", "CC-4.17")
def test_each_error_is_the_exception_of_its_status(sdk: Said, step: str, status: int, kind: str) -> None:
    error = sdk.raised(step)
    assert error["status"] == status
    assert kind in error["raised"]


@newest
@pytest.mark.parametrize("step", ["wrong_key", "unknown_tool", "unknown_session", "bad_arguments", "switched_off_call"])
@promises("CC-5.02", "CC-0.07")
def test_the_newest_finds_the_details_of_every_error(sdk: Said, step: str) -> None:
    error = sdk.raised(step)
    assert error["details"], error
    details: dict[str, Any] = error["details"]
    assert {"message", "code", "slug", "status", "request_id"} <= set(details)
    assert details["status"] == error["status"]


@every
@promises("CC-0.08", "CC-5.10", "CC-8.09")
def test_a_refused_execution_is_sent_once(sdk: Said) -> None:
    assert sdk.value("overloaded") == {"status": 503, "requests": 1}


@pytest.mark.parametrize("sdk", [MIDDLE, OLD], ids=lambda sdk: sdk.name, indirect=True)
@promises("CC-5.12")
def test_a_client_that_repeats_its_request_gets_the_answer_of_the_one_execution(sdk: Said) -> None:
    said = sdk.value("impatient")
    assert said["ran"] == "x"
    assert said["answer"]["data"]["stdout"] == "done\n"


@since_sessions
@promises("CC-4.13")
def test_a_session_is_deleted(sdk: Said) -> None:
    assert sdk.value("delete")["deleted"] is True
