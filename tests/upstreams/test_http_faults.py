"""Every upstream behind HTTP against every failure: an error of the right kind, in time, nothing sent twice."""

import asyncio
import logging
import traceback
from contextlib import AsyncExitStack
from typing import Any

import pytest

from sandbox.errors import (
    NotFound,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamUnavailable,
    WorkbenchError,
)
from tests.compat.requirements import promises
from tests.support.faulty_server import Fault, FaultyServer
from tests.upstreams.http_cases import CASES, SECRETS, Case, running

pytestmark = pytest.mark.anyio

SHORT_S = 0.3

BROKEN = (Fault.RESET_AT_ONCE, Fault.RESET_AFTER_REQUEST, Fault.HALF_ANSWER, Fault.CLOSED_AFTER_REQUEST)
WITHOUT_END = (Fault.ENDLESS_BODY, Fault.HUGE_BODY)
LATER = (Fault.RATE_LIMITED, Fault.RATE_LIMITED_UNTIL, Fault.RATE_LIMITED_ENDLESS)
NO_SENSE = (Fault.INVALID_JSON, Fault.DEEP_JSON, Fault.OTHER_JSON, Fault.EMPTY)

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_strict = pytest.mark.parametrize("case", [case for case in CASES if not case.passes_statuses], ids=str)


async def fails(case: Case, fault: Fault, timeout_s: float = 30.0) -> WorkbenchError:
    """Give the error of one call that meets a fault; nothing was sent a second time, and the next call is fine."""
    async with running(case) as it:
        before = len(it.server.seen)
        it.server.faults.append(fault)
        with pytest.raises(WorkbenchError) as raised:
            await it.call(timeout_s)
        sent = len(it.server.seen) - before
        assert sent == (0 if fault is Fault.RESET_AT_ONCE else 1)
        assert not any(secret in told(raised.value) for secret in SECRETS)
        await it.call()
        return raised.value


def told(error: BaseException) -> str:
    """Give all that a log or a trace could show of an error."""
    chain = [error, error.__cause__, error.__context__]
    return "".join(traceback.format_exception(error)) + repr(chain) + repr([each and vars(each) for each in chain])


@each_case
async def test_a_server_that_is_down_may_be_asked_again(case: Case) -> None:
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(running(case))
        await stack.pop_all().aclose()
        upstream = case.upstream(it.server)
        with pytest.raises(UpstreamUnavailable, match="could not be reached") as raised:
            await case.call(upstream, 30)
        await upstream.aclose()
    assert raised.value.retry


@promises("CC-3.10")
@each_case
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_connection_is_tried_again_only_when_the_call_has_no_effect(case: Case, fault: Fault) -> None:
    error = await fails(case, fault)
    assert isinstance(error, UpstreamUnavailable)
    assert error.retry is case.repeatable


@each_case
@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.SILENT_BODY])
async def test_a_silent_server_is_left_at_the_deadline(case: Case, fault: Fault) -> None:
    error = await fails(case, fault, SHORT_S)
    assert isinstance(error, UpstreamUnavailable)
    assert "did not answer in" in error.message
    assert error.retry is case.repeatable


@each_case
@pytest.mark.parametrize("fault", WITHOUT_END)
async def test_an_answer_without_end_is_cut_at_its_bound(case: Case, fault: Fault) -> None:
    error = await fails(case, fault)
    assert isinstance(error, UpstreamInvalid)
    assert "which is the bound" in error.message
    assert not error.retry


@each_case
async def test_what_is_not_http_is_said_to_be_so(case: Case) -> None:
    error = await fails(case, Fault.NOT_HTTP)
    assert isinstance(error, UpstreamInvalid)
    assert not error.retry


@promises("CC-3.10")
@each_case
@pytest.mark.parametrize("fault", LATER)
async def test_a_429_says_when_to_come_back(case: Case, fault: Fault) -> None:
    error = await fails(case, fault)
    assert isinstance(error, UpstreamRateLimited)
    assert error.retry
    match fault:
        case Fault.RATE_LIMITED:
            assert error.retry_after_s == 7
            assert "slow down" in error.message
        case Fault.RATE_LIMITED_UNTIL:
            assert error.retry_after_s is not None
            assert 3000 < error.retry_after_s <= 3600
        case _:
            assert error.retry_after_s is None


@each_strict
@pytest.mark.parametrize("fault", NO_SENSE)
async def test_an_answer_without_sense_is_not_taken_for_one(case: Case, fault: Fault) -> None:
    error = await fails(case, fault)
    assert isinstance(error, UpstreamInvalid)
    assert not error.retry


@each_strict
@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.ENDLESS_ERROR])
async def test_an_error_of_the_server_is_repeated_in_its_words(case: Case, fault: Fault) -> None:
    error = await fails(case, fault)
    assert isinstance(error, UpstreamRefused)
    assert error.retry is case.repeatable
    assert len(error.message) < 700
    assert fault is Fault.ENDLESS_ERROR or "answered 500: broken inside" in error.message


@each_strict
async def test_a_gateway_in_between_counts_as_not_reached(case: Case) -> None:
    error = await fails(case, Fault.BAD_GATEWAY)
    assert isinstance(error, UpstreamUnavailable)
    assert error.retry is case.repeatable


@each_strict
async def test_a_503_with_a_time_counts_as_a_429_only_without_effect(case: Case) -> None:
    error = await fails(case, Fault.UNAVAILABLE)
    assert isinstance(error, UpstreamRateLimited if case.repeatable else UpstreamUnavailable)
    assert isinstance(error, UpstreamError)
    assert error.retry is case.repeatable
    assert error.retry_after_s == 3


@each_strict
async def test_a_refused_key_is_not_repeated_even_when_the_server_repeats_it(case: Case) -> None:
    error = await fails(case, Fault.UNAUTHORIZED)
    assert isinstance(error, UpstreamRefused)
    assert not error.retry
    if case.name != "searxng":
        assert "[credential]" in error.message
        assert "Check the setting" in error.message


@each_strict
async def test_what_is_not_found_is_said_in_the_servers_words(case: Case) -> None:
    error = await fails(case, Fault.NOT_FOUND)
    assert isinstance(error, NotFound if case.name == "execute" else UpstreamRefused)
    assert "no such thing Look." in error.message


@each_case
async def test_a_redirect_to_another_host_is_not_followed(case: Case) -> None:
    elsewhere = FaultyServer()
    async with running(case) as it, elsewhere.serving():
        it.server.redirect_to = f"{elsewhere.url}/v1/things"
        it.server.faults.append(Fault.REDIRECT_AWAY)
        if case.passes_statuses:
            assert (await it.call()).status == 302
        else:
            with pytest.raises(UpstreamRefused, match=r"redirect to http://127\.0\.0\.1:\d+/v1/things"):
                await it.call()
    assert elsewhere.seen == []


@each_case
@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.SILENT_BODY])
async def test_a_cancelled_call_ends_the_request(case: Case, fault: Fault) -> None:
    async with running(case) as it, asyncio.timeout(30):
        while not it.server.arrived.locked():
            await it.server.arrived.acquire()
        it.server.faults.append(fault)
        call = asyncio.ensure_future(it.call())
        await it.server.arrived.acquire()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await it.server.abandoned.acquire()


@each_case
async def test_no_failure_is_logged_with_a_credential(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for fault in (Fault.UNAUTHORIZED, Fault.RESET_AFTER_REQUEST, Fault.NOT_HTTP):
        async with running(case) as it:
            it.server.faults.append(fault)
            if not (case.passes_statuses and fault is Fault.UNAUTHORIZED):
                with pytest.raises(WorkbenchError):
                    await it.call()
    assert not any(secret in caplog.text for secret in SECRETS)


@pytest.mark.parametrize("case", {case.server: case for case in CASES}.values(), ids=str)
async def test_each_check_is_free_and_says_what_is_wrong(case: Case) -> None:
    async with running(case) as it:
        assert isinstance(await it.upstream.check(), str)
        for fault in (Fault.RESET_AFTER_REQUEST, Fault.RATE_LIMITED):
            it.server.faults.append(fault)
            with pytest.raises(UpstreamError):
                await it.upstream.check()
        done: list[Any] = getattr(it.server, "answered", []) or getattr(it.server, "executed", [])
        assert done == []
