"""The agent's reading of kernel messages: tolerant, because user code can have made them."""

import json

import pytest
from msgspec import Raw

from sandbox.agent.kernel_wire import (
    DELIMITER,
    Display,
    Message,
    Raised,
    Reply,
    Status,
    UpdateDisplay,
    decode,
    execute_request,
)


def frames(kind: str, content: bytes, *, parent: bytes = b'{"msg_id": "request"}') -> list[bytes]:
    header = json.dumps({"msg_type": kind, "msg_id": "answer"}).encode()
    return [b"topic", DELIMITER, b"", header, parent, b"{}", content]


def test_a_status_names_the_request_that_it_is_about() -> None:
    assert decode(frames("status", b'{"execution_state": "idle"}')) == Message("request", Status("idle"))


def test_a_message_in_one_frame_has_its_parts_on_a_line_each() -> None:
    one = b"\n".join(frames("status", b'{"execution_state": "idle"}'))
    assert decode([one]) == Message("request", Status("idle"))


@pytest.mark.parametrize("kind", ["display_data", "execute_result"])
def test_displays_have_their_data_and_their_id(kind: str) -> None:
    message = decode(frames(kind, b'{"data": {"text/plain": "x"}, "transient": {"display_id": "it"}}'))

    assert message is not None
    assert isinstance(message.content, Display)
    assert (message.content.data, message.content.display_id) == ({"text/plain": Raw(b'"x"')}, "it")


def test_an_update_is_told_apart_from_a_display() -> None:
    message = decode(frames("update_display_data", b"{}"))

    assert message is not None
    assert isinstance(message.content, UpdateDisplay)


def test_a_display_id_that_is_no_text_is_none() -> None:
    assert Display(transient={"display_id": Raw(b"5")}).display_id is None


def test_broken_utf8_is_replaced() -> None:
    message = decode(frames("error", b'{"ename": "E", "evalue": "\xff", "traceback": []}'))

    assert message == Message("request", Raised("E", "\ufffd", []))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"status": 7}', b'{"traceback": "no list"}', b"[" * 100_000])
def test_a_reply_that_cannot_be_read_still_ends_the_execution(content: bytes) -> None:
    message = decode(frames("execute_reply", content))

    assert message is not None
    assert isinstance(message.content, Reply)
    assert message.content.status == "error"


@pytest.mark.parametrize(
    "broken",
    [
        [],
        [b"garbage"],
        [DELIMITER],
        [DELIMITER, b"", b"{}"],
        [DELIMITER, b"", b"{", b"{}", b"{}", b"{}"],
        [DELIMITER, b"", b'{"msg_type": "status"}', b"null", b"{}", b"{}"],
        frames("comm_open", b"{}"),
        frames("status", b"[]"),
    ],
)
def test_what_is_not_understood_is_dropped(broken: list[bytes]) -> None:
    assert decode(broken) is None


@pytest.mark.parametrize(
    "content", [b'{"data": 5}', b'{"data": {"application/json": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}"]
)
def test_a_display_that_cannot_be_read_is_shown_as_such(content: bytes) -> None:
    message = decode(frames("display_data", content))

    assert message is not None
    assert isinstance(message.content, Display)
    assert b"could not be read" in bytes(message.content.data["text/plain"])


def test_a_request_aborts_nothing_and_asks_for_no_input() -> None:
    delimiter, signature, header, parent, _, content = execute_request("one", "1 + 1")

    assert (delimiter, signature, parent) == (DELIMITER, b"", b"{}")
    assert json.loads(header)["msg_id"] == "one"
    assert json.loads(content) == {
        "code": "1 + 1",
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": False,
    }
