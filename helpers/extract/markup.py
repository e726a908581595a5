"""HTML: what a reader sees of it."""

from html.parser import HTMLParser
from typing import Any

HEAD_CHARS = 1024
_HIDDEN = ("script", "style", "template", "noscript", "svg")
_BLOCKS = """
address article aside blockquote br dd div dl dt figcaption footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre
section table title tr ul
""".split()  # noqa: SIM905 - forty words in quotes each are harder to read


def is_html(text: str, suffix: str) -> bool:
    """Tell whether text is a page."""
    head = text[:HEAD_CHARS].lstrip().lower()
    if head.startswith(("<!doctype html", "<html")):
        return True
    return suffix.lower() in (".html", ".htm", ".xhtml") and "<" in head


def visible_text(page: str) -> str:
    """Give the text of a page: a line for a block, tabs between cells of a table, no scripts and styles."""
    reader = _Visible()
    reader.feed(page)
    reader.close()
    lines = (" ".join(part.strip() for part in line.split(" ") if part.strip()) for line in reader.text().split("\n"))
    return "\n".join(line.strip() for line in lines if line.strip())


class _Visible(HTMLParser):
    """Collects text. It keeps no tree, so depth costs nothing."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._hidden: str | None = None
        self._as_it_stands = False

    def text(self) -> str:
        return "".join(self._pieces)

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002 (the library's signature)
        if self._hidden is None and tag in _HIDDEN:
            self._hidden = tag
        elif tag in _BLOCKS:
            self._pieces.append("\n")
            self._as_it_stands = tag == "pre"
        elif tag in ("td", "th"):
            self._pieces.append("\t")

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = None
        elif tag in _BLOCKS:
            self._pieces.append("\n")
            self._as_it_stands = False

    def handle_data(self, data: str) -> None:
        if self._hidden is None:
            self._pieces.append(data if self._as_it_stands else data.replace("\n", " "))
