"""No text that goes to a sandbox holds a credential, however it is written."""

from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from sandbox.config_upstreams import UpstreamSettings
from sandbox.errors import UpstreamUnavailable
from sandbox.gateway.redaction import MARK, Redactor, secrets_in
from sandbox.upstreams.base import ToolAnswer, ToolCall
from tests.gateway.conftest import MakeCalls, ToolSource, a_session, raw

SECRET = 'sk-"a/b+c'


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
@pytest.mark.parametrize("configured", [SECRET, f"Bearer {SECRET}"])
def test_a_credential_is_taken_out_of_a_text(text: str, configured: str) -> None:
    said = Redactor(["another-one", configured])(text)
    assert MARK in said
    for form in (SECRET, quote(SECRET, safe=""), msgspec.json.encode(SECRET).decode()[1:-1]):
        assert form not in said


def test_the_rest_of_a_text_stays() -> None:
    assert Redactor(["abcd", "abcdefgh", ""])("x abcdefgh y abcd z") == f"x {MARK} y {MARK} z"
    assert Redactor([])("text") == "text"


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
    assert secrets_in(UpstreamSettings(**settings)) == {f"secret-{n}" for n in range(1, 9)}


@pytest.mark.anyio
async def test_an_upstream_that_repeats_a_credential_does_not_get_it_into_a_sandbox(make_calls: MakeCalls) -> None:
    secret = "sk-nobody-may-see/this+one"

    async def blabber(call: ToolCall) -> ToolAnswer:
        if call.slug == "TEST_RAISE":
            raise UpstreamUnavailable(f"no: Authorization: Bearer {secret}")
        return ToolAnswer(raw({}), error=f"you sent {secret}")

    calls = make_calls(
        ToolSource(blabber), proxy_hosts={"a": {"base_url": "http://a", "credential": f"Bearer {secret}"}}
    )
    for slug in ("TEST_RAISE", "TEST_SAY"):
        answer = await calls.ask("run_composio_tool", {"tool_slug": slug})
        assert answer.error
        assert secret not in answer.error + b"".join(answer.pieces).decode()
    assert secret not in str((await calls.gateway.run_tool(a_session(), "TEST_SAY", {})).error)
    with pytest.raises(UpstreamUnavailable) as raised:
        await calls.gateway.run_tool(a_session(), "TEST_RAISE", {})
    assert secret not in raised.value.message + str(raised.value) + repr(raised.value)
