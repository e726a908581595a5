"""An ended execution as the store keeps it: its result, never what it ran."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from sandbox.errors import InternalError, WorkbenchError
from sandbox.pipe.messages import BashResult, CodeResult, LiveCut
from sandbox.sessions.execution import Execution, Kind
from sandbox.sessions.live import ExecutionResult


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """One row. `result`: JSON of a `CodeResult`, a `BashResult` or a `Failure`; the rest is as in `Execution`."""

    id: str
    session_id: str
    owner: str
    kind: Kind
    timeout_s: float
    created_at: datetime
    ended_at: datetime
    sandbox_suffix: str
    recreated: str | None
    last_event: int
    result: bytes


class Failure(msgspec.Struct, frozen=True, tag_field="t", tag="failure", omit_defaults=True):
    """Why an execution could not run at all: the error's own words, as the wire has them."""

    slug: str
    code: int
    status: int
    message: str
    suggested_fix: str | None = None


_Outcome: TypeAlias = CodeResult | BashResult | Failure
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Outcome)


def record_of(execution: Execution, ended_at: datetime) -> ExecutionRecord:
    """Make the record of an execution that has ended.

    Raises:
        UnicodeEncodeError: a text in it is none.
    """
    return ExecutionRecord(
        execution.id,
        execution.session_id,
        execution.owner,
        execution.kind,
        execution.timeout_s,
        execution.created_at,
        ended_at,
        execution.sandbox_suffix,
        _storable(execution.recreated) if execution.recreated else None,
        execution.last_event,
        _encoder.encode(_outcome(execution)),
    )


def restored(record: ExecutionRecord) -> Execution:
    """Make the execution again, ended. Of its events the last one is there; a cut stands for those before it.

    Raises:
        InternalError: the record cannot be read.
    """
    execution = Execution(
        record.id,
        session_id=record.session_id,
        owner=record.owner,
        kind=record.kind,
        created_at=record.created_at,
        timeout_s=record.timeout_s,
        live_chars=0,
    )
    execution.sandbox_suffix = record.sandbox_suffix
    execution.recreated = record.recreated
    try:
        outcome = _decoder.decode(record.result)
    except msgspec.DecodeError as error:
        raise InternalError(f"the stored result of {record.id} cannot be read: {error}") from error
    if isinstance(outcome, Failure):
        if record.last_event:
            execution.progress(LiveCut(), record.last_event)
        execution.end(_error(outcome))
    else:
        execution.end(outcome, record.last_event)
    return execution


def _storable(words: str) -> str:
    """Give words without what a database refuses: they may quote what somebody else said."""
    return words.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _outcome(execution: Execution) -> ExecutionResult | Failure:
    if execution.result is not None:
        return execution.result
    error = execution.error or InternalError(f"{execution.id} ended without a result")
    return Failure(error.slug, error.code, error.status, error.message, error.suggested_fix)


def _error(failure: Failure) -> WorkbenchError:
    # Of a class of its own: the class that it had may take other arguments, or be gone in a newer version.
    names = {"slug": failure.slug, "code": failure.code, "status": failure.status}
    error: WorkbenchError = type("StoredError", (WorkbenchError,), names)(
        failure.message, suggested_fix=failure.suggested_fix
    )
    return error
