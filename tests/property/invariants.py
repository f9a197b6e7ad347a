"""What must hold of an execution whatever happens, on each committed change and in each state."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from dr_core.errors import ErrorClass
from dr_core.records import (
    Approval,
    ApprovalStatus,
    DetailType,
    Event,
    Execution,
    ExecutionStatus,
    Layer,
    LayerStatus,
    Move,
    Resource,
    ResourceStatus,
)
from tests.property.replay import replay, tell
from tests.support.memory_table import SOURCE, TARGET, Lock, Record
from tests.support.simulation import Simulation

E, L, R, A = ExecutionStatus, LayerStatus, ResourceStatus, ApprovalStatus

EXECUTION_PATHS = {
    E.PENDING_APPROVAL: {E.RUNNING, E.REJECTED, E.EXPIRED, E.CANCELLED},
    E.RUNNING: {E.PENDING_APPROVAL, E.PAUSED, E.FAILED, E.CANCELLING, E.SUCCEEDED, E.SUCCEEDED_WITH_FAILURES},
    E.PAUSED: {E.RUNNING, E.CANCELLING, E.ABANDONED},
    E.FAILED: {E.RUNNING, E.CANCELLING, E.ABANDONED},
    E.CANCELLING: {E.CANCELLED},
}
LAYER_PATHS = {
    L.PENDING: {L.RUNNING},
    L.RUNNING: {L.SUCCEEDED, L.SUCCEEDED_WITH_FAILURES, L.FAILED, L.CANCELLED},
    L.FAILED: {L.RUNNING},
}
_NOT_BEGUN = {R.CANCELLED}
RESOURCE_PATHS = {
    R.PENDING: {R.REQUESTED, R.SKIPPED} | _NOT_BEGUN,
    R.REQUESTED: {R.STARTING, R.TIMED_OUT} | _NOT_BEGUN,
    R.STARTING: {R.STARTING, R.WAITING, R.REQUESTED, R.RETRY_WAIT, R.SUCCEEDED, R.FAILED, R.TIMED_OUT},
    R.WAITING: {R.WAITING, R.REQUESTED, R.RETRY_WAIT, R.SUCCEEDED, R.FAILED, R.TIMED_OUT},
    R.RETRY_WAIT: {R.REQUESTED} | _NOT_BEGUN,
    R.FAILED: {R.PENDING, R.SKIPPED},
    R.TIMED_OUT: {R.PENDING, R.SKIPPED},
}
APPROVAL_PATHS = {A.PENDING: {A.APPROVED, A.REJECTED, A.EXPIRED}}
SETTLED_WELL = {R.SUCCEEDED, R.SKIPPED}


class Stored(Protocol):
    """What is stored: the memory table of a simulation, or what a chaos run has seen of a real one."""

    def execution(self, execution_id: str) -> Execution:
        """The execution itself."""

    def approval(self, execution_id: str) -> Approval:
        """The approval, whatever its status."""

    def approvals(self, execution_id: str) -> tuple[Approval, ...]:
        """The execution's approval and those before its layers, by the layers' numbers."""

    def layers(self, execution_id: str) -> tuple[Layer, ...]:
        """All layers in order of their numbers."""

    def resources(self, execution_id: str, layer: int | None = None) -> tuple[Resource, ...]:
        """The resources of a layer, or of all layers, in order of their ids."""

    def lock(self, region: str) -> Lock:
        """The application's lock on a Region."""

    def timeline(self, execution_id: str) -> Iterable[Event]:
        """The events of one execution, in order."""


def is_note(before: Record, after: Record) -> bool:
    """Whether a sweep has only noted that nobody moves the resource."""
    if not isinstance(before, Resource) or not isinstance(after, Resource):
        return False
    return before != after and replace(after, stalled_at=before.stalled_at, stalled_sweeps=before.stalled_sweeps) == before


@dataclass
class Watch:
    """Looks at each change as it is committed."""

    table: Stored
    opened: Counter[int] = field(default_factory=Counter)
    closed: Counter[tuple[int, int]] = field(default_factory=Counter)
    checks: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    forced: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)

    def __call__(self, execution_id: str, move: Move, pairs: list[tuple[Record, Record]]) -> None:
        """The observer's entry."""
        execution = self.table.execution(execution_id)
        for before, after in pairs:
            if is_note(before, after):
                continue
            if isinstance(before, Execution) and isinstance(after, Execution):
                self._execution(before, after)
            elif isinstance(before, Layer) and isinstance(after, Layer):
                self._layer(execution_id, before, after)
            elif isinstance(before, Resource) and isinstance(after, Resource):
                self._resource(execution, before, after)
            elif isinstance(before, Approval) and isinstance(after, Approval):
                assert after.status is before.status or after.status in APPROVAL_PATHS.get(before.status, ())
            elif isinstance(after, Lock):
                assert isinstance(before, Lock) and before.owner == execution_id, "only the owner frees a lock"
        # What was measured is told with the claim, and is no change of status of its own.
        told = Counter(tell(event) for event in move.events if event.detail_type is not DetailType.RESOURCE_MEASURED)
        moved = Counter((name_of(after), status_of(after)) for before, after in pairs if status_of(before) != status_of(after))
        assert all(told[pair] == 1 for pair in moved), "I11: each change of status has its one event"

    def _execution(self, before: Execution, after: Execution) -> None:
        assert not before.status.is_terminal, "I10: terminal is absorbing"
        assert after.status is before.status or after.status in EXECUTION_PATHS[before.status], f"{before.status} -> {after.status}"
        assert after.fence >= before.fence and after.current_layer >= before.current_layer, "I7"
        if after.status is E.RUNNING and before.status is E.PENDING_APPROVAL:
            approval = self.table.approval(after.id)
            assert approval.status is A.APPROVED and approval.manifest_sha256 == after.manifest_sha256, "I14"

    def _layer(self, execution_id: str, before: Layer, after: Layer) -> None:
        assert after.epoch >= before.epoch, "I7"
        if after.status is before.status:
            return
        assert after.status in LAYER_PATHS[before.status], f"{before.status} -> {after.status}"
        if before.status is L.PENDING:
            if after.approval_seconds is not None and self.opened:
                granted = [one.layer for one in self.table.approvals(execution_id) if one.status is A.APPROVED]
                assert after.number in granted, "I14: a layer opens before its approval"
            self.opened[after.number] += 1
        elif after.status is L.RUNNING:
            assert after.epoch == before.epoch + 1, "a layer is re-opened in a new epoch only"
        else:
            self.closed[after.number, after.epoch] += 1
            going = {r.status for r in self.table.resources(execution_id) if r.layer == after.number and not r.status.is_terminal}
            assert not going or _is_held_back(after, going), f"I4: layer {after.number} is {after.status} with resources that are {going}"
        assert self.opened[after.number] == 1 and self.closed[after.number, after.epoch] <= 1, "I2"

    def _resource(self, execution: Execution, before: Resource, after: Resource) -> None:
        assert not execution.status.is_terminal or after.status is before.status, "I10: nothing moves after the end"
        assert after.status is before.status or after.status in RESOURCE_PATHS.get(before.status, ()), f"{before.status} -> {after.status}"
        assert after.attempt >= before.attempt and after.check_no >= before.check_no, "I7"
        failure = after.failure
        if after.status in (R.REQUESTED, R.STARTING) and (after.status, after.lease_owner) != (before.status, before.lease_owner):
            # The next step is asked for whatever a person has ordered: what then begins it is a claim.
            goes_on = (E.RUNNING, E.PAUSED, E.CANCELLING) if after.step > before.step else (E.RUNNING,)
            assert execution.status in goes_on and after.layer == execution.current_layer, "I8"
        assert after.attempt - before.attempt == (after.status is R.REQUESTED is not before.status), "one attempt for each request"
        if before.status in (R.STARTING, R.WAITING) and after.status is R.REQUESTED:
            self.steps[after.id] += 1
            assert after.step == before.step + 1 and after.spent == before.spent, "a step is no failed attempt"
        if after.step and before.step:
            assert before.deadline_at and after.deadline_at, "I22"
            held = timedelta(seconds=execution.held_seconds)
            assert before.deadline_at <= after.deadline_at <= before.deadline_at + held, "I22: all steps share one deadline"
        if before.status is after.status is R.WAITING:
            assert after.check_no == before.check_no + 1, "I24: each check has its number"
        if before.status is R.WAITING:
            self.checks[after.id, after.attempt, before.check_no] += 1
            assert self.checks[after.id, after.attempt, before.check_no] == 1, "I24: one chain of checks"
        if after.status is R.RETRY_WAIT and before.status is not R.RETRY_WAIT:
            assert failure is not None and after.spent - before.spent == (failure.error_class is not ErrorClass.THROTTLED), "I23"
            self.throttled[after.id] += failure.error_class is ErrorClass.THROTTLED
        if after.status is R.FAILED:
            assert failure is not None and failure.error_class is not ErrorClass.THROTTLED, "I23"
        if before.status in (R.FAILED, R.TIMED_OUT) and after.status is R.PENDING:
            self.retries[after.id] += 1
            others = self.table.resources(execution.id, after.layer)
            self.known = {other.id for other in others if other.status.is_failure}
        if after.status is R.SUCCEEDED and after.detail.startswith("forced by"):
            self.forced.add(after.name)


def check_records(table: Stored, watch: Watch, execution_id: str) -> None:
    """What must hold of the records in each state."""
    execution, layers, resources = table.execution(execution_id), table.layers(execution_id), table.resources(execution_id)
    check_layers(execution, layers, resources, watch.known)
    _check_locks(table, execution)
    if execution.status.is_terminal:
        assert execution.due_at is None and all(r.due_at is None for r in resources), "I10: no timer after the end"
    else:
        check_timers(table, execution, resources)
    for resource in resources:
        most = resource.max_attempts * (1 + watch.retries[resource.id]) + watch.throttled[resource.id] + watch.steps[resource.id]
        assert resource.attempt <= most, "I7: attempts"
    assert replay(table.timeline(execution_id)) == stored_statuses(table, execution_id), "I11: the events tell what is stored"


def check_state(simulation: Simulation, watch: Watch, execution_id: str) -> None:
    """What must hold in each state of the records and of the world."""
    check_records(simulation.table, watch, execution_id)
    world = simulation.world
    for resource in simulation.table.resources(execution_id):
        assert all(world.acts[resource.name, attempt] <= 1 for attempt in range(resource.attempt + 1)), "I5: one act per attempt"
        if resource.status is R.SUCCEEDED:
            assert resource.name in world.said_done or resource.name in watch.forced, "I6"
    held = Counter(handler.holds for handler in simulation.handlers if handler.holds is not None)
    assert all(n == 1 for n in held.values()), "two executors act on one resource"


def check_layers(execution: Execution, layers: tuple[Layer, ...], resources: tuple[Resource, ...], known: set[str]) -> None:
    """Layers open one after the other, and fail only for what failed. `known`: failures that hold nothing back."""
    for layer in layers:
        failures = [r for r in resources if r.layer < layer.number and r.status not in SETTLED_WELL]
        if layer.status is L.PENDING:
            continue
        tolerated = {other.number: other for other in layers if other.number < layer.number}
        for number, other in tolerated.items():
            bad = [r for r in failures if r.layer == number]
            assert all(r.status.is_failure for r in bad), "I1: a layer is open while an earlier one is not done"
            hard = sum(not r.best_effort for r in bad)
            assert hard <= (other.max_failures if other.policy == "continue" else 0), "I1: an earlier layer failed"
            expected = L.SUCCEEDED_WITH_FAILURES if bad else L.SUCCEEDED
            assert other.status is expected, "I1"
    if execution.status is E.SUCCEEDED:
        assert all(layer.status is L.SUCCEEDED for layer in layers), "I3"
    if execution.status is E.SUCCEEDED_WITH_FAILURES:
        assert {layer.status for layer in layers} <= {L.SUCCEEDED, L.SUCCEEDED_WITH_FAILURES}, "I3"
        assert any(r.status.is_failure for r in resources)
    if execution.status is E.FAILED:
        current = next(layer for layer in layers if layer.number == execution.current_layer)
        assert current.status is L.FAILED
        failed = [r for r in resources if r.layer == current.number and r.status.is_failure and not r.best_effort]
        assert len(failed) > (current.max_failures if current.policy == "continue" else 0), "I4"
        rest = {r.status for r in resources if r.layer == current.number and not r.status.is_terminal}
        assert not rest or _is_held_back(current, rest), "halted with work under way"
        assert not rest or any(r.id not in known for r in failed), "held back by failures that were known when others were retried"


def _is_held_back(layer: Layer, statuses: set[ResourceStatus]) -> bool:
    """Whether a layer that fails fast may have failed with resources in these statuses: they have not begun."""
    return layer.status is L.FAILED and layer.policy == "failFast" and statuses <= {R.PENDING, R.RETRY_WAIT}


def _check_locks(table: Stored, execution: Execution) -> None:
    for region in (SOURCE, TARGET):
        holds = table.lock(region).owner == execution.id
        assert holds != execution.status.is_terminal, "I9/I10: the locks are held to the end, and no longer"


def check_timers(table: Stored, execution: Execution, resources: tuple[Resource, ...]) -> None:
    """Whatever is alive is looked at some time, and ends some time."""
    if execution.status not in (E.FAILED,):
        assert execution.due_at is not None, "I19: the sweep cannot see the execution"
    approval = table.approval(execution.id)
    if approval.status is A.PENDING:
        assert approval.due_at is not None and approval.expires_at is not None, "I19, I22"
    for resource in resources:
        if resource.status in (R.REQUESTED, R.STARTING, R.WAITING, R.RETRY_WAIT):
            assert resource.due_at is not None, f"I19: {resource.status} without a timer"
        if resource.status in (R.REQUESTED, R.STARTING, R.WAITING):
            assert resource.deadline_at is not None, f"I22: {resource.status} without a deadline"
        if resource.status is R.STARTING:
            assert resource.lease_owner is not None and resource.lease_until is not None
        else:
            assert resource.lease_owner is None and resource.lease_until is None
        if resource.status.is_terminal:
            assert resource.due_at is None and resource.ended_at is not None


def name_of(record: Record) -> str:
    """The record's name, as the replay has it."""
    if isinstance(record, Resource):
        return f"resource {record.id}"
    if isinstance(record, Approval) and record.layer:
        return f"approval {record.layer}"
    return f"layer {record.number}" if isinstance(record, Layer) else type(record).__name__.lower()


def status_of(record: Record) -> str:
    """The record's status, empty where there is none."""
    return "" if isinstance(record, Lock) else record.status


def stored_statuses(table: Stored, execution_id: str) -> dict[str, str]:
    """The status of each record, by a name for it."""
    return {
        "execution": table.execution(execution_id).status,
        **{
            f"approval {one.layer}" if one.layer else "approval": one.status
            for one in table.approvals(execution_id)
            if not one.layer or one.votes or one.reminded or one.status is not A.PENDING
        },
        **{f"layer {layer.number}": layer.status for layer in table.layers(execution_id) if layer.status is not L.PENDING},
        **{f"resource {r.id}": r.status for r in table.resources(execution_id) if (r.attempt or r.status is not R.PENDING)},
    }
