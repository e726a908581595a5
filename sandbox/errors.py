"""Everything that can go wrong, as one tree. No HTTP and no Docker in here.

    WorkbenchError
    ├── RequestError               the caller can mend it
    │   ├── InvalidRequest         400  malformed body or path
    │   ├── Unauthorized           401  no key, or an unknown one
    │   ├── Forbidden              403  the key may not do this
    │   ├── NotFound               404  no such thing for this key
    │   ├── MethodNotAllowed       405
    │   ├── Conflict               409
    │   ├── RequestTooSlow         408  the body did not come in time
    │   ├── PayloadTooLarge        413
    │   ├── RangeNotSatisfiable    416  the bytes asked for are not in it
    │   └── InvalidArguments       422  `errors` lists every bad field
    ├── Overloaded                 503  come back after `retry_after_s`
    ├── ExecutionGoesOn            503  the controller stops, the execution does not; the next one has its result
    ├── RuntimeFault               503  the place where code runs
    │   ├── EngineUnavailable           the engine does not answer
    │   ├── ImageMissing                the sandbox image is not there
    │   ├── SandboxStartFailed          no hello before the deadline; carries the agent's last words
    │   ├── SandboxGone                 a live sandbox disappeared
    │   ├── KernelStartFailed           user code broke what a kernel needs; carries the kernel's last words
    │   └── ImageBuildFailed            a step of the image build failed; carries the build's last lines
    ├── StoreUnavailable           503  the database is locked or gone
    ├── PipeError                  503  the byte stream to the agent
    │   ├── PipeClosed                  the stream ended
    │   ├── PipeTimeout                 the agent was silent past the controller's own deadline
    │   ├── PipeViolation               the other side broke the protocol
    │   └── PipeVersionMismatch         the two sides speak different versions
    ├── UpstreamError              502  something outside did not do what it was asked
    │   ├── UpstreamNotConfigured  501  a setting is missing; the message names it
    │   ├── UpstreamUnavailable    503  it could not be reached, or not in time
    │   ├── UpstreamRateLimited    429  it wants to be asked later
    │   ├── UpstreamRefused        502  it answered with an error
    │   └── UpstreamInvalid        502  its answer cannot be understood
    ├── HelperRefused              403  a session's policy or budget does not allow the call
    ├── CallFault                  500  the other side ended the call with an error (slug says which)
    ├── ConfigurationError         500  a setting is missing or contradicts another
    └── InternalError              500  a defect of ours

`slug` is the machine-read name, `code` a stable number, `status` the HTTP status the API gives it.
"""

from dataclasses import dataclass
from typing import ClassVar


class WorkbenchError(Exception):
    """Base of the tree. `message` names the value that was wrong; `suggested_fix` says what to do.

    `inside`: what only those who run the server are told (an address, a path, another program's own words). It is part
    of `str(error)`, which is for the log and the command line, and not of `message`, which is for answers.
    """

    slug: ClassVar[str] = "Workbench_Error"
    code: ClassVar[int] = 1000
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, suggested_fix: str | None = None, inside: str | None = None) -> None:
        super().__init__(f"{message} {inside}" if inside else message)
        self.message = message
        self.suggested_fix = suggested_fix

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"


class RequestError(WorkbenchError):
    """The caller can mend it."""

    slug, code, status = "Request_Invalid", 1100, 400


class InvalidRequest(RequestError):
    """The body or the path is malformed."""

    slug, code, status = "Request_Malformed", 1101, 400


class Unauthorized(RequestError):
    """No API key, or one that is not known."""

    slug, code, status = "APIKey_Invalid", 1102, 401


class Forbidden(RequestError):
    """The key is known but may not do this."""

    slug, code, status = "APIKey_Forbidden", 1103, 403


class NotFound(RequestError):
    """No such thing, or none that belongs to this key."""

    slug, code, status = "Resource_NotFound", 1104, 404


class MethodNotAllowed(RequestError):
    """The path exists, the method does not."""

    slug, code, status = "Method_NotAllowed", 1105, 405


class Conflict(RequestError):
    """The state of the thing does not allow it now."""

    slug, code, status = "Resource_Conflict", 1106, 409


class PayloadTooLarge(RequestError):
    """The body is over the configured size."""

    slug, code, status = "Request_TooLarge", 1107, 413


class RangeNotSatisfiable(RequestError):
    """The bytes that were asked for are not in the file."""

    slug, code, status = "Request_RangeNotSatisfiable", 1112, 416


class RequestTooSlow(RequestError):
    """The body did not come in time."""

    slug, code, status = "Request_TooSlow", 1110, 408


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field: `path` as in `arguments.timeout`, `reason` in words."""

    path: str
    reason: str


class InvalidArguments(RequestError):
    """One or more fields are missing or wrong; `errors` lists all of them."""

    slug, code, status = "Request_ValidationError", 1108, 422

    def __init__(self, message: str, *, errors: tuple[FieldError, ...] = (), suggested_fix: str | None = None) -> None:
        super().__init__(message, suggested_fix=suggested_fix)
        self.errors = errors


class Overloaded(WorkbenchError):
    """No room now. `retry_after_s` says when to come back."""

    slug, code, status = "Service_Overloaded", 1200, 503

    def __init__(self, message: str, *, retry_after_s: int = 5, suggested_fix: str | None = None) -> None:
        super().__init__(message, suggested_fix=suggested_fix)
        self.retry_after_s = retry_after_s


class ExecutionGoesOn(WorkbenchError):
    """The controller stops and leaves an execution running in its sandbox; the next controller has its result."""

    slug, code, status = "Execution_GoesOn", 1201, 503


class RuntimeFault(WorkbenchError):
    """The place where code runs has a problem."""

    slug, code, status = "Runtime_Fault", 1300, 503


class EngineUnavailable(RuntimeFault):
    """The engine does not answer."""

    slug, code = "Runtime_EngineUnavailable", 1301


class ImageMissing(RuntimeFault):
    """The sandbox image is not on the engine."""

    slug, code = "Runtime_ImageMissing", 1302


class SandboxStartFailed(RuntimeFault):
    """The agent did not say hello in time, or ended before it did."""

    slug, code = "Sandbox_StartFailed", 1303


class SandboxGone(RuntimeFault):
    """A live sandbox disappeared; its variables and files are lost."""

    slug, code = "Sandbox_Gone", 1304


class KernelStartFailed(RuntimeFault):
    """A sandbox cannot start a kernel: user code broke its environment, or it took too long."""

    slug, code = "Sandbox_KernelStartFailed", 1306


class ImageBuildFailed(RuntimeFault):
    """The sandbox image could not be built; the message has the last lines of the build."""

    slug, code = "Image_BuildFailed", 1305


class StoreUnavailable(WorkbenchError):
    """The database is locked or gone."""

    slug, code, status = "Store_Unavailable", 1400, 503


class PipeError(WorkbenchError):
    """The byte stream between controller and agent failed."""

    slug, code, status = "Pipe_Error", 1500, 503


class PipeClosed(PipeError):
    """The stream ended while something was under way."""

    slug, code = "Pipe_Closed", 1501


class PipeTimeout(PipeError):
    """The other side was silent past our own deadline."""

    slug, code = "Pipe_Timeout", 1502


class PipeViolation(PipeError):
    """The other side broke the protocol: a line too long, a chunk beyond the window."""

    slug, code = "Pipe_Violation", 1503


class PipeVersionMismatch(PipeError):
    """Controller and agent speak different versions of the pipe."""

    slug, code = "Pipe_VersionMismatch", 1504


class UpstreamError(WorkbenchError):
    """Something outside did not do what it was asked.

    `retry`: whether the same call may be sent again without the risk that it is done twice; `retry_after_s`: how long
    the upstream wants to be left alone first, None when it does not say.
    """

    slug, code, status = "Upstream_Error", 1650, 502

    def __init__(
        self,
        message: str,
        *,
        retry: bool = False,
        retry_after_s: float | None = None,
        suggested_fix: str | None = None,
    ) -> None:
        super().__init__(message, suggested_fix=suggested_fix)
        self.retry = retry
        self.retry_after_s = retry_after_s


class UpstreamNotConfigured(UpstreamError):
    """A setting is missing; the message names it."""

    slug, code, status = "Upstream_NotConfigured", 1651, 501


class UpstreamUnavailable(UpstreamError):
    """It could not be reached, its connection broke, or it did not answer in time."""

    slug, code, status = "Upstream_Unavailable", 1652, 503


class UpstreamRateLimited(UpstreamError):
    """It wants to be asked later; the call was not done."""

    slug, code, status = "Upstream_RateLimited", 1653, 429


class UpstreamRefused(UpstreamError):
    """It answered with an error; the message has its words."""

    slug, code = "Upstream_Refused", 1654


class UpstreamInvalid(UpstreamError):
    """Its answer cannot be understood, or is over its bound."""

    slug, code = "Upstream_AnswerInvalid", 1655


class HelperRefused(WorkbenchError):
    """A session's policy or budget does not allow the call; the message says which and how to change it."""

    slug, code, status = "Helper_Refused", 1660, 403


class CallFault(WorkbenchError):
    """The other side ended a call with an error. `fault` is its short name, such as `not_found`."""

    slug, code = "Sandbox_CallFault", 1600

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class ConfigurationError(WorkbenchError):
    """A setting is missing, malformed or contradicts another."""

    slug, code = "Configuration_Invalid", 1700


class InternalError(WorkbenchError):
    """A defect of ours; the log has the trace under the request's id."""

    slug, code = "Internal_Error", 1900
