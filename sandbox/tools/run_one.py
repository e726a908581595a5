"""One tool of a toolkit or backend, run for a session: its answer whole, or as a preview when that is asked for."""

import secrets
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from sandbox.sessions.session import Session
from sandbox.tools.offload import RemoteFileInfo
from sandbox.tools.responses import Responses, RunsTools, outcome_of


class PreviewData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of an answer that is over the threshold: a picture of it, and where the whole is."""

    data_preview: Any
    structure_info: dict[str, Any]
    remote_file_info: RemoteFileInfo | None
    next_steps: str | None


class OneResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the tool answered; `error` is its own, None when all is well."""

    data: msgspec.Raw | PreviewData
    error: str | None
    log_id: str


class OneTool:
    """Runs tools one by one."""

    def __init__(self, gateway: RunsTools, responses: Responses) -> None:
        self._gateway = gateway
        self._responses = responses

    async def run(
        self,
        session: Session,
        slug: str,
        arguments: dict[str, Any],
        *,
        account: str | None = None,
        offload: bool = False,
    ) -> OneResult:
        """Run a tool. `offload`: an answer over the session's threshold goes to a file in its sandbox.

        Raises:
            WorkbenchError: as `RunsTools.run_tool`.
        """
        with self._gateway.holding():
            return await self._run(session, slug.strip().upper(), arguments, account=account, offload=offload)

    async def _run(
        self, session: Session, slug: str, arguments: dict[str, Any], *, account: str | None, offload: bool
    ) -> OneResult:
        answer = await self._gateway.run_tool(session, slug, arguments, account=account)
        log_id = answer.log_id or f"log_{secrets.token_hex(8)}"
        if not offload:
            return OneResult(data=answer.data, error=answer.error, log_id=log_id)
        shown = await self._responses.present(session, [outcome_of(slug, 0, answer)], sync=False)
        response = shown.outcomes[0].response
        if response is None or isinstance(response.structure_info, UnsetType):
            return OneResult(data=answer.data, error=answer.error, log_id=log_id)
        preview = PreviewData(
            data_preview=None if response.data_preview is UNSET else response.data_preview,
            structure_info=response.structure_info,
            remote_file_info=shown.file,
            next_steps=shown.next_steps,
        )
        return OneResult(data=preview, error=answer.error, log_id=log_id)
