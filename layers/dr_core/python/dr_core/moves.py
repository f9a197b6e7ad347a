"""The building blocks of a move: what each change expects is what makes it safe."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dr_core.records import (
    Approval,
    Change,
    DetailType,
    Event,
    Execution,
    ExecutionStatus,
    Failure,
    Kind,
    Layer,
    Move,
    Resource,
    ResourceStatus,
    State,
)

# A wake-up that has not led to anything by then was lost: the sweep sends it again.
LOST_AFTER = timedelta(seconds=45)
# A transaction takes at most 100 actions: each resource is one, its event another, beside the execution's own.
RESOURCES_PER_MOVE = 45
# The attempts under each fence of an execution are numbered from here on: what a lost Region did is never done under the same number.
ATTEMPTS_PER_FENCE = 100
# Nobody acts on them, and nothing of them is under way.
NOT_BEGUN = frozenset({ResourceStatus.PENDING, ResourceStatus.REQUESTED, ResourceStatus.RETRY_WAIT})


def on_execution(execution: Execution, **values: object) -> Change:
    """A change of the execution, if nobody moved it since it was read; a condition when there are no values."""
    expected = {"status": execution.status, "fence": execution.fence, "current_layer": execution.current_layer}
    return Change(Kind.EXECUTION, "", expected, values)


def on_layer(layer: Layer, **values: object) -> Change:
    """A change of a layer within the epoch that was read, if none of its resources was requested since."""
    return Change(Kind.LAYER, str(layer.number), {"status": layer.status, "epoch": layer.epoch, "round": layer.round}, values)


def on_resource(resource: Resource, **values: object) -> Change:
    """A change of a resource, if attempt, check and lease are those that were read."""
    expected = {
        "status": resource.status,
        "attempt": resource.attempt,
        "check_no": resource.check_no,
        "lease_owner": resource.lease_owner,
    }
    return Change(Kind.RESOURCE, resource.id, expected, values)


def on_approval(approval: Approval, **values: object) -> Change:
    """A change of the approval, bound to the manifest that it is for."""
    key = str(approval.layer) if approval.layer else ""
    return Change(Kind.APPROVAL, key, {"status": approval.status, "manifest_sha256": approval.manifest_sha256}, values)


def if_still(change: Change, **expected: object) -> Change:
    """The change, on condition that these attributes, too, are as they were read."""
    return replace(change, expected={**change.expected, **expected})


def released(execution: Execution, now: datetime) -> dict[str, object]:
    """The values with which a held execution runs on: how long it was held is kept."""
    return {"held_at": None, "held_seconds": execution.held(now)}


def end(execution: Execution, status: ExecutionStatus, now: datetime, detail: str, **values: object) -> tuple[Change, ...]:
    """End the execution and free its locks in the same transaction."""
    freed = (
        Change(Kind.LOCK, region, {"owner": execution.id}, {"owner": None})
        for region in sorted({execution.source_region, execution.target_region})
    )
    return (on_execution(execution, status=status, ended_at=now, due_at=None, outcome_detail=detail, **values), *freed)


def move_of(pairs: Iterable[tuple[Change, Event]], *conditions: Change) -> Move:
    """One move of many changes with their events; the conditions come first."""
    changes, events = zip(*pairs, strict=True)
    return Move((*conditions, *changes), tuple(events))


def about(resource: Resource, detail_type: DetailType, **fields: object) -> Event:
    """An event about a resource."""
    base = {
        "layer": resource.layer,
        "resourceId": resource.id,
        "resourceName": resource.name,
        "module": resource.module,
        "attempt": resource.attempt,
    }
    return Event(detail_type, {**base, **fields})


def error_fields(failure: Failure) -> dict[str, object]:
    """A failure as it stands in an event."""
    return {"code": failure.code, "class": failure.error_class, "message": failure.message[:512], "requestId": failure.request_id}


def counts(resources: Iterable[Resource]) -> dict[str, int]:
    """How many resources have each status."""
    counts: dict[str, int] = {}
    for resource in resources:
        counts[resource.status] = counts.get(resource.status, 0) + 1
    return counts


def text(moment: datetime) -> str:
    """A moment as it stands in an event: RFC 3339 with milliseconds, UTC."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def deadline_of(execution: Execution, resource: Resource, now: datetime) -> datetime | None:
    """When the resource's time is over. While it waits for its turn, time in which the execution is held does not count.

    What a lost Region began has its full time from the takeover on: nobody looked at it meanwhile.
    """
    if resource.deadline_at is None:
        return None
    deadline = resource.deadline_at
    if resource.status in NOT_BEGUN:
        deadline += timedelta(seconds=max(0.0, execution.held(now) - resource.held_seconds))
    if execution.taken_over_at is not None and of_lost_region(execution, resource):
        deadline = max(deadline, execution.taken_over_at + timedelta(seconds=resource.timeout_seconds))
    return deadline


def of_lost_region(execution: Execution, resource: Resource) -> bool:
    """Whether the present attempt is one of a home Region that was lost."""
    return resource.attempt <= ATTEMPTS_PER_FENCE * (execution.fence - 1)


def next_attempt(execution: Execution, resource: Resource) -> int:
    """The number of the resource's next attempt: one that no Region has used."""
    return max(resource.attempt, ATTEMPTS_PER_FENCE * (execution.fence - 1)) + 1


def ended(
    resource: Resource,
    status: ResourceStatus,
    detail_type: DetailType,
    now: datetime,
    detail: str,
    failure: Failure | None,
    **values: object,
) -> tuple[Change, Event]:
    """A resource reaches its end within this epoch, and the event that says so."""
    change = on_resource(
        resource,
        status=status,
        detail=detail,
        failure=failure,
        due_at=None,
        next_at=None,
        lease_owner=None,
        lease_until=None,
        ended_at=now,
        **values,
    )
    fields: dict[str, object] = {}
    if failure is not None:
        fields = {"error": error_fields(failure), "willRetry": False}
    if resource.started_at is not None:
        fields["durationMs"] = int((now - resource.started_at).total_seconds() * 1000)
    return change, about(resource, detail_type, **fields)


def applied(state: State, move: Move) -> State:
    """The snapshot as it is after the move has been committed; records that it does not hold are left out."""
    for change in move.changes:
        values: dict[str, Any] = dict(change.values)
        if change.kind is Kind.EXECUTION:
            state = replace(state, execution=replace(state.execution, **values))
        elif change.kind is Kind.LAYER:
            state = replace(state, layers=tuple(replace(x, **values) if str(x.number) == change.key else x for x in state.layers))
        elif change.kind is Kind.RESOURCE:
            state = replace(state, resources=tuple(replace(x, **values) if x.id == change.key else x for x in state.resources))
        elif change.kind is Kind.APPROVAL and state.approval is not None:
            state = replace(state, approval=replace(state.approval, **values))
    return state
