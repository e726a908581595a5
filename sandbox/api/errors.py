"""One builder for every error body, and what maps each kind of error to it."""

from typing import Final

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from sandbox.api.connected import ClientLeft
from sandbox.api.wire import JSON, encode
from sandbox.errors import (
    FieldError,
    InternalError,
    InvalidArguments,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    WorkbenchError,
)

log = structlog.get_logger(__name__)

RETRY_HEADER: Final = "x-should-retry"
CLIENT_LEFT_STATUS: Final = 499


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The inside of the envelope. `code` is stable for each `slug`; `fields` lists bad fields, `errors` as texts.

    The SDKs read no detail of an error whose `errors` are anything but texts.
    """

    message: str
    code: int
    slug: str
    status: int
    request_id: str
    suggested_fix: str | None = None
    errors: tuple[str, ...] = ()
    fields: tuple[FieldError, ...] = ()


class Envelope(msgspec.Struct, frozen=True):
    """The body of every answer with a status of 400 or more."""

    error: ErrorBody


def error_body(error: WorkbenchError, request_id: str) -> ErrorBody:
    """Say what went wrong as the wire has it."""
    fields = error.errors if isinstance(error, InvalidArguments) else ()
    return ErrorBody(
        message=error.message,
        code=error.code,
        slug=error.slug,
        status=error.status,
        request_id=request_id,
        suggested_fix=error.suggested_fix,
        errors=tuple(f"{field.path}: {field.reason}" for field in fields),
        fields=fields,
    )


def error_response(error: WorkbenchError, request_id: str, path: str) -> Response:
    """Build the one answer there is for `error`. `path` decides whether clients are told not to repeat."""
    headers = {}
    if runs_code(path):
        # Some SDK generations repeat 409, 429 and 5xx by themselves: the user's code would run again.
        headers[RETRY_HEADER] = "false"
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(error.retry_after_s)
    body = encode(Envelope(error_body(error, request_id)))
    return Response(body, status_code=error.status, headers=headers, media_type=JSON)


def runs_code(path: str) -> bool:
    """Whether a POST to `path` executes something, so that repeating it is not harmless."""
    return "/execute" in path or path.endswith(("/executions", "/proxy_execute"))


def add_error_handlers(app: FastAPI) -> None:
    """Give every foreign error of the framework our envelope."""
    app.add_exception_handler(WorkbenchError, _on_workbench_error)
    app.add_exception_handler(ClientLeft, _on_client_left)
    app.add_exception_handler(ClientDisconnect, _on_client_left)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_parameters)


def request_id_of(request: Request) -> str:
    """The id that the outermost middleware gave to this request."""
    return str(request.scope["state"]["request_id"])


def _respond(request: Request, error: WorkbenchError) -> Response:
    request.scope["state"]["slug"] = error.slug  # for log and metrics, which the outermost layer writes
    return error_response(error, request_id_of(request), request.url.path)


async def _on_workbench_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, WorkbenchError):
        raise error
    if error.status >= 500:
        log.warning("request failed", slug=error.slug, words=str(error))
    return _respond(request, error)


async def _on_client_left(_request: Request, _error: Exception) -> Response:
    """Nobody reads this; the status is for the log and the metrics."""
    return Response(status_code=CLIENT_LEFT_STATUS)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    method, path = request.method, request.url.path
    if error.status_code == 404:
        return _respond(request, NotFound(f"There is nothing at {path}", suggested_fix="See /docs for all paths."))
    if error.status_code == 405:
        response = _respond(request, MethodNotAllowed(f"{method} is not possible at {path}"))
        response.headers.update(error.headers or {})
        return response
    return _respond(request, InvalidRequest(str(error.detail)))


async def _on_invalid_parameters(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = tuple(
        FieldError(".".join(str(part) for part in problem["loc"]), problem["msg"]) for problem in error.errors()
    )
    message = f'Validation error: {errors[0].reason} at "{errors[0].path}"'
    return _respond(request, InvalidArguments(message, errors=errors))


def internal_error() -> InternalError:
    """What the caller learns of a defect: nothing but where to look."""
    return InternalError(
        "Something failed inside the server", suggested_fix="Look for the request_id in the server's log."
    )
