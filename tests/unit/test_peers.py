"""The bench of peers: its protocol, its statistics, its table, and the life of a peer's child."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from bench.adapters.base import command_line
from bench.catalog import ENTRIES, Entry
from bench.child import Child, PeerFailed
from bench.peers import ROOT
from bench.protocol import (
    Answer,
    Lines,
    NotOfTheProtocol,
    Probe,
    Ready,
    Request,
    decode_answer,
    decode_ready,
    decode_request,
    encode,
)
from bench.results import Machine, Measured, as_json, figures, markdown, milliseconds

ENTRY = Entry("peer", "A peer", "nowhere", ("peer>=1,<2",), "somewhere | else")
MACHINE = Machine(cpus=2, python="3.11.7", engine="20.10", rounds=3, duration_s=12.3)
DEADLINE_S = 60.0


@contextmanager
def child(folder: Path, *arguments: str) -> Iterator[Child]:
    """A child of this Python; nothing of it is left."""
    started = Child([sys.executable, *arguments], folder, {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    try:
        yield started
    finally:
        started.end(patience_s=0)


def row(table: str, title: str) -> list[str]:
    """The cells of one row, without its title."""
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {title}")]
    return [cell.strip() for cell in line.strip("|").split(" | ")][1:]


def test_every_message_of_the_protocol_is_read_as_it_was_written() -> None:
    ready = Ready({"peer": "1.0"}, ["bench-1"])
    request = Request(Probe.PRINT, times=3, budget_s=1.5)
    answer = Answer(Probe.FLOOD, seconds=[0.1, 2], said="all\nof it")
    assert decode_ready(encode(ready).rstrip(b"\n")) == ready
    assert decode_request(encode(request)) == request
    assert decode_answer(encode(answer), Probe.FLOOD) == answer
    assert encode(answer).count(b"\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Kernel started",
        b"[]",
        b'{"probe": "print"}',
        encode(Answer(Probe.BASH)),
        encode(Ready({})),
        encode(Answer(Probe.PRINT)).replace(b"null", b'"much"'),
        encode(Answer(Probe.PRINT, seconds=[1.0])).replace(b"1.0", b'"fast"'),
    ],
)
def test_a_line_that_is_no_answer_to_the_question_is_refused(line: bytes) -> None:
    with pytest.raises(NotOfTheProtocol, match="not a line of the protocol"):
        decode_answer(line, Probe.PRINT)


def test_a_request_for_an_unknown_probe_is_refused() -> None:
    line = encode(Request(Probe.PRINT)).replace(b'"print"', b'"guess"')
    with pytest.raises(NotOfTheProtocol, match="guess"):
        decode_request(line)


def test_lines_are_cut_wherever_the_stream_was() -> None:
    lines = Lines()
    assert lines.feed(b"on").next() is None
    assert lines.feed(b"e\ntwo\nthr").next() == b"one"
    assert lines.next() == b"two"
    assert lines.next() is None
    assert lines.feed(b"ee\n").next() == b"three"


def test_figures_are_in_milliseconds_and_are_samples_that_there_were() -> None:
    found = figures([each / 1000 for each in range(1, 101)])
    assert found is not None
    assert (found.n, round(found.p50), round(found.p95), round(found.worst)) == (100, 50, 95, 100)
    assert figures([]) is None


@pytest.mark.parametrize(
    ("value", "shown"), [(0.04, "0.0 ms"), (3.14, "3.1 ms"), (48.7, "49 ms"), (1427.2, "1,427 ms")]
)
def test_times_are_shown_with_the_figures_that_matter(value: float, shown: str) -> None:
    assert milliseconds(value) == shown


def test_samples_of_several_rounds_add_up() -> None:
    measured = Measured(ENTRY)
    measured.add(Answer(Probe.PRINT, seconds=[0.002]))
    measured.add(Answer(Probe.PRINT, seconds=[0.004, 0.006]))
    assert measured.samples[Probe.PRINT] == [0.002, 0.004, 0.006]


def test_an_error_of_one_round_is_not_covered_up_by_the_next() -> None:
    measured = Measured(ENTRY, versions={"peer": "1.2"})
    measured.add(Answer(Probe.PRINT, error="OSError: gone"))
    measured.add(Answer(Probe.PRINT, seconds=[0.002]))
    assert row(markdown([measured], MACHINE), "`print(1)`") == ["error: OSError: gone"]


def test_the_table_shows_figures_findings_and_what_a_peer_cannot_do() -> None:
    measured = Measured(ENTRY, versions={"peer": "1.2", "its-kernel": "7"})
    measured.add(Answer(Probe.PRINT, seconds=[0.0031, 0.0029, 0.0101]))
    measured.add(Answer(Probe.FLOOD, seconds=[0.5], said="all, in a file"))
    measured.add(Answer(Probe.MEMORY, megabytes=54.4, said="kernel"))
    measured.add(Answer(Probe.TIMEOUT, said="kept"))
    measured.add(Answer(Probe.BASH, cannot="no shell"))
    table = markdown([measured], MACHINE)
    assert row(table, "version") == ["peer 1.2, its-kernel 7"]
    assert row(table, "where the code runs") == ["somewhere \\| else"]
    assert row(table, "`print(1)`") == ["3.1 ms / 10 ms"]
    assert row(table, "10 MB of stdout") == ["500 ms; all, in a file"]
    assert row(table, "idle session, memory") == ["54 MB (kernel)"]
    assert row(table, "after a loop timed out") == ["kept"]
    assert row(table, "`true`") == ["cannot: no shell"]
    assert row(table, "new session") == ["left out"]


def test_a_peer_that_does_not_start_is_in_the_table_with_its_last_words() -> None:
    works = Measured(ENTRY, versions={"peer": "1"})
    broken = Measured(ENTRY, failure="did not start: ended: ImportError:\n no module")
    table = markdown([works, broken], MACHINE)
    assert row(table, "version") == ["peer 1", "did not start"]
    assert row(table, "`print(1)`") == ["left out", "failed"]
    assert "- A peer: did not start: ended: ImportError: no module" in table


def test_the_json_has_every_sample() -> None:
    measured = Measured(ENTRY, versions={"peer": "1.2"})
    measured.add(Answer(Probe.PRINT, seconds=[0.002, 0.004]))
    body = msgspec.json.decode(as_json([measured], MACHINE))
    (peer,) = body["peers"]
    assert body["machine"]["rounds"] == 3
    assert peer["versions"] == {"peer": "1.2"}
    assert peer["probes"]["print"]["seconds"] == [0.002, 0.004]
    assert peer["probes"]["print"]["milliseconds"]["p50"] == 2.0


def test_every_peer_names_published_packages_by_version_range_only() -> None:
    named = [package for entry in ENTRIES for package in entry.packages]
    assert all(">=" in package and "," in package and "/" not in package for package in named)
    assert [entry.name for entry in ENTRIES if not entry.packages] == ["workbench"]


def test_a_child_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with child(tmp_path, "-c", "raise SystemExit('no engine here')") as peer, pytest.raises(PeerFailed) as failed:
        peer.wait_until_ready()
    assert str(failed.value) == "ended: no engine here"


def test_a_child_that_speaks_otherwise_is_refused(tmp_path: Path) -> None:
    with child(tmp_path, "-c", "print('hello')") as peer, pytest.raises(PeerFailed, match="not a line of the protocol"):
        peer.wait_until_ready()


def test_a_silent_child_is_given_up_and_ended_with_its_children(tmp_path: Path) -> None:
    program = (
        "import json, subprocess, sys, time\n"
        "far = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        # For a moment after it was started a program has no arguments yet.
        "while not open(f'/proc/{far.pid}/cmdline').read(): pass\n"
        "print(json.dumps({'versions': {'pid': str(far.pid)}, 'installations': []}), flush=True)\n"
        "time.sleep(600)\n"
    )
    with child(tmp_path, "-c", program) as peer:
        far = int(peer.wait_until_ready().versions["pid"])
        peer.ask(Request(Probe.PRINT))
        with pytest.raises(PeerFailed, match="no answer after 0 s"):
            peer.answer(Request(Probe.PRINT), deadline_s=0)
        assert "sleep" in command_line(far)
        assert not peer.end(patience_s=0)
    assert command_line(far) == ""


def test_a_raw_kernel_answers_the_probes_and_ends_by_itself(tmp_path: Path) -> None:
    with child(tmp_path, "-m", "bench.adapters.raw_kernel") as peer:
        assert "ipykernel" in peer.wait_until_ready().versions
        answers = {}
        for probe in (Probe.PRINT, Probe.VARIABLE, Probe.EXCEPTION, Probe.FLOOD, Probe.BASH):
            peer.ask(Request(probe, times=2))
            answers[probe] = peer.answer(Request(probe, times=2), DEADLINE_S)
        assert peer.end()
    assert len(answers[Probe.PRINT].seconds) == 2
    assert (answers[Probe.VARIABLE].said, answers[Probe.EXCEPTION].said) == ("yes", "yes")
    assert answers[Probe.FLOOD].said == "all, in the answer"
    assert answers[Probe.BASH].cannot
    assert not [each for each in answers.values() if each.error], json.dumps([each.error for each in answers.values()])
