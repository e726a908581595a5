"""What models are told of each meta tool: how to use it well. Our own words for the names of the public contract."""

from dataclasses import dataclass, field
from typing import Final

from sandbox.limits import (
    BASH_TIMEOUT_DEFAULT_S,
    BASH_TIMEOUT_MAX_S,
    FILES_DIR,
    INLINE_CHARS,
    WORKBENCH_TIMEOUT_DEFAULT_S,
    WORKBENCH_TIMEOUT_MAX_S,
)

DESTRUCTIVE: Final = "destructiveHint"
OPEN_WORLD: Final = "openWorldHint"
READ_ONLY: Final = "readOnlyHint"
IMPORTANT: Final = "important"


@dataclass(frozen=True, slots=True)
class Words:
    """The description of a tool, its tags, and what its own arguments mean beside the common ones."""

    description: str
    tags: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict)


FIELDS: Final[dict[str, str]] = {
    "session_id": (
        "The session to go on with: the id that an earlier answer gave in session.id. Where the address of the server "
        "names the session already, leave it out."
    ),
    "thought": "In a few words, what this step is for. Changes nothing.",
    "current_step": "A short name for the stage of the work, such as FETCH_ORDERS. Changes nothing.",
    "current_step_metric": 'How far that stage is, such as "20/100 orders". Changes nothing.',
}
"""Arguments that several tools have."""

_WORKBENCH: Final = f"""\
Run Python in this session's own sandbox, as a cell of a Jupyter notebook that stays open between calls.

Use it for work over many items, for data too large to read here, for files, tables, charts and documents, and for \
scripts over several tools. For a quick look at a small answer you need no code.

State
- Variables, imports, functions and files of earlier calls are still there. Work in small cells and reuse what is there.
- If an answer says that variables are lost, make them again; files are usually kept.

Answers
- `results` is what the cell shows: its output, then the value of the last expression. Print little.
- Each stream is cut after {INLINE_CHARS:,} characters; the whole is then in the file that `*_file_path` names.
- Displayed figures and images are saved as files and listed in `artifacts`.
- When code raises, `error` has the traceback, and what ran before it has happened. Read it before you try again.

Files
- Put what should last into {FILES_DIR}. A user cannot open paths in the sandbox: give the link of upload_local_file.

Helpers, there without an import; each gives (result, error), so look at error first
- run_composio_tool(tool_slug, arguments): run a tool of a connected service. Not for names that begin with COMPOSIO_.
- invoke_llm(query): ask a model, for instance to sort or to sum up many texts.
- web_search(query); proxy_execute(method, endpoint, toolkit, ...): a direct call of a service's own API.
- upload_local_file(path, ...): links to files for the user. smart_file_extract(path): the text of a document.
- They can be called from threads: ThreadPoolExecutor with up to 10 workers inside one cell is fine.

Limits
- A cell may run {WORKBENCH_TIMEOUT_DEFAULT_S} s unless `timeout` says otherwise (up to {WORKBENCH_TIMEOUT_MAX_S}). \
Then it is interrupted; what it printed and the files it wrote are kept. Cut long work into cells and save in between.
- No `return` outside a function, no input(). Top-level await, %magics and !commands work.\
"""

_BASH: Final = f"""\
Run a command in a fresh bash of this session's sandbox; the files are those that the Python tool sees.

- Starts in /home/user each time: no `cd`, variable or alias of an earlier call is left, files are.
- Good for looking at files (ls, head, grep, jq), archives, git, and programs that have a command line.
- `exit_code` says how the command ended. One other than 0 is no failure of the tool: grep that finds nothing gives 1.
- stdout and stderr are each cut after {INLINE_CHARS:,} characters; the whole is then in the file that `*_file_path` \
names. Read parts of it with head, tail or sed -n.
- There is no terminal and nothing to type into: no editors, no pagers, no questions (use -y and the like).
- A job started with & goes on after the call; a command itself may run {BASH_TIMEOUT_DEFAULT_S} s unless `timeout` \
says otherwise (up to {BASH_TIMEOUT_MAX_S}).\
"""

_MULTI_EXECUTE: Final = f"""\
Run up to 50 tools of connected services at the same time, each with its own arguments, and get all answers together.

- Use it for calls that do not need each other's answers. One that needs another's comes in a later call.
- Arguments have to fit the schema of each tool: get the schema first when you do not have it. Do not guess ids.
- Each entry of `results` has `response` or `error`, in the order asked for. One that failed does not stop the others.
- Answers that are large come as a preview, and whole in a JSON file in the sandbox (`remote_file_info`, under \
{FILES_DIR}). What is a preview is marked ("...18 more items"): do not count or copy it, read \
the file with the Python tool.
- Many items, pages or steps in a row are a script: use run_composio_tool in the Python tool instead.
- Not for tools whose name begins with COMPOSIO_.\
"""

_SEARCH: Final = """\
Find the tools for a task, with their schemas, whether their services are connected, steps to take and what to look \
out for. Begin here: slugs and arguments of tools are never to be guessed.

- One query for one action ("list open issues", "close an issue"), up to 7 in a call; also for what has to come before.
- Say it in plain English and name the service when the user did. No names, addresses or other private data.
- A tool with `schemaRef` in place of `input_schema` needs COMPOSIO_GET_TOOL_SCHEMAS before you call it.
- Where `has_active_connection` is false, call COMPOSIO_MANAGE_CONNECTIONS before the tools of that toolkit.
- For a new task ask for a session with generate_id, and pass its id in all calls that follow.
- When nothing fits, search once more in other words.\
"""

_GET_SCHEMAS: Final = """\
Get the whole input schemas of tools by their slugs, as COMPOSIO_SEARCH_TOOLS gave them. Use it for tools that came \
with `schemaRef`, and when a call was refused for its arguments. Slugs that are not known are listed in `not_found`; \
`message` then names those that are near.\
"""

_MANAGE_CONNECTIONS: Final = """\
See whether toolkits are connected, and try again those that are not. Name toolkits as COMPOSIO_SEARCH_TOOLS gave them.

- `active`: its tools can be called. `initiated`: give the user `redirect_url` if there is one, else ask again soon.
- `failed`: `instruction` says what has to be configured; tell the user, and do not call its tools.\
"""

_CREATE_PLAN: Final = """\
Have a plan made for a task of many steps: the steps with their tools and inputs, what depends on what, what to do \
when something fails, and what only the user can say. Call it after COMPOSIO_SEARCH_TOOLS, with the slugs found there; \
for one or two steps it is not worth its time.\
"""

WORDS: Final[dict[str, Words]] = {
    "COMPOSIO_REMOTE_WORKBENCH": Words(
        _WORKBENCH,
        (DESTRUCTIVE, OPEN_WORLD),
        {
            "code_to_execute": "Python source of one cell. End it with an expression, or print what you want to see.",
            "timeout": f"Seconds the cell may run, 1 to {WORKBENCH_TIMEOUT_MAX_S}.",
        },
    ),
    "COMPOSIO_REMOTE_BASH_TOOL": Words(
        _BASH,
        (DESTRUCTIVE, OPEN_WORLD),
        {
            "command": "What bash runs; several lines, pipes and here-documents are fine.",
            "timeout": f"Seconds the command may run, 1 to {BASH_TIMEOUT_MAX_S}.",
        },
    ),
    "COMPOSIO_MULTI_EXECUTE_TOOL": Words(
        _MULTI_EXECUTE,
        (OPEN_WORLD, DESTRUCTIVE, IMPORTANT),
        {
            "tools": "The tools to run: slug and arguments of each.",
            "sync_response_to_workbench": (
                "True writes all answers to a file in the sandbox and shows previews: set it when they may be large, "
                "or when code is to go through them."
            ),
        },
    ),
    "COMPOSIO_SEARCH_TOOLS": Words(
        _SEARCH,
        (READ_ONLY, IMPORTANT),
        {
            "queries": "What to do, one action each: `use_case`, and in `known_fields` what is known, as name: value.",
            "session": "`generate_id` true for a new session, or `id` of one to go on with.",
            "toolkits": "Search only in these toolkits.",
            "model": "The name of the model that asks. Changes nothing here.",
        },
    ),
    "COMPOSIO_GET_TOOL_SCHEMAS": Words(
        _GET_SCHEMAS,
        (READ_ONLY,),
        {
            "tool_slugs": "Slugs of tools, up to 50.",
            "include": 'With "output_schema" in it, what the tools answer is described too.',
        },
    ),
    "COMPOSIO_MANAGE_CONNECTIONS": Words(
        _MANAGE_CONNECTIONS,
        (OPEN_WORLD,),
        {
            "toolkits": "Names of toolkits.",
            "reinitiate_all": "True tries again also those that are connected.",
        },
    ),
    "COMPOSIO_WAIT_FOR_CONNECTIONS": Words(
        "Wait until toolkits are connected, such as while the user gives access by a link, and say how they stand.",
        (READ_ONLY, OPEN_WORLD),
        {"toolkits": "Names of toolkits.", "timeout": "Seconds to wait at most, 1 to 300; 60 when it is left out."},
    ),
    "COMPOSIO_CREATE_PLAN": Words(
        _CREATE_PLAN,
        (READ_ONLY,),
        {
            "use_case": "The task, in plain English.",
            "primary_tool_slugs": "Tools that a search gave for it.",
            "related_tool_slugs": "Tools that may help.",
            "known_fields": "What is known already, as name: value.",
            "difficulty": "easy, medium or hard.",
            "reasoning": "Why it needs a plan.",
        },
    ),
}
