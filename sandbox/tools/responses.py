"""What tools answered, as it is shown: whole, or as a preview with the whole in a file of the sandbox."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from sandbox.errors import WorkbenchError
from sandbox.limits import MIB
from sandbox.sessions.session import Session
from sandbox.tools.exposure import switched_off
from sandbox.tools.offload import Offload, RemoteFileInfo
from sandbox.tools.preview import Preview, preview_of
from sandbox.upstreams.base import ToolAnswer

log = structlog.get_logger(__name__)

_WHOLE_MAX_BYTES: Final = 4 * MIB
"""What an answer carries whole when it could not be written to a file."""

_SMALL_BYTES: Final = 2_000
"""A response up to this size stays whole beside others that are previews."""


class ToolResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What one tool answered: whole in `data`, or as `data_preview` and `structure_info` when it is large."""

    data: msgspec.Raw | UnsetType = UNSET
    data_preview: Any | UnsetType = UNSET
    structure_info: dict[str, Any] | UnsetType = UNSET
    successful: bool
    error: str | None = None
    log_id: str | None = None


class ToolOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one tool ended. `response` is null when it did not answer; then `error` says why."""

    tool_slug: str
    index: int
    response: ToolResponse | None
    error: str | None


class RunsTools(Protocol):
    """The gateway, as this tool sees it."""

    def holding(self) -> AbstractContextManager[None]:
        """Count the answers to calls that are made within this, until its end."""

    async def run_tool(
        self, session: Session, slug: str, arguments: dict[str, Any], *, account: str | None = None
    ) -> ToolAnswer:
        """Run one tool under the session's policy. Raises `WorkbenchError`."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Outcomes as an answer has them; `file`: where they are whole, `next_steps`: what an agent should know of that."""

    outcomes: list[ToolOutcome]
    file: RemoteFileInfo | None = None
    next_steps: str | None = None


class Responses:
    """Decides what is shown whole. `offload_chars`: when a session names no threshold."""

    def __init__(self, offload: Offload, *, offload_chars: int) -> None:
        self._offload = offload
        self._offload_chars = offload_chars

    async def present(self, session: Session, outcomes: list[ToolOutcome], *, sync: bool) -> Shown:
        """Shorten what is over the session's threshold and keep the whole in a file; with `sync` keep it anyway."""
        large = _is_over(outcomes, _threshold(session, self._offload_chars))
        if not (large or sync) or not _has_sandbox(session):
            return Shown(outcomes)
        kept, words = await self._keep(session, outcomes)
        sizes = [_size(outcome) for outcome in outcomes]
        if large and (kept is not None or sum(sizes) > _WHOLE_MAX_BYTES):
            outcomes = [await _shortened(outcome, size) for outcome, size in zip(outcomes, sizes, strict=True)]
        return Shown(outcomes, kept, words)

    async def _keep(self, session: Session, outcomes: list[ToolOutcome]) -> tuple[RemoteFileInfo | None, str]:
        """Write the whole response to a file; the tools have run, so a failure is words and not an error."""
        try:
            kept = await self._offload.keep(session, _document(outcomes))
        except WorkbenchError as error:
            log.warning("a tool response could not be kept", error=str(error))
            return None, f"The whole response could not be written to a file in the sandbox: {error.message}"
        return kept, (
            f'A preview is shortened: arrays end in a text such as "...18 more items", which is no data. '
            f"The whole response is in {kept.file_path}; read it there with COMPOSIO_REMOTE_WORKBENCH."
        )


def outcome_of(tool_slug: str, index: int, answer: ToolAnswer) -> ToolOutcome:
    """Make the outcome of a tool that answered."""
    response = ToolResponse(data=answer.data, successful=answer.error is None, error=answer.error, log_id=answer.log_id)
    return ToolOutcome(tool_slug=tool_slug, index=index, response=response, error=answer.error)


def _has_sandbox(session: Session) -> bool:
    return switched_off("COMPOSIO_REMOTE_WORKBENCH", session.config) is None


def _threshold(session: Session, default: int) -> int:
    workbench = session.config.get("workbench")
    chars = workbench.get("auto_offload_threshold") if isinstance(workbench, dict) else None
    return int(chars) if isinstance(chars, int | float) and chars > 0 else default


def _raw(outcome: ToolOutcome) -> memoryview:
    data = outcome.response.data if outcome.response is not None else UNSET
    return memoryview(b"") if isinstance(data, UnsetType) else memoryview(data)


def _size(outcome: ToolOutcome) -> int:
    return len(_raw(outcome))


def _is_over(outcomes: Sequence[ToolOutcome], chars: int) -> bool:
    """Whether all responses have more characters; decoded only when their bytes leave it open."""
    total = sum(map(_size, outcomes))
    if total <= chars or total > 4 * chars:
        return total > chars
    return sum(len(str(_raw(outcome), "utf-8", "replace")) for outcome in outcomes) > chars


async def _shortened(outcome: ToolOutcome, size: int) -> ToolOutcome:
    if outcome.response is None or size <= _SMALL_BYTES:
        return outcome
    preview: Preview = await asyncio.to_thread(preview_of, _raw(outcome))
    response = msgspec.structs.replace(
        outcome.response,
        data=UNSET,
        data_preview=preview.data,
        structure_info={"data_structure": preview.structure},
    )
    return msgspec.structs.replace(outcome, response=response)


def _document(outcomes: Sequence[ToolOutcome]) -> Iterator[bytes | memoryview]:
    """Give the whole answer as a JSON document in parts, so that large data is not copied into one."""
    yield b'{"results":['
    for outcome in outcomes:
        if outcome.index:
            yield b","
        head = msgspec.json.encode({"tool_slug": outcome.tool_slug, "index": outcome.index, "error": outcome.error})
        yield head[:-1] + b',"response":'
        if outcome.response is None:
            yield b"null}"
            continue
        rest = msgspec.json.encode(msgspec.structs.replace(outcome.response, data=UNSET))
        yield rest[:-1] + b',"data":'
        yield _raw(outcome)
        yield b"}}"
    yield b"]}"
