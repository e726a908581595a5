"""Previews of large JSON objects."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.tools.preview import KEYS, PREVIEW_CHARS, TEXT_CHARS, Preview, preview_of
from tests.compat.requirements import promises


def _preview(thing: Any) -> Preview:
    return preview_of(json.dumps(thing).encode())


@promises("CC-7.06")
def test_arrays_keep_two_items_and_say_how_many_are_left_out() -> None:
    assert _preview({"rows": list(range(20))}).data == {"rows": [0, 1, "...18 more items"]}


@promises("CC-7.06")
def test_nested_arrays_are_cut_too() -> None:
    assert _preview({"rows": [["Customer_ID", "Name", "City"]]}).data == {
        "rows": [["Customer_ID", "Name", "...1 more items"]]
    }


def test_small_objects_stay_whole() -> None:
    thing = {"a": 1, "b": [1, 2], "c": {"d": None, "e": True, "f": 1.5}, "g": "text", "h": [], "i": {}}
    assert _preview(thing).data == thing


@promises("CC-7.07")
def test_the_structure_describes_the_direct_children() -> None:
    structure = _preview({"rows": [{"id": 1}] * 5, "next": "abc", "total": 5, "user": {"name": 1, "age": 2}}).structure
    assert structure == {
        "rows": {"type": "array", "length": 5, "items": "object"},
        "next": {"type": "string", "length": 3},
        "total": {"type": "number"},
        "user": {"type": "object", "keys": ["name", "age"]},
    }


def test_long_texts_are_cut() -> None:
    cut = _preview({"text": "x" * 1000}).data["text"]
    assert cut == "x" * TEXT_CHARS + f"...{1000 - TEXT_CHARS} more characters"


def test_many_keys_are_cut() -> None:
    data = _preview({f"k{number}": number for number in range(KEYS + 40)}).data
    assert len(data) == KEYS + 1
    assert data["..."] == "...40 more keys"


def test_what_lies_deep_is_left_out() -> None:
    deep: Any = "bottom"
    for _ in range(50):
        deep = {"down": deep}
    assert "bottom" not in json.dumps(_preview({"a": deep}).data)


def test_a_value_past_what_is_looked_at_leaves_its_counts_open() -> None:
    data = json.dumps({"rows": [{"id": number} for number in range(100_000)]}).encode()
    preview = preview_of(data, scan_bytes=70_000)
    assert preview.data["rows"][2] == "...more items"
    assert preview.structure["rows"]["length"].startswith("over ")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=8) | st.dictionaries(st.text(), children, max_size=8),
    max_leaves=60,
)


@given(st.dictionaries(st.text(), json_values))
@settings(max_examples=40, deadline=None)
def test_any_object_has_a_bounded_preview(thing: dict[str, Any]) -> None:
    preview = _preview(thing)
    assert len(json.dumps(preview.data)) < 20 * PREVIEW_CHARS
    assert list(preview.structure) == list(thing)[:KEYS] or len(thing) > KEYS


@pytest.mark.parametrize("items", [[1] * 10_000, ["x" * 200] * 10_000, [{"a": ["y" * 200] * 50}] * 1_000])
def test_a_large_array_has_a_small_preview(items: list[Any]) -> None:
    preview = _preview({f"part{number}": items for number in range(3)})
    assert len(json.dumps(preview.data)) < 3 * PREVIEW_CHARS
