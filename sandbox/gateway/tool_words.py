"""The words of a text as the index of tools sees them. Pure."""

import re
from collections.abc import Iterable
from typing import Final

TERMS_MAX: Final = 24
"""Words of one use case that are looked for: those that say something, from its beginning."""

_RUN: Final = re.compile(r"[^\W_]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SLUG: Final = re.compile(r"[A-Za-z0-9_-]{3,200}")
_TEXT_MAX: Final = 20_000
_WORD_MAX: Final = 60

_SAYS_NOTHING: Final = """
    a about all also am an and any are as at be been but by can could do does for from had has have he her him his how i
    if in into is it its just like me my need no not of on one or our out over please s she should so some someone
    something t than that the their them then there these they this to too up us use used user using via want was we
    were what when where whether which who whose why will with would you your tool tools app
    """
STOP_WORDS: Final = frozenset(_SAYS_NOTHING.split())
"""What says nothing of a task."""

_ACTIONS: Final = (
    "get fetch read retrieve show view see look lookup list",
    "list browse enumerate",
    "find search query lookup",
    "create make add new insert open",
    "delete remove erase drop clear",
    "update edit change modify rename set",
    "send post publish write",
    "difference diff compare",
    "run execute start",
    "upload put",
    "download export",
)
_THINGS: Final = (
    "history log",
    "now today current",
    "mail email",
    "meeting event calendar",
    "folder directory",
    "picture image photo",
    "repo repository",
    "doc document file",
    "zone timezone",
)
"""Words that people use for one another where they speak of tools."""

_NOW: Final = re.compile(r"\bwhat('?s|\s+is)?(\s+the)?\s+(time|date|day)\b", re.IGNORECASE)
"""Asks for what is now, without the word."""


def _kin() -> dict[str, frozenset[str]]:
    kin: dict[str, set[str]] = {}
    for family in map(str.split, (*_ACTIONS, *_THINGS)):
        for word in family:
            kin.setdefault(word, set()).update(other for other in family if other != word)
    return {word: frozenset(others) for word, others in kin.items()}


KIN: Final = _kin()
ACTIONS: Final = frozenset(" ".join(_ACTIONS).split())
LOOKING: Final = ("list", "get")
"""What somebody means who names things and no action."""


def words_of(text: str) -> list[str]:
    """Give the words of a text in order, in lower case: `getCommit_log2` is `get commit log2`."""
    return [word.lower()[:_WORD_MAX] for run in _RUN.findall(text[:_TEXT_MAX]) for word in _HUMP.split(run)]


def terms_of(use_case: str) -> list[str]:
    """Give the words to look for, each once; those that say nothing only when there are no others."""
    words = dict.fromkeys(words_of(use_case) + ["current"] * bool(_NOW.search(use_case[:_TEXT_MAX])))
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or list(words))[:TERMS_MAX]


def slugs_in(text: str) -> Iterable[str]:
    """Give what could be a tool's slug, in upper case."""
    return (
        found.upper().replace("-", "_") for found in _SLUG.findall(text[:_TEXT_MAX]) if "_" in found or "-" in found
    )
