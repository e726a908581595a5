"""What the bench and the child of a peer say to each other: one JSON object a line. Standard library only; no I/O.

The child speaks first, a `Ready`. Then each `Request` gets one `Answer`, in order. End of input means: end.
"""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self


class Probe(StrEnum):
    """What is asked of every peer."""

    FIRST = "first"
    POOLED = "pooled"
    PRINT = "print"
    BASH = "bash"
    AT_ONCE = "at_once"
    FLOOD = "flood"
    MEMORY = "memory"
    VARIABLE = "variable"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"


class NotOfTheProtocol(ValueError):
    """A line that is no message of the expected kind; has its beginning."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The child's first line. `versions` by package; `installations`: ours that are to be removed if it dies."""

    versions: dict[str, str]
    installations: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Request:
    """Take up to `times` samples of `probe`; begin no further one after `budget_s` seconds."""

    probe: Probe
    times: int = 1
    budget_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`seconds` of each sample, `megabytes` for memory, a finding in words (`said`); or why there is none.

    `cannot`: the peer has no such thing. `error`: it has, and it failed.
    """

    probe: Probe
    seconds: list[float] = field(default_factory=list)
    megabytes: float | None = None
    said: str = ""
    cannot: str = ""
    error: str = ""


def encode(message: Ready | Request | Answer) -> bytes:
    """Give the line of a message, with its newline."""
    return json.dumps(asdict(message)).encode() + b"\n"


def decode_ready(line: bytes) -> Ready:
    """Read the first line.

    Raises:
        NotOfTheProtocol: it is something else.
    """
    fields = _fields(line, {"versions": dict, "installations": list})
    return Ready(**fields)


def decode_request(line: bytes) -> Request:
    """Read what is asked.

    Raises:
        NotOfTheProtocol: it is something else.
    """
    fields = _fields(line, {"probe": str, "times": int, "budget_s": (int, float)})
    return Request(**{**fields, "probe": _probe(line, fields["probe"])})


def decode_answer(line: bytes, expected: Probe) -> Answer:
    """Read the answer to a request for `expected`.

    Raises:
        NotOfTheProtocol: it is something else, or about another probe.
    """
    kinds = {
        "probe": str,
        "seconds": list,
        "megabytes": (int, float, type(None)),
        "said": str,
        "cannot": str,
        "error": str,
    }
    fields = _fields(line, kinds)
    if fields["probe"] != expected or not all(isinstance(each, int | float) for each in fields["seconds"]):
        raise NotOfTheProtocol(_shown(line))
    return Answer(**{**fields, "probe": expected})


class Lines:
    """Cuts a stream of bytes into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Self:
        """Take what came."""
        self._rest += data
        return self

    def next(self) -> bytes | None:
        """Give the next whole line without its newline; None when there is none yet."""
        line, newline, rest = self._rest.partition(b"\n")
        if not newline:
            return None
        self._rest = rest
        return line


def _fields(line: bytes, kinds: dict[str, Any]) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise NotOfTheProtocol(_shown(line)) from error
    if not isinstance(fields, dict) or fields.keys() != kinds.keys():
        raise NotOfTheProtocol(_shown(line))
    if not all(isinstance(fields[name], kind) for name, kind in kinds.items()):
        raise NotOfTheProtocol(_shown(line))
    return fields


def _probe(line: bytes, name: str) -> Probe:
    try:
        return Probe(name)
    except ValueError as error:
        raise NotOfTheProtocol(_shown(line)) from error


def _shown(line: bytes) -> str:
    return f"not a line of the protocol: {line[:200]!r}"
