"""ECS: scale services up ahead of a failover, and to zero in the Region left behind.

INSTANTIATE first sets the limits of the service's scalable target (where one exists or EcsAsgMinSize is given), so that nothing scales
the service back, then raises its desired count to EcsDesiredSize. It never lowers the count: a service that has already scaled out
further may be serving. CLEANUP sets the scalable target's minimum to 0, keeps its maximum, and then the desired count to 0.

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

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from dr_core.phases import Phase
from dr_modules.base import Count, DRModule, ModuleParameters, Permissions, Status, Text, register


class EcsParameters(ModuleParameters):
    """One service of a manifest resource; cluster and service by name or ARN."""

    cluster: Text = Field(alias="EcsClusterName")
    service: Text = Field(alias="EcsServiceName")
    desired_size: Count | None = Field(alias="EcsDesiredSize", default=None)
    min_size: Count | None = Field(alias="EcsAsgMinSize", default=None)
    max_size: Count | None = Field(alias="EcsAsgMaxSize", default=None)

    @model_validator(mode="after")
    def _sizes_in_order(self) -> Self:
        sizes = [size for size in (self.min_size, self.desired_size, self.max_size) if size is not None]
        if sizes != sorted(sizes):
            raise ValueError("sizes must be EcsAsgMinSize <= EcsDesiredSize <= EcsAsgMaxSize, else auto scaling undoes the desired size")
        return self

    @property
    def scalable_target(self) -> dict[str, str]:
        """How application auto scaling calls the service."""
        names = f"service/{self.cluster.split('/')[-1]}/{self.service.split('/')[-1]}"
        return {"ServiceNamespace": "ecs", "ResourceId": names, "ScalableDimension": "ecs:service:DesiredCount"}


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
    permissions: ClassVar[Permissions] = {Phase.INSTANTIATE: _actions, Phase.CLEANUP: _actions}
    native_events = (("aws.ecs", "ECS Service Action"), ("aws.ecs", "ECS Deployment State Change"))

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

    def instantiate(self, parameters: EcsParameters) -> None:
        """Set the limits, then the desired count."""
        service, limits = self._live_service(parameters), self._limits(parameters)
        wanted = self._wanted_limits(parameters, limits)
        if wanted != limits and wanted is not None:
            self._register(parameters, wanted)
        if service.desired < self._size(parameters):
            self._scale(parameters, self._size(parameters))

    def instantiate_status_check(self, parameters: EcsParameters) -> Status:
        """Done when the count and limits are as asked, that many tasks run, and one deployment, COMPLETED, is left."""
        service, limits, size = self._live_service(parameters), self._limits(parameters), self._size(parameters)
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

    @cached_property
    def _ecs(self) -> Any:
        return self.client("ecs")

    @cached_property
    def _scaling(self) -> Any:
        return self.client("application-autoscaling")

    def _service(self, parameters: EcsParameters) -> Service:
        answer = self._ecs.describe_services(cluster=parameters.cluster, services=[parameters.service])
        if not answer["services"]:
            message = f"there is no service {parameters.service} in cluster {parameters.cluster} in {self.target.region}"
            raise self.error("ServiceNotFoundException", f"{message}: correct EcsServiceName, or deploy it there with desired count 0")
        found = answer["services"][0]
        # A service under CodeDeploy or another controller has task sets in place of deployments.
        parts = sorted(found.get("deployments") or found.get("taskSets") or [], key=lambda part: part["status"] != "PRIMARY")
        return Service(
            name=found["serviceName"],
            status=found["status"],
            desired=found["desiredCount"],
            running=found["runningCount"],
            pending=found["pendingCount"],
            daemon=found.get("schedulingStrategy") == "DAEMON",
            rollouts=tuple(_rollout(part) for part in parts),
            reason=parts[0].get("rolloutStateReason", "") if parts else "",
        )

    def _live_service(self, parameters: EcsParameters) -> Service:
        service = self._service(parameters)
        if service.status != "ACTIVE":
            raise self.error("ServiceNotActiveException", f"service {service.name} is {service.status}: deploy it again, then retry")
        if service.daemon:
            raise self.error("DaemonService", f"service {service.name} is a DAEMON and has no desired count: take it out of the manifest")
        return service

    def _limits(self, parameters: EcsParameters) -> Limits | None:
        target = parameters.scalable_target
        found = self._scaling.describe_scalable_targets(
            ServiceNamespace=target["ServiceNamespace"],
            ResourceIds=[target["ResourceId"]],
            ScalableDimension=target["ScalableDimension"],
        )["ScalableTargets"]
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


def _rollout(part: Mapping[str, Any]) -> str:
    """A deployment's or task set's state. ECS gives none behind a Classic Load Balancer: there, running tasks must do."""
    if "stabilityStatus" in part:
        return "COMPLETED" if part["stabilityStatus"] == "STEADY_STATE" else str(part["stabilityStatus"])
    state = part.get("rolloutState")
    if state is None:
        return "COMPLETED" if part.get("runningCount", 0) >= part.get("desiredCount", 0) else "IN_PROGRESS"
    return str(state)
