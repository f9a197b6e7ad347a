"""Takeover: an execution whose home Region is lost goes on in this one. Pure, like `execution`.

What is here is a replica: each record is as old as it happens to be, whatever the others are, and some may not have come at all. A
layer that is known to be open shows that all before it were done. What had not ended is asked for anew, as attempts of a new fence whose
numbers nobody has used, after the leases that the lost Region may have given are over; who claims it observes first, and adopts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dr_core.approval_rules import opened
from dr_core.commands import Command, NotAllowedError
from dr_core.moves import (
    ATTEMPTS_PER_FENCE,
    LOST_AFTER,
    RESOURCES_PER_MOVE,
    about,
    ended,
    move_of,
    on_approval,
    on_execution,
    on_layer,
    released,
    text,
)
from dr_core.records import (
    Approval,
    ApprovalStatus,
    Change,
    DetailType,
    Event,
    Execution,
    ExecutionStatus,
    Kind,
    Layer,
    LayerStatus,
    Move,
    Resource,
    ResourceStatus,
)

_CLOSED_WELL = (LayerStatus.SUCCEEDED, LayerStatus.SUCCEEDED_WITH_FAILURES)
_DONE = (ResourceStatus.SUCCEEDED, ResourceStatus.SKIPPED)
# Lambda ends a function after 15 minutes: of what the lost Region had begun before a command, nothing acts after that.
_LONGEST_LIFE = timedelta(minutes=15)
_STAYS = (ExecutionStatus.PAUSED, ExecutionStatus.CANCELLING)


@dataclass(frozen=True, slots=True)
class LockHeld:
    """A lock as it is here. `over`: its owner is known to have ended. `free_at`: its owner was given up, and it comes free by itself."""

    owner: str | None
    fence: int
    over: bool = False
    free_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replica:
    """What this Region holds of an execution: all its layers and resources, the approvals by the layer that waits (0: the execution
    itself), and the locks by Region; None did not come.
    """

    execution: Execution
    layers: tuple[Layer, ...]
    resources: tuple[Resource, ...]
    approvals: Mapping[int, Approval]
    locks: Mapping[str, LockHeld | None]

    def inside(self, layer: Layer) -> list[Resource]:
        """The layer's resources."""
        return [r for r in self.resources if r.layer == layer.number]


def take_over(replica: Replica, command: Command, region: str, now: datetime) -> Move:
    """The transaction that makes `region` the execution's home. Raises NotAllowedError, saying why or naming what has not come."""
    execution = replica.execution
    if execution.status.is_terminal:
        return _free(replica)
    if execution.home_region == region:
        raise NotAllowedError(f"its home is {region} already: there is nothing to take over")
    if execution.dry_run:
        raise NotAllowedError("a dry run holds nothing up: ask for a new one")
    if len(replica.layers) != execution.layers_total:
        here = ", ".join(str(layer.number) for layer in replica.layers) or "none"
        raise NotAllowedError(f"of its {execution.layers_total} layers, these have come to {region}: {here}")
    current = _current(replica)
    fence = _fence(replica)
    moved = {"home_region": region, "fence": fence}
    told = Event(
        DetailType.EXECUTION_TAKEN_OVER,
        {"lostRegion": execution.home_region, "actor": command.actor, "reason": command.reason},
    )
    closed = [_closed(replica, layer, now) for layer in _left_open(replica, current)]
    if current is None:
        return _complete(replica, closed, moved, told, now)
    _all_there(replica, current, region)
    _approvals_there(replica, current, region)
    locks = _locks(replica)
    if current.number > execution.current_layer and not _has_begun(replica):
        return _ask_again(replica, locks, moved, told, now)
    if current.approval_seconds is not None and not _is_opened(replica, current):
        return _ask_before(replica, current, [*locks, *closed], moved, told, now)
    status = execution.status if execution.status in _STAYS else ExecutionStatus.RUNNING
    values: dict[str, object] = {
        "status": status,
        "current_layer": current.number,
        "taken_over_at": now,
        "due_at": now + LOST_AFTER,
        **moved,
    }
    if status is ExecutionStatus.RUNNING:
        values |= {"outcome_detail": "", **released(execution, now)}
    if execution.started_at is None:
        values |= {"started_at": now}
    changes = [on_execution(execution, **values), *locks, *closed]
    events = [Event(told.detail_type, {**told.fields, "status": status, "layer": current.number})]
    if status is not ExecutionStatus.CANCELLING or current.status is not LayerStatus.CANCELLED:
        reopened = {"status": LayerStatus.RUNNING, "epoch": current.epoch + 1, "started_at": current.started_at or now, "ended_at": None}
        changes.append(on_layer(current, **reopened))
        fields = {"layer": current.number, "epoch": current.epoch + 1, "actor": command.actor, "reason": command.reason}
        events.append(Event(DetailType.LAYER_REOPENED, fields))
    return Move(tuple(changes), tuple(events))


def give_up(replica: Replica, command: Command, region: str, now: datetime) -> Move:
    """The transaction that abandons, in `region`, an execution of a lost Region that cannot be taken over.

    What the lost Region had begun may still act, and of an incomplete replica nobody can tell what that was: the locks come free when no
    function can live any more that had begun before. Raises NotAllowedError, saying why, when it has ended, or can be taken over.
    """
    execution = replica.execution
    if execution.status.is_terminal or execution.dry_run:
        raise NotAllowedError(f"it is {execution.status}" if execution.status.is_terminal else "a dry run holds nothing up")
    try:
        take_over(replica, command, region, now)
    except NotAllowedError as error:
        why = str(error)
    else:
        raise NotAllowedError("it can be taken over: do that, and then cancel it here, or pause and abandon it")
    free_at = now + _LONGEST_LIFE
    detail = f"abandoned by {command.actor} without a takeover ({why}): {command.reason}; its locks are free from {text(free_at)}"
    values = {"status": ExecutionStatus.ABANDONED, "ended_at": now, "due_at": None, "outcome_detail": detail, "taken_over_at": now}
    changes = [on_execution(execution, home_region=region, fence=_fence(replica), **values)]
    for name, lock in sorted(replica.locks.items()):
        if lock is not None and lock.owner == execution.id:
            held = {"owner": lock.owner, "fence": lock.fence}
            changes.append(Change(Kind.LOCK, name, held, {"fence": lock.fence + 1, "free_at": free_at}))
    told = {"lostRegion": execution.home_region, "status": ExecutionStatus.ABANDONED, "layer": execution.current_layer}
    by = {"actor": command.actor, "reason": command.reason}
    events = (
        Event(DetailType.EXECUTION_TAKEN_OVER, {**told, **by}),
        Event(DetailType.EXECUTION_ABANDONED, {"outcome": ExecutionStatus.ABANDONED, **by}),
    )
    return Move(tuple(changes), events)


def tidied(replica: Replica, region: str, now: datetime) -> Move | None:
    """A move that brings records of closed layers to their end, None if all have one: the layer was closed, so they had."""
    execution = replica.execution
    if execution.status.is_terminal or execution.home_region == region or len(replica.layers) != execution.layers_total:
        return None
    current = _current(replica)
    before = [layer for layer in replica.layers if current is None or layer.number < current.number]
    old = [resource for layer in before for resource in _outdated(replica, layer)][:RESOURCES_PER_MOVE]
    if not old:
        return None
    why = f"its layer was closed in {execution.home_region}; how the resource ended did not come to {region}"
    fields: dict[str, object] = {"actor": "takeover", "reason": why}
    return move_of(
        (ended(r, ResourceStatus.SKIPPED, DetailType.RESOURCE_SKIPPED, now, why, None)[0], about(r, DetailType.RESOURCE_SKIPPED, **fields))
        for r in old
    )


def _current(replica: Replica) -> Layer | None:
    """The layer that is open as far as anything tells; None when the last one was closed."""
    numbers = {layer.number for layer in replica.layers if layer.status is not LayerStatus.PENDING}
    numbers |= {r.layer for r in replica.resources if r.attempt or r.status is not ResourceStatus.PENDING}
    number = max([replica.execution.current_layer, *numbers])
    open_or_later = [layer for layer in replica.layers if layer.number >= number]
    known = next((layer for layer in open_or_later if layer.number == number), None)
    if known is not None and known.status in _CLOSED_WELL:
        open_or_later.remove(known)
    return min(open_or_later, key=lambda layer: layer.number, default=None)


def _has_begun(replica: Replica) -> bool:
    """Whether anything tells that the first layer was opened: then the execution had been approved."""
    layers = any(layer.status is not LayerStatus.PENDING for layer in replica.layers)
    return replica.execution.current_layer > 0 or layers or any(r.attempt or r.status.is_terminal for r in replica.resources)


def _is_opened(replica: Replica, layer: Layer) -> bool:
    """Whether anything tells that the layer was opened: then it had been approved, if it needed that."""
    begun = any(r.attempt or r.status is not ResourceStatus.PENDING for r in replica.inside(layer))
    return replica.execution.current_layer >= layer.number or layer.status is not LayerStatus.PENDING or begun


def _left_open(replica: Replica, current: Layer | None) -> list[Layer]:
    earlier = (layer for layer in replica.layers if current is None or layer.number < current.number)
    return [layer for layer in earlier if layer.status not in _CLOSED_WELL]


def _closed(replica: Replica, layer: Layer, now: datetime) -> Change:
    flawed = any(r.status.is_failure for r in replica.inside(layer))
    status = LayerStatus.SUCCEEDED_WITH_FAILURES if flawed else LayerStatus.SUCCEEDED
    return on_layer(layer, status=status, started_at=layer.started_at or now, ended_at=now)


def _outdated(replica: Replica, layer: Layer) -> list[Resource]:
    """The layer's resources whose records are older than its close."""
    inside = replica.inside(layer)
    hard = [r for r in inside if r.status.is_failure and not r.best_effort]
    accepted = layer.max_failures if layer.policy == "continue" else 0
    return [r for r in inside if not r.status.is_terminal or (len(hard) > accepted and r in hard)]


def _all_there(replica: Replica, current: Layer, region: str) -> None:
    for layer in replica.layers:
        here = replica.inside(layer)
        if layer.number >= current.number and len(here) != layer.total:
            ids = ", ".join(r.id for r in here) or "none"
            raise NotAllowedError(f"of the {layer.total} resources of layer {layer.number}, these have come to {region}: {ids}")


def _approvals_there(replica: Replica, current: Layer, region: str) -> None:
    later = sorted((layer for layer in replica.layers), key=lambda layer: layer.number)[1:]  # the first has the execution's own
    needed = [layer.number for layer in later if layer.number >= current.number and layer.approval_seconds is not None]
    missing = [str(number) for number in needed if number not in replica.approvals]
    if missing:
        raise NotAllowedError(f"the approvals before these layers have not come to {region}: {', '.join(missing)}")


def _fence(replica: Replica) -> int:
    """Higher than any that is known, and than those whose attempts' numbers the lost Region may have used."""
    fences = [replica.execution.fence, *(lock.fence for lock in replica.locks.values() if lock)]
    used = max((r.attempt for r in replica.resources), default=0) // ATTEMPTS_PER_FENCE
    return max(*fences, used + 1) + 1


def _locks(replica: Replica) -> Iterator[Change]:
    return iter([_lock(replica, region, lock) for region, lock in sorted(replica.locks.items())])


def _lock(replica: Replica, region: str, lock: LockHeld | None) -> Change:
    execution = replica.execution
    if lock is None:
        raise NotAllowedError(f"the lock of {execution.application} on {region} has not come here")
    if lock.owner not in (None, execution.id) and not lock.over:
        raise NotAllowedError(f"execution {lock.owner} holds the lock of {execution.application} on {region}")
    held = {"owner": lock.owner, "fence": lock.fence}
    return Change(Kind.LOCK, region, held, {"owner": execution.id, "fence": lock.fence + 1, "free_at": None})


def _freed(replica: Replica) -> Iterator[Change]:
    for region, lock in sorted(replica.locks.items()):
        if lock is not None and lock.owner == replica.execution.id and lock.free_at is None:
            yield Change(Kind.LOCK, region, {"owner": lock.owner, "fence": lock.fence}, {"owner": None})


def _free(replica: Replica) -> Move:
    """It has ended, but a lock that it held has not come as freed."""
    freed = tuple(_freed(replica))
    if not freed:
        raise NotAllowedError(f"it has ended: it is {replica.execution.status}")
    return Move(freed)


def _complete(replica: Replica, closed: Iterable[Change], moved: Mapping[str, object], told: Event, now: datetime) -> Move:
    """Its last layer was closed: it had come to its end."""
    flawed = any(r.status.is_failure for r in replica.resources)
    outcome = ExecutionStatus.SUCCEEDED_WITH_FAILURES if flawed else ExecutionStatus.SUCCEEDED
    last = max(layer.number for layer in replica.layers)
    execution = replica.execution
    values = {"status": outcome, "current_layer": last, "ended_at": now, "due_at": None, "held_at": None, "outcome_detail": "", **moved}
    seconds = (now - execution.started_at).total_seconds() if execution.started_at else 0.0
    events = (
        Event(told.detail_type, {**told.fields, "status": outcome, "layer": last}),
        Event(DetailType.EXECUTION_COMPLETED, {"outcome": outcome, "rtoSeconds": round(seconds, 3)}),
    )
    return Move((on_execution(execution, **values), *_freed(replica), *closed), events)


def _ask_again(replica: Replica, locks: Iterable[Change], moved: Mapping[str, object], told: Event, now: datetime) -> Move:
    """It waits for its approval, or has just got it; who was asked by the lost Region is asked again from here."""
    approval = replica.approvals.get(0)
    if approval is None:
        raise NotAllowedError("its approval has not come here")
    changes = [on_execution(replica.execution, due_at=now, **moved), *locks]
    if approval.status is ApprovalStatus.PENDING:
        changes.append(on_approval(approval, asked_at=None, task_token=None, due_at=now))
    fields = {**told.fields, "status": replica.execution.status, "layer": 0}
    return Move(tuple(changes), (Event(told.detail_type, fields),))


def _ask_before(replica: Replica, layer: Layer, further: Iterable[Change], moved: Mapping[str, object], told: Event, now: datetime) -> Move:
    """The layer waits for its approval, or is about to; what was decided in the lost Region counts, else people are asked from here."""
    approval = replica.approvals[layer.number]
    waits = ExecutionStatus.PENDING_APPROVAL
    before = max((other.number for other in replica.layers if other.number < layer.number), default=0)
    execution = replica.execution
    values = {"status": waits, "current_layer": before, "taken_over_at": now, "due_at": now, "outcome_detail": "", **moved}
    values |= released(execution, now)
    if execution.started_at is None:
        values |= {"started_at": now}
    changes = [on_execution(execution, **values), *further]
    if approval.status is ApprovalStatus.PENDING:
        changes.append(opened(approval, layer.approval_seconds or 0, now))
    return Move(tuple(changes), (Event(told.detail_type, {**told.fields, "status": waits, "layer": before}),))
