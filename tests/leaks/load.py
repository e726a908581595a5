"""Many sessions and executions of all kinds, as clients make them: the good, the failing and those that leave."""

import asyncio
from collections import Counter
from typing import Any, Final, Self

import httpx

from tests.api.conftest import BASH, KEY, PLAIN, WORKBENCH

LOOP: Final = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)"
SPILLED_CHARS: Final = 60_000


class Load:
    """Clients of one server. `done` counts by kind what was done, for the test to see that all of it was."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers={"x-api-key": KEY}, timeout=120, **PLAIN)
        self.done: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self._http.aclose()

    async def sessions(self, count: int, *, at_once: int, name: str) -> None:
        """Open, use and delete so many sessions."""
        waiting = iter(range(count))

        async def worker() -> None:
            for number in waiting:
                session = f"{name} {number}"
                await self.ten(session, number)
                await self.delete(session)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())

    async def ten(self, session: str, number: int) -> None:
        """Do ten executions of a session, of every kind; what takes long not in each."""
        await self.python(session, "x = 1\nprint(x)", "completed")
        await self.bash(session, "echo one; ls /", "completed")
        await self.python(session, "1 / 0", "error")
        await self.python(session, f"print('y' * {SPILLED_CHARS})", "completed")
        await self.bash(session, "head -c 60000 /dev/zero | tr '\\0' z; exit 3", "completed")
        await self.follow_and_leave(session)
        if number % 5 == 0:
            await self.disconnect(session)
        else:
            await self.python(session, "print(x)", "completed")
        if number % 10 == 0:
            await self.python(session, LOOP, "timed_out", timeout=1)
            await self.bash(session, "sleep 100", "timed_out", timeout=1)
        else:
            await self.python(session, "x += 1; x", "completed")
            await self.bash(session, "true", "completed")
        await self.python(session, "import os; os._exit(3)" if number % 10 == 5 else "x", None)

    async def python(self, session: str, code: str, ending: str | None, **more: Any) -> None:
        """Run Python to its end, which has to be this one."""
        await self._run(WORKBENCH, {"code_to_execute": code, "session_id": session, **more}, ending)

    async def bash(self, session: str, command: str, ending: str | None, **more: Any) -> None:
        """Run a command to its end, which has to be this one."""
        await self._run(BASH, {"command": command, "session_id": session, **more}, ending)

    async def follow_and_leave(self, session: str) -> None:
        """Start an execution, follow it until its first output, leave, and interrupt it."""
        started = await self._http.post(f"/v1/sessions/{session}/executions", json={"code": LOOP, "timeout": 60})
        assert started.status_code == 202, started.text
        path = f"/v1/executions/{started.json()['execution_id']}"
        async with self._http.stream("GET", f"{path}/events") as response:
            async for line in response.aiter_lines():
                if "begun" in line:
                    break
        assert (await self._http.post(f"{path}/interrupt")).status_code == 202
        async with self._http.stream("GET", f"{path}/events") as response:
            await response.aread()
        self.done["followed"] += 1

    async def disconnect(self, session: str) -> None:
        """Run an endless loop and leave when it is seen to run: that ends it."""
        running = asyncio.create_task(self.python(session, LOOP, None))
        path = f"/v1/sessions/{session}/executions"
        while not any(item["state"] == "running" for item in (await self._http.get(path)).json()["items"]):
            pass
        running.cancel()
        await asyncio.wait([running])
        while (await self._http.get(path)).json()["items"][0]["state"] != "ended":
            pass
        self.done["disconnected"] += 1

    async def delete(self, session: str) -> None:
        """Delete a session."""
        response = await self._http.delete(f"/v1/sessions/{session}")
        assert response.status_code == 200, response.text
        self.done["deleted"] += 1

    async def _run(self, slug: str, arguments: dict[str, Any], ending: str | None) -> None:
        response = await self._http.post(f"/api/v3/tools/execute/{slug}", json={"arguments": arguments})
        assert response.status_code == 200, response.text
        execution = response.json()["data"]["execution"]
        assert ending in (None, execution["ending"]), response.text
        self.done[execution["ending"]] += 1
