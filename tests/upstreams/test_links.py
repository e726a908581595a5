"""Signed links."""

import pytest

from sandbox.errors import Forbidden, InvalidArguments
from sandbox.upstreams.links import LinkSigner
from sandbox.upstreams.object_keys import check_key, new_key, plain_name
from tests.compat.requirements import promises

SIGNER = LinkSigner(b"a secret of this installation")


def _query(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split("&"))


@promises("CC-1.42")
def test_a_link_works_until_it_expires() -> None:
    query = _query(SIGNER.sign("get-object", "trs_a/00/report.pdf", 1000))
    SIGNER.check("get-object", "trs_a/00/report.pdf", query, now=999)
    with pytest.raises(Forbidden, match="expired"):
        SIGNER.check("get-object", "trs_a/00/report.pdf", query, now=1000)


@pytest.mark.parametrize(
    ("action", "path", "change"),
    [
        ("put", "trs_a/f", {}),
        ("get", "trs_b/f", {}),
        ("get", "trs_a/f", {"expires": "9999"}),
        ("get", "trs_a/f", {"signature": "0" * 64}),
        ("get", "trs_a/f", {"signature": "\N{SNOWMAN}"}),
        ("get", "trs_a/f", {"expires": "-1"}),
        ("get", "trs_a/f", {"expires": "\N{SUPERSCRIPT TWO}"}),
        ("get", "trs_a/f", {"expires": ""}),
    ],
)
def test_a_link_is_for_one_thing_only(action: str, path: str, change: dict[str, str]) -> None:
    query = _query(SIGNER.sign("get", "trs_a/f", 1000)) | change
    with pytest.raises(Forbidden):
        SIGNER.check(action, path, query, now=1)


def test_a_link_of_another_installation_is_refused() -> None:
    query = _query(LinkSigner(b"another secret").sign("get", "trs_a/f", 1000))
    with pytest.raises(Forbidden, match="signature"):
        SIGNER.check("get", "trs_a/f", query, now=1)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        (".bashrc", "bashrc"),
        ("Übersicht 2026.xlsx", "Ubersicht_2026.xlsx"),
        ("\x00\n", "file"),
        ("", "file"),
        ("a" * 300 + ".tar.gz", "a" * 97 + ".gz"),
        ("nothing." + "x" * 50, "nothing." + "x" * 50),
    ],
)
def test_names_become_plain(name: str, plain: str) -> None:
    assert plain_name(name) == plain
    assert check_key(new_key("trs_abc", name)).endswith(f"/{plain}")


@pytest.mark.parametrize("key", ["", "a/b", "../x/0123456789abcdef/f", "trs_a/0123456789abcdef/../f", "/etc/passwd"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidArguments, match="no key"):
        check_key(key)
