"""Which tools fit a use case: their words in a full-text index of SQLite, ranked by BM25. No I/O, no clock.

Each word of a use case is one query; what it gives to a tool's rank is the word's weight in the tool's text. A word
that is not there as it is counts less through its beginning (`time` in `timezone`) and its kin (`history`, `log`).
"""

import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log
from threading import Lock
from typing import Any, Final, TypeAlias

from sandbox.gateway.tool_words import ACTIONS, KIN, LOOKING, slugs_in, terms_of, words_of
from sandbox.upstreams.base import ToolInfo

_TABLE: Final = (
    "CREATE VIRTUAL TABLE entries USING fts5(name, toolkit, description, parameters, content='', "
    "tokenize='porter unicode61 remove_diacritics 2')"
)
_WEIGHTS: Final = (6.0, 5.0, 2.5, 0.7)
"""How much a word counts, by the column in which it stands."""

_RANKED: Final = f"SELECT rowid, bm25(entries, {', '.join(map(str, _WEIGHTS))}) FROM entries WHERE entries MATCH ?"  # noqa: S608 - numbers
_NAMED: Final = "SELECT rowid FROM entries WHERE entries MATCH ?"
_BEGINNING: Final = 0.4
_KIN: Final = 0.7
_BEGINNING_MIN: Final = 4
"""Characters that the beginning of a word has at the least: shorter ones begin everything."""

_OTHER_ACTION: Final = 0.5
_HINT: Final = 0.25
_LOOKING: Final = 0.08
_KEPT_ROWS: Final = 100_000
"""Rows that are kept of words that were looked for: the common ones come first, and cost the most."""

_DESCRIPTION_WORDS: Final = 300
_PARAMETER_WORDS: Final = 200
_ENOUGH: Final = 0.45
_SOME: Final = 0.12
_TINY_IDF: Final = 1e-6
"""What SQLite takes for a word that stands in half of all texts, or in more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What can be found. `tool` None: a toolkit that has no tools; `words` describe it then."""

    toolkit: str
    tool: ToolInfo | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was found. `share`: of what the use case asks for, how much is there, 0 to 1.

    `named`: a word of the use case stands in the name of the tool or of its toolkit.
    """

    entry: Entry
    score: float
    share: float
    named: bool

    @property
    def fits(self) -> bool:
        """Whether it is about what is asked for, and does not only share a word with it."""
        return self.share >= _ENOUGH or (self.named and self.share >= _SOME)


_Weighed: TypeAlias = tuple[float, dict[int, tuple[float, float]]]

Allowed = Callable[[Entry], bool]


class ToolIndex:
    """An index that does not change. Blocking, and safe for threads."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)
        self._names = [entry.toolkit if entry.tool is None else entry.tool.slug for entry in entries]
        self._by_slug = {entry.tool.slug: entry for entry in entries if entry.tool is not None}
        self._lock = Lock()
        self._kept: dict[str, _Weighed] = {}
        self._room = _KEPT_ROWS
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        # At the end of this object no search is under way, and there may be one at any other moment.
        weakref.finalize(self, self._database.close)
        self._database.execute(_TABLE)
        rows = ((row, *_columns(entry)) for row, entry in enumerate(self._entries))
        self._database.executemany(
            "INSERT INTO entries(rowid, name, toolkit, description, parameters) VALUES (?, ?, ?, ?, ?)", rows
        )
        self._database.execute("INSERT INTO entries(entries) VALUES ('optimize')")
        self._database.commit()

    def search(self, use_case: str, allowed: Allowed, *, hints: str = "", limit: int = 10) -> list[Hit]:
        """Give the entries that fit best, the best first. A slug that is named in the use case comes before all.

        `hints`: more words, that help where they fit and are no loss where they do not.
        """
        terms = terms_of(use_case)
        scores: dict[int, float] = {}
        shares: dict[int, float] = {}
        named: set[int] = set()
        asked = 0.0
        with self._lock:
            for term, weight in _weighted(terms):
                whole, found = self._weigh(term)
                asked += weight * whole
                named.update(row for (row,) in self._database.execute(_NAMED, (f"{{name toolkit}} : {_quoted(term)}",)))
                for row, (score, share) in found.items():
                    scores[row] = scores.get(row, 0.0) + weight * score
                    shares[row] = shares.get(row, 0.0) + weight * share
            for term, weight in _helping(terms, hints):
                for row, (score, _) in self._weigh(term)[1].items():
                    if row in scores:
                        scores[row] += weight * score
        ranked = sorted(scores, key=lambda row: (-scores[row] * shares[row], self._names[row]))
        hits = (
            Hit(self._entries[row], scores[row] * shares[row] / asked, shares[row] / asked, row in named)
            for row in ranked
        )
        return list(_first(limit, chain(self._named(use_case), hits), allowed))

    def _weigh(self, term: str) -> _Weighed:
        """Give what a term is worth where it is found whole, and by row its score and the worth that is there."""
        kept = self._kept.get(term)
        if kept is not None:
            return kept
        exact = self._rows(_quoted(term))
        whole = self._idf(len(exact))
        best = {row: (score, whole) for row, score in exact.items()}
        loose = [(_quoted(kin), _KIN) for kin in KIN.get(term, ())]
        if len(term) >= _BEGINNING_MIN:
            loose.append((f"{_quoted(term)} *", _BEGINNING))
        for query, weight in loose:
            for row, score in self._rows(query).items():
                if row not in best or weight * score > best[row][0]:
                    best[row] = (weight * score, best[row][1] if row in best else weight * whole)
        self._room -= len(best) + 1
        if self._room > 0:
            self._kept[term] = whole, best
        return whole, best

    def _rows(self, query: str) -> dict[int, float]:
        """Give the scores of one query. SQLite takes common words for worth nothing; in a small index none are."""
        found: list[tuple[int, float]] = self._database.execute(_RANKED, (query,)).fetchall()
        if not found:
            return {}
        factor = self._idf(len(found)) / max(log((self._size - len(found) + 0.5) / (len(found) + 0.5)), _TINY_IDF)
        return {row: -score * factor for row, score in found}

    def _idf(self, count: int) -> float:
        """Give what a word says that stands in so many texts."""
        return log(1 + (self._size - count + 0.5) / (count + 0.5))

    @property
    def _size(self) -> int:
        return len(self._entries)

    def _named(self, use_case: str) -> Iterator[Hit]:
        for slug in slugs_in(use_case):
            if slug in self._by_slug:
                yield Hit(self._by_slug[slug], float("inf"), 1.0, named=True)


def _weighted(terms: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Give each word its weight: one action is asked for, and others say what its things are like (`open issues`)."""
    actions = [term for term in terms if term in ACTIONS]
    for term in terms:
        yield term, _OTHER_ACTION if term in actions[1:] else 1.0


def _helping(terms: Sequence[str], hints: str) -> Iterator[tuple[str, float]]:
    if ACTIONS.isdisjoint(terms):
        yield from ((term, _LOOKING) for term in LOOKING)
    if hints:
        yield from ((term, _HINT) for term in terms_of(hints))


def _columns(entry: Entry) -> tuple[str, str, str, str]:
    tool = entry.tool
    if tool is None:
        return "", _joined(entry.toolkit), _joined(entry.words), ""
    name = dict.fromkeys(words_of(tool.slug) + words_of(tool.name))
    own = [word for word in name if word not in words_of(entry.toolkit)] or list(name)
    described = " ".join(words_of(tool.description)[:_DESCRIPTION_WORDS])
    return " ".join(own), _joined(entry.toolkit), described, " ".join(_parameters(tool)[:_PARAMETER_WORDS])


def _parameters(tool: ToolInfo) -> list[str]:
    properties = tool.input_schema.get("properties")
    if not isinstance(properties, dict):
        return []
    words = [word for name in properties for word in words_of(str(name))]
    for field in properties.values():
        words += words_of(_description(field))
    return words


def _description(field: Any) -> str:
    said = field.get("description") if isinstance(field, dict) else None
    return said if isinstance(said, str) else ""


def _joined(text: str) -> str:
    return " ".join(words_of(text))


def _quoted(term: str) -> str:
    """Give a word as FTS5 takes it: as a string, whatever is in it."""
    return '"' + term.replace('"', '""') + '"'


def _first(limit: int, hits: Iterable[Hit], allowed: Allowed) -> Iterator[Hit]:
    """Give each entry once, as many as are wanted, of those that are allowed."""
    given: set[int] = set()
    for hit in hits:
        if len(given) == limit:
            return
        if id(hit.entry) not in given and allowed(hit.entry):
            given.add(id(hit.entry))
            yield hit
