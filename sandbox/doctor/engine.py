"""Judges an engine by its own description of itself. Pure but for a look at free disk space."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sandbox.doctor.finding import Finding, Outcome

ENGINE_MIN: Final = (20, 10)
DISK_MIN_BYTES: Final = 2 * 10**9
DISK_GOOD_BYTES: Final = 10 * 10**9
MEMORY_GOOD_BYTES: Final = 2 * 10**9


def engine_findings(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge the engine's own description of itself (GET /info)."""
    yield _engine_kind(info)
    yield _control_groups(info)
    yield from _limits(info)
    yield _seccomp(info)
    yield from _room(info)
    for warning in info.get("Warnings") or ():
        if "swap limit" not in warning:  # judged with the limits
            yield Finding("engine's warning", Outcome.KNOWN, str(warning).removeprefix("WARNING: "))


def _engine_kind(info: Mapping[str, Any]) -> Finding:
    version = str(info.get("ServerVersion", "unknown"))
    words = f"{version}, {info.get('OperatingSystem')}, {info.get('NCPU')} CPUs, {info.get('MemTotal', 0) / 1e9:.1f} GB"
    if info.get("OSType") != "linux":
        return Finding("engine", Outcome.FAILED, words, "Switch the engine to Linux containers.")
    parts = version.split(".")
    number = tuple(int(part) for part in parts[:2] if part.isdigit())
    if len(number) == len(ENGINE_MIN) and number < ENGINE_MIN:
        return Finding("engine", Outcome.FAILED, words, "Version 20.10 or later is needed.")
    return Finding("engine", Outcome.OK, words)


def _control_groups(info: Mapping[str, Any]) -> Finding:
    words = f"version {info.get('CgroupVersion', 'unknown')}, driver {info.get('CgroupDriver', 'unknown')}"
    if info.get("CgroupVersion") == "2":
        return Finding("control groups", Outcome.OK, words)
    fix = "Everything works; with version 2 a sandbox would also have a view of its own control group."
    return Finding("control groups", Outcome.KNOWN, words, fix)


def _limits(info: Mapping[str, Any]) -> Iterator[Finding]:
    needed = {
        "memory limit": ("MemoryLimit", "Boot the engine's machine with cgroup_enable=memory."),
        "process limit": ("PidsLimit", "Use a Linux kernel with the pids control group."),
        "CPU limit": ("CpuCfsQuota", "Use a Linux kernel with CPU bandwidth control (CFS quota)."),
    }
    for name, (field, fix) in needed.items():
        good = bool(info.get(field))
        yield Finding(name, Outcome.OK if good else Outcome.FAILED, "" if good else "not supported", fix)
    if info.get("SwapLimit") or info.get("CgroupVersion") == "2":
        yield Finding("swap limit", Outcome.OK)
    else:
        words = "not supported: a sandbox may use the host's swap beyond its memory"
        yield Finding("swap limit", Outcome.KNOWN, words, "Boot with swapaccount=1, or turn swap off.")


def _seccomp(info: Mapping[str, Any]) -> Finding:
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    if any("name=seccomp" in option and "unconfined" not in option for option in options):
        return Finding("system call filter", Outcome.OK, "seccomp")
    return Finding(
        "system call filter", Outcome.FAILED, "the engine has no seccomp", "Use an engine built with seccomp."
    )


def _room(info: Mapping[str, Any]) -> Iterator[Finding]:
    memory = int(info.get("MemTotal") or 0)
    if memory < MEMORY_GOOD_BYTES:
        words = f"{memory / 1e9:.1f} GB, and a standard sandbox may use 1 GB"
        yield Finding("engine's memory", Outcome.KNOWN, words, "Keep the pool small (WORKBENCH_POOL_SIZE=1).")
    folder = Path(str(info.get("DockerRootDir") or "/nonexistent"))
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # the engine runs on another machine, or its folder is closed to this user
    words = f"{folder}, {free / 1e9:.0f} GB free"
    if free >= DISK_GOOD_BYTES:
        yield Finding("engine's disk", Outcome.OK, words)
        return
    outcome = Outcome.FAILED if free < DISK_MIN_BYTES else Outcome.KNOWN
    yield Finding("engine's disk", outcome, words, "Free some: `docker system df` shows what takes the room.")
