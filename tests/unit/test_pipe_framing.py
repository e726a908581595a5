"""Framing: whatever bytes come, in whatever pieces, memory is bounded and whole lines come out."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import PipeViolation
from sandbox.limits import LINE_MAX_BYTES
from sandbox.pipe import framing
from sandbox.pipe.frames import Ack, Call, Chunk, End, Event, Frame, HelperCall, HelperEnd, HelperProgress, Sync
from sandbox.pipe.messages import CodeResult, Ending, LiveOutput, RunCode, StreamName, StreamOutput

texts = st.text(st.characters(codec="utf-8"), max_size=200)
frames = st.one_of(
    st.builds(Sync, nonce=texts),
    st.builds(Ack, id=texts),
    st.builds(HelperCall, id=texts, helper=texts, arguments_path=st.none() | texts, again=st.booleans()),
    st.builds(HelperProgress, id=texts, done=st.integers(0, 1 << 50), total=st.none() | st.integers(0, 1 << 50)),
    st.builds(HelperEnd, id=texts, path=st.none() | texts, error=texts),
    st.builds(Call, id=texts, body=st.builds(RunCode, code=texts), timeout_s=st.floats(0, 800)),
    st.builds(Chunk, id=texts, seq=st.integers(0, 1 << 40), data=st.binary(max_size=500), last=st.booleans()),
    st.builds(
        Event,
        id=texts,
        seq=st.integers(0, 9),
        body=st.builds(LiveOutput, stream=st.sampled_from(StreamName), text=texts),
    ),
    st.builds(
        End,
        id=texts,
        result=st.builds(
            CodeResult,
            ending=st.sampled_from(Ending),
            stdout=st.builds(StreamOutput, text=texts, bytes=st.integers(0, 1 << 50)),
        ),
    ),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_survive_any_cutting_of_the_stream(said: list[Frame], places: list[int]) -> None:
    decoder = framing.LineDecoder()
    stream = b"".join(framing.encode(frame) for frame in said)
    heard = [framing.decode(line) for piece in cut(stream, places) for line in decoder.feed(piece)]
    assert heard == said


@given(st.lists(st.binary(max_size=300), max_size=20))
@settings(max_examples=300)
def test_the_decoder_never_raises_and_never_holds_more_than_a_line(pieces: list[bytes]) -> None:
    decoder = framing.LineDecoder(limit=64)
    for piece in pieces:
        for line in decoder.feed(piece):
            assert 0 < len(line) < 64
            framing.decode(line)
        assert len(decoder._partial) < 64


@given(st.binary(max_size=400))
@settings(max_examples=500)
def test_a_line_that_is_no_message_is_none_and_not_an_exception(line: bytes) -> None:
    assert framing.decode(line) is None or isinstance(framing.decode(line), msgspec.Struct)


@given(frames, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=500)
def test_a_message_with_flipped_bytes_is_a_message_or_none(frame: Frame, flips: list[tuple[int, int]]) -> None:
    line = bytearray(framing.encode(frame))
    for place, value in flips:
        line[place % len(line)] = value
    decoded = framing.decode(bytes(line))
    assert decoded is None or isinstance(decoded, msgspec.Struct)


def test_a_deeply_nested_line_is_none() -> None:
    assert framing.decode(b"[" * 100_000) is None


def test_a_line_over_the_limit_is_dropped_and_counted_and_the_next_one_is_read() -> None:
    decoder = framing.LineDecoder(limit=10)
    assert decoder.feed(b"x" * 25) == []
    assert decoder.feed(b"x" * 25 + b"\nshort\n") == [b"short"]
    assert decoder.overlong == 1


def test_an_overlong_line_in_one_piece_is_dropped_too() -> None:
    decoder = framing.LineDecoder(limit=10)
    assert decoder.feed(b"0123456789ab\nok\n") == [b"ok"]
    assert decoder.overlong == 1


def test_a_frame_over_the_line_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(PipeViolation, match=f"holds {LINE_MAX_BYTES}"):
        framing.encode(Call("a", RunCode("x" * LINE_MAX_BYTES), 1.0))


def test_a_text_without_a_utf8_form_is_refused_before_it_is_sent() -> None:
    with pytest.raises(PipeViolation, match="UTF-8"):
        framing.encode(Call("a", RunCode("\ud800"), 1.0))
