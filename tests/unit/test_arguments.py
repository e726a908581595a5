"""Arguments of tools: every generation of the contract is taken, and every bad field is named."""

import pytest

from sandbox.errors import FieldError, InvalidArguments
from sandbox.tools.arguments import read_arguments, seconds_within
from sandbox.tools.bash import BashArguments
from sandbox.tools.workbench import WorkbenchArguments

CHECKS = {"timeout": seconds_within(780)}


def refused(arguments: object) -> InvalidArguments:
    with pytest.raises(InvalidArguments) as caught:
        read_arguments(arguments, WorkbenchArguments, CHECKS)
    return caught.value


@pytest.mark.parametrize(
    "extra",
    [
        {"thought_process": "t", "file_path": "/a/*", "current_step_metric": {"completed": 1, "total": 2, "unit": "x"}},
        {"thought": "t", "timeout": 60, "session_id": "abcd"},
        {"thought": "t", "current_step": "FETCHING", "current_step_metric": "10/100 emails", "next_step": "x"},
        {"something_unknown": [1, 2]},
        {"timeout": None, "session_id": None, "thought": None},
    ],
)
def test_the_arguments_of_every_generation_are_taken(extra: dict[str, object]) -> None:
    given = read_arguments({"code_to_execute": "1", **extra}, WorkbenchArguments, CHECKS)
    assert given.code_to_execute == "1"


def test_a_missing_field_is_told_in_the_words_that_clients_know() -> None:
    error = refused({})
    assert error.message == 'Validation error: Required at "code_to_execute"'
    assert error.errors == (FieldError("arguments.code_to_execute", "Required"),)


def test_every_bad_field_is_listed() -> None:
    error = refused({"timeout": 781, "session_id": 5, "thought": ["a"], "current_step_metric": 3})
    assert error.errors == (
        FieldError("arguments.code_to_execute", "Required"),
        FieldError("arguments.timeout", "Must be between 1 and 780 seconds, got 781"),
        FieldError("arguments.session_id", "Expected string, got number"),
        FieldError("arguments.thought", "Expected string, got array"),
        FieldError("arguments.current_step_metric", "Expected string or object, got number"),
    )


@pytest.mark.parametrize("timeout", [0, 0.5, -1, 780.5, 10**30])
def test_a_timeout_out_of_bounds_is_refused(timeout: float) -> None:
    assert "Must be between 1 and 780 seconds" in refused({"code_to_execute": "1", "timeout": timeout}).message


@pytest.mark.parametrize("timeout", ["60", True, [60]])
def test_a_timeout_that_is_no_number_is_refused(timeout: object) -> None:
    assert "Expected number" in refused({"code_to_execute": "1", "timeout": timeout}).message


@pytest.mark.parametrize("timeout", [1, 1.5, 780])
def test_a_timeout_within_bounds_is_taken(timeout: float) -> None:
    given = read_arguments({"command": "true", "timeout": timeout}, BashArguments, CHECKS)
    assert given.timeout == timeout


@pytest.mark.parametrize("arguments", ["text", 3, [], True])
def test_arguments_that_are_no_object_are_refused(arguments: object) -> None:
    assert refused(arguments).errors == (FieldError("arguments", "Expected object"),)
