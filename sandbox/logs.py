"""Log lines on standard error, for people or as JSON. Never code, output or keys: only ids, counts and times.

Our own lines are rendered at once and not by way of the standard library's logging, which costs twice the time.
"""

import json
import logging
import sys
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import structlog

from sandbox.traces import trace_without_values

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_CHATTY: Final = ("uvicorn.error", "httpx", "httpcore", "urllib3", "docker", "aiosqlite", "asyncio", "mcp")


class _Lines:
    """Where the rendered lines of one module go. A disk that is full, or a pipe that nobody reads, stops no request."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._lost = 0

    def write(self, line: str) -> None:
        """Write one line; when it cannot be, the next one that can says so."""
        try:
            if self._lost:
                sys.stderr.write(f"{self._lost} lines of {self.name} before this one could not be written\n")
            sys.stderr.write(f"{line}\n")
        except (OSError, ValueError):
            self._lost += 1
        else:
            self._lost = 0

    debug = info = warning = error = critical = exception = msg = write


def configure_logging(level: str, form: Literal["console", "json"]) -> None:
    """Send the log lines of all modules, ours and foreign, to standard error. Called once, by the program."""
    least = logging.getLevelNamesMapping()[level.upper()]
    last: list[Processor] = [_with_trace, _renderer(form)]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _add_name,
            stamp,
            *last,
        ],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                stamp,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _without_colours, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, least))


def _renderer(form: Literal["console", "json"]) -> "Processor":
    if form == "json":
        return structlog.processors.JSONRenderer(serializer=_json)
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def _json(event: "EventDict", **_options: Any) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except UnicodeEncodeError:  # half a surrogate pair: the standard library escapes it
        return json.dumps(event, default=repr)


def _add_name(logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
    event["logger"] = logger.name
    return event


def _with_trace(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
    """Put where an exception came from in place of the exception: its words may hold what a client sent."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else sys.exc_info()[1]
    if given and error is not None:
        event["exception"] = trace_without_values(error)
    return event


def _without_colours(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
    """Drop uvicorn's second copy of its messages, which is for terminals."""
    event.pop("color_message", None)
    return event
