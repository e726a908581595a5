"""Images and files: in the answer where they are small, else as resources that the client reads."""

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.types import BlobResourceContents, CallToolResult, ImageContent, ResourceLink, TextResourceContents

from tests.api.conftest import KEY, OTHER_KEY, WORKBENCH, Server, running_server
from tests.mcp.conftest import connected
from tests.mcp.test_tools import answer_of

pytestmark = pytest.mark.anyio

SHOW = """
from IPython.display import Image, display
from PIL import Image as Picture
import io, os
def show(side, noise=False):
    data = os.urandom(3 * side * side) if noise else bytes(3 * side * side)
    picture = Picture.frombytes('RGB', (side, side), data)
    out = io.BytesIO()
    picture.save(out, 'PNG')
    display(Image(out.getvalue()))
"""


@pytest.fixture(scope="module", params=[pytest.param("docker", marks=pytest.mark.docker), "process"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with each runtime in turn."""
    settings = {"api_keys": f"{KEY},{OTHER_KEY}"}
    if request.param == "docker":
        settings |= {
            "runtime": "docker",
            "unsafe": "false",
            "image": request.getfixturevalue("sandbox_image"),
            "installation": request.getfixturevalue("installation"),
            "on_shutdown": "remove",
        }
    with (
        tempfile.TemporaryDirectory(prefix="wbt-", ignore_cleanup_errors=True) as folder,
        running_server(Path(folder), **settings) as running,
    ):
        yield running


def images_of(result: CallToolResult) -> list[ImageContent]:
    """The images of an answer."""
    return [block for block in result.content if isinstance(block, ImageContent)]


def links_of(result: CallToolResult) -> list[ResourceLink]:
    """The links of an answer."""
    return [block for block in result.content if isinstance(block, ResourceLink)]


async def read_text(client: Client, uri: str) -> str:
    """Read a resource of text to its end."""
    text = ""
    while uri:
        first, *more = (await client.read_resource(uri)).contents
        assert isinstance(first, TextResourceContents)
        text += first.text
        uri = more[0].uri if more else ""
    return text


async def write(client: Client, code: str) -> str:
    """Run Python that writes files; the id of the session."""
    answer = answer_of(await client.call_tool(WORKBENCH, {"code_to_execute": f"import os\n{code}"}))
    assert answer["successful"], answer
    return str(answer["data"]["session"]["id"])


def in_files(server: Server, path: str) -> str:
    """Python for the folder of the session's files."""
    spill = server.run("print('x' * 50_000)", session=path.split("/")[2])["data"]["stdout_file_path"]
    return repr(spill.split("/.composio")[0])


async def test_an_image_that_is_displayed_comes_with_the_answer(server: Server, path: str, mode: str) -> None:
    async with connected(server, path, mode=mode) as client:
        result = await client.call_tool(WORKBENCH, {"code_to_execute": f"{SHOW}\nshow(16)"})
    assert answer_of(result)["successful"]
    (image,) = images_of(result)
    assert image.mime_type == "image/png"
    assert base64.b64decode(image.data).startswith(b"\x89PNG")


async def test_images_beyond_what_an_answer_holds_are_links(server: Server, path: str, mode: str) -> None:
    code = f"{SHOW}\nfor side in (16, 700, 17, 18, 19, 20): show(side, noise=side == 700)"
    async with connected(server, path, mode=mode) as client:
        result = await client.call_tool(WORKBENCH, {"code_to_execute": code})
        links = links_of(result)
        (contents, *_) = (await client.read_resource(links[0].uri)).contents
    assert len(images_of(result)) == 4
    assert [link.mime_type for link in links] == ["image/png", "image/png"]
    assert isinstance(contents, BlobResourceContents)
    assert base64.b64decode(contents.blob).startswith(b"\x89PNG")


async def test_output_that_was_cut_is_whole_behind_a_link(server: Server, path: str, mode: str) -> None:
    code = "for n in range(100_000): print('line', n, 'ü')"
    async with connected(server, path, mode=mode) as client:
        result = await client.call_tool(WORKBENCH, {"code_to_execute": code})
        (link,) = [link for link in links_of(result) if "stdout" in link.name]
        text = await read_text(client, link.uri)
    assert len(answer_of(result)["data"]["stdout"]) < 50_000
    assert text == "".join(f"line {n} ü\n" for n in range(100_000))


async def test_new_files_are_listed_first_and_can_be_read(server: Server, path: str, mode: str) -> None:
    code = f"""
os.chdir({in_files(server, path)})
open('ä b.csv', 'w').write('1,2')
os.utime('ä b.csv', (1, 4e9))
os.makedirs('deep', exist_ok=True)
open('deep/raw.bin', 'wb').write(bytes(range(256)))
"""
    async with connected(server, path, mode=mode) as client:
        await write(client, code)
        listed = (await client.list_resources()).resources
        raw = next(each for each in listed if each.name == "deep/raw.bin")
        (text,) = (await client.read_resource(listed[0].uri)).contents
        (blob,) = (await client.read_resource(raw.uri)).contents
    assert (listed[0].name, listed[0].size, listed[0].mime_type) == ("ä b.csv", 3, "text/csv")
    assert isinstance(text, TextResourceContents)
    assert text.text == "1,2"
    assert isinstance(blob, BlobResourceContents)
    assert base64.b64decode(blob.blob) == bytes(range(256))


async def test_a_session_that_never_ran_anything_has_no_files_and_gets_no_sandbox(
    server: Server, path: str, mode: str
) -> None:
    async with connected(server, path, mode=mode) as client:
        assert (await client.list_resources()).resources == []
    with server.client() as http:
        assert http.get(f"/v1/sessions/{path.split('/')[2]}").json()["sandbox"] is None


@pytest.mark.parametrize(
    "tail",
    [
        "/etc/passwd",
        "/mnt/files/../../etc/passwd",
        "/mnt/files/%2e%2e/%2e%2e/etc/passwd",
        "/mnt/files/a/..%2f..%2f..%2fetc/passwd",
        "/mnt/files//etc/passwd",
        "/mnt/files/./x",
        "/mnt/files/%00",
        "/mnt/files/",
        "/mnt/files",
        "/mnt/files/no-such-file",
        "/mnt/files/.composio",
        "/mnt/files/" + "a" * 5_000,
        "/mnt/files/%ff%fe",
        "/mnt/files/x?offset=-1",
        "",
    ],
)
async def test_what_is_no_file_of_the_session_cannot_be_read(server: Server, tail: str) -> None:
    async with connected(server, "/tool_router/tricks/mcp") as client:
        session_id = await write(client, "pass")
        with pytest.raises(MCPError, match="No resource"):
            await client.read_resource(f"workbench://{session_id}{tail}")


async def test_a_link_does_not_lead_out_of_the_files(server: Server, path: str) -> None:
    folder = in_files(server, path)
    async with connected(server, path) as client:
        session_id = await write(
            client, f"os.chdir({folder}); os.symlink('/etc', 'etc'); os.symlink('/etc/hosts', 'hosts')"
        )
        for name in ("etc/hosts", "hosts"):
            with pytest.raises(MCPError, match="No resource"):
                await client.read_resource(f"workbench://{session_id}/mnt/files/{name}")


async def test_files_are_read_at_the_address_of_their_session_only(server: Server, path: str) -> None:
    other = path.replace("/mcp", "-other/mcp")
    async with connected(server, path) as one, connected(server, other) as two:
        result = await one.call_tool(WORKBENCH, {"code_to_execute": "print('x' * 50_000)"})
        uri = links_of(result)[0].uri
        await write(two, "pass")
        with pytest.raises(MCPError, match="No resource"):
            await two.read_resource(uri)
    async with connected(server, "/mcp", headers={"x-api-key": OTHER_KEY}) as stranger:
        with pytest.raises(MCPError, match="No resource"):
            await stranger.read_resource(uri)
    assert urlsplit(uri).scheme == "workbench"
