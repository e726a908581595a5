"""Where an exception came from, without its words: they may hold code, output or keys."""

import traceback

from sandbox.errors import WorkbenchError


def trace_without_values(error: BaseException) -> str:
    """Give the stacks of an exception, of what caused it and of those in its group, each with its type's name."""
    return "\n".join(_told(error, set()))


def _told(error: BaseException, seen: set[int]) -> list[str]:
    if id(error) in seen:
        return []
    seen.add(id(error))
    before = error.__cause__ if error.__suppress_context__ else error.__cause__ or error.__context__
    told = _told(before, seen) if before is not None else []
    stack = "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    told += [part for part in (stack, _name(error)) if part]
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            told += _told(each, seen)
    return told


def _name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, WorkbenchError):
        return f"{name} [{error.slug}]"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name} [errno {error.errno}]"
    return name
