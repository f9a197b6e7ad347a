"""A short way to tell what happens to an execution: each line of a story is one trigger, decided and committed."""

from datetime import timedelta
from typing import Literal

from dr_core.commands import Command
from dr_core.errors import ErrorClass
from dr_core.execution import decide, lost_wake_ups
from dr_core.records import Approval, Event, Execution, Failure, Layer, Move, Resource
from dr_core.triggers import Checked, Claim, Outcome, Started, Trigger, Vote, Wake
from tests.support.memory_table import SHA, T0, LayerPlan, MemoryTable, ResourcePlan, begin, resource_id

DONE = Outcome("DONE", "there", 100)
IN_PROGRESS = Outcome("IN_PROGRESS", "half way", 50)
NOT_STARTED = Outcome("NOT_STARTED")


def error(error_class: ErrorClass, code: str = "Oops") -> Outcome:
    """The module raised."""
    return Outcome("ERROR", failure=Failure(code, error_class, "it went wrong", "req-1"))


def broken(error_class: ErrorClass = ErrorClass.RETRYABLE) -> Outcome:
    """The service says that it failed."""
    return Outcome("FAILED", failure=Failure("Broken", error_class, "it broke"))


class Story:
    """An execution and its clock. Resources are named by the number of their layer and their place in it, such as `1, 0`."""

    def __init__(self, *layers: LayerPlan | int, policy: Literal["drain", "failFast", "continue"] = "drain", **options: object) -> None:
        """`layers`: plans, or how many resources each layer has; `options` are those of every resource."""
        self.table = MemoryTable()
        self.now = T0
        self.owner = "executor-1"
        plans = [layer if isinstance(layer, LayerPlan) else _plan(i + 1, layer, policy, options) for i, layer in enumerate(layers)]
        assert begin(self.table, plans)

    # --- what happens ---

    def after(self, seconds: float) -> "Story":
        """Time passes."""
        self.now += timedelta(seconds=seconds)
        return self

    def decide(self, trigger: Trigger) -> Move | None:
        """What would follow, without doing it."""
        return decide(self.table.load("e1"), trigger, self.now)

    def do(self, trigger: Trigger) -> Move | None:
        """Decide and commit."""
        move = self.decide(trigger)
        if move is not None:
            assert self.table.commit("e1", move)
        return move

    def wake(self) -> "Story":
        """Take every step that the state leads to by itself."""
        for _ in range(100):
            if self.do(Wake()) is None:
                return self
        raise AssertionError("the execution does not come to rest")

    def approve(self) -> "Story":
        """Ann approves, and the execution starts."""
        self.do(Vote(True, "ann", "looks right", SHA))
        return self.wake()

    def claim(self, layer: int, index: int, attempt: int | None = None, before: str | None = None) -> bool:
        """The present executor claims the resource; to act, if it has noted what was there `before`."""
        resource = self.resource(layer, index)
        return self.do(Claim(resource.id, resource.attempt if attempt is None else attempt, self.owner, before)) is not None

    def started(self, layer: int, index: int, outcome: Outcome = IN_PROGRESS, handles: str | None = None) -> bool:
        """The present executor has acted, and saw this."""
        resource = self.resource(layer, index)
        return self.do(Started(resource.id, resource.attempt, self.owner, outcome, handles, 5.0, 0.5)) is not None

    def checked(self, layer: int, index: int, outcome: Outcome) -> bool:
        """The resource is observed."""
        resource = self.resource(layer, index)
        return self.do(Checked(resource.id, resource.attempt, resource.check_no, outcome, 10.0, 0.5)) is not None

    def begun(self, layer: int, index: int) -> "Story":
        """The resource is claimed and acted on; it now waits for its checks."""
        assert self.claim(layer, index, before="[]") and self.started(layer, index)
        return self

    def adopted(self, layer: int, index: int) -> "Story":
        """The resource is claimed, and something is found to be under way already; it now waits for its checks."""
        assert self.claim(layer, index) and self.started(layer, index)
        return self

    def ends(self, layer: int, index: int, outcome: Outcome = DONE) -> "Story":
        """The resource goes all the way to this outcome, and the execution follows."""
        self.begun(layer, index)
        assert self.checked(layer, index, outcome)
        return self.wake()

    def order(self, name: str, *places: tuple[int, int]) -> Move:
        """Olga gives a command."""
        move = self.do(Command(name, "olga", "because", tuple(resource_id(*place) for place in places)))  # type: ignore[arg-type]
        assert move is not None
        return move

    # --- what is there ---

    @property
    def execution(self) -> Execution:
        """The execution."""
        return self.table.execution("e1")

    @property
    def approval(self) -> Approval:
        """Its approval."""
        return self.table.approval("e1")

    def resource(self, layer: int, index: int) -> Resource:
        """One resource."""
        return self.table.resource("e1", resource_id(layer, index))

    def layer(self, number: int) -> Layer:
        """One layer."""
        return next(layer for layer in self.table.layers("e1") if layer.number == number)

    def statuses(self, layer: int) -> list[str]:
        """The statuses of a layer's resources."""
        return [r.status.value for r in self.table.resources("e1", layer)]

    def events(self) -> list[str]:
        """The detail-types of all events so far."""
        return [event.detail_type.value for event in self.table.timeline("e1")]

    def last(self, detail_type: str) -> Event:
        """The latest event of a kind."""
        return next(event for event in reversed(self.table.timeline("e1")) if event.detail_type == detail_type)

    def lost(self) -> list[str]:
        """The wake-ups that the sweep would send again, in words."""
        found = lost_wake_ups(self.table.load("e1"), self.now)
        return [" ".join([event.detail_type, str(event.fields.get("resourceId", ""))]).strip() for event in found]

    def locks(self) -> list[str | None]:
        """Who holds the locks."""
        return [self.table.lock(region).owner for region in ("us-east-1", "us-west-2")]


def _plan(number: int, size: int, policy: Literal["drain", "failFast", "continue"], options: dict[str, object]) -> LayerPlan:
    resources = tuple(ResourcePlan(f"r{number}{'abcdefgh'[i]}", **options) for i in range(size))  # type: ignore[arg-type]
    return LayerPlan(number, resources, policy)
