"""An in-memory state table: the conditional semantics of `dr_core.state.Table`, without a technology."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from dr_core import approval_rules
from dr_core.phases import Mode, Phase
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
    State,
)

T0 = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
SOURCE, TARGET = "us-east-1", "us-west-2"
SHA = "5ha"
_MOST_ACTIONS = 100  # of one transaction


@dataclass(frozen=True, slots=True)
class Lock:
    """Who may act on the application in one Region."""

    owner: str | None = None
    fence: int = 0
    free_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it was stored with its move; `sequence` orders all events of the table."""

    sequence: int
    execution_id: str
    event: Event


Record = Execution | Layer | Resource | Approval | Lock
Key = tuple[str, Kind, str]
Observer = Callable[[str, Move, list[tuple[Record, Record]]], None]
R = TypeVar("R", Execution, Layer, Resource, Approval, Lock)


@dataclass
class MemoryTable:
    """Records by execution, kind and key. Observers see each move that is carried out, with its records before and after."""

    records: dict[Key, Record] = field(default_factory=dict)
    events: list[StoredEvent] = field(default_factory=list)
    observers: list[Observer] = field(default_factory=list)

    # --- reading ---

    def load(self, execution_id: str) -> State:
        """A snapshot as the product reads it, at one moment."""
        steps = self.load_in_steps(execution_id)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                state: State = finished.value
                return state

    def load_in_steps(self, execution_id: str) -> Generator[None, None, State]:
        """The same in the order of the product's reads, with a pause between them in which anything may happen."""
        layers = self.layers(execution_id)
        yield
        execution = self.execution(execution_id)
        yield
        layer = State(execution, layers).approval_layer()
        approval = None if layer is None else self._get(Approval, execution_id, Kind.APPROVAL, str(layer or ""))
        return State(execution, layers, self.resources(execution_id, execution.current_layer), approval)

    def load_resource(self, execution_id: str, resource_id: str) -> State:
        """What an executor and a check read: the execution and one resource."""
        return State(self.execution(execution_id), resources=(self.resource(execution_id, resource_id),))

    def execution(self, execution_id: str) -> Execution:
        """The execution itself."""
        return self._get(Execution, execution_id, Kind.EXECUTION)

    def approval(self, execution_id: str) -> Approval:
        """The approval that is waited for, or else the last one that was; whatever its status."""
        return [one for one in self.approvals(execution_id) if one.is_wanted][-1]

    def approvals(self, execution_id: str) -> tuple[Approval, ...]:
        """The execution's approval and those before its layers, by the layers' numbers."""
        return tuple(sorted(self._all(Approval, execution_id), key=lambda approval: approval.layer))

    def layers(self, execution_id: str) -> tuple[Layer, ...]:
        """All layers in order of their numbers."""
        return tuple(sorted(self._all(Layer, execution_id), key=lambda layer: layer.number))

    def resource(self, execution_id: str, resource_id: str) -> Resource:
        """One resource."""
        return self._get(Resource, execution_id, Kind.RESOURCE, resource_id)

    def resources(self, execution_id: str, layer: int | None = None) -> tuple[Resource, ...]:
        """The resources of a layer, or of all layers, in order of their ids."""
        found = (r for r in self._all(Resource, execution_id) if layer is None or r.layer == layer)
        return tuple(sorted(found, key=lambda resource: resource.id))

    def lock(self, region: str) -> Lock:
        """The application's lock on a Region."""
        return self._get(Lock, "", Kind.LOCK, region)

    def due(self, now: datetime) -> list[str]:
        """The executions of which a record is overdue: all that the sweep can see."""
        overdue = (key[0] for key, record in self.records.items() if (due := getattr(record, "due_at", None)) and due <= now)
        return list(dict.fromkeys(overdue))

    def timeline(self, execution_id: str) -> list[Event]:
        """The events of one execution, in order."""
        return [stored.event for stored in self.events if stored.execution_id == execution_id]

    def _get(self, kind_of: type[R], execution_id: str, kind: Kind, key: str = "") -> R:
        record = self.records[execution_id, kind, key]
        assert isinstance(record, kind_of)
        return record

    def _all(self, kind_of: type[R], execution_id: str) -> list[R]:
        return [record for key, record in self.records.items() if key[0] == execution_id and isinstance(record, kind_of)]

    # --- writing ---

    def commit(self, execution_id: str, move: Move) -> bool:
        """All changes of the move with its events, or nothing: False if one of the expected values is not the present one."""
        assert len(move.changes) + len(move.events) <= _MOST_ACTIONS, "more actions than one transaction takes"
        keys = [_key(execution_id, change) for change in move.changes]
        assert len(set(keys)) == len(keys), "two actions of a transaction on one record"
        for key, change in zip(keys, move.changes, strict=True):
            record = self.records[key]
            if any(getattr(record, name) != value for name, value in change.expected.items()):
                return False
        pairs = []
        for key, change in zip(keys, move.changes, strict=True):
            if change.values:
                before = self.records[key]
                after = self.records[key] = changed(before, change)
                pairs.append((before, after))
        self._append(execution_id, move.events)
        for observer in self.observers:
            observer(execution_id, move, pairs)
        return True

    def _append(self, execution_id: str, events: Sequence[Event]) -> None:
        for event in events:
            self.events.append(StoredEvent(len(self.events) + 1, execution_id, event))


def _key(execution_id: str, change: Change) -> Key:
    return ("" if change.kind is Kind.LOCK else execution_id, change.kind, change.key)


def changed(record: Record, change: Change) -> Record:
    """The record with the change's values; an attribute that is removed gets back the default of the record's field."""
    defaults: dict[str, Any] = {f.name: f.default for f in fields(record)}
    values: dict[str, Any] = {name: defaults[name] if value is None else value for name, value in change.values.items()}
    return replace(record, **values)


# --- beginning an execution ---


@dataclass(frozen=True, slots=True)
class ResourcePlan:
    """A resource as the manifest has it."""

    name: str
    max_attempts: int = 1
    timeout_seconds: int = 600
    lease_seconds: int = 120
    best_effort: bool = False
    module: str = "ECS"


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """A layer as the manifest has it."""

    number: int
    resources: tuple[ResourcePlan, ...]
    policy: Literal["drain", "failFast", "continue"] = "drain"
    max_failures: int = 0
    approval: bool = False


def resource_id(layer: int, index: int) -> str:
    """The id of the layer's resource at `index`."""
    return f"{layer:04d}-{index:03d}"


def begin(
    table: MemoryTable, layers: Sequence[LayerPlan], *, execution_id: str = "e1", now: datetime = T0, ttl: timedelta = timedelta(hours=1)
) -> bool:
    """Store a new execution that waits for its approval and owns both locks. False, and nothing stored, if a lock is held."""
    locks: list[Key] = [("", Kind.LOCK, region) for region in (SOURCE, TARGET)]
    held = {key: table.records.get(key, Lock()) for key in locks}
    if any(isinstance(lock, Lock) and lock.owner is not None for lock in held.values()):
        return False
    execution = Execution(
        id=execution_id,
        application="shop",
        phase=Phase.ACTIVATE,
        mode=Mode.PLANNED,
        source_region=SOURCE,
        target_region=TARGET,
        home_region=TARGET,
        status=ExecutionStatus.PENDING_APPROVAL,
        current_layer=0,
        layers_total=len(layers),
        fence=1,
        manifest_sha256=SHA,
        manifest_version_id="v1",
        requested_by="rita",
        reason="drill",
        requested_at=now,
        due_at=now,
    )
    approval = Approval(ApprovalStatus.PENDING, now + ttl, SHA, "rita", due_at=now, opened_at=now)
    table.records.update({key: Lock(execution_id, getattr(lock, "fence", 0) + 1) for key, lock in held.items()})
    table.records[execution_id, Kind.EXECUTION, ""] = execution
    table.records[execution_id, Kind.APPROVAL, ""] = approval
    for plan in layers:
        layer = Layer(plan.number, LayerStatus.PENDING, 0, len(plan.resources), plan.policy, plan.max_failures)
        layer = replace(layer, approval_seconds=int(ttl.total_seconds()) if plan.approval else None)
        table.records[execution_id, Kind.LAYER, str(plan.number)] = layer
        for index, resource in enumerate(plan.resources):
            record = _resource(plan.number, index, resource)
            table.records[execution_id, Kind.RESOURCE, record.id] = record
    for one in approval_rules.of_layers(approval, table.layers(execution_id)):
        table.records[execution_id, Kind.APPROVAL, str(one.layer)] = one
    table._append(execution_id, (Event(DetailType.EXECUTION_REQUESTED),))
    return True


def _resource(layer: int, index: int, plan: ResourcePlan) -> Resource:
    return Resource(
        id=resource_id(layer, index),
        layer=layer,
        name=plan.name,
        module=plan.module,
        account="111122223333",
        parameters="{}",
        status=ResourceStatus.PENDING,
        attempt=0,
        check_no=0,
        spent=0,
        max_attempts=plan.max_attempts,
        timeout_seconds=plan.timeout_seconds,
        lease_seconds=plan.lease_seconds,
        best_effort=plan.best_effort,
    )
