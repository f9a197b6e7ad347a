"""EC2: start instances in the Region that takes over, and stop them in the Region left behind.

Instances are found by their tag `Orchestrator:HostName`. Each name must be on exactly one instance that is not terminated: with none, or
with two, nothing is started or stopped at all. INSTANTIATE and ACTIVATE start what is stopped, all in one call; where EC2 has no capacity
for one of them, the others are started all the same and the resource is tried again. An instance counts when it is running and both of its
status checks are ok. An impaired check keeps it waiting, since EC2 may still recover the instance, until the time-out. One that stops again
after its start has failed, with EC2's own reason (`Client.InternalError` mostly means that a key of its volumes may not be used).

CLEANUP stops instances; it does not hibernate or terminate any. EC2 cannot tell which Region serves. So an instance is stopped only while
an instance with the same name runs in the other Region, which a CLEANUP asks in every mode; `"Force": true` stops it regardless. In a
drill CLEANUP is refused. Instances of an Auto Scaling group do not belong here: their group replaces those that are stopped.

Example manifest resource:

    {
      "action": "EC2",
      "resourceName": "application-servers",
      "parameters": {
        "Orchestrator_HostNames": ["web-server-1", "app-server-1", "db-server-1"]
      }
    }
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import Field

from dr_core.errors import ErrorClass
from dr_core.phases import Phase
from dr_modules._listed import Item, Listed, asked, in_batches
from dr_modules.base import DRModule, Flag, Handle, ModuleParameters, Names, NativeEvent, Permissions, PreflightFinding, Status, register

HOST_NAME = "Orchestrator:HostName"
# "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", in vCPUs. Other families have quotas of their own.
VCPU_QUOTA = "L-1216C47A"

_GROUP = "aws:autoscaling:groupName"
_GONE = frozenset({"shutting-down", "terminated"})
_STANDARD_FAMILY = re.compile(r"(a|c|d|h|i|im|is|m|r|t|z)\d")
_NO_CAPACITY = "InsufficientInstanceCapacity"
# Reasons for a stop that say nothing about the instance.
_ORDERLY = frozenset({"Client.UserInitiatedShutdown", "Client.UserInitiatedHibernate", "Client.InstanceInitiatedShutdown"})
_MOST_TYPES = 100  # that EC2 takes in one DescribeInstanceTypes


class Ec2Parameters(ModuleParameters):
    """Instances of a manifest resource."""

    names: Names = Field(
        alias="Orchestrator_HostNames",
        min_length=1,
        description=f"values of the tag {HOST_NAME}; each must be on exactly one instance that is not terminated",
    )
    force: Flag = Field(
        alias="Force", default=False, description="CLEANUP: stop instances also while none of that name runs in the other Region"
    )


@dataclass(frozen=True)
class Instance:
    """What is read of an instance. `reason` is the code and `why` the text of its last change of state, both may be empty."""

    id: str
    name: str
    state: str
    reason: str
    why: str
    type: str
    spot: bool
    group: str

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.name} ({self.id}) is {self.state}" + (f": {self.why}" if self.why else "")


@register("EC2")
class Ec2(DRModule[Ec2Parameters]):
    """Instances of EC2, by host name."""

    _start_actions = (
        "ec2:DescribeInstances",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypes",
        "servicequotas:GetServiceQuota",
        "ec2:StartInstances",
    )
    drills = frozenset({Phase.INSTANTIATE, Phase.ACTIVATE})
    permissions: ClassVar[Permissions] = {
        Phase.INSTANTIATE: _start_actions,
        Phase.ACTIVATE: _start_actions,
        Phase.CLEANUP: ("ec2:DescribeInstances", "ec2:StopInstances"),
    }
    # An instance whose volumes are encrypted with a key of your own starts with the caller's right to that key.
    implied_permissions: ClassVar[Permissions] = dict.fromkeys((Phase.INSTANTIATE, Phase.ACTIVATE), ("kms:CreateGrant", "kms:DescribeKey"))
    native_events = (NativeEvent("aws.ec2", "EC2 Instance State-change Notification", {"state": ["running", "stopped", "terminated"]}),)
    named_in_events = ("id",)  # the instance's, in `before`: the manifest knows it by its tag
    terminal_codes = frozenset(
        {
            "IncorrectSpotRequestState",
            "InstanceLimitExceeded",
            "OperationNotPermitted",
            "UnsupportedHibernationConfiguration",
            "UnsupportedOperation",
            "VcpuLimitExceeded",
        }
    )

    def before(self, parameters: Ec2Parameters) -> Mapping[str, object]:
        """The state of each instance."""
        return {one.name: {"id": one.id, "state": one.state} for one in self._instances(parameters)}

    def guard(self, parameters: Ec2Parameters) -> None:
        """Refuse to stop what no instance of the same name in the other Region stands in for."""
        if self.run.phase is not Phase.CLEANUP:
            return
        serving = [one.name for one in self._instances(parameters) if one.state not in ("stopping", "stopped")]
        if not parameters.force:
            self._refuse_alone(serving)

    def _refuse_alone(self, serving: list[str]) -> None:
        """Refuse to stop instances of these names while none of the same name runs in the other Region."""
        found = _tagged(self.peer_client("ec2"), serving) if serving else []
        alone = [name for name in serving if not any(one.name == name and one.state == "running" for one in found)]
        if alone:
            message = f"no instance called {', '.join(alone)} runs in {self.target.peer_region}, so this may be the side that serves"
            raise self.error("LiveSide", f'{message}: start it there with ACTIVATE, or set "Force": true to stop it here regardless')

    def preflight(self, parameters: Ec2Parameters) -> Iterable[PreflightFinding]:
        """Auto Scaling groups that would interfere; for a start also Spot capacity and the vCPUs that the account may run."""
        instances = self._instances(parameters)
        for one in instances:
            if one.group:
                message = f"{one.name} ({one.id}) belongs to Auto Scaling group {one.group}, which replaces stopped instances"
                yield self.warning("AutoScalingInstance", f"{message}: use the module AutoScaling for it")
        if self.run.phase is Phase.CLEANUP:
            return
        for one in instances:
            if one.spot:
                message = f"{one.name} ({one.id}) is a Spot instance, which EC2 may not be able to start"
                yield self.warning("SpotInstance", f"{message}: use an On-Demand instance for what must run")
        yield from self._room([one for one in instances if one.state == "stopped"])

    def act(self, due: Mapping[int, Ec2Parameters]) -> None:
        """Start, or stop, the instances of all targets that are due, in one call."""
        for item in due.values():
            self.guard(item)
        from_states = ("running",) if self.run.phase is Phase.CLEANUP else ("stopped",)
        found = {position: [one for one in self._instances(item) if one.state in from_states] for position, item in due.items()}
        changed = {one.id: one for instances in found.values() for one in instances}
        refused = self._change(changed)
        for position, instances in found.items():
            self.position = position
            asked = {one.id: one.name for one in instances if one.id not in refused}
            self.keep(position, {**self.handle, **asked})
        if refused:
            names = ", ".join(f"{changed[one].name} ({changed[one].type})" for one in refused)
            message = f"EC2 has no capacity for {names} in {self.target.region} now; all others were started"
            remedy = "the start is tried again; change the instance type, or reserve capacity, if that does not help"
            raise self.error(_NO_CAPACITY, f"{message}: {remedy}", ErrorClass.RETRYABLE)

    def instantiate(self, parameters: Ec2Parameters) -> Handle:
        """Start the instances that are stopped; the handle holds the ids of those that were asked to start."""
        self.act({self.position: parameters})
        return self.handle

    def instantiate_status_check(self, parameters: Ec2Parameters) -> Status:
        """Done when each instance is running and both of its status checks are ok."""
        return self._serving(parameters)

    def activate(self, parameters: Ec2Parameters) -> Handle:
        """Start the instances that are stopped; the handle holds the ids of those that were asked to start."""
        self.act({self.position: parameters})
        return self.handle

    def activate_status_check(self, parameters: Ec2Parameters) -> Status:
        """Done when each instance is running and both of its status checks are ok."""
        return self._serving(parameters)

    def cleanup(self, parameters: Ec2Parameters) -> Handle:
        """Stop the instances that run; the handle holds the ids of those that were asked to stop."""
        self.act({self.position: parameters})
        return self.handle

    def cleanup_status_check(self, parameters: Ec2Parameters) -> Status:
        """Done when each instance is stopped."""
        return Status.combined([self._stopped(one) for one in self._instances(parameters)])

    def undo(self, parameters: Ec2Parameters) -> None:
        """Stop the instances that were stopped before the drill."""
        started = [one for one in self._started_by_drill(parameters) if one.state == "running"]
        if not parameters.force:
            self._refuse_alone([one.name for one in started])
        if started:
            self._ec2.stop_instances(InstanceIds=[one.id for one in started])

    def undo_status_check(self, parameters: Ec2Parameters) -> Status:
        """Done when each of those is stopped."""
        states = {"running": Status.not_started, "stopped": Status.done}
        found = [states.get(one.state, Status.in_progress)(one.text) for one in self._started_by_drill(parameters)]
        return Status.combined(found)

    def _started_by_drill(self, parameters: Ec2Parameters) -> list[Instance]:
        before = self.before_drill
        was = {found["id"]: found["state"] for found in before.values()}
        return [one for one in self._instances(parameters) if was.get(one.id) in ("stopping", "stopped")]

    def _serving(self, parameters: Ec2Parameters) -> Status:
        instances = self._instances(parameters)
        checks = self._checks([one.id for one in instances if one.state == "running"])
        return Status.combined([self._started(one, checks.get(one.id, {})) for one in instances])

    def _started(self, one: Instance, checks: Mapping[str, str]) -> Status:
        if one.state == "stopped":
            return self._not_running(one)
        if one.state != "running":
            return Status.in_progress(one.text)
        if checks and all(said == "ok" for said in checks.values()):
            return Status.done(one.text)
        said = ", ".join(f"{check} {status}" for check, status in checks.items()) or "no status checks yet"
        return Status.in_progress(f"{one.text}, {said}")

    def _not_running(self, one: Instance) -> Status:
        """A stopped instance: due, if this execution has not yet asked for its start; else its start has come to nothing."""
        if one.id not in self.handle:
            return Status.next_step(one.text)
        if one.reason.startswith("Client.") and one.reason not in _ORDERLY:
            return Status.failed(one.reason, f"{one.text}; it was started and has stopped again")
        return Status.not_started(one.text)

    def _stopped(self, one: Instance) -> Status:
        if one.state == "stopped":
            return Status.done(one.text)
        if one.state != "running":
            return Status.in_progress(one.text)
        return Status.not_started(one.text) if one.id in self.handle else Status.next_step(one.text)

    @cached_property
    def _ec2(self) -> Any:
        return self.client("ec2")

    def _instances(self, parameters: Ec2Parameters) -> list[Instance]:
        """The instance of each name. Raises ModuleError for a name without one, or with two."""
        names = list(dict.fromkeys(parameters.names))
        found = [one for one in _tagged(self._ec2, names) if one.state not in _GONE]
        for name in names:
            ids = [one.id for one in found if one.name == name]
            if not ids:
                message = f"no instance in {self.target.region} has the tag {HOST_NAME} with the value {name}"
                raise self.error("InstanceNotFound", f"{message}: tag it, or correct Orchestrator_HostNames")
            if len(ids) > 1:
                message = f"instances {', '.join(ids)} in {self.target.region} all have the tag {HOST_NAME} with the value {name}"
                raise self.error("AmbiguousHostName", f"{message}: leave the tag on one of them")
        return found

    def _checks(self, ids: list[str]) -> dict[str, dict[str, str]]:
        """What the two status checks of each instance say."""
        return {
            found["InstanceId"]: {
                "instance status": found["InstanceStatus"]["Status"],
                "system status": found["SystemStatus"]["Status"],
            }
            for found in asked(self._ec2, _CHECKS, ids, IncludeAllInstances=True)
        }

    def _change(self, instances: Mapping[str, Instance]) -> list[str]:
        """Start or stop the instances; returns the ids of those for which EC2 has no capacity."""
        ids = list(instances)
        if not ids:
            return []
        if self.run.phase is Phase.CLEANUP:
            self._ec2.stop_instances(InstanceIds=ids)
            return []
        try:
            self._ec2.start_instances(InstanceIds=ids)
        except ClientError as error:
            if not _lacks_capacity(error):
                raise
            # None of them was started. One that cannot be must not keep the others down.
            return ids if len(ids) == 1 else [one for one in ids if not self._start_alone(one)]
        return []

    def _start_alone(self, instance_id: str) -> bool:
        once = Config(retries={"mode": "standard", "total_max_attempts": 1})  # many in a row must fit into one lease
        try:
            self.client("ec2", once).start_instances(InstanceIds=[instance_id])
        except ClientError as error:
            if not _lacks_capacity(error):
                raise
            return False
        return True

    def _room(self, to_start: list[Instance]) -> Iterator[PreflightFinding]:
        """Whether the account may run the vCPUs of these instances beside those that run already."""
        counting = [one.type for one in to_start if not one.spot and _STANDARD_FAMILY.match(one.type)]
        if not counting:
            return
        try:
            answer = self.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=VCPU_QUOTA)
        except ClientError as error:
            message = f"the vCPU quota {VCPU_QUOTA} of {self.target.region} cannot be read ({error})"
            yield self.warning("QuotaUnknown", f"{message}: check in Service Quotas that it suffices")
            return
        states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        running = [one for one in _described(self._ec2, states) if not one.spot and _STANDARD_FAMILY.match(one.type)]
        vcpus = self._vcpus({*counting, *(one.type for one in running)})
        used, asked = sum(vcpus[one.type] for one in running), sum(vcpus[kind] for kind in counting)
        quota = answer["Quota"]["Value"]
        if used + asked > quota:
            message = (
                f"{used} vCPUs run in {self.target.region} and {asked} are to be started, more than the quota {VCPU_QUOTA} of {quota:g}"
            )
            yield self.obstacle("VcpuLimitExceeded", f"{message}: ask for more in Service Quotas, or stop other instances")

    def _vcpus(self, types: set[str]) -> dict[str, int]:
        """The vCPUs of each type, which is what the quota counts."""
        pages = self._ec2.get_paginator("describe_instance_types")
        return {
            found["InstanceType"]: found["VCpuInfo"]["DefaultVCpus"]
            for some in in_batches(sorted(types), _MOST_TYPES)
            for page in pages.paginate(InstanceTypes=some)
            for found in page["InstanceTypes"]
        }


def _reserved(page: Item) -> Iterator[Item]:
    return (found for reservation in page["Reservations"] for found in reservation["Instances"])


def _tags(found: Item) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}


# The most values of a filter, and ids of DescribeInstanceStatus, that EC2 takes in one request. A filter takes `*` and `?` for any text, so
# names are compared once more. DescribeInstanceStatus answers an error for all ids if one is not known.
_INSTANCES = Listed(
    "describe_instances",
    items=_reserved,
    asks=lambda names: {"Filters": [{"Name": f"tag:{HOST_NAME}", "Values": names}]},
    is_of=lambda item, name: _tags(item).get(HOST_NAME) == name,
    most=200,
)
_CHECKS = Listed(
    "describe_instance_status",
    items=lambda page: page["InstanceStatuses"],
    asks=lambda ids: {"InstanceIds": ids},
    is_of=lambda item, name: item["InstanceId"] == name,
    most=100,
)


def _lacks_capacity(error: ClientError) -> bool:
    return bool(error.response["Error"]["Code"] == _NO_CAPACITY)


def _tagged(client: Any, names: list[str]) -> list[Instance]:
    """All instances with one of the host names."""
    return [_instance(found) for found in asked(client, _INSTANCES, names)]


def _described(client: Any, filters: list[dict[str, Any]]) -> Iterator[Instance]:
    for page in client.get_paginator("describe_instances").paginate(Filters=filters):
        yield from (_instance(found) for found in _reserved(page))


def _instance(found: Mapping[str, Any]) -> Instance:
    tags = _tags(found)
    reason = found.get("StateReason") or {}
    return Instance(
        id=found["InstanceId"],
        name=tags.get(HOST_NAME, ""),
        state=found["State"]["Name"],
        reason=reason.get("Code", ""),
        why=reason.get("Message", ""),
        type=found.get("InstanceType", ""),
        spot=found.get("InstanceLifecycle") == "spot",
        group=tags.get(_GROUP, ""),
    )
