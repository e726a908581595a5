"""What of the setting of an MCP server may be a credential: beside variables and headers also parts of its URL and
of its command, where those who give out such servers put keys. Pure.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from sandbox.config_upstreams import McpServer

_CREDENTIAL: Final = re.compile(r"key|token|secret|passw|pwd|auth(?!or(?!iz))|credential|cookie|dsn", re.IGNORECASE)
_NAMED: Final = re.compile(r"-*([A-Za-z0-9_.-]+)(?:=|:\s*)(?!//)(.+)", re.DOTALL)
"""`--api-key=...`, `KEY=...` and `Authorization: ...`; of a URL the scheme is no name."""

_TOKEN: Final = re.compile(r"(?=[^/]*\d)(?=[^/]*[A-Za-z])[\w.~-]{20,}", re.ASCII)
"""A part of a path that is no word."""


class Given(NamedTuple):
    """A value of a server's setting. `sure`: its name says that it is a credential."""

    value: SecretStr
    sure: bool


def given_in(server: McpServer) -> Iterator[Given]:
    """Give all values that may be a credential."""
    for name, value in {**server.env, **server.headers}.items():
        yield Given(value, _is_credential(name))
    if server.url is not None:
        parts = urlsplit(server.url)
        for name, text in parse_qsl(parts.query):
            yield Given(SecretStr(text), _is_credential(name))
        for text in parts.path.split("/"):
            if _TOKEN.fullmatch(text):
                yield Given(SecretStr(text), sure=True)
    for before, argument in pairwise(("", *server.command)):
        named = _NAMED.fullmatch(argument)
        name, text = named.groups() if named is not None else (before, argument)
        if _is_credential(name) and (named is not None or before.startswith("-")):
            yield Given(SecretStr(text), sure=True)


def _is_credential(name: str) -> bool:
    return _CREDENTIAL.search(name) is not None
