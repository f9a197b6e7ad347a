"""Announced: as Pause, but looked at rarely, since its service says when it is done. What the benchmark measures events with.

Example manifest resource:

    {"action": "Announced", "resourceName": "a-1", "AccountId": "222222222222", "parameters": {"Name": "a-1", "Seconds": 8}}
"""

import time
from typing import ClassVar

from pydantic import Field

from dr_core.phases import Phase
from dr_modules.base import DRModule, Handle, ModuleParameters, NativeEvent, Permissions, Status, Text, register


class AnnouncedParameters(ModuleParameters):
    """How long it takes."""

    name: Text = Field(alias="Name", description="how the service's events call it")
    seconds: float = Field(alias="Seconds", ge=0, description="seconds from the act to the goal")


@register("Announced")
class Announced(DRModule[AnnouncedParameters]):
    """Done `seconds` after its act; the event is one of ECS, so that the deployed rules let it through."""

    permissions: ClassVar[Permissions] = {Phase.INSTANTIATE: ("sts:GetCallerIdentity",)}
    native_events = (NativeEvent("aws.ecs", "ECS Service Action", {"eventName": ["SERVICE_STEADY_STATE"]}),)
    named_in_events = ("Name",)
    check_cap_seconds = 60
    timeout_seconds = 600

    def instantiate(self, parameters: AnnouncedParameters) -> Handle:
        """Begin."""
        del parameters
        return {"startedAt": str(time.time())}

    def instantiate_status_check(self, parameters: AnnouncedParameters) -> Status:
        """Whether the time is over."""
        if "startedAt" not in self.handle:
            return Status.not_started()
        passed = time.time() - float(self.handle["startedAt"])
        return Status.done() if passed >= parameters.seconds else Status.in_progress(f"{passed:.1f} s are over")
