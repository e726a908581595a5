"""`smart_file_extract` over real documents of every kind, and over hostile ones."""

import json
import os
import select
import shutil
import signal
import struct
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pypdf
import pytest

from helpers import smart_file_extract
from helpers.documents import PREVIEW_CHARS, extract
from tests.compat.requirements import promises
from tests.conftest import lacking
from tests.helpers import documents


def text_of(path: Path) -> str:
    """Extract a file that must have text."""
    text, error = smart_file_extract(str(path), show_preview=False)
    assert error == ""
    return text


def error_of(path: Path) -> str:
    """Extract a file that must have none; the error names it."""
    text, error = smart_file_extract(str(path), show_preview=False)
    assert text.strip() == ""
    assert path.name in error
    return error


# --- documents ------------------------------------------------------------------------------------


@promises("CC-3.06")
def test_a_pdf_gives_the_text_of_its_pages_in_order(tmp_path: Path) -> None:
    text = text_of(documents.pdf(tmp_path / "a.pdf", ["First page", "Second page"]))
    assert text.split() == ["First", "page", "Second", "page"]


def test_a_document_of_word_gives_paragraphs_and_tables_in_order(tmp_path: Path) -> None:
    assert text_of(documents.word(tmp_path / "a.docx")).splitlines() == [
        "Report",
        "name\tsize",
        "a\t1",
        "After the table: ä.",
    ]


def test_a_presentation_gives_text_tables_and_notes_of_each_slide(tmp_path: Path) -> None:
    text = text_of(documents.slides(tmp_path / "a.pptx"))
    assert text.splitlines() == ["# Slide 1", "Plan", "left\tright", "Notes: say this", ""]


def test_a_workbook_gives_the_values_of_each_sheet(tmp_path: Path) -> None:
    rows: list[list[object]] = [["a", 1, None, 2.5], [None] * 3, ["two\nlines", True]]
    assert text_of(documents.sheets(tmp_path / "a.xlsx", rows)).splitlines() == [
        "# Sheet Sheet",
        "a\t1\t\t2.5",
        "two lines\tTrue",
        "",
        "# Sheet Other",
        "\t\tfar",
        "",
    ]


def test_what_a_file_is_is_told_by_its_content(tmp_path: Path) -> None:
    documents.pdf(tmp_path / "a.pdf", ["Hello"]).rename(tmp_path / "a.docx")
    assert text_of(tmp_path / "a.docx").strip() == "Hello"


PAGE = """<!DOCTYPE html><html><head><title>T</title><style>p {}</style><script>var a = "<p>";</script></head>
<body><h1>Big &amp; bold</h1><p>one
two<br>three</p><table><tr><td>a</td><td>b</td></tr></table><pre>x
  y</pre></body></html>"""


def test_a_page_gives_what_a_reader_sees(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(PAGE)
    lines = ["T", "Big & bold", "one two", "three", "a\tb", "x", "y"]
    assert text_of(tmp_path / "a.html").splitlines() == lines


def test_a_page_may_name_its_encoding(tmp_path: Path) -> None:
    page = '<html><meta charset="shift_jis"><p>日本語のテキスト</p></html>'
    (tmp_path / "a.html").write_bytes(page.encode("shift_jis"))
    assert text_of(tmp_path / "a.html").strip() == "日本語のテキスト"


GERMAN = "Größe und Länge der Straße: 5 €. Die Bücher müssen zurück.\n"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", GERMAN),
        ("utf-8-sig", GERMAN),
        ("utf-16", GERMAN),
        ("utf-16-le", GERMAN),
        ("utf-16-be", GERMAN),
        ("utf-32", GERMAN),
        ("cp1252", GERMAN),
        ("latin-1", GERMAN.replace("€", "Euro")),
        ("cp1252", "Größe"),
        ("cp1252", "“Café” und naïve"),
        ("cp1250", "Zażółć gęślą jaźń, proszę państwa.\n" * 3),
        ("koi8_r", "Съешь же ещё этих мягких французских булок, да выпей чаю.\n" * 3),
        ("gb18030", "这是一个用中文写的句子。用来检测编码。\n" * 5),
        ("euc_kr", "이것은 한국어로 쓰여진 문장입니다. 인코딩을 확인합니다.\n" * 5),
        ("cp1251", "Съешь же ещё этих мягких французских булок, да выпей чаю.\n" * 3),
        ("shift_jis", "これは日本語の文章です。文字コードを判定します。\n" * 5),
    ],
)
def test_text_is_read_in_any_common_encoding(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    assert text_of(tmp_path / "a.txt").rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "a\tb\n", '{"a": [1]}\n', "[" * 5000 + "\n", "BMW\n", "<b> is bold\n"])
def test_csv_json_and_code_are_given_as_they_are(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text)
    assert text_of(tmp_path / "a") == text


def test_all_of_a_long_text_is_returned_and_its_beginning_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("0123456789" * 1_000)
    text, error = smart_file_extract(str(tmp_path / "a.txt"))
    assert (len(text), error) == (10_001, "")
    printed = capsys.readouterr().out
    assert printed.startswith("0123456789" * (PREVIEW_CHARS // 10) + "\n[")
    assert len(printed) < PREVIEW_CHARS + 200


# --- images ---------------------------------------------------------------------------------------


def needs_tesseract() -> None:
    if shutil.which("tesseract") is None:
        lacking("no tesseract", "install tesseract-ocr")


@promises("CC-3.06")
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "gif", "bmp", "webp"])
def test_text_in_images_is_recognised(tmp_path: Path, suffix: str) -> None:
    needs_tesseract()
    documents.picture("Workbench").save(tmp_path / f"a.{suffix}")
    assert "Workbench" in text_of(tmp_path / f"a.{suffix}")


def test_a_scanned_pdf_is_recognised(tmp_path: Path) -> None:
    needs_tesseract()
    assert "Workbench" in text_of(documents.scanned_pdf(tmp_path / "a.pdf", "Workbench"))


@pytest.fixture
def without_tesseract(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("without_tesseract")
def test_without_tesseract_the_error_says_what_to_use(tmp_path: Path) -> None:
    documents.picture("Workbench").save(tmp_path / "a.png")
    for path in (tmp_path / "a.png", documents.scanned_pdf(tmp_path / "a.pdf", "Workbench")):
        error = error_of(path)
        assert "needs tesseract" in error
        assert "the sandbox image `full`" in error


@pytest.mark.usefixtures("without_tesseract")
def test_a_page_that_is_an_image_among_pages_with_text_is_named_in_its_place(tmp_path: Path) -> None:
    scan = documents.scanned_pdf(tmp_path / "scan.pdf", "x")
    text = documents.pdf(tmp_path / "text.pdf", ["Hello"])
    writer = pypdf.PdfWriter()
    for part in (scan, text, scan):
        writer.append(part)
    writer.write(tmp_path / "a.pdf")
    lines = [line for line in text_of(tmp_path / "a.pdf").splitlines() if line]
    assert [line.partition(";")[0] for line in lines] == ["[page 1 is an image", "Hello", "[page 3 is an image"]


# --- hostile and broken files -----------------------------------------------------------------------


def ole(path: Path, content: bytes) -> None:
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + content)


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "x")


def encrypted_zip(path: Path) -> None:
    data = bytearray(documents.word(path).read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 8] |= 1
    path.write_bytes(data)


def said_to_be_large(path: Path) -> None:
    data = bytearray(documents.word(path).read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 3 << 30)
    path.write_bytes(data)


def million_laughs(path: Path) -> None:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    body = f'<!DOCTYPE x [<!ENTITY l0 "lol">{entities}]><x>&l11;</x>'
    whole = documents.word(path.with_name("whole.docx"))
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, body if name == "word/document.xml" else source.read(name))


def huge_picture(path: Path) -> None:
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + bytes(4) + bytes(100))


BROKEN: list[tuple[str, Callable[[Path], object], str]] = [
    ("empty.pdf", lambda path: path.write_bytes(b""), "is empty"),
    ("blank.txt", lambda path: path.write_bytes(b" \n"), "there is no text in it"),
    ("binary.bin", lambda path: path.write_bytes(bytes(range(256)) * 10), "is binary"),
    ("controls.bin", lambda path: path.write_bytes(b"\x01\x02abc" * 100), "is binary"),
    ("password.pdf", lambda path: documents.encrypted_pdf(path, "pw"), "is encrypted"),
    ("password.docx", encrypted_zip, "is encrypted"),
    ("password.xlsx", lambda path: ole(path, "EncryptedPackage".encode("utf-16-le")), "is encrypted"),
    ("old.doc", lambda path: ole(path, b""), "old binary format of Office"),
    ("half.pdf", lambda path: path.write_bytes(documents.pdf(path, ["x"]).read_bytes()[:300]), "damaged"),
    ("half.docx", lambda path: path.write_bytes(documents.word(path).read_bytes()[:5000]), "damaged"),
    ("half.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50)), "damaged"),
    ("archive.zip", archive, "is a zip archive of 1 files: unpack it first"),
    ("packed.gz", lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(20)), "unpack it first"),
    ("rich.rtf", lambda path: path.write_bytes(b"{\\rtf1 hello}"), "RTF"),
    ("bomb.docx", lambda path: documents.zip_bomb(path, 64 << 20), "as a zip bomb does"),
    ("large.docx", said_to_be_large, "bytes; the limit is 1073741824"),
    ("huge.png", huge_picture, "damaged"),
    ("laughs.docx", million_laughs, "damaged"),
]


@pytest.mark.parametrize(("name", "make", "words"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_a_file_without_text_is_an_error_that_says_why(
    tmp_path: Path, name: str, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path / name)
    assert words in error_of(tmp_path / name)


def test_a_pdf_with_an_empty_password_is_read(tmp_path: Path) -> None:
    assert text_of(documents.encrypted_pdf(tmp_path / "a.pdf", "")).strip() == "secret"


def test_a_pdf_whose_page_unpacks_to_far_more_is_an_error(tmp_path: Path) -> None:
    assert "damaged" in error_of(documents.pdf_bomb(tmp_path / "a.pdf", 200 << 20))


def test_a_page_nested_ever_so_deep_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<html>" + "<div>" * 100_000 + "deep")
    assert text_of(tmp_path / "a.html") == "deep\n"


def test_a_workbook_that_lies_about_its_size_is_read(tmp_path: Path) -> None:
    whole = documents.sheets(tmp_path / "whole.xlsx", [["a", 1]])
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b'ref="A1:B1"', b'ref="A1:XFD1048576"'))
    assert text_of(tmp_path / "a.xlsx").splitlines()[:2] == ["# Sheet Sheet", "a\t1"]


def test_text_over_the_bound_is_given_up_to_it_with_an_error(tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("wb") as file:
        for _ in range(65):
            file.write(b"x" * (1 << 20))
    text, error = smart_file_extract(str(tmp_path / "a.txt"), show_preview=False)
    assert len(text) == 64 << 20
    assert "has more text than 67108864 bytes; the result is its beginning" in error


def test_reading_that_takes_too_long_is_ended(tmp_path: Path, slow_tesseract: Path) -> None:
    documents.picture("x").save(tmp_path / "a.png")
    assert extract(tmp_path / "a.png", 1.0) == ("", "a.png could not be read to its end in 1 seconds")


@pytest.fixture
def slow_tesseract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name that does not end; it writes its process id to the pipe that is given."""
    started = tmp_path / "started"
    os.mkfifo(started)
    slow = tmp_path / "tesseract"
    slow.write_text(f"#!/bin/sh\necho $$ >{started}\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return started


def has_ended(pid: int) -> bool:
    """Whether a process ends within a deadline; one that was killed takes a moment for it."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 30)[0])
    finally:
        os.close(process)


def test_an_interrupt_ends_the_reading_with_all_that_it_started(tmp_path: Path, slow_tesseract: Path) -> None:
    documents.picture("x").save(tmp_path / "a.png")
    pids: list[str] = []

    def interrupt() -> None:
        pids.append(slow_tesseract.read_text().strip())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        smart_file_extract(str(tmp_path / "a.png"))
    thread.join(30)
    assert has_ended(int(pids[0]))


def test_what_lies_beside_a_document_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "pypdf", "zipfile", "helpers"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    assert text_of(tmp_path / "a.json") == '{"a": 1}\n'
    assert text_of(documents.pdf(tmp_path / "a.pdf", ["Hello"])).strip() == "Hello"
