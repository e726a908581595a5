"""A queue that is fair between those who wait: each one's things in their order, and the ones by turns."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import zip_longest
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Things of several owners. `len()` counts all things; iteration gives the owners, whose turn is next first."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def put(self, owner: str, thing: T) -> None:
        """Add a thing behind its owner's others."""
        self._queues.setdefault(owner, deque()).append(thing)
        self._length += 1

    def first(self, owner: str) -> T:
        """Look at an owner's first thing."""
        return self._queues[owner][0]

    def take(self, owner: str) -> T:
        """Take an owner's first thing: the next turn is another's."""
        queue = self._queues[owner]
        thing = queue.popleft()
        self._length -= 1
        if queue:
            self._queues.move_to_end(owner)
        else:
            del self._queues[owner]
        return thing

    def remove(self, owner: str, thing: T) -> None:
        """Take a thing out, wherever it is; one that is not there any more is no error."""
        queue = self._queues.get(owner)
        if queue is None or thing not in queue:
            return
        queue.remove(thing)
        self._length -= 1
        if not queue:
            del self._queues[owner]

    def in_turn(self) -> list[T]:
        """All that is in it, as it will be taken."""
        rounds = zip_longest(*([(thing,) for thing in queue] for queue in self._queues.values()), fillvalue=())
        return [thing for one_round in rounds for turn in one_round for thing in turn]

    def things(self) -> list[T]:
        """All that is in it, in no order that means anything."""
        return [thing for queue in self._queues.values() for thing in queue]
