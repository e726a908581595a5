"""Results of tools as data."""

from typing import Any

import msgspec
import pytest

from sandbox.errors import UpstreamInvalid
from sandbox.upstreams.mcp_answers import to_answer

IMAGE = {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("result", "data"),
    [
        ({"content": [_text("x")], "structuredContent": {"a": [1]}}, {"a": [1]}),
        ({"structuredContent": [1, 2]}, {"result": [1, 2]}),
        ({"content": [_text(' {"a": 1}\n')], "structuredContent": None}, {"a": 1}),
        ({"content": [_text("[1, 2]")]}, {"result": [1, 2]}),
        ({"content": [_text("12")]}, {"result": 12}),
        ({"content": [_text("hello {")]}, {"text": "hello {"}),
        ({"content": [_text("")]}, {"text": ""}),
        ({"content": [_text("a"), IMAGE]}, {"content": [_text("a"), IMAGE]}),
        ({"content": [IMAGE]}, {"content": [IMAGE]}),
        ({"content": []}, {"content": []}),
    ],
)
def test_a_result_becomes_an_object(result: dict[str, Any], data: dict[str, Any]) -> None:
    answer = to_answer(msgspec.Raw(msgspec.json.encode(result)), "it")
    assert msgspec.json.decode(answer.data) == data
    assert answer.error is None


@pytest.mark.parametrize(("content", "words"), [([_text("no"), _text("way")], "no\nway"), ([], "did not say why")])
def test_an_error_has_the_words_of_the_tool(content: list[Any], words: str) -> None:
    answer = to_answer(msgspec.Raw(msgspec.json.encode({"content": content, "isError": True})), "it")
    assert answer.error is not None
    assert words in answer.error


@pytest.mark.parametrize("result", [b"null", b"[]", b'{"content": 3}', b'{"content": [3]}'])
def test_what_is_no_result_is_refused(result: bytes) -> None:
    with pytest.raises(UpstreamInvalid, match="it answered with what is no result"):
        to_answer(msgspec.Raw(result), "it")


def test_a_result_with_too_many_blocks_is_refused_before_objects_are_made_of_them() -> None:
    blocks = b",".join([b'{"type":"x"}'] * 1_100_000)
    with pytest.raises(UpstreamInvalid, match="more than 2,000,000 values"):
        to_answer(msgspec.Raw(b'{"content":[' + blocks + b"]}"), "it")
    long = _text("[" * 3_000_000)
    assert to_answer(msgspec.Raw(msgspec.json.encode({"content": [long]})), "it").error is None
