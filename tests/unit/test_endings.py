"""The truth about how executions ended: what is said to the caller for every ending."""

import pytest

from sandbox.pipe.messages import Action, BashResult, CodeError, CodeResult, Ending, StreamOutput
from sandbox.tools.endings import judge_bash, judge_code

ID = "exe_1"


def code(ending: Ending, **fields: object) -> tuple[bool, str | None]:
    verdict = judge_code(CodeResult(ending, **fields), execution_id=ID, timeout_s=5)  # type: ignore[arg-type]
    return verdict.successful, verdict.error


def bash(ending: Ending, **fields: object) -> tuple[bool, str | None]:
    verdict = judge_bash(BashResult(ending, **fields), execution_id=ID, timeout_s=300)  # type: ignore[arg-type]
    return verdict.successful, verdict.error


def raised(name: str, message: str) -> CodeError:
    return CodeError(name, message, f"Traceback (most recent call last)\n{name}: {message}")


def test_completed_code_is_a_success_without_an_error() -> None:
    assert code(Ending.COMPLETED) == (True, None)


def test_an_exception_is_told_in_one_line() -> None:
    error = raised("NameError", "name 'x' is not defined")
    assert code(Ending.ERROR, error=error) == (False, "NameError: name 'x' is not defined")


def test_only_the_first_line_of_a_long_message_is_told() -> None:
    assert code(Ending.ERROR, error=raised("ValueError", "first\nsecond"))[1] == "ValueError: first"


def test_an_exception_without_a_message_is_told_by_its_name() -> None:
    assert code(Ending.ERROR, error=raised("KeyboardInterrupt", ""))[1] == "KeyboardInterrupt"


def test_a_top_level_return_gets_a_hint() -> None:
    message = code(Ending.ERROR, error=raised("SyntaxError", "'return' outside function (<cell>, line 1)"))[1]
    assert message is not None
    assert "a cell is not a function" in message


@pytest.mark.parametrize(
    ("action", "kept", "told"),
    [
        (
            Action.INTERRUPTED,
            True,
            "Timed out after 5 s: the code was interrupted. Variables and files are kept.",
        ),
        (
            Action.KERNEL_RESTARTED,
            False,
            (
                "Timed out after 5 s: the code did not stop when it was interrupted, so the kernel was restarted. "
                "Variables are lost; files are kept."
            ),
        ),
        (
            Action.NOT_STARTED,
            True,
            (
                "Timed out while it waited for earlier executions of this session: no line of the code ran. "
                "Variables and files are kept."
            ),
        ),
    ],
)
def test_a_timeout_says_the_limit_what_was_done_and_what_is_kept(action: Action, kept: bool, told: str) -> None:
    assert code(Ending.TIMED_OUT, action=action, variables_kept=kept) == (False, told)


def test_what_was_cancelled_before_it_began_is_not_said_to_have_waited_for_others() -> None:
    told = code(Ending.INTERRUPTED, action=Action.NOT_STARTED, note="interrupted while it waited for its sandbox")[1]
    assert told == "Cancelled before it began: no line of the code ran. Variables and files are kept."


def test_an_interrupt_says_that_somebody_asked_for_it() -> None:
    told = code(Ending.INTERRUPTED, action=Action.INTERRUPTED)[1]
    assert told == "Interrupted on request: the code was interrupted. Variables and files are kept."


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"exit_code": 3}, "exit code 3"),
        ({"signal": "SIGSEGV"}, "signal SIGSEGV"),
        ({"signal": "SIGKILL", "out_of_memory": True}, "out of memory"),
        ({}, "cause unknown"),
    ],
)
def test_a_dead_kernel_is_told_with_its_cause(fields: dict[str, object], cause: str) -> None:
    told = code(Ending.KERNEL_DIED, variables_kept=False, **fields)[1]
    assert told == (f"The Python kernel died: {cause}. A new one was started. Variables are lost; files are kept.")


def test_a_kernel_that_cannot_be_started_is_told_with_its_last_words_and_what_to_do() -> None:
    note = "the kernel could not be started: it ended at once (exit code 7)\nno module named ipykernel"
    told = code(Ending.KERNEL_DIED, action=Action.NOT_STARTED, variables_kept=False, note=note)[1]
    assert told == (
        "No Python kernel could be started, so no line of the code ran: the kernel could not be started: it ended at "
        "once (exit code 7). Mend it with the bash tool, or delete the session for a fresh sandbox. "
        "Variables are lost; files are kept."
    )


def test_a_lost_sandbox_is_told_with_its_cause_and_loses_everything() -> None:
    verdict = judge_code(
        CodeResult(Ending.SANDBOX_GONE, variables_kept=False, files_kept=False, note="it was removed"),
        execution_id=ID,
        timeout_s=5,
    )
    assert verdict.error == (
        "The sandbox disappeared while this ran (it was removed). The next call starts a new one. "
        "Variables and files are lost."
    )
    assert (verdict.info.variables, verdict.info.files) == ("lost", "lost")


@pytest.mark.parametrize("exit_code", [0, 1, 127])
def test_a_command_that_ended_by_itself_is_a_success_whatever_its_exit_code(exit_code: int) -> None:
    assert bash(Ending.COMPLETED, exit_code=exit_code) == (True, None)


def test_a_command_over_its_limit_says_that_its_process_group_is_gone() -> None:
    told = bash(Ending.TIMED_OUT, action=Action.PROCESS_GROUP_KILLED)[1]
    assert told == (
        "Timed out after 300 s: the command and its process group were killed. Variables and files are kept."
    )


def test_a_command_that_ended_at_its_interrupt_is_not_called_killed() -> None:
    told = bash(Ending.INTERRUPTED, action=Action.INTERRUPTED)[1]
    assert told == "Interrupted on request: the command was interrupted. Variables and files are kept."


def test_bash_in_a_lost_sandbox_loses_everything() -> None:
    verdict = judge_bash(BashResult(Ending.SANDBOX_GONE, files_kept=False), execution_id=ID, timeout_s=1)
    assert (verdict.info.variables, verdict.info.files) == ("lost", "lost")


def test_a_command_killed_for_memory_says_so_in_the_note() -> None:
    verdict = judge_bash(BashResult(Ending.COMPLETED, exit_code=137, out_of_memory=True), execution_id=ID, timeout_s=1)
    assert verdict.info.note is not None
    assert "Out of memory" in verdict.info.note


def test_output_that_was_not_kept_whole_is_counted_in_the_note() -> None:
    stdout = StreamOutput(text="a", bytes=900, lines=1, path="/p", kept_bytes=500, lost="the disk is full")
    verdict = judge_code(CodeResult(Ending.COMPLETED, stdout=stdout), execution_id=ID, timeout_s=1)
    assert verdict.info.note == "stdout: 500 of 900 bytes were kept (the disk is full)."


@pytest.mark.parametrize("ending", list(Ending))
@pytest.mark.parametrize("action", list(Action))
def test_every_ending_has_words_unless_it_is_a_success(ending: Ending, action: Action) -> None:
    for successful, error in (code(ending, action=action), bash(ending, action=action)):
        assert successful == (error is None) == (ending is Ending.COMPLETED)


def test_what_happened_to_an_earlier_sandbox_is_passed_on() -> None:
    verdict = judge_code(CodeResult(Ending.COMPLETED), execution_id=ID, timeout_s=1, recreated="It is new.")
    assert verdict.info.recreated == "It is new."
