"""The engine or a container fails under a real server: the cause is named, nothing hangs, and the session recovers."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.runtimes.docker_address import UnixAddress
from tests.support.faulty_engine import Bench, answer_of, bench, bench_without_engine

pytestmark = pytest.mark.docker


def suffix_of(workplace: Bench, label: str) -> str:
    """Make the session's sandbox; the end of its id."""
    data = workplace.server.run("kept = 'kept'", session=label)["data"]
    return str(data["sandbox_id_suffix"])


def recovered(workplace: Bench, label: str, old: str, *words: str) -> None:
    """The next call has a new sandbox, says why and what was lost; nothing is left of the old one."""
    answer = workplace.server.run("'kept' in globals()", session=label)
    assert answer["successful"], answer
    assert answer["data"]["results"] == "False"
    said = answer["data"]["execution"]["recreated"]
    assert "Variables and files of the old one are lost" in said
    for word in words:
        assert word in said
    workplace.wait_removed(old)


# --- only the stream is cut: nothing is lost ------------------------------------------------------------


def test_a_stream_cut_while_idle_is_opened_again_and_nothing_is_lost(workplace: Bench, label: str) -> None:
    suffix = suffix_of(workplace, label)
    workplace.proxy.cut_streams()
    data = workplace.server.run("kept", session=label)["data"]
    assert data["results"] == "'kept'"
    assert data["sandbox_id_suffix"] == suffix
    assert "recreated" not in data["execution"]


def test_a_stream_cut_while_code_runs_is_opened_again_and_the_answer_is_whole(workplace: Bench, label: str) -> None:
    suffix = suffix_of(workplace, label)
    execution = workplace.begin(label)
    workplace.proxy.forget()
    workplace.proxy.cut_streams()
    workplace.proxy.wait_for("POST .*/attach")
    workplace.go(workplace.container_of(suffix))
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "completed"
    assert item["data"]["stdout"] == "begun\ndone\n"
    assert item["data"]["sandbox_id_suffix"] == suffix


def test_an_interrupt_while_the_stream_is_cut_is_not_lost(workplace: Bench, label: str) -> None:
    execution = workplace.begin(label)
    workplace.proxy.cut()
    with workplace.server.client() as client:
        assert client.post(f"/v1/executions/{execution}/interrupt").status_code == 202
    workplace.proxy.restore()
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "interrupted"
    assert answer_of(item)["variables"] == "kept"


# --- the engine is gone, restarts, hangs ------------------------------------------------------------------


def test_an_engine_that_is_away_for_a_moment_loses_nothing(workplace: Bench, label: str) -> None:
    suffix = suffix_of(workplace, label)
    execution = workplace.begin(label)
    workplace.proxy.cut()
    workplace.go(workplace.container_of(suffix))
    workplace.proxy.restore()
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "completed"
    assert item["data"]["stdout"] == "begun\ndone\n"
    assert workplace.server.run("kept", session=label)["data"]["results"] == "'kept'"


def test_an_engine_gone_while_idle_is_named_and_the_session_recovers(workplace: Bench, label: str) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    workplace.proxy.cut()
    error = workplace.refused(label)
    assert error["slug"] == "Runtime_EngineUnavailable"
    assert "engine.sock" in error["message"]
    assert error["suggested_fix"]
    with workplace.server.client() as client:
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    workplace.proxy.restore()
    recovered(workplace, label, old, "no Docker engine answers")


def test_an_engine_gone_while_code_runs_ends_it_as_sandbox_gone(workplace: Bench, label: str) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    execution = workplace.begin(label)
    workplace.proxy.cut()
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "sandbox_gone"
    assert answer_of(item)["variables"] == answer_of(item)["files"] == "lost"
    assert "no Docker engine answers" in item["error"]
    workplace.proxy.restore()
    recovered(workplace, label, old)


def test_an_engine_gone_at_the_first_request_is_named_and_the_next_one_is_served(workplace: Bench, label: str) -> None:
    workplace.proxy.cut()
    assert workplace.refused(label)["slug"] == "Runtime_EngineUnavailable"
    workplace.proxy.restore()
    assert workplace.server.run("1", session=label)["successful"]


def test_an_engine_that_hangs_while_code_runs_ends_it_with_the_cause(workplace: Bench, label: str) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    execution = workplace.begin(label)
    workplace.proxy.stall()
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "sandbox_gone"
    assert "engine" in item["error"]
    workplace.proxy.restore()
    recovered(workplace, label, old)


def test_an_engine_that_hangs_at_the_first_request_is_named_at_the_deadline(workplace: Bench, label: str) -> None:
    before = workplace.containers()
    workplace.proxy.stall()
    error = workplace.refused(label)
    assert error["slug"] == "Runtime_EngineUnavailable"
    assert "within 3 s" in error["message"]
    workplace.proxy.restore()
    assert workplace.server.run("1", session=label)["successful"]
    assert len(workplace.containers()) <= len(before) + 2


def test_an_engine_that_hangs_in_a_creation_leaves_nothing_when_it_goes_on(workplace: Bench, label: str) -> None:
    workplace.server.run("1", session=label)
    before = workplace.containers()
    workplace.proxy.ignore("POST .*/start")
    error = workplace.refused(f"{label} new")
    assert "start sandbox" in error["message"]
    assert set(workplace.containers()) <= set(before)


# --- the start and the end of the controller --------------------------------------------------------------


def test_a_controller_starts_without_its_engine_and_serves_when_it_comes(
    engine_socket: UnixAddress, sandbox_image: str, short_folder: Path
) -> None:
    with bench_without_engine(engine_socket, sandbox_image, short_folder) as made:
        assert made.refused("x")["slug"] == "Runtime_EngineUnavailable"
        made.proxy.restore()
        assert made.server.run("1", session="x")["successful"]


@pytest.mark.parametrize("how", [lambda proxy: proxy.cut(), lambda proxy: proxy.stall()], ids=["gone", "hangs"])
def test_a_controller_ends_in_time_without_its_engine(
    engine_socket: UnixAddress, sandbox_image: str, short_folder: Path, how: Callable[[object], None]
) -> None:
    with bench(engine_socket, sandbox_image, short_folder, shutdown_grace_s="1") as made:
        made.begin("x")
        how(made.proxy)
        made.server.process.terminate()
        assert made.server.process.wait(timeout=40) == -signal.SIGTERM
        assert "Traceback" not in made.server.log.read_text()


# --- a container by hand ------------------------------------------------------------------------------------

HANDS = [
    pytest.param(lambda engine, it: engine.remove_container(it, force=True), "removed from outside", id="removed"),
    pytest.param(lambda engine, it: engine.stop(it), "stopped from outside", id="stopped"),
    pytest.param(lambda engine, it: engine.pause(it), "paused from outside", id="paused"),
]


@pytest.mark.parametrize(("meddle", "words"), HANDS)
def test_a_container_meddled_with_while_code_runs_ends_it_with_the_cause(
    workplace: Bench, label: str, meddle: Callable[[object, str], None], words: str
) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    execution = workplace.begin(label)
    meddle(workplace.engine, old)
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "sandbox_gone"
    assert words in item["error"]
    assert "Variables and files are lost" in item["error"]
    recovered(workplace, label, old, words)


@pytest.mark.parametrize(("meddle", "words"), HANDS[:2])
def test_a_container_meddled_with_while_idle_is_replaced_and_the_answer_says_why(
    workplace: Bench, label: str, meddle: Callable[[object, str], None], words: str
) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    meddle(workplace.engine, old)
    recovered(workplace, label, old, words)


def test_a_container_restarted_unseen_is_not_taken_for_the_old_one(workplace: Bench, label: str) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    execution = workplace.begin(label)
    workplace.proxy.cut()
    workplace.engine.restart(old)
    workplace.proxy.restore()
    assert "restarted from outside" in workplace.ended(execution)["error"]
    recovered(workplace, label, old, "restarted from outside")


# --- starts that fail -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", ["POST .*/containers/create", "POST .*/start"], ids=["create", "start"])
def test_an_engine_out_of_disk_is_named_with_a_remedy_and_nothing_is_left(
    workplace: Bench, label: str, request_: str
) -> None:
    before = workplace.containers()
    workplace.proxy.refuse(request_, 500, "write /var/lib/docker/tmp: no space left on device")
    error = workplace.refused(label)
    assert error["slug"] == "Sandbox_StartFailed"
    assert "no space left on device" in error["message"]
    assert "free disk space" in error["suggested_fix"]
    assert set(workplace.containers()) <= set(before)
    workplace.proxy.restore()
    assert workplace.server.run("1", session=label)["successful"]
