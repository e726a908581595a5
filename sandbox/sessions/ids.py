"""Ids that are made here: random, and never reused."""

import random
import secrets
import string
from typing import Final

SESSION_PREFIX: Final = "trs_"
EXECUTION_PREFIX: Final = "exe_"
HELPER_CALL_PREFIX: Final = "hcl_"

_ALPHANUMERIC: Final = string.ascii_letters + string.digits
_LOWER: Final = string.ascii_lowercase + string.digits


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def session_id() -> str:
    """Make a session id: `trs_` and 18 letters and digits (107 bits)."""
    return SESSION_PREFIX + _random(_ALPHANUMERIC, 18)


def is_session_id(text: str) -> bool:
    """Whether it has the form of a session id; what has not needs no look into a database."""
    rest = text.removeprefix(SESSION_PREFIX)
    return rest != text and 0 < len(rest) <= 64 and rest.isascii() and rest.isalnum()


def execution_id() -> str:
    """Make an execution id: `exe_` and 16 hexadecimal digits (64 bits); one cheap call, for the hot path."""
    return EXECUTION_PREFIX + secrets.token_hex(8)


def is_execution_id(text: str) -> bool:
    """Whether it has the form of an execution id."""
    rest = text.removeprefix(EXECUTION_PREFIX)
    return rest != text and len(rest) == 16 and set(rest) <= set("0123456789abcdef")


def helper_call_id(at_us: int) -> str:
    """Make the id of a helper call that began `at_us` microseconds after 1970: ids sort by that."""
    return f"{HELPER_CALL_PREFIX}{at_us:014x}{random.getrandbits(32):08x}"


def is_helper_call_id(text: str) -> bool:
    """Whether it has the form of the id of a helper call."""
    rest = text.removeprefix(HELPER_CALL_PREFIX)
    return rest != text and len(rest) == 22 and set(rest) <= set("0123456789abcdef")


def sandbox_id() -> str:
    """Make a sandbox id: 12 lower-case letters and digits (62 bits)."""
    return _random(_LOWER, 12)
