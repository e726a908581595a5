"""`run_composio_tool`: one tool of one app."""

from typing import Any

from .outcome import Refused, never_raises, text_of
from .relay import relay
from .shape import shape

META_PREFIX = "COMPOSIO_"
SEARCH_PREFIX = "COMPOSIO_SEARCH_"
SEARCH_TOOLS = "COMPOSIO_SEARCH_TOOLS"


@never_raises(dict)
def run_composio_tool(
    tool_slug: str,
    arguments: dict[str, Any],
    retry_params: dict[str, Any] | None = None,
    print_schema_for_tool: bool = False,
    *,
    account: str | None = None,
) -> tuple[dict[str, Any], str]:
    """Run a tool of an app and wait for its answer.

    Example:
        result, error = run_composio_tool("GMAIL_FETCH_EMAILS", {"max_results": 5})
        if error:
            print("failed:", error)
        else:
            messages = result["data"]["messages"]

    Returns:
        (result, error). `error` is "" when the tool succeeded; look at it first. `result` is then
        {"data": {...}, "successful": True, "error": None, "log_id": "..."}, with what the tool gave in `data`.
        When it failed, `result` is what the tool said about it, or {} when it was not run.

    Args:
        tool_slug: the tool's name, such as "GITHUB_CREATE_AN_ISSUE". The meta tools (COMPOSIO_...) are refused.
        arguments: a dict as the tool's input schema wants it; {} for a tool without arguments.
        retry_params: accepted for older code. What can safely be tried again (a rate limit, a connection that
            could not be made) is tried again outside the sandbox, a bounded number of times.
        print_schema_for_tool: print the shape of the answer: its keys and types.
        account: which connected account to use where there are several.

    Safe in threads: a ThreadPoolExecutor may call it for many items at once.
    """
    slug = text_of(tool_slug, "tool_slug").upper()
    if slug.startswith(META_PREFIX) and not (slug.startswith(SEARCH_PREFIX) and slug != SEARCH_TOOLS):
        raise Refused(f"{slug} is a meta tool: it is called by the agent itself, not from code in the sandbox")
    if not isinstance(arguments, dict):
        raise Refused(f"arguments must be a dict, not {type(arguments).__name__}; give {{}} for none")
    if not isinstance(retry_params, dict | None):
        raise Refused(f"retry_params must be a dict or None, not {type(retry_params).__name__}")
    asked: dict[str, Any] = {"tool_slug": slug, "arguments": arguments}
    if account is not None:
        asked["account"] = text_of(account, "account")
    result, error = relay.call("run_composio_tool", asked)
    if not error and not isinstance(result, dict):
        raise Refused(f"{slug} gave no object but {type(result).__name__}")
    if print_schema_for_tool and result:
        print(f"{slug} gives {shape(result)}")
    return (result if isinstance(result, dict) else {}), error
