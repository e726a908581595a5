"""`web_search`: a question to the web."""

from .outcome import never_raises, text_of
from .relay import relay


@never_raises(str)
def web_search(query: str) -> tuple[str, str]:
    """Search the web.

    Example:
        found, error = web_search("release date of Python 3.14")

    Returns:
        (text, error): what was found, as text with its sources, and "" or what went wrong.

    Args:
        query: a question or search words.
    """
    result, error = relay.call("web_search", {"query": text_of(query, "query")})
    return (result if isinstance(result, str) else ""), error
