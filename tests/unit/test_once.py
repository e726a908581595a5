"""What holds for requests that share an execution, with requests whose connections are held by hand."""

import asyncio
from typing import Any

import pytest
from fastapi import Request
from starlette.responses import Response

from sandbox.api.connected import ClientLeft
from sandbox.api.once import Once, OnceLimits
from sandbox.errors import Conflict, NotFound, UpstreamUnavailable, WorkbenchError

pytestmark = pytest.mark.anyio


class Client:
    """One request of a client; `leave` closes its connection."""

    def __init__(self, body: bytes = b"{}", **headers: str) -> None:
        self._left = asyncio.Event()
        self._body = body
        self._sent = False
        self.request = Request(
            {
                "type": "http",
                "method": "POST",
                "path": "/execute",
                "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
                "query_string": b"",
            },
            self._receive,
        )

    def leave(self) -> None:
        self._left.set()

    async def _receive(self) -> dict[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}


class Job:
    """Counts its executions; each goes on until `go`. `error`: what it raises then; `answer`: what it gives."""

    def __init__(self, answer: bytes = b"done", error: WorkbenchError | None = None) -> None:
        self.began = asyncio.Semaphore(0)
        self.ended = asyncio.Semaphore(0)
        self.go = asyncio.Event()
        self.runs = self.cancelled = 0
        self._answer, self._error = answer, error

    async def work(self) -> bytes:
        self.runs += 1
        self.began.release()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended.release()
        if self._error is not None:
            raise self._error
        return self._answer


def ask(once: Once, job: Job, client: Client) -> asyncio.Task[Response]:
    return asyncio.create_task(once.answer(client.request, "ann", job.work))


def first(**more: str) -> Client:
    return Client(b"{}", **more)


def retry() -> Client:
    return Client(x_stainless_retry_count="2")


async def test_the_first_client_may_leave_when_a_retry_has_joined() -> None:
    once, job, leaving = Once(), Job(), first()
    left = ask(once, job, leaving)
    await job.began.acquire()
    joined = ask(once, job, retry())
    leaving.leave()
    with pytest.raises(ClientLeft):
        await left
    job.go.set()
    assert (await joined).body == b"done"
    assert (job.runs, job.cancelled) == (1, 0)


async def test_an_impatient_client_that_leaves_ends_its_execution_and_a_retry_does_not_run_it_again() -> None:
    once, job, leaving = Once(), Job(), first()
    left = ask(once, job, leaving)
    await job.began.acquire()
    leaving.leave()
    with pytest.raises(ClientLeft):
        await left
    await job.ended.acquire()
    assert job.cancelled == 1
    with pytest.raises(Conflict, match="executed before"):
        await ask(once, job, retry())
    assert job.runs == 1


async def test_an_execution_waits_for_a_client_that_repeats_and_then_ends() -> None:
    once, job, leaving = Once(OnceLimits(leaving_s=0.05)), Job(), first(x_stainless_retry_count="0")
    left = ask(once, job, leaving)
    await job.began.acquire()
    leaving.leave()
    with pytest.raises(ClientLeft):
        await left
    assert job.cancelled == 0
    await job.ended.acquire()
    assert job.cancelled == 1


async def test_all_who_wait_get_the_same_error_and_later_ones_too() -> None:
    once, job = Once(), Job(error=UpstreamUnavailable("it may have been done"))
    tasks = [ask(once, job, first()), *(ask(once, job, retry()) for _ in range(3))]
    job.go.set()
    for error in await asyncio.gather(*tasks, ask(once, job, retry()), return_exceptions=True):
        assert isinstance(error, UpstreamUnavailable)
    assert job.runs == 1


async def test_a_defect_is_not_repeated_either() -> None:
    once, job = Once(), Job()

    async def broken() -> bytes:
        job.runs += 1
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="defect"):
        await once.answer(first().request, "ann", broken)
    with pytest.raises(Conflict):
        await once.answer(retry().request, "ann", broken)
    assert job.runs == 1


async def test_what_executed_nothing_is_forgotten_at_once() -> None:
    once, job = Once(), Job(error=NotFound("no such session"))
    job.go.set()
    with pytest.raises(NotFound):
        await ask(once, job, first())
    assert len(once) == 0


async def test_a_retry_joins_the_execution_that_nobody_waits_for() -> None:
    once, lost, other = Once(), Job(b"lost"), Job(b"other")
    leaving = first(x_stainless_retry_count="0")
    left = ask(once, lost, leaving)
    await lost.began.acquire()
    leaving.leave()
    with pytest.raises(ClientLeft):
        await left
    waiting = ask(once, other, first())
    await other.began.acquire()
    joined = ask(once, lost, retry())
    lost.go.set()
    other.go.set()
    assert (await joined).body == b"lost"
    assert (await waiting).body == b"other"


async def test_memory_is_bounded_in_number_and_in_bytes_and_time() -> None:
    once = Once(OnceLimits(kept=3, kept_bytes=10, kept_s=60))
    for number in range(5):
        job = Job(b"x")
        job.go.set()
        await once.answer(Client(str(number).encode()).request, "ann", job.work)
    assert len(once) == 3
    large = Job(b"x" * 11)
    large.go.set()
    assert (await once.answer(Client(b"large").request, "ann", large.work)).body == b"x" * 11
    with pytest.raises(Conflict, match="too large"):
        await once.answer(Client(b"large", x_stainless_retry_count="1").request, "ann", large.work)
    assert large.runs == 1
    brief = Once(OnceLimits(kept_s=0))
    await brief.answer(first().request, "ann", large.work)
    await asyncio.sleep(0)
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.001, later.set)
    await later.wait()
    assert len(brief) == 0
