"""The shell that cells run in."""

# ipykernel and IPython are only partly annotated.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ipykernel.zmqshell import ZMQInteractiveShell

from .outgoing import error_text, traceback_text

if TYPE_CHECKING:
    from collections.abc import Callable


class Shell(ZMQInteractiveShell):
    """IPython's shell without colours, pagers and terminals; `exit()` ends the cell, not the kernel."""

    helpers: tuple[Callable[..., Any], ...] = ()

    def init_user_ns(self) -> None:
        """Put the helpers beside what IPython puts there: when it starts, and again after `%reset`."""
        super().init_user_ns()
        named = {helper.__name__: helper for helper in self.helpers}
        self.user_ns.update(named)
        self.user_ns_hidden.update(named)

    def init_environment(self) -> None:
        """Tell programs that nobody looks at a terminal."""
        os.environ.update(TERM="dumb", NO_COLOR="1", PAGER="cat", GIT_PAGER="cat")

    def ask_exit(self) -> None:
        """End the cell, as `sys.exit()` does."""
        raise SystemExit

    def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
        """Tell of an exception as long as the answer has room for: some carry all of what they complain of."""
        super()._showtraceback(etype, error_text(str(evalue)), [traceback_text("\n".join(stb))])

    def system_piped(self, cmd: str) -> None:
        """Run `!cmd` on the cell's own descriptors: no terminal, standard error stays apart."""
        argv = ["/bin/bash", "-c", self.var_expand(cmd, depth=1)]
        sys.stdout.flush()
        sys.stderr.flush()
        # Under %%capture and the like what it prints goes where Python's own output goes.
        captured = sys.stdout is not self.kernel.streams.out
        stdout = subprocess.PIPE if captured else None
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=stdout, check=False)
        if captured:
            sys.stdout.write(done.stdout.decode("utf-8", "replace"))
        self.user_ns["_exit_code"] = done.returncode

    system = system_piped
