"""A technology for tests of those who drive modules: lamps, each an SSM parameter of the target account that says how it shines.

`off` or no parameter: not started; `warming`: under way; `on`: done; `broken`: failed. Its act is a real call to AWS.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import boto3
from botocore.exceptions import ClientError
from pydantic import Field

from dr_core.phases import Phase
from dr_modules.base import Count, DRModule, Handle, ModuleParameters, Permissions, Status


class LampParameters(ModuleParameters):
    """One lamp. `becomes`: what it is once it has been lit; `password`: what lighting it needs."""

    name: str = Field(alias="Name", default="hall")
    becomes: str = Field(alias="Becomes", default="warming")
    password: str = Field(alias="Password", default="")
    watts: Count = Field(alias="Watts", default=1)


def _nothing(_moment: str) -> None:
    return None


class Lamp(DRModule[LampParameters]):
    """`watch`, set by a test, is told of each act: `before` its call and `after` it."""

    name = "Lamp"
    permissions: ClassVar[Permissions] = dict.fromkeys(Phase, ("ssm:GetParameter", "ssm:PutParameter"))
    watch: ClassVar[Callable[[str], None]] = staticmethod(_nothing)

    def activate(self, parameters: LampParameters) -> Handle | None:
        """Light it."""
        type(self).watch("before")
        lamp = f"/lamp/{parameters.name}"
        self.client("ssm").put_parameter(Name=lamp, Value=parameters.becomes, Type="String", Overwrite=True)
        type(self).watch("after")
        return {"lit": parameters.name}

    def activate_status_check(self, parameters: LampParameters) -> Status:
        """Look whether it shines."""
        seen = self._seen(parameters)
        if seen == "broken":
            return Status.failed("Broken", f"{parameters.name} is broken")
        if seen == "on":
            return Status.done("it shines")
        return Status.in_progress("it warms up", 50) if seen == "warming" else Status.not_started("it is dark")

    def before(self, parameters: LampParameters) -> Mapping[str, object]:
        """How it was."""
        return {"was": self._seen(parameters)}

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
