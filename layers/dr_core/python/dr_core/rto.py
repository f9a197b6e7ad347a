"""The time in which an application has to recover: when it runs short, and when it is over. Pure. Nothing is ended by it.

It runs from the opening of the first layer, as the report's does.
"""

from datetime import datetime, timedelta
from typing import Final

from dr_core.records import DetailType, Event, Execution

_MARKS: Final = ((80, DetailType.RTO_AT_RISK), (100, DetailType.RTO_MISSED))  # percent of the target


def next_mark(execution: Execution) -> datetime | None:
    """When somebody has to look next; None if there is no target, or all has been told."""
    return min((_at(execution, percent) for percent, _ in _untold(execution)), default=None)


def passed(execution: Execution, now: datetime) -> tuple[int, Event] | None:
    """The highest mark, in percent, that is passed and has not been told, and the event that tells it."""
    found = [mark for mark in _untold(execution) if now >= _at(execution, mark[0])]
    if not found or execution.started_at is None or execution.rto_seconds is None:
        return None
    percent, detail_type = found[-1]
    elapsed = (now - execution.started_at).total_seconds()
    fields = {
        "elapsedSeconds": round(elapsed, 3),
        "targetSeconds": execution.rto_seconds,
        "ratio": round(elapsed / execution.rto_seconds, 3),
    }
    return percent, Event(detail_type, fields)


def missed_at_end(execution: Execution, now: datetime) -> tuple[Event, ...]:
    """What is still to be told of an execution that ends well, but late: the sweep does not look at it any more."""
    mark = passed(execution, now)
    late = mark is not None and mark[1].detail_type is DetailType.RTO_MISSED and now > _at(execution, 100)
    return (mark[1],) if mark and late else ()


def _untold(execution: Execution) -> tuple[tuple[int, DetailType], ...]:
    if execution.started_at is None or not execution.rto_seconds:
        return ()
    return tuple(mark for mark in _MARKS if mark[0] > (execution.rto_told or 0))


def _at(execution: Execution, percent: int) -> datetime:
    assert execution.started_at is not None and execution.rto_seconds is not None  # else there are no marks
    return execution.started_at + timedelta(seconds=execution.rto_seconds * percent / 100)
