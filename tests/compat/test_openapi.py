"""Every path of our own description, with whatever is sent to it: no defect, and no answer that is not described."""

import os
import subprocess
import sys

import pytest

from tests.api.conftest import KEY, Server
from tests.compat.conftest import python_of
from tests.compat.environments import INSTALL_S, Environments
from tests.compat.requirements import promises
from tests.compat.runs import PROGRAMS
from tests.compat.versions import OPENAPI

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
EXAMPLES = 8
SEED = 7
RUN_S = 240

pytestmark = pytest.mark.timeout(INSTALL_S + RUN_S)


@promises("CC-9.21", "CC-0.07")
def test_no_request_finds_a_defect_or_an_answer_outside_the_description(
    environments: Environments, compat: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    python = python_of(environments, OPENAPI)
    with compat.client() as http:
        session = http.post("/api/v3.1/tool_router/session", json={"user_id": "somebody"}).json()["session_id"]
    options = {
        "--header": f"x-api-key: {KEY}",
        "--phases": "examples,coverage,fuzzing",
        "--checks": ",".join(CHECKS),
        "--max-examples": str(EXAMPLES),
        "--seed": str(SEED),
        "--workers": "2",
        "--request-timeout": "30",
        "--exclude-path-regex": "^/api/v3/",  # each has a twin under /api/v3.1, which the same function answers
    }
    ended = subprocess.run(
        [
            *(str(python), "-m", "schemathesis.cli", "--config-file", str(PROGRAMS / "openapi.toml")),
            *("run", f"{compat.url}/openapi.json", "--no-color", "--continue-on-failure"),
            *(part for option in options.items() for part in option),
        ],
        cwd=tmp_path_factory.mktemp("openapi"),
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PROGRAMS),
            "SCHEMATHESIS_HOOKS": "openapi_hooks",
            "COMPAT_SESSION": session,
        },
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    sys.stdout.write(ended.stdout)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
