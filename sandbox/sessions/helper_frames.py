"""What the frames of helper calls may hold, and how they are made. Pure."""

from typing import Final

import msgspec

from sandbox.limits import HELPER_ARGUMENTS_INLINE_BYTES, WORKBENCH_TIMEOUT_MAX_S
from sandbox.pipe.frames import HelperCall
from sandbox.sessions.execution import Execution
from sandbox.sessions.helper_port import JsonPieces

ID_CHARS: Final = 100
_PATH_CHARS: Final = 4096


def wrong(call: HelperCall) -> str | None:
    """Say what of a call no agent of ours would say; None: it is well."""
    if len(call.id) > ID_CHARS or len(call.helper) > ID_CHARS or len(call.execution or "") > ID_CHARS:
        return "a helper call has a name that is too long"
    if len(call.arguments) > HELPER_ARGUMENTS_INLINE_BYTES:
        return "the arguments of a helper call are too long for a line"
    for path in (call.arguments_path, call.answer_path):
        if path is not None and (len(path) > _PATH_CHARS or not path.startswith("/")):
            return "a helper call has a path that is none"
    if call.timeout_s is not None and not call.timeout_s > 0:
        return "a helper call has no time"
    return None


def timeout_s(call: HelperCall, execution: Execution | None) -> float:
    """Bound what the sandbox asks for by the time that its execution has left."""
    most = WORKBENCH_TIMEOUT_MAX_S if execution is None else execution.left_s
    return min(call.timeout_s or most, most)


def on_one_line(pieces: JsonPieces) -> msgspec.Raw:
    """Give a JSON value as a frame can hold it. Raises `msgspec.DecodeError` when it is none."""
    data = b"".join(pieces)
    return msgspec.Raw(msgspec.json.format(data, indent=-1) if b"\n" in data else data)
