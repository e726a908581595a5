"""What the gateway sends again: what was not done, and nothing else."""

import asyncio

import pytest

from sandbox.errors import UpstreamRateLimited, UpstreamUnavailable
from sandbox.upstreams.base import ToolAnswer, ToolCall
from tests.gateway.conftest import Flaky, MakeCalls, ToolSource, a_session, raw
from tests.support import composio_backend
from tests.support.faulty_server import Fault, closed_port

pytestmark = pytest.mark.anyio


async def test_what_was_not_done_is_sent_again_and_the_row_counts_the_attempts(make_calls: MakeCalls) -> None:
    source = ToolSource(
        Flaky(UpstreamRateLimited("later", retry=True, retry_after_s=0), UpstreamUnavailable("no way", retry=True))
    )
    calls = make_calls(source)
    session = a_session()
    answer = await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, session)
    assert answer.error == ""
    assert len(source.calls) == 3
    assert [(row.attempts, row.status) for row in await calls.rows(session)] == [(3, "ok")]
    assert "workbench_helper_retries_total 2.0" in calls.metrics.text().decode()


async def test_what_may_have_had_an_effect_is_never_sent_twice(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(UpstreamUnavailable("the connection broke after it was sent")))
    answer = await make_calls(source).ask("run_composio_tool", {"tool_slug": "TEST_ECHO"})
    assert "the connection broke" in answer.error
    assert len(source.calls) == 1


async def test_it_is_given_up_after_the_retries_that_are_set(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(*(UpstreamUnavailable(f"no way {n}", retry=True) for n in range(9))))
    answer = await make_calls(source, helper_retries=1).ask("run_composio_tool", {"tool_slug": "TEST_ECHO"})
    assert answer.error.startswith("no way 1")
    assert len(source.calls) == 2


async def test_an_upstream_that_wants_more_time_than_is_left_is_not_waited_for(make_calls: MakeCalls) -> None:
    backend = composio_backend.ComposioBackend()
    backend.faults.append(Fault.RATE_LIMITED)
    async with backend.serving():
        calls = make_calls(composio_base_url=backend.url, composio_api_key=composio_backend.KEY)
        async with asyncio.timeout(5):
            answer = await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, timeout_s=6)
    assert answer.error
    assert len(backend.seen) == 1


async def test_a_deadline_that_comes_before_the_next_attempt_gives_the_cause_of_the_last(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(*(UpstreamUnavailable("no way in", retry=True) for _ in range(20))))
    answer = await make_calls(source, helper_retries=10).ask(
        "run_composio_tool", {"tool_slug": "TEST_ECHO"}, timeout_s=0.5
    )
    assert answer.error == "no way in"


async def test_a_connection_that_is_refused_is_tried_again_over_real_sockets(make_calls: MakeCalls) -> None:
    calls = make_calls(
        composio_base_url=f"http://127.0.0.1:{closed_port()}", composio_api_key="ak_test", helper_retries=1
    )
    session = a_session()
    answer = await calls.ask("run_composio_tool", {"tool_slug": "TEST_ECHO"}, session)
    assert answer.error
    assert [(row.attempts, row.status) for row in await calls.rows(session)] == [(2, "Upstream_Unavailable")]


async def test_while_a_call_waits_to_be_sent_again_others_have_its_turn(make_calls: MakeCalls) -> None:
    source = ToolSource(Flaky(UpstreamUnavailable("no way in", retry=True)))
    calls = make_calls(source, helper_calls_at_once=1)
    async with asyncio.TaskGroup() as group:
        for slug in ("TEST_FIRST", "TEST_SECOND"):
            group.create_task(calls.ask("run_composio_tool", {"tool_slug": slug}))
    assert [call.slug for call in source.calls] == ["TEST_FIRST", "TEST_SECOND", "TEST_FIRST"]


async def test_injected_refusals_lose_no_call_and_run_none_twice(make_calls: MakeCalls) -> None:
    done: list[int] = []

    async def sometimes(call: ToolCall) -> ToolAnswer:
        number = call.arguments["n"]
        if len(source.calls) % 3 == 0:
            raise UpstreamRateLimited("later", retry=True, retry_after_s=0)
        done.append(number)
        return ToolAnswer(raw({"n": number}))

    source = ToolSource(sometimes)
    calls = make_calls(source, helper_retries=10)
    session = a_session()
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(
                calls.ask("run_composio_tool", {"tool_slug": "TEST_COUNT", "arguments": {"n": n}}, session)
            )
            for n in range(60)
        ]
    assert [task.result().error for task in asked] == [""] * 60
    assert sorted(done) == list(range(60))
