"""What is asked of the engine, as data, and the rules that a running container is held against."""

import copy
from typing import Any

import pytest

from sandbox import __version__
from sandbox.runtimes import docker_spec
from sandbox.runtimes.base import SIZES, Condition, SandboxSpec

SPEC = SandboxSpec("ab12", "here", SIZES["standard"])


def body(*, cgroup_v2: bool = True, size: str = "standard") -> dict[str, Any]:
    spec = SandboxSpec("ab12", "here", SIZES[size])
    return docker_spec.create_body(spec, image="box:1", cgroup_v2=cgroup_v2)


def test_the_body_asks_for_exactly_this() -> None:
    assert body() == {
        "Image": "box:1",
        "Hostname": "sandbox",
        "User": "1000:1000",
        "WorkingDir": "/",
        "NetworkDisabled": True,
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": False,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "StopSignal": "SIGKILL",
        "Labels": {
            "workbench.installation": "here",
            "workbench.sandbox": "ab12",
            "workbench.size": "standard",
            "workbench.version": __version__,
            "workbench.image": "box:1",
        },
        "HostConfig": {
            "NetworkMode": "none",
            "Binds": [],
            "Mounts": [],
            "VolumesFrom": [],
            "Devices": [],
            "DeviceRequests": [],
            "GroupAdd": [],
            "PortBindings": {},
            "Privileged": False,
            "ReadonlyRootfs": False,
            "CapDrop": ["ALL"],
            "CapAdd": [],
            "SecurityOpt": ["no-new-privileges"],
            "IpcMode": "private",
            "PidMode": "",
            "UTSMode": "",
            "CgroupnsMode": "private",
            "ShmSize": 64 * 1024 * 1024,
            "Ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": 4096, "Hard": 4096},
            ],
            "OomKillDisable": False,
            "OomScoreAdj": 200,
            "Init": False,
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": False,
            "LogConfig": {"Type": "none"},
            "Memory": 1024 * 1024 * 1024,
            "MemorySwap": 1024 * 1024 * 1024,
            "NanoCpus": 1_000_000_000,
            "PidsLimit": 512,
        },
    }


def test_no_environment_is_passed() -> None:
    assert "Env" not in body()


def test_a_private_cgroup_view_is_asked_for_only_with_cgroup_v2() -> None:
    assert "CgroupnsMode" not in body(cgroup_v2=False)["HostConfig"]


def test_two_bodies_share_nothing_that_can_be_changed() -> None:
    first = body()
    first["HostConfig"]["CapDrop"].clear()
    first["HostConfig"]["Ulimits"][0]["Hard"] = 1
    assert body()["HostConfig"]["CapDrop"] == ["ALL"]
    assert body()["HostConfig"]["Ulimits"][0]["Hard"] == 0


@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_limits_follow_the_size(size: Any) -> None:
    host = body(size=size.name)["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (size.memory_bytes, size.memory_bytes)
    assert (host["NanoCpus"], host["PidsLimit"]) == (size.cpus * 1e9, size.pids)


def test_the_name_says_whose_container_it_is() -> None:
    assert docker_spec.container_name(SPEC) == "workbench-here-ab12"


# --- the rules ------------------------------------------------------------------------------------


def inspected(**changes: Any) -> dict[str, Any]:
    """An inspect document as the engine gives it for our body; `changes` by dotted path, dots as two underscores."""
    config = body()
    host = config.pop("HostConfig")
    host |= {"MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"]}
    config["Env"] = ["PATH=/usr/bin"]
    document: dict[str, Any] = {"HostConfig": host, "Config": config, "Mounts": []}
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for parent in parents:
            place = place[parent]
        place[last] = value
    return document


def test_a_container_made_from_our_body_breaks_no_rule() -> None:
    assert docker_spec.broken_rules(inspected()) == []


def test_null_and_empty_mean_the_same() -> None:
    document = inspected(HostConfig__Binds=None, HostConfig__CapAdd=None, HostConfig__Devices=None)
    del document["HostConfig"]["Mounts"]
    assert docker_spec.broken_rules(document) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"HostConfig__NetworkMode": "bridge"}, "no network"),
        ({"Config__NetworkDisabled": False}, "no network"),
        ({"HostConfig__Binds": ["/:/host"]}, "no host mounts"),
        ({"Mounts": [{"Type": "volume"}]}, "no mount of any kind"),
        ({"HostConfig__Devices": [{"PathOnHost": "/dev/kvm"}]}, "no devices"),
        ({"HostConfig__PortBindings": {"80/tcp": []}}, "no published ports"),
        ({"Config__User": "root"}, "not root"),
        ({"HostConfig__Privileged": True}, "not privileged"),
        ({"HostConfig__CapDrop": []}, "no capabilities"),
        ({"HostConfig__CapAdd": ["SYS_PTRACE"]}, "no capabilities"),
        ({"HostConfig__SecurityOpt": []}, "no new privileges"),
        ({"HostConfig__SecurityOpt": ["no-new-privileges", "seccomp=unconfined"]}, "default seccomp"),
        ({"HostConfig__SecurityOpt": ["no-new-privileges", 'seccomp={"x":1}']}, "default seccomp"),
        ({"HostConfig__MaskedPaths": []}, "kernel paths masked"),
        ({"HostConfig__Memory": 0, "HostConfig__MemorySwap": 0}, "bounded memory, no swap"),
        ({"HostConfig__MemorySwap": -1}, "bounded memory, no swap"),
        ({"HostConfig__NanoCpus": 0}, "bounded CPU"),
        ({"HostConfig__PidsLimit": None}, "bounded processes"),
        ({"HostConfig__PidMode": "host"}, "own process ids"),
        ({"HostConfig__IpcMode": "host"}, "own IPC"),
        ({"HostConfig__OomKillDisable": True}, "killed when out of memory"),
        ({"HostConfig__Init": True}, "agent is process 1"),
        ({"HostConfig__LogConfig": {"Type": "json-file"}}, "pipe traffic is not logged"),
        ({"Config__Tty": True}, "the pipe is a plain stream"),
        ({"Config__Env": ["OPENAI_API_KEY=x"]}, "no secrets in the environment"),
        ({"Config__Env": ["GPG_KEY=of the interpreter's release"]}, None),
        ({"Config__Labels": {}}, "labelled"),
    ],
)  # fmt: skip
def test_a_changed_container_breaks_the_rule_of_that_name(change: dict[str, Any], rule: str | None) -> None:
    broken = docker_spec.broken_rules(inspected(**change))
    names = {line.partition(":")[0] for line in broken}
    assert rule in names if rule else not names


def test_a_broken_rule_says_what_is_and_what_must_be_and_why() -> None:
    (line,) = docker_spec.broken_rules(inspected(HostConfig__Privileged=True))
    assert line == "not privileged: HostConfig.Privileged is True, must be False (privileged would undo all of this)"


def test_every_rule_has_a_reason() -> None:
    assert all(rule.reason for rule in docker_spec.HARDENING)


def test_an_empty_document_breaks_every_rule_that_asks_for_something() -> None:
    assert len(docker_spec.broken_rules({})) > 15


# --- what the engine says ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "condition", "detail"),
    [
        ({"Status": "running", "Running": True}, Condition.RUNNING, "running"),
        ({"Status": "paused", "Running": True, "Paused": True}, Condition.PAUSED, "paused"),
        ({"Status": "exited", "ExitCode": 3}, Condition.EXITED, "exit code 3"),
        (
            {"Status": "exited", "ExitCode": 137, "OOMKilled": True},
            Condition.EXITED,
            "exit code 137, memory was used up in it",
        ),
        ({"Status": "dead", "ExitCode": 1, "Error": "no disk"}, Condition.GONE, "exit code 1, no disk"),
        ({"Status": "created", "ExitCode": 0}, Condition.EXITED, "never started"),
        ({"Status": "removing", "ExitCode": 0}, Condition.GONE, "exit code 0"),
    ],
)
def test_a_state_of_the_engine_becomes_a_condition(state: dict[str, Any], condition: Condition, detail: str) -> None:
    info = docker_spec.info_from_inspect(inspected(State=state))
    assert (info.condition, info.detail) == (condition, detail)
    assert (info.sandbox_id, info.size, info.version) == ("ab12", "standard", __version__)


def test_a_list_entry_is_read_the_same_way() -> None:
    labels = copy.deepcopy(body()["Labels"])
    info = docker_spec.info_from_list({"Labels": labels, "State": "exited", "Status": "Exited (3) 1 second ago"})
    assert (info.sandbox_id, info.condition, info.detail) == ("ab12", Condition.EXITED, "Exited (3) 1 second ago")
