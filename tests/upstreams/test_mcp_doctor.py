"""What the doctor says about what the helpers reach."""

from pathlib import Path
from typing import Any

import pytest

from sandbox.config import Settings
from sandbox.doctor.finding import Finding, Outcome
from sandbox.doctor.upstreams import examine_upstreams
from tests.support.mcp_running import ECHO

pytestmark = pytest.mark.anyio


async def _found(folder: Path, **settings: Any) -> dict[str, Finding]:
    findings: list[Finding] = []
    given = Settings.model_validate({"data_dir": folder, **settings})
    await examine_upstreams(given, show=findings.append, begin=lambda _: None)
    return {finding.name: finding for finding in findings}


async def test_each_mcp_server_is_shown_with_its_tools_or_its_trouble(tmp_path: Path) -> None:
    servers = {
        "echo": {"command": ECHO, "env": {"PYTHONPATH": str(Path.cwd())}},
        "gone": {"command": ["sh", "-c", "echo no licence >&2; exit 2"]},
    }
    found = await _found(tmp_path, mcp_servers=servers)
    assert (found["MCP server echo"].outcome, found["MCP server echo"].words) == (Outcome.OK, "14 tools")
    assert found["MCP server gone"].outcome is Outcome.FAILED
    assert "exit code 2; its last words: no licence" in found["MCP server gone"].words
    assert "[mcp_servers.gone]" in found["MCP server gone"].fix
    assert "tools" not in found


async def test_what_is_not_configured_names_its_setting(tmp_path: Path) -> None:
    found = await _found(tmp_path, object_store="none")
    for name, setting in {
        "tools": "mcp_servers",
        "proxy": "proxy_hosts",
        "model": "model_base_url",
        "search": "exa_api_key",
        "objects": "object_store",
    }.items():
        assert found[name].outcome is Outcome.KNOWN
        assert setting in found[name].fix
