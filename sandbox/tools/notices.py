"""The exact words that stand for cut output. Clients read them by machine: no character may change."""

from typing import Final

from sandbox.limits import INLINE_CHARS
from sandbox.pipe.messages import StreamOutput

_SAVED: Final = "\n... (output truncated, full output saved to: {path})\n"
_BASH: Final = (
    "Run 'cat {path}' to view the full output, or use 'head -n 100 {path}' / 'tail -n 100 {path}' to view parts of it."
)
_WORKBENCH: Final = (
    "To view the full output, run code: open('{path}').read()\n"
    "Or use COMPOSIO_BASH_TOOL: 'cat {path}' / 'head -n 100 {path}' / 'tail -n 100 {path}'"
)
_NOT_SAVED: Final = "\n... (output truncated; the rest could not be saved: {reason})"


def bash_notice(path: str) -> str:
    """What follows the first characters of a bash stream whose whole is in `path`."""
    return (_SAVED + _BASH).format(path=path)


def workbench_notice(path: str) -> str:
    """What follows the first characters of a workbench stream whose whole is in `path`."""
    return (_SAVED + _WORKBENCH).format(path=path)


def bash_text(stream: StreamOutput) -> str:
    """A stream of a command as its answer shows it."""
    return stream.text + (bash_notice(stream.path) if stream.path else _unsaved(stream))


def workbench_text(stream: StreamOutput) -> str:
    """A stream of a cell as its answer shows it."""
    return stream.text + (workbench_notice(stream.path) if stream.path else _unsaved(stream))


def notebook_text(stdout: StreamOutput, value: StreamOutput, path: str | None) -> str:
    """What a notebook shows below a cell: its stdout, then the last value. `path`: where the whole is, if cut."""
    newline = "\n" if stdout.text and value.text and not stdout.text.endswith("\n") else ""
    text = f"{stdout.text}{newline}{value.text}"
    if path:
        return text[:INLINE_CHARS] + workbench_notice(path)
    if len(text) > INLINE_CHARS:
        return text[:INLINE_CHARS] + _NOT_SAVED.format(reason="see stdout and its file")
    return text.rstrip() + (_unsaved(stdout) or _unsaved(value))


def _unsaved(stream: StreamOutput) -> str:
    """A cut stream without a file: say so, or the reader takes the beginning for the whole."""
    if stream.path is None and stream.lost is not None:
        return _NOT_SAVED.format(reason=stream.lost)
    return ""
