"""Plans over HTTP: of the model, and of the backend."""

import json
from typing import Any

import pytest

from tests.api.conftest import Server
from tests.api.search.conftest import PLAN, SEARCH, data, refused
from tests.compat.requirements import promises
from tests.support import composio_backend, model_server

ONE_STEP = {
    "workflow_steps": [{"step": 1, "action": "Say it", "tool": "ECHO_ECHO", "inputs": {"text": "hi"}}],
    "complexity_assessment": {"level": "easy"},
}


@promises("CC-9.18")
def test_a_plan_without_anybody_to_plan_names_the_settings(local: Server) -> None:
    response = refused(local, PLAN, {"use_case": "tell the time"})
    assert response.status_code == 501
    error = response.json()["error"]
    assert "WORKBENCH_MODEL_BASE_URL" in error["message"]
    assert "WORKBENCH_COMPOSIO_API_KEY" in error["message"]
    assert SEARCH in error["suggested_fix"]


@promises("CC-9.18")
def test_a_plan_is_made_by_the_model_and_counted(joined: Server, model: model_server.ModelServer) -> None:
    model.content = f"Here it is:\n```json\n{json.dumps(ONE_STEP)}\n```"
    asked = {"use_case": "echo a text", "primary_tool_slugs": ["ECHO_ECHO"], "known_fields": {"text": "hi"}}
    found = data(joined, PLAN, session_id="planned", **asked)
    assert (found["success"], found["source"]) == (True, "model")
    step = found["plan"]["workflow_steps"][0]
    assert (step["step"], step["tool"], step["inputs"]) == (1, "ECHO_ECHO", {"text": "hi"})
    assert found["plan"]["complexity_assessment"]["level"] == "easy"
    question = model.answered[-1]["messages"][-1]["content"]
    assert "echo a text" in question
    assert "Say it again" in question
    with joined.client() as client:
        calls = client.get("/v1/sessions/planned/calls").json()["items"]
    assert ("create_plan", "ok") in [(call["helper"], call["status"]) for call in calls]


@pytest.mark.parametrize(
    "content",
    [
        "I cannot do that",
        "{",
        "[" * 100_000,
        json.dumps({**ONE_STEP, "workflow_steps": []}),
        json.dumps({**ONE_STEP, "workflow_steps": [{"step": 1, "action": "x", "tool": "GMAIL_SEND_EMAIL"}]}),
        json.dumps({**ONE_STEP, "workflow_steps": [{"step": 1, "action": "x", "depends_on": [1]}]}),
    ],
)
def test_what_is_no_plan_is_asked_for_once_more_and_then_refused(
    joined: Server, model: model_server.ModelServer, content: str
) -> None:
    model.content, before = content, len(model.answered)
    response = refused(joined, PLAN, {"use_case": "echo a text"})
    assert response.status_code == 502
    assert "no plan" in response.json()["error"]["message"]
    assert len(model.answered) - before == 2
    assert "An earlier answer could not be used" in model.answered[-1]["messages"][-1]["content"]


@promises("CC-9.18")
def test_a_plan_is_the_backends_where_it_plans(joined: Server, tools: dict[str, composio_backend.Tool]) -> None:
    asked: list[dict[str, Any]] = []

    def plan(arguments: dict[str, Any]) -> Any:
        asked.append(arguments)
        return {"plan": {"steps": ["theirs"]}}

    tools[PLAN] = plan
    found = data(joined, PLAN, use_case="echo", session_id="abcd", difficulty="easy")
    assert (found["source"], found["plan"]) == ("backend", {"steps": ["theirs"]})
    assert asked == [{"use_case": "echo", "difficulty": "easy"}]


@pytest.mark.parametrize("use_case", [None, "", "  ", "a" * 10_001, 3])
def test_a_task_that_is_none_is_named(local: Server, use_case: object) -> None:
    response = refused(local, PLAN, {"use_case": use_case})
    assert response.status_code == 422
    assert response.json()["error"]["fields"][0]["path"] == "arguments.use_case"
