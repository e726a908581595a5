"""No text that goes to a sandbox holds a credential."""

import pytest

from sandbox.errors import UpstreamUnavailable
from sandbox.upstreams.base import ToolAnswer, ToolCall
from tests.gateway.conftest import MakeCalls, ToolSource, a_session, raw


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
