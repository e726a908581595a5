"""The chunk window: neither side can be ahead of the other by more than the window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import PipeViolation
from sandbox.limits import CHUNK_BYTES
from sandbox.pipe.window import ReceiveWindow, SendWindow


@given(st.lists(st.booleans(), max_size=200))
def test_a_sender_that_keeps_to_its_window_is_never_refused_by_the_reader(steps: list[bool]) -> None:
    sender, reader = SendWindow(3), ReceiveWindow(3)
    under_way = 0
    for send in steps:
        if send and sender.open:
            reader.accept(sender.take(), b"x", last=False)
            under_way += 1
        elif not send and under_way:
            sender.credit(reader.consume())
            under_way -= 1
        assert under_way <= 3


def test_a_chunk_beyond_the_window_is_a_violation() -> None:
    reader = ReceiveWindow(2)
    reader.accept(1, b"", last=False)
    reader.accept(2, b"", last=False)
    with pytest.raises(PipeViolation, match="beyond the window of 2"):
        reader.accept(3, b"", last=False)


@pytest.mark.parametrize(("seq", "data"), [(2, b""), (0, b""), (1, b"x" * (CHUNK_BYTES + 1))])
def test_a_chunk_out_of_order_or_too_large_is_a_violation(seq: int, data: bytes) -> None:
    with pytest.raises(PipeViolation):
        ReceiveWindow().accept(seq, data, last=False)


def test_a_chunk_after_the_last_is_a_violation() -> None:
    reader = ReceiveWindow()
    reader.accept(1, b"", last=True)
    with pytest.raises(PipeViolation, match="after the last"):
        reader.accept(2, b"", last=False)


def test_credit_for_what_was_never_sent_is_a_violation() -> None:
    with pytest.raises(PipeViolation, match="only 0 were sent"):
        SendWindow().credit(1)
