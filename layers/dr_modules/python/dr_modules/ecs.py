"""ECS: scale services up ahead of a failover, and to zero in the Region left behind.

INSTANTIATE first sets the limits of the service's scalable target (where one exists or EcsAsgMinSize is given), so that nothing scales
the service back, then raises its desired count to EcsDesiredSize. It never lowers the count: a service that has already scaled out
further may be serving. CLEANUP sets the scalable target's minimum to 0, keeps its maximum, and then the desired count to 0.

After a drill, CLEANUP gives the scalable target the limits that it had, or removes the one that INSTANTIATE has registered, and lowers
the desired count to what it was.

CLEANUP refuses (`LiveSide`) to scale down what runs here while the other Region does not run a service of the same name in a cluster of
the same name: ACTIVE, with a desired count above 0 and a task running. Where the names differ between the Regions, or the service shall
run in neither, `"Force": true` says so.

Example manifest resource:

    {
      "action": "ECS",
      "resourceName": "application-services",
      "parameters": [
        {
          "EcsClusterName": "prod-cluster",
          "EcsServiceName": "api-service",
          "EcsDesiredSize": 4,
          "EcsAsgMinSize": 2
        },
        {
          "EcsClusterName": "prod-cluster",
          "EcsServiceName": "worker-service",
          "EcsDesiredSize": 2,
          "EcsAsgMinSize": 1
        }
      ]
    }
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from dr_core.phases import Phase
from dr_modules._listed import Listed, asked
from dr_modules.base import Count, DRModule, Flag, ModuleParameters, NativeEvent, Permissions, PreflightFinding, Status, Text, register

_FARGATE_VCPU = "L-3032A538"  # "Fargate On-Demand vCPU resource count": of all tasks of the account in a Region
_CPU_UNITS = 1024  # of a vCPU, in which a task definition counts
# Limits: "DescribeServices" and "DescribeScalableTargets" in the API references. Within a cluster a service's name says which one it is,
# also as the end of its ARN.
_SERVICES = Listed(
    "describe_services",
    items=lambda page: page["services"],
    asks=lambda names: {"services": names},
    is_of=lambda item, name: item["serviceName"] == name.split("/")[-1],
    most=10,
)
_SCALABLE_TARGETS = Listed(
    "describe_scalable_targets",
    items=lambda page: page["ScalableTargets"],
    asks=lambda names: {"ResourceIds": names},
    is_of=lambda item, name: item["ResourceId"] == name,
    most=50,
)


class EcsParameters(ModuleParameters):
    """One service of a manifest resource; cluster and service by name or ARN."""

    cluster: Text = Field(alias="EcsClusterName", description="the cluster, by name or ARN")
    service: Text = Field(alias="EcsServiceName", description="the service, by name or ARN")
    desired_size: Count | None = Field(
        alias="EcsDesiredSize", default=None, description="the tasks that shall run; needed for INSTANTIATE, CLEANUP always goes to 0"
    )
    min_size: Count | None = Field(
        alias="EcsAsgMinSize", default=None, description="minimum of the scalable target, which is registered if there is none"
    )
    max_size: Count | None = Field(
        alias="EcsAsgMaxSize", default=None, description="maximum of the scalable target; without it the present one, raised to the size"
    )
    force: Flag = Field(
        alias="Force", default=False, description="true: CLEANUP scales to 0 although the other Region does not run the service"
    )

    @model_validator(mode="after")
    def _sizes_in_order(self) -> Self:
        sizes = [size for size in (self.min_size, self.desired_size, self.max_size) if size is not None]
        if sizes != sorted(sizes):
            raise ValueError("sizes must be EcsAsgMinSize <= EcsDesiredSize <= EcsAsgMaxSize, else auto scaling undoes the desired size")
        return self

    @property
    def names(self) -> tuple[str, str]:
        """Cluster and service by name, as they are called in every Region."""
        return self.cluster.split("/")[-1], self.service.split("/")[-1]

    @property
    def scalable_target(self) -> dict[str, str]:
        """How application auto scaling calls the service."""
        return {
            "ServiceNamespace": "ecs",
            "ResourceId": "/".join(("service", *self.names)),
            "ScalableDimension": "ecs:service:DesiredCount",
        }


@dataclass(frozen=True)
class Service:
    """What is read of a service. `rollouts` are the states of its deployments (or task sets), the PRIMARY one's first."""

    name: str
    status: str
    desired: int
    running: int
    pending: int
    daemon: bool
    rollouts: tuple[str, ...]
    reason: str
    task_definition: str | None
    launches: frozenset[str]  # launch type or capacity providers

    @property
    def serves(self) -> bool:
        """Whether tasks run, and are asked to go on."""
        return self.status == "ACTIVE" and self.desired > 0 and self.running > 0

    @property
    def counts(self) -> str:
        """For people."""
        return f"{self.name}: {self.running} of {self.desired} running, {self.pending} pending"


@dataclass(frozen=True)
class Limits:
    """Least and most of a scalable target."""

    least: int
    most: int


@register("ECS")
class Ecs(DRModule[EcsParameters]):
    """Services of ECS, on Fargate or EC2."""

    _actions = (
        "ecs:DescribeServices",
        "ecs:UpdateService",
        "application-autoscaling:DescribeScalableTargets",
        "application-autoscaling:RegisterScalableTarget",
    )
    drills = frozenset({Phase.INSTANTIATE})
    permissions: ClassVar[Permissions] = {
        Phase.INSTANTIATE: (*_actions, "ecs:DescribeClusters", "ecs:DescribeTaskDefinition", "servicequotas:GetServiceQuota"),
        Phase.CLEANUP: (*_actions, "application-autoscaling:DeregisterScalableTarget"),
    }
    native_events = (
        NativeEvent("aws.ecs", "ECS Service Action", {"eventName": ["SERVICE_STEADY_STATE"]}),
        NativeEvent(
            "aws.ecs",
            "ECS Deployment State Change",
            {"eventName": ["SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"]},
        ),
    )
    named_in_events = ("EcsServiceName",)

    @classmethod
    def check_parameters(cls, phase: Phase, parameters: EcsParameters) -> list[tuple[str, str, str]]:
        """INSTANTIATE must know the size."""
        if phase is Phase.INSTANTIATE and parameters.desired_size is None:
            return [("EcsDesiredSize", "INSTANTIATE needs EcsDesiredSize", "give the number of tasks that shall run")]
        return []

    def before(self, parameters: EcsParameters) -> Mapping[str, object]:
        """The sizes."""
        limits = self._limits(parameters)
        sizes = {"desired": self._service(parameters).desired}
        return {**sizes, "min": limits.least, "max": limits.most} if limits else sizes

    def guard(self, parameters: EcsParameters) -> None:
        """Refuse a service that has no desired count to set, and in CLEANUP to scale down the live side."""
        service = self._scalable_service(parameters)
        if self.run.phase is not Phase.CLEANUP or parameters.force or service.desired + service.running + service.pending == 0:
            return
        other = self._peer_service(parameters)
        if other is None or not other.serves:
            seen = other.counts if other else f"there is no service {'/'.join(parameters.names)}"
            message = f"{service.name} runs in {self.target.region}, and not in {self.target.peer_region} ({seen}): it may be the live side"
            remedy = (
                'correct the Regions of the request, run INSTANTIATE for the other one, or set "Force": true to scale it to 0 all the same'
            )
            raise self.error("LiveSide", f"{message}; {remedy}")

    def preflight(self, parameters: EcsParameters) -> Iterator[PreflightFinding]:
        """Whether the cluster can run the tasks: task definition, container instances, Fargate's quota, the scalable target's maximum."""
        if self.run.phase is Phase.CLEANUP:
            return
        service, limits, size = self._scalable_service(parameters), self._limits(parameters), self._size(parameters)
        if limits is not None and limits.most < size:
            yield self.warning("MaximumRaised", f"the scalable target's maximum is {limits.most}: INSTANTIATE raises it to {size}")
        cluster = self._ecs.describe_clusters(clusters=[parameters.cluster])["clusters"][0]
        if cluster["status"] != "ACTIVE":
            yield self.obstacle("ClusterNotActive", f"cluster {cluster['clusterName']} is {cluster['status']}: deploy it again")
        if "EC2" in service.launches and cluster["registeredContainerInstancesCount"] == 0:
            message = f"cluster {cluster['clusterName']} has no container instances for {service.name}"
            yield self.obstacle("NoContainerInstances", f"{message}: scale up its Auto Scaling group in an earlier layer")
        if service.task_definition is not None:
            yield from self._task_findings(service, service.task_definition, size)

    def _task_findings(self, service: Service, task_definition: str, size: int) -> Iterator[PreflightFinding]:
        """Whether the task definition is there, and that many more of its tasks fit into Fargate's quota."""
        try:
            task = self._ecs.describe_task_definition(taskDefinition=task_definition)["taskDefinition"]
        except self._ecs.exceptions.ClientException:  # also what ECS answers for one that is not there
            message = f"{service.name} uses task definition {task_definition}, which cannot be read"
            yield self.obstacle("TaskDefinitionNotFound", f"{message}: deploy the service with one that exists")
            return
        if task["status"] != "ACTIVE":
            message = f"{service.name} uses task definition {task_definition}, which is {task['status']}: it still scales"
            yield self.warning("TaskDefinitionNotActive", f"{message}, but deploy it with an active one before that is deleted")
        if "FARGATE" in service.launches:
            needed = int(task.get("cpu") or 0) / _CPU_UNITS * (size - service.running)
            yield from self._quota_findings(service, needed)

    def _quota_findings(self, service: Service, needed: float) -> Iterator[PreflightFinding]:
        quotas = self.client("service-quotas")
        try:
            quota = quotas.get_service_quota(ServiceCode="fargate", QuotaCode=_FARGATE_VCPU)["Quota"]["Value"]
        except quotas.exceptions.NoSuchResourceException:
            message = f"Service Quotas does not tell Fargate's vCPU quota {_FARGATE_VCPU} in {self.target.region}"
            yield self.warning("QuotaUnknown", f"{message}: see in its console whether {needed:g} vCPU more fit in")
            return
        if needed > quota:
            message = f"{service.name} needs {needed:g} vCPU more, and Fargate's quota in {self.target.region} is {quota:g}"
            yield self.obstacle("QuotaTooLow", f"{message}: have quota {_FARGATE_VCPU} raised")

    def instantiate(self, parameters: EcsParameters) -> None:
        """Set the limits, then the desired count."""
        self.guard(parameters)
        service, limits = self._scalable_service(parameters), self._limits(parameters)
        wanted = self._wanted_limits(parameters, limits)
        if wanted != limits and wanted is not None:
            self._register(parameters, wanted)
        if service.desired < self._size(parameters):
            self._scale(parameters, self._size(parameters))

    def instantiate_status_check(self, parameters: EcsParameters) -> Status:
        """Done when the count and limits are as asked, that many tasks run, and one deployment, COMPLETED, is left."""
        service, limits, size = self._scalable_service(parameters), self._limits(parameters), self._size(parameters)
        if service.status != "ACTIVE":
            return Status.in_progress(f"service {service.name} is {service.status}")
        if "FAILED" in service.rollouts[:1]:
            return Status.failed(
                "DeploymentFailed", f"{service.name}: its deployment failed: {service.reason}; deploy it again, then retry"
            )
        if service.desired < size or self._wanted_limits(parameters, limits) != limits:
            return Status.not_started(f"{service.counts}, {size} asked for")
        if service.running >= size and service.rollouts == ("COMPLETED",):
            return Status.done(service.counts)
        detail = service.counts if service.running < size else f"{service.counts}, deployments {', '.join(service.rollouts)}"
        return Status.in_progress(detail, min(99, 100 * service.running // size) if size else None)

    def cleanup(self, parameters: EcsParameters) -> None:
        """Set the least to 0, so that nothing scales the service up again, then the desired count."""
        self.guard(parameters)
        limits = self._limits(parameters)
        if limits is not None and limits.least > 0:
            self._register(parameters, Limits(0, limits.most))
        if self._service(parameters).desired > 0:
            self._scale(parameters, 0)

    def cleanup_status_check(self, parameters: EcsParameters) -> Status:
        """Done when no task runs or is pending, none is asked for, and auto scaling asks for none."""
        service, limits = self._service(parameters), self._limits(parameters)
        if service.desired > 0 or (limits is not None and limits.least > 0):
            return Status.not_started(service.counts)
        if service.running == 0 and service.pending == 0:
            return Status.done(service.counts)
        return Status.in_progress(service.counts)

    def undo(self, parameters: EcsParameters) -> None:
        """Set the former limits, so that nothing scales the service up again, then lower the desired count to the former one."""
        self.guard(parameters)
        limits, former = self._limits(parameters), self._former_limits
        if limits is not None and former is None:
            self._scaling.deregister_scalable_target(**parameters.scalable_target)
        elif former is not None and former != limits:
            self._register(parameters, former)
        if self._service(parameters).desired > self.before_drill["desired"]:
            self._scale(parameters, self.before_drill["desired"])

    def undo_status_check(self, parameters: EcsParameters) -> Status:
        """Done when the limits are the former ones, and no more tasks run, are pending or asked for than were asked for before."""
        service, most = self._service(parameters), self.before_drill["desired"]
        if service.desired > most or self._limits(parameters) != self._former_limits:
            return Status.not_started(f"{service.counts}; {most} were asked for before the drill")
        if service.running + service.pending <= most:
            return Status.done(service.counts)
        return Status.in_progress(service.counts)

    @property
    def _former_limits(self) -> Limits | None:
        before = self.before_drill
        return Limits(before["min"], before["max"]) if "min" in before else None

    @cached_property
    def _ecs(self) -> Any:
        return self.client("ecs")

    @cached_property
    def _scaling(self) -> Any:
        return self.client("application-autoscaling")

    def _service(self, parameters: EcsParameters) -> Service:
        try:
            found = asked(self._ecs, _SERVICES, [parameters.service], cluster=parameters.cluster)
        except self._ecs.exceptions.ClusterNotFoundException as error:
            message = f"there is no cluster {parameters.cluster} in {self.target.region}: correct EcsClusterName, or deploy it there"
            raise self.error("ClusterNotFoundException", message) from error
        if not found:
            message = f"there is no service {parameters.service} in cluster {parameters.cluster} in {self.target.region}"
            raise self.error("ServiceNotFoundException", f"{message}: correct EcsServiceName, or deploy it there with desired count 0")
        return _read(found[0])

    def _peer_service(self, parameters: EcsParameters) -> Service | None:
        """The service of the same names in the other Region, if there is one."""
        peer, (cluster, name) = self.peer_client("ecs"), parameters.names
        try:
            found = asked(peer, _SERVICES, [name], cluster=cluster)
        except peer.exceptions.ClusterNotFoundException:
            return None
        return _read(found[0]) if found else None

    def _scalable_service(self, parameters: EcsParameters) -> Service:
        """The service. Raises ModuleError when its desired count cannot be set."""
        service = self._service(parameters)
        if service.daemon:
            raise self.error("DaemonService", f"service {service.name} is a DAEMON and has no desired count: take it out of the manifest")
        if self.run.phase is Phase.INSTANTIATE and service.status in ("DRAINING", "INACTIVE"):
            raise self.error("ServiceNotActiveException", f"service {service.name} is {service.status}: deploy it again, then retry")
        return service

    def _limits(self, parameters: EcsParameters) -> Limits | None:
        target = parameters.scalable_target
        kind = {key: target[key] for key in ("ServiceNamespace", "ScalableDimension")}
        found = asked(self._scaling, _SCALABLE_TARGETS, [target["ResourceId"]], **kind)
        return Limits(found[0]["MinCapacity"], found[0]["MaxCapacity"]) if found else None

    def _wanted_limits(self, parameters: EcsParameters, limits: Limits | None) -> Limits | None:
        """The limits that leave room for the size; those that the manifest does not name are kept where they do."""
        size = self._size(parameters)
        if limits is None and parameters.min_size is None:
            return None
        least = parameters.min_size if parameters.min_size is not None else limits.least if limits else 0
        most = parameters.max_size if parameters.max_size is not None else limits.most if limits else size
        return Limits(least, max(most, size, least))

    def _size(self, parameters: EcsParameters) -> int:
        if parameters.desired_size is None:
            raise self.error("InvalidParameters", "INSTANTIATE needs EcsDesiredSize")
        return parameters.desired_size

    def _register(self, parameters: EcsParameters, limits: Limits) -> None:
        self._scaling.register_scalable_target(**parameters.scalable_target, MinCapacity=limits.least, MaxCapacity=limits.most)

    def _scale(self, parameters: EcsParameters, size: int) -> None:
        self._ecs.update_service(cluster=parameters.cluster, service=parameters.service, desiredCount=size)


def _read(found: Mapping[str, Any]) -> Service:
    # A service under CodeDeploy or another controller has task sets in place of deployments.
    parts = sorted(found.get("deployments") or found.get("taskSets") or [], key=lambda part: part["status"] != "PRIMARY")
    providers = [item["capacityProvider"] for item in found.get("capacityProviderStrategy") or []]
    return Service(
        name=found["serviceName"],
        status=found["status"],
        desired=found["desiredCount"],
        running=found["runningCount"],
        pending=found["pendingCount"],
        daemon=found.get("schedulingStrategy") == "DAEMON",
        rollouts=tuple(_rollout(part) for part in parts),
        reason=parts[0].get("rolloutStateReason", "") if parts else "",
        task_definition=found.get("taskDefinition") or (parts[0].get("taskDefinition") if parts else None),
        launches=frozenset(providers or [found.get("launchType") or ""]),
    )


def _rollout(part: Mapping[str, Any]) -> str:
    """A deployment's or task set's state. ECS gives none behind a Classic Load Balancer: there, running tasks must do."""
    if "stabilityStatus" in part:
        return "COMPLETED" if part["stabilityStatus"] == "STEADY_STATE" else str(part["stabilityStatus"])
    state = part.get("rolloutState")
    if state is None:
        return "COMPLETED" if part.get("runningCount", 0) >= part.get("desiredCount", 0) else "IN_PROGRESS"
    return str(state)
