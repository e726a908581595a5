"""The image as the engine has it: who owns what, what starts, and what must not be in it."""

import json
import secrets
from collections.abc import Iterator

import docker
import pytest

from sandbox import __version__
from sandbox.images import build_image, image_is_current
from sandbox.images.build import LABEL_FINGERPRINT, LABEL_VERSION
from sandbox.images.sources import build_env_files
from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def client(docker_engine: EngineAddress) -> Iterator[docker.APIClient]:
    with make_client(docker_engine, timeout_s=120) as found:
        yield found


@pytest.fixture(scope="module")
def shell(client: docker.APIClient, sandbox_image: str) -> Iterator["Shell"]:
    found = Shell(client, sandbox_image)
    yield found
    found.remove()


class Shell:
    """A container of the image that only waits, and commands run in it."""

    def __init__(self, client: docker.APIClient, image: str) -> None:
        self._client = client
        self._id = client.create_container(
            image,
            entrypoint=["sleep", "600"],
            labels={"workbench.installation": "test-image"},
            host_config=client.create_host_config(network_mode="none"),
        )["Id"]
        client.start(self._id)

    def run(self, command: str, user: str = "1000") -> str:
        """Run a bash command; its output must come with exit code 0."""
        call = self._client.exec_create(self._id, ["bash", "-c", command], user=user)["Id"]
        output: bytes = self._client.exec_start(call)
        assert self._client.exec_inspect(call)["ExitCode"] == 0, output.decode()
        return output.decode().strip()

    def remove(self) -> None:
        self._client.remove_container(self._id, force=True)


def test_the_configuration_starts_the_agent_as_the_user(client: docker.APIClient, sandbox_image: str) -> None:
    config = client.inspect_image(sandbox_image)["Config"]
    assert config["Entrypoint"] == ["/opt/workbench/venv/bin/python", "-I", "-m", "sandbox.agent"]
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("1000:1000", "/home/user", "SIGKILL")
    assert config["Labels"][LABEL_VERSION] == __version__
    assert len(config["Labels"][LABEL_FINGERPRINT]) == 64
    path = next(entry for entry in config["Env"] if entry.startswith("PATH="))
    assert path.startswith("PATH=/home/user/.venv/bin:")


def test_the_user_owns_home_and_files_and_nothing_of_the_agent(shell: Shell) -> None:
    shown = shell.run("id -u; id -g; stat -c '%U %a %n' /home/user /home/user/.venv /mnt/files /run/workbench")
    assert shown.splitlines() == [
        "1000",
        "1000",
        "user 755 /home/user",
        "user 755 /home/user/.venv",
        "user 755 /mnt/files",
        "user 700 /run/workbench",
    ]
    assert shell.run("find /opt/workbench ! -user root -o ! -type l -perm /022", user="0") == ""


def test_the_helpers_are_there_compiled_for_the_users_interpreter(shell: Shell) -> None:
    compiled = shell.run(
        "cd /opt/workbench/helpers && python3 -c 'from importlib.util import cache_from_source as compiled;"
        ' print(compiled("relay.py"))\' | xargs stat -c %U:%a && ls bin && command -v python3'
    )
    assert compiled.splitlines() == ["root:644", "helper", "/home/user/.venv/bin/python3"]


def test_no_file_gives_another_users_rights(shell: Shell) -> None:
    assert shell.run("find / -xdev -type f -perm /6000", user="0") == ""
    assert shell.run("getcap -r / 2>/dev/null || true", user="0") == ""


def test_nothing_of_the_build_and_its_host_stays(shell: Shell, client: docker.APIClient, sandbox_image: str) -> None:
    assert shell.run("ls -d /build /build-env 2>/dev/null || true", user="0") == ""
    assert (
        shell.run("find /var/lib/apt/lists /var/cache/apt /root/.cache /var/log -type f 2>/dev/null || true", user="0")
        == ""
    )
    history = json.dumps(client.history(sandbox_image))
    assert "proxy" not in history.lower()
    # The host's bundle may have authorities that Debian's own has not: none of them may be trusted in a sandbox.
    bundle = next(file.data for file in build_env_files() if file.path.endswith("ca.pem")).decode()
    inside = shell.run("cat /etc/ssl/certs/ca-certificates.crt")
    packaged = shell.run("cat /usr/share/ca-certificates/mozilla/*.crt")
    foreign = certificates(bundle) - certificates(packaged)
    assert certificates(inside) <= certificates(packaged)
    assert not foreign & certificates(inside)


def certificates(bundle: str) -> set[str]:
    """The certificates of a bundle, each as its base64 without line breaks."""
    parts = bundle.split("-----BEGIN CERTIFICATE-----")[1:]
    return {"".join(part.partition("-----END")[0].split()) for part in parts}


def test_both_environments_stand_apart(shell: Shell) -> None:
    documents = "PIL, openpyxl, docx, pptx, pdfplumber, pypdf, reportlab"
    rest = "pandas, numpy, matplotlib, requests, httpx, bs4, lxml, tqdm, tabulate"
    shell.run(f"python -c 'import ipykernel.kernelapp, {documents}, {rest}'")
    shell.run("/opt/workbench/venv/bin/python -I -c 'import msgspec, zmq, sandbox.agent'")
    shell.run("! /opt/workbench/venv/bin/python -I -c 'import pandas' 2>/dev/null")
    shell.run("pip check && touch /home/user/.venv/lib/x && rm /home/user/.venv/lib/x")


def test_every_module_is_compiled_where_the_user_cannot_write(shell: Shell) -> None:
    sources = "find /opt/workbench/app -name '*.py' | wc -l"
    compiled = "find /opt/workbench/app -name '*.pyc' | wc -l"
    assert shell.run(sources) == shell.run(compiled)


def test_the_shell_has_its_tools(shell: Shell) -> None:
    shell.run("command -v awk sed grep jq git curl sqlite3 rg tree zip unzip xz bc file less ps xxd patch diff")


def test_the_shell_that_starts_faster_is_the_same_bash(shell: Shell) -> None:
    facts = 'echo "$BASH_VERSION" ~root ~user; x=école; echo "${x^^}"; compgen -b; shopt; set -o; ulimit -a'
    fast = shell.run(f"/usr/bin/bash-static -c '{facts}'")
    assert "/root /home/user\nÉCOLE\n" in fast
    assert fast == shell.run(facts)


def test_what_is_up_to_date_is_not_built_again(client: docker.APIClient, sandbox_image: str) -> None:
    tag = f"workbench-test:{secrets.token_hex(6)}"
    words: list[str] = []
    try:
        assert not image_is_current(client, tag=tag)
        first = build_image(client, tag=tag, progress=words.append)
        assert image_is_current(client, tag=tag)
        assert not image_is_current(client, tag=tag, variant="full")
        assert not image_is_current(client, tag=tag, base="debian:of-another-name")
        words.clear()
        assert build_image(client, tag=tag, progress=words.append).id == first.id
        assert words == []
    finally:
        client.remove_image(tag)
