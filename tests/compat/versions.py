"""The published clients that tests run, unmodified, each in an environment of its own. All versions stand here."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """A virtual environment. `packages`: what pip is asked for."""

    name: str
    packages: tuple[str, ...]


NEWEST: Final = PythonEnvironment("newest", ("composio>=0.29,<0.31", "composio-openai-agents>=0.29,<0.31"))
"""The newest that pip can install: a release whose requirements a registry does not have yet is passed over."""

MIDDLE: Final = PythonEnvironment("0.22", ("composio==0.22.0",))
"""The last one with the older transport, which repeats requests by itself."""

OLD: Final = PythonEnvironment("0.10", ("composio==0.10.10",))
"""The last one that speaks /api/v3 and runs meta tools without a session."""

MCP_FRAMEWORK: Final = PythonEnvironment("mcp-framework", ("langchain-mcp-adapters>=0.3.2,<0.4", "mcp>=1.20,<2"))
"""Loads tools of MCP servers for an agent, over the earlier generation of the official client."""

OPENAPI: Final = PythonEnvironment("openapi", ("schemathesis>=4.32,<5",))

SDKS: Final = (NEWEST, MIDDLE, OLD)
PYTHON_ENVIRONMENTS: Final = (*SDKS, MCP_FRAMEWORK, OPENAPI)

NODE_PACKAGES: Final = ("@composio/core@0.19.0", "node@22.23.3")
"""The newest that npm can install, with the interpreter that it asks for."""
