"""The records as the model sees them: interned, and with only as much of time in them as decisions depend on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TypeVar

from dr_core.commands import NotAllowedError
from dr_core.records import Approval, Execution, Kind, Layer, Move, Resource, State
from dr_core.triggers import Trigger

from tests.support.memory_table import T0, LayerPlan, Lock, MemoryTable, begin, changed

# Every decision is taken at one moment; what is due is due, a lease or a deadline has passed or has not.
NOW = T0 + timedelta(days=1)
PAST, FUTURE = NOW - timedelta(hours=12), NOW + timedelta(hours=12)

Record = Execution | Layer | Resource | Approval | Lock
Decide = Callable[[State, Trigger], Move | None]
T = TypeVar("T", Execution, Layer, Resource, Approval, Lock)


@dataclass(frozen=True, slots=True)
class Facts:
    """All records of one execution."""

    execution: Execution
    layers: tuple[Layer, ...]
    resources: tuple[Resource, ...]
    approval: Approval
    locks: tuple[Lock, ...]

    @property
    def is_due(self) -> bool:
        """Whether the sweep can see the execution."""
        return any(record.due_at is not None for record in (self.execution, self.approval, *self.resources))


def initial(layers: Sequence[LayerPlan]) -> Facts:
    """An execution that waits for its approval."""
    table = MemoryTable()
    begin(table, layers)
    locks = (Lock("e1"), Lock("e1"))
    return timeless(Facts(table.execution("e1"), table.layers("e1"), table.resources("e1"), table.approval("e1"), locks))


def timeless(facts: Facts) -> Facts:
    """The facts without the moments and texts that no decision depends on."""
    return Facts(
        replace(facts.execution, requested_at=PAST, started_at=None, ended_at=None, resumed_at=None, due_at=_due(facts.execution), outcome_detail=""),
        tuple(replace(layer, started_at=None, ended_at=None) for layer in facts.layers),
        tuple(map(_timeless_resource, facts.resources)),
        replace(facts.approval, expires_at=FUTURE, asked_at=None, decided_at=None, due_at=_due(facts.approval), reason=""),
        facts.locks,
    )


def _due(record: Execution | Resource | Approval) -> object:
    return None if record.due_at is None else PAST


def _timeless_resource(resource: Resource) -> Resource:
    return replace(
        resource,
        lease_until=resource.lease_until and (FUTURE if resource.lease_until > NOW else PAST),
        deadline_at=resource.deadline_at and (FUTURE if resource.deadline_at > NOW else PAST),
        next_at=None if resource.next_at is None else PAST,
        due_at=_due(resource),
        started_at=None,
        ended_at=None,
        detail="",
        percent=None,
        failure=None,
        handles=None,
        before=None,
    )


def applied(facts: Facts, move: Move) -> Facts | None:
    """The facts after the move, or None if one of its conditions does not hold."""
    by_key: dict[tuple[Kind, str], Record] = {(Kind.EXECUTION, ""): facts.execution, (Kind.APPROVAL, ""): facts.approval}
    by_key |= {(Kind.LAYER, str(layer.number)): layer for layer in facts.layers}
    by_key |= {(Kind.RESOURCE, resource.id): resource for resource in facts.resources}
    regions = (facts.execution.source_region, facts.execution.target_region)
    by_key |= {(Kind.LOCK, region): lock for region, lock in zip(regions, facts.locks, strict=True)}
    for change in move.changes:
        record = by_key[change.kind, change.key]
        if any(getattr(record, name) != value for name, value in change.expected.items()):
            return None
    for change in move.changes:
        by_key[change.kind, change.key] = changed(by_key[change.kind, change.key], change)
    ...
