"""The client of the relay: connections, threads, forks, interrupts, long arguments and answers."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers import large
from helpers.outcome import Refused
from helpers.relay import Relay
from sandbox import limits
from tests.support.relay_server import RelayServer, Replies, Request, result, serving


def echo(request: Request) -> Replies:
    return result(request["arguments"])


@pytest.fixture
def path(short_folder: Path) -> Path:
    return short_folder / "relay"


@pytest.fixture
def server(path: Path) -> Iterator[RelayServer]:
    with serving(path, echo) as running:
        yield running


@pytest.fixture
def relay(path: Path) -> Relay:
    return Relay(str(path))


def test_a_call_is_one_request_and_one_answer(server: RelayServer, relay: Relay) -> None:
    assert relay.call("some", {"a": [1, "ä", None]}) == ({"a": [1, "ä", None]}, "")
    assert server.requests == [{"helper": "some", "arguments": {"a": [1, "ä", None]}}]


def test_calls_of_a_thread_share_a_connection(server: RelayServer, relay: Relay) -> None:
    for number in range(20):
        assert relay.call("some", {"n": number}) == ({"n": number}, "")
    assert server.connections == 1


def test_each_thread_gets_its_own_answers_over_its_own_connection(path: Path, relay: Relay) -> None:
    together = threading.Barrier(8, timeout=30)

    def respond(request: Request) -> Replies:
        if request["arguments"]["n"] < 8:
            together.wait()
        return echo(request)

    with serving(path, respond) as server, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: relay.call("some", {"n": number}), range(400)))
        assert answers == [({"n": number}, "") for number in range(400)]
        assert server.connections == 8


def test_the_execution_of_a_bash_call_is_said(server: RelayServer, path: Path) -> None:
    Relay(str(path), execution='e"1').call("some", {})
    assert server.requests == [{"helper": "some", "arguments": {}, "execution": 'e"1'}]


def test_progress_is_told_before_the_answer(path: Path, relay: Relay) -> None:
    steps: list[dict[str, Any]] = [{"progress": {"done": 1, "total": 2}}, {"progress": {"done": 2, "total": None}}]
    seen: list[tuple[int, int | None]] = []
    with serving(path, lambda _: Replies((*steps, {"result": 3, "error": ""}))):
        assert relay.call("some", {}, lambda done, total: seen.append((done, total))) == (3, "")
    assert seen == [(1, 2), (2, None)]


def test_an_answer_that_comes_in_pieces_is_put_together(path: Path, relay: Relay) -> None:
    text = "ä" * 150_000
    with serving(path, lambda _: Replies((b'{"resu', b'lt": "', text.encode(), b'", "error": ""}\n'))):
        assert relay.call("some", {}) == (text, "")


def test_long_arguments_travel_in_a_file_that_is_gone_afterwards(path: Path, relay: Relay) -> None:
    seen: list[str] = []

    def respond(request: Request) -> Replies:
        seen.append(Path(request["arguments_path"]).read_text())
        return result(request["arguments_path"])

    with serving(path, respond) as server:
        place, error = relay.call("some", {"a": "x" * large.ARGUMENTS_INLINE_BYTES})
    assert (error, Path(place).exists()) == ("", False)
    assert seen == ['{"a":"' + "x" * large.ARGUMENTS_INLINE_BYTES + '"}']
    assert set(server.requests[0]) == {"helper", "arguments_path"}


def test_arguments_over_the_limit_are_refused_with_the_number(server: RelayServer, relay: Relay) -> None:
    with pytest.raises(Refused, match=f"the limit is {large.ARGUMENTS_MAX_BYTES}"):
        relay.call("some", {"a": "x" * large.ARGUMENTS_MAX_BYTES})
    assert server.requests == []


def test_the_bounds_are_those_of_the_agent() -> None:
    assert large.ARGUMENTS_INLINE_BYTES == limits.HELPER_ARGUMENTS_INLINE_BYTES
    assert large.ARGUMENTS_MAX_BYTES == limits.HELPER_ARGUMENTS_MAX_BYTES


def test_a_long_answer_is_read_from_its_file_which_is_deleted(path: Path, relay: Relay, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text('{"a": "\u00e4"}', "utf-8")
    with serving(path, lambda _: result(None, path=str(answer))):
        assert relay.call("some", {}) == ({"a": "ä"}, "")
    assert not answer.exists()


def test_an_answer_whose_file_is_gone_is_an_error_that_names_it(path: Path, relay: Relay, tmp_path: Path) -> None:
    with serving(path, lambda _: result(None, path=str(tmp_path / "none"))), pytest.raises(Refused, match="none"):
        relay.call("some", {})


def test_a_connection_that_was_closed_while_idle_is_replaced_and_the_call_made_once(path: Path, relay: Relay) -> None:
    closing = Replies(({"result": 1, "error": ""},), then_close=True)
    with serving(path, lambda _: closing) as server:
        for count in range(1, 4):
            assert relay.call("some", {}) == (1, "")
            assert server.connections == len(server.requests) == count
            assert server.ended.acquire(timeout=30)


def test_a_connection_that_ends_in_a_call_is_an_error_and_the_call_is_not_made_again(path: Path, relay: Relay) -> None:
    with serving(path, lambda _: Replies((b'{"result":',), then_close=True)) as server:
        with pytest.raises(Refused, match="whether it was done is not known"):
            relay.call("some", {})
        assert len(server.requests) == 1


def test_a_line_that_is_no_answer_costs_the_connection_only(path: Path, relay: Relay) -> None:
    answers: list[bytes | dict[str, Any]] = [b"!\n", b"[1]\n", {"result": 2, "error": ""}]
    with serving(path, lambda _: Replies((answers.pop(0),))) as server:
        for _ in range(2):
            with pytest.raises((ValueError, TypeError)):
                relay.call("some", {})
        assert relay.call("some", {}) == (2, "")
        assert server.connections == 3


def test_an_interrupt_in_a_call_passes_and_closes_the_connection(path: Path, relay: Relay) -> None:
    ended = threading.Event()

    def respond(request: Request) -> Replies:
        if request["helper"] == "slow":
            os.kill(os.getpid(), signal.SIGINT)
            ended.wait(30)
        return echo(request)

    with serving(path, respond) as server:
        relay.call("quick", {})
        with pytest.raises(KeyboardInterrupt):
            relay.call("slow", {})
        ended.set()
        assert server.gone.wait(30)
        assert relay.call("quick", {"after": 1}) == ({"after": 1}, "")


def test_a_signal_handler_may_call_in_the_middle_of_a_call(path: Path, relay: Relay) -> None:
    inner = threading.Event()

    def respond(request: Request) -> Replies:
        if request["helper"] == "outer":
            os.kill(os.getpid(), signal.SIGUSR1)
            inner.wait(30)
        else:
            inner.set()
        return result(request["helper"])

    answers: list[object] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: answers.append(relay.call("inner", {})))
    try:
        with serving(path, respond):
            answers.append(relay.call("outer", {}))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answers == [("inner", ""), ("outer", "")]


def interrupted(request: Request) -> Replies:
    return result(None, "the execution was interrupted", interrupted=True)


def test_after_an_interrupt_further_calls_of_the_cell_are_not_made(path: Path, relay: Relay) -> None:
    with serving(path, interrupted) as server:
        for _ in range(3):
            assert relay.call("some", {}) == (None, "the execution was interrupted")
        assert len(server.requests) == 1
        relay.begin_cell()
        relay.call("some", {})
        assert len(server.requests) == 2


def test_threads_that_an_interrupted_cell_has_left_do_not_go_on_under_the_next_one(path: Path, relay: Relay) -> None:
    def respond(request: Request) -> Replies:
        return interrupted(request) if request["helper"] == "second" else result("done")

    with serving(path, respond) as server, ThreadPoolExecutor(1) as left:
        assert left.submit(relay.call, "first", {}).result(30) == ("done", "")
        left.submit(relay.call, "second", {}).result(30)
        relay.begin_cell()
        answer, error = left.submit(relay.call, "third", {}).result(30)
        assert answer is None
        assert "start new threads" in error
        assert relay.call("main", {}) == ("done", "")
        with ThreadPoolExecutor(1) as new:
            assert new.submit(relay.call, "new", {}).result(30) == ("done", "")
        assert server.names() == ["first", "second", "main", "new"]


def test_the_interrupt_of_an_earlier_cell_does_not_stop_the_next_one(path: Path, relay: Relay) -> None:
    asked, next_cell = threading.Event(), threading.Event()

    def respond(request: Request) -> Replies:
        if request["helper"] == "earlier":
            asked.set()
            next_cell.wait(30)
            return interrupted(request)
        return result("done")

    with serving(path, respond), ThreadPoolExecutor(1) as pool:
        left = pool.submit(relay.call, "earlier", {})
        assert asked.wait(30)
        relay.begin_cell()
        next_cell.set()
        assert left.result(30) == (None, "the execution was interrupted")
        assert relay.call("next", {}) == ("done", "")


def test_a_forked_child_calls_over_a_connection_of_its_own(server: RelayServer, relay: Relay) -> None:
    relay.call("parent", {})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if relay.call("child", {"a": 1}) == ({"a": 1}, "") else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert relay.call("parent", {}) == ({}, "")
    assert (server.connections, server.names()) == (2, ["parent", "child", "parent"])


def test_without_a_relay_the_error_says_what_is_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match=f"nothing answers at {path}"):
        Relay(str(path)).call("some", {})
    monkeypatch.delenv("WORKBENCH_RELAY", raising=False)
    with pytest.raises(Refused, match="WORKBENCH_RELAY is not set"):
        Relay().call("some", {})


def test_code_that_clears_its_environment_keeps_its_relay(
    server: RelayServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_RELAY", str(path))
    relay = Relay()
    monkeypatch.delenv("WORKBENCH_RELAY")
    assert relay.call("some", {}) == ({}, "")


def test_threads_that_end_leave_no_connection_open(path: Path, relay: Relay) -> None:
    with serving(path, echo) as server:
        thread = threading.Thread(target=relay.call, args=("some", {}))
        thread.start()
        thread.join(30)
        assert server.gone.wait(30)
