"""The schemas of tools over HTTP."""

import pytest

from tests.api.conftest import Server
from tests.api.search.conftest import PLAN, SCHEMAS, data, refused


def test_schemas_are_whole_and_what_is_not_there_is_listed_with_what_is_near(local: Server) -> None:
    found = data(local, SCHEMAS, tool_slugs=["time_convert_time", "GIT_GIT_LOGS", "GONE_TOOL", "no slug", PLAN])
    assert found["success"] is True
    assert list(found["tool_schemas"]) == ["TIME_CONVERT_TIME"]
    schema = found["tool_schemas"]["TIME_CONVERT_TIME"]
    assert set(schema["input_schema"]["properties"]) == {"source_timezone", "time", "target_timezone"}
    assert "output_schema" not in schema
    assert sorted(found["not_found"]) == sorted(["GIT_GIT_LOGS", "GONE_TOOL", "no slug", PLAN])
    assert "Near it: GIT_GIT_LOG" in found["message"]
    assert "it broke" in found["message"]


def test_a_schema_of_the_answer_comes_when_it_is_asked_for(local: Server) -> None:
    found = data(local, SCHEMAS, tool_slugs=["TIME_CONVERT_TIME"], include=["input_schema", "output_schema"])
    assert found["tool_schemas"]["TIME_CONVERT_TIME"].get("output_schema", {"type": "object"})["type"] == "object"


def test_nothing_found_is_a_failure_with_the_reason(local: Server) -> None:
    answer = local.tool(SCHEMAS, {"tool_slugs": ["NO_SUCH_TOOL"]})
    assert (answer["successful"], answer["data"]["success"]) == (False, False)
    assert answer["error"].startswith("There is no tool NO_SUCH_TOOL.")
    assert answer["data"]["not_found"] == ["NO_SUCH_TOOL"]


@pytest.mark.parametrize("slugs", [None, [], ["A"] * 51, "GIT_GIT_LOG", [1]])
def test_slugs_that_are_none_are_named(local: Server, slugs: object) -> None:
    response = refused(local, SCHEMAS, {"tool_slugs": slugs})
    assert response.status_code == 422
    assert response.json()["error"]["fields"][0]["path"] == "arguments.tool_slugs"
