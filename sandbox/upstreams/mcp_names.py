"""How toolkits and tools of MCP servers are called by slug: TIME_GET_CURRENT_TIME. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

_OTHER: Final = re.compile(r"[^A-Za-z0-9]")


def slug_of(name: str) -> str:
    """Give a name in upper case, with everything but letters and digits of ASCII as `_`."""
    return _OTHER.sub("_", name).upper()


def unique_slugs(names: Iterable[str]) -> dict[str, str]:
    """Give each name a slug of its own, by name.

    Of several that would be the same the first in the order of names keeps it, the others get `_2`, `_3` ...; the
    order in which a server lists its tools does not matter.
    """
    slugs: dict[str, str] = {}
    taken = {slug_of(name) for name in names}
    free = set(taken)
    numbers: dict[str, int] = {}
    for name in sorted(set(names)):
        slug = plain = slug_of(name)
        while slug not in free:
            numbers[plain] = number = numbers.get(plain, 1) + 1
            slug = f"{plain}_{number}"
            free |= {slug} - taken
        free.discard(slug)
        taken.add(slug)
        slugs[name] = slug
    return slugs


def candidates(slug: str, prefixes: Mapping[str, str]) -> Sequence[str]:
    """Give the servers that a tool's slug may belong to, the one with the longest prefix first.

    `prefixes`: slug of each server by its name. More than one only where one server's slug begins another's.
    """
    found = [name for name, prefix in prefixes.items() if slug.startswith(f"{prefix}_")]
    return sorted(found, key=lambda name: len(prefixes[name]), reverse=True)
