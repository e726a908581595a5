"""Loads the tools of an MCP endpoint as an agent framework does, and calls both; no model. Says it as JSON.

Run by the interpreter of an environment of `versions`. COMPAT_URL names the endpoint, COMPAT_KEY the key.
"""

import asyncio
import json
import os
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient


async def used() -> dict[str, object]:
    """Load and call."""
    headers = {"x-api-key": os.environ["COMPAT_KEY"]}
    server = {"transport": "streamable_http", "url": os.environ["COMPAT_URL"], "headers": headers}
    tools = {tool.name: tool for tool in await MultiServerMCPClient({"workbench": server}).get_tools()}
    python = await tools["COMPOSIO_REMOTE_WORKBENCH"].ainvoke({"code_to_execute": "x = 41\nprint(x + 1)"})
    kept = await tools["COMPOSIO_REMOTE_WORKBENCH"].ainvoke({"code_to_execute": "x"})
    bash = await tools["COMPOSIO_REMOTE_BASH_TOOL"].ainvoke({"command": "echo hello"})
    return {"tools": {"value": sorted(tools)}, "calls": {"value": [text(each) for each in (python, kept, bash)]}}


def text(given: object) -> str:
    """Give the text of an answer, in whichever form a release gives it."""
    if isinstance(given, list):
        return "".join(part if isinstance(part, str) else part.get("text", "") for part in given)
    return str(given)


if __name__ == "__main__":
    json.dump(asyncio.run(used()), sys.stdout)
