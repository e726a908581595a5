"""The promises of the contract with programs written for the hosted service, each with an id, its place and a sentence.

A test says which it holds: `@promises("CC-0.02")`. `test_requirements` compares both directions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

_Test = TypeVar("_Test", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise. `id`: CC, its section, its number; `source`: the place in the contract; `says`: what holds."""

    id: str
    source: str
    says: str


def _read(source: str, text: str) -> tuple[Promise, ...]:
    """Read a block of lines `number sentence`; `source` is the part of the contract that they are from."""
    lines = [line.strip().partition(" ") for line in text.strip().splitlines()]
    return tuple(Promise(f"CC-{number}", source, says.strip()) for number, _, says in lines)


_CHECKLIST: Final = _read(
    "0, checklist",
    """
    0.01 Every path of the session API is served under /api/v3 and under /api/v3.1.
    0.02 Execution in a session answers data (an object), error (null on success), log_id and result_type.
    0.03 The direct road finds its session by session_id (an id or a label), else user_id, else the key's default.
    0.04 The road of meta tools behaves as the one of all tools.
    0.05 A session's answer has its id, a place for MCP clients, its whole configuration, a version and its tools.
    0.06 The three routes of the tool catalogue give whole items.
    0.07 Every answer of 400 or more has the envelope, those of the framework (404, 405, 422) too.
    0.08 Every error of a route that executes says that it is not to be repeated (x-should-retry: false).
    0.09 Arguments of all generations are taken together, and unknown ones are ignored.
    0.10 Answers have the output fields of all generations; what is added can be left out by a setting.
    0.11 Long output goes to /mnt/files/.composio/output, and /home/user/.code_out is a link to it.
    0.12 The list of files has no next_cursor on its last page.
    0.13 The place for MCP clients has the origin of the API.
    0.14 Bytes of files go by routes of our own too, for servers that are not public.
    0.15 Without a sandbox its tools vanish and are 400; a deleted session is 404; an old version is 409.
    """,
)

_SANDBOX: Final = _read(
    "1.1-1.4, sandbox, configuration, lifetimes",
    """
    1.01 Both tools of the sandbox are there by default and share one sandbox.
    1.02 Python runs in a kernel whose variables live from call to call.
    1.03 Six helpers are there in every cell without an import.
    1.05 The packages that agents are told of are in the image.
    1.06 The four sizes of a sandbox are known, and no others.
    1.07 Files under /mnt/files are the mount `files`.
    1.08 expires_at is the end of a link, not of a file.
    1.20 workbench.enable false takes both tools away.
    1.21 workbench.enable_proxy_execution false refuses proxy_execute in the sandbox and keeps the sandbox.
    1.22 workbench.auto_offload_threshold is the number of characters above which an answer becomes a file.
    1.23 proxy_execute.enable true adds a tool for raw requests.
    1.24 proxy_execute.enable false with workbench.enable_proxy_execution true is refused.
    1.25 search and execute can be switched off; the preset direct_tools does so and takes the sandbox away.
    1.26 Tools about connections can be switched off, and the one that waits for them on.
    1.27 All other keys of the configuration are taken and said again.
    1.28 Answers spell the switches as documented (enabled, proxy_execution_enabled) and as requests do.
    1.29 An unknown key of a creation or a change is 400 and named.
    1.30 A change replaces the maps tools, auth_configs and connected_accounts.
    1.31 A change merges workbench, manage_connections and multi_account by subfield.
    1.32 null in a change clears a block.
    1.33 A change that expects an older version is 409 and changes nothing.
    1.34 Every version of a configuration can be listed.
    1.35 Ids of sessions begin with trs_.
    1.36 A session has six meta tools by default.
    1.40 Each session has a sandbox of its own, and the same id finds it again.
    1.41 A session does not end by time; its sandbox may rest.
    1.42 Signed links work for an hour by default, and not longer than they say.
    1.43 Staged files are removed after a day.
    1.44 A file of the sandbox has a key and a link for tools that take files.
    1.45 A raw request goes to the toolkit's own host only.
    1.46 An overload is answered with the seconds after which to come back.
    1.50 A large answer becomes a file only when that was asked for, or several tools were run.
    1.51 Raw requests keep to the session's lists of toolkits, from the sandbox too.
    1.52 No credential is in the sandbox.
    """,
)

_TOOLS: Final = _read(
    "2, the three tools",
    """
    2.01 code_to_execute is required, and everything else of the workbench tool optional.
    2.02 command is required, and everything else of the bash tool optional.
    2.03 Several tools are run by 1 to 50 orders; sync_response_to_workbench is false when it is left out.
    2.04 current_step_metric may be text or an object.
    2.05 timeout bounds an execution and its default and ceiling are settings.
    2.06 An item of the catalogue has the published name, tags, toolkit, version and no_auth.
    2.10 The wrapper of an answer is data, successful and error.
    2.11 The workbench tool answers results, stdout, stderr, error, sandbox_id_suffix and session.
    2.12 The bash tool answers both streams and their numbers of lines, of the whole output when it was cut.
    2.13 Several tools answer results with tool_slug, index, response and error, and three counts.
    2.14 A tool that could not be run has no response and an error with words.
    2.15 results is what a notebook shows, stripped at its end; stdout is the raw stream.
    2.16 A path of a file is there only for what was cut.
    2.17 A missing argument is named in the words that clients know.
    2.20 Helpers may be called by many threads of one cell.
    2.21 Meta tools cannot be run by run_composio_tool.
    2.22 A return at the top level gets a hint.
    """,
)

_HELPERS: Final = _read(
    "3, helpers",
    """
    3.01 run_composio_tool gives the tool's whole answer and an empty text, or an error in words.
    3.02 invoke_llm takes up to 200,000 characters.
    3.03 upload_local_file gives s3_url, uploaded_file, type, id, s3key, key and message; several files become one zip.
    3.04 proxy_execute has the newer and the older form.
    3.05 web_search gives text.
    3.06 smart_file_extract gives the text of documents and images.
    3.07 get_mount_file_url and get_mount_file_s3_key take a path in the mount.
    3.10 A call is repeated only after 429 and what comes to the same, at most three times.
    3.11 What makes no sense is refused before it is sent, in words.
    3.12 An API's error status is an error beside the whole answer.
    3.13 The shape of an answer is printed when it is asked for.
    3.14 What the openly published helpers send is answered.
    """,
)

_HTTP: Final = _read(
    "4, HTTP",
    """
    4.01 The Python package 0.10 works: /api/v3, execute_meta, the direct road without a session.
    4.02 The Python package 0.22 works: /api/v3.1, execute with the flag for large answers, files, changes.
    4.03 The newest Python package works, with a published provider for an agent framework.
    4.04 The TypeScript package works.
    4.10 A session is made: 201.
    4.11 A session is read: 200 and the same answer.
    4.12 A session is changed: 200 and the new configuration and version.
    4.13 A session is deleted: 200 and its id.
    4.14 A client attaches to a session: 200 and the same answer.
    4.15 The history of a configuration comes in pages with totals.
    4.16 Toolkits of a session come in pages, with slug, name, logo, is_no_auth and connection.
    4.17 A request for a connection is answered, for what is configured here with the reason why there is none.
    4.18 The older form of the workbench block is taken.
    4.20 Everything that a newer client sends beside tool_slug and arguments is taken.
    4.21 A search answers success, error, results, schemas, connections, session, guidance and time.
    4.22 A raw request answers status, data, headers and result_type.
    4.23 The direct road answers data, error, successful, log_id and session_info.
    4.24 The direct road of raw requests answers status, data and headers.
    4.25 Code that failed is 200 on both roads.
    4.30 An item of the catalogue has every published field.
    4.31 A session's tools come in pages of limit by cursor.
    4.32 Tools are found by tool_slugs and by slug; toolkit_versions is taken.
    4.40 A link for an upload says where the file will be and until when it works.
    4.41 Bytes are put to such a link with their type, and are in the sandbox at once.
    4.42 A link for a download gives the bytes of a file.
    4.43 Files are listed in pages, below a prefix when one is named.
    4.44 A file is deleted, and is gone.
    4.45 A place for a tool's file is given under /api/v3, and putting to it is answered with exactly 200.
    4.50 MCP clients are served at the session's place: initialize, 202 for notifications, mcp-session-id.
    4.51 A tool called over MCP answers the same object as text.
    4.52 MCP takes x-api-key and Authorization: Bearer.
    4.53 An agent framework loads both tools over MCP and calls them.
    4.60 The headers of all generations are taken; a key is taken from each that carries one.
    """,
)

_ERRORS: Final = _read(
    "5, errors, retries, transport",
    """
    5.01 Each status is the exception that the packages have for it.
    5.02 The newest packages find the details of an error: message, slug, code and status of the right types.
    5.10 An execution that was refused is sent once by every generation.
    5.11 A change that met a conflict is sent once.
    5.12 A request that says it repeats another joins that one's execution: code runs once.
    5.13 An Idempotency-Key does the same for any client.
    5.20 Loopback works without TLS; for all else the packages want https.
    5.21 Asking for the place of MCP clients gives its headers.
    5.30 Calls about files work against an address that is not public; the packages refuse its bytes.
    6.01 The recorded exchanges are answered in their shapes.
    """,
)

_FORMATS: Final = _read(
    "7, exact formats",
    """
    7.01 Cut output of bash ends with the notice that clients read.
    7.02 Cut output of Python ends with the notice that clients read.
    7.03 Files of cut output are named by the tool, a word of four letters and the stream.
    7.04 Whole answers are at /mnt/files/mex/<word>.json, results[i].response.data in them.
    7.05 A large answer is shown as data_preview and structure_info.
    7.06 Arrays of a preview keep two items and then say how many more there are, in nested ones too.
    7.07 structure_info describes the direct children of the data.
    7.08 remote_file_info names the file, says how to read it and its size in tokens.
    """,
)

_FAILURES: Final = _read(
    "8, failures to design against",
    """
    8.01 A sandbox stays the session's; when it had to be replaced the answer says so.
    8.02 Any label finds the same sandbox each time.
    8.03 After a preview the next step names the file.
    8.04 A timeout interrupts first, keeps the output so far, mends the streams and says what became of the state.
    8.05 A background job of bash lives on in the next call.
    8.07 Bodies of several megabytes are taken, up to a setting.
    8.08 Large files are written to /mnt/files in one piece.
    8.09 Where no sandbox can be had the answer is 503 with the reason.
    8.10 Calls of one session at once share its kernel and wait for each other.
    8.12 What is not found or not valid is named.
    """,
)

_DECISIONS: Final = _read(
    "9, decisions",
    """
    9.01 timeout of Python is 1 to 780 seconds, 600 by default; both are settings.
    9.02 timeout of bash is 300 seconds by default; its ceiling is a setting.
    9.03 The threshold is 20,000 characters by default; the session's own wins.
    9.04 Offloading is by the two flags, or by size when several tools were run.
    9.07 Code that raised is 200 with one line of error and the whole traceback without colours in data.error.
    9.08 An exit code that is not 0 is no failure, and is in data.exit_code.
    9.09 A timeout is 200 with an error that says the limit, what was done and what was kept.
    9.10 exit_code, artifacts and execution are left out by strict_schema.
    9.11 session in data has the session's own id, and labels are taken wherever ids are.
    9.13 sandbox_id_suffix changes only with the sandbox.
    9.14 A live sandbox is resized in place, nothing is lost, and the answer says so.
    9.15 Answers of configurations have both spellings.
    9.16 Wrong arguments are 422 with every bad field, and the message names the first.
    9.17 1 to 50 tools are taken at once; how many run at the same time is a setting.
    9.18 A plan is the backend's, else the model's, else an error that says what is missing.
    9.20 The public skill document's commands run as written with only the address changed.
    9.21 Every path of our own description answers as it says, whatever is sent.
    """,
)

ALL: Final = (
    *(*_CHECKLIST, *_SANDBOX, *_TOOLS, *_HELPERS),
    *(*_HTTP, *_ERRORS, *_FORMATS, *_FAILURES, *_DECISIONS),
)
IDS: Final = frozenset(promise.id for promise in ALL)


def promises(*ids: str) -> Callable[[_Test], _Test]:
    """Say which promises a test holds; changes nothing of it.

    Raises:
        ValueError: there is no such promise.
    """
    unknown = sorted(set(ids) - IDS)
    if unknown or not ids:
        raise ValueError(f"not in the list of promises: {', '.join(unknown) or 'nothing'}")
    return lambda test: test
