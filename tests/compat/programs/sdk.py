"""Uses a service by the `composio` package of whichever version is installed; says how each step ended, as JSON.

Run by the interpreter of an environment of `versions`, so it imports nothing of this repository. COMPAT_URL and
COMPAT_KEY name the service, COMPAT_STEPS the steps (all when empty).
"""

import asyncio
import inspect
import json
import logging
import os
import sys
import tempfile
from enum import Enum
from importlib.metadata import version
from pathlib import Path

import composio
from composio import Composio
from composio.core.provider import AgenticProvider
from openai.types.chat import ChatCompletion

URL, KEY = os.environ["COMPAT_URL"], os.environ["COMPAT_KEY"]
WORKBENCH, BASH = "COMPOSIO_REMOTE_WORKBENCH", "COMPOSIO_REMOTE_BASH_TOOL"
MULTI = "COMPOSIO_MULTI_EXECUTE_TOOL"
FOLDER = "~/../../mnt/files"
"""The files of a session, also where the sandbox is a folder of a development machine."""
FILES = f"os.path.expanduser('{FOLDER}')"
RELEASE = version("composio")
VERSION = tuple(int(part) for part in RELEASE.split(".")[:2])
SANDBOX = "sandbox" if VERSION >= (0, 13) else "workbench"


class Plain(AgenticProvider, name="plain"):
    """Gives each tool as a function of its arguments: what providers of agent frameworks build on."""

    def wrap_tool(self, tool, execute_tool):
        """Wrap one."""
        return lambda **arguments: execute_tool(slug=tool.slug, arguments=arguments)

    def wrap_tools(self, tools, execute_tool):
        """Wrap all, by slug."""
        return {tool.slug: self.wrap_tool(tool, execute_tool) for tool in tools}


def client(provider=None, **options):
    """Make a client, with telemetry off."""
    options = {"api_key": KEY, "base_url": URL, "allow_tracking": False, **options}
    return Composio(provider=provider, **options) if provider else Composio(**options)


def plain(thing):
    """Give a thing as JSON has it."""
    if isinstance(thing, Enum):
        return thing.value
    if hasattr(thing, "model_dump"):
        return thing.model_dump(mode="json")
    if hasattr(thing, "__dict__"):
        return {name: plain(value) for name, value in vars(thing).items() if not name.startswith("_")}
    if isinstance(thing, dict):
        return {name: plain(value) for name, value in thing.items()}
    return [plain(each) for each in thing] if isinstance(thing, list | tuple) else thing


class Sent(logging.Handler):
    """Counts requests by what the HTTP library logs of each."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def emit(self, record):
        """Keep a line about a request."""
        text = record.getMessage()
        if text.startswith("HTTP Request: "):
            self.lines.append(text.removeprefix("HTTP Request: "))


sent = Sent()
for name in ("httpx", "httpx2"):
    logging.getLogger(name).addHandler(sent)
    logging.getLogger(name).setLevel(logging.INFO)

ours = client()
session = ours.create(user_id="somebody", **{SANDBOX: {"auto_offload_threshold": 20000}})


def create():
    """A session has an id, a place for MCP clients with the key, and a configuration."""
    return {"session_id": session.session_id, "mcp": plain(session.mcp)}


def create_with_mcp():
    """The newer ones refuse a place on another origin when it is asked for."""
    return plain(ours.create(user_id="somebody", mcp=True).mcp)


def use():
    """Find it again."""
    return ours.use(session.session_id).session_id


def completion(slug, arguments):
    """Say that a model wants a tool."""
    function = {"name": slug, "arguments": json.dumps(arguments)}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    return ChatCompletion.model_validate(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    )


def openai_tools():
    """Tools in the form of OpenAI's API."""
    return [tool["function"]["name"] for tool in session.tools()]


def openai_call():
    """What a model wants is run, by the user."""
    wanted = completion(BASH, {"command": "echo hello"})
    return plain(ours.provider.handle_tool_calls(user_id="somebody", response=wanted))


def openai_session_call():
    """What a model wants is run, in the session."""
    wanted = completion(WORKBENCH, {"code_to_execute": "seen = 42\nprint(seen)"})
    return plain(ours.provider.handle_tool_calls(session=session, response=wanted))


def agentic():
    """Tools as functions; a value lives from one call to the next; the other tool sees the same files."""
    own = client(provider=Plain())
    tools = own.create(user_id="somebody").tools()
    return [
        plain(tools[WORKBENCH](code_to_execute="x = 41\nprint(x + 1)", thought="try")),
        plain(
            tools[WORKBENCH](code_to_execute=f"import os; os.chdir({FILES}); open('made', 'w').write('by python'); x")
        ),
        plain(tools[BASH](command=f"cd {FOLDER}; cat made; exit 3")),
        plain(tools[WORKBENCH](code_to_execute="1/0")),
    ]


def agentic_large():
    """A large answer of several tools is a preview and a file, which the next tool reads."""
    own = client(provider=Plain())
    tools = own.create(user_id="somebody").tools()
    wanted = [{"tool_slug": "ECHO_LARGE", "arguments": {"size": 50000}}]
    answer = plain(tools[MULTI](tools=wanted, sync_response_to_workbench=True))
    path = answer["data"]["remote_file_info"]["file_path"]
    return [answer, plain(tools[BASH](command=f"wc -c < {path}"))]


def agents_framework():
    """The published provider for an agent framework, where it is installed."""
    from composio_openai_agents import OpenAIAgentsProvider

    own = client(provider=OpenAIAgentsProvider())
    tools = {tool.name: tool for tool in own.create(user_id="somebody").tools()}
    said = asyncio.run(tools[BASH].on_invoke_tool(None, '{"command": "echo framework"}'))
    return {"tools": sorted(tools), "answer": json.loads(said)}


def execute():
    """The session's own method."""
    return [
        plain(session.execute(WORKBENCH, arguments={"code_to_execute": "y = 1\ny + 1"})),
        plain(session.execute(BASH, arguments={"command": "printf out; printf err >&2"})),
        plain(session.execute(WORKBENCH, arguments={"code_to_execute": "unknown_name"})),
        plain(session.execute("ECHO_ECHO", arguments={"text": "said"})),
    ]


def execute_large():
    """Without the flag nothing is taken out of an answer."""
    return len(json.dumps(plain(session.execute("ECHO_LARGE", arguments={"size": 50000}))))


def execute_meta():
    """The road of meta tools only."""
    return plain(session.execute_meta(WORKBENCH, arguments={"code_to_execute": "y + 40"}))


def multi_execute():
    """Several tools at once, one of which nobody knows."""
    tools = [
        {"tool_slug": "ECHO_ECHO", "arguments": {"text": "one"}},
        {"tool_slug": "GMAIL_SEND_EMAIL", "arguments": {}},
    ]
    return plain(session.execute(MULTI, arguments={"tools": tools, "sync_response_to_workbench": True}))


def direct():
    """The road without a session; the catalogue is asked first."""
    options = {"user_id": "somebody", "dangerously_skip_version_check": True}
    return plain(ours.tools.execute(WORKBENCH, {"code_to_execute": "20 + 3", "timeout": 60}, **options))


def update():
    """A change counts up; one of a version that is gone is a conflict."""
    changing = ours.create(user_id="somebody")
    changing.update(workbench={"auto_offload_threshold": 300}, preload={"tools": ["ECHO_ECHO"]})
    return {"version": getattr(changing, "config_version", None), "preload": plain(changing.preload)}


def stale_update():
    """A change of a version that is gone."""
    changing = ours.create(user_id="somebody")
    changing.update(search={"enable": False}, expected_config_version=changing.config_version)
    changing.update(search={"enable": True}, expected_config_version=1)


def history():
    """What a configuration was."""
    changing = ours.create(user_id="somebody")
    changing.update(search={"enable": False})
    return [[each.version, each.is_current] for each in changing.list_config_history(limit=10).items]


def search():
    """Tools for a use case."""
    return plain(session.search(query="say a text again"))


def toolkits():
    """What is connected."""
    return plain(session.toolkits())


def authorize():
    """Ask for a connection."""
    return plain(session.authorize("github").redirect_url)


def proxy():
    """A raw request."""
    return plain(
        session.proxy_execute(
            toolkit="github",
            endpoint="/user",
            method="GET",
            parameters=[{"name": "per_page", "type": "query", "value": "1"}],
        )
    )


def files():
    """Calls about files; their bytes go another way."""
    session.execute(BASH, arguments={"command": f"mkdir -p {FOLDER}/a; echo text > {FOLDER}/a/made.txt"})
    mount = session.experimental.files
    remote = mount.download("a/made.txt")
    return {
        "list": plain(mount.list(path="/", limit=10)),
        "below": plain(mount.list(path="/a", limit=10)),
        "download": [remote.mount_relative_path, remote.sandbox_mount_prefix, bool(remote.expires_at)],
        "url": remote.download_url,
        "delete": plain(mount.delete("a/made.txt")),
        "after": plain(mount.list(path="/a")),
    }


def upload_bytes():
    """The guard of the package keeps bytes from an address that is not public."""
    session.experimental.files.upload(b"text", remote_path="up.txt", mimetype="text/plain")


def download_bytes():
    """The same for the other direction."""
    session.execute(BASH, arguments={"command": f"echo text > {FOLDER}/down.txt"})
    session.experimental.files.download("down.txt").buffer()


def direct_tools():
    """The preset without meta tools."""
    made = ours.create(user_id="somebody", toolkits=["echo"], session_preset="direct_tools")
    return [tool["function"]["name"] for tool in made.tools()]


def wrong_key():
    """Somebody else's key."""
    client(api_key="not-a-key-of-this-service").create(user_id="somebody")


def unknown_tool():
    """A tool that is none."""
    ours.client.tools.execute("NOBODY_KNOWS", arguments={}, user_id="somebody")


def unknown_session():
    """A session that is none."""
    ours.use("trs_000000000000000000")


def bad_arguments():
    """Arguments that are wrong."""
    ours.client.tools.execute(WORKBENCH, arguments={"code_to_execute": 5}, user_id="somebody")


def switched_off():
    """A session without a sandbox does not list its tools."""
    made = ours.create(user_id="somebody", **{SANDBOX: {"enable": False}})
    return [tool["function"]["name"] for tool in made.tools()]


def switched_off_call():
    """A tool of a sandbox that the session does not have."""
    made = ours.create(user_id="somebody", **{SANDBOX: {"enable": False}})
    ours.client.tool_router.session.execute(made.session_id, tool_slug=WORKBENCH, arguments={"code_to_execute": "1"})


def overloaded():
    """A service without room for another sandbox: how many requests the package makes."""
    full = client(base_url=os.environ["COMPAT_FULL_URL"])
    made = full.create(user_id="somebody")
    sent.lines.clear()
    try:
        full.client.tool_router.session.execute(
            made.session_id, tool_slug=WORKBENCH, arguments={"code_to_execute": "1"}
        )
    except composio.client.APIError as error:
        return {"status": error.status_code, "requests": len(sent.lines)}


def impatient():
    """A client that gives up waiting and asks again: the code runs once, or was interrupted; never twice."""
    hasty = client(timeout=1.0, max_retries=4)
    made = ours.create(user_id="somebody")
    code = f"import os, time\nopen({FILES} + '/ran', 'a').write('x')\ntime.sleep(2.5)\nprint('done')"
    answer = hasty.client.tool_router.session.execute(
        made.session_id, tool_slug=WORKBENCH, arguments={"code_to_execute": code}
    )
    ran = ours.client.tool_router.session.execute(
        made.session_id, tool_slug=BASH, arguments={"command": f"cat {FOLDER}/ran"}
    )
    return {"answer": plain(answer), "ran": plain(ran)["data"]["stdout"]}


def delete():
    """It is gone afterwards."""
    made = ours.create(user_id="somebody")
    return plain(made.delete())


def delete_twice():
    """It is not found afterwards."""
    made = ours.create(user_id="somebody")
    made.delete()
    ours.use(made.session_id)


STEPS = [
    each
    for each in list(globals().values())
    if inspect.isfunction(each) and each.__module__ == __name__ and not inspect.signature(each).parameters
]


def ended(step):
    """Run a step and say how it ended."""
    try:
        return {"value": step()}
    except Exception as error:  # noqa: BLE001 # whatever a release raises is what is told
        status, details = getattr(error, "status_code", None), getattr(error, "details", None)
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return {"raised": kinds, "status": status, "words": str(error), "details": plain(details)}


if __name__ == "__main__":
    wanted = os.environ.get("COMPAT_STEPS", "").split(",")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        said = {step.__name__: ended(step) for step in STEPS if wanted == [""] or step.__name__ in wanted}
        os.chdir(Path(folder).parent)
    json.dump({"version": RELEASE, **said}, sys.stdout)
