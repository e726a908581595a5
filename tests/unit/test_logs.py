"""What becomes of a log line, in a program of its own: logging is set up once for a whole process."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import logging, structlog, sys
from sandbox.errors import NotFound
from sandbox.logs import configure_logging

configure_logging("info", sys.argv[1])
log = structlog.get_logger("ours")
structlog.contextvars.bind_contextvars(request_id="req_1")
log.debug("quiet")
log.info("heard", count=1, odd=object(), half="\\ud800")
logging.getLogger("theirs").warning("foreign %s", 2, extra={"more": 3})
logging.getLogger("httpx").info("chatty")

words = "SEC" + "RET"

def fail():
    try:
        {}[words]
    except KeyError as error:
        raise ExceptionGroup(words, [OSError(28, words), NotFound(words)]) from error

for logger in (log, logging.getLogger("theirs")):
    try:
        fail()
    except ExceptionGroup as error:
        logger.exception("failed")
        logger.error("failed again", exc_info=error)
"""


def said(form: str) -> str:
    """What the program writes to standard error."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_trace_says_where_and_what_kind_but_not_the_words(form: str) -> None:
    text = said(form)
    assert text.count("in fail") >= 4
    for words in ("KeyError", "ExceptionGroup", "OSError [errno 28]", "sandbox.errors.NotFound [Resource_NotFound]"):
        assert text.count(words) == 4, words
    assert "SECRET" not in text


def test_lines_in_json_have_time_level_logger_and_what_is_bound() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in said("json").splitlines()]
    heard, foreign = lines[:2]
    assert heard["event"] == "heard"
    assert (heard["count"], heard["half"], heard["level"], heard["logger"]) == (1, "\ud800", "info", "ours")
    assert (foreign["event"], foreign["more"], foreign["level"]) == ("foreign 2", 3, "warning")
    assert all(line["request_id"] == "req_1" and line["timestamp"].endswith("Z") for line in lines)
    assert not {"quiet", "chatty"} & {line["event"] for line in lines}
