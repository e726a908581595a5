"""Artifacts on disk: new files only, links never followed, problems said and not raised."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Raw

from sandbox.agent.artifacts import ArtifactStore, contents, extension
from sandbox.agent.spill_room import SpillRoom
from sandbox.limits import ARTIFACTS_MAX
from sandbox.pipe.messages import Artifact


def store_in(folder: Path, on_saved: Callable[[Artifact], None] | None = None) -> ArtifactStore:
    return ArtifactStore(folder, "exec_fish", SpillRoom(folder).claim("exec_fish"), on_saved)


@pytest.mark.parametrize(
    ("mime", "expected"),
    [
        ("image/png", "png"),
        ("image/jpeg", "jpg"),
        ("image/svg+xml", "svg"),
        ("text/html", "html"),
        ("application/json", "json"),
        ("application/vnd.vegalite.v5+json", "json"),
        ("video/mp4", "mp4"),
        ("text/plain", None),
        ("text/latex", None),
        ("application/x-sh", None),
        ("image/png/../../etc", None),
        (f"application/vnd.{'x' * 1_000}json", None),
    ],
)
def test_known_kinds_are_saved_under_known_endings(mime: str, expected: str | None) -> None:
    assert extension(mime) == expected


def test_text_that_is_no_unicode_is_saved_all_the_same() -> None:
    assert contents("text/html", "a\ud800") == b"a?"


def test_files_are_numbered_and_listed_in_order(tmp_path: Path) -> None:
    store = store_in(tmp_path / "made" / "here")
    first = store.save("text/html", "one")
    second = store.save("image/png", base64.b64encode(b"two").decode())

    assert first == Artifact("text/html", str(tmp_path / "made/here/exec_fish_1.html"), 3)
    assert second == Artifact("image/png", str(tmp_path / "made/here/exec_fish_2.png"), 3)
    assert store.saved == (first, second)


def test_a_link_to_nowhere_in_the_place_of_the_folder_is_a_problem_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "output").symlink_to(tmp_path / "nowhere")
    store = store_in(tmp_path / "output")

    assert store.save("text/html", "one") is None
    assert store.problem == "text/html could not be saved: something else is in the place of its folder"


def test_a_link_that_lies_in_the_way_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    (tmp_path / "exec_fish_1.html").symlink_to(target)
    saved = store_in(tmp_path).save("text/html", "new")

    assert saved is not None
    assert saved.path.endswith("exec_fish_2.html")
    assert target.read_text() == "untouched"


def test_a_new_state_replaces_the_file_and_not_what_a_link_points_to(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    saved = store.save("text/html", "old")
    assert saved is not None
    target = tmp_path / "target"
    target.write_text("untouched")
    Path(saved.path).unlink()
    Path(saved.path).symlink_to(target)
    replaced = store.replace(saved, "newer")

    assert replaced == Artifact("text/html", saved.path, 5)
    assert store.saved == (replaced,)
    assert (target.read_text(), Path(saved.path).read_text()) == ("untouched", "newer")


def test_what_is_removed_leaves_neither_file_nor_entry(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    saved = store.save("text/html", "x")
    assert saved is not None
    store.remove(saved)
    store.remove(saved)

    assert store.saved == ()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_problem_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = store_in(tmp_path / "file" / "folder")

    assert store.save("text/html", "x") is None
    assert store.problem == "text/html could not be saved: Not a directory"


def test_a_picture_that_is_no_text_is_a_problem_in_words(tmp_path: Path) -> None:
    store = store_in(tmp_path)

    assert store.save("image/png", Raw(b'["no", "text"]')) is None
    assert store.problem is not None
    assert "not base64" in store.problem


def test_one_too_many_is_counted(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    for _ in range(ARTIFACTS_MAX + 1):
        store.save("text/html", "x")

    assert (len(store.saved), store.dropped) == (ARTIFACTS_MAX, 1)


def test_each_saved_state_is_told(tmp_path: Path) -> None:
    told: list[Artifact] = []
    store = store_in(tmp_path, told.append)
    saved = store.save("text/html", "x")
    assert saved is not None
    store.replace(saved, "xyz")

    assert [artifact.size for artifact in told] == [1, 3]
