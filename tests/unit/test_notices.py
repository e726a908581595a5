"""The strings that clients read by machine, character by character."""

from sandbox.limits import INLINE_CHARS
from sandbox.pipe.messages import StreamOutput
from sandbox.tools.notices import bash_text, notebook_text, workbench_text
from tests.compat.requirements import promises

PATH = "/mnt/files/.composio/output/bash_fish_stdout.txt"


@promises("CC-7.01")
def test_a_cut_bash_stream_names_its_file_in_the_agreed_words() -> None:
    stream = StreamOutput(text="x" * INLINE_CHARS, bytes=50_000, lines=1, path=PATH)
    assert bash_text(stream) == "x" * INLINE_CHARS + (
        "\n... (output truncated, full output saved to: /mnt/files/.composio/output/bash_fish_stdout.txt)"
        "\nRun 'cat /mnt/files/.composio/output/bash_fish_stdout.txt' to view the full output, or use "
        "'head -n 100 /mnt/files/.composio/output/bash_fish_stdout.txt' / "
        "'tail -n 100 /mnt/files/.composio/output/bash_fish_stdout.txt' to view parts of it."
    )


@promises("CC-7.02")
def test_a_cut_workbench_stream_names_its_file_in_the_agreed_words() -> None:
    path = "/mnt/files/.composio/output/exec_once_stdout.txt"
    stream = StreamOutput(text="x" * INLINE_CHARS, bytes=50_000, lines=1, path=path)
    assert workbench_text(stream) == "x" * INLINE_CHARS + (
        "\n... (output truncated, full output saved to: /mnt/files/.composio/output/exec_once_stdout.txt)"
        "\nTo view the full output, run code: open('/mnt/files/.composio/output/exec_once_stdout.txt').read()"
        "\nOr use COMPOSIO_BASH_TOOL: 'cat /mnt/files/.composio/output/exec_once_stdout.txt' / "
        "'head -n 100 /mnt/files/.composio/output/exec_once_stdout.txt' / "
        "'tail -n 100 /mnt/files/.composio/output/exec_once_stdout.txt'"
    )


def test_a_whole_stream_is_left_as_it_is() -> None:
    assert bash_text(StreamOutput(text="a\n")) == workbench_text(StreamOutput(text="a\n")) == "a\n"


def test_a_cut_stream_without_a_file_says_why_there_is_none() -> None:
    stream = StreamOutput(text="a", bytes=9, lost="the disk is full")
    words = "a\n... (output truncated; the rest could not be saved: the disk is full)"
    assert bash_text(stream) == workbench_text(stream) == words


@promises("CC-2.15")
def test_results_are_the_stdout_then_the_value_stripped_at_the_end() -> None:
    assert notebook_text(StreamOutput(text="hi\n"), StreamOutput(text="42\n"), None) == "hi\n42"


def test_a_value_starts_on_its_own_line() -> None:
    assert notebook_text(StreamOutput(text="hi"), StreamOutput(text="42"), None) == "hi\n42"


def test_leading_spaces_of_results_are_kept() -> None:
    assert notebook_text(StreamOutput(text="  hi  \n"), StreamOutput(), None) == "  hi"


def test_cut_results_name_the_file_of_the_whole_view() -> None:
    stdout, value = StreamOutput(text="x" * 30_000), StreamOutput(text="y" * 30_000)
    text = notebook_text(stdout, value, "/p")
    assert text.startswith("x" * 30_000 + "\n" + "y" * 9_999 + "\n... (output truncated, full output saved to: /p)")


def test_results_that_are_too_long_are_bounded_even_without_a_file() -> None:
    text = notebook_text(StreamOutput(text="x" * 30_000), StreamOutput(text="y" * 30_000), None)
    assert text[:INLINE_CHARS] == "x" * 30_000 + "\n" + "y" * 9_999
    assert len(text) < INLINE_CHARS + 200
