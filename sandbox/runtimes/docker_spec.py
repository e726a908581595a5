"""From a `SandboxSpec` to the body of the Engine API's "create container", and the rules it must obey. Pure.

`HARDENING` is the one truth: the create body is built from it, and `broken_rules` holds the *inspect document of a
running container* against it, so what is asked for and what is proved cannot drift apart.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandbox import __version__
from sandbox.limits import MIB
from sandbox.runtimes.base import Condition, SandboxInfo, SandboxSpec, Size

Document = Mapping[str, Any]

LABEL_INSTALLATION: Final = "workbench.installation"
LABEL_SANDBOX: Final = "workbench.sandbox"
LABEL_SIZE: Final = "workbench.size"
LABEL_VERSION: Final = "workbench.version"
LABEL_IMAGE: Final = "workbench.image"

USER: Final = "1000:1000"
SHM_BYTES: Final = 64 * MIB
OPEN_FILES_MAX: Final = 4096
"""Enough for any notebook, and below every usual hard limit of an engine (it cannot give more than it has)."""
OOM_SCORE_ADJ: Final = 200
"""Of the agent. What it starts has 500: when memory is used up, they go before it, and all of them before the host."""
NO_NEW_PRIVILEGES: Final = "no-new-privileges"


@dataclass(frozen=True, slots=True)
class Fixed:
    """A rule that is one field with one value. `field` is dotted, as in the create body.

    An empty value also holds where the engine leaves the field out or says null.
    """

    name: str
    field: str
    value: Any
    reason: str

    def broken(self, document: Document) -> str | None:
        """Say in words how the inspect document breaks this rule; None when it does not."""
        actual = _at(document, _inspect_path(self.field))
        if actual == self.value or (not self.value and not actual):
            return None
        return f"{self.field} is {actual!r}, must be {self.value!r}"


@dataclass(frozen=True, slots=True)
class Proved:
    """A rule over several fields, or over what depends on the size or the engine: `holds` says if it is kept."""

    name: str
    holds: Callable[[Document], bool]
    shown: str
    """The dotted field, as in the inspect document, whose value is named when the rule is broken."""
    reason: str

    def broken(self, document: Document) -> str | None:
        """Say in words how the inspect document breaks this rule; None when it does not."""
        return None if self.holds(document) else f"{self.shown} is {_at(document, self.shown)!r}"


Rule = Fixed | Proved


def _inspect_path(field: str) -> str:
    """Where the inspect document keeps a field of the create body."""
    return field if field.startswith(("HostConfig.", "Mounts")) else f"Config.{field}"


def _at(document: Document, path: str) -> Any:
    value: Any = document
    for key in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _host(document: Document, field: str) -> Any:
    return _at(document, f"HostConfig.{field}")


def _default_seccomp_kept(document: Document) -> bool:
    options = _host(document, "SecurityOpt") or []
    return not any("unconfined" in option or option.startswith("seccomp") for option in options)


def _memory_bounded(document: Document) -> bool:
    memory = _host(document, "Memory") or 0
    return bool(0 < memory == _host(document, "MemorySwap"))


def _environment_is_anonymous(document: Document) -> bool:
    """Only what the image itself sets: paths, locale and the like; never a name that smells of a secret."""
    names = [str(entry).partition("=")[0].upper() for entry in _at(document, "Config.Env") or []]
    words = ("API_KEY", "ACCESS_KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "COMPOSIO", "SESSION", "DOCKER_HOST")
    return not any(word in name for name in names for word in words)


FIXED_RULES: Final[tuple[Fixed, ...]] = (
    Fixed("no network", "NetworkDisabled", True, "the pipe is the only way in or out"),
    Fixed("no network", "HostConfig.NetworkMode", "none", "no interface but loopback, so no route to anything"),
    Fixed("no host mounts", "HostConfig.Binds", [], "a mount lets user code plant links or fill the host's disk"),
    Fixed("no host mounts", "HostConfig.Mounts", [], "as above, in the newer field"),
    Fixed("no other's files", "HostConfig.VolumesFrom", [], "sandboxes share nothing"),
    Fixed("no devices", "HostConfig.Devices", [], "devices reach around every other rule"),
    Fixed("no devices", "HostConfig.DeviceRequests", [], "as above, for graphics cards"),
    Fixed("no extra groups", "HostConfig.GroupAdd", [], "a group of the host's could own its sockets and devices"),
    Fixed("no published ports", "HostConfig.PortBindings", {}, "nothing listens outside"),
    Fixed("not root", "User", USER, "paths owned by root stay out of reach"),
    Fixed("not privileged", "HostConfig.Privileged", False, "privileged would undo all of this"),
    Fixed("no capabilities", "HostConfig.CapDrop", ["ALL"], "none is needed, not even by process 1"),
    Fixed("no capabilities", "HostConfig.CapAdd", [], "as above"),
    Fixed(
        "no new privileges",
        "HostConfig.SecurityOpt",
        [NO_NEW_PRIVILEGES],
        "setuid programs gain nothing; the engine's default seccomp profile stays in force",
    ),
    Fixed("own IPC", "HostConfig.IpcMode", "private", "no shared memory with the host or with another sandbox"),
    Fixed("own process ids", "HostConfig.PidMode", "", "no sight of the host's processes"),
    Fixed("own host name", "HostConfig.UTSMode", "", "the host's name is nobody's business"),
    Fixed("bounded shared memory", "HostConfig.ShmSize", SHM_BYTES, "files there are memory"),
    Fixed(
        "bounded core files and open files",
        "HostConfig.Ulimits",
        [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": OPEN_FILES_MAX, "Hard": OPEN_FILES_MAX},
        ],
        "no memory dumps on disk; descriptors are the host's too",
    ),
    Fixed("killed when out of memory", "HostConfig.OomKillDisable", False, "otherwise it would freeze instead"),
    Fixed("dies before the host's services", "HostConfig.OomScoreAdj", OOM_SCORE_ADJ, "the host comes first"),
    Fixed("agent is process 1", "HostConfig.Init", False, "user code cannot signal process 1, so not the agent"),
    Fixed("never restarted by the engine", "HostConfig.RestartPolicy.Name", "no", "the controller decides that"),
    Fixed("removed only by us", "HostConfig.AutoRemove", False, "a dead sandbox must still say why it died"),
    Fixed("pipe traffic is not logged", "HostConfig.LogConfig.Type", "none", "code and output stay off the disk"),
    Fixed("the pipe is a plain stream", "Tty", False, "a terminal would rewrite bytes"),
    Fixed("the pipe stays open", "OpenStdin", True, "standard input is the way in"),
    Fixed("the pipe can be opened again", "StdinOnce", False, "a new controller attaches to a running agent"),
    Fixed("stops at once", "StopSignal", "SIGKILL", "process 1 has nothing to save"),
    Fixed("anonymous host name", "Hostname", "sandbox", "it says nothing of session, user or host"),
)
"""Rules that are a value: both asked for and proved."""

PROVED_RULES: Final[tuple[Proved, ...]] = (
    Proved("no mount of any kind", lambda d: not d.get("Mounts"), "Mounts", "also none that an image declares"),
    Proved("default seccomp", _default_seccomp_kept, "HostConfig.SecurityOpt", "fewer ways into the host's kernel"),
    Proved(
        "kernel paths masked",
        lambda d: bool(_host(d, "MaskedPaths") and _host(d, "ReadonlyPaths")),
        "HostConfig.MaskedPaths",
        "/proc/kcore, /proc/sys and their like stay shut",
    ),
    Proved("bounded memory, no swap", _memory_bounded, "HostConfig.Memory", "a sandbox cannot starve the host"),
    Proved("bounded CPU", lambda d: (_host(d, "NanoCpus") or 0) > 0, "HostConfig.NanoCpus", "as above"),
    Proved("bounded processes", lambda d: (_host(d, "PidsLimit") or 0) > 0, "HostConfig.PidsLimit", "fork bombs"),
    Proved("no secrets in the environment", _environment_is_anonymous, "Config.Env", "every child can read it"),
    Proved(
        "labelled", lambda d: bool((_at(d, "Config.Labels") or {}).get(LABEL_SANDBOX)), "Config.Labels",
        "what nobody owns is found and removed",
    ),
)  # fmt: skip
"""Rules that depend on size, engine or image."""

HARDENING: Final[tuple[Rule, ...]] = (*FIXED_RULES, *PROVED_RULES)


def broken_rules(document: Document) -> list[str]:
    """Hold the inspect document of a container against HARDENING; one line for each rule it breaks."""
    found = ((rule, rule.broken(document)) for rule in HARDENING)
    return [f"{rule.name}: {words} ({rule.reason})" for rule, words in found if words]


def container_name(spec: SandboxSpec) -> str:
    """The container's name on the engine."""
    return f"workbench-{spec.installation}-{spec.sandbox_id}"


def labels(spec: SandboxSpec, *, image: str) -> dict[str, str]:
    """What a restarted controller reads to know its own sandboxes again."""
    return {
        LABEL_INSTALLATION: spec.installation,
        LABEL_SANDBOX: spec.sandbox_id,
        LABEL_SIZE: spec.size.name,
        LABEL_VERSION: __version__,
        LABEL_IMAGE: image,
    }


def create_body(spec: SandboxSpec, *, image: str, cgroup_v2: bool, cpus_max: float | None = None) -> dict[str, Any]:
    """Build the body of POST /containers/create.

    `cgroup_v2`: whether the engine's host has it; only there a private cgroup namespace is certain to work.
    `cpus_max`: as `limits` has it.
    """
    body: dict[str, Any] = {
        "Image": image,
        "Labels": labels(spec, image=image),
        # Not the home: the engine cannot start a sandbox in a folder that user code has shut.
        "WorkingDir": "/",
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {
            **limits(spec.size, cpus_max),
            # Not read-only: users install packages. What is not theirs is protected by its owner, root.
            "ReadonlyRootfs": False,
        },
    }
    if cgroup_v2:
        body["HostConfig"]["CgroupnsMode"] = "private"
    for rule in FIXED_RULES:
        _put(body, rule.field.split("."), copy.deepcopy(rule.value))
    return body


def limits(size: Size, cpus_max: float | None = None) -> dict[str, int]:
    """Give the fields of "create" and of "update" that are a sandbox's size.

    `cpus_max`: how many the machine has, for engines refuse more.
    """
    cpus = size.cpus if cpus_max is None else min(size.cpus, cpus_max)
    return {
        "Memory": size.memory_bytes,
        "MemorySwap": size.memory_bytes,
        "NanoCpus": round(cpus * 1e9),
        "PidsLimit": size.pids,
    }


def _put(body: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for key in path[:-1]:
        body = body.setdefault(key, {})
    body[path[-1]] = value


def info_from_inspect(document: Document) -> SandboxInfo:
    """Read an inspect document of one of our containers."""
    state: Document = document.get("State") or {}
    return _info(_at(document, "Config.Labels") or {}, str(state.get("Status", "")), _detail(state))


def info_from_list(entry: Document) -> SandboxInfo:
    """Read one entry of the engine's container list."""
    return _info(entry.get("Labels") or {}, str(entry.get("State", "")), str(entry.get("Status", "")))


def gone(sandbox_id: str) -> SandboxInfo:
    """What is known of a sandbox that does not exist."""
    return SandboxInfo(sandbox_id, size="", version="", condition=Condition.GONE, detail="no such container")


def _info(found: Mapping[str, str], status: str, detail: str) -> SandboxInfo:
    return SandboxInfo(
        sandbox_id=found.get(LABEL_SANDBOX, ""),
        size=found.get(LABEL_SIZE, ""),
        version=found.get(LABEL_VERSION, ""),
        condition=_CONDITIONS.get(status, Condition.EXITED),
        detail=detail,
    )


_CONDITIONS: Final = {
    "running": Condition.RUNNING,
    "paused": Condition.PAUSED,
    "removing": Condition.GONE,
    # What the engine calls one whose removal failed on the way: it cannot be started again.
    "dead": Condition.GONE,
}


def _detail(state: Document) -> str:
    if state.get("Running"):
        return "paused" if state.get("Paused") else "running"
    if state.get("Status") == "created":
        return "never started"
    words = [f"exit code {state.get('ExitCode')}"]
    if state.get("OOMKilled"):
        # The engine says it of any process in the container, at any time before: it need not be how this ended.
        words.append("memory was used up in it")
    if state.get("Error"):
        words.append(str(state["Error"]))
    return ", ".join(words)
