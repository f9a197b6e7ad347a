"""AutoScaling: scale Auto Scaling groups up ahead of a failover, and to zero in the Region left behind.

CLEANUP writes a group's sizes into its tag `dr-orchestrator:former-size` ("min,desired,max") before it scales to zero; INSTANTIATE
without DesiredCount takes them from there. INSTANTIATE sets minimum, desired and maximum in one call, raises the maximum where it is
below the desired size, and never lowers the desired size: a group that has already scaled out further may be serving.

Example manifest resource:

    {
      "action": "AutoScaling",
      "resourceName": "worker-tier",
      "parameters": {
        "Autoscalinggroupnames": ["worker-asg"],
        "DesiredCount": 3
      }
    }
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from dr_core.errors import ErrorClass
from dr_core.phases import Phase
from dr_modules.base import Count, DRModule, ModuleParameters, Names, Permissions, Status, register

FORMER_SIZE = "dr-orchestrator:former-size"


class AutoScalingParameters(ModuleParameters):
    """Groups of a manifest resource, all scaled to the same sizes."""

    groups: Names = Field(alias="Autoscalinggroupnames", min_length=1)
    desired: Count | None = Field(alias="DesiredCount", default=None)
    min_size: Count | None = Field(alias="MinSize", default=None)
    max_size: Count | None = Field(alias="MaxSize", default=None)

    @model_validator(mode="after")
    def _sizes_in_order(self) -> Self:
        sizes = [size for size in (self.min_size, self.desired, self.max_size) if size is not None]
        if sizes != sorted(sizes):
            raise ValueError("sizes must be MinSize <= DesiredCount <= MaxSize")
        return self


@dataclass(frozen=True)
class Sizes:
    """What a group is asked to be."""

    min: int
    desired: int
    max: int


@dataclass(frozen=True)
class Group:
    """What is read of a group. `serving` is the capacity that is InService and Healthy; `status` is set while it is being deleted."""

    name: str
    sizes: Sizes
    former: Sizes | None
    instances: int
    serving: int
    suspended: frozenset[str]
    status: str

    @property
    def counts(self) -> str:
        """For people."""
        return f"{self.name}: {self.serving} of {self.sizes.desired} in service and healthy, {self.instances} instances"


@register("AutoScaling")
class AutoScaling(DRModule[AutoScalingParameters]):
    """EC2 Auto Scaling groups."""

    _scale = ("autoscaling:DescribeAutoScalingGroups", "autoscaling:UpdateAutoScalingGroup")
    permissions: ClassVar[Permissions] = {Phase.INSTANTIATE: _scale, Phase.CLEANUP: (*_scale, "autoscaling:CreateOrUpdateTags")}
    native_events = (
        ("aws.autoscaling", "EC2 Instance Launch Successful"),
        ("aws.autoscaling", "EC2 Instance Launch Unsuccessful"),
        ("aws.autoscaling", "EC2 Instance Terminate Successful"),
    )

    def before(self, parameters: AutoScalingParameters) -> Mapping[str, object]:
        """The sizes of each group."""
        return {group.name: asdict(group.sizes) for group in self._groups(parameters)}

    def guard(self, parameters: AutoScalingParameters) -> None:
        """Refuse groups that cannot change: being deleted, or with the process suspended that would do it."""
        process = "Launch" if self.run.phase is Phase.INSTANTIATE else "Terminate"
        for group in self._groups(parameters):
            if group.status:
                raise self.error("GroupIsDeleted", f"group {group.name}: {group.status}; deploy it again, then retry")
            if process in group.suspended:
                message = f"group {group.name} has its process {process} suspended: resume it, then retry"
                raise self.error("ProcessSuspended", message, ErrorClass.RETRYABLE)

    def instantiate(self, parameters: AutoScalingParameters) -> None:
        """Set the sizes of each group that does not have them."""
        self.guard(parameters)
        for group in self._groups(parameters):
            wanted = self._wanted(parameters, group)
            if wanted != group.sizes:
                self._update(group.name, wanted)

    def instantiate_status_check(self, parameters: AutoScalingParameters) -> Status:
        """Done when each group has the sizes and that capacity is InService and Healthy."""
        return Status.combined([self._prewarmed(parameters, group) for group in self._groups(parameters)])

    def cleanup(self, parameters: AutoScalingParameters) -> None:
        """Keep the sizes in the group's tag, then scale it to zero."""
        self.guard(parameters)
        for group in self._groups(parameters):
            sizes = group.sizes
            if sizes.min == 0 and sizes.desired == 0:
                continue
            if group.former != sizes:
                self._keep(group.name, f"{sizes.min},{sizes.desired},{sizes.max}")
            self._update(group.name, Sizes(0, 0, sizes.max))

    def cleanup_status_check(self, parameters: AutoScalingParameters) -> Status:
        """Done when each group asks for nothing and has no instances left."""
        return Status.combined([_emptied(group) for group in self._groups(parameters)])

    @cached_property
    def _client(self) -> Any:
        return self.client("autoscaling")

    def _groups(self, parameters: AutoScalingParameters) -> list[Group]:
        pages = self._client.get_paginator("describe_auto_scaling_groups").paginate(AutoScalingGroupNames=list(parameters.groups))
        found = {group["AutoScalingGroupName"]: _group(group) for page in pages for group in page["AutoScalingGroups"]}
        missing = [name for name in parameters.groups if name not in found]
        if missing:
            message = f"there is no Auto Scaling group {', '.join(missing)} in {self.target.region}"
            raise self.error("AutoScalingGroupNotFound", f"{message}: correct Autoscalinggroupnames, or deploy it there with size 0")
        return [found[name] for name in parameters.groups]

    def _wanted(self, parameters: AutoScalingParameters, group: Group) -> Sizes:
        """The sizes that the manifest names, else the former ones, else the present ones; the desired size is never lowered."""
        asked = parameters.desired if parameters.desired is not None else group.former.desired if group.former else None
        if asked is None:
            message = f"group {group.name} has no tag {FORMER_SIZE}, which a CLEANUP leaves"
            raise self.error("UnknownSize", f"{message}: give DesiredCount in the manifest")
        former_min = min(group.former.min, asked) if group.former else 0
        least = parameters.min_size if parameters.min_size is not None else max(group.sizes.min, former_min)
        desired = max(asked, least, group.sizes.desired)
        most = parameters.max_size if parameters.max_size is not None else group.sizes.max
        return Sizes(least, desired, max(most, desired))

    def _prewarmed(self, parameters: AutoScalingParameters, group: Group) -> Status:
        if group.sizes != self._wanted(parameters, group):
            return Status.not_started(group.counts)
        if group.serving >= group.sizes.desired:
            return Status.done(group.counts)
        return Status.in_progress(group.counts, 100 * group.serving // group.sizes.desired)

    def _update(self, name: str, sizes: Sizes) -> None:
        self._client.update_auto_scaling_group(
            AutoScalingGroupName=name, MinSize=sizes.min, DesiredCapacity=sizes.desired, MaxSize=sizes.max
        )

    def _keep(self, name: str, value: str) -> None:
        tag = {"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": FORMER_SIZE, "Value": value, "PropagateAtLaunch": False}
        self._client.create_or_update_tags(Tags=[tag])


def _emptied(group: Group) -> Status:
    if group.sizes.min > 0 or group.sizes.desired > 0:
        return Status.not_started(group.counts)
    if group.instances == 0:
        return Status.done(f"{group.name}: no instances")
    return Status.in_progress(f"{group.name}: {group.instances} instances left")


def _group(found: Mapping[str, Any]) -> Group:
    instances = found.get("Instances", [])
    former = next((tag["Value"] for tag in found.get("Tags", []) if tag["Key"] == FORMER_SIZE), None)
    serving = [i for i in instances if i["LifecycleState"] == "InService" and i["HealthStatus"].upper() == "HEALTHY"]
    return Group(
        name=found["AutoScalingGroupName"],
        sizes=Sizes(found["MinSize"], found["DesiredCapacity"], found["MaxSize"]),
        former=_sizes(former) if former else None,
        instances=len(instances),
        # A group of weighted instance types counts capacity, not instances.
        serving=sum(int(instance.get("WeightedCapacity") or 1) for instance in serving),
        suspended=frozenset(process["ProcessName"] for process in found.get("SuspendedProcesses", [])),
        status=found.get("Status") or "",
    )


def _sizes(text: str) -> Sizes | None:
    """The sizes in a tag's value, or None if a person has made it something else."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        return None
    return Sizes(*(int(part) for part in parts))
