"""What a control group of either version says is read right, and unknown stays unknown."""

from pathlib import Path

import pytest

from sandbox.agent.resources import ControlGroup, Memory, oom_kills, thread_env


def group(tmp_path: Path, files: dict[str, str], own: str) -> ControlGroup:
    """Write the files of a control group as the kernel of the machine shows them."""
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    return ControlGroup(tmp_path / "cgroup", tmp_path / "own")


V2 = {
    "cgroup.controllers": "cpu memory pids\n",
    "memory.current": "300000000\n",
    "memory.max": "1073741824\n",
    "memory.stat": "anon 200000000\ninactive_file 100000000\n",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n",
    "cpu.max": "150000 100000\n",
    "pids.current": "30\n",
    "pids.max": "100\n",
}

V1 = {
    "memory/memory.usage_in_bytes": "300000000\n",
    "memory/memory.limit_in_bytes": "1073741824\n",
    "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100000000\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "cpu/cpu.cfs_quota_us": "150000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "pids/pids.current": "30\n",
    "pids/pids.max": "100\n",
}


@pytest.mark.parametrize(
    ("files", "own"),
    [
        pytest.param(V2, "0::/\n", id="version 2, private namespace"),
        pytest.param(V2, "0::/docker/abc\n", id="version 2, path of the host"),
        pytest.param({f"docker/abc/{k}": v for k, v in V2.items()} | {"cgroup.controllers": ""}, "0::/docker/abc\n"),
        pytest.param(V1, "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n", id="version 1, in a container"),
    ],
)
def test_both_versions_say_the_same(tmp_path: Path, files: dict[str, str], own: str) -> None:
    found = group(tmp_path, files, own)
    assert found.memory() == Memory(used=200_000_000, limit=1 << 30)
    assert found.oom_kills() == 2
    assert found.cpus() == 1.5
    assert found.processes_left() == 70


@pytest.mark.parametrize(
    "files",
    [
        {
            "cgroup.controllers": "",
            "memory.max": "max\n",
            "cpu.max": "max 100000\n",
            "pids.current": "3\n",
            "pids.max": "max\n",
        },
        {"memory/memory.limit_in_bytes": "9223372036854771712\n", "cpu/cpu.cfs_quota_us": "-1\n"},
        {},
    ],
)
def test_no_limit_and_no_answer_are_none(tmp_path: Path, files: dict[str, str]) -> None:
    found = group(tmp_path, files, "0::/\n")
    assert found.memory() == Memory(None, None)
    assert found.cpus() is None
    assert found.processes_left() is None
    assert found.oom_kills() == 0


def test_threads_follow_the_cpus_rounded_up() -> None:
    assert set(thread_env(1.5).values()) == {"2"}
    assert thread_env(0.25)["OMP_NUM_THREADS"] == "1"
    assert thread_env(4)["OPENBLAS_NUM_THREADS"] == "4"
    assert thread_env(None) == {}


def test_this_machine_answers() -> None:
    assert oom_kills() >= 0
