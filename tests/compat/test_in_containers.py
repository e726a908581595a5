"""The newest SDK and what its users expect of the sandbox itself, in real containers."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from sandbox.runtimes.docker_address import EngineAddress
from tests.compat.conftest import python_of
from tests.compat.environments import INSTALL_S, Environments
from tests.compat.requirements import promises
from tests.compat.runs import RUN_S, run_program
from tests.compat.versions import NEWEST
from tests.support.controller import Controller

PACKAGES: Final = (
    *("pandas", "numpy", "matplotlib", "PIL", "openpyxl", "docx", "pptx", "pdfplumber", "pypdf", "reportlab"),
    *("requests", "httpx", "bs4", "lxml", "tqdm", "tabulate"),
)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(INSTALL_S + RUN_S)]


@pytest.fixture(scope="module")
def controller(docker_engine: EngineAddress, sandbox_image: str) -> Iterator[Controller]:
    """A service whose sandboxes are containers."""
    with TemporaryDirectory(prefix="wbt-") as folder:
        made = Controller(Path(folder), docker_engine, sandbox_image)
        made.start()
        yield made
        made.close()


@promises("CC-4.03", "CC-1.01", "CC-1.07")
def test_the_newest_sdk_runs_an_agents_tools_and_finds_their_files(
    environments: Environments, controller: Controller, tmp_path_factory: pytest.TempPathFactory
) -> None:
    python = python_of(environments, NEWEST)
    said = run_program(
        python,
        "sdk.py",
        tmp_path_factory.mktemp("sdk"),
        controller.url,
        key=controller.key,
        steps="create,agentic,files",
    )
    first, kept, seen, failed = said.value("agentic")
    assert (first["data"]["stdout"], kept["data"]["results"], seen["data"]["stdout"]) == ("42\n", "41", "by python")
    assert failed["error"] == "ZeroDivisionError: division by zero"
    assert [item["mount_relative_path"] for item in said.value("files")["below"]["items"]] == ["a/made.txt"]


@promises("CC-1.05")
def test_the_packages_that_agents_are_told_of_are_there(controller: Controller) -> None:
    answer = controller.run("image", code_to_execute=f"import {', '.join(PACKAGES)}")
    assert answer["error"] is None


@promises("CC-0.11", "CC-8.08", "CC-7.02", "CC-7.03")
def test_files_are_where_agents_look_for_them(controller: Controller) -> None:
    code = "n = open('/mnt/files/large', 'wb').write(bytes(64 << 20))\nprint('x' * 50_000)\nn"
    data = controller.run("image", code_to_execute=code)["data"]
    assert data["results"].rstrip().endswith(str(64 << 20)) or data["results_file_path"]
    path = data["stdout_file_path"]
    assert path.startswith("/mnt/files/.composio/output/exec_")
    seen = controller.run("image", command=f"readlink /home/user/.code_out; wc -c < {path}; wc -c < /mnt/files/large")
    assert seen["data"]["stdout"].split() == ["/mnt/files/.composio/output", "50001", str(64 << 20)]
