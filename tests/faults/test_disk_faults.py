"""The controller's disk is full, for its database and its log: said with the cause, and what runs goes on."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.support.controller import Controller
from tests.support.faults import ending, fault, python, usable

pytestmark = pytest.mark.docker

SESSION: Final = "disk faults"


@contextmanager
def full_disk(server: Controller) -> Iterator[None]:
    """No file of the controller gets any longer: no row, no line of its log."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


@fault("C16")
def test_a_full_disk_of_the_controller_stops_new_sessions_and_nothing_that_runs(fault_server: Controller) -> None:
    python(fault_server, SESSION, "kept = 'kept'")
    with full_disk(fault_server):
        execution = fault_server.begin(SESSION, code="kept * 2")
        answer = python(fault_server, SESSION, "kept")
        refused = fault_server.tool("new on a full disk", code_to_execute="1")
        with fault_server.client() as client:
            found = [client.get(f"/v1/sessions/{name}").status_code for name in (SESSION, "never made")]
    assert (ending(answer)[0], answer["data"]["results"]) == ("completed", "'kept'")
    assert (refused.status_code, refused.json()["error"]["slug"]) == (503, "Store_Unavailable")
    assert found == [200, 404]
    assert fault_server.execution(execution)["data"]["results"] == "'keptkept'"
    assert python(fault_server, "new on a full disk", "1")["data"]["results"] == "1"
    usable(fault_server, SESSION)
    assert "could not be written" in fault_server.log()
