"""The commands of the public skill document, as data: which tool, and the body that its curl line sends.

The document's first two lines set a key and an address; each command is then
`curl -X POST "$COMPOSIO_BASE/tools/execute/SLUG" -H "x-api-key: $COMPOSIO_API_KEY" -H "Content-Type: ..." -d 'BODY'`.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CurlLine:
    """One command. `body`: what stands between the quotes; `fields`: what the document shows of the answer's data."""

    slug: str
    body: str
    fields: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command as it is written there."""
        return (
            f'curl -X POST "$COMPOSIO_BASE/tools/execute/{self.slug}" \\\n'
            '-H "x-api-key: $COMPOSIO_API_KEY" \\\n'
            '-H "Content-Type: application/json" \\\n'
            f"-d '{self.body}'"
        )


_SEARCHED: Final = ("results", "tool_schemas", "toolkit_connection_statuses", "time_info", "session")
_RUN: Final = ("results", "stdout", "stderr", "error", "sandbox_id_suffix")
_BASH: Final = ("stdout", "stdoutLines", "stderr", "stderrLines", "sandbox_id_suffix")
_MANY: Final = ("results", "total_count", "success_count", "error_count", "remote_file_info")

LINES: Final = (
    CurlLine(
        "COMPOSIO_SEARCH_TOOLS",
        """{
"arguments": {
"queries": [
{"use_case": "send an email to someone", "known_fields": "recipient_name: John"},
{"use_case": "create a meeting invite", "known_fields": "meeting_date: tomorrow"}
],
"session": {"generate_id": true}
}
}""",
        _SEARCHED,
    ),
    CurlLine(
        "COMPOSIO_MANAGE_CONNECTIONS",
        '{"arguments": {"toolkits": ["gmail", "slack"], "session_id": "abcd"}}',
        ("message", "results", "summary"),
    ),
    CurlLine(
        "COMPOSIO_GET_TOOL_SCHEMAS",
        '{"arguments": {"tool_slugs": ["GMAIL_SEND_EMAIL", "SLACK_SEND_MESSAGE"], "session_id": "abcd"}}',
        ("success", "tool_schemas", "not_found"),
    ),
    CurlLine(
        "COMPOSIO_MULTI_EXECUTE_TOOL",
        """{
"arguments": {
"tools": [
{"tool_slug": "GMAIL_SEND_EMAIL",
"arguments": {"to": "john@example.com", "subject": "Hello", "body": "Welcome to the team!"}},
{"tool_slug": "SLACK_SEND_MESSAGE", "arguments": {"channel": "#general", "text": "New member joined!"}}
],
"sync_response_to_workbench": false,
"session_id": "abcd"
}
}""",
        _MANY,
    ),
    CurlLine(
        "COMPOSIO_REMOTE_WORKBENCH",
        r"""{
"arguments": {
"code_to_execute": "result, error = run_composio_tool(\"GMAIL_FETCH_EMAILS\", """
        r"""{\"max_results\": 5, \"user_id\": \"me\"})\nif error:\n print(\"Error:\", error)\nelse:\n"""
        r""" emails = result.get(\"data\", {})\n print(\"Fetched:\", len(emails.get(\"messages\", [])))",
"thought": "Fetching recent emails for bulk processing",
"session_id": "abcd"
}
}""",
        _RUN,
    ),
    CurlLine(
        "COMPOSIO_REMOTE_BASH_TOOL",
        r"""{
"arguments": {
"command": "cat /home/user/.code_out/response.json | jq \".results[] | .tool_slug\"",
"session_id": "abcd"
}
}""",
        _BASH,
    ),
    CurlLine(
        "COMPOSIO_SEARCH_TOOLS",
        """{
"arguments": {
"queries": [{"use_case": "send an email via gmail", "known_fields": "recipient: john@example.com"}],
"session": {"generate_id": true}
}
}""",
        _SEARCHED,
    ),
)
