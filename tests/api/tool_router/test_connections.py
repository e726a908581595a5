"""The toolkits of a session, and links to connect accounts."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import KEY, running_server
from tests.api.tool_router.conftest import make, path, refused
from tests.compat.requirements import promises
from tests.support import composio_backend
from tests.support.composio_backend import ComposioBackend
from tests.support.faulty_server import Reply, Seen, in_thread, json_reply


class LinkingBackend(ComposioBackend):
    """Makes links too; `asked` is what came for them."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Any]] = []

    async def answer(self, request: Seen) -> Reply:
        at = request.path.removeprefix(composio_backend.PREFIX)
        if request.headers.get("x-api-key") != self.key or not at.startswith("/tool_router/session"):
            return await super().answer(request)
        self.asked.append((at, request.json))
        if at == "/tool_router/session":
            return json_reply({"session_id": "trs_theirs", "config": {}}, 201)
        if request.json["toolkit"] == "unknown":
            return json_reply({"error": {"message": "Toolkit unknown not found", "slug": "x", "status": 400}}, 400)
        link = {"link_token": "lt_1", "redirect_url": "https://connect.example/lt_1", "connected_account_id": "ca_9"}
        return json_reply(link, 201)


@pytest.fixture(scope="module")
def backend() -> Iterator[LinkingBackend]:
    server = LinkingBackend()
    with in_thread(server):
        yield server


@pytest.fixture(scope="module")
def linked(backend: LinkingBackend) -> Iterator[httpx.Client]:
    """A client of a server with that backend."""
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(
            Path(folder), api_keys=KEY, composio_api_key=backend.key, composio_base_url=backend.url
        ) as server,
        server.client() as client,
    ):
        yield client


@promises("CC-4.16")
def test_toolkits_are_listed_with_their_connections(equipped_client: httpx.Client) -> None:
    session = make(equipped_client)
    page = equipped_client.get(path(session, "/toolkits")).json()
    assert set(page) == {"items", "next_cursor", "total_pages", "current_page", "total_items"}
    assert (page["next_cursor"], page["total_pages"], page["current_page"], page["total_items"]) == (None, 1, 1, 2)
    api, echo = page["items"]
    assert (api["slug"], api["name"], api["enabled"], api["is_no_auth"]) == ("api", "api", True, False)
    assert set(api["meta"]) == {"logo", "description"}
    assert api["connected_account"]["status"] == "ACTIVE"
    assert api["connected_account"]["user_id"] == "user_1"
    assert set(api["connected_account"]["auth_config"]) == {"id", "auth_scheme", "is_composio_managed"}
    assert echo["slug"] == "echo"


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ({"toolkits": "api"}, ["api"]),
        ({"toolkits": ["api", "echo"]}, ["api", "echo"]),
        ({"toolkits": "api,echo"}, ["api", "echo"]),
        ({"search": "ECH"}, ["echo"]),
        ({"search": "nothing like it"}, []),
        ({"toolkits": "api", "is_connected": "true"}, ["api"]),
        ({"toolkits": "api", "is_connected": "false"}, []),
        ({"limit": 1}, ["api"]),
    ],
)
def test_toolkits_are_filtered(equipped_client: httpx.Client, query: dict[str, Any], slugs: list[str]) -> None:
    page = equipped_client.get(path(make(equipped_client), "/toolkits"), params=query).json()
    assert [item["slug"] for item in page["items"]] == slugs


@promises("CC-4.16", "CC-1.51")
def test_toolkits_are_paged_and_obey_the_rules_of_the_session(equipped_client: httpx.Client) -> None:
    session = make(equipped_client)
    first = equipped_client.get(path(session, "/toolkits"), params={"limit": 1}).json()
    second = equipped_client.get(path(session, "/toolkits"), params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [item["slug"] for item in second["items"]] == ["echo"]
    assert (second["next_cursor"], second["current_page"], second["total_pages"]) == (None, 2, 2)
    only = make(equipped_client, toolkits=["echo"])
    assert [item["slug"] for item in equipped_client.get(path(only, "/toolkits")).json()["items"]] == ["echo"]


@promises("CC-4.17")
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"toolkit": "echo"}, 400, "nothing to connect"),
        ({"toolkit": "gmail"}, 404, "there is no gmail"),
        ({}, 422, '"toolkit"'),
        ({"toolkit": 3}, 422, '"toolkit"'),
        ({"toolkit": "echo", "callback_url": 3}, 422, '"callback_url"'),
    ],
)
def test_what_cannot_be_connected_says_what_to_do(
    equipped_client: httpx.Client, body: dict[str, Any], status: int, words: str
) -> None:
    error = refused(equipped_client.post(path(make(equipped_client), "/link"), json=body), status, words)
    if status == 404:
        assert "mcp_servers" in error["suggested_fix"]


def test_a_toolkit_that_the_session_forbids_is_not_linked(equipped_client: httpx.Client) -> None:
    session = make(equipped_client, toolkits=["echo"])
    refused(equipped_client.post(path(session, "/link"), json={"toolkit": "gmail"}), 403, "toolkits.enable")


@promises("CC-4.17")
def test_a_backend_makes_the_link_for_the_sessions_user(linked: httpx.Client, backend: LinkingBackend) -> None:
    body = {"toolkit": "gmail", "callback_url": "https://app.example/back", "alias": "work"}
    response = linked.post(path(make(linked, user_id="ann"), "/link"), json=body)
    assert (response.status_code, response.json()) == (
        201,
        {"link_token": "lt_1", "redirect_url": "https://connect.example/lt_1", "connected_account_id": "ca_9"},
    )
    assert backend.asked[-2:] == [
        ("/tool_router/session", {"user_id": "ann", "toolkits": {"enable": ["gmail"]}}),
        ("/tool_router/session/trs_theirs/link", body),
    ]


def test_what_the_backend_cannot_connect_is_the_callers_error(linked: httpx.Client) -> None:
    error = refused(linked.post(path(make(linked), "/link"), json={"toolkit": "unknown"}), 422, "not found")
    assert composio_backend.KEY not in str(error)


def test_the_accounts_of_a_session_are_used_for_its_tools(linked: httpx.Client, backend: LinkingBackend) -> None:
    session = make(linked, connected_accounts={"test": ["ca_1", "ca_2"]})
    assert session["warnings"] == []
    at = path(session, "/execute")
    for asked, used in ((None, "ca_1"), ("ca_2", "ca_2")):
        answer = linked.post(at, json={"tool_slug": "TEST_ECHO", "arguments": {"a": 1}, "account": asked}).json()
        assert answer == {**answer, "data": {"echo": {"a": 1}}, "error": None, "result_type": "completed"}
        assert backend.executed[-1][1]["connected_account_id"] == used
    refused(linked.post(at, json={"tool_slug": "TEST_ECHO", "account": "ca_3"}), 403, "connected_accounts.test")
