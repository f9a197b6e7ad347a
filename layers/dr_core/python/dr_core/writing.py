"""Moves as the actions of one transaction: each change on the condition that it expects, and the events."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from dr_core import events
from dr_core.items import EXECUTION_SK, ApprovalItem, EventItem, ExecutionItem, Item, LayerItem, LockItem, ResourceItem
from dr_core.mapping import approval_sk, pk_of, standing
from dr_core.records import Change, DetailType, Event, Execution, ExecutionStatus, Kind, Move
from dr_core.settings import trace_header

_MOST_ACTIONS = 100  # of one transaction


@dataclass(frozen=True)
class Commit:
    """A move of an execution, and when it is made."""

    execution: Execution
    move: Move
    now: datetime


def fit_together(commits: Sequence[Commit]) -> bool:
    """Whether one transaction can carry out all of them: it must not name a record twice, but for one and the same condition."""
    records = [_where(execution, change) for execution, change in _changes(commits)]
    actions = len(records) + sum(len(commit.move.events) for commit in commits)
    return len(set(records)) == len(records) and actions <= _MOST_ACTIONS


def write_commits(transaction: TransactWrite, commits: Sequence[Commit]) -> None:
    """Add all moves with their events; a condition that several have once."""
    for execution, change in _changes(commits):
        apply(transaction, execution, change)
    for commit in commits:
        save_events(transaction, commit.execution, commit.move.events, commit.now)


def _changes(commits: Sequence[Commit]) -> list[tuple[Execution, Change]]:
    conditions: list[tuple[str, Change]] = []
    found = []
    for execution, change in ((commit.execution, change) for commit in commits for change in commit.move.changes):
        if not change.values:
            if (execution.id, change) in conditions:
                continue
            conditions.append((execution.id, change))
        found.append((execution, change))
    return found


def _where(execution: Execution, change: Change) -> tuple[type[Item], str, str]:
    pk = pk_of(execution.id)
    match change.kind:
        case Kind.EXECUTION:
            return ExecutionItem, pk, EXECUTION_SK
        case Kind.LAYER:
            return LayerItem, pk, f"LAYER#{int(change.key):04d}"
        case Kind.RESOURCE:
            return ResourceItem, pk, f"RES#{change.key}"
        case Kind.APPROVAL:
            return ApprovalItem, pk, approval_sk(int(change.key or 0))
        case Kind.LOCK:
            return LockItem, f"LOCK#{execution.application}#{change.key}", "LOCK"


def apply(transaction: TransactWrite, execution: Execution, change: Change) -> None:
    """Add a change of the execution's records; a condition where it has no values."""
    model, pk, sk = _where(execution, change)
    condition = _condition(model, change.expected)
    if not change.values:
        transaction.condition_check(model, pk, sk, condition=condition)
        return
    values = dict(change.values)
    if "due_at" in values:
        values["due_pk"] = None if values["due_at"] is None else f"DUE#{execution.home_region}"
    if change.kind is Kind.EXECUTION and "status" in values:
        values["standing"] = standing(ExecutionStatus(str(values["status"])), execution.home_region)
    actions: list[Action] = []
    for name, value in values.items():
        attribute = getattr(model, name)
        actions.append(attribute.remove() if value is None else attribute.set(value))
    transaction.update(model(pk, sk), actions=actions, condition=condition)


def _condition(model: type[Item], expected: Mapping[str, object]) -> Condition:
    condition: Condition = model.pk.exists()
    for name, value in expected.items():
        attribute = getattr(model, name)
        condition &= attribute.does_not_exist() if value is None else attribute == value
    return condition


def save_events(transaction: TransactWrite, execution: Execution, emitted: Iterable[Event], now: datetime) -> None:
    """Add the events, as items of the outbox."""
    for event in emitted:
        event_id = events.new_event_id(now)
        detail = events.detail(execution, event, event_id, now)
        transaction.save(event_item(pk_of(execution.id), event_id, event.detail_type, detail, execution.home_region))


def event_item(pk: str, event_id: str, detail_type: DetailType, detail: str, home: str) -> EventItem:
    """The item of an event, from which the relay publishes it in its home Region."""
    return EventItem(
        pk,
        f"EVT#{event_id}",
        source=detail_type.source,
        detail_type=detail_type.value,
        detail=detail,
        home=home,
        trace_header=trace_header(),
    )
