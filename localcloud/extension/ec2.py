"""EC2: instances that take time to start, to pass their status checks and to stop, and starts and stops that AWS refuses.

Only what StartInstances, StopInstances and RunInstances do takes time here; what another service launches or terminates keeps that
service's own times. `refuse_starts`, `fail_starts` and `impair` have an instance misbehave, as its hardware or its image would.
"""

import copy
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from moto.core.base_backend import BaseBackend
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance, InstanceBackend, InstanceState, StateReason
from moto.ec2.responses import EC2Response

from localcloud.extension.agenda import agenda_of, replace, settle_before_actions

START_SECONDS: Final = 15.0  # from pending to running
CHECKS_SECONDS: Final = 60.0  # from running to both status checks ok
STOP_SECONDS: Final = 30.0

_RUNNING, _PENDING, _STOPPING, _STOPPED = (16, "running"), (0, "pending"), (64, "stopping"), (80, "stopped")
_GONE: Final = frozenset({"shutting-down", "terminated"})
_BOOT, _REFUSED, _ENDS, _IMPAIRED = "_localcloud_boot", "_localcloud_refused", "_localcloud_ends", "_localcloud_impaired"

_run: Final = EC2Response.run_instances
_start: Final = InstanceBackend.start_instances
_stop: Final = InstanceBackend.stop_instances


def install() -> None:
    """Extend moto's EC2 in this process."""
    settle_before_actions(EC2Response, _backends)
    replace(EC2Response, run_instances=run_instances)
    replace(InstanceBackend, start_instances=start_instances, stop_instances=stop_instances)
    replace(Instance, start=start, stop=stop, instance_status=property(_check), system_status=property(_check))


def _backends(response: BaseResponse) -> Iterable[BaseBackend]:
    return [ec2_backends[response.current_account][response.region]]


# How to have an instance misbehave.


def refuse_starts(account: str, region: str, instance_id: str, code: str | None = "InsufficientInstanceCapacity") -> None:
    """Have EC2 refuse to start an instance with an error code; None lets it start again."""
    _instance(account, region, instance_id).__dict__[_REFUSED] = code


def fail_starts(account: str, region: str, instance_id: str, code: str | None = "Client.InternalError") -> None:
    """Have an instance that is pending stop again, with `code` as the reason of its state; None lets it run."""
    _instance(account, region, instance_id).__dict__[_ENDS] = code


def impair(account: str, region: str, instance_id: str, *, impaired: bool = True) -> None:
    """Have both status checks of an instance fail while it runs."""
    _instance(account, region, instance_id).__dict__[_IMPAIRED] = utcnow() if impaired else None


def _instance(account: str, region: str, instance_id: str) -> Instance:
    return ec2_backends[account][region].get_instance(instance_id)


# Operations


def run_instances(response: EC2Response) -> ActionResult:
    """RunInstances: the instances are pending for a while."""
    result = _run(response)
    for instance in result.result.instances:  # type: ignore[attr-defined] # moto's reservation
        _boot(instance)
    return result


def start_instances(backend: InstanceBackend, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
    """StartInstances: all or none."""
    for instance in backend.get_multi_instances_by_id(instance_ids):
        if instance.state in _GONE or instance.state == "stopping":
            message = f"The instance '{instance.id}' is not in a state from which it can be started."
            raise EC2ClientError("IncorrectInstanceState", message)
        code = instance.__dict__.get(_REFUSED)
        if code is not None and instance.state == "stopped":
            raise EC2ClientError(code, f"EC2 cannot start {instance.instance_type} in {instance.availability_zone} now ({instance.id}).")
    return _start(backend, instance_ids)


def stop_instances(backend: InstanceBackend, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
    """StopInstances: all or none."""
    for instance in backend.get_multi_instances_by_id(instance_ids):
        if instance.state in _GONE or instance.state == "pending":
            message = f"The instance '{instance.id}' is not in a state from which it can be stopped."
            raise EC2ClientError("IncorrectInstanceState", message)
    return _stop(backend, instance_ids)


def start(instance: Instance) -> InstanceState:
    """Begin to start a stopped instance; nothing happens to one that is running or on its way. Returns the former state."""
    former: InstanceState = copy.copy(instance._state)
    if instance.state == "stopped":
        for nic in instance.nics.values():
            nic.start()
        _boot(instance)
    return former


def stop(instance: Instance) -> InstanceState:
    """Begin to stop a running instance; nothing happens to one that is stopped or on its way. Returns the former state."""
    former: InstanceState = copy.copy(instance._state)
    if instance.state == "running":
        for nic in instance.nics.values():
            nic.stop()
        _become(instance, _STOPPING)
        instance._reason = f"User initiated ({utcnow():%Y-%m-%d %H:%M:%S} GMT)"
        code = "Client.UserInitiatedShutdown"
        instance.state_reason = StateReason(f"{code}: User initiated shutdown", code)
        agenda_of(instance.ec2_backend).after(STOP_SECONDS, partial(_become_stopped, instance))
    return former


# What happens by itself


def _boot(instance: Instance) -> None:
    instance._reason = ""
    instance.state_reason = StateReason()
    _become(instance, _PENDING)
    boot = instance.__dict__[_BOOT] = object()  # changes meant for an earlier start are recognised by it
    agenda = agenda_of(instance.ec2_backend)
    agenda.after(START_SECONDS, partial(_become_running, instance))
    agenda.after(START_SECONDS + CHECKS_SECONDS, partial(_pass_checks, instance, boot))


def _become_running(instance: Instance) -> None:
    if instance.state != "pending":
        return
    code = instance.__dict__.get(_ENDS)
    if code is None:
        _become(instance, _RUNNING)
        return
    instance.state_reason = StateReason(f"{code}: the instance could not be started", code)
    _become(instance, _STOPPED)


def _pass_checks(instance: Instance, boot: object) -> None:
    if instance.__dict__.get(_BOOT) is boot:
        instance.__dict__[_BOOT] = None


def _become_stopped(instance: Instance) -> None:
    if instance.state == "stopping":
        _become(instance, _STOPPED)


def _become(instance: Instance, state: tuple[int, str]) -> None:
    instance._state.code, instance._state.name = state


def _check(instance: Instance) -> Mapping[str, Any]:
    """What each of the two status checks says."""
    if instance.state != "running":
        return {"Status": "not-applicable"}
    since = instance.__dict__.get(_IMPAIRED)
    if since is not None:
        return {"Status": "impaired", "Details": [{"Name": "reachability", "Status": "failed", "ImpairedSince": since}]}
    if instance.__dict__.get(_BOOT) is not None:
        return {"Status": "initializing", "Details": [{"Name": "reachability", "Status": "initializing"}]}
    return {"Status": "ok", "Details": [{"Name": "reachability", "Status": "passed"}]}
