"""Files that have to be in a folder once links are followed, or to be the very one that was looked at before."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sandbox.agent.files import Files
from sandbox.errors import CallFault
from sandbox.pipe.messages import DeleteFile, FileInfo, ListFiles, ReadFile, WriteFile
from tests.agent.test_files import Reading, files, stream, tree

__all__ = ["files"]

pytestmark = pytest.mark.anyio

Touch = Callable[[Files, str, str], Awaitable[object]]


async def look(files: Files, path: str, inside: str) -> FileInfo:
    """Read nothing of a file but what is said of it."""
    body = ReadFile(path, length=0, inside=inside)
    return await files.read(body, Reading(body))


async def put(files: Files, path: str, inside: str) -> object:
    """Write a file."""
    return await files.write(WriteFile(path, inside=inside), stream(b"x"))


async def delete(files: Files, path: str, inside: str) -> object:
    """Delete a file."""
    return await files.delete(DeleteFile(path, inside=inside))


@pytest.mark.parametrize("touch", [look, put, delete])
async def test_a_link_that_leads_out_of_the_folder_is_refused(files: Files, tmp_path: Path, touch: Touch) -> None:
    tree(tmp_path, "in/file", "out/file")
    (tmp_path / "in/link").symlink_to("../out")
    with pytest.raises(CallFault) as raised:
        await touch(files, str(tmp_path / "in/link/file"), str(tmp_path / "in"))
    assert raised.value.fault == "outside"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


@pytest.mark.parametrize("touch", [look, put, delete])
async def test_a_link_within_the_folder_and_one_to_the_folder_are_followed(
    files: Files, tmp_path: Path, touch: Touch
) -> None:
    tree(tmp_path, "in/deep/file")
    (tmp_path / "in/link").symlink_to("deep")
    (tmp_path / "known").symlink_to("in")
    await touch(files, str(tmp_path / "known/link/file"), str(tmp_path / "known"))


async def test_a_neighbour_that_begins_with_the_folders_name_is_outside(files: Files, tmp_path: Path) -> None:
    tree(tmp_path, "in/file", "inner/file")
    with pytest.raises(CallFault, match="out of"):
        await look(files, str(tmp_path / "inner/file"), str(tmp_path / "in"))


async def test_a_file_that_took_the_place_of_the_one_that_is_meant_is_not_read(files: Files, tmp_path: Path) -> None:
    tree(tmp_path, "file")
    before = await look(files, str(tmp_path / "file"), str(tmp_path))
    with (tmp_path / "file").open("a") as file:
        file.write("more")
    same = ReadFile(str(tmp_path / "file"), file_id=before.file_id)
    await files.read(same, Reading(same))
    await put(files, str(tmp_path / "file"), str(tmp_path))
    with pytest.raises(CallFault) as raised:
        await files.read(same, Reading(same))
    assert raised.value.fault == "changed"


async def test_a_file_whose_upload_is_under_way_is_not_listed(files: Files, tmp_path: Path) -> None:
    tree(tmp_path, ".upload-0123456789abcdef", ".upload-notes", "file")
    page = await files.list(ListFiles(str(tmp_path)))
    assert [each.path for each in page.files] == [".upload-notes", "file"]
