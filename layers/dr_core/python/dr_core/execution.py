"""The rules: what follows from what is known. Pure: no I/O, no clock, no chance of its own.

`decide(state, trigger, now)` gives the one transaction that the trigger leads to, or None when it is stale or nothing follows.
A trigger is an observation, a vote, a command, or a mere `Wake`: then the state alone decides. So any event may be lost, repeated
or late: whoever wakes next finds the same thing to do.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import singledispatch

from dr_core import approval_rules, rto
from dr_core.checks import taken
from dr_core.commands import Command, obey
from dr_core.errors import ErrorClass
from dr_core.moves import (
    LOST_AFTER,
    NOT_BEGUN,
    RESOURCES_PER_MOVE,
    about,
    counts,
    deadline_of,
    end,
    ended,
    error_fields,
    move_of,
    next_attempt,
    of_lost_region,
    on_approval,
    on_execution,
    on_layer,
    on_resource,
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
    Failure,
    Layer,
    LayerStatus,
    Move,
    Resource,
    ResourceStatus,
    State,
)
from dr_core.triggers import Asked, Checked, Claim, Expire, Outcome, Preflown, Started, TokenHeld, Trigger, Vote, Wake

# Past its deadline a resource is first given to a last observation; the sweep ends it only when that never came.
DEADLINE_GRACE = timedelta(seconds=120)
# An act shows in what the service reports within this time; later, what still has not begun was lost or undone, and is a failure.
NOT_STARTED_GRACE = timedelta(seconds=60)
# People are asked without a preflight that has not come by then, and a dry run without one has failed.
PREFLIGHT_WITHIN = timedelta(seconds=180)
DRY_RUN_WITHIN = timedelta(seconds=900)
_LONGEST_REASON = 1000  # a hundred names would be too much for an event


def decide(state: State, trigger: Trigger, now: datetime) -> Move | None:
    """The transaction that follows from `trigger`, or None. Raises NotAllowedError for a vote or command out of place."""
    return obey(trigger, state, now) if isinstance(trigger, Command) else _decide(trigger, state, now)


def lost_wake_ups(state: State, now: datetime) -> tuple[Event, ...]:
    """The events that should have led to something by now, derived from the state alone; the sweep sends them again."""
    execution, approval = state.execution, state.approval
    lost = []
    before_approval = execution.status in (ExecutionStatus.PLANNING, ExecutionStatus.PENDING_APPROVAL)
    if before_approval and not execution.current_layer and execution.preflight_at is None and now >= execution.requested_at + LOST_AFTER:
        lost.append(Event(DetailType.EXECUTION_REQUESTED))
    unasked = approval is not None and approval.status is ApprovalStatus.PENDING and approval.asked_at is None
    preflight_due = execution.preflight_at or execution.requested_at + PREFLIGHT_WITHIN
    if approval is not None and approval.layer:
        preflight_due = approval.opened_at or now
    if execution.status is ExecutionStatus.PENDING_APPROVAL and unasked and now >= preflight_due + LOST_AFTER:
        lost.append(Event(DetailType.APPROVAL_REQUESTED, approval_rules.about_layer(approval) if approval else {}))
    for resource in state.resources:
        if not is_overdue(execution, resource, now):
            continue
        if resource.status is ResourceStatus.WAITING:
            lost.append(about(resource, DetailType.RESOURCE_WAITING, checkNo=resource.check_no))
        else:
            lost.append(about(resource, DetailType.RESOURCE_REQUESTED))
    return tuple(lost)


def is_overdue(execution: Execution, resource: Resource, now: datetime) -> bool:
    """Whether an executor or a check should have come by now. Nobody is awaited for what a pause, a halt or a takeover holds."""
    if resource.due_at is None or now < resource.due_at or execution.status.is_terminal:
        return False
    claimable = resource.status in (ResourceStatus.REQUESTED, ResourceStatus.STARTING) and not of_lost_region(execution, resource)
    return resource.status is ResourceStatus.WAITING or (claimable and execution.status is ExecutionStatus.RUNNING)


@singledispatch
def _decide(trigger: Trigger, state: State, now: datetime) -> Move | None:
    raise TypeError(f"not a trigger: {trigger!r}")


# --- what the state alone leads to ---


@_decide.register
def _(trigger: Wake, state: State, now: datetime) -> Move | None:
    by_status: Mapping[ExecutionStatus, Callable[[State, datetime], Move | None]] = {
        ExecutionStatus.PLANNING: _give_up_planning,
        ExecutionStatus.PENDING_APPROVAL: _follow_approval,
        ExecutionStatus.RUNNING: _advance,
        ExecutionStatus.PAUSED: _time_out,
        ExecutionStatus.CANCELLING: _wind_down,
        ExecutionStatus.ABANDONED: _leave_alone,
    }
    step = by_status.get(state.execution.status)
    return step(state, now) if step else None


def _give_up_planning(state: State, now: datetime) -> Move | None:
    execution = state.execution
    if now < execution.requested_at + DRY_RUN_WITHIN:
        return None
    why = f"the dry run did not end within {DRY_RUN_WITHIN.seconds} s: look into the log of the preflight function"
    return _end_dry_run(state, ExecutionStatus.EXPIRED, DetailType.EXECUTION_EXPIRED, why, now)


def _end_dry_run(
    state: State, status: ExecutionStatus, detail_type: DetailType, why: str, now: datetime, *events: Event, **values: object
) -> Move:
    """A dry run has no lock to free."""
    change = on_execution(state.execution, status=status, ended_at=now, due_at=None, outcome_detail=why, **values)
    return Move((change,), (*events, Event(detail_type, {"outcome": status, "reason": why})))


@_decide.register
def _(trigger: Preflown, state: State, now: datetime) -> Move | None:
    execution, approval = state.execution, state.approval
    found = {"errors": trigger.errors, "warnings": trigger.warnings, "calls": trigger.calls, "lagSeconds": trigger.lag_seconds}
    completed = Event(DetailType.PREFLIGHT_COMPLETED, found)
    if execution.preflight_at is not None:
        return None
    if execution.status is ExecutionStatus.PLANNING:
        why = f"dry run: {trigger.calls} calls planned, {trigger.errors} errors and {trigger.warnings} warnings found, nothing changed"
        return _end_dry_run(state, ExecutionStatus.SUCCEEDED, DetailType.EXECUTION_COMPLETED, why, now, completed, preflight_at=now)
    if execution.status is not ExecutionStatus.PENDING_APPROVAL or approval is None or approval.layer:
        return None
    # Two that look at once have both read that nobody has: one of them tells.
    first = on_execution(execution)
    flown = Change(first.kind, first.key, {**first.expected, "preflight_at": None}, {"preflight_at": now})
    if approval.status is not ApprovalStatus.PENDING or approval_rules.is_being_asked(approval):
        return Move((flown,), (completed,))  # it came late: people were asked without it
    return Move((flown, approval_rules.show(approval, trigger.plan_sha256)), (completed, Event(DetailType.APPROVAL_REQUESTED)))


def _follow_approval(state: State, now: datetime) -> Move | None:
    return approval_rules.follow(state, now)


def _advance(state: State, now: datetime) -> Move | None:
    layer = state.layer(state.execution.current_layer)
    if layer is None or layer.status is not LayerStatus.RUNNING or len(state.resources) != layer.total:
        return None
    return _time_out(state, now) or _close(state, layer, now) or _request(state, layer, now)


def _time_out(state: State, now: datetime) -> Move | None:
    """End what is past its deadline and was not ended by a last observation: a check that never comes back, or an executor that never
    comes, must not hold a layer.

    Whoever holds a lease may still be acting, and is never ended from outside: what follows would act beside it.
    """
    late = [r for r in state.resources if r.status in _MAY_TIME_OUT and _is_late(state, r, now)]
    if not late:
        return None
    return move_of(_timed_out(resource, now) for resource in late[:RESOURCES_PER_MOVE])


def _is_late(state: State, resource: Resource, now: datetime) -> bool:
    deadline = deadline_of(state.execution, resource, now)
    return deadline is not None and now >= deadline + DEADLINE_GRACE and not (resource.lease_until and now < resource.lease_until)


_IN_FLIGHT = frozenset({ResourceStatus.STARTING, ResourceStatus.WAITING})
_MAY_TIME_OUT = _IN_FLIGHT | {ResourceStatus.REQUESTED}
_HELD_BACK = frozenset({ResourceStatus.PENDING, ResourceStatus.RETRY_WAIT})


def _close(state: State, layer: Layer, now: datetime) -> Move | None:
    """Close the layer if all its resources have ended, and open the next one or end the execution in the same transaction.

    Sound without counting: ended resources stay ended within the epoch, the epoch was read before them, and the close holds on it. What
    a tripped layer holds back stays held back within the round, which was read before it too: whoever requests something raises it.
    """
    failed = [r for r in state.resources if r.status.is_failure and not r.best_effort]
    held_back = [r for r in state.resources if r.status in _HELD_BACK] if _is_tripped(state, layer) else []
    if sum(r.status.is_terminal for r in state.resources) + len(held_back) != layer.total:
        return None
    allowed = layer.max_failures if layer.policy == "continue" else 0
    if len(failed) > allowed:
        status = LayerStatus.FAILED
    elif any(r.status.is_failure for r in state.resources):
        status = LayerStatus.SUCCEEDED_WITH_FAILURES
    else:
        status = LayerStatus.SUCCEEDED
    closed = on_layer(layer, status=status, ended_at=now)
    completed = Event(
        DetailType.LAYER_COMPLETED,
        {"layer": layer.number, "epoch": layer.epoch, "outcome": status, "counts": counts(state.resources)},
    )
    if status is LayerStatus.FAILED:
        names = ", ".join(r.name for r in failed)
        why = f"layer {layer.number} failed: {names}"[:_LONGEST_REASON]
        return Move(
            (
                on_execution(
                    state.execution,
                    status=ExecutionStatus.FAILED,
                    due_at=rto.next_mark(state.execution),
                    outcome_detail=why,
                    held_at=now,
                ),
                closed,
            ),
            (
                completed,
                Event(DetailType.EXECUTION_HALTED, {"layer": layer.number, "failed": [r.id for r in failed], "reason": why}),
            ),
        )
    following = state.next_layer()
    if following is not None and following.approval_seconds is not None:
        # Without the record of its approval a layer stays shut.
        return _ask_before(state.execution, closed, completed, following, state.approval, now) if state.approval else None
    if following is not None:
        return Move(
            (
                on_execution(state.execution, current_layer=following.number, due_at=now + LOST_AFTER),
                closed,
                on_layer(following, status=LayerStatus.RUNNING, started_at=now),
            ),
            (
                completed,
                Event(DetailType.LAYER_STARTED, {"layer": following.number, "epoch": following.epoch, "resources": following.total}),
            ),
        )
    flawed = status is LayerStatus.SUCCEEDED_WITH_FAILURES or any(o.status is LayerStatus.SUCCEEDED_WITH_FAILURES for o in state.layers)
    outcome = ExecutionStatus.SUCCEEDED_WITH_FAILURES if flawed else ExecutionStatus.SUCCEEDED
    seconds = (now - state.execution.started_at).total_seconds() if state.execution.started_at else 0.0
    return Move(
        (*end(state.execution, outcome, now, ""), closed),
        (
            completed,
            *rto.missed_at_end(state.execution, now),
            Event(DetailType.EXECUTION_COMPLETED, {"outcome": outcome, "rtoSeconds": round(seconds, 3)}),
        ),
    )


def _ask_before(execution: Execution, closed: Change, completed: Event, following: Layer, approval: Approval, now: datetime) -> Move:
    """The layer that follows waits for people; the locks stay held. What they decided before a takeover still counts."""
    waits = on_execution(execution, status=ExecutionStatus.PENDING_APPROVAL, due_at=now + LOST_AFTER)
    asked = on_approval(approval)
    if approval.status is ApprovalStatus.PENDING:
        asked = approval_rules.opened(approval, following.approval_seconds or 0, now)
    requested = Event(DetailType.APPROVAL_REQUESTED, {"layer": following.number})
    return Move((waits, closed, asked), (completed, requested))


def _is_tripped(state: State, layer: Layer) -> bool:
    """A fail-fast layer starts nothing more once a resource has failed, but for failures that a person knew of and retried beside."""
    failed = (r for r in state.resources if r.status.is_failure and not r.best_effort)
    return layer.policy == "failFast" and any(r.id not in (layer.pardoned or ()) for r in failed)


def _request(state: State, layer: Layer, now: datetime) -> Move | None:
    """Ask for every resource that may begin, each as a new attempt."""
    if _is_tripped(state, layer):
        return None
    ready = [r for r in state.resources if _may_begin(state.execution, r, now)][:RESOURCES_PER_MOVE]
    if not ready:
        return None
    return move_of(
        (
            (
                on_resource(
                    r,
                    status=ResourceStatus.REQUESTED,
                    attempt=next_attempt(state.execution, r),
                    next_at=None,
                    lease_owner=None,
                    lease_until=None,
                    deadline_at=_deadline(state.execution, r, now),
                    held_seconds=state.execution.held(now),
                    due_at=now + LOST_AFTER,
                ),
                about(r, DetailType.RESOURCE_REQUESTED, attempt=next_attempt(state.execution, r)),
            )
            for r in ready
        ),
        on_execution(state.execution),
        on_layer(layer, round=layer.round + 1),
    )


def _may_begin(execution: Execution, resource: Resource, now: datetime) -> bool:
    """Whether a new attempt is due. After a takeover, what the lost Region may have claimed begins when its lease must be over."""
    if execution.taken_over_at is not None and of_lost_region(execution, resource):
        leased_until = max(execution.taken_over_at + timedelta(seconds=resource.lease_seconds), resource.lease_until or now)
        if now < leased_until:
            return False
        if resource.status in (ResourceStatus.REQUESTED, ResourceStatus.STARTING):
            return True
    if resource.status is ResourceStatus.RETRY_WAIT:
        return resource.next_at is not None and now >= resource.next_at
    return resource.status is ResourceStatus.PENDING


def _wind_down(state: State, now: datetime) -> Move | None:
    """Begin nothing more; what is under way is followed to its end, never aborted."""
    not_begun = [r for r in state.resources if r.status in NOT_BEGUN][:RESOURCES_PER_MOVE]
    if not_begun:
        return move_of(
            (
                on_resource(r, status=ResourceStatus.CANCELLED, due_at=None, next_at=None, ended_at=now),
                about(r, DetailType.RESOURCE_CANCELLED),
            )
            for r in not_begun
        )
    orphans = [r for r in state.resources if r.status is ResourceStatus.STARTING and r.lease_until and now >= r.lease_until]
    if orphans:
        return move_of((_waiting(r, r.detail, r.percent, now, 0.0), _waiting_event(r)) for r in orphans[:RESOURCES_PER_MOVE])
    if any(r.status in _IN_FLIGHT for r in state.resources):
        return _time_out(state, now)
    why = state.execution.outcome_detail
    changes = list(end(state.execution, ExecutionStatus.CANCELLED, now, why))
    events = [Event(DetailType.EXECUTION_CANCELLED, {"outcome": ExecutionStatus.CANCELLED, "reason": why})]
    layer = state.layer(state.execution.current_layer)
    if layer is not None and layer.status is LayerStatus.RUNNING:
        changes.append(on_layer(layer, status=LayerStatus.CANCELLED, ended_at=now))
        fields = {
            "layer": layer.number,
            "epoch": layer.epoch,
            "outcome": LayerStatus.CANCELLED,
            "counts": counts(state.resources),
        }
        events.insert(0, Event(DetailType.LAYER_COMPLETED, fields))
    return Move(tuple(changes), tuple(events))


# --- executors and checks ---


@_decide.register
def _(trigger: Claim, state: State, now: datetime) -> Move | None:
    resource = state.resource(trigger.resource_id)
    if resource is None or resource.attempt != trigger.attempt or state.execution.status is not ExecutionStatus.RUNNING:
        return None
    if of_lost_region(state.execution, resource):
        return None  # it is requested anew, under a number that the lost Region cannot have acted on
    takeover = resource.status is ResourceStatus.STARTING and resource.lease_until is not None and now >= resource.lease_until
    if resource.status is not ResourceStatus.REQUESTED and not takeover:
        return None
    lease_until = now + timedelta(seconds=resource.lease_seconds)
    fresh: dict[str, object] = {}
    if not takeover:
        # An operation of several steps, and one that was throttled in the midst of them, runs since its first.
        started_at = resource.started_at if resource.step else None
        fresh = {"started_at": started_at or now, "claimed_at": now, "deadline_at": _deadline(state.execution, resource, now)}
    events = [about(resource, DetailType.RESOURCE_STARTED, leaseUntil=text(lease_until), takeover=takeover)]
    if trigger.before is not None and resource.before is None:
        fresh |= {"before": trigger.before, "lag_seconds": trigger.lag_seconds}
        if trigger.lag_seconds is not None:
            events.append(about(resource, DetailType.RESOURCE_MEASURED, lagSeconds=round(trigger.lag_seconds, 3)))
    claimed = on_resource(
        resource, status=ResourceStatus.STARTING, lease_owner=trigger.owner, lease_until=lease_until, due_at=lease_until, **fresh
    )
    return Move((on_execution(state.execution), claimed), tuple(events))


def _held(state: State, trigger: Started) -> Resource | None:
    """The resource, if this attempt and this executor still hold it."""
    resource = state.resource(trigger.resource_id)
    held = (
        resource is not None
        and not state.execution.status.is_terminal
        and resource.status is ResourceStatus.STARTING
        and resource.attempt == trigger.attempt
        and resource.lease_owner == trigger.owner
    )
    return resource if held else None


@_decide.register
def _(trigger: Started, state: State, now: datetime) -> Move | None:
    resource = _held(state, trigger)
    if resource is None:
        return None
    ended = _ended_by(state, resource, trigger.outcome, trigger.jitter, now)
    if ended is not None:
        change, event = ended
        values = dict(change.values, handles=trigger.handles)
        return Move((Change(change.kind, change.key, change.expected, values),), (event,))
    waiting = _waiting(resource, trigger.outcome.detail, trigger.outcome.percent, now, trigger.delay_seconds, handles=trigger.handles)
    return Move((waiting,), (_waiting_event(resource),))


@_decide.register
def _(trigger: Checked, state: State, now: datetime) -> Move | None:
    resource = state.resource(trigger.resource_id)
    if (
        resource is None
        or state.execution.status.is_terminal
        or resource.status is not ResourceStatus.WAITING
        or resource.attempt != trigger.attempt
        or resource.check_no != trigger.check_no
    ):
        return None
    ended = _ended_by(state, resource, trigger.outcome, trigger.jitter, now)
    deadline = deadline_of(state.execution, resource, now)
    if ended is None and deadline and now >= deadline:
        ended = _timed_out(resource, now)
    if ended is not None:
        return Move((ended[0],), (ended[1],))
    failure = trigger.outcome.failure
    detail = trigger.outcome.detail or (f"{failure.code}: {failure.message}" if failure else "")
    return Move((_waiting(resource, detail, trigger.outcome.percent, now, trigger.delay_seconds),))


def _ended_by(state: State, resource: Resource, outcome: Outcome, jitter: float, now: datetime) -> tuple[Change, Event] | None:
    """How the outcome ends the attempt, or None if it goes on."""
    checking = resource.status is ResourceStatus.WAITING
    if outcome.kind == "DONE":
        return ended(
            resource, ResourceStatus.SUCCEEDED, DetailType.RESOURCE_SUCCEEDED, now, outcome.detail, None, taken=taken(resource, now)
        )
    # Without a `before` nobody has acted yet: what was found under way and waited for was not ours, and has come to nothing.
    if outcome.kind == "NEXT_STEP" or (outcome.kind == "NOT_STARTED" and checking and resource.before is None):
        return _next_step(state.execution, resource, outcome, now)
    failure = outcome.failure
    if outcome.kind == "NOT_STARTED" and checking and resource.claimed_at and now >= resource.claimed_at + NOT_STARTED_GRACE:
        why = f"{resource.name} ({resource.module}) was acted on, but nothing has begun: {outcome.detail}"
        failure = Failure("NotStarted", ErrorClass.RETRYABLE, why)
    elif failure is None or outcome.kind in ("IN_PROGRESS", "NOT_STARTED"):
        return None
    if outcome.kind == "ERROR":
        if failure.error_class is ErrorClass.AMBIGUOUS or (checking and failure.error_class is not ErrorClass.TERMINAL):
            return None  # the act may have been carried out, or only the observation failed: observe again
        if failure.error_class is ErrorClass.THROTTLED:
            if resource.deadline_at is not None and now >= resource.deadline_at:
                return _timed_out(resource, now)
            return _retry_later(state.execution, resource, failure, now, jitter, spent=resource.spent)
    if failure.error_class is not ErrorClass.TERMINAL and resource.spent + 1 < resource.max_attempts:
        return _retry_later(state.execution, resource, failure, now, jitter, spent=resource.spent + 1)
    return ended(resource, ResourceStatus.FAILED, DetailType.RESOURCE_FAILED, now, "", failure)


def _next_step(execution: Execution, resource: Resource, outcome: Outcome, now: datetime) -> tuple[Change, Event]:
    """Ask for the act again, as an attempt that spends none. A deadline that is over ends it like any other."""
    deadline = deadline_of(execution, resource, now)
    if deadline and now >= deadline:
        return _timed_out(replace(resource, detail=outcome.detail), now)
    change = on_resource(
        resource,
        status=ResourceStatus.REQUESTED,
        attempt=next_attempt(execution, resource),
        step=resource.step + 1,
        taken=taken(resource, now),
        detail=outcome.detail,
        percent=outcome.percent,
        next_at=None,
        held_seconds=execution.held(now),
        due_at=now + LOST_AFTER,
        lease_owner=None,
        lease_until=None,
    )
    return change, about(resource, DetailType.RESOURCE_REQUESTED, attempt=next_attempt(execution, resource), afterStep=outcome.detail)


def _deadline(execution: Execution, resource: Resource, now: datetime) -> datetime:
    """Each attempt has its full time, but for one that follows a throttled one: else throttling without end would have none.

    All steps of an operation share the time of its first.
    """
    throttled = resource.failure is not None and resource.failure.error_class is ErrorClass.THROTTLED
    kept = deadline_of(execution, resource, now) if throttled or resource.step else None
    if kept is not None:
        return kept
    return now + timedelta(seconds=resource.timeout_seconds)


def _retry_later(
    execution: Execution, resource: Resource, failure: Failure, now: datetime, jitter: float, spent: int
) -> tuple[Change, Event]:
    """Wait, with full jitter, and try again. A throttled attempt is not a spent one."""
    retry_at = now + timedelta(seconds=jitter * min(300, 5 * 2 ** min(resource.attempt, 10)))
    anew = spent > resource.spent
    change = on_resource(
        resource,
        status=ResourceStatus.RETRY_WAIT,
        spent=spent,
        step=0 if anew else resource.step,
        taken=() if anew else resource.taken,
        failure=failure,
        next_at=retry_at,
        held_seconds=execution.held(now),
        due_at=retry_at,
        lease_owner=None,
        lease_until=None,
    )
    return change, about(resource, DetailType.RESOURCE_FAILED, error=error_fields(failure), willRetry=True, retryAt=text(retry_at))


def _leave_alone(state: State, now: datetime) -> Move | None:
    """Take away the timers that the end of a big layer had no room for; nothing that was read before can set one again."""
    left = [r for r in state.resources if r.due_at is not None][:RESOURCES_PER_MOVE]
    return Move(tuple(on_resource(r, due_at=None, check_no=r.check_no + 1) for r in left)) if left else None


def _timed_out(resource: Resource, now: datetime) -> tuple[Change, Event]:
    why = f"{resource.name} ({resource.module}) had not reached its goal after {resource.timeout_seconds} s; last seen: "
    why += resource.detail or "nothing"
    if resource.status is ResourceStatus.REQUESTED:
        why = f"no executor has taken {resource.name} ({resource.module}) in time: look into the log of start_resource"
    failure = Failure("TimedOut", ErrorClass.RETRYABLE, why)
    return ended(resource, ResourceStatus.TIMED_OUT, DetailType.RESOURCE_TIMED_OUT, now, resource.detail, failure)


def _waiting(resource: Resource, detail: str, percent: int | None, now: datetime, delay: float, **values: object) -> Change:
    """Observe again after `delay` seconds. The number of the check rises: only one chain of checks lives."""
    next_at = now + timedelta(seconds=delay)
    return on_resource(
        resource,
        status=ResourceStatus.WAITING,
        check_no=resource.check_no + 1,
        detail=detail,
        percent=percent,
        next_at=next_at,
        due_at=next_at + LOST_AFTER,
        lease_owner=None,
        lease_until=None,
        **values,
    )


def _waiting_event(resource: Resource) -> Event:
    return about(resource, DetailType.RESOURCE_WAITING, checkNo=resource.check_no + 1)


# --- the approval: its rules stand in `approval_rules` ---


@_decide.register
def _(trigger: TokenHeld, state: State, now: datetime) -> Move | None:
    return approval_rules.hold_token(trigger, state)


@_decide.register
def _(trigger: Asked, state: State, now: datetime) -> Move | None:
    return approval_rules.note_asked(trigger, state, now)


@_decide.register
def _(trigger: Vote, state: State, now: datetime) -> Move | None:
    return approval_rules.vote(trigger, state, now)


@_decide.register
def _(trigger: Expire, state: State, now: datetime) -> Move | None:
    return approval_rules.expire(trigger, state, now)
