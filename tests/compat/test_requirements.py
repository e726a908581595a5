"""Every promise has a test, and every test that names promises names such as there are."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.compat.requirements import ALL, IDS, promises

TESTS: Final = Path(__file__).parents[1]


def _named() -> Iterator[tuple[str, str]]:
    """Read all test files, without running any: the names that tests give, each with the test."""
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "promises(" in text:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                    for name in _of(node):
                        yield name, f"{path.relative_to(TESTS)}::{node.name}"


def _of(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "promises":
            for argument in decorator.args:
                assert isinstance(argument, ast.Constant), f"{test.name}: names of promises are written out"
                yield str(argument.value)


def test_every_promise_has_a_test() -> None:
    missing = sorted(IDS - {name for name, _ in _named()})
    assert missing == []


def test_every_name_that_a_test_gives_is_a_promise() -> None:
    unknown = sorted(test for name, test in _named() if name not in IDS)
    assert unknown == []


def test_promises_have_ids_of_their_own_and_sentences() -> None:
    assert len(IDS) == len(ALL)
    assert all(promise.says.endswith(".") and promise.source for promise in ALL)


def test_a_name_that_is_none_is_refused_where_it_stands() -> None:
    with pytest.raises(ValueError, match="CC-99"):
        promises("CC-99.99")
