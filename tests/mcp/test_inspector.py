"""The MCP Inspector of the protocol's authors, from npm, against the endpoint."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.api.conftest import BASH, KEY, ROOT, WORKBENCH, Server
from tests.conftest import lacking

PACKAGES: Final = ("@modelcontextprotocol/inspector@2.12.0", "node@22.23.3")
"""With the interpreter that it needs, which is newer than what many systems have."""

FOLDER: Final = ROOT / ".cache" / "mcp-inspector-2.12.0"
INSTALL_S: Final = 170

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of the Inspector's programs; installed once and kept."""
    found = FOLDER / "node_modules" / ".bin"
    if (FOLDER / "complete").exists():
        return found
    npm = shutil.which("npm")
    if npm is None:
        lacking("npm is not installed", "install Node.js")
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--prefix", str(FOLDER), "--no-audit", "--no-fund", "--no-save", *PACKAGES]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S, text=True)
    except subprocess.CalledProcessError as error:
        lacking(f"npm could not install the Inspector ({error.stderr[-300:]})", "check that a registry is reachable")
    except subprocess.TimeoutExpired:
        lacking(f"npm did not install the Inspector in {INSTALL_S} s", "check that a registry is reachable")
    (FOLDER / "complete").touch()
    return found


def inspected(programs: Path, server: Server, path: str, method: str, *arguments: str) -> dict[str, Any]:
    """Call a method by the Inspector's command; what it says."""
    ended = subprocess.run(
        [
            str(programs / "mcp-inspector"),
            "--cli",
            server.url + path,
            "--transport",
            "http",
            "--header",
            f"x-api-key: {KEY}",
            "--method",
            method,
            *arguments,
        ],
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(server.data_dir)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def test_it_lists_the_tools_and_finds_no_error_in_their_schemas(server: Server, path: str, programs: Path) -> None:
    tools = inspected(programs, server, path, "tools/list")["tools"]
    assert {WORKBENCH, BASH} <= {tool["name"] for tool in tools}


def test_it_calls_both_tools(server: Server, path: str, programs: Path) -> None:
    arguments = ("--tool-name", WORKBENCH, "--tool-arg", "code_to_execute=6 * 7")
    python = inspected(programs, server, path, "tools/call", *arguments)
    shell = inspected(programs, server, path, "tools/call", "--tool-name", BASH, "--tool-arg", "command=echo hello")
    assert python["structuredContent"]["data"]["results"] == "42"
    assert shell["structuredContent"]["data"]["stdout"] == "hello\n"


def test_it_lists_resources_and_what_their_addresses_look_like(server: Server, path: str, programs: Path) -> None:
    server.run("print('x' * 50_000)", session=path.split("/")[2])
    resources = inspected(programs, server, path, "resources/list")["resources"]
    templates = inspected(programs, server, path, "resources/templates/list")["resourceTemplates"]
    text = inspected(programs, server, path, "resources/read", "--uri", resources[0]["uri"])["contents"][0]["text"]
    assert templates[0]["uriTemplate"].startswith("workbench://")
    assert text.startswith("xxx")
