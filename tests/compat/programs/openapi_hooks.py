"""Hooks of the OpenAPI tests: what is generated is sent as it is, but nothing that was made up is ever executed.

COMPAT_SESSION is the session that all calls go to, so that no call starts a sandbox of its own.
"""

import os

import schemathesis

SESSION = os.environ["COMPAT_SESSION"]
NOBODYS = "trs_000000000000000000"
SLUGS = ("COMPOSIO_REMOTE_WORKBENCH", "COMPOSIO_REMOTE_BASH_TOOL", "COMPOSIO_MULTI_EXECUTE_TOOL", "ECHO_ECHO")
HARMLESS = {
    "code_to_execute": "1 + 1",
    "code": "1 + 1",
    "command": "true",
    "session_id": SESSION,
    "user_id": "somebody",
    "label": "somebody",
}


KNOWN = {"slug": SLUGS, "tool_slug": SLUGS, "toolkit_slug": ("github",), "toolkit": ("github",), "mount": ("files",)}


def tame(thing):
    """Put harmless code, and the one session, where text of ours would be run or would name a session."""
    if isinstance(thing, dict):
        return {name: tamed(name, value) for name, value in thing.items()}
    return [tame(each) for each in thing] if isinstance(thing, list) else thing


def tamed(name, value):
    """Give what is sent under a name; half of the names of things are such as there are."""
    if not isinstance(value, str):
        return tame(value)
    known = KNOWN.get(name)
    return known[len(value) % len(known)] if known and len(value) % 2 == 0 else HARMLESS.get(name, value)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Make what is about to be sent harmless; calls go to the one session, removals to none."""
    case.body = tame(case.body)
    named = case.path_parameters or {}
    for name, value in named.items():
        if name in ("ref", "session_id"):
            named[name] = NOBODYS if case.method.upper() == "DELETE" else SESSION
        else:
            named[name] = tamed(name, value)
