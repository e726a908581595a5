"""Output that floods, hides or comes late, through HTTP, session and container: bounded inline, whole in its file."""

import hashlib
from collections.abc import Callable
from typing import Any, Final

import pytest

from sandbox.limits import FILES_DIR, MIB, OUTPUT_SUBDIR, SPILL_FOLDER_MAX_BYTES
from tests.support.controller import Controller
from tests.support.faults import bash, ending, fault, python, usable

pytestmark = pytest.mark.docker

SESSION: Final = "output faults"
MB_100: Final = 100_000_000
SPILLS: Final = f"{FILES_DIR}/{OUTPUT_SUBDIR}"


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
    (html,) = data["artifacts"]
    assert html["type"] == "text/html"
    assert bash(fault_server, SESSION, f"cat {html['path']}")["data"]["stdout"] == "<b>bold</b>"


@fault("K37")
@pytest.mark.parametrize("update", ["shown.update(figure)", "clear_output(wait=True); display(figure)"])
def test_of_a_figure_the_last_state_is_the_artifact(fault_server: Controller, update: str) -> None:
    code = (
        "import matplotlib.pyplot as plt\nfrom IPython.display import clear_output, display\n"
        "figure, axes = plt.subplots(figsize=(2, 1), dpi=50)\nshown = display(figure, display_id=True)\n"
        f"axes.set_facecolor('red'); figure.set_size_inches(4, 2)\n{update}\nplt.close(figure)"
    )
    data = python(fault_server, SESSION, code, timeout=60)["data"]
    (figure,) = data["artifacts"]
    assert (figure["type"], data["results"]) == ("image/png", f"[image/png saved: {figure['path']}]")
    look = f"from PIL import Image\nwith Image.open({figure['path']!r}) as i: print(*i.size, i.getpixel(SPOT)[:3])"
    # ipykernel crops what is empty, so the size says only which of both figures it is.
    seen = python(fault_server, SESSION, look.replace("SPOT", "(i.width // 2, i.height // 2)"))["data"]["stdout"]
    assert int(seen.split()[0]) > 150
    assert seen.endswith("(255, 0, 0)\n")


@fault("K38")
def test_a_figure_that_is_left_open_is_shown_at_the_end_of_its_cell(fault_server: Controller) -> None:
    code = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\nprint('drawn')"
    data = python(fault_server, SESSION, code, timeout=60)["data"]
    (figure,) = data["artifacts"]
    assert (figure["type"], data["stdout"]) == ("image/png", "drawn\n")
    size = bash(fault_server, SESSION, f"head -c 4 {figure['path']} | tail -c 3; wc -c < {figure['path']}")
    assert size["data"]["stdout"] == f"PNG{figure['size']}\n"


@fault("K39")
@pytest.mark.parametrize(
    ("tool", "flood"),
    [
        pytest.param(python, "print('x' * 99_999_999)", id="stdout of Python"),
        pytest.param(python, "import os\n_ = os.system('head -c 100000000 /dev/zero >&2')", id="stderr of a child"),
        pytest.param(bash, "yes | head -c 100000000", id="stdout of bash"),
    ],
)
def test_the_memory_of_the_agent_stays_flat_while_100_mb_pass(
    fault_server: Controller, tool: Callable[..., dict[str, Any]], flood: str
) -> None:
    session = "memory of the agent"
    for one in (python, bash):
        one(fault_server, session, "print('x' * 100_000)" if one is python else "yes | head -c 100000")
    before = memory_of_the_agent(fault_server, session)
    data = tool(fault_server, session, flood, timeout=60)["data"]
    path = data.get("stdout_file_path") or data["stderr_file_path"]
    assert bash(fault_server, session, f"wc -c < {path}; rm {path}")["data"]["stdout"] == "100000000\n"
    assert memory_of_the_agent(fault_server, session) - before < 16 * MIB


@fault("K57")
@pytest.mark.parametrize(
    ("code", "how"),
    [
        pytest.param("raise ValueError('x' * 30_000_000)", "error", id="an exception that carries much"),
        pytest.param(
            "from IPython.display import JSON, display\ndisplay(JSON([[] for _ in range(1_000_000)]))",
            "completed",
            id="a document of many values",
        ),
    ],
)
def test_the_memory_of_the_agent_stays_flat_whatever_is_raised_or_displayed(
    fault_server: Controller, code: str, how: str
) -> None:
    session = f"memory of the agent {how}"
    python(fault_server, session, "1 / 0")
    before = memory_of_the_agent(fault_server, session)
    answer = python(fault_server, session, code, timeout=60)
    assert ending(answer) == (how, "none", "kept", "kept"), answer
    assert memory_of_the_agent(fault_server, session) - before < 32 * MIB
    usable(fault_server, session)


def memory_of_the_agent(server: Controller, session: str) -> int:
    """The most that it ever held, in bytes."""
    words = bash(server, session, "grep VmHWM /proc/1/status")["data"]["stdout"].split()
    assert words[2] == "kB"
    return int(words[1]) * 1024


@fault("K40")
def test_the_oldest_spill_goes_when_all_together_are_too_much_and_the_answer_says_so(fault_server: Controller) -> None:
    session = "spills together"
    old, mine = f"{SPILLS}/bash_zzzz_stdout.txt", f"{SPILLS}/mine.bin"
    # Files of that size that take no disk.
    made = bash(fault_server, session, f"for f in {old} {mine}; do truncate -s {SPILL_FOLDER_MAX_BYTES} $f; done")
    assert made["data"]["exit_code"] == 0
    answer = python(fault_server, session, "print('x' * 99_999)")
    assert ending(answer) == ("completed", "none", "kept", "kept")
    assert "1 older output file was deleted to make room" in answer["data"]["execution"]["note"]
    left = bash(fault_server, session, f"wc -c < {answer['data']['stdout_file_path']}; ls {old}; ls {mine}")["data"]
    assert left["stdout"] == f"100000\n{mine}\n"
    assert "note" not in python(fault_server, session, "print('x' * 99_999)")["data"]["execution"]
    usable(fault_server, session)


@fault("K41")
@pytest.mark.parametrize(
    ("tool", "flood", "length"),
    [
        pytest.param(python, "print('x' * 99_999)", 100_000, id="of Python"),
        pytest.param(bash, "yes | head -c 100000", 100_000, id="of bash"),
    ],
)
def test_output_that_spills_into_a_full_disk_is_kept_to_its_last_byte_and_said(
    fault_server: Controller, tool: Callable[..., dict[str, Any]], flood: str, length: int
) -> None:
    session = f"full {tool.__name__}"
    # A real filesystem of 64 MB, full but for 64 KiB.
    bash(
        fault_server,
        session,
        f"mkdir /dev/shm/out; rm -r {SPILLS}; ln -s /dev/shm/out {SPILLS}\n"
        "cat /dev/zero > /dev/shm/full; truncate -s -65536 /dev/shm/full",
    )
    first, second = (tool(fault_server, session, flood) for _ in range(2))
    for answer, kept in ((first, 65_536), (second, 0)):
        assert ending(answer) == ("completed", "none", "kept", "kept")
        lost = f"stdout: {kept} of {length} bytes were kept (the disk of the sandbox is full)."
        assert answer["data"]["execution"]["note"] == lost
        assert 40_000 <= len(answer["data"]["stdout"]) < 42_000
        path = answer["data"]["stdout_file_path"]
        assert bash(fault_server, session, f"wc -c < {path}")["data"]["stdout"] == f"{kept}\n"
    usable(fault_server, session)
    bash(fault_server, session, "rm /dev/shm/full")
    whole = tool(fault_server, session, flood)["data"]
    assert "note" not in whole["execution"]
    assert bash(fault_server, session, f"wc -c < {whole['stdout_file_path']}")["data"]["stdout"] == f"{length}\n"


@fault("K42")
def test_a_figure_that_does_not_fit_the_disk_is_said_and_no_half_of_it_is_left(fault_server: Controller) -> None:
    session = "full figure"
    fill = f"mkdir /dev/shm/out; rm -r {SPILLS}; ln -s /dev/shm/out {SPILLS}; cat /dev/zero > /dev/shm/full"
    bash(fault_server, session, fill)
    answer = python(fault_server, session, "from IPython.display import HTML, display\ndisplay(HTML('x' * 100_000))")
    assert ending(answer) == ("completed", "none", "kept", "kept")
    assert answer["data"]["artifacts"] == []
    assert answer["data"]["execution"]["note"] == "text/html could not be saved: the disk of the sandbox is full"
    assert bash(fault_server, session, "ls -A /dev/shm/out | wc -l")["data"]["stdout"] == "0\n"
    usable(fault_server, session)


@fault("K44")
@pytest.mark.parametrize("place", ["ln -s /nowhere/at/all $o", "touch $o", "mkfifo $o", "mkdir -m 0 $o", "ln -s $o $o"])
def test_what_stands_in_the_place_of_the_output_folder_costs_only_files(fault_server: Controller, place: str) -> None:
    session = "no output folder"
    bash(fault_server, session, f"o={SPILLS}; chmod 700 $o; rm -rf $o; {place}")
    code = "from IPython.display import HTML, display\nprint('x' * 99_999)\ndisplay(HTML('<b>bold</b>'))\n'value'"
    data = python(fault_server, session, code)["data"]
    assert (data["execution"]["ending"], data["artifacts"]) == ("completed", [])
    assert data["stdout"].startswith("x" * 40_000)
    assert "text/html could not be saved" in data["execution"]["note"]
    assert "stdout: 0 of 100000 bytes were kept" in data["execution"]["note"]
    usable(fault_server, session)


@fault("K45")
@pytest.mark.parametrize("instead", ["os.mkfifo(spill)", "os.symlink('/dev/zero', spill)", "os.mkdir(spill)"])
def test_what_takes_the_place_of_a_spill_file_is_not_waited_for(fault_server: Controller, instead: str) -> None:
    code = (
        f"import glob, os\nkept = 1\n_ = os.system('rm -rf {SPILLS}/*')\nprint('x' * 99_999, flush=True)\n"
        f"while not (found := glob.glob('{SPILLS}/exec_*_stdout.txt')): pass\n"
        f"spill, = found\nos.remove(spill); {instead}\n'value'"
    )
    answer = python(fault_server, SESSION, code, timeout=20)
    assert ending(answer) == ("completed", "none", "kept", "kept")
    assert "the file was deleted while it was written" in answer["data"]["execution"]["note"]
    usable(fault_server, SESSION)
    bash(fault_server, SESSION, f"rm -rf {SPILLS}/*")


@fault("K46")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param("{'application/json': deep}", id="nested too deeply"),
        pytest.param("{'text/plain': '\\ud800', 'application/json': float('nan')}", id="no JSON"),
    ],
)
def test_a_display_that_cannot_be_read_is_said_and_what_follows_it_is_not_lost(
    fault_server: Controller, data: str
) -> None:
    code = (
        "import sys\nfrom IPython.display import display\n"
        "limit = sys.getrecursionlimit(); sys.setrecursionlimit(50_000)\n"
        f"deep = []\nfor _ in range(5_000): deep = [deep]\ndisplay({data}, raw=True)\n"
        "sys.setrecursionlimit(limit)\n'after'"
    )
    answer = python(fault_server, SESSION, code, timeout=20)
    assert ending(answer) == ("completed", "none", "kept", "kept"), answer
    assert "[a display that could not be read: not JSON, or nested too deeply]\n'after'" in answer["data"]["results"]
    usable(fault_server, SESSION)


@fault("K47")
@pytest.mark.parametrize(
    ("code", "how"),
    [
        pytest.param(
            "import sys\nfrom IPython.display import display\nx = '\\x01' * 40_000\nprint(x); sys.stderr.write(x)\n"
            "display({'text/plain': x}, raw=True)\nraise type(x, (Exception,), {})(x)",
            "error",
            id="nothing but control characters",
        ),
        pytest.param(
            "from IPython.display import display\n"
            "display({'application/vnd.' + 'x' * 2_000_000 + 'json': {}}, raw=True)",
            "completed",
            id="a MIME type of 2 MB",
        ),
    ],
)
def test_the_longest_answer_still_is_one(fault_server: Controller, code: str, how: str) -> None:
    answer = python(fault_server, SESSION, code, timeout=20)
    assert ending(answer) == (how, "none", "kept", "kept"), answer
    usable(fault_server, SESSION)


@fault("K48")
def test_displays_between_two_cells_are_bounded_and_what_is_left_out_is_said(fault_server: Controller) -> None:
    code = (
        "import threading\nfrom IPython.display import display\ngo = threading.Event()\n"
        "def late():\n    go.wait()\n    for _ in range(20): display({'text/plain': 'x' * 2_000_000}, raw=True)\n"
        "    open('said', 'w').close()\nthreading.Thread(target=late).start()"
    )
    python(fault_server, SESSION, code)
    python(fault_server, SESSION, "import asyncio; _ = asyncio.get_running_loop().call_later(0.1, go.set)")
    bash(fault_server, SESSION, "until [ -e said ]; do sleep 0.05; done; rm said", timeout=30)
    answer = python(fault_server, SESSION, "1")
    assert ending(answer) == ("completed", "none", "kept", "kept")
    assert "displays of earlier cells were left out" in answer["data"]["execution"]["note"]
    usable(fault_server, SESSION)


@fault("K24")
def test_a_result_that_cannot_be_shown_is_an_error_text(fault_server: Controller) -> None:
    code = "class Broken:\n    def __repr__(self): raise ValueError('no repr')\nBroken()"
    answer = python(fault_server, SESSION, f"before_repr = 1\n{code}")
    assert ending(answer) == ("error", "none", "kept", "kept")
    assert answer["error"].startswith("ValueError: no repr")
    assert (answer["data"]["stdout"], answer["data"]["results"]) == ("", "")
    assert python(fault_server, SESSION, "before_repr")["data"]["results"] == "1"
    usable(fault_server, SESSION)


@fault("K56")
@pytest.mark.parametrize(
    "flood",
    [
        pytest.param("print('x' * 9_999_999)", id="of Python"),
        pytest.param("_ = os.system('yes | head -c 10000000')", id="of a child"),
    ],
)
def test_output_that_a_child_left_not_waiting_is_whole(fault_server: Controller, flood: str) -> None:
    left = (
        "import os, subprocess, sys\n_ = subprocess.run([sys.executable, '-c', 'import os; os.set_blocking(1, False)'])"
    )
    python(fault_server, SESSION, left)
    answer = python(fault_server, SESSION, f"{flood}\nprint('end')")
    assert ending(answer) == ("completed", "none", "kept", "kept"), answer["error"]
    path = answer["data"]["stdout_file_path"]
    assert bash(fault_server, SESSION, f"wc -c < {path}; rm {path}")["data"]["stdout"] == "10000004\n"
    # In the same cell, too.
    data = python(fault_server, SESSION, f"{left}\nprint('x' * 9_999_999)")["data"]
    assert bash(fault_server, SESSION, f"wc -c < {data['stdout_file_path']}")["data"]["stdout"] == "10000000\n"


@fault("K28")
@pytest.mark.parametrize("patch", ["sys.stdout = None", "sys.stdout = sys.stderr = open('/dev/null', 'w')"])
def test_a_patched_standard_output_costs_only_what_it_hides(fault_server: Controller, patch: str) -> None:
    session = f"patched {patch}"
    python(fault_server, session, f"import sys; kept = sys.stdout, sys.stderr; {patch}")
    answer = python(fault_server, session, "print('out'); 6 * 7")
    assert ending(answer) == ("completed", "none", "kept", "kept")
    assert answer["data"]["results"].endswith("42")
    python(fault_server, session, "sys.stdout, sys.stderr = kept")
    usable(fault_server, session)
