"""What an operator may do to a running execution, and when. Pure, like `execution`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dr_core.errors import OrchestratorError
from dr_core.moves import (
    LOST_AFTER,
    RESOURCES_PER_MOVE,
    about,
    end,
    ended,
    on_approval,
    on_execution,
    on_layer,
    on_resource,
    released,
    text,
)
from dr_core.records import (
    ApprovalStatus,
    Change,
    DetailType,
    Event,
    Execution,
    ExecutionStatus,
    LayerStatus,
    Move,
    Resource,
    ResourceStatus,
    State,
)


class NotAllowedError(OrchestratorError):
    """A command or vote that the present state does not allow; the text says why."""


CommandName = Literal["pause", "resume", "cancel", "retry", "skip", "force-complete", "abandon", "takeover"]


@dataclass(frozen=True, slots=True)
class Command:
    """An operator steers the execution; `resource_ids` empty means every failed resource of the current layer."""

    name: CommandName
    actor: str
    reason: str
    resource_ids: tuple[str, ...] = ()


def elsewhere(trigger: Command, execution: Execution, region: str) -> NotAllowedError:
    """The refusal of a command that was given in `region`, where the execution is not at home."""
    home = execution.home_region
    return NotAllowedError(f"its home is {home}, not {region}: give {trigger.name} there, or, when {home} is lost, take it over")


def obey(trigger: Command, state: State, now: datetime) -> Move:
    """The transaction that carries out the command. Raises NotAllowedError, saying why, when the state does not allow it."""
    by_name: Mapping[str, Callable[[Command, State, datetime], Move]] = {
        "pause": _pause,
        "resume": _resume,
        "cancel": _cancel,
        "retry": _retry,
        "skip": _skip,
        "force-complete": _force_complete,
        "abandon": _abandon,
    }
    return by_name[trigger.name](trigger, state, now)


def _demand(state: State, trigger: Command, *allowed: ExecutionStatus) -> None:
    if state.execution.status not in allowed:
        raise NotAllowedError(f"{trigger.name} needs an execution that is {' or '.join(allowed)}, this one is {state.execution.status}")


def _by(trigger: Command) -> dict[str, object]:
    return {"actor": trigger.actor, "reason": trigger.reason}


def _pause(trigger: Command, state: State, now: datetime) -> Move:
    _demand(state, trigger, ExecutionStatus.RUNNING)
    change = on_execution(state.execution, status=ExecutionStatus.PAUSED, held_at=now)
    return Move((change,), (Event(DetailType.EXECUTION_PAUSED, _by(trigger)),))


def _resume(trigger: Command, state: State, now: datetime) -> Move:
    _demand(state, trigger, ExecutionStatus.PAUSED)
    change = on_execution(state.execution, status=ExecutionStatus.RUNNING, due_at=now + LOST_AFTER, **released(state.execution, now))
    return Move((change,), (Event(DetailType.EXECUTION_RESUMED, _by(trigger)),))


def _cancel(trigger: Command, state: State, now: datetime) -> Move:
    if state.execution.dry_run:
        raise NotAllowedError("a dry run holds nothing up and ends by itself")
    live = (ExecutionStatus.RUNNING, ExecutionStatus.PAUSED, ExecutionStatus.FAILED)
    _demand(state, trigger, ExecutionStatus.PENDING_APPROVAL, *live)
    why = f"cancelled by {trigger.actor}: {trigger.reason}"
    if state.execution.status is not ExecutionStatus.PENDING_APPROVAL:
        change = on_execution(state.execution, status=ExecutionStatus.CANCELLING, due_at=now + LOST_AFTER, outcome_detail=why)
        return Move((change,), (Event(DetailType.EXECUTION_CANCELLING, _by(trigger)),))
    approval = state.approval
    if approval is None or approval.status is not ApprovalStatus.PENDING:
        raise NotAllowedError("the approval has just been decided: cancel again in a moment")
    return Move(
        (
            *end(state.execution, ExecutionStatus.CANCELLED, now, why),
            on_approval(approval, status=ApprovalStatus.EXPIRED, decided_at=now, due_at=None, reason=why),
        ),
        (
            Event(DetailType.APPROVAL_EXPIRED, {**_by(trigger), **({"layer": approval.layer} if approval.layer else {})}),
            Event(DetailType.EXECUTION_CANCELLED, {"outcome": ExecutionStatus.CANCELLED, **_by(trigger)}),
        ),
    )


def _chosen(trigger: Command, state: State, statuses: frozenset[ResourceStatus]) -> list[Resource]:
    """The resources that the command names, or every failed one; each must have one of `statuses`."""
    if len(trigger.resource_ids) > RESOURCES_PER_MOVE:
        raise NotAllowedError(f"{trigger.name} takes at most {RESOURCES_PER_MOVE} resources at once, not {len(trigger.resource_ids)}")
    if not trigger.resource_ids:
        chosen = [r for r in state.resources if r.status.is_failure]
    else:
        known = {r.id: r for r in state.resources}
        missing = [i for i in trigger.resource_ids if i not in known]
        if missing:
            raise NotAllowedError(f"the current layer has no resource {', '.join(missing)}; it has {', '.join(sorted(known))}")
        chosen = [known[i] for i in trigger.resource_ids]
    wrong = [f"{r.id} is {r.status}" for r in chosen if r.status not in statuses]
    if wrong or not chosen:
        raise NotAllowedError(
            f"{trigger.name} needs resources that are {' or '.join(sorted(statuses))}: {', '.join(wrong) or 'there are none'}"
        )
    if len(chosen) > RESOURCES_PER_MOVE:
        raise NotAllowedError(f"{trigger.name} takes at most {RESOURCES_PER_MOVE} resources at once: name them")
    return chosen


def _reopen(state: State, trigger: Command, now: datetime, **values: object) -> tuple[list[Change], list[Event]]:
    """Raise the current layer's epoch, so that nobody closes it on what they read before; open it and the execution if they had ended.

    `values`: further ones of the layer.
    """
    layer = state.layer(state.execution.current_layer)
    if layer is None or layer.status not in (LayerStatus.RUNNING, LayerStatus.FAILED):
        raise NotAllowedError(f"{trigger.name} needs a current layer that is RUNNING or FAILED")
    changes = [
        on_execution(
            state.execution, status=ExecutionStatus.RUNNING, due_at=now + LOST_AFTER, outcome_detail="", **released(state.execution, now)
        ),
        on_layer(layer, status=LayerStatus.RUNNING, epoch=layer.epoch + 1, ended_at=None, **values),
    ]
    events = [Event(DetailType.LAYER_REOPENED, {"layer": layer.number, "epoch": layer.epoch + 1, **_by(trigger)})]
    if state.execution.status is ExecutionStatus.FAILED:
        events.append(Event(DetailType.EXECUTION_RESUMED, _by(trigger)))
    return changes, events


def _retry(trigger: Command, state: State, now: datetime) -> Move:
    _demand(state, trigger, ExecutionStatus.RUNNING, ExecutionStatus.FAILED)
    chosen = _chosen(trigger, state, frozenset({ResourceStatus.FAILED, ResourceStatus.TIMED_OUT}))
    # The other failures are known by now: who retries beside them wants the layer to run.
    known = frozenset(r.id for r in state.resources if r.status.is_failure and r not in chosen)
    changes, events = _reopen(state, trigger, now, pardoned=known or None)
    afresh = {"status": ResourceStatus.PENDING, "spent": 0, "step": 0, "taken": (), "failure": None, "ended_at": None, "deadline_at": None}
    changes += [on_resource(r, **afresh) for r in chosen]
    events += [about(r, DetailType.RESOURCE_RETRIED, **_by(trigger)) for r in chosen]
    return Move(tuple(changes), tuple(events))


def _skip(trigger: Command, state: State, now: datetime) -> Move:
    _demand(state, trigger, ExecutionStatus.RUNNING, ExecutionStatus.FAILED)
    chosen = _chosen(trigger, state, frozenset({ResourceStatus.FAILED, ResourceStatus.TIMED_OUT, ResourceStatus.PENDING}))
    changes, events = _reopen(state, trigger, now)
    detail = f"skipped by {trigger.actor}: {trigger.reason}"
    changes += [on_resource(r, status=ResourceStatus.SKIPPED, detail=detail, ended_at=now, due_at=None) for r in chosen]
    events += [about(r, DetailType.RESOURCE_SKIPPED, **_by(trigger)) for r in chosen]
    return Move(tuple(changes), tuple(events))


def _force_complete(trigger: Command, state: State, now: datetime) -> Move:
    _demand(state, trigger, ExecutionStatus.RUNNING, ExecutionStatus.PAUSED, ExecutionStatus.CANCELLING)
    chosen = _chosen(trigger, state, frozenset({ResourceStatus.WAITING}))
    detail = f"forced by {trigger.actor}: {trigger.reason}"
    forced = [ended(r, ResourceStatus.SUCCEEDED, DetailType.RESOURCE_SUCCEEDED, now, detail, None) for r in chosen]
    return Move(
        tuple(change for change, _ in forced),
        tuple(Event(event.detail_type, {**event.fields, "forced": True, **_by(trigger)}) for _, event in forced),
    )


def _abandon(trigger: Command, state: State, now: datetime) -> Move:
    _demand(state, trigger, ExecutionStatus.FAILED, ExecutionStatus.PAUSED)
    held = [r.lease_until for r in state.resources if r.status is ResourceStatus.STARTING and r.lease_until and r.lease_until > now]
    if held:
        raise NotAllowedError(f"an executor may still be acting: abandon after {text(max(held))}")
    why = f"abandoned by {trigger.actor}: {trigger.reason}"
    event = Event(DetailType.EXECUTION_ABANDONED, {"outcome": ExecutionStatus.ABANDONED, **_by(trigger)})
    execution = state.execution
    changes = end(execution, ExecutionStatus.ABANDONED, now, why, fence=execution.fence + 1)
    # The number of the check rises, so that nothing that was read before can still move a resource. Of the last of a big layer, the sweep
    # takes the timers away.
    idle = [on_resource(r, due_at=None, check_no=r.check_no + 1) for r in state.resources if r.due_at is not None]
    return Move((*changes, *idle[: 2 * RESOURCES_PER_MOVE]), (event,))
