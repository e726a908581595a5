"""The engine or a container fails under a real server: the cause is named, nothing hangs, and the session recovers."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import docker
import docker.errors
import pytest

from sandbox.pipe.messages import Ending, RunCode
from sandbox.runtimes.docker import DockerRuntime
from sandbox.runtimes.docker_address import EngineAddress, UnixAddress, engine_address
from sandbox.runtimes.docker_engine import make_client
from sandbox.runtimes.docker_spec import LABEL_SANDBOX
from sandbox.sessions.manager import SessionManager
from sandbox.sessions.options import SessionLimits
from sandbox.sessions.store_sql import SqlStore
from tests.compat.requirements import promises
from tests.support.engine_proxy import engine_proxy
from tests.support.faults import fault
from tests.support.faulty_engine import Bench, answer_of, bench, bench_without_engine
from tests.support.images import image_running

pytestmark = pytest.mark.docker


def suffix_of(workplace: Bench, label: str) -> str:
    """Make the session's sandbox; the end of its id."""
    data = workplace.server.run("kept = 'kept'; open('kept.txt', 'w').write(kept)", session=label)["data"]
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


def entrypoint_of(engine: EngineAddress, image: str) -> list[str]:
    """What an image runs as process 1."""
    with make_client(engine, timeout_s=20) as client:
        return list(client.inspect_image(image)["Config"]["Entrypoint"])


def wait_removed(client: docker.APIClient, sandbox_id: str) -> None:
    """Wait until the container of a sandbox has been removed."""
    for entry in client.containers(all=True, filters={"label": [f"{LABEL_SANDBOX}={sandbox_id}"]}):
        with suppress(docker.errors.NotFound):
            client.wait(entry["Id"], condition="removed", timeout=20)


def started_again(workplace: Bench, label: str, old: str, *words: str) -> None:
    """The next call has the old container with its files, and says why its variables are gone."""
    answer = workplace.server.run("'kept' in globals(), open('kept.txt').read()", session=label)
    assert answer["successful"], answer
    assert answer["data"]["results"] == "(False, 'kept')"
    said = answer["data"]["execution"]["recreated"]
    for word in (*words, "Variables and running programs are lost; files are kept"):
        assert word in said
    assert workplace.container_of(answer["data"]["sandbox_id_suffix"]) == old


# --- only the stream is cut: nothing is lost ------------------------------------------------------------


@fault("C01")
def test_a_stream_cut_while_idle_is_opened_again_and_nothing_is_lost(workplace: Bench, label: str) -> None:
    suffix = suffix_of(workplace, label)
    workplace.proxy.cut_streams()
    data = workplace.server.run("kept", session=label)["data"]
    assert data["results"] == "'kept'"
    assert data["sandbox_id_suffix"] == suffix
    assert "recreated" not in data["execution"]


@fault("C01")
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


@fault("C02")
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


@fault("C03")
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


@fault("C04")
def test_an_engine_gone_while_idle_is_named_and_the_session_recovers(workplace: Bench, label: str) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    workplace.proxy.cut()
    error = workplace.refused(label)
    assert error["slug"] == "Runtime_EngineUnavailable"
    assert "engine.sock" not in error["message"]
    assert "engine.sock" in workplace.server.log.read_text()
    assert error["suggested_fix"]
    with workplace.server.client() as client:
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
    workplace.proxy.restore()
    recovered(workplace, label, old, "no Docker engine answers")


@fault("C04")
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


@fault("C04")
def test_an_engine_gone_at_the_first_request_is_named_and_the_next_one_is_served(workplace: Bench, label: str) -> None:
    workplace.proxy.cut()
    assert workplace.refused(label)["slug"] == "Runtime_EngineUnavailable"
    workplace.proxy.restore()
    assert workplace.server.run("1", session=label)["successful"]


@fault("C05")
def test_an_engine_that_hangs_while_code_runs_ends_it_with_the_cause(workplace: Bench, label: str) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    execution = workplace.begin(label)
    workplace.proxy.stall()
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "sandbox_gone"
    assert "engine" in item["error"]
    workplace.proxy.restore()
    recovered(workplace, label, old)


@fault("C05")
def test_an_engine_that_hangs_at_the_first_request_is_named_at_the_deadline(workplace: Bench, label: str) -> None:
    before = workplace.containers()
    workplace.proxy.stall()
    error = workplace.refused(label)
    assert error["slug"] == "Runtime_EngineUnavailable"
    assert "within 3 s" in error["message"]
    workplace.proxy.restore()
    assert workplace.server.run("1", session=label)["successful"]
    assert len(workplace.containers()) <= len(before) + 2


@fault("C06")
def test_an_engine_that_hangs_in_a_creation_leaves_nothing_when_it_goes_on(workplace: Bench, label: str) -> None:
    workplace.server.run("1", session=label)
    before = workplace.containers()
    workplace.proxy.ignore("POST .*/start")
    error = workplace.refused(f"{label} new")
    assert "start sandbox" in error["message"]
    assert set(workplace.containers()) <= set(before)


# --- the start and the end of the controller --------------------------------------------------------------


@fault("C07")
def test_a_controller_starts_without_its_engine_and_serves_when_it_comes(
    engine_socket: UnixAddress, sandbox_image: str, short_folder: Path
) -> None:
    with bench_without_engine(engine_socket, sandbox_image, short_folder) as made:
        assert made.refused("x")["slug"] == "Runtime_EngineUnavailable"
        made.proxy.restore()
        assert made.server.run("1", session="x")["successful"]


@fault("C08")
@pytest.mark.anyio
async def test_a_pool_whose_engine_is_away_at_the_start_is_filled_when_it_comes_back(
    engine_socket: UnixAddress, sandbox_image: str, short_folder: Path, installation: str
) -> None:
    with engine_proxy(engine_socket.path, short_folder) as proxy:
        proxy.cut()
        runtime = DockerRuntime(image=sandbox_image, address=engine_address({}, url=proxy.url), timeout_s=20)
        store = SqlStore(f"sqlite:///{short_folder}/workbench.db")
        manager = SessionManager(runtime, store, installation=installation, limits=SessionLimits(pool_size=2))
        await manager.start_up()
        try:
            assert len(manager.pool) == 0
            proxy.restore()
            async with asyncio.timeout(60):
                await manager.pool.filled()
            ready = {info.sandbox_id[-4:] for info in await runtime.list(installation)}
            execution = await manager.start(await manager.resolve("ann", "x", None), RunCode("1"), timeout_s=20)
            assert (await execution.wait()).ending is Ending.COMPLETED
            assert execution.sandbox_suffix in ready
        finally:
            await manager.aclose()


@fault("C15")
@pytest.mark.anyio
async def test_a_pool_is_renewed_when_its_image_is_built_anew_under_the_same_name(
    docker_engine: EngineAddress, sandbox_image: str, tmp_path: Path, installation: str
) -> None:
    with image_running(docker_engine, sandbox_image, entrypoint_of(docker_engine, sandbox_image)) as image:
        runtime = DockerRuntime(image=image, address=docker_engine)
        store = SqlStore(f"sqlite:///{tmp_path}/workbench.db")
        limits = SessionLimits(pool_size=1, pool_check_s=0.1)
        manager = SessionManager(runtime, store, installation=installation, limits=limits)
        await manager.start_up()
        try:
            await manager.pool.filled()
            (old,) = await runtime.list(installation)
            before = await runtime.image_id()
            with make_client(docker_engine, timeout_s=20) as client:
                client.tag(sandbox_image, *image.split(":"), force=True)
                await asyncio.to_thread(wait_removed, client, old.sandbox_id)
                client.remove_image(before)  # it has no name any more
            await manager.pool.filled()
            assert old.sandbox_id not in {info.sandbox_id for info in await runtime.list(installation)}
        finally:
            await manager.aclose()


@fault("C09")
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

Meddle = Callable[[docker.APIClient, str], object]

ENDS = [
    pytest.param(lambda engine, it: engine.stop(it, timeout=0), "stopped from outside", id="stopped"),
    pytest.param(lambda engine, it: engine.kill(it), "stopped from outside", id="killed"),
    pytest.param(lambda engine, it: engine.restart(it, timeout=0), "", id="restarted"),
]


@fault("C10")
def test_a_container_removed_by_hand_while_code_runs_ends_it_with_the_cause(workplace: Bench, label: str) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    execution = workplace.begin(label)
    workplace.engine.remove_container(old, force=True)
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "sandbox_gone"
    assert "removed from outside" in item["error"]
    assert "Variables and files are lost" in item["error"]
    recovered(workplace, label, old, "removed from outside")


@promises("CC-8.01", "CC-9.13")
@fault("C10")
def test_a_container_removed_by_hand_while_idle_is_replaced_and_the_answer_says_why(
    workplace: Bench, label: str
) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    workplace.engine.remove_container(old, force=True)
    recovered(workplace, label, old, "removed from outside")


@fault("C11")
@pytest.mark.parametrize(("meddle", "words"), ENDS)
def test_a_container_ended_by_hand_while_code_runs_ends_it_and_is_started_again_with_its_files(
    workplace: Bench, label: str, meddle: Meddle, words: str
) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    execution = workplace.begin(label)
    meddle(workplace.engine, old)
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "sandbox_gone"
    assert words in item["error"]
    assert "The next call starts it again. Variables are lost; files are kept" in item["error"]
    started_again(workplace, label, old, words)


@fault("C11")
@pytest.mark.parametrize(("meddle", "words"), ENDS)
def test_a_container_ended_by_hand_while_idle_is_started_again_with_its_files(
    workplace: Bench, label: str, meddle: Meddle, words: str
) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    meddle(workplace.engine, old)
    started_again(workplace, label, old, words)


@fault("C12")
def test_a_container_paused_by_hand_while_code_runs_is_resumed_and_nothing_is_lost(
    workplace: Bench, label: str
) -> None:
    suffix = suffix_of(workplace, label)
    execution = workplace.begin(label)
    workplace.engine.pause(workplace.container_of(suffix))
    workplace.proxy.wait_for("POST .*/unpause")
    workplace.until_resumed(workplace.container_of(suffix))
    workplace.go(workplace.container_of(suffix))
    item = workplace.ended(execution)
    assert answer_of(item)["ending"] == "completed"
    assert item["data"]["stdout"] == "begun\ndone\n"


@fault("C12")
def test_a_container_paused_by_hand_while_idle_is_resumed_by_the_next_request(workplace: Bench, label: str) -> None:
    suffix = suffix_of(workplace, label)
    workplace.engine.pause(workplace.container_of(suffix))
    data = workplace.server.run("kept", session=label)["data"]
    assert (data["results"], data["sandbox_id_suffix"]) == ("'kept'", suffix)
    assert "recreated" not in data["execution"]


@fault("C12")
def test_a_container_paused_by_hand_whose_stream_is_cut_is_resumed_and_nothing_is_lost(
    workplace: Bench, label: str
) -> None:
    suffix = suffix_of(workplace, label)
    workplace.engine.pause(workplace.container_of(suffix))
    workplace.proxy.cut_streams()
    assert workplace.server.run("kept", session=label)["data"]["results"] == "'kept'"


@fault("C13")
def test_a_container_restarted_unseen_is_not_taken_for_the_old_one(workplace: Bench, label: str) -> None:
    old = workplace.container_of(suffix_of(workplace, label))
    execution = workplace.begin(label)
    workplace.proxy.cut()
    workplace.engine.restart(old, timeout=0)
    workplace.proxy.restore()
    assert "restarted from outside" in workplace.ended(execution)["error"]
    started_again(workplace, label, old, "restarted from outside")


# --- starts that fail -----------------------------------------------------------------------------------------


@fault("C14")
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
