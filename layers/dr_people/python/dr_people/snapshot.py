"""Everything that the table says of one execution, at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dr_core.records import Approval, Execution, ExecutionStatus, Layer, Resource, State
from dr_core.state import Table
from dr_people.timeline import Happening, happening

ENDED_BADLY = frozenset(
    {
        ExecutionStatus.FAILED,
        ExecutionStatus.REJECTED,
        ExecutionStatus.EXPIRED,
        ExecutionStatus.CANCELLED,
        ExecutionStatus.ABANDONED,
    }
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An execution with its approvals, all its layers and resources, its events so far, and what preflight reported, as read at `now`.

    `approvals` are those that people are or were to decide on, in order.
    """

    execution: Execution
    approvals: tuple[Approval, ...]
    layers: tuple[Layer, ...]
    resources: tuple[Resource, ...]
    timeline: tuple[Happening, ...]
    preflight: tuple[Mapping[str, Any], ...]
    now: datetime

    @property
    def approval(self) -> Approval | None:
        """The last one that people are or were to decide on."""
        return self.approvals[-1] if self.approvals else None

    @property
    def elapsed_seconds(self) -> float:
        """From the request to the end, or until now."""
        return ((self.execution.ended_at or self.now) - self.execution.requested_at).total_seconds()

    @property
    def running_seconds(self) -> float | None:
        """From the start of the first layer to the end, or until now; None before."""
        if self.execution.started_at is None:
            return None
        return ((self.execution.ended_at or self.now) - self.execution.started_at).total_seconds()

    def resources_of(self, layer: Layer) -> tuple[Resource, ...]:
        """The resources of one layer."""
        return tuple(resource for resource in self.resources if resource.layer == layer.number)


def read(table: Table, state: State, now: datetime) -> Snapshot:
    """The rest of what there is to know of an execution just loaded."""
    execution_id = state.execution.id
    return Snapshot(
        execution=state.execution,
        approvals=tuple(one for one in table.approvals(execution_id) if one.is_wanted),
        layers=state.layers,
        resources=table.resources(execution_id),
        timeline=tuple(happening(entry) for entry in table.timeline(execution_id)),
        preflight=tuple(table.preflights(execution_id)),
        now=now,
    )
