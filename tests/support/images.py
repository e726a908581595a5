"""Small images made on the spot from the sandbox image: the same files, another program as process 1."""

import io
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sandbox.runtimes.docker_address import EngineAddress
from sandbox.runtimes.docker_engine import make_client


@contextmanager
def image_running(engine: EngineAddress, base: str, entrypoint: Sequence[str]) -> Iterator[str]:
    """Give the name of an image like `base` whose process 1 is `entrypoint`; removed afterwards."""
    name = f"workbench-test:{secrets.token_hex(6)}"
    dockerfile = f"FROM {base}\nENTRYPOINT {json.dumps(list(entrypoint))}\nCMD []\n"
    with make_client(engine, timeout_s=60) as client:
        for said in client.build(fileobj=io.BytesIO(dockerfile.encode()), tag=name, rm=True, decode=True):
            assert "error" not in said, said
        try:
            yield name
        finally:
            client.remove_image(name, force=True)
