"""The file with stdout and the value together is whole, or there is none and the answer says why."""

import os
from pathlib import Path

import pytest

from sandbox.agent.joining import join_files
from sandbox.pipe.messages import StreamOutput

pytestmark = pytest.mark.anyio

TEXT = StreamOutput(text="abc", bytes=3)


def spilled(path: Path, data: bytes) -> StreamOutput:
    path.write_bytes(data)
    return StreamOutput(text="", bytes=len(data), path=str(path))


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def test_streams_follow_one_another(tmp_path: Path) -> None:
    joined = await join_files([spilled(tmp_path / "a", b"x" * 3_000_000), TEXT], tmp_path / "new" / "whole")
    assert joined.why is None
    assert (tmp_path / "new" / "whole").read_bytes() == b"x" * 3_000_000 + b"abc"


async def test_what_is_not_written_in_time_is_removed_and_said(tmp_path: Path) -> None:
    joined = await join_files([spilled(tmp_path / "a", b"x" * 3_000_000), TEXT], tmp_path / "whole", within_s=0)
    assert joined.path is None
    assert joined.why is not None
    assert "3000003 bytes were not written within 0 s" in joined.why
    assert names(tmp_path) == ["a"]


async def test_what_cannot_be_read_leaves_no_half_file_and_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    joined = await join_files([TEXT, StreamOutput(text="", bytes=5, path=str(tmp_path / "a"))], tmp_path / "whole")
    assert joined.path is None
    assert joined.why is not None
    assert "not a regular file" in joined.why
    assert names(tmp_path) == ["a"]


async def test_a_file_of_the_users_with_that_name_stays(tmp_path: Path) -> None:
    (tmp_path / "whole").write_text("mine")
    joined = await join_files([TEXT, TEXT], tmp_path / "whole")
    assert joined.path is None
    assert (tmp_path / "whole").read_text() == "mine"
