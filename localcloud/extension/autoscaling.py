"""EC2 Auto Scaling: instances that take time to come into service and to go, and sizes that are held to."""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from moto.autoscaling.exceptions import AutoscalingClientError
from moto.autoscaling.models import AutoScalingBackend, FakeAutoScalingGroup, InstanceState, autoscaling_backends
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.base_backend import BaseBackend
from moto.core.responses import ActionResult, BaseResponse, EmptyResult

from localcloud.extension.agenda import agenda_of, replace, settle_before_actions

LAUNCH_SECONDS: Final = 40.0
TERMINATE_SECONDS: Final = 30.0

_PRESENT: Final = frozenset({"Pending", "InService"})

_create_group: Final = AutoScalingBackend.create_auto_scaling_group
_update_group: Final = AutoScalingBackend.update_auto_scaling_group
_set_capacity: Final = AutoScalingBackend.set_desired_capacity


def install() -> None:
    """Extend moto's Auto Scaling in this process."""
    settle_before_actions(AutoScalingResponse, _backends)
    replace(FakeAutoScalingGroup, set_desired_capacity=set_group_capacity, status=None)
    replace(
        AutoScalingBackend,
        create_auto_scaling_group=create_auto_scaling_group,
        update_auto_scaling_group=update_auto_scaling_group,
        set_desired_capacity=set_desired_capacity,
    )
    replace(AutoScalingResponse, delete_auto_scaling_group=delete_auto_scaling_group)


def _backends(response: BaseResponse) -> Iterable[BaseBackend]:
    return [autoscaling_backends[response.current_account][response.region]]


def create_auto_scaling_group(
    backend: AutoScalingBackend,
    name: str,
    availability_zones: list[str],
    desired_capacity: int | str | None,
    max_size: int | str | None,
    min_size: int | str | None,
    **options: Any,
) -> FakeAutoScalingGroup:
    """CreateAutoScalingGroup: the desired capacity, else the minimum, within the bounds."""
    if name in backend.autoscaling_groups:
        raise AutoscalingClientError("AlreadyExists", f"AutoScalingGroup by this name already exists: {name}")
    lowest, highest = int(min_size or 0), int(max_size or 0)
    _check_sizes(lowest, highest, lowest if desired_capacity is None else int(desired_capacity))
    return _create_group(
        backend,
        name=name,
        availability_zones=availability_zones,
        desired_capacity=desired_capacity,
        max_size=max_size,
        min_size=min_size,
        **options,
    )


def update_auto_scaling_group(
    backend: AutoScalingBackend,
    name: str,
    desired_capacity: int | None,
    max_size: int | None,
    min_size: int | None,
    **options: Any,
) -> FakeAutoScalingGroup:
    """UpdateAutoScalingGroup: sizes that fit together; without a desired capacity, the present one within the bounds."""
    group = _group(backend, name)
    lowest = int(group.min_size or 0) if min_size is None else min_size
    highest = int(group.max_size or 0) if max_size is None else max_size
    present = int(group.desired_capacity or 0)
    desired = min(max(present, lowest), highest) if desired_capacity is None else desired_capacity
    _check_sizes(lowest, highest, desired)
    return _update_group(
        backend,
        name=name,
        desired_capacity=desired if desired_capacity is not None or desired != present else None,
        max_size=highest,
        min_size=lowest,
        **options,
    )


def set_desired_capacity(backend: AutoScalingBackend, group_name: str, desired_capacity: int | None) -> None:
    """SetDesiredCapacity: within the group's bounds."""
    group = _group(backend, group_name)
    desired, lowest, highest = int(desired_capacity or 0), int(group.min_size or 0), int(group.max_size or 0)
    value = f"New SetDesiredCapacity value {desired}"
    if desired > highest:
        raise AutoscalingClientError("ValidationError", f"{value} is above max value {highest} for the AutoScalingGroup.")
    if desired < lowest:
        raise AutoscalingClientError("ValidationError", f"{value} is below min value {lowest} for the AutoScalingGroup.")
    _set_capacity(backend, group_name, desired)


def delete_auto_scaling_group(response: AutoScalingResponse) -> ActionResult:
    """DeleteAutoScalingGroup: with instances only by force, and then gone when they are."""
    backend = response.autoscaling_backend
    group = _group(backend, response._get_param("AutoScalingGroupName"))
    if not group.instance_states:
        del backend.autoscaling_groups[group.name]
        return EmptyResult()
    if not response._get_bool_param("ForceDelete", False):
        raise AutoscalingClientError(
            "ResourceInUse",
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.",
        )
    group.status = "Delete in progress"  # type: ignore[attr-defined] # given by install()
    group.min_size = 0
    group.set_desired_capacity(0)
    agenda_of(backend).after(TERMINATE_SECONDS, partial(_forget_group, backend, group))
    return EmptyResult()


def _group(backend: AutoScalingBackend, name: str) -> FakeAutoScalingGroup:
    group: FakeAutoScalingGroup | None = backend.autoscaling_groups.get(name)
    if group is None:
        raise AutoscalingClientError("ValidationError", "AutoScalingGroup name not found - null")
    return group


def _check_sizes(lowest: int, highest: int, desired: int) -> None:
    if lowest > highest:
        raise AutoscalingClientError("ValidationError", f"Max bound, {highest}, must be greater than or equal to min bound, {lowest}")
    if not lowest <= desired <= highest:
        raise AutoscalingClientError(
            "ValidationError",
            f"Desired capacity:{desired} must be between the specified min size:{lowest} and max size:{highest}",
        )


def set_group_capacity(group: FakeAutoScalingGroup, new_capacity: int | None) -> None:
    """Launch or terminate so many instances that the group has the capacity in the end."""
    group.desired_capacity = group.min_size if new_capacity is None else new_capacity
    present = [state for state in group.instance_states if state.lifecycle_state in _PRESENT]
    missing = int(group.desired_capacity or 0) - len(present)
    if missing > 0:
        _launch(group, missing)
    elif missing < 0:
        removable = [state for state in present if not state.protected_from_scale_in]
        for state in removable[:-missing]:
            _begin_termination(group, state)
    if group.name in group.autoscaling_backend.autoscaling_groups:
        group.autoscaling_backend.update_attached_elbs(group.name)
        group.autoscaling_backend.update_attached_target_groups(group.name)


def _launch(group: FakeAutoScalingGroup, count: int) -> None:
    known = {state.instance_id for state in group.instance_states}
    group.replace_autoscaling_group_instances(count, group.get_propagated_tags())
    for state in group.instance_states:
        if state.instance_id not in known:
            state.lifecycle_state = "Pending"
            agenda_of(group.autoscaling_backend).after(LAUNCH_SECONDS, partial(_come_into_service, state))


def _come_into_service(state: InstanceState) -> None:
    if state.lifecycle_state == "Pending":
        state.lifecycle_state = "InService"


def _begin_termination(group: FakeAutoScalingGroup, state: InstanceState) -> None:
    state.lifecycle_state = "Terminating"
    agenda_of(group.autoscaling_backend).after(TERMINATE_SECONDS, partial(_terminate, group, state))


def _terminate(group: FakeAutoScalingGroup, state: InstanceState) -> None:
    if state in group.instance_states:
        group.instance_states.remove(state)
        group.ec2_backend.terminate_instances([state.instance_id])


def _forget_group(backend: AutoScalingBackend, group: FakeAutoScalingGroup) -> None:
    if backend.autoscaling_groups.get(group.name) is group:
        del backend.autoscaling_groups[group.name]
