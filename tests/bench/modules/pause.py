"""Pause: nothing but time. The module that the benchmark adds to the product, to measure the orchestrator and not the orchestrated.

Example manifest resource:

    {"action": "Pause", "resourceName": "pause-1", "AccountId": "222222222222", "parameters": {"Name": "pause-1", "Seconds": 2}}
"""

import time
from typing import ClassVar

from pydantic import Field

from dr_core.phases import Phase
from dr_modules.base import DRModule, Handle, ModuleParameters, Permissions, Status, Text, register


class PauseParameters(ModuleParameters):
    """How long it takes."""

    name: Text = Field(alias="Name", description="two of a layer need different ones, as two targets")
    seconds: float = Field(alias="Seconds", ge=0, description="seconds from the act to the goal")


@register("Pause")
class Pause(DRModule[PauseParameters]):
    """Done `seconds` after its act."""

    permissions: ClassVar[Permissions] = {Phase.INSTANTIATE: ("sts:GetCallerIdentity",)}
    check_cap_seconds = 1
    timeout_seconds = 600

    def instantiate(self, parameters: PauseParameters) -> Handle:
        """Begin."""
        del parameters
        return {"startedAt": str(time.time())}

    def instantiate_status_check(self, parameters: PauseParameters) -> Status:
        """Whether the time is over."""
        if "startedAt" not in self.handle:
            return Status.not_started()
        passed = time.time() - float(self.handle["startedAt"])
        return Status.done() if passed >= parameters.seconds else Status.in_progress(f"{passed:.1f} s are over")
