"""What takes too long, as the sweep finds it: resources that nobody moves, and a recovery time that runs out. Pure.

It is told, once, and counted. It ends nothing: a resource has until its deadline, an execution as long as it takes.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from dr_core import rto
from dr_core.execution import is_overdue
from dr_core.moves import RESOURCES_PER_MOVE, about, if_still, on_execution, on_resource, text
from dr_core.records import STUCK_SWEEPS, Change, DetailType, Event, ExecutionStatus, Move, Resource, State

# Sweeps may come closer together than a minute, by hand or twice: three of them alone would not say that time has passed.
STUCK_AFTER: Final = timedelta(minutes=2)
_TIMED = (ExecutionStatus.RUNNING, ExecutionStatus.PAUSED, ExecutionStatus.FAILED)


def watch(state: State, now: datetime) -> Iterator[Move]:
    """The moves with which a sweep notes what it found, each a transaction of its own."""
    yield from _recovery(state, now)
    stalls = [_stalled(r, now) for r in state.resources if is_overdue(state.execution, r, now) and not _is_known(r, now)]
    for start in range(0, len(stalls), RESOURCES_PER_MOVE):
        some = stalls[start : start + RESOURCES_PER_MOVE]
        yield Move(tuple(change for change, _ in some), tuple(event for _, events in some for event in events))


def _recovery(state: State, now: datetime) -> Iterator[Move]:
    execution = state.execution
    mark = rto.passed(execution, now) if execution.status in _TIMED else None
    if mark is None:
        return
    percent, event = mark
    # A halted execution is due for nothing but its next mark; the others are looked at by each sweep anyway.
    later = {"due_at": rto.next_mark(replace(execution, rto_told=percent))} if execution.status is ExecutionStatus.FAILED else {}
    change = on_execution(execution, rto_told=percent, **later)
    yield Move((if_still(change, rto_told=execution.rto_told),), (event,))


def _sweeps(resource: Resource) -> int:
    """How many sweeps have found it overdue since it moved last."""
    return (resource.stalled_sweeps or 0) if resource.stalled_at == resource.due_at else 0


def _is_known(resource: Resource, now: datetime) -> bool:
    """Whether there is nothing more to note: it has been told, or only time is wanting."""
    assert resource.due_at is not None  # it is overdue
    return resource.is_stuck or (_sweeps(resource) == STUCK_SWEEPS - 1 and now < resource.due_at + STUCK_AFTER)


def _stalled(resource: Resource, now: datetime) -> tuple[Change, tuple[Event, ...]]:
    assert resource.due_at is not None  # it is overdue
    sweeps = _sweeps(resource) + 1
    change = on_resource(resource, stalled_at=resource.due_at, stalled_sweeps=sweeps)
    seen = {"due_at": resource.due_at, "stalled_at": resource.stalled_at, "stalled_sweeps": resource.stalled_sweeps}
    counted = if_still(change, **seen)
    fields: dict[str, object] = {"status": resource.status, "dueAt": text(resource.due_at), "sweeps": sweeps}
    return counted, (about(resource, DetailType.STUCK_DETECTED, **fields),) if sweeps == STUCK_SWEEPS else ()
