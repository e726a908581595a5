"""A private PostgreSQL cluster: its own folder and port, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def find_binaries() -> Path | None:
    """Give the folder with `initdb` and `pg_ctl`, the newest version first; None when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), reverse=True)
    if found:
        return found[0].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@dataclass(frozen=True)
class Cluster:
    """A server that can be stopped and started again. `url` names the user `workbench` and its password."""

    url: str
    start: Callable[[], None]
    stop: Callable[[], None]


@contextmanager
def cluster(binaries: Path, password: str) -> Iterator[str]:
    """Run a server and give its URL; the user is `workbench`, the password is asked for."""
    with stoppable(binaries, password) as made:
        yield made.url


@contextmanager
def stoppable(binaries: Path, password: str) -> Iterator[Cluster]:
    """Run a server as `cluster`, and give what stops it."""
    # Not below pytest's folder: the server's own user, when we are root, must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="wbpg-"))
    user = _server_user()
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        secret = folder / "password"
        secret.write_text(password)
        secret.chmod(0o644)
        data, port = folder / "data", _free_port()
        _run(
            user,
            binaries / "initdb",
            *("-D", data, "-U", "workbench", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-sync"),
        )
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        control = (user, binaries / "pg_ctl", "-D", data, "-w")
        made = Cluster(
            f"postgresql://workbench:{password}@127.0.0.1:{port}/postgres",
            start=lambda: _run(*control, "-l", folder / "log", "-o", options, "start"),
            stop=lambda: _run(*control, "-m", "immediate", "stop"),
        )
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _server_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: the user that its package made for it, or None when we are not root."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def _run(user: pwd.struct_passwd | None, *command: object) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a server would hold a pipe open for ever
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
        cwd="/",
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
