"""Idle sandboxes through HTTP: the status says how they rest, and the answer that wakes one says what is lost."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from sandbox.api.keys import KeyRing
from tests.api.conftest import KEY, OTHER_KEY, Server, running_server

OTHER_OWNER = KeyRing([SecretStr(OTHER_KEY)]).owner_of(OTHER_KEY)


@pytest.fixture
def restless(data_dir: Path) -> Iterator[Server]:
    """A server that pauses the first key's sandboxes almost at once, and stops the other's."""
    overrides = {OTHER_OWNER: {"pause_after_s": 0, "stop_after_s": 0.1}}
    with running_server(
        data_dir,
        api_keys=f"{KEY},{OTHER_KEY}",
        pause_after_s="0.1",
        pool_size="0",
        key_overrides=json.dumps(overrides),
    ) as running:
        yield running


def at_rest(server: Server, session: str, key: str) -> dict[str, Any]:
    """Ask until the sandbox is not live any more: what is said of it. Asking does not wake it."""
    deadline = time.monotonic() + 30
    with server.client(key) as client:
        while time.monotonic() < deadline:
            sandbox: dict[str, Any] = client.get(f"/v1/sessions/{session}").json()["sandbox"]
            if sandbox["state"] != "live":
                return sandbox
    pytest.fail("the sandbox did not rest")


def test_each_key_has_its_own_rest_and_the_answers_say_what_it_cost(restless: Server) -> None:
    for key in (KEY, OTHER_KEY):
        restless.run("before = 'before'; open('kept.txt', 'w').write('kept')", session="x", key=key)

    paused = at_rest(restless, "x", KEY)
    assert (paused["state"], paused["status"]) == ("paused", None)
    data = restless.run("before", session="x")["data"]
    assert data["results"] == "'before'"
    assert "recreated" not in data["execution"]

    stopped = at_rest(restless, "x", OTHER_KEY)
    assert (stopped["state"], stopped["status"]) == ("stopped", None)
    data = restless.run("'before' in globals(), open('kept.txt').read()", session="x", key=OTHER_KEY)["data"]
    assert data["results"] == "(False, 'kept')"
    words = "Variables and running programs are lost; files are kept."
    assert words in data["execution"]["recreated"]
    assert words in data["session"]["instructions"]
    assert data["sandbox_id_suffix"] == stopped["sandbox_id_suffix"]

    with restless.client() as client:
        metrics = client.get("/metrics").text
    for rest in ("paused", "stopped"):
        assert f'workbench_sandbox_wakes_total{{rest="{rest}"}} 1.0' in metrics
