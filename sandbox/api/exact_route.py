"""Routes whose paths hold texts of clients: labels of sessions, names of files. Any text is a part of a path there.

What comes to an ASGI application as its path has every `%2F` decoded, so that a slash in a name looks like one between
two names; and `.` in a route's pattern stands for no newline.
"""

import re
from typing import Any
from urllib.parse import unquote

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope


class ExactRoute(APIRoute):
    """A route that takes an encoded slash for part of a name, and a newline for a character like any other."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # `$` is before a newline at the end too: `name` would be given for `name` with one.
        pattern = self.path_regex.pattern.removesuffix("$") + r"\Z"
        self.path_regex = re.compile(pattern, re.DOTALL)
        self._beginning = self.path.partition("{")[0]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether the request is for this route, and give its parameters."""
        # Most requests are for another route, and each is asked: this costs less than its pattern does.
        if not scope["path"].startswith(self._beginning) and not scope.get("root_path"):
            return Match.NONE, {}
        raw: bytes = scope.get("raw_path") or b""
        if b"%2F" not in raw and b"%2f" not in raw:
            return super().matches(scope)
        match, child = super().matches({**scope, "path": raw.decode("ascii", "replace")})
        if match is not Match.NONE:
            texts = child["path_params"]
            child["path_params"] = {name: unquote(text) for name, text in texts.items()}
        return match, child
