"""Real documents, made by real libraries where a test wants them."""

import io
import zipfile
import zlib
from pathlib import Path

import docx
import openpyxl
import pptx
import pypdf
from PIL import Image, ImageDraw
from pptx.util import Inches
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen import canvas


def pdf(path: Path, pages: list[str]) -> Path:
    """Make a PDF with a page for each text."""
    sheet = canvas.Canvas(str(path))
    for text in pages:
        sheet.drawString(72, 720, text)
        sheet.showPage()
    sheet.save()
    return path


def scanned_pdf(path: Path, text: str) -> Path:
    """Make a PDF with one page that is only an image."""
    sheet = canvas.Canvas(str(path))
    sheet.drawImage(ImageReader(picture(text)), 72, 500, 400, 100)
    sheet.showPage()
    sheet.save()
    return path


def encrypted_pdf(path: Path, password: str) -> Path:
    """Make a PDF that opens with a password."""
    writer = pypdf.PdfWriter(clone_from=pdf(path, ["secret"]))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    writer.write(path)
    return path


def picture(text: str) -> Image.Image:
    """Draw black text on white."""
    image = Image.new("RGB", (800, 200), "white")
    ImageDraw.Draw(image).text((20, 60), text, fill="black", font_size=60)
    return image


def word(path: Path) -> Path:
    """Make a document with a heading, a table and a paragraph after it."""
    document = docx.Document()
    document.add_heading("Report")
    table = document.add_table(rows=2, cols=2)
    for row, values in enumerate((("name", "size"), ("a", "1"))):
        for column, value in enumerate(values):
            table.cell(row, column).text = value
    document.add_paragraph("After the table: ä.")
    document.save(str(path))
    return path


def slides(path: Path) -> Path:
    """Make a presentation with a title, a table and notes."""
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = "Plan"
    table = slide.shapes.add_table(1, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    slide.notes_slide.notes_text_frame.text = "say this"
    show.save(str(path))
    return path


def sheets(path: Path, rows: list[list[object]]) -> Path:
    """Make a workbook with these rows, a formula and a second sheet."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet("Other")["C3"] = "far"
    book.save(path)
    return path


def zip_bomb(path: Path, size: int) -> Path:
    """Make a document of Word whose text is `size` zero bytes."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("word/document.xml", "w", force_zip64=True) as member,
    ):
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))
    return path


def pdf_bomb(path: Path, size: int) -> Path:
    """Make a PDF whose page unpacks to `size` blanks, packed twice."""
    packer = zlib.compressobj(9)
    once = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(size >> 20)) + packer.flush()
    content = zlib.compress(once, 9)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
        b"<< /Length %d /Filter [/FlateDecode /FlateDecode] >>\nstream\n" % len(content) + content + b"\nendstream",
    ]
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, io.SEEK_END)
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    table = out.tell()
    out.write(b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % table)
    path.write_bytes(out.getvalue())
    return path
