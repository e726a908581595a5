"""Slugs of tools."""

import pytest

from sandbox.upstreams.mcp_names import candidates, slug_of, unique_slugs


@pytest.mark.parametrize(
    ("name", "slug"),
    [("get_current_time", "GET_CURRENT_TIME"), ("my-tool.v2", "MY_TOOL_V2"), ("ünï", "_N_"), ("a b/c", "A_B_C")],
)
def test_a_slug_is_upper_case_with_everything_but_letters_and_digits_as_a_line(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@pytest.mark.parametrize("order", [["a-b", "a_b", "a.b", "A_B_2"], ["A_B_2", "a.b", "a_b", "a-b"]])
def test_names_with_the_same_slug_get_numbers_whatever_their_order(order: list[str]) -> None:
    assert unique_slugs(order) == {"A_B_2": "A_B_2", "a-b": "A_B", "a.b": "A_B_3", "a_b": "A_B_4"}


@pytest.mark.timeout(60)
def test_any_number_of_names_with_the_same_slug_are_numbered_at_once() -> None:
    names = [f"{chr(0x4E00 + number // 200)}{chr(0x4E00 + number % 200)}" for number in range(20_000)]
    assert set(unique_slugs(names).values()) == {"__", *(f"___{number}" for number in range(2, 20_001))}


def test_a_slug_belongs_to_the_server_with_the_longest_name_first() -> None:
    prefixes = {"git": "GIT", "git_hub": "GIT_HUB", "time": "TIME"}
    assert candidates("GIT_HUB_STARS", prefixes) == ["git_hub", "git"]
    assert candidates("GIT_LOG", prefixes) == ["git"]
    assert candidates("GITHUB_LOG", prefixes) == []
