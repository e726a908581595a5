"""The helpers as user code calls them: what goes over the wire, what comes back, and that they never raise."""

import datetime
import inspect
import json
import math
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import helpers
from helpers import (
    get_mount_file_s3_key,
    get_mount_file_url,
    invoke_llm,
    proxy_execute,
    run_composio_tool,
    smart_file_extract,
    upload_local_file,
    web_search,
)
from helpers.files import PROGRESS_FROM_BYTES
from helpers.model import INPUT_CHARS_MAX
from sandbox import limits
from tests.compat.requirements import promises
from tests.helpers.conftest import Serve
from tests.support.relay_server import Replies, result

Call = Callable[[], tuple[Any, str]]


# --- all of them --------------------------------------------------------------------------------


CALLS: list[tuple[Call, Any]] = [
    (lambda: run_composio_tool("A_B", {}), {}),
    (lambda: invoke_llm("question"), ""),
    (lambda: proxy_execute("GET", "/x", "github"), {}),
    (lambda: web_search("question"), ""),
    (lambda: upload_local_file(__file__), {}),
    (lambda: get_mount_file_url(__file__), ""),
    (lambda: get_mount_file_s3_key(__file__), ""),
]


@pytest.mark.parametrize(("call", "nothing"), CALLS)
def test_without_a_relay_there_is_an_error_and_nothing_else(no_relay: Path, call: Call, nothing: Any) -> None:
    found, error = call()
    assert found == nothing
    assert "not available here" in error
    assert str(no_relay) in error


@pytest.mark.parametrize(("call", "nothing"), CALLS)
def test_an_error_of_the_gateway_is_given_as_it_is(serve: Serve, call: Call, nothing: Any) -> None:
    serve(lambda _: result(None, "the budget of this session is used up"))
    assert call() == (nothing, "the budget of this session is used up")


@pytest.mark.parametrize("helper", helpers.FUNCTIONS)
def test_a_helper_that_is_called_wrongly_says_so_instead_of_raising(helper: Callable[..., Any]) -> None:
    found, error = helper(no_such_argument=1)
    assert found in ({}, "")
    assert "no_such_argument" in error


@pytest.mark.parametrize("helper", helpers.FUNCTIONS)
def test_a_helper_explains_itself(helper: Callable[..., Any]) -> None:
    words = inspect.getdoc(helper)
    assert words is not None
    assert "Example:" in words
    assert "Returns:" in words
    assert "kwargs" not in str(inspect.signature(helper))


@promises("CC-3.11", "CC-2.21")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: run_composio_tool(None, {}), "tool_slug must be a str, not NoneType"),  # type: ignore[arg-type]
        (lambda: run_composio_tool(" ", {}), "tool_slug is empty"),
        (lambda: run_composio_tool("A", None), "arguments must be a dict, not NoneType"),  # type: ignore[arg-type]
        (lambda: run_composio_tool("A", "{}"), "arguments must be a dict, not str"),  # type: ignore[arg-type]
        (lambda: run_composio_tool("A", {}, retry_params=3), "retry_params must be a dict"),  # type: ignore[arg-type]
        (lambda: run_composio_tool("A", {}, account=""), "account is empty"),
        (lambda: run_composio_tool("composio_remote_workbench", {}), "COMPOSIO_REMOTE_WORKBENCH is a meta tool"),
        (lambda: invoke_llm(""), "query is empty"),
        (lambda: invoke_llm(b"x"), "query must be a str, not bytes"),  # type: ignore[arg-type]
        (lambda: invoke_llm("x" * (INPUT_CHARS_MAX + 1)), "has 200001 characters, the limit is 200000"),
        (lambda: web_search("\n"), "query is empty"),
        (lambda: proxy_execute("HEAD", "/x", "github"), "method HEAD is none of GET, POST"),
        (lambda: proxy_execute("GET", "", "github"), "endpoint is empty"),
        (lambda: proxy_execute("GET", "/x", ""), "toolkit is empty"),
        (lambda: proxy_execute("POST", "/x", "github"), "a POST request needs a body"),
        (lambda: proxy_execute("GET", "/x", "github", body={}), "a GET request takes no body"),
        (lambda: proxy_execute("GET", "/x", "github", query_params="a=1"), "query_params must be a dict"),  # type: ignore[arg-type]
        (lambda: proxy_execute("GET", "/x", "github", {"a": {}}), "query_params['a'] must be text or a number"),
        (lambda: proxy_execute("GET", "/x", "github", params=[{"name": "a"}]), "params[0] must be a dict with name"),
        (
            lambda: proxy_execute("GET", "/x", "github", params=[{"name": "a", "value": 1, "type": "cookie"}]),
            "params[0][\"type\"] is 'cookie'",
        ),
        (upload_local_file, "name at least one file"),
        (lambda: upload_local_file(3), "a path must be a str, not int"),  # type: ignore[arg-type]
        (lambda: upload_local_file(""), "the path is empty"),
        (lambda: upload_local_file("/no/such"), "/no/such: there is no such file"),
        (lambda: upload_local_file(__file__, "/tmp"), "/tmp is a folder"),
        (lambda: upload_local_file("/dev/null"), "/dev/null is no regular file"),
        (lambda: get_mount_file_url("/no/such"), "/no/such: there is no such file"),
        (lambda: smart_file_extract("/no/such"), "/no/such: there is no such file"),
        (lambda: smart_file_extract("/tmp"), "/tmp is a folder"),
    ],
)
def test_what_makes_no_sense_is_refused_without_a_call(serve: Serve, call: Call, words: str) -> None:
    server = serve(lambda _: result({}))
    found, error = call()
    assert found in ({}, "")
    assert words in error
    assert server.requests == []


# --- run_composio_tool --------------------------------------------------------------------------


@promises("CC-3.01")
def test_a_tool_that_succeeds_gives_its_whole_answer(serve: Serve) -> None:
    answer = {"data": {"n": 1}, "successful": True, "error": None, "log_id": "l"}
    server = serve(lambda _: result(answer))
    assert run_composio_tool(" gmail_send_email ", {"to": "a@b"}, account="work") == (answer, "")
    assert server.requests[0]["arguments"] == {
        "tool_slug": "GMAIL_SEND_EMAIL",
        "arguments": {"to": "a@b"},
        "account": "work",
    }


@promises("CC-3.01")
def test_a_tool_that_fails_gives_its_answer_beside_the_error(serve: Serve) -> None:
    answer = {"data": {}, "successful": False, "error": "no such message", "log_id": None}
    serve(lambda _: result(answer, "no such message"))
    assert run_composio_tool("A_B", {}) == (answer, "no such message")


def test_an_answer_that_is_no_object_is_an_error(serve: Serve) -> None:
    serve(lambda _: result([1]))
    assert run_composio_tool("A_B", {}) == ({}, "A_B gave no object but list")


@promises("CC-3.13")
def test_the_shape_of_the_answer_is_printed_only_when_asked_for(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(lambda _: result({"data": {"messages": [{"id": "a", "size": 1.5}] * 3, "next": None, "none": []}}))
    run_composio_tool("A_B", {})
    assert capsys.readouterr().out == ""
    run_composio_tool("A_B", {}, print_schema_for_tool=True)
    assert capsys.readouterr().out == (
        'A_B gives {"data": {"messages": [{"id": str, "size": float}, 3 in all], "next": null, "none": []}}\n'
    )


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"when": [{"at": datetime.date(2020, 1, 1)}]}, "arguments['when'][0]['at'] is a datetime.date"),
        ({"a": {1, 2}}, "arguments['a'] is a set"),
        ({"a": b""}, "arguments['a'] is a bytes"),
        ({"a": math.nan}, "arguments['a'] is nan, which JSON does not have"),
        ({"a": [0.5, -math.inf]}, "arguments['a'][1] is -inf"),
        ({"a": "\ud800"}, "arguments['a'] is no valid Unicode text"),
        ({"\udfff": 1}, "a key of arguments is no valid Unicode text"),
        ({("a", 1): 1}, "arguments has a key of type tuple"),
        (cyclic(), "or contains itself"),
        (nested(5000), "is nested deeper than"),
    ],
)
def test_arguments_that_are_no_json_are_named(serve: Serve, arguments: dict[str, Any], words: str) -> None:
    server = serve(lambda _: result({}))
    found, error = run_composio_tool("A_B", arguments)
    assert found == {}
    assert words in error
    assert server.requests == []


def test_arguments_may_hold_all_that_json_has(serve: Serve) -> None:
    arguments = {"a": [1, 2.5, True, None, "ä\n\u2028😀", {"b": []}], "": 10**30}
    server = serve(lambda _: result({}))
    assert run_composio_tool("A_B", arguments) == ({}, "")
    assert server.requests[0]["arguments"]["arguments"] == arguments


# --- the model and the web ----------------------------------------------------------------------


def test_a_question_goes_to_the_model_as_it_is(serve: Serve) -> None:
    server = serve(lambda _: result("yes"))
    assert invoke_llm(" is it?\n", reasoning_effort="High") == ("yes", "")
    assert server.requests[0]["arguments"] == {"query": " is it?\n", "reasoning_effort": "high"}


@promises("CC-3.02")
def test_a_question_may_have_as_many_characters_as_the_contract_says(serve: Serve) -> None:
    serve(lambda request: result(str(len(json.loads(Path(request["arguments_path"]).read_text())["query"]))))
    assert limits.MODEL_INPUT_CHARS == INPUT_CHARS_MAX
    assert invoke_llm("ä" * INPUT_CHARS_MAX) == ("200000", "")


@promises("CC-3.05")
def test_a_search_gives_text(serve: Serve) -> None:
    server = serve(lambda _: result("found"))
    assert web_search(" words ") == ("found", "")
    assert server.requests[0]["arguments"] == {"query": "words"}


# --- proxy_execute ------------------------------------------------------------------------------


ENVELOPE = {"status": 200, "data": [1], "headers": {"x": "y"}}


@promises("CC-3.04")
def test_a_proxy_request_of_the_newer_form_gives_the_body_of_the_answer(serve: Serve) -> None:
    server = serve(lambda _: result(ENVELOPE))
    query = {"q": "a b", "n": 1, "on": True, "ids": [1, 2], "none": None}
    assert proxy_execute("post", "/x", "GitHub", query, {"t": 1}, {"Accept": "text/plain"}) == ([1], "")
    assert server.requests[0]["arguments"] == {
        "method": "POST",
        "endpoint": "/x",
        "toolkit": "github",
        "query": [["q", "a b"], ["n", "1"], ["on", "true"], ["ids", "1"], ["ids", "2"]],
        "headers": [["Accept", "text/plain"]],
        "body": {"t": 1},
    }


PARAMS: list[dict[str, Any]] = [
    {"name": "q", "value": 5, "type": "query"},
    {"name": "Accept", "value": "*/*", "type": "header"},
]


@promises("CC-3.04")
@pytest.mark.parametrize(
    "call",
    [
        lambda: proxy_execute("GET", "/x", "github", params=PARAMS),
        lambda: proxy_execute("GET", "/x", "github", PARAMS),  # type: ignore[arg-type]
    ],
)
def test_a_proxy_request_of_the_older_form_gives_the_body_below_data(serve: Serve, call: Call) -> None:
    server = serve(lambda _: result(ENVELOPE))
    assert call() == (ENVELOPE, "")
    assert server.requests[0]["arguments"] == {
        "method": "GET",
        "endpoint": "/x",
        "toolkit": "github",
        "query": [["q", "5"]],
        "headers": [["Accept", "*/*"]],
    }


@promises("CC-3.12")
def test_an_answer_with_an_error_status_is_given_whole_beside_the_error(serve: Serve) -> None:
    envelope = {"status": 404, "data": {"message": "none"}, "headers": {}}
    serve(lambda _: result(envelope, "API returned status 404: none"))
    assert proxy_execute("GET", "/x", "github") == (envelope, "API returned status 404: none")


def test_a_delete_may_go_with_and_without_a_body(serve: Serve) -> None:
    server = serve(lambda _: result(ENVELOPE))
    assert proxy_execute("DELETE", "/x", "github")[1] == ""
    assert proxy_execute("DELETE", "/x", "github", body=[])[1] == ""
    assert ["body" in request["arguments"] for request in server.requests] == [False, True]


# --- files --------------------------------------------------------------------------------------


UPLOADED = {"s3_url": "u", "uploaded_file": "f", "type": "t", "id": "i", "s3key": "k", "key": "k", "message": "m"}


@promises("CC-3.03")
def test_one_file_is_uploaded_as_it_is(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pdf").write_text("x")
    monkeypatch.chdir(tmp_path)
    server = serve(lambda _: result(UPLOADED))
    assert upload_local_file("a.pdf") == (UPLOADED, "")
    assert server.requests[0]["arguments"] == {
        "path": str(tmp_path / "a.pdf"),
        "name": "a.pdf",
        "content_type": "application/pdf",
    }


@promises("CC-3.03")
@pytest.mark.parametrize("as_list", [False, True])
def test_several_files_become_one_zip_with_a_name_for_each(serve: Serve, tmp_path: Path, as_list: bool) -> None:
    paths = [tmp_path / name for name in ("a/x.txt", "b/x.txt", "c/y")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(str(path))
    packed: dict[str, str] = {}

    def respond(request: dict[str, Any]) -> Replies:
        with zipfile.ZipFile(request["arguments"]["path"]) as archive:
            packed.update({name: archive.read(name).decode() for name in archive.namelist()})
        return result({**UPLOADED, "message": request["arguments"]["path"]})

    server = serve(respond)
    answer, error = upload_local_file(paths) if as_list else upload_local_file(*map(str, paths))  # type: ignore[arg-type]
    assert error == ""
    assert server.requests[0]["arguments"]["name"] == "files.zip"
    assert server.requests[0]["arguments"]["content_type"] == "application/zip"
    assert packed == dict(zip(("x.txt", "x (2).txt", "y"), map(str, paths), strict=True))
    assert not Path(answer["message"]).exists()


def test_progress_of_a_large_upload_is_one_line_that_is_rewritten(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(PROGRESS_FROM_BYTES)
    half, whole = PROGRESS_FROM_BYTES // 2, PROGRESS_FROM_BYTES
    steps = [
        {"progress": {"done": done, "total": total}} for done, total in ((half, None), (half, whole), (whole, whole))
    ]
    serve(lambda _: Replies((*steps, {"result": UPLOADED, "error": ""})))
    assert upload_local_file(str(tmp_path / "big")) == (UPLOADED, "")
    assert capsys.readouterr().err == "\rupload big: 4.0 of 8.0 MiB (50 %)\rupload big: 8.0 of 8.0 MiB (100 %)\n"


@promises("CC-1.44", "CC-3.07")
@pytest.mark.parametrize(
    ("helper", "answer"), [(get_mount_file_url, {"url": "it"}), (get_mount_file_s3_key, {"s3key": "it"})]
)
def test_a_file_of_the_session_has_a_link_and_a_key(
    serve: Serve, tmp_path: Path, helper: Callable[[str], tuple[str, str]], answer: dict[str, str]
) -> None:
    (tmp_path / "a").write_text("x")
    server = serve(lambda _: result(answer))
    assert helper(str(tmp_path / "b" / ".." / "a")) == ("it", "")
    assert server.requests[0]["arguments"] == {"path": str(tmp_path / "a")}


# --- the cell -----------------------------------------------------------------------------------


def test_calls_of_an_interrupted_cell_end_at_once_in_all_threads(serve: Serve) -> None:
    server = serve(lambda _: result(None, "the execution was interrupted", interrupted=True))
    run_composio_tool("A_B", {})
    answers: list[tuple[Any, str]] = []
    threads = [threading.Thread(target=lambda: answers.append(web_search("x"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [("", "the execution was interrupted")] * 4
    assert len(server.requests) == 1
    helpers.begin_cell()
    run_composio_tool("A_B", {})
    assert len(server.requests) == 2
