"""ECS: services whose tasks take time to start and stop, and scalable targets that bound their number."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.models import ApplicationAutoscalingBackend, FakeScalableTarget
from moto.core.base_backend import BaseBackend
from moto.core.responses import BaseResponse
from moto.core.utils import utcnow
from moto.ecs.exceptions import ECSException
from moto.ecs.models import EC2ContainerServiceBackend, Service, ecs_backends
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.moto_api._internal import mock_random

from localcloud.extension.agenda import agenda_of, replace, settle_before_actions

START_TASK_SECONDS: Final = 20.0
STOP_TASK_SECONDS: Final = 10.0
# A service starts and stops its tasks in waves, so that its counts are seen moving.
WAVES: Final = 2
WAVE_SECONDS: Final = 5.0

_create_service: Final = EC2ContainerServiceBackend.create_service
_register_scalable_target: Final = ApplicationAutoscalingBackend.register_scalable_target
_ECS_DIMENSION: Final = "ecs:service:DesiredCount"


def install() -> None:
    """Extend moto's ECS and Application Auto Scaling in this process."""
    settle_before_actions(EC2ContainerServiceResponse, _backends)
    replace(
        EC2ContainerServiceBackend,
        create_service=create_service,
        update_service=update_service,
        delete_service=delete_service,
    )
    replace(ApplicationAutoscalingBackend, register_scalable_target=register_scalable_target)


def _backends(response: BaseResponse) -> Iterable[BaseBackend]:
    return [ecs_backends[response.current_account][response.region]]


def create_service(backend: EC2ContainerServiceBackend, cluster_str: str, service_name: str, *arguments: Any, **options: Any) -> Service:
    """CreateService: tasks start over time; a name is taken while its service is active."""
    cluster = backend._get_cluster(cluster_str)
    existing = backend.services.get(f"{cluster.name}:{service_name}")
    if existing is not None and existing.status != "INACTIVE":
        raise ECSException("InvalidParameterException", "Creation of service was not idempotent.")
    service = _create_service(backend, cluster_str, service_name, *arguments, **options)
    _scale(backend, service)
    return service


def update_service(backend: EC2ContainerServiceBackend, service_properties: dict[str, Any]) -> Service:
    """UpdateService: the tasks follow over time; a new task definition, or force, makes a new deployment."""
    service = _active_service(backend, service_properties.pop("cluster", "default"), service_properties.pop("service"))
    task_definition: str | None = service_properties.pop("task_definition", None)
    forced = bool(service_properties.pop("force_new_deployment", False))
    if task_definition is not None:
        arn = backend.describe_task_definition(task_definition).arn
        forced = forced or arn != service.task_definition
        service.task_definition = arn
    for name, value in service_properties.items():
        if value is not None:
            setattr(service, name, value)
    if forced:
        _begin_deployment(service)
    _scale(backend, service)
    return service


def delete_service(backend: EC2ContainerServiceBackend, cluster_name: str, service_name: str, force: bool) -> Service:
    """DeleteService: refused above zero unless forced; DRAINING until its tasks have stopped, then INACTIVE."""
    service = _active_service(backend, cluster_name, service_name)
    if service.desired_count > 0 and not force:
        raise ECSException("InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
    service.status = "DRAINING"
    service.desired_count = 0
    _scale(backend, service)
    return service


def _active_service(backend: EC2ContainerServiceBackend, cluster_name: str, name_or_arn: str) -> Service:
    cluster = backend._get_cluster(cluster_name)
    service = backend.services.get(f"{cluster.name}:{name_or_arn.rpartition('/')[2]}")
    if service is None:
        raise ECSException("ServiceNotFoundException", "Service not found.")
    if service.status != "ACTIVE":
        raise ECSException("ServiceNotActiveException", "Service was not ACTIVE.")
    return service


def _begin_deployment(service: Service) -> None:
    """Put a new PRIMARY deployment before the one that it replaces."""
    identifier = f"ecs-svc/{mock_random.randint(0, 32**12)}"
    now = utcnow()
    replaced = service.deployments[:1]
    primary = {
        **(replaced[0] if replaced else {}),
        "id": identifier,
        "status": "PRIMARY",
        "taskDefinition": service.task_definition,
        "createdAt": now,
        "updatedAt": now,
        "desiredCount": service.desired_count,
        "pendingCount": service.desired_count,
        "runningCount": 0,
        "failedTasks": 0,
        "rolloutState": "IN_PROGRESS",
        "rolloutStateReason": f"ECS deployment {identifier} in progress.",
    }
    service.deployments = [primary, *({**deployment, "status": "ACTIVE"} for deployment in replaced)]


def _scale(backend: EC2ContainerServiceBackend, service: Service) -> None:
    """Move the running tasks towards the desired count, from now on.

    What an earlier call set going is overtaken: its steps see that the goal is another one.
    """
    goal = object()
    service.__dict__["_localcloud_goal"] = goal
    start, desired = service.running_count, service.desired_count
    _count(backend, service, running=start)
    agenda = agenda_of(backend)
    first = START_TASK_SECONDS if desired > start else STOP_TASK_SECONDS
    rolling = any(deployment["rolloutState"] == "IN_PROGRESS" for deployment in service.deployments)
    waves = WAVES if abs(desired - start) > 1 else 1
    if desired == start and not rolling:
        waves, first = 1, 0.0
    for wave in range(1, waves + 1):
        running = start + round((desired - start) * wave / waves)
        seconds = first + (wave - 1) * WAVE_SECONDS
        agenda.after(seconds, partial(_step, backend, service, goal, running=running))


def _step(backend: EC2ContainerServiceBackend, service: Service, goal: object, *, running: int) -> None:
    if service.__dict__["_localcloud_goal"] is not goal:
        return
    _count(backend, service, running=running)
    if running == service.desired_count:
        _complete_deployment(service)
        if service.status == "DRAINING":
            service.status = "INACTIVE"


def _count(backend: EC2ContainerServiceBackend, service: Service, *, running: int) -> None:
    """Set the counts of a service, of its primary deployment and of its cluster."""
    pending = max(service.desired_count - running, 0)
    cluster = backend._get_cluster(service.cluster_name)
    backend.update_cluster_resources(cluster, running - service.running_count, task_state="RUNNING")
    backend.update_cluster_resources(cluster, pending - service.pending_count, task_state="PENDING")
    service.running_count, service.pending_count = running, pending
    for deployment in service.deployments:
        if deployment["status"] != "PRIMARY":
            continue
        deployment["desiredCount"] = service.desired_count
        if len(service.deployments) == 1:
            deployment["runningCount"], deployment["pendingCount"] = running, pending


def _complete_deployment(service: Service) -> None:
    primary = next((deployment for deployment in service.deployments if deployment["status"] == "PRIMARY"), None)
    if primary is None:
        return
    if primary["rolloutState"] != "COMPLETED":
        primary["rolloutState"] = "COMPLETED"
        primary["rolloutStateReason"] = f"ECS deployment {primary['id']} completed."
        primary["updatedAt"] = utcnow()
    primary["runningCount"], primary["pendingCount"] = service.running_count, service.pending_count
    service.deployments = [primary]


# Application Auto Scaling


def register_scalable_target(
    backend: ApplicationAutoscalingBackend,
    namespace: str,
    r_id: str,
    dimension: str,
    min_capacity: int | None,
    max_capacity: int | None,
    role_arn: str,
    suspended_state: Any,
) -> FakeScalableTarget:
    """RegisterScalableTarget: both bounds for a new target, and the service brought within them."""
    known = backend.targets.get(dimension, {}).get(r_id)
    lowest, highest = min_capacity, max_capacity
    if known is not None:
        lowest = known.min_capacity if lowest is None else lowest
        highest = known.max_capacity if highest is None else highest
    if lowest is None or highest is None:
        raise AWSValidationException("MinCapacity and MaxCapacity are required for a new scalable target.")
    if lowest > highest:
        raise AWSValidationException(f"Maximum capacity ({highest}) cannot be less than minimum ({lowest}).")
    target = _register_scalable_target(backend, namespace, r_id, dimension, min_capacity, max_capacity, role_arn, suspended_state)
    if dimension == _ECS_DIMENSION and not _suspended(suspended_state):
        _bring_within(backend.ecs_backend, r_id, lowest, highest)
    return target


def _suspended(suspended_state: Mapping[str, bool] | None) -> bool:
    return bool(suspended_state) and any((suspended_state or {}).values())


def _bring_within(backend: EC2ContainerServiceBackend, resource_id: str, lowest: int, highest: int) -> None:
    named = re.fullmatch(r"service/(?P<cluster>[^/]+)/(?P<service>[^/]+)", resource_id)
    if named is None:
        return
    service = _active_service(backend, named["cluster"], named["service"])
    desired = min(max(service.desired_count, lowest), highest)
    if desired != service.desired_count:
        service.desired_count = desired
        _scale(backend, service)
