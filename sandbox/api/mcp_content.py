"""The answer of a tool as MCP has it: the same JSON as text and as structure, images, and links to files."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent

from sandbox.api.mcp_files import address_of, link_to, read_bytes
from sandbox.api.wire import encode
from sandbox.errors import CallFault, WorkbenchError
from sandbox.limits import KIB
from sandbox.pipe.messages import Artifact
from sandbox.sessions.helper_port import SandboxFiles
from sandbox.tools.base import ToolResult

EVENT_BYTES: Final = 960 * KIB
"""What an answer may have with its images: the SDK's client takes an event of a stream up to a mebibyte."""

IMAGES: Final = 4
"""Images that are in the answer itself; others are links."""

IMAGE_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Those that models can look at."""

LINKS: Final = 20
_IMAGE_S: Final = 10.0
_PATH: Final = "_file_path"


class McpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a call answers, whatever came of it: the fields of the direct road."""

    data: Any
    successful: bool
    error: str | None


def answered(result: ToolResult) -> CallToolResult:
    """Put a tool's answer into text and structure."""
    return _result(McpAnswer(data=result.data, successful=result.successful, error=result.error))


def failed(error: WorkbenchError) -> CallToolResult:
    """Put an error into an answer that a model can read and mend: the words are those of the direct road."""
    words = f"{error.message}. {error.suggested_fix}" if error.suggested_fix else error.message
    return _result(McpAnswer(data={}, successful=False, error=words))


def needs_files(result: CallToolResult, artifacts: tuple[Artifact, ...]) -> bool:
    """Whether anything in the answer is in a file of the sandbox."""
    return bool(artifacts) or any(True for _ in _spilled(result))


async def add_files(
    result: CallToolResult, artifacts: tuple[Artifact, ...], session_id: str, files: SandboxFiles
) -> None:
    """Add the images that were displayed, as far as there is room, and links to what else is in files."""
    folder = await files.folder()
    blocks: list[ContentBlock] = []
    room = _room(result)
    images = 0
    for artifact in artifacts:
        fits = artifact.type in IMAGE_TYPES and images < IMAGES and 0 < artifact.size <= room * 3 // 4
        if fits and (image := await _image(artifact, folder, files)) is not None:
            blocks.append(image)
            room -= len(image.data)
            images += 1
        elif (address := address_of(session_id, folder, artifact.path)) is not None and len(blocks) < LINKS:
            blocks.append(link_to(address, "Displayed by the code", mime_type=artifact.type, size=artifact.size))
    for path, names in _by_path(_spilled(result)).items():
        if (address := address_of(session_id, folder, path)) is not None:
            blocks.append(link_to(address, f"The whole of {' and '.join(names)}, cut in the answer"))
    result.content.extend(blocks)


def session_id_in(result: CallToolResult) -> str | None:
    """Give the id of the session that served a call, as the answer says."""
    session = result.structured_content["data"].get("session")
    return session.get("id") if isinstance(session, Mapping) else None


def _result(answer: McpAnswer) -> CallToolResult:
    raw = encode(answer)
    return CallToolResult(
        content=[TextContent(text=raw.decode())],
        structured_content=msgspec.json.decode(raw),
        is_error=not answer.successful,
    )


async def _image(artifact: Artifact, folder: str, files: SandboxFiles) -> ImageContent | None:
    """Read a picture; None when it is not there any more."""
    try:
        data = await read_bytes(files, artifact.path, artifact.size, inside=folder, timeout_s=_IMAGE_S)
    except CallFault:
        return None
    return ImageContent(data=base64.b64encode(data).decode(), mime_type=artifact.type) if data else None


def _spilled(result: CallToolResult) -> Iterator[tuple[str, str]]:
    """Give name and path of what the answer says is in a file."""
    data = result.structured_content["data"]
    for name, value in data.items():
        if name.endswith(_PATH) and isinstance(value, str):
            yield name.removesuffix(_PATH), value
    kept = data.get("remote_file_info")
    if isinstance(kept, Mapping) and isinstance(kept.get("file_path"), str):
        yield "the answers", kept["file_path"]


def _by_path(spilled: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Put together what is in the same file."""
    names: dict[str, list[str]] = {}
    for name, path in spilled:
        names.setdefault(path, []).append(name)
    return names


def _room(result: CallToolResult) -> int:
    """How many characters of images fit beside the text, which is there twice, once as JSON in JSON."""
    text = sum(len(block.text.encode()) for block in result.content if isinstance(block, TextContent))
    return max(0, EVENT_BYTES - 5 * text // 2)
