"""The model."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from sandbox.errors import InvalidArguments, UpstreamInvalid, UpstreamRefused
from sandbox.limits import MODEL_INPUT_CHARS
from sandbox.upstreams.model_openai import OpenAiModel, unfenced
from tests.support.faulty_server import json_reply
from tests.support.model_server import MODEL, ModelServer
from tests.upstreams.http_cases import model

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    server = ModelServer()
    async with server.serving():
        yield server


async def ask(server: ModelServer, query: str = "hi", *, effort: str | None = None, **options: Any) -> str:
    upstream = model(server, **options)
    try:
        return await upstream.complete(query, reasoning_effort=effort, timeout_s=30)
    finally:
        await upstream.aclose()


async def test_a_question_is_answered(server: ModelServer) -> None:
    assert await ask(server, "What is \N{SNOWMAN}?") == "What is \N{SNOWMAN}?"
    messages = [{"role": "user", "content": "What is \N{SNOWMAN}?"}]
    assert server.answered == [{"model": MODEL, "messages": messages}]


async def test_what_is_configured_goes_with_it(server: ModelServer) -> None:
    await ask(server, effort="low", temperature=0.5, max_output_tokens=100)
    [body] = server.answered
    assert (body["temperature"], body["max_tokens"], body["reasoning_effort"]) == (0.5, 100, "low")


async def test_a_model_that_wants_the_new_name_of_the_limit_gets_it(server: ModelServer) -> None:
    server.wants = "max_completion_tokens"
    upstream = model(server, max_output_tokens=100)
    for _ in range(2):
        await upstream.complete("hi", reasoning_effort=None, timeout_s=30)
    await upstream.aclose()
    assert [body["max_completion_tokens"] for body in server.answered] == [100, 100]
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("query", "effort", "field"),
    [
        ("", None, "query is required"),
        (" \n", None, "query is required"),
        ("x" * (MODEL_INPUT_CHARS + 1), None, "query has 200001 characters"),
        ("\ud800", None, "query holds half"),
        ("hi", "very much", "reasoning_effort"),
    ],
)
async def test_a_question_that_is_none_is_not_sent(
    server: ModelServer, query: str, effort: str | None, field: str
) -> None:
    with pytest.raises(InvalidArguments, match=field):
        await ask(server, query, effort=effort)
    assert server.seen == []


async def test_the_longest_question_is_answered(server: ModelServer) -> None:
    query = "\N{SNOWMAN}" * MODEL_INPUT_CHARS
    assert await ask(server, query) == query


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ("\n```\n[1,\n 2]\n```\n", "[1,\n 2]"),
        ("```JSON\n{}```", "{}"),
        ("```python\nprint(1)\n```", "```python\nprint(1)\n```"),
        ("Here it is:\n```json\n{}\n```", "Here it is:\n```json\n{}\n```"),
        ("```json\n{}\n```\n```json\n{}\n```", "```json\n{}\n```\n```json\n{}\n```"),
        ("```json\n{\n```", "```json\n{\n```"),
        ('```json\n{"code": "```"}\n```', '{"code": "```"}'),
        ("```json\n```", "```json\n```"),
        (" plain ", " plain "),
        ("```", "```"),
    ],
)
def test_the_fence_is_taken_off_a_lone_json_answer_only(answer: str, expected: str) -> None:
    assert unfenced(answer) == expected


async def test_an_answer_in_parts_is_joined(server: ModelServer) -> None:
    server.content = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert await ask(server) == "ab"


@pytest.mark.parametrize(
    ("message", "finish_reason", "said"),
    [
        ({"content": None, "refusal": "I would rather not"}, "stop", "The model refused: I would rather not"),
        ({"content": ""}, "content_filter", "empty answer (finish_reason content_filter)"),
        ({"content": None}, "length", "after 0 characters"),
        ({"content": "half of i"}, "length", "raise the setting model_max_output_tokens"),
    ],
)
async def test_an_answer_that_is_none_is_an_error(
    server: ModelServer, message: dict[str, Any], finish_reason: str, said: str
) -> None:
    server.message, server.finish_reason = message, finish_reason
    with pytest.raises(UpstreamRefused) as raised:
        await ask(server)
    assert said in raised.value.message


@pytest.mark.parametrize(
    "body", [{"choices": []}, {"error": {"message": "no credits"}}, {"choices": [{"message": None}]}, "text"]
)
async def test_an_answer_without_a_choice_is_quoted(server: ModelServer, body: Any) -> None:
    class Odd(ModelServer):
        async def answer(self, request: Any) -> Any:
            return json_reply(body)

    odd = Odd()
    async with odd.serving():
        with pytest.raises(UpstreamInvalid, match="answered without a choice"):
            await ask(odd)


@pytest.mark.parametrize(
    ("key", "name", "path", "setting"),
    [
        ("a-wrong-key-of-mine", MODEL, "/v1", "model_api_key"),
        (None, "no-such-model", "/v1", "model_name"),
        (None, MODEL, "/api", "model_base_url"),
    ],
)
async def test_errors_say_which_setting_to_look_at(
    server: ModelServer, key: str | None, name: str, path: str, setting: str
) -> None:
    if key is None:
        server.key = None
    upstream = OpenAiModel(f"{server.url}{path}", name, SecretStr(key) if key else None, timeout_s=5)
    with pytest.raises(UpstreamRefused, match=f"Check the settings? .*{setting}"):
        await upstream.complete("hi", reasoning_effort=None, timeout_s=5)
    await upstream.aclose()


async def test_the_check_lists_models_and_asks_none(server: ModelServer) -> None:
    upstream = model(server)
    assert await upstream.check() == f"the endpoint answers and has {MODEL}"
    server.lists_models = False
    assert "has no list" in await upstream.check()
    await upstream.aclose()
    assert server.answered == []
