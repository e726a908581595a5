"""Links by which a person connects an account at a Composio-compatible backend (Composio contract, section 4.2)."""

from typing import Any, Final

import msgspec
from pydantic import SecretStr
from yarl import URL

from sandbox.errors import InvalidArguments
from sandbox.limits import MIB
from sandbox.upstreams.base import ConnectLink, Principal
from sandbox.upstreams.composio import HINTS, backend_headers, user_of
from sandbox.upstreams.http import OK, HttpRequest, HttpUpstream

_ANSWER_BYTES: Final = 1 * MIB
_MENDABLE: Final = frozenset({400, 404, 422})
"""What the backend says of a toolkit that it cannot connect: the caller's to mend."""


class _Session(msgspec.Struct):
    session_id: str


class _Link(msgspec.Struct):
    link_token: str
    redirect_url: str
    connected_account_id: str = ""


class ComposioConnect:
    """Makes links at a backend. A session of ours is none of theirs: one of theirs is made for each link."""

    name = "connections (composio)"

    def __init__(self, base_url: str, key: SecretStr, *, timeout_s: float) -> None:
        self._base = f"{base_url}/api/v3.1/tool_router/session"
        self._headers = backend_headers(key)
        self._timeout_s = timeout_s
        self._http = HttpUpstream("The tool backend", secrets=[key], hints=HINTS)

    async def link(
        self, principal: Principal, toolkit: str, *, callback_url: str | None = None, alias: str | None = None
    ) -> ConnectLink:
        """Make a link for the principal's user. See `Connect.link`."""
        session = await self._post("", {"user_id": user_of(principal), "toolkits": {"enable": [toolkit]}}, _Session)
        body = {"toolkit": toolkit, "callback_url": callback_url, "alias": alias}
        wanted = {name: value for name, value in body.items() if value is not None}
        made = await self._post(f"/{session.session_id}/link", wanted, _Link)
        return ConnectLink(made.link_token, made.redirect_url, made.connected_account_id)

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def check(self) -> str:
        """Say that nothing is asked: a link is made only when somebody wants one."""
        return "makes links when they are asked for"

    async def _post(self, path: str, body: dict[str, Any], wanted: type[msgspec.Struct]) -> Any:
        url = URL(f"{self._base}{path}", encoded=True)
        accepted = frozenset({*OK, *_MENDABLE})
        answer = await self._http.send(
            HttpRequest(
                "POST",
                url,
                self._timeout_s,
                self._headers,
                msgspec.json.encode(body),
                _ANSWER_BYTES,
                accepted=accepted,
            )
        )
        if answer.status in _MENDABLE:
            raise InvalidArguments(self._http.refusal(answer, repeatable=False).message)
        try:
            return msgspec.json.decode(answer.body, type=wanted)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            failure = self._http.invalid("made no link that can be understood", answer.body)
        raise failure
