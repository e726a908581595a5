"""What a helper is to the gateway: one class that reads its arguments, asks an upstream and says what came of it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from time import monotonic
from typing import ClassVar, Final, Generic, TypeVar, cast

import msgspec

from sandbox.errors import InvalidArguments
from sandbox.gateway.budget import Meter
from sandbox.gateway.policy import Policy
from sandbox.sessions.helper_port import HelperAnswer, Progressing, SandboxFiles
from sandbox.upstreams.base import Principal
from sandbox.upstreams.json_values import VALUES_MAX, has_too_many

A = TypeVar("A", bound=msgspec.Struct)
R = TypeVar("R")


_LEAST_S: Final = 0.001


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the arguments of a helper: a field that is not known is an error."""


@dataclass(frozen=True, slots=True)
class Sending:
    """One attempt of a call: for whom, until when, and what it may use on the way.

    `until`: its deadline, by the monotonic clock. `files`: the sandbox's; None when the call does not come out of one.
    """

    principal: Principal
    until: float
    meter: Meter
    files: SandboxFiles | None = None
    on_progress: Progressing | None = None

    @property
    def timeout_s(self) -> float:
        """Seconds that are left."""
        return max(self.until - monotonic(), _LEAST_S)


class Method(ABC, Generic[A, R]):
    """A helper. `name` is what code calls; `arguments` the struct of its arguments.

    `timeout_s`: how long a call may take, where that is not the setting for all of them.
    """

    name: ClassVar[str]
    arguments: ClassVar[type[msgspec.Struct]]
    timeout_s: float | None = None

    def read(self, raw: msgspec.Raw) -> A:
        """Read the arguments.

        Raises:
            InvalidArguments: names the field; or they have more values than can be made into objects.
        """
        if self.has_too_many(raw):
            raise InvalidArguments(
                f"{self.name}: the arguments have more than {VALUES_MAX:,} values",
                suggested_fix="Write them to a file, and give the tool a link to it (upload_local_file).",
            )
        try:
            return cast("A", msgspec.json.decode(raw, type=self.arguments))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArguments(f"{self.name}: {error}") from None

    def has_too_many(self, raw: msgspec.Raw) -> bool:
        """Whether the arguments have too many values for them to be read."""
        return len(raw) > VALUES_MAX and has_too_many(bytes(raw))

    @abstractmethod
    def target(self, arguments: A) -> str:
        """Say what the call is aimed at, for the audit; no secret can be in it."""

    def ready(self, arguments: A) -> None:
        """Raise `UpstreamNotConfigured` when a setting is missing, `InvalidArguments` for values that cannot be."""

    async def permit(self, arguments: A, policy: Policy) -> None:
        """Raise `HelperRefused` when the session's policy forbids the target."""

    def settled(self, arguments: A, policy: Policy) -> A:  # noqa: ARG002 - most have nothing to settle
        """Give the arguments with what the session's policy fills in. Raises `HelperRefused` as `permit`."""
        return arguments

    def spend(self, arguments: A, meter: Meter) -> None:
        """Count what the call uses beside itself. Raises `HelperRefused` when it is over a budget."""

    @abstractmethod
    async def send(self, arguments: A, sending: Sending) -> R:
        """Ask the upstream, once. Raises as `sandbox.upstreams.base` says."""

    @abstractmethod
    def answer(self, result: R) -> HelperAnswer:
        """Say what the helper returns."""


def json_text(text: str) -> HelperAnswer:
    """Answer with a string."""
    return HelperAnswer(msgspec.Raw(msgspec.json.encode(text)))
