"""A controller that is opened and closed many times in one process leaves nothing in it."""

import asyncio
import secrets
import threading
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import httpx
import pytest

from sandbox.app import build, create_app
from sandbox.config import Settings, load_settings
from sandbox.runtimes.docker_address import EngineAddress
from tests.api.conftest import KEY, WORKBENCH

pytestmark = pytest.mark.anyio

SETTLE_S: Final = 20.0


def held() -> dict[str, int]:
    """What this process holds."""
    fds = len(list(Path("/proc/self/fd").iterdir()))
    return {"fds": fds, "threads": threading.active_count(), "tasks": len(asyncio.all_tasks())}


async def left_over(base: dict[str, int]) -> dict[str, int]:
    """What is more than at the base line; threads that were told to end get time for it."""
    with anyio.move_on_after(SETTLE_S):
        while any(now > base[name] for name, now in held().items()):
            await anyio.lowlevel.checkpoint()
    return {name: now - base[name] for name, now in held().items() if now > base[name]}


async def open_and_close(settings: Settings, *, code: str | None = None) -> None:
    """Start all parts, ask whether they are ready, run something, close all parts."""
    app = create_app(build(settings))
    transport = httpx.ASGITransport(app)
    headers = {"x-api-key": KEY}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://here", headers=headers) as client,
    ):
        assert (await client.get("/readyz")).status_code == 200
        if code is not None:
            body = {"arguments": {"code_to_execute": code, "session_id": secrets.token_hex(4)}}
            answer = await client.post(f"/api/v3/tools/execute/{WORKBENCH}", json=body)
            assert answer.json()["successful"], answer.text


async def test_50_starts_and_stops_over_a_process_runtime_leave_nothing(short_folder: Path) -> None:
    settings = load_settings(data_dir=short_folder, api_keys=KEY, runtime="process", unsafe=True, pool_size=0)
    await open_and_close(settings, code="1")
    base = held()
    for number in range(50):
        await open_and_close(settings, code="1" if number % 10 == 0 else None)
    assert not await left_over(base)


@pytest.mark.docker
async def test_50_starts_and_stops_over_an_engine_leave_nothing(
    docker_engine: EngineAddress, sandbox_image: str, short_folder: Path
) -> None:
    settings = load_settings(
        data_dir=short_folder,
        api_keys=KEY,
        image=sandbox_image,
        pool_size=0,
        installation=f"test{secrets.token_hex(4)}",
    )
    await open_and_close(settings)
    base = held()
    for _ in range(50):
        await open_and_close(settings)
    assert not await left_over(base)
