"""Build contexts as values: what goes into an image depends on files and nothing else."""

import io
import tarfile
from pathlib import Path

import pytest

from sandbox.images.base import OFFICIAL_BASE
from sandbox.images.context import (
    ContextFile,
    bad_pins,
    fingerprint,
    needs_host_network,
    pack,
    pip_config,
    proxy_arguments,
)
from sandbox.images.sources import app_files, build_env_files, debian_sources, packages_files

ONE = ContextFile("a/one", b"1")
TWO = ContextFile("two", b"22")
ROOT = Path(__file__).resolve().parents[2]


def test_an_archive_depends_on_paths_and_bytes_only() -> None:
    assert pack([ONE, TWO]) == pack([TWO, ONE])
    with tarfile.open(fileobj=io.BytesIO(pack([ONE, TWO]))) as archive:
        members = archive.getmembers()
    assert [(m.name, m.size, m.mode, m.uid, m.gid, m.mtime) for m in members] == [
        ("a/one", 1, 0o644, 0, 0, 0),
        ("two", 2, 0o644, 0, 0, 0),
    ]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(([ONE], ("x",)), id="a file less"),
        pytest.param(([ONE, ContextFile("two", b"23")], ("x",)), id="other bytes"),
        pytest.param(([ONE, ContextFile("owt", b"22")], ("x",)), id="another path"),
        pytest.param(([ONE, TWO], ("y",)), id="another option"),
        pytest.param(([ONE, TWO], ()), id="no option"),
        pytest.param(([ContextFile("a/on", b"e1"), TWO], ("x",)), id="the border of path and bytes moved"),
    ],
)
def test_a_fingerprint_changes_with_every_file_and_option(other: tuple[list[ContextFile], tuple[str, ...]]) -> None:
    files, options = other
    assert fingerprint([ONE, TWO], "x") == fingerprint([TWO, ONE], "x")
    assert fingerprint(files, *options) != fingerprint([ONE, TWO], "x")


def test_pins_are_names_and_versions_and_nothing_else() -> None:
    fine = "# words\nnumpy==2.4.6\n\nuvloop==0.23.0 ; sys_platform != 'win32'\nx==1.0.post1\n"
    assert bad_pins(fine) == []
    bad = ["--index-url https://example.test/simple", "a @ file:///a.whl", "a==1 --hash=sha256:00", "a>=1", "-r other"]
    assert bad_pins("\n".join(bad)) == bad


def test_the_projects_own_pins_hold_every_package_of_the_images() -> None:
    files = {file.path: file.data.decode() for file in packages_files()}
    pinned = {line.partition("==")[0] for line in files["constraints.txt"].splitlines()}
    for path, text in files.items():
        if path.startswith("packages/python-"):
            names = {line.partition("#")[0].strip().lower() for line in text.splitlines()}
            assert names - {""} <= pinned, path


def test_the_packages_context_has_what_the_dockerfile_copies() -> None:
    paths = {file.path for file in packages_files()}
    assert {"Dockerfile", "agent.Dockerfile", "constraints.txt", "packages/debian-default.txt"} <= paths
    assert {"install/debian.sh", "install/python.sh", "install/finish.sh"} <= paths
    dockerfile = (ROOT / "images" / "Dockerfile").read_text()
    assert f"ARG BASE={OFFICIAL_BASE}\n" in dockerfile


def test_only_code_that_runs_in_a_sandbox_goes_into_it() -> None:
    paths = {file.path for file in app_files()}
    assert {"app/sandbox/__init__.py", "app/sandbox/pipe/messages.py", "app/sandbox/agent/__main__.py"} <= paths
    tops = {path.split("/")[2] for path in paths if path.startswith("app/sandbox/")}
    assert tops == {"__init__.py", "limits.py", "errors.py", "pipe", "agent"}
    assert not [path for path in paths if "__pycache__" in path]


def test_pip_settings_keep_addresses_and_drop_places_on_this_machine() -> None:
    text = pip_config(
        {
            "PIP_INDEX_URL": "https://index.example.test/simple",
            "PIP_EXTRA_INDEX_URL": "file:///srv/simple https://more.example.test/simple",
            "PIP_FIND_LINKS": "/srv/wheels",
            "PIP_CERT": "/srv/ca.pem",
        }
    )
    assert "index-url = https://index.example.test/simple\n" in text
    assert "extra-index-url = https://more.example.test/simple\n" in text
    assert "/srv" not in text
    assert "index-url" not in pip_config({"PIP_INDEX_URL": "file:///srv/simple"})


def test_proxies_are_handed_on_in_both_spellings() -> None:
    found = proxy_arguments({"HTTPS_PROXY": "http://proxy.example.test:3128", "no_proxy": "localhost", "PATH": "/bin"})
    assert found == {
        "https_proxy": "http://proxy.example.test:3128",
        "HTTPS_PROXY": "http://proxy.example.test:3128",
        "no_proxy": "localhost",
        "NO_PROXY": "localhost",
    }
    assert not needs_host_network(found)


@pytest.mark.parametrize("address", ["http://127.0.0.1:3128", "http://user:word@localhost:3128", "http://[::1]:3128"])
def test_a_proxy_on_loopback_needs_the_hosts_network(address: str) -> None:
    assert needs_host_network(proxy_arguments({"http_proxy": address}))


def test_debian_sources_name_the_security_archive_only_where_there_is_one() -> None:
    with_security = debian_sources("http://m.example.test/debian", "http://m.example.test/debian-security")
    assert with_security.splitlines()[-1] == "deb http://m.example.test/debian-security bookworm-security main"
    assert "security" not in debian_sources("http://m.example.test/debian", None)


def test_the_hosts_settings_are_apart_from_the_rest_of_the_context() -> None:
    assert {file.path.partition("/")[0] for file in build_env_files()} == {"build-env"}
    assert not [file for file in packages_files() if file.path.startswith("build-env")]
