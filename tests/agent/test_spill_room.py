"""Spill files together stay under a bound: the oldest go, those of running executions never."""

import asyncio
import os
from pathlib import Path

import pytest

from sandbox.agent.artifacts import ArtifactStore
from sandbox.agent.bash import Bash
from sandbox.agent.output import Capture
from sandbox.agent.spill_room import Claim, SpillRoom
from sandbox.limits import INLINE_CHARS, SPILL_FOLDER_MAX_BYTES, SPILL_MAX_BYTES
from tests.agent.kernels import listed, place, read

BOUND = 100_000
SIZE = INLINE_CHARS + 1
"""The bytes of the smallest spill: two fit the bound, three do not."""


@pytest.fixture
def room(spills: Path) -> SpillRoom:
    spills.mkdir(parents=True)
    return SpillRoom(spills, BOUND)


def spilled(spills: Path, claim: Claim, name: str, size: int = SIZE) -> str | None:
    """Spill once and give why not all of it was kept."""
    capture = Capture(spills / f"{name}_stdout.txt", claim=claim)
    capture.feed(b"x" * size)
    return capture.close().lost


def older(path: Path, size: int, *, age_s: int) -> None:
    """Leave a file of that size behind; it takes no disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))


def test_the_bound_holds_all_that_one_execution_may_spill() -> None:
    assert SPILL_FOLDER_MAX_BYTES >= 4 * SPILL_MAX_BYTES


def test_the_oldest_file_goes_for_a_new_one_and_it_is_said(spills: Path, room: SpillRoom) -> None:
    for word in ("aaaa", "bbbb", "cccc"):
        claim = room.claim(f"exec_{word}")
        assert spilled(spills, claim, f"exec_{word}") is None
        os.utime(spills / f"exec_{word}_stdout.txt", ns=(ord(word[0]), ord(word[0])))
        claim.end()
    assert listed(spills) == ["exec_bbbb_stdout.txt", "exec_cccc_stdout.txt"]
    assert claim.removed == 1
    assert claim.note() == f"1 older output file was deleted to make room: {room.refusal}"


def test_what_was_there_before_the_agent_counts(spills: Path, room: SpillRoom) -> None:
    older(spills / "bash_fish_stdout.txt", BOUND, age_s=9)
    older(spills / "exec_fish2_7.png", BOUND, age_s=8)
    claim = room.claim("exec_aaaa")
    assert spilled(spills, claim, "exec_aaaa") is None
    assert (listed(spills), claim.removed) == (["exec_aaaa_stdout.txt"], 2)


def test_files_of_a_running_execution_stay_and_the_new_output_is_refused(spills: Path, room: SpillRoom) -> None:
    running, new = room.claim("exec_aaaa"), room.claim("bash_bbbb")
    assert spilled(spills, running, "exec_aaaa", BOUND) is None
    assert spilled(spills, new, "bash_bbbb") == f"the spill files of a sandbox together keep at most {BOUND} bytes"
    assert (spills / "exec_aaaa_stdout.txt").stat().st_size == BOUND
    assert new.note() is None


def test_a_file_that_is_still_written_stays_after_its_execution(spills: Path, room: SpillRoom) -> None:
    held, new = room.claim("bash_aaaa"), room.claim("bash_bbbb")
    capture = Capture(spills / "bash_aaaa_stdout.txt", claim=held)
    capture.feed(b"x" * BOUND)
    held.end()
    assert spilled(spills, new, "bash_bbbb") is not None
    capture.close()
    assert spilled(spills, new, "bash_bbbb") is None
    assert new.removed >= 1
    assert not (spills / "bash_aaaa_stdout.txt").exists()


def test_what_user_code_put_there_is_neither_counted_nor_deleted(spills: Path, room: SpillRoom, tmp_path: Path) -> None:
    older(spills / "report.csv", BOUND, age_s=9)
    older(spills / "exec_notes.txt", BOUND, age_s=9)
    older(tmp_path / "target", BOUND, age_s=9)
    (spills / "exec_fish_stdout.txt").symlink_to(tmp_path / "target")
    (spills / "exec_fish_1.png").mkdir()
    claim = room.claim("exec_aaaa")
    assert spilled(spills, claim, "exec_aaaa") is None
    assert claim.removed == 0
    assert (tmp_path / "target").exists()


def test_room_that_user_code_made_itself_is_found(spills: Path, room: SpillRoom) -> None:
    claim = room.claim("exec_aaaa")
    for number in range(5):
        assert spilled(spills, claim, f"exec_aaaa_{number}") is None
        (spills / f"exec_aaaa_{number}_stdout.txt").unlink()
    assert claim.removed == 0


def test_artifacts_share_the_room(spills: Path, room: SpillRoom) -> None:
    older(spills / "exec_fish_1.html", BOUND, age_s=9)
    claim = room.claim("exec_aaaa")
    store = ArtifactStore(spills, "exec_aaaa", claim)
    saved = store.save("text/html", "x" * SIZE)
    assert saved is not None
    assert (listed(spills), claim.removed) == (["exec_aaaa_1.html"], 1)
    assert store.save("text/html", "x" * BOUND) is None
    assert store.problem == f"text/html could not be saved: {room.refusal}"


def test_a_folder_that_is_gone_is_empty(tmp_path: Path) -> None:
    assert SpillRoom(tmp_path / "gone", BOUND).take(1) == (True, 0)


@pytest.mark.anyio
async def test_the_answer_of_a_command_says_that_an_older_file_went(bash: Bash, spills: Path) -> None:
    older(spills / "bash_zzzz_stdout.txt", SPILL_FOLDER_MAX_BYTES, age_s=9)
    result = await bash.run("yes | head -c 50000", timeout_s=30, interrupted=asyncio.Event(), emit=None)
    assert result.note is not None
    assert result.note.startswith("1 older output file was deleted")
    assert (result.stdout.lost, result.stdout.bytes) == (None, 50_000)
    assert not (spills / "bash_zzzz_stdout.txt").exists()


@pytest.mark.anyio
async def test_the_answer_of_a_cell_says_that_an_older_file_went_and_keeps_its_own() -> None:
    async with place() as there:
        older(there.output / "exec_zzzz_1.png", SPILL_FOLDER_MAX_BYTES, age_s=9)
        result = await there.run("print('x' * 50_000); 'y' * 50_000")
        assert result.note is not None
        assert result.note.startswith("1 older output file was deleted")
        assert result.results_path is not None
        assert len(read(result.results_path)) == 50_001 + 50_002
        assert len(listed(there.output)) == 3
        assert "deleted" not in str((await there.run("print('x' * 50_000)")).note)
