"""`python -m sandbox.agent`: the agent, from its first breath to the end of its standard input."""

import asyncio
import logging
import os
import secrets
import shutil
import signal
import sys

from sandbox.agent.bash import Bash
from sandbox.agent.callers import Callers
from sandbox.agent.cells import Cells
from sandbox.agent.environment import user_env
from sandbox.agent.files import Files
from sandbox.agent.hardening import harden, take_stdio
from sandbox.agent.options import Options, clear_leftovers, make_folders, parse
from sandbox.agent.output import SpillNames
from sandbox.agent.processes import ProcessTable, open_own_score
from sandbox.agent.relay import Relay
from sandbox.agent.resources import own_group, thread_env
from sandbox.agent.service import Service
from sandbox.agent.stdio import StdioStream
from sandbox.pipe.answerer import Answerer

log = logging.getLogger("agent")


def main() -> int:
    """Run the agent; give its exit code."""
    pipe_in, pipe_out = take_stdio()
    own_score = open_own_score()
    harden()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="agent: %(levelname)s %(message)s")
    clear_leftovers()
    options = parse(sys.argv[1:])
    try:
        make_folders(options)
        asyncio.run(_serve(options, ProcessTable(own_score), StdioStream(pipe_in, pipe_out)))
    except OSError as error:
        log.critical("cannot start: %s", error)
        return 1
    finally:
        if options.private_is_ours:
            shutil.rmtree(options.private, ignore_errors=True)
    return 0


async def _serve(options: Options, processes: ProcessTable, stream: StdioStream) -> None:
    """Serve the pipe until it ends; then end everything that was started."""
    group = own_group()
    env = user_env(
        home=options.home,
        python=options.python,
        threads=thread_env(group.cpus()),
        helpers=options.helpers if options.helpers.is_dir() else None,
        relay=options.relay,
    )
    callers = Callers()
    names = SpillNames(options.output)
    processes.start()
    files = Files()
    bash = Bash(home=options.home, folder=options.output, processes=processes, names=names, env=env, callers=callers)
    cells = Cells(
        python=str(options.python),
        home=options.home,
        files=options.files,
        private=options.private,
        processes=processes,
        names=names,
        env=env,
        callers=callers,
    )
    service = Service(
        cells=cells,
        bash=bash,
        files=files,
        processes=processes,
        group=group,
        python=str(options.python),
        home=options.home,
        folder=options.files,
    )
    boot = secrets.token_hex(8)
    answerer = Answerer(service, stream.write, stream.drain, boot=boot)
    relay = Relay(answerer.helpers, callers, path=options.relay, answers=options.answers, boot=boot)
    if os.getpid() != 1:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stream.close)
    await relay.start()
    await cells.start()
    stream.start(answerer.feed)
    try:
        await stream.ended.wait()
    finally:
        relay.close()
        await answerer.aclose()
        await cells.aclose()
        bash.close()
        await processes.kill_all()
        processes.close()
        files.close()


if __name__ == "__main__":
    sys.exit(main())
