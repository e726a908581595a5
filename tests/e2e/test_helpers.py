"""Every helper in a real kernel of a real container, through the real gateway, to real servers."""

import base64
import io
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from sandbox.bench.process_memory import peak_mb, resident_mb
from sandbox.runtimes.docker_address import EngineAddress
from tests.helpers.documents import pdf
from tests.support.controller import Controller
from tests.support.faults import bash, ending, python, usable
from tests.support.faulty_server import Fault, Reply, Seen
from tests.support.outside import Outside, s3_server, serving
from tests.upstreams.test_mcp_real import filesystem_server, sqlite_server

__all__ = ["filesystem_server", "sqlite_server"]

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

SESSION: Final = "helpers"
LARGE_MB: Final = 200
LARGE_SLUG: Final = "TEST_LARGE"
SMALL_BOUND: Final = 8 * 1024 * 1024


class Call:
    """Python that calls helpers: `ask` runs one cell and gives what each expression gave."""

    def __init__(self, server: Controller) -> None:
        self.server = server

    def __call__(self, *expressions: str, before: str = "", **arguments: Any) -> list[Any]:
        code = f"import json\n{before}\nprint('\\n' + json.dumps([{', '.join(expressions)}]))"
        answer = python(self.server, SESSION, code, **{"timeout": 120, **arguments})
        assert answer["error"] is None, answer
        found: list[Any] = json.loads(answer["data"]["stdout"].splitlines()[-1])
        return found

    def bash(self, command: str) -> tuple[int, str, str]:
        """Run a command."""
        data = bash(self.server, SESSION, command, timeout=120)["data"]
        return data["exit_code"], data["stdout"], data["stderr"]


class LargeTool(Outside):
    """With a tool of the backend whose answer is large, and made once."""

    def grow(self) -> None:
        body = b'{"data":{"text":"%s"},"error":null,"successful":true,"log_id":"log_1"}' % (b"x" * (LARGE_MB * 10**6))
        small = self.backend.answer

        async def answer(request: Seen) -> Reply:
            if request.path.endswith(LARGE_SLUG):
                return Reply(200, body, {"content-type": "application/json"})
            return await small(request)

        self.backend.answer = answer  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a repository, a database and a file."""
    folder = tmp_path_factory.mktemp("places")
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "the first"]):
        subprocess.run([*git, *command], check=True)
    with sqlite3.connect(folder / "a.db") as database:
        database.execute("create table t (n integer)")
        database.execute("insert into t values (41)")
    database.close()
    (folder / "a.txt").write_text("found", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def outside(places: Path, sqlite_server: Path, filesystem_server: Path) -> Iterator[Outside]:
    mcp = {
        "git": {"command": [sys.executable, "-m", "mcp_server_git"]},
        "sqlite": {"command": [str(sqlite_server), "--db-path", str(places / "a.db")]},
        "filesystem": {"command": ["node", str(filesystem_server), str(places)]},
    }
    with serving(Outside(mcp=mcp)) as made:
        yield made


@pytest.fixture(scope="module")
def served(docker_engine: EngineAddress, sandbox_image: str, outside: Outside) -> Iterator[Controller]:
    """A controller with all of it, and small bounds."""
    settings = {**outside.settings(), "tool_answer_max_bytes": str(SMALL_BOUND)}
    yield from _controller(docker_engine, sandbox_image, settings)


@pytest.fixture
def call(served: Controller, outside: Outside) -> Iterator[Call]:
    yield Call(served)
    outside.recover()


@pytest.fixture(scope="module")
def stored(docker_engine: EngineAddress, sandbox_image: str) -> Iterator[Controller]:
    """A controller with S3, SearXNG and a tool whose answer is large."""
    with serving(LargeTool()) as made, s3_server("files") as s3_settings:
        assert isinstance(made, LargeTool)
        made.grow()
        settings = made.settings() | s3_settings
        del settings["exa_api_key"]
        yield from _controller(docker_engine, sandbox_image, settings)


def _controller(engine: EngineAddress, image: str, settings: dict[str, str]) -> Iterator[Controller]:
    with tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder:
        server = Controller(Path(folder), engine, image, **settings)
        try:
            server.start()
            yield server
        finally:
            server.close()


# --- each helper ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["first", "restarted"])
def test_each_helper_answers_in_the_kernel(call: Call, places: Path, kernel: str) -> None:
    if kernel == "restarted":
        with call.server.client() as client:
            assert client.post(f"/v1/sessions/{SESSION}/restart_kernel").status_code == 200
    tools = call(
        "run_composio_tool('TIME_GET_CURRENT_TIME', {'timezone': 'Asia/Tokyo'})",
        f"run_composio_tool('GIT_GIT_LOG', {{'repo_path': {str(places)!r}}})",
        "run_composio_tool('SQLITE_READ_QUERY', {'query': 'select n + 1 as m from t'})",
        f"run_composio_tool('FILESYSTEM_READ_TEXT_FILE', {{'path': {str(places / 'a.txt')!r}}})",
        "run_composio_tool('TEST_ECHO', {'a': 1})",
    )
    assert [error for _, error in tools] == [""] * 5
    said = [json.dumps(result["data"]) for result, _ in tools]
    assert ["Asia/Tokyo" in said[0], "the first" in said[1], "42" in said[2], "found" in said[3]] == [True] * 4
    assert tools[4][0]["data"] == {"echo": {"a": 1}}
    others = call("invoke_llm('how are you?')", "web_search('the weather')")
    assert others[0] == ["how are you?", ""]
    assert others[1][1] == ""
    assert "About the weather." in others[1][0]


def test_both_forms_of_proxy_execute_reach_the_api_with_its_credential(call: Call, outside: Outside) -> None:
    new, old, gone = call(
        "proxy_execute('POST', '/things', 'desk', query_params={'n': [1, 2]}, body={'a': 1}, headers={'X-One': '1'})",
        "proxy_execute('GET', '/things', 'desk', [{'name': 'q', 'value': 'x', 'type': 'query'}])",
        "proxy_execute('GET', '/things', 'gone')",
    )
    assert new[1] == old[1] == ""
    assert (new[0]["method"], new[0]["query"], json.loads(new[0]["body"])) == (
        "POST",
        [["n", "1"], ["n", "2"]],
        {"a": 1},
    )
    assert new[0]["headers"]["x-one"] == "1"
    assert (old[0]["status"], old[0]["data"]["query"]) == (200, [["q", "x"]])
    assert "could not be reached" in gone[1]
    assert outside.api.seen[-1].headers["authorization"] == outside.api.credential


def test_each_helper_answers_to_the_command_of_bash(call: Call) -> None:
    code, out, err = call.bash('helper run_composio_tool TIME_GET_CURRENT_TIME \'{"timezone": "UTC"}\'')
    assert (code, json.loads(out)["data"]["timezone"], err) == (0, "UTC", "")
    assert call.bash("helper invoke_llm 'how are you?'") == (0, "how are you?\n", "")
    assert "About rain." in call.bash("helper web_search rain")[1]
    assert json.loads(call.bash("helper proxy_execute GET /things desk")[1])["path"] == "/v1/things"
    code, out, err = call.bash("echo text > /mnt/files/b.txt; helper upload_local_file /mnt/files/b.txt")
    assert (code, err) == (0, "")
    assert httpx.get(json.loads(out)["s3_url"], trust_env=False).text == "text\n"
    assert httpx.get(call.bash("helper get_mount_file_url /mnt/files/b.txt")[1].strip()).text == "text\n"
    code, out, err = call.bash("helper run_composio_tool TIME_GET_CURRENT_TIME '{}'")
    assert (code, out) == (1, "")
    assert "arguments.timezone" in err


def test_the_text_of_a_pdf_is_read_in_the_sandbox(call: Call, tmp_path: Path) -> None:
    document = base64.b64encode(pdf(tmp_path / "a.pdf", ["Contract of the year"]).read_bytes()).decode()
    before = f"import base64\nopen('/mnt/files/a.pdf', 'wb').write(base64.b64decode({document!r}))"
    text, error = call("smart_file_extract('/mnt/files/a.pdf')", before=before)[0]
    assert error == ""
    assert "Contract of the year" in text
    assert "Contract of the year" in call.bash("helper smart_file_extract /mnt/files/a.pdf")[1]


@pytest.mark.parametrize("store", ["served", "stored"])
def test_uploaded_files_are_downloaded_by_their_links(store: str, request: pytest.FixtureRequest) -> None:
    call = Call(request.getfixturevalue(store))
    one, several, link, key = call(
        "upload_local_file('/mnt/files/c.txt')",
        "upload_local_file('/mnt/files/c.txt', '/tmp/d.txt')",
        "get_mount_file_url('/mnt/files/c.txt')",
        "get_mount_file_s3_key('/mnt/files/c.txt')",
        before="for p, t in (('/mnt/files/c.txt', 'one'), ('/tmp/d.txt', 'two')): open(p, 'w').write(t)",
    )
    assert [one[1], several[1], link[1], key[1]] == [""] * 4
    assert {"s3_url", "uploaded_file", "type", "id", "s3key", "key", "message"} <= one[0].keys()
    assert (one[0]["type"], one[0]["s3key"]) == ("text/plain", one[0]["key"])
    assert httpx.get(one[0]["s3_url"], trust_env=False).text == httpx.get(link[0], trust_env=False).text == "one"
    with zipfile.ZipFile(io.BytesIO(httpx.get(several[0]["s3_url"], trust_env=False).content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"c.txt": b"one", "d.txt": b"two"}
    assert key[0].endswith("c.txt")


def test_searxng_answers_where_exa_is_not_configured(stored: Controller) -> None:
    text, error = Call(stored)("web_search('the sea')")[0]
    assert error == ""
    assert "Result 1" in text


# --- what is large --------------------------------------------------------------------------------------------


def test_a_large_file_is_uploaded_with_flat_memory(call: Call) -> None:
    call("invoke_llm('warm')")
    before = resident_mb(call.server.pid) or 0
    uploaded = call(
        "upload_local_file('/tmp/large')", before=f"with open('/tmp/large', 'wb') as f: f.truncate({LARGE_MB * 10**6})"
    )[0]
    assert uploaded[1] == ""
    grown = (peak_mb(call.server.pid) or 0) - before
    assert grown < 48, f"the controller grew by {grown:.0f} MB"
    with httpx.stream("GET", uploaded[0]["s3_url"], trust_env=False) as response:
        assert sum(map(len, response.iter_bytes())) == LARGE_MB * 10**6


def test_a_large_answer_of_a_tool_comes_whole_and_is_held_once(stored: Controller) -> None:
    call = Call(stored)
    call("run_composio_tool('TEST_ECHO', {})")
    before = resident_mb(stored.pid) or 0
    came = call(
        "error",
        "text.count('x')",
        "len(text)",
        before=f"result, error = run_composio_tool({LARGE_SLUG!r}, {{}})\ntext = result['data']['text']",
    )
    grown = (peak_mb(stored.pid) or 0) - before
    assert came == ["", LARGE_MB * 10**6, LARGE_MB * 10**6]
    assert grown < 1.6 * LARGE_MB, f"the controller grew by {grown:.0f} MB"


def test_a_large_answer_for_the_agent_is_whole_in_a_file_and_held_once(stored: Controller) -> None:
    call = Call(stored)
    call("run_composio_tool('TEST_ECHO', {})")
    before = resident_mb(stored.pid) or 0
    arguments = {"tools": [{"tool_slug": LARGE_SLUG, "arguments": {}}], "session_id": SESSION}
    with stored.client() as client:
        response = client.post("/api/v3/tools/execute/COMPOSIO_MULTI_EXECUTE_TOOL", json={"arguments": arguments})
    grown = (peak_mb(stored.pid) or 0) - before
    data = response.json()["data"]
    path = data["remote_file_info"]["file_path"]
    text = f"json.load(open({path!r}))['results'][0]['response']['data']['text']"
    assert call("len(text)", "text.count('x')", before=f"text = {text}") == [LARGE_MB * 10**6] * 2
    assert len(response.content) < 100_000
    assert grown < 1.6 * LARGE_MB, f"the controller grew by {grown:.0f} MB"


# --- what fails -----------------------------------------------------------------------------------------------

ALL_FOUR: Final = (
    "run_composio_tool('TEST_ECHO', {})",
    "proxy_execute('GET', '/things', 'desk')",
    "invoke_llm('how are you?')",
    "web_search('the weather')",
)
TOGETHER: Final = (
    "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as threads:\n"
    f"    print([job.result() for job in [threads.submit(eval, text, globals()) for text in {ALL_FOUR!r}]])"
)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (Fault.RESET_AT_ONCE, "broke the connection|could not be reached"),
        (Fault.RATE_LIMITED_UNTIL, "429"),
        (Fault.ERROR, "500"),
        (Fault.ENDLESS_BODY, "more than"),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Fault) else "",
)
def test_an_upstream_that_fails_is_an_error_with_its_cause(
    call: Call, outside: Outside, spoilt: Fault, words: str
) -> None:
    for server in outside.servers:
        server.always = spoilt
    answers = call(*ALL_FOUR)
    assert [(result, error) for result, error in answers if not re.search(words, error)] == []
    usable(call.server, SESSION)


def test_an_answer_that_is_no_json_is_an_error_and_text_from_an_api(call: Call, outside: Outside) -> None:
    for server in outside.servers:
        server.always = Fault.INVALID_JSON
    tool, proxy, *others = call(*ALL_FOUR)
    assert all('{"data": {"half' in error for _, error in (tool, *others))
    assert proxy == ['{"data": {"half', ""]


def test_upstreams_that_are_silent_do_not_outlast_the_execution(call: Call, outside: Outside) -> None:
    for server in outside.servers:
        server.always = Fault.SILENT
    answer = python(call.server, SESSION, TOGETHER, timeout=1)
    assert ending(answer) == ("timed_out", "interrupted", "kept", "kept"), answer
    assert call.bash("timeout 1 helper invoke_llm hello")[0] == 124
    outside.recover()
    assert call("invoke_llm('again')") == [["again", ""]]
