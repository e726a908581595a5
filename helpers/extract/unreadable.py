"""How reading a document fails."""


class Unreadable(Exception):
    """The file has no text that can be had. The words are for the one who asked."""
