"""Output that floods, hides or comes late, through HTTP, session and container: bounded inline, whole in its file."""

import hashlib
from typing import Final

import pytest

from tests.support.controller import Controller
from tests.support.faults import bash, fault, python, usable

pytestmark = pytest.mark.docker

SESSION: Final = "output faults"
MB_100: Final = 100_000_000


@fault("K15", "K16", "K17", "K18")
@pytest.mark.parametrize(
    ("code", "digest"),
    [
        pytest.param("print('x' * 99_999_999)", hashlib.sha256(b"x" * 99_999_999 + b"\n"), id="K15 100 MB in one call"),
        pytest.param(
            "for _ in range(1_000_000): print('y' * 99)",
            hashlib.sha256((b"y" * 99 + b"\n") * 1_000_000),
            id="K16 100 MB in a million calls",
        ),
        pytest.param(
            "import sys\nsys.stdout.write('z' * 100_000_000)", hashlib.sha256(b"z" * MB_100), id="K15 no newline"
        ),
        pytest.param(
            "import os\nfor _ in range(50_000): os.write(1, b'\\xc3'); os.write(1, b'\\xa9')",
            hashlib.sha256(b"\xc3\xa9" * 50_000),
            id="K17 half characters",
        ),
        pytest.param(
            "import os\nfor _ in range(400): os.write(1, bytes(range(256)))",
            hashlib.sha256(bytes(range(256)) * 400),
            id="K18 binary through fd 1",
        ),
    ],
)
def test_a_flood_is_bounded_inline_and_whole_in_its_file(
    fault_server: Controller, code: str, digest: "hashlib._Hash"
) -> None:
    data = python(fault_server, SESSION, code + "\nNone")["data"]
    assert len(data["stdout"]) < 42_000
    found = bash(fault_server, SESSION, f"sha256sum < {data['stdout_file_path']}; rm {data['stdout_file_path']}")
    assert found["data"]["stdout"].split()[0] == digest.hexdigest()
    usable(fault_server, SESSION)


@fault("K19")
def test_what_children_write_to_the_descriptors_is_captured(fault_server: Controller) -> None:
    data = python(fault_server, SESSION, "import os\n_ = os.system('echo out; echo bad >&2')")["data"]
    assert (data["stdout"], data["stderr"]) == ("out\n", "bad\n")


@fault("K20")
def test_what_a_thread_prints_after_the_end_never_breaks_an_answer(fault_server: Controller) -> None:
    code = (
        "import threading\ngo = threading.Event(); said = threading.Event()\n"
        "def late(): go.wait(); print('late'); said.set()\n"
        "threading.Thread(target=late).start()"
    )
    python(fault_server, SESSION, code)
    data = python(fault_server, SESSION, "go.set(); _ = said.wait(); print('now')")["data"]
    assert sorted(data["stdout"].split()) == ["late", "now"]
    usable(fault_server, SESSION)


@fault("K21")
def test_of_a_display_the_last_state_wins(fault_server: Controller) -> None:
    code = (
        "from IPython.display import HTML, clear_output, display\n"
        "print('gone'); clear_output()\n"
        "handle = display('first', display_id=True); handle.update('second'); display(HTML('<b>bold</b>'))"
    )
    data = python(fault_server, SESSION, code)["data"]
    assert "second" in data["results"]
    assert "first" not in data["results"]
    assert [one["type"] for one in data["artifacts"]] == ["text/html"]


@fault("K24")
def test_a_result_that_cannot_be_shown_is_an_error_text(fault_server: Controller) -> None:
    code = "class Broken:\n    def __repr__(self): raise ValueError('no repr')\nBroken()"
    answer = python(fault_server, SESSION, code)
    assert "no repr" in str(answer)
    usable(fault_server, SESSION)


@fault("K28")
@pytest.mark.parametrize("patch", ["sys.stdout = None", "sys.stdout = sys.stderr = open('/dev/null', 'w')"])
def test_a_patched_standard_output_costs_only_what_it_hides(fault_server: Controller, patch: str) -> None:
    session = f"patched {patch}"
    python(fault_server, session, f"import sys; kept = sys.stdout, sys.stderr; {patch}")
    assert python(fault_server, session, "6 * 7")["error"] is None
    python(fault_server, session, "sys.stdout, sys.stderr = kept")
    usable(fault_server, session)
