"""Fixtures of the helpers: a relay that they call, as the agent's would be."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from helpers import begin_cell
from tests.support.relay_server import RelayServer, Respond, serving

Serve = Callable[[Respond], RelayServer]


@pytest.fixture
def serve(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a relay that answers as told, and make it the relay of this process."""
    begin_cell()
    with ExitStack() as stack:

        def start(respond: Respond) -> RelayServer:
            path = short_folder / "relay"
            monkeypatch.setenv("WORKBENCH_RELAY", str(path))
            return stack.enter_context(serving(path, respond))

        yield start


@pytest.fixture
def no_relay(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a relay that is not there."""
    path = short_folder / "relay"
    monkeypatch.setenv("WORKBENCH_RELAY", str(path))
    return path
