"""How many values a JSON text has."""

import pytest

from sandbox.upstreams.json_values import has_too_many


@pytest.mark.parametrize(
    ("text", "too_many"),
    [
        (b"[" + b"[]," * 2000 + b"1]", True),
        (b"[" + b"{}," * 2000 + b"1]", True),
        (b'{"a":[' + b'"b",' * 2000 + b"1]}", True),
        (b'{"rows":[{"text":"' + b"a,b\\n" * 5000 + b'"}]}', False),
        (b'{"text":"' + b'\\",' * 5000 + b'","more":[1,2]}', False),
        (b'["' + b"\\\\" * 5 + b'",' + b"1," * 2000 + b"2]", True),
        (b'["' + b"\\" * 9001 + b'",' + b"1," * 900 + b"2]", False),
        (b'["a' + b"," * 5000, True),
        (b"[" + b"1," * 900 + b"2]", False),
    ],
    ids=["lists", "objects", "strings", "text", "quotes", "backslashes", "many backslashes", "no end", "few"],
)
def test_values_are_counted_and_what_is_in_texts_is_not(text: bytes, too_many: bool) -> None:
    assert has_too_many(text, 1000) is too_many
