"""From a stored resource to its module in its account and Region: what executors and preflight share."""

import json
from collections.abc import Sequence
from typing import Any

from dr_core.errors import ModuleError
from dr_core.records import Execution, Resource
from dr_core.target import Purpose, Run, Target, TargetAccess
from dr_modules.base import DRModule, modules


def module_of(resource: Resource) -> type[DRModule[Any]]:
    """The resource's module. Raises ModuleError where this version has none of that name."""
    kind = modules().get(resource.module)
    if kind is None:
        raise ModuleError("UnknownModule", f"{resource.name}: this version has no module {resource.module}; it has {', '.join(modules())}")
    return kind


def check_cap(resource: Resource) -> float:
    """The longest time between two checks, in seconds."""
    kind = modules().get(resource.module)
    return float(kind.check_cap_seconds) if kind else 15.0


def open_target(access: TargetAccess, execution: Execution, resource: Resource, actions: Sequence[str]) -> Target:
    """The resource's account and Region, with the right to `actions` alone. Raises ModuleError when its role cannot be assumed."""
    purpose = Purpose(execution.id, execution.application, execution.phase)
    return access.open(resource.account, execution.target_region, execution.source_region, purpose, actions)


def module_in(target: Target, kind: type[DRModule[Any]], execution: Execution, resource: Resource) -> DRModule[Any]:
    """The module, at work for one attempt of the resource."""
    undoes = tuple(json.loads(resource.undoes)) if resource.undoes else None
    run = Run(execution.id, execution.application, execution.phase, execution.mode, resource.id, resource.name, resource.attempt, undoes)
    return kind(target, run, json.loads(resource.handles) if resource.handles else [])


def lag_problem(lag: float | None, resource: Resource, module: DRModule[Any]) -> ModuleError | None:
    """What is wrong with a lag that a planned failover must not accept; None if it may."""
    if lag is None or lag <= resource.max_lag_seconds:
        return None
    remedy = "wait until the standby has caught up, raise maxLagSeconds, or request the phase unplanned, which accepts the loss"
    return module.error("ReplicationLagTooHigh", f"{lag:.0f} s of data not yet replicated, {resource.max_lag_seconds} s allowed: {remedy}")
