"""Displays between two cells: the last of them are kept, in bounded memory, and what is not is said."""

import msgspec
from msgspec import Raw

from sandbox.agent.kernel_wire import Display, Message
from sandbox.agent.late import LateMessages


def shown(text: str) -> Message:
    return Message("earlier", Display({"text/plain": Raw(msgspec.json.encode(text))}))


def test_what_is_kept_is_given_once_and_in_order() -> None:
    late = LateMessages()
    late.add(shown("one"))
    late.add(shown("two"))

    assert late.take() == ([shown("one").content, shown("two").content], None)
    assert late.take() == ([], None)


def test_the_oldest_go_when_there_are_too_many() -> None:
    late = LateMessages(most=2)
    for text in "abcd":
        late.add(shown(text))

    contents, words = late.take()
    assert contents == [shown("c").content, shown("d").content]
    assert words == "2 displays of earlier cells were left out: too much at once"


def test_one_that_is_too_long_is_not_kept_at_all() -> None:
    late = LateMessages(most_bytes=1_000)
    late.add(shown("x" * 2_000))
    late.add(shown("short"))

    contents, words = late.take()
    assert contents == [shown("short").content]
    assert words is not None
