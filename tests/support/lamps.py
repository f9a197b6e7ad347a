"""A technology for tests of those who drive modules: lamps, each an SSM parameter of the target account that says how it shines.

`off` or no parameter: not started; `warming`: under way; `on`: done; `broken`: failed; `part-1`: one of several steps is done. Its act
is a real call to AWS.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import boto3
from botocore.exceptions import ClientError
from pydantic import Field

from dr_core.errors import ModuleError
from dr_core.phases import Phase
from dr_modules.base import Count, DRModule, Handle, ModuleParameters, Permissions, Status


class LampParameters(ModuleParameters):
    """One lamp. `becomes`: what it is once it has been lit, in so many `steps`; `password`: what lighting it needs."""

    name: str = Field(alias="Name", default="hall")
    becomes: str = Field(alias="Becomes", default="warming")
    password: str = Field(alias="Password", default="")
    watts: Count = Field(alias="Watts", default=1)
    steps: Count = Field(alias="Steps", default=1)


def _nothing(_moment: str) -> None:
    return None


class Lamp(DRModule[LampParameters]):
    """`watch`, set by a test, is told of each act: `before` its call and `after` it. `loss` is the lag that it measures, or why
    it cannot."""

    name = "Lamp"
    drills = frozenset({Phase.ACTIVATE})
    permissions: ClassVar[Permissions] = dict.fromkeys(Phase, ("ssm:GetParameter", "ssm:PutParameter"))
    watch: ClassVar[Callable[[str], None]] = staticmethod(_nothing)
    loss: ClassVar[float | ModuleError | None] = None
    measured: ClassVar[list[str]] = []  # the resource of each measurement

    def instantiate(self, parameters: LampParameters) -> Handle | None:
        """The same."""
        return self.activate(parameters)

    def instantiate_status_check(self, parameters: LampParameters) -> Status:
        """The same."""
        return self.activate_status_check(parameters)

    def activate(self, parameters: LampParameters) -> Handle | None:
        """Light it, or the part of it that is due."""
        type(self).watch("before")
        lamp, seen = f"/lamp/{parameters.name}", self._seen(parameters)
        part = int(seen.removeprefix("part-")) + 1 if seen.startswith("part-") else 1
        becomes = parameters.becomes if part >= parameters.steps else f"part-{part}"
        self.client("ssm").put_parameter(Name=lamp, Value=becomes, Type="String", Overwrite=True)
        type(self).watch("after")
        return {"lit": parameters.name}

    def activate_status_check(self, parameters: LampParameters) -> Status:
        """Look whether it shines."""
        seen = self._seen(parameters)
        if seen == "broken":
            return Status.failed("Broken", f"{parameters.name} is broken")
        if seen == "on":
            return Status.done("it shines")
        if seen.startswith("part-"):
            return Status.next_step(f"{seen} of {parameters.steps}")
        return Status.in_progress("it warms up", 50) if seen == "warming" else Status.not_started("it is dark")

    def before(self, parameters: LampParameters) -> Mapping[str, object]:
        """How it was."""
        return {"was": self._seen(parameters)}

    def lag_seconds(self, parameters: LampParameters) -> float | None:
        """How much light would be lost."""
        self.measured.append(self.run.resource_id)
        if isinstance(self.loss, ModuleError):
            raise self.loss
        return self.loss

    def _seen(self, parameters: LampParameters) -> str:
        try:
            found = self.client("ssm").get_parameter(Name=f"/lamp/{parameters.name}")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ParameterNotFound":
                raise
            return "off"
        return str(found["Parameter"]["Value"])


def make(value: str, name: str = "hall") -> None:
    """The lamp shines like this from now on."""
    boto3.client("ssm").put_parameter(Name=f"/lamp/{name}", Value=value, Type="String", Overwrite=True)


def shown(name: str = "hall") -> str | None:
    """How the lamp shines; None if nobody has touched it."""
    found: Any = boto3.client("ssm").get_parameters(Names=[f"/lamp/{name}"])["Parameters"]
    return str(found[0]["Value"]) if found else None
