"""Credentials are taken out, however they are written."""

from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from pydantic import SecretStr

from sandbox.config_upstreams import UpstreamSettings
from sandbox.upstreams.credentials import MARK, SHORTEST_IN_WORDS, Scrubber, secrets_in

SECRET = 'sk-"a/b+c'
LONG = "ghp_16C7e/42F292+6912E7710c?>"


def scrubber(*secrets: str, shortest: int = SHORTEST_IN_WORDS) -> Scrubber:
    return Scrubber(map(SecretStr, secrets), shortest=shortest)


@pytest.mark.parametrize(
    "text",
    [
        f"no: {SECRET}",
        f"Authorization: Bearer {SECRET}!",
        f"GET /?key={quote(SECRET, safe='')}",
        msgspec.json.encode({"key": SECRET}).decode(),
        SECRET,
    ],
)
@pytest.mark.parametrize("configured", [SECRET, f"Bearer {SECRET}", f"Bearer {SECRET}\n"])
def test_a_credential_is_taken_out_of_a_text(text: str, configured: str) -> None:
    said = scrubber("another-one", configured).text(text)
    assert MARK in said
    for form in (SECRET, quote(SECRET, safe=""), msgspec.json.encode(SECRET).decode()[1:-1]):
        assert form not in said


@pytest.mark.parametrize(
    "written", ["a/b+c==&'d\"", "a\\/b+c==&'d\\\"", "a/b\\u002Bc==\\u0026\\u0027d\\u0022", "a%2Fb%2Bc%3D%3d%26%27d%22"]
)
def test_a_credential_is_known_however_its_signs_are_written(written: str) -> None:
    known = scrubber("Bearer a/b+c==&'d\"", shortest=8)
    assert known.text(f"you sent Bearer {written}!") == "you sent [credential]!"
    assert known.data(bytearray(f"x{written}y".encode())) == b"x[credential]y"
    assert known.text("a/b c==") == "a/b c=="


@pytest.mark.parametrize("written", ["gänse\N{PILE OF POO}", "g%c3%A4nse%F0%9F%92%A9", "g\\u00e4nse\\ud83D\\udca9"])
def test_a_credential_with_other_letters_is_known_however_they_are_written(written: str) -> None:
    assert scrubber("gänse\N{PILE OF POO}").text(f"({written})") == "([credential])"


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "a", "ab", "Authorization: Bearer "])
def test_a_credential_in_base64_is_taken_out_wherever_it_begins(encode: Any, before: str) -> None:
    said = scrubber(f"Bearer {LONG}").text(f"seen: {encode(f'{before}{LONG} and more'.encode()).decode()}")
    assert said.count(MARK) == 1
    assert len(said) < len("seen: ") + len(MARK) + len(encode(f"{before} and more".encode())) + 8


def test_the_password_of_basic_is_taken_out_also_when_it_is_said_as_it_is() -> None:
    basic = b64encode(b"ann:the-password").decode()
    said = scrubber(f"Basic {basic}").text(f"{basic}; ann:the-password; wrong password the-password of ann")
    assert said == f"{MARK}; {MARK}; wrong password {MARK} of ann"


def test_the_rest_of_a_text_stays() -> None:
    assert scrubber("abcd", "abcdefgh", "").text("x abcdefgh y abcd z") == f"x {MARK} y {MARK} z"
    assert scrubber().text("text") == "text"


def test_data_without_a_credential_is_not_copied() -> None:
    body = bytearray(b"a" * 1000)
    assert scrubber("Bearer a-long-secret").data(body) is body


def test_every_secret_of_the_settings_is_known() -> None:
    settings: dict[str, Any] = {
        "composio_api_key": "secret-1",
        "model_api_key": "secret-2",
        "exa_api_key": "secret-3",
        "s3_access_key_id": "secret-4",
        "s3_secret_access_key": "secret-5",
        "mcp_servers": {
            "a": {"command": ["x"], "env": {"KEY": "secret-6"}},
            "b": {"url": "http://b", "headers": {"authorization": "secret-7"}},
        },
        "proxy_hosts": {"c": {"base_url": "http://c", "credential": "secret-8"}},
    }
    known = {secret.get_secret_value() for secret in secrets_in(UpstreamSettings(**settings))}
    assert known == {f"secret-{n}" for n in range(1, 9)}
