"""Answers of tools that run nothing in the sandbox, and what those tools need from the gateway."""

import secrets
from typing import Any, Protocol

import msgspec

from sandbox.errors import WorkbenchError
from sandbox.sessions.session import Session
from sandbox.tools.base import SessionNote, ToolResult, how_to_go_on
from sandbox.upstreams.base import ToolAnswer


class AsksOutside(Protocol):
    """The gateway, as these tools see it. Both raise `WorkbenchError`."""

    async def forward(
        self, session: Session, slug: str, arguments: dict[str, Any], *, timeout_s: float | None = None
    ) -> ToolAnswer:
        """Let the backend answer a meta tool. Raises `NotFound` when it has no such tool."""

    async def ask_model(self, session: Session, query: str, *, helper: str) -> str:
        """Ask the model, on the session's budget."""


def answered(data: msgspec.Struct, error: str | None = None) -> ToolResult:
    """Make a result; it is successful without an error."""
    return ToolResult(data=data, error=error, successful=error is None, log_id=f"log_{secrets.token_hex(8)}")


def note_of(session: Session) -> SessionNote:
    """Say how the next call reaches this session."""
    return SessionNote(id=session.id, instructions=how_to_go_on(session.id))


def words_of(error: WorkbenchError) -> str:
    """Write an error as one text: what is wrong, and what to do."""
    return f"{error.message}. {error.suggested_fix}" if error.suggested_fix else error.message
