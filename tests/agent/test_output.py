"""A stream is inline up to 40,000 characters; from the first one over, all of it is in a file, byte for byte."""

import hashlib
import random
import resource
import shutil
import tracemalloc
from pathlib import Path

import pytest

from sandbox.agent.output import Capture, SpillNames, bounded_text
from sandbox.agent.words import WORDS
from sandbox.limits import INLINE_CHARS, MIB
from sandbox.pipe.messages import StreamOutput
from tests.compat.requirements import promises

PIECES = random.Random(7)


def test_a_short_stream_is_all_inline_and_makes_no_file(spills: Path) -> None:
    capture = Capture(spills / "x.txt")
    capture.feed(b"one\ntwo")
    assert capture.close() == StreamOutput("one\ntwo", bytes=7, lines=2)
    assert not spills.exists()


def test_an_empty_stream_has_no_lines(spills: Path) -> None:
    assert Capture(spills / "x.txt").close() == StreamOutput()


def test_exactly_the_limit_is_inline_and_one_more_character_spills(spills: Path) -> None:
    inline, spilt = Capture(spills / "a.txt"), Capture(spills / "b.txt")
    inline.feed("é".encode() * INLINE_CHARS)
    spilt.feed("é".encode() * INLINE_CHARS)
    spilt.feed(b"!")
    assert inline.close() == StreamOutput("é" * INLINE_CHARS, bytes=2 * INLINE_CHARS, lines=1)
    assert spilt.close() == StreamOutput(
        "é" * INLINE_CHARS, bytes=2 * INLINE_CHARS + 1, lines=1, path=str(spills / "b.txt")
    )
    assert (spills / "b.txt").read_bytes() == "é".encode() * INLINE_CHARS + b"!"


def test_half_a_character_at_the_limit_is_one_character_too_many(spills: Path) -> None:
    capture = Capture(spills / "x.txt")
    capture.feed(b"a" * INLINE_CHARS + "é".encode()[:1])
    result = capture.close()
    assert result.text == "a" * INLINE_CHARS
    assert (spills / "x.txt").stat().st_size == result.bytes == INLINE_CHARS + 1


@pytest.mark.parametrize("size", [1, 7, 4096, 70_000])
def test_pieces_of_any_size_give_the_same_text_counts_and_bytes(spills: Path, size: int) -> None:
    data = ("zwölf Boxkämpfer 🥊\n" * 5000).encode() + b"\xff\xfe end"
    live: list[str] = []
    capture = Capture(spills / "x.txt", on_text=live.append)
    for start in range(0, len(data), size):
        capture.feed(data[start : start + size])
    result = capture.close()
    assert result.text == data.decode("utf-8", "replace")[:INLINE_CHARS]
    assert (result.bytes, result.lines) == (len(data), 5001)
    assert (spills / "x.txt").read_bytes() == data
    assert "".join(live) == data.decode("utf-8", "replace")


def test_random_bytes_are_kept_as_they_are(spills: Path) -> None:
    data = PIECES.randbytes(300_000)
    capture = Capture(spills / "x.txt")
    for start in range(0, len(data), 1000):
        capture.feed(data[start : start + 1000])
    result = capture.close()
    assert (spills / "x.txt").read_bytes() == data
    assert result.lines == data.count(b"\n") + (not data.endswith(b"\n"))


def test_memory_stays_flat_while_100_mib_pass(spills: Path) -> None:
    capture = Capture(spills / "x.txt")
    piece, digest = PIECES.randbytes(MIB), hashlib.sha256()
    tracemalloc.start()
    for _ in range(100):
        capture.feed(piece)
        digest.update(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * MIB
    assert capture.close().bytes == 100 * MIB
    with (spills / "x.txt").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()


def test_what_is_over_the_bound_of_a_spill_is_counted_and_said(spills: Path) -> None:
    capture = Capture(spills / "x.txt", spill_max_bytes=50_000)
    capture.feed(b"x" * 45_000)
    capture.feed(b"y\n" * 45_000)
    result = capture.close()
    assert (result.bytes, result.lines, result.kept_bytes) == (135_000, 45_000, 50_000)
    assert result.lost == "a spill file keeps at most 50000 bytes"
    assert (spills / "x.txt").read_bytes() == b"x" * 45_000 + b"y\n" * 2500


def test_a_file_that_cannot_grow_is_said_and_counted_but_never_raised(spills: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    capture = Capture(spills / "x.txt")
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        for _ in range(10):
            capture.feed(b"line of ten\n" * 1000)
        result = capture.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (result.bytes, result.lines, result.kept_bytes) == (120_000, 10_000, 60_000)
    assert result.lost == "the file could not be written: File too large"
    assert len(result.text) == INLINE_CHARS


def test_a_folder_that_user_code_deleted_is_made_again(spills: Path) -> None:
    first = bounded_text("a" * (INLINE_CHARS + 1), spills / "a.txt")
    shutil.rmtree(spills.parent)
    second = bounded_text("b" * (INLINE_CHARS + 1), spills / "b.txt")
    assert first.path == str(spills / "a.txt")
    assert (spills / "b.txt").read_text() == "b" * (INLINE_CHARS + 1)
    assert second.lost is None


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = bounded_text("a" * (INLINE_CHARS + 1), tmp_path / "file" / "a.txt")
    assert result.text == "a" * INLINE_CHARS
    assert result.kept_bytes == 0
    assert result.lost is not None


def test_a_spill_that_was_deleted_while_it_was_written_is_lost_and_said(spills: Path) -> None:
    capture = Capture(spills / "x.txt")
    capture.feed(b"a" * (INLINE_CHARS + 1))
    (spills / "x.txt").unlink()
    capture.feed(b"b")
    result = capture.close()
    assert (result.bytes, result.kept_bytes) == (INLINE_CHARS + 2, 0)
    assert result.lost == "the file was deleted while it was written"


def test_a_file_or_link_in_the_way_is_left_alone_and_another_name_taken(spills: Path, tmp_path: Path) -> None:
    spills.mkdir(parents=True)
    (tmp_path / "target").write_text("mine")
    (spills / "x.txt").symlink_to(tmp_path / "target")
    result = bounded_text("a" * (INLINE_CHARS + 1), spills / "x.txt")
    assert result.path == str(spills / "x_2.txt")
    assert (tmp_path / "target").read_text() == "mine"


def test_late_output_makes_the_file_with_all_that_came_before(spills: Path) -> None:
    capture = Capture(spills / "x.txt")
    capture.feed(b"early\n")
    assert capture.output().path is None
    capture.late(b"late\n")
    capture.close()
    assert (spills / "x.txt").read_text() == "early\nlate\n"


def test_a_text_with_half_surrogates_is_taken(spills: Path) -> None:
    assert bounded_text("a\ud800b", spills / "x.txt") == StreamOutput("a?b", bytes=3, lines=1)


@promises("CC-7.03")
def test_words_are_plain_four_letter_words() -> None:
    assert len(WORDS) == len(set(WORDS)) >= 500
    assert all(len(word) == 4 and word.isalpha() and word.islower() for word in WORDS)


def test_names_are_unique_however_many_are_asked_for(spills: Path) -> None:
    names = SpillNames(spills)
    given = [names.new("exec") for _ in range(3 * len(WORDS))]
    assert len(set(given)) == len(given)
    assert set(given[: len(WORDS)]) == {f"exec_{word}" for word in WORDS}


def test_a_name_that_is_in_use_in_the_folder_is_not_given_out(spills: Path) -> None:
    spills.mkdir(parents=True)
    for word in WORDS[1:]:
        (spills / f"bash_{word}_stderr.txt").touch()
    assert SpillNames(spills).new("bash") == f"bash_{WORDS[0]}"


def test_a_name_that_was_given_back_is_given_out_again_but_last(spills: Path) -> None:
    names = SpillNames(spills)
    first = names.new("bash")
    names.give_back(first)
    assert [names.new("bash") for _ in WORDS][-1] == first
