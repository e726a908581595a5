"""Text: CSV, JSON, code and the like as they are, HTML as what a reader sees of it."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from .markup import is_html, visible_text
from .unreadable import Unreadable

READ_MAX_BYTES = 65 * 1024 * 1024
"""A little more than what is written of it."""

_SAMPLE_BYTES = 64 * 1024
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NAMED = re.compile(rb"""<meta[^>]{0,200}charset=["']?([A-Za-z0-9_-]{1,40})""", re.IGNORECASE)
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
_WESTERN_RUN_MAX = 3
_WESTERN = frozenset(range(0xC0, 0x100)) - {0xD7, 0xF7} | frozenset(
    b"\x80\x82\x84\x85\x8a\x8c\x8e\x91\x92\x93\x94\x95\x96\x97\x99\x9a\x9c\x9e\x9f\xa0\xa1\xa3\xa7\xa9\xab\xae\xb0\xb4\xb7\xbb\xbf"
)
"""Bytes of Windows-1252 beyond ASCII that are letters, quotes, dashes and the signs that are common in text."""

_GUESSES = (
    *(
        f"cp{page}"
        for page in (1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258, 437, 850, 852, 866, 874, 932, 949)
    ),
    *("koi8_r", "iso8859_2", "iso8859_5", "iso8859_7", "iso8859_15", "mac_roman"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\r\f\x1b")
_CONTROLS_SHARE_MAX = 0.01


def extract(file: Path) -> Iterator[str]:
    """Give the text.

    Raises:
        Unreadable: it is no text.
    """
    with file.open("rb") as source:
        data = source.read(READ_MAX_BYTES)
    text = decoded(data, file.stat().st_size > len(data))
    yield visible_text(text) if is_html(text, file.suffix) else text


def decoded(data: bytes, cut: bool = False) -> str:
    """Decode text in any common encoding. `cut`: the last character may be there in part.

    Raises:
        Unreadable: it is no text in any of them.
    """
    for encoding in _candidates(data[:_SAMPLE_BYTES]):
        try:
            return codecs.getincrementaldecoder(encoding)().decode(data, not cut)
        except (UnicodeError, LookupError):
            continue
    raise Unreadable("is no text in any encoding that is known here")


def _candidates(sample: bytes) -> Iterator[str]:
    """Give the encodings to try, the likeliest first. The last one takes any bytes."""
    for mark, encoding in _BOMS:
        if sample.startswith(mark):
            yield encoding
            return
    if b"\0" in sample:
        yield _without_mark(sample)
        return
    if sum(map(sample.count, (bytes([byte]) for byte in _CONTROLS))) > len(sample) * _CONTROLS_SHARE_MAX:
        raise Unreadable("is binary, with no text that can be read")
    yield "utf-8"
    if named := _NAMED.search(sample[:1024]):
        yield named.group(1).decode()
    if not _is_western(sample) and (guess := _guessed(sample)):
        yield guess
    yield from ("cp1252", "latin-1")


def _without_mark(sample: bytes) -> str:
    """Tell UTF-16 without a mark by where its zeros are: every second byte of most text."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) / 2
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.05 * half:
        return "utf-16-be"
    raise Unreadable("is binary, with no text that can be read")


def _is_western(sample: bytes) -> bool:
    """Tell whether text reads well as Western European: accented letters and quotes, a few in a row at most.

    Statistics need a page of text; this is right for a line of it.
    """
    runs: list[bytes] = _BEYOND_ASCII.findall(sample)
    return all(len(run) <= _WESTERN_RUN_MAX and _WESTERN.issuperset(run) for run in runs)


def _guessed(sample: bytes) -> str | None:
    """Guess by statistics, where the library for that is there."""
    try:
        from charset_normalizer import from_bytes  # noqa: PLC0415 - only text in old encodings needs it
    except ModuleNotFoundError:
        return None
    best = from_bytes(sample, cp_isolation=list(_GUESSES)).best()
    return best.encoding if best is not None else None
