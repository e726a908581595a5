"""The TypeScript package `@composio/core`, unmodified, against a real server."""

import json

import pytest

from tests.api.conftest import KEY, Server
from tests.compat.conftest import node_of
from tests.compat.environments import INSTALL_S, Environments
from tests.compat.requirements import promises
from tests.compat.runs import RUN_S, Said, run_program
from tests.compat.test_python_sdk import META_TOOLS, RUN_TOOLS

pytestmark = pytest.mark.timeout(INSTALL_S + RUN_S)


@pytest.fixture(scope="module")
def sdk(environments: Environments, compat: Server, tmp_path_factory: pytest.TempPathFactory) -> Said:
    """What the package said; it runs once."""
    folder = node_of(environments)
    node = folder / "node_modules" / ".bin" / "node"
    return run_program(node, "sdk.mjs", tmp_path_factory.mktemp("sdk"), compat.url, modules=str(folder))


@promises("CC-4.04", "CC-4.10", "CC-4.11", "CC-0.13", "CC-5.21")
def test_a_session_is_made_found_again_and_has_a_place_for_mcp_clients(sdk: Said, compat: Server) -> None:
    made = sdk.value("create")
    assert sdk.value("use") == made["session_id"]
    assert made["mcp"]["url"].startswith(compat.url)
    assert made["mcp"]["headers"]["x-api-key"] == KEY


@promises("CC-4.04", "CC-1.36")
def test_the_six_tools_come_in_the_form_of_openai(sdk: Said) -> None:
    assert set(sdk.value("openai_tools")) == META_TOOLS


@promises("CC-4.04")
@pytest.mark.parametrize(("step", "stdout"), [("openai_call", "hello\n"), ("openai_session_call", "42\n")])
def test_what_a_model_wants_is_run(sdk: Said, step: str, stdout: str) -> None:
    (message,) = sdk.value(step)
    answer = json.loads(message["content"])
    assert (answer["data"]["stdout"], answer["successful"]) == (stdout, True)


@promises("CC-4.04", "CC-1.01", "CC-9.07")
def test_an_agents_tools_share_variables_and_files_and_tell_how_code_ended(sdk: Said) -> None:
    first, kept, seen, failed = sdk.value("agentic")
    assert (first["data"]["stdout"], first["successful"]) == ("42\n", True)
    assert kept["data"]["results"] == "41"
    assert (seen["data"]["stdout"], seen["data"]["exit_code"]) == ("by python", 3)
    assert (failed["error"], failed["successful"]) == ("ZeroDivisionError: division by zero", False)


@promises("CC-4.04", "CC-0.02")
def test_a_session_executes_meta_tools_and_others(sdk: Said) -> None:
    python, bash, failed, echo = sdk.value("execute")
    assert python["data"]["results"] == "2"
    assert (bash["data"]["stdout"], bash["data"]["stderr"]) == ("out", "err")
    assert failed["error"] == "NameError: name 'unknown_name' is not defined"
    assert echo["data"] == {"text": "said"}
    assert all(each["logId"] for each in (python, bash, failed, echo))


@promises("CC-4.04", "CC-2.13")
def test_several_tools_have_their_answers_and_errors_in_order(sdk: Said) -> None:
    data = sdk.value("multi_execute")["data"]
    assert (data["success_count"], data["error_count"]) == (1, 1)


@promises("CC-4.04", "CC-4.23")
def test_a_tool_is_executed_without_a_session(sdk: Said) -> None:
    answer = sdk.value("direct")
    assert (answer["data"]["results"], answer["successful"]) == ("23", True)


@promises("CC-4.04", "CC-4.12")
def test_a_session_is_changed_and_deleted(sdk: Said) -> None:
    assert sdk.value("update") == {"before": 1, "after": 2}
    assert sdk.value("delete")["deleted"] is True


@promises("CC-4.04", "CC-4.21")
def test_tools_are_found_by_use_case(sdk: Said) -> None:
    found = sdk.value("search")
    assert found["results"][0]["primaryToolSlugs"] == ["ECHO_ECHO"]
    assert found["session"]["id"].startswith("trs_")


@promises("CC-4.04", "CC-4.16", "CC-4.22")
def test_toolkits_are_listed_and_an_api_is_reached(sdk: Said) -> None:
    assert {item["slug"] for item in sdk.value("toolkits")["items"]} == {"echo", "github"}
    answer = sdk.value("proxy")
    assert (answer["status"], answer["data"]["target"]) == (200, "/v1/user?per_page=1")


@promises("CC-4.04", "CC-0.12", "CC-4.42", "CC-4.43", "CC-4.44")
def test_files_that_code_made_are_listed_linked_and_deleted(sdk: Said, compat: Server) -> None:
    said = sdk.value("files")
    assert [item["mountRelativePath"] for item in said["below"]["items"]] == ["a/made.txt"]
    assert said["url"].startswith(compat.url)
    assert said["after"]["items"] == []


@pytest.mark.parametrize("step", ["upload_bytes", "download_bytes"])
@promises("CC-5.30")
def test_the_package_itself_keeps_bytes_of_files_from_an_address_that_is_not_public(sdk: Said, step: str) -> None:
    assert sdk.raised(step)["raised"][0] == "ComposioBlockedInternalUrlError"


@promises("CC-0.15", "CC-1.20")
def test_a_session_without_a_sandbox_does_not_list_its_tools(sdk: Said) -> None:
    assert not RUN_TOOLS & set(sdk.value("switched_off"))


@pytest.mark.parametrize(
    ("step", "status"),
    [("wrong_key", 401), ("unknown_session", 404), ("delete_twice", 404), ("switched_off_call", 400)],
)
@promises("CC-5.01", "CC-0.15")
def test_each_error_has_its_status(sdk: Said, step: str, status: int) -> None:
    assert sdk.raised(step)["status"] == status
