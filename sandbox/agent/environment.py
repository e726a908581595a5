"""The environment of user code, made from scratch: nothing of the agent's own goes into it."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Final

HELPERS: Final = "WORKBENCH_HELPERS"
RELAY: Final = "WORKBENCH_RELAY"
EXECUTION: Final = "WORKBENCH_EXECUTION"
"""Variables that tell helpers where their source is, which socket they call, and for which bash call."""

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SHELLS: Final = ("/usr/bin/bash-static", "/usr/bin/bash", "/bin/bash")
"""Where bash is, in this order. The first is the same one without libraries to link: a quarter less time to start."""


def find_shell() -> str:
    """Give the file of bash; never one of the user's, whose PATH may begin with folders of their own."""
    return next((path for path in _SHELLS if os.access(path, os.X_OK)), _SHELLS[-1])


def user_env(
    *,
    home: Path,
    python: Path,
    threads: Mapping[str, str],
    helpers: Path | None = None,
    relay: Path | None = None,
) -> dict[str, str]:
    """Give the variables that the kernel and every bash start with.

    `python`: the interpreter of the user's virtual environment, whose programs come first on PATH.
    `threads`: from `resources.thread_env`. `helpers`: the package of helpers, None: there are none. `relay`: the socket
    that they call.
    """
    user = _user_name()
    helper_command = "" if helpers is None else f"{helpers}/bin:"
    env = {
        "HOME": str(home),
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "PATH": f"{python.parent}:{home}/.local/bin:{helper_command}{_SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        # Nobody is there to answer: pagers print, and programs that would ask do not.
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "MANPAGER": "cat",
        "SYSTEMD_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        "DEBIAN_FRONTEND": "noninteractive",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        **threads,
    }
    if helpers is not None:
        env[HELPERS] = str(helpers)
    if relay is not None:
        env[RELAY] = str(relay)
    environment = python.parent.parent
    # Not by Path: that raises when user code has shut the folder.
    if os.path.exists(environment / "pyvenv.cfg"):  # noqa: PTH110
        env["VIRTUAL_ENV"] = str(environment)
    return env


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "user"
