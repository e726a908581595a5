"""What all searches want of a question."""

from typing import Final

from sandbox.errors import FieldError, InvalidArguments

QUERY_CHARS: Final = 4000


def check_query(query: str) -> None:
    """Accept a question.

    Raises:
        InvalidArguments: it is empty, too long or no text; names `query`.
    """
    if not query.strip():
        raise _invalid("is required")
    if len(query) > QUERY_CHARS:
        raise _invalid(f"has {len(query)} characters, and {QUERY_CHARS} is the most")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise _invalid("holds half of a surrogate pair, which is no text") from error


def _invalid(reason: str) -> InvalidArguments:
    return InvalidArguments(f"query {reason}", errors=(FieldError("query", reason),))
