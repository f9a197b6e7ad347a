"""AutoScaling: scale Auto Scaling groups up ahead of a failover, and to zero in the Region left behind.

CLEANUP writes a group's sizes into its tag `dr-orchestrator:former-size` ("min,desired,max") before it scales to zero; INSTANTIATE
without DesiredCount takes them from there. INSTANTIATE sets minimum, desired and maximum in one call, raises the maximum where it is
below the desired size, and never lowers the desired size: a group that has already scaled out further may be serving.

After a drill, CLEANUP gives each group the minimum and maximum that it had, and lowers the desired size to what it was.

CLEANUP refuses (`LiveSide`) to scale down a group while the other Region has no group of the same name with a desired size above 0 and
an instance that is InService and Healthy. Where the names differ between the Regions, or the group shall run in neither,
`"Force": true` says so.

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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from botocore.exceptions import ClientError
from pydantic import Field, model_validator

from dr_core.errors import ErrorClass
from dr_core.phases import Phase
from dr_modules._listed import Listed, asked
from dr_modules.base import Count, DRModule, Flag, ModuleParameters, Names, NativeEvent, Permissions, PreflightFinding, Status, register

FORMER_SIZE = "dr-orchestrator:former-size"

# The limit: "DescribeAutoScalingGroups" in the API reference, without MaxRecords.
_GROUPS = Listed(
    "describe_auto_scaling_groups",
    items=lambda page: page["AutoScalingGroups"],
    asks=lambda names: {"AutoScalingGroupNames": names},
    is_of=lambda item, name: item["AutoScalingGroupName"] == name,
    most=50,
)


class AutoScalingParameters(ModuleParameters):
    """Groups of a manifest resource, all scaled to the same sizes."""

    groups: Names = Field(alias="Autoscalinggroupnames", min_length=1, description="one group or several, by name")
    desired: Count | None = Field(
        alias="DesiredCount", default=None, description="desired size for INSTANTIATE; without it the one before the last CLEANUP"
    )
    min_size: Count | None = Field(
        alias="MinSize", default=None, description="minimum for INSTANTIATE; without it the present or former one"
    )
    max_size: Count | None = Field(
        alias="MaxSize", default=None, description="maximum for INSTANTIATE; without it the present one, if it suffices"
    )
    force: Flag = Field(
        alias="Force", default=False, description="true: CLEANUP scales to 0 although the other Region does not run the group"
    )

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
    """What is read of a group. `serving` is the capacity that is InService and Healthy; `status` is set while it is being deleted.

    `templates` are what it launches: (id, version) of launch templates. `configuration` is the name of a launch configuration.
    """

    name: str
    sizes: Sizes
    former: Sizes | None
    instances: int
    protected: int
    serving: int
    suspended: frozenset[str]
    status: str
    templates: tuple[tuple[str, str], ...]
    configuration: str
    subnets: tuple[str, ...]

    @property
    def serves(self) -> bool:
        """Whether instances serve, and are asked to go on."""
        return not self.status and self.sizes.desired > 0 and self.serving > 0

    @property
    def counts(self) -> str:
        """For people."""
        return f"{self.name}: {self.serving} of {self.sizes.desired} in service and healthy, {self.instances} instances"


@register("AutoScaling")
class AutoScaling(DRModule[AutoScalingParameters]):
    """EC2 Auto Scaling groups."""

    _scale = ("autoscaling:DescribeAutoScalingGroups", "autoscaling:UpdateAutoScalingGroup")
    drills = frozenset({Phase.INSTANTIATE})
    permissions: ClassVar[Permissions] = {
        Phase.INSTANTIATE: (
            *_scale,
            "autoscaling:DescribeLaunchConfigurations",
            "ec2:DescribeLaunchTemplateVersions",
            "ec2:DescribeSubnets",
        ),
        Phase.CLEANUP: (*_scale, "autoscaling:CreateOrUpdateTags"),
    }
    native_events = (
        NativeEvent("aws.autoscaling", "EC2 Instance Launch Successful"),
        NativeEvent("aws.autoscaling", "EC2 Instance Launch Unsuccessful"),
        NativeEvent("aws.autoscaling", "EC2 Instance Terminate Successful"),
        NativeEvent("aws.autoscaling", "EC2 Instance Terminate Unsuccessful"),
    )
    named_in_events = ("Autoscalinggroupnames",)

    def before(self, parameters: AutoScalingParameters) -> Mapping[str, object]:
        """The sizes of each group."""
        return {group.name: asdict(group.sizes) for group in self._groups(parameters)}

    def guard(self, parameters: AutoScalingParameters) -> None:
        """Refuse groups that cannot change (being deleted, or with the process suspended that would do it), and to empty the live side."""
        process = "Launch" if self.run.phase is Phase.INSTANTIATE else "Terminate"
        groups = self._groups(parameters)
        for group in groups:
            if group.status:
                raise self.error("GroupIsDeleted", f"group {group.name}: {group.status}; deploy it again, then retry")
            if process in group.suspended:
                message = f"group {group.name} has its process {process} suspended: resume it, then retry"
                raise self.error("ProcessSuspended", message, ErrorClass.RETRYABLE)
        if self.run.phase is Phase.CLEANUP and not parameters.force:
            self._refuse_live_side([group for group in groups if group.instances > 0 or group.sizes.desired > 0])

    def _refuse_live_side(self, groups: Sequence[Group]) -> None:
        """Refuse to empty groups that do not run in the other Region."""
        if not groups:
            return
        others = _find(self.peer_client("autoscaling"), [group.name for group in groups])
        for group in groups:
            other = others.get(group.name)
            if other is None or not other.serves:
                seen = other.counts if other else f"there is no group {group.name}"
                message = f"group {group.name} runs in {self.target.region}, and not in {self.target.peer_region} ({seen})"
                remedy = (
                    'correct the Regions of the request, run INSTANTIATE for the other one, or set "Force": true to empty it all the same'
                )
                raise self.error("LiveSide", f"{message}: it may be the live side; {remedy}")

    def preflight(self, parameters: AutoScalingParameters) -> Iterator[PreflightFinding]:
        """What keeps a group from launching (its template, its subnets) or, in CLEANUP, from terminating."""
        for group in self._groups(parameters):
            if self.run.phase is Phase.CLEANUP:
                if group.protected:
                    message = f"group {group.name} has {group.protected} instances protected from scale-in, which would stay"
                    yield self.obstacle("ScaleInProtection", f"{message}: remove the protection")
                continue
            wanted = self._wanted(parameters, group)
            if wanted.max > group.sizes.max:
                message = f"the maximum of group {group.name} is {group.sizes.max}"
                yield self.warning("MaximumRaised", f"{message}: INSTANTIATE raises it to {wanted.max}")
            yield from self._template_findings(group)
            yield from self._subnet_findings(group, wanted.desired - group.instances)

    def _template_findings(self, group: Group) -> Iterator[PreflightFinding]:
        """Launch templates, in the version that the group uses, and launch configurations that are gone."""
        ec2 = self.client("ec2")
        for template, version in group.templates:
            try:
                ec2.describe_launch_template_versions(LaunchTemplateId=template, Versions=[version])
            except ClientError as error:
                if not error.response["Error"]["Code"].startswith("InvalidLaunchTemplate"):
                    raise
                message = f"group {group.name} launches from version {version} of launch template {template}, which is not there"
                yield self.obstacle("LaunchTemplateNotFound", f"{message}: give the group one that exists")
        if group.configuration:
            names = [group.configuration]
            if not self._client.describe_launch_configurations(LaunchConfigurationNames=names)["LaunchConfigurations"]:
                message = f"group {group.name} launches from launch configuration {group.configuration}, which is not there"
                yield self.obstacle("LaunchConfigurationNotFound", f"{message}: give the group a launch template")

    def _subnet_findings(self, group: Group, launches: int) -> Iterator[PreflightFinding]:
        """Subnets that are gone, or have not enough addresses for so many launches."""
        if not group.subnets:
            return  # a group of the default subnets
        # By filter: asked for by id, EC2 answers an error for all if one is gone.
        filters = [{"Name": "subnet-id", "Values": list(group.subnets)}]
        found = {one["SubnetId"]: one["AvailableIpAddressCount"] for one in self.client("ec2").describe_subnets(Filters=filters)["Subnets"]}
        gone = [subnet for subnet in group.subnets if subnet not in found]
        if gone:
            message = f"group {group.name} launches into {', '.join(gone)}, which is not in {self.target.region}"
            yield self.obstacle("SubnetNotFound", f"{message}: give the group subnets that exist")
        elif launches > sum(found.values()):
            message = f"the subnets of group {group.name} have {sum(found.values())} free addresses for {launches} more instances"
            yield self.obstacle("InsufficientFreeAddresses", f"{message}: give the group larger subnets")

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

    def undo(self, parameters: AutoScalingParameters) -> None:
        """Set the former sizes of each group that the drill made larger."""
        self.guard(parameters)
        for group in self._groups(parameters):
            former = self._former_sizes(group)
            if group.sizes != former:
                self._update(group.name, former)

    def undo_status_check(self, parameters: AutoScalingParameters) -> Status:
        """Done when each group has the former sizes and no more instances than that."""
        return Status.combined([self._shrunk(group) for group in self._groups(parameters)])

    def _former_sizes(self, group: Group) -> Sizes:
        """What the group had before the drill; a desired size that has been lowered since stays as it is."""
        before = self.before_drill.get(group.name)
        if before is None:
            return group.sizes
        former = Sizes(**before)
        return Sizes(former.min, max(former.min, min(former.desired, group.sizes.desired)), former.max)

    def _shrunk(self, group: Group) -> Status:
        if group.sizes != self._former_sizes(group):
            return Status.not_started(f"{group.counts}; {self._former_sizes(group).desired} were asked for before the drill")
        return Status.done(group.counts) if group.instances <= group.sizes.desired else Status.in_progress(group.counts)

    @cached_property
    def _client(self) -> Any:
        return self.client("autoscaling")

    def _groups(self, parameters: AutoScalingParameters) -> list[Group]:
        found = _find(self._client, parameters.groups)
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


def _find(autoscaling: Any, names: Sequence[str]) -> dict[str, Group]:
    """The groups that a Region has, by name."""
    return {group["AutoScalingGroupName"]: _group(group) for group in asked(autoscaling, _GROUPS, names)}


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
        protected=sum(bool(instance.get("ProtectedFromScaleIn")) for instance in instances),
        # A group of weighted instance types counts capacity, not instances.
        serving=sum(int(instance.get("WeightedCapacity") or 1) for instance in serving),
        suspended=frozenset(process["ProcessName"] for process in found.get("SuspendedProcesses", [])),
        status=found.get("Status") or "",
        templates=tuple((one["LaunchTemplateId"], one.get("Version") or "$Default") for one in _templates(found)),
        configuration=found.get("LaunchConfigurationName") or "",
        subnets=tuple(subnet.strip() for subnet in (found.get("VPCZoneIdentifier") or "").split(",") if subnet.strip()),
    )


def _templates(found: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    """Every launch template of a group: its own, or those of its mixed instances policy."""
    if found.get("LaunchTemplate"):
        yield found["LaunchTemplate"]
    policy = (found.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    if policy.get("LaunchTemplateSpecification"):
        yield policy["LaunchTemplateSpecification"]
    for override in policy.get("Overrides") or []:
        if override.get("LaunchTemplateSpecification"):
            yield override["LaunchTemplateSpecification"]


def _sizes(text: str) -> Sizes | None:
    """The sizes in a tag's value, or None if a person has made it something else."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        return None
    return Sizes(*(int(part) for part in parts))
