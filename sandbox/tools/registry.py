"""Which meta tool a slug names."""

from collections.abc import Iterable, Iterator
from typing import Literal

from sandbox.errors import NotFound
from sandbox.sessions.execution import Execution
from sandbox.sessions.manager import SessionManager
from sandbox.tools.base import MetaTool, OnStage, Outcome, TimeLimits, Tool, ToolResult
from sandbox.tools.bash import BashTool
from sandbox.tools.workbench import WorkbenchTool


class ToolNotFound(NotFound):
    """No tool has this slug; the message names those that there are."""

    slug, code = "Tool_NotFound", 1109


class Toolbox:
    """The meta tools by slug, and those that run something in the sandbox by the kind of execution."""

    def __init__(self, workbench: WorkbenchTool, bash: BashTool, others: Iterable[MetaTool] = ()) -> None:
        self._by_kind: dict[Literal["python", "bash"], Tool] = {"python": workbench, "bash": bash}
        self._by_slug: dict[str, MetaTool] = {tool.slug: tool for tool in (workbench, bash, *others)}

    def __iter__(self) -> Iterator[MetaTool]:
        return iter(self._by_slug.values())

    def get(self, slug: str) -> MetaTool | None:
        """Give the tool of a slug, in upper or lower case; None when there is none."""
        return self._by_slug.get(slug) or self._by_slug.get(slug.strip().upper())

    def find(self, slug: str) -> MetaTool:
        """Give the tool of a slug, in upper or lower case.

        Raises:
            ToolNotFound: names the known slugs.
        """
        tool = self.get(slug)
        if tool is None:
            raise self.unknown(slug)
        return tool

    def unknown(self, slug: str) -> ToolNotFound:
        """Make the error for a slug of no tool; it names those of the meta tools."""
        return ToolNotFound(
            f"No tool {slug[:100]!r}; there are: {_listed(self._by_slug)}", suggested_fix="Use one of these slugs."
        )

    def of_kind(self, kind: Literal["python", "bash"]) -> Tool:
        """Give the tool that runs executions of this kind."""
        return self._by_kind[kind]

    def present(self, execution: Execution, outcome: Outcome) -> ToolResult:
        """Compose the answer of an execution that has ended, as its tool does."""
        return self._by_kind[execution.kind].present(execution, outcome)


def make_toolbox(
    manager: SessionManager,
    *,
    workbench: TimeLimits,
    bash: TimeLimits,
    strict_schema: bool,
    on_stage: OnStage,
    others: Iterable[MetaTool] = (),
) -> Toolbox:
    """Build the tools that run something over one manager; `others` are those that do not."""
    return Toolbox(
        WorkbenchTool(manager, workbench, strict_schema=strict_schema, on_stage=on_stage),
        BashTool(manager, bash, strict_schema=strict_schema, on_stage=on_stage),
        others,
    )


def _listed(slugs: Iterable[str]) -> str:
    return ", ".join(sorted(slugs))
