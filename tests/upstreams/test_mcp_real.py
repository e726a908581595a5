"""Servers from the registries, as people use them."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sandbox.config_upstreams import McpServer
from sandbox.errors import InvalidArguments
from sandbox.limits import MIB
from sandbox.upstreams.base import ToolAnswer
from sandbox.upstreams.mcp_servers import McpTools
from tests.conftest import lacking
from tests.support.mcp_running import tool_call

pytestmark = pytest.mark.anyio

FILESYSTEM = "@modelcontextprotocol/server-filesystem"


def _command(*command: str) -> McpServer:
    return McpServer.model_validate({"command": command})


def _module(name: str, *arguments: str) -> McpServer:
    return _command(sys.executable, "-m", name, *arguments)


async def _call(server: McpServer, slug: str, **arguments: Any) -> ToolAnswer:
    tools = McpTools({"it": server}, answer_max_bytes=MIB)
    await tools.start()
    try:
        assert await tools.check()
        return await tools.execute(tool_call(slug, **arguments))
    finally:
        await tools.aclose()


async def test_the_time_server_tells_the_time() -> None:
    answer = await _call(_module("mcp_server_time"), "IT_GET_CURRENT_TIME", timezone="Asia/Tokyo")
    assert msgspec.json.decode(answer.data)["timezone"] == "Asia/Tokyo"


async def test_the_time_server_is_not_asked_without_a_timezone() -> None:
    with pytest.raises(InvalidArguments, match=r"arguments\.timezone: is required"):
        await _call(_module("mcp_server_time"), "IT_GET_CURRENT_TIME")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "the first"]):
        subprocess.run([*git, *command], check=True)
    return tmp_path


async def test_the_git_server_shows_the_log(repository: Path) -> None:
    answer = await _call(_module("mcp_server_git"), "IT_GIT_LOG", repo_path=str(repository))
    assert b"the first" in bytes(answer.data)


@pytest.fixture(scope="session")
def sqlite_server(request: pytest.FixtureRequest) -> Path:
    """The program of the sqlite server, in an environment of its own: it needs the SDK before its second version."""
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("mcp-sqlite")
    program = folder / "bin" / "mcp-server-sqlite"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        command = [str(folder / "bin" / "pip"), "install", "-q", "mcp-server-sqlite", "mcp<2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        if done.returncode != 0:
            lacking(f"pip could not install mcp-server-sqlite: {done.stderr[-500:]}", "let pip reach its registry")
    return program


async def test_the_sqlite_server_reads_a_table(sqlite_server: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table t (n integer)")
        database.execute("insert into t values (41)")
    database.close()
    server = _command(str(sqlite_server), "--db-path", str(tmp_path / "a.db"))
    answer = await _call(server, "IT_READ_QUERY", query="select n + 1 as m from t")
    assert answer.error is None
    assert b"42" in bytes(answer.data)


@pytest.fixture(scope="session")
def filesystem_server(request: pytest.FixtureRequest) -> Path:
    """The program of the filesystem server, installed by npm once into pytest's cache."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        lacking("npm or node is not there", "install Node.js")
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("mcp-filesystem")
    program = folder / "node_modules" / FILESYSTEM / "dist" / "index.js"
    if not program.exists():
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", FILESYSTEM]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        if done.returncode != 0:
            lacking(f"npm could not install {FILESYSTEM}: {done.stderr[-500:]}", "let npm reach its registry")
    return program


async def test_the_filesystem_server_reads_a_file(filesystem_server: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("found", encoding="utf-8")
    server = _command("node", str(filesystem_server), str(tmp_path))
    answer = await _call(server, "IT_READ_TEXT_FILE", path=str(tmp_path / "a.txt"))
    assert b"found" in bytes(answer.data)


async def test_the_filesystem_server_refuses_a_file_outside_with_words(filesystem_server: Path, tmp_path: Path) -> None:
    server = _command("node", str(filesystem_server), str(tmp_path))
    answer = await _call(server, "IT_READ_TEXT_FILE", path="/etc/hostname")
    assert answer.error is not None
    assert "Access denied" in answer.error
