"""The table in memory, on which the protocol is explored, and the table in DynamoDB answer alike and keep alike."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dr_core.commands import Command, NotAllowedError
from dr_core.errors import ErrorClass
from dr_core.execution import decide
from dr_core.records import Approval, Change, Execution, Failure, Kind, Layer, LayerStatus, Move, Resource, ResourceStatus, State
from dr_core.triggers import Asked, Checked, Claim, Expire, Outcome, Started, TokenHeld, Trigger, Vote, Wake
from tests.support.control_plane import Cloud, emulated
from tests.support.memory_table import SHA, SOURCE, T0, TARGET, LayerPlan, MemoryTable, ResourcePlan, begin, resource_id

PLANS = (
    LayerPlan(1, (ResourcePlan("a", max_attempts=2), ResourcePlan("b", best_effort=True)), policy="continue", max_failures=1),
    LayerPlan(3, (ResourcePlan("c"),)),
)
IDS = [resource_id(1, 0), resource_id(1, 1), resource_id(3, 0)]

SMALL = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, socket_disabled: None) -> Iterator[Cloud]:
    with emulated(monkeypatch) as made:
        yield made


class Twins:
    """One execution, in both tables."""

    def __init__(self, cloud: Cloud) -> None:
        self.id, self.now = "e1", T0
        self.memory, self.dynamo = MemoryTable(), cloud.table
        cloud.empty()
        assert begin(self.memory, PLANS)
        parts = self.memory.layers(self.id), self.memory.resources(self.id), self.memory.approval(self.id)
        assert self.dynamo.create(self.memory.execution(self.id), *parts, T0)
        self.snapshots = [self.memory.load(self.id)]

    def commit(self, move: Move) -> bool:
        """Carry the move out in both, and hold one against the other."""
        execution = self.memory.execution(self.id)
        known = all((self.id if c.kind is not Kind.LOCK else "", c.kind, c.key) in self.memory.records for c in move.changes)
        here = known and self.memory.commit(self.id, move)
        there = self.dynamo.commit(execution, move, self.now)
        assert here == there, f"{move} is {here} in memory, {there} in DynamoDB"
        if here:
            self.snapshots.append(self.memory.load(self.id))
            assert self.dynamo.load(self.id) == self.snapshots[-1]
        return here

    def compare(self) -> None:
        """The same records, the same events, the same answers to all who ask."""
        assert self.dynamo.load(self.id) == self.memory.load(self.id)
        assert self.dynamo.resources(self.id) == self.memory.resources(self.id)
        assert self.dynamo.approval(self.id) == self.memory.approval(self.id)
        held = {region: owner for region in (SOURCE, TARGET) if (owner := self.memory.lock(region).owner)}
        assert self.dynamo.locked_by("shop", (SOURCE, TARGET)) == held
        told = [entry.detail_type for entry in self.dynamo.timeline(self.id)]
        assert told == [event.detail_type for event in self.memory.timeline(self.id)]
        for moment in (self.now, self.now + timedelta(days=9)):
            assert (self.id in self.dynamo.due(TARGET, moment, limit=10_000)) == (self.id in self.memory.due(moment))


OUTCOMES = st.sampled_from(
    [
        Outcome("DONE", "there", 100),
        Outcome("IN_PROGRESS", "", None),
        Outcome("NOT_STARTED"),
        Outcome("FAILED", failure=Failure("Broken", ErrorClass.RETRYABLE, "it broke — über", "req-1")),
        Outcome("ERROR", failure=Failure("No", ErrorClass.TERMINAL, "no")),
        Outcome("ERROR", failure=Failure("Slow", ErrorClass.THROTTLED, "slow")),
    ]
)
RESOURCE = st.sampled_from(IDS)
OWNER = st.sampled_from(["x", "y"])
COMMANDS = st.sampled_from(["pause", "resume", "cancel", "retry", "skip", "force-complete", "abandon"])
STEPS = st.one_of(
    st.just(("wake",)),
    st.just(("wake",)),
    st.tuples(st.just("claim"), RESOURCE, OWNER, st.sampled_from([None, '{"was": 1}']), st.sampled_from([None, 1.5])),
    st.tuples(st.just("started"), RESOURCE, OWNER, OUTCOMES),
    st.tuples(st.just("checked"), RESOURCE, OUTCOMES),
    st.tuples(st.just("vote"), st.booleans()),
    st.sampled_from([("asked",), ("token",), ("expire",)]),
    st.tuples(st.just("command"), COMMANDS),
    st.tuples(st.just("pass"), st.sampled_from([1, 50, 200, 4000])),
)


def trigger(state: State, step: tuple[object, ...]) -> Trigger | None:
    """The step as a trigger with the fences of the state."""
    name, *rest = step
    resource = state.resource(str(rest[0])) if rest else None
    attempt, check_no = (resource.attempt, resource.check_no) if resource else (1, 1)
    match name, rest:
        case "wake", _:
            return Wake()
        case "claim", (str(one), str(owner), before, lag):
            return Claim(one, attempt, owner, before, lag)  # type: ignore[arg-type]
        case "started", (str(one), str(owner), Outcome() as outcome):
            return Started(one, attempt, owner, outcome, "[]", 5.0, 0.5)
        case "checked", (str(one), Outcome() as outcome):
            return Checked(one, attempt, check_no, outcome, 5.0, 0.5)
        case "vote", (bool(yes),):
            return Vote(yes, "ann", "", SHA)
        case "command", (str(what),):
            return Command(what, "olga", "because")  # type: ignore[arg-type]
        case "asked", _:
            return Asked()
        case "token", _:
            return TokenHeld("the-token")
        case _:
            return Expire()


def test_both_follow_the_same_story(cloud: Cloud) -> None:
    @SMALL
    @given(st.lists(st.tuples(STEPS, st.integers(0, 3)), max_size=25))
    def story(steps: list[tuple[tuple[object, ...], int]]) -> None:
        twins = Twins(cloud)
        _play(twins, ("vote", True), 0)
        _play(twins, ("wake",), 0)
        _play(twins, ("wake",), 0)
        for step, age in steps:
            _play(twins, step, age)
        twins.compare()

    story()


def _play(twins: Twins, step: tuple[object, ...], age: int) -> None:
    """One step, decided on what was read `age` moves ago."""
    if step[0] == "pass":
        twins.now += timedelta(seconds=int(str(step[1])))
        return
    seen = twins.snapshots[-1 - min(age, len(twins.snapshots) - 1)]
    try:
        move = decide(seen, trigger(seen, step) or Wake(), twins.now)
    except NotAllowedError:
        return
    if move is not None:
        twins.commit(move)


VALUES: dict[Kind, dict[str, list[object]]] = {
    Kind.RESOURCE: {
        "status": list(ResourceStatus),
        "attempt": [0, 1, 2],
        "check_no": [0, 1],
        "lease_owner": [None, "x", "y"],
        "lease_until": [None, T0, T0 + timedelta(milliseconds=1)],
        "due_at": [None, T0, T0 + timedelta(days=1)],
        "failure": [None, Failure("A", ErrorClass.TERMINAL, "…"), Failure("A", ErrorClass.TERMINAL, "…", "r")],
        "percent": [None, 0, 100],
        "handles": [None, "", "[]"],
        "best_effort": [True, False],
    },
    Kind.LAYER: {"status": list(LayerStatus), "epoch": [0, 1], "ended_at": [None, T0]},
    Kind.EXECUTION: {"fence": [1, 2], "current_layer": [0, 1, 3], "due_at": [None, T0], "client_token": [None, "t"]},
    Kind.APPROVAL: {"approver": [None, "ann", ""], "task_token": [None, "t"], "due_at": [None, T0]},
}
KEYS = {Kind.RESOURCE: [*IDS, "0009-000"], Kind.LAYER: ["1", "3", "2"], Kind.EXECUTION: [""], Kind.APPROVAL: [""]}


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Any change of any record: conditions that often hold, values that are often None."""
    kind = draw(st.sampled_from(list(VALUES)))
    of = {name: st.sampled_from(values) for name, values in VALUES[kind].items()}
    expected = draw(st.fixed_dictionaries({}, optional=of).filter(lambda chosen: len(chosen) <= 2))
    return Change(kind, draw(st.sampled_from(KEYS[kind])), expected, draw(st.fixed_dictionaries({}, optional=of)))


def test_both_carry_out_the_same_moves(cloud: Cloud) -> None:
    held: list[bool] = []

    @SMALL
    @given(st.lists(st.lists(changes(), min_size=1, max_size=3, unique_by=lambda c: (c.kind, c.key)), max_size=12))
    def moves(moves: list[list[Change]]) -> None:
        twins = Twins(cloud)
        held.extend(twins.commit(Move(tuple(changes))) for changes in moves)
        twins.compare()

    moves()
    assert 0.1 < sum(held) / len(held) < 0.9, "both answers are tried"


def test_both_free_the_same_locks(cloud: Cloud) -> None:
    twins = Twins(cloud)
    assert not twins.commit(Move((Change(Kind.LOCK, TARGET, {"owner": "other"}, {"owner": None}),)))
    assert twins.commit(Move((Change(Kind.LOCK, TARGET, {"owner": twins.id}, {"owner": None}),)))
    assert not twins.commit(Move((Change(Kind.LOCK, TARGET, {"owner": twins.id}, {"owner": None}),)))


@pytest.mark.parametrize("record", [Execution, Layer, Resource, Approval])
def test_what_a_record_may_lack_is_none(record: type[Execution | Layer | Resource | Approval]) -> None:
    """An attribute that is absent reads as the field's default: a move that removes one must find None there, in both tables."""
    optional = [field for field in fields(record) if "None" in str(field.type)]
    assert optional and all(field.default is None for field in optional)
