"""Tools as servers describe them: those of the MCP servers git, time and sqlite, and such as other services have."""

from typing import Any

from sandbox.gateway.tool_index import Entry
from sandbox.upstreams.base import ToolInfo

_LISTED = """
time get_current_time | Get current time in a specific timezone | timezone
time convert_time | Convert time between timezones | source_timezone time target_timezone
git git_status | Shows the working tree status | repo_path
git git_diff_unstaged | Shows changes in the working directory that are not yet staged | repo_path context_lines
git git_diff_staged | Shows changes that are staged for commit | repo_path context_lines
git git_diff | Shows differences between branches or commits | repo_path target context_lines
git git_commit | Records changes to the repository | repo_path message
git git_add | Adds file contents to the staging area | repo_path files
git git_reset | Unstages all staged changes | repo_path
git git_log | Shows the commit logs | repo_path max_count start_timestamp end_timestamp
git git_create_branch | Creates a new branch from an optional base branch | repo_path branch_name base_branch
git git_checkout | Switches branches | repo_path branch_name
git git_show | Shows the contents of a commit, or of a file or directory | repo_path revision
git git_branch | List Git branches | repo_path branch_type contains not_contains
sqlite read_query | Execute a SELECT query on the SQLite database | query
sqlite write_query | Execute an INSERT, UPDATE, or DELETE query on the SQLite database | query
sqlite create_table | Create a new table in the SQLite database | query
sqlite list_tables | List all tables in the SQLite database
sqlite describe_table | Get the schema information for a specific table | table_name
sqlite append_insight | Add a business insight to the memo | insight
mail send_email | Send an email to one or more recipients, with attachments | to cc subject body attachments
mail create_draft | Create a draft of an email that is not sent yet | to subject body
mail list_messages | List messages in the mailbox, newest first | query max_results label
mail get_message | Get one message with its headers and its body | message_id format
mail add_label | Put a label on a message | message_id label
mail delete_message | Move a message to the bin | message_id
chat post_message | Post a message to a channel | channel text thread_ts
chat list_channels | List the channels of the workspace | limit cursor
chat channel_history | Fetch the messages of a channel | channel oldest latest
chat invite_user | Invite a member to a channel | channel user_id
chat add_reaction | Add an emoji to a message | channel timestamp emoji
issues create_issue | Open a new issue in a repository | owner repo title body labels assignees
issues list_issues | List issues of a repository | owner repo state labels since
issues close_issue | Close an issue | owner repo number
issues add_comment | Comment on an issue or a pull request | owner repo number body
issues create_pull_request | Open a pull request | owner repo head base title body
issues merge_pull_request | Merge a pull request | owner repo number method
issues star_repository | Star a repository for the authenticated user | owner repo
calendar create_event | Create an event with guests, a place and a time | title start end attendees location
calendar list_events | List events between two dates | from_date to_date
calendar delete_event | Delete an event | event_id
calendar find_free_slots | Find times at which all guests are free | attendees duration
drive upload_file | Upload a file to a folder | path folder_id
drive download_file | Download a file by its id | file_id
drive share_file | Share a file with someone, with a role | file_id address role
drive create_folder | Create a folder | name parent_id
sheets append_row | Append a row to a spreadsheet | spreadsheet_id values
sheets read_range | Read the values of a range of cells | spreadsheet_id range
sheets create_chart | Draw a chart from a range of cells | spreadsheet_id range kind
crm create_contact | Create a contact with name and company | name company phone
crm search_contacts | Search contacts by name, company or phone | query limit
crm update_deal | Change the stage or the amount of a deal | deal_id stage amount
pay create_invoice | Create an invoice for a customer | customer_id items currency due
pay refund_payment | Give back a payment, whole or in part | payment_id amount
pay list_payments | List payments of a customer | customer_id status
weather get_forecast | Weather forecast for a place, for up to ten days | latitude longitude days
maps find_route | Directions between two places by car, bike or on foot | origin destination mode
maps geocode_address | Turn an address into coordinates | address
web fetchPage | Fetch a web page and give its text as markdown | url max_length
web takeScreenshot | Take a picture of a web page | url width height
files read_file | Read a file of the disk | path
files search_files | Search for files by a pattern | path pattern
memory create_entities | Remember new things in a knowledge graph | entities
"""


def a_tool(toolkit: str, name: str, description: str = "", *parameters: str, **other: Any) -> ToolInfo:
    """A tool whose parameters are all text."""
    schema = {"type": "object", "properties": {parameter: {"type": "string"} for parameter in parameters}}
    return ToolInfo(f"{toolkit}_{name}".upper(), name, description, toolkit, schema, **other)


def _read(line: str) -> ToolInfo:
    names, description, *rest = (part.strip() for part in line.split("|"))
    toolkit, name = names.split()
    return a_tool(toolkit, name, description, *(rest[0].split() if rest else ()))


TOOLS = [_read(line) for line in _LISTED.strip().splitlines()]
ENTRIES = [*(Entry(tool.toolkit, tool) for tool in TOOLS), Entry("github", words="API requests https://api.github.com")]
