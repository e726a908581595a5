"""Errors made of answers."""

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from sandbox.upstreams.credentials import Scrubber
from sandbox.upstreams.http_refusals import WORDS_CHARS, Refusals, retry_after_s

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REFUSALS = Refusals(
    "The service", Scrubber([SecretStr("Bearer a-long-secret"), SecretStr("short")]), {401: "Check it."}
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 1.5 ", 1.5),
        ("Thu, 01 Jan 2026 00:00:09 GMT", 9),
        ("Thu, 01 Jan 2026 00:00:09 -0000", 9),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("inf", None),
        ("\N{ARABIC-INDIC DIGIT THREE}", None),
        ("9" * 400, None),
        ("Thu, 99 Jan 2026 00:00:09 GMT", None),
        ("Thu, 01 Jan 99999999999 00:00:09 GMT", None),
        ("Thu, 01 Jan 2026 00:00:09 +99999999999999", None),
    ],
)
def test_both_forms_of_retry_after_are_read(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value}, NOW) == seconds


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no  \\n way"}}', "no way"),
        (b'{"error": "no way"}', "no way"),
        (b'{"message": "no way"}', "no way"),
        (b'{"detail": [{"loc": [], "msg": "no way"}]}', "no way"),
        (b'{"errors": [{"message": "no way"}]}', "no way"),
        (b'"no way"', "no way"),
        (b"<html><head><style>p {}</style></head><body><p>no way", "no way"),
        (b"<p>no way<script>if (a) {", "no way"),
        (b"no \xff way", "no \ufffd way"),
        (b'{"other": 1}', '{"other": 1}'),
        (b'{"error": {"message": "key a-long-secret is short"}}', "key [credential] is short"),
    ],
)
def test_the_words_of_common_forms_are_found(body: bytes, words: str) -> None:
    assert REFUSALS.quote(body) == words


def test_words_are_bounded() -> None:
    assert REFUSALS.quote(b"x" * 100_000) == f"{'x' * WORDS_CHARS}…"
    cut = REFUSALS.quote(b"y" * (WORDS_CHARS - 4) + b"a-long-secret")
    assert "a-long" not in cut


@pytest.mark.timeout(60)
@pytest.mark.parametrize("part", [b"<script", b"<style>x</", b"<", b"<script></script "])
def test_words_are_found_at_once_whatever_a_page_has(part: bytes) -> None:
    for _ in range(200):
        assert len(REFUSALS.quote(part * 8000)) <= WORDS_CHARS + 1


def test_what_to_look_at_follows_the_words() -> None:
    error = REFUSALS.of(401, {}, b"who are you", repeatable=True)
    assert error.message == "The service answered 401: who are you (Check it.)"
    assert REFUSALS.of(418, {}, b"", repeatable=True).message == "The service answered 418"
