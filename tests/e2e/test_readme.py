"""The example of the README runs as it is written."""

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest

from sandbox.runtimes.docker_address import EngineAddress
from tests.support.controller import Controller

README: Final = Path(__file__).parents[2] / "README.md"


def _block(language: str, word: str) -> str:
    """Give the only block of code in a language that has this word in it."""
    text = README.read_text(encoding="utf-8")
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (block,) = [one for one in found if word in one]
    return block


@pytest.mark.docker
def test_the_calls_in_bulk_of_the_readme_run_as_written(
    docker_engine: EngineAddress, sandbox_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "workbench.toml"
    settings.write_text(_block("toml", "mcp_servers"), encoding="utf-8")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder:
        server = Controller(Path(folder), docker_engine, sandbox_image, config=str(settings))
        try:
            server.start()
            answer = server.run("readme", code_to_execute=_block("python", "TIME_CONVERT_TIME"), timeout=100)
        finally:
            server.close()
    assert answer["error"] is None
    assert re.match(r"576 times converted, the first: Africa/Nairobi 00:00 \S+T03:00:00", answer["data"]["stdout"])
    assert "576/576" in answer["data"]["stderr"]
