"""The public skill document's commands, run by bash and curl with only the address changed."""

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.api.conftest import KEY, Server
from tests.compat.curl_lines import LINES, CurlLine
from tests.compat.requirements import promises
from tests.conftest import lacking


def run_as_written(command: str, server: Server) -> dict[str, Any]:
    """Run a command of the document; what it printed, which is JSON."""
    if shutil.which("curl") is None:
        lacking("curl is not installed", "install it")
    setting = f'export COMPOSIO_API_KEY="{KEY}"\nexport COMPOSIO_BASE="{server.url}/api/v3"\n'
    ended = subprocess.run(
        ["bash", "-ec", setting + command],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.slug)
@promises("CC-9.20", "CC-4.23")
def test_each_command_is_answered_in_the_shape_of_the_document(compat: Server, line: CurlLine) -> None:
    answer = run_as_written(line.command, compat)
    assert {"data", "error", "successful"} <= set(answer), answer
    assert set(line.fields) <= set(answer["data"])


@promises("CC-9.20", "CC-8.02", "CC-1.02")
def test_what_one_command_leaves_the_next_one_finds_under_the_documents_label(compat: Server) -> None:
    first = CurlLine(
        "COMPOSIO_REMOTE_WORKBENCH", '{"arguments": {"code_to_execute": "v = 6", "session_id": "abcd"}}', ()
    )
    then = CurlLine(
        "COMPOSIO_REMOTE_WORKBENCH", '{"arguments": {"code_to_execute": "v * 7", "session_id": "abcd"}}', ()
    )
    run_as_written(first.command, compat)
    assert run_as_written(then.command, compat)["data"]["results"] == "42"
