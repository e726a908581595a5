"""An agent framework, unmodified, loads the tools of a session over MCP and calls them."""

import json

import pytest

from tests.api.conftest import Server
from tests.compat.conftest import python_of
from tests.compat.environments import INSTALL_S, Environments
from tests.compat.requirements import promises
from tests.compat.runs import RUN_S, run_program
from tests.compat.test_python_sdk import META_TOOLS
from tests.compat.versions import MCP_FRAMEWORK

pytestmark = pytest.mark.timeout(INSTALL_S + RUN_S)


@promises("CC-4.50", "CC-4.51", "CC-4.53")
def test_a_framework_lists_the_tools_of_a_session_and_calls_both(
    environments: Environments, compat: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    python = python_of(environments, MCP_FRAMEWORK)
    with compat.client() as http:
        made = http.post("/api/v3.1/tool_router/session", json={"user_id": "somebody"}).json()
    said = run_program(python, "mcp_framework.py", tmp_path_factory.mktemp("mcp"), made["mcp"]["url"])
    assert set(said.value("tools")) == META_TOOLS
    first, kept, bash = map(json.loads, said.value("calls"))
    assert (first["data"]["stdout"], first["successful"], first["error"]) == ("42\n", True, None)
    assert kept["data"]["results"] == "41"
    assert bash["data"]["stdout"] == "hello\n"
