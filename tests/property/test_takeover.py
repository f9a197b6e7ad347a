"""The home Region is lost at any moment; what has come to the other one is as torn as it may be. It takes over, and all comes to rest."""

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_core.commands import Command, NotAllowedError
from dr_core.records import Kind, Resource
from dr_core.takeover import LockHeld, Replica, give_up, take_over, tidied
from tests.property.invariants import Watch, check_layers, check_timers
from tests.property.scenarios import Scenario, acts, scenarios
from tests.support.memory_table import SOURCE, TARGET, Key, Lock, MemoryTable, Record, begin
from tests.support.simulation import Handler, Simulation, is_settled, vote
from tests.support.world import World

ONE, HERE = "e1", SOURCE
ORDER = Command("takeover", "olga", "the home Region is lost")
ABANDON = Command("abandon", "olga", "its records have not come")


class Lost:
    """An execution in its home Region, which is lost after some random steps, and every version of its records."""

    def __init__(self, scenario: Scenario, chance: random.Random) -> None:
        self.table = MemoryTable()
        self.watch = Watch(self.table)
        self.versions: list[dict[Key, Record]] = []
        self.table.observers += [self.watch, lambda *_: self.versions.append(dict(self.table.records))]
        assert begin(self.table, scenario.layers, execution_id=ONE)
        self.versions.append(dict(self.table.records))
        self.simulation = Simulation(self.table, World(scenario.scripts), jitter=random.Random(1))
        self.simulation.relay()
        self.simulation.run(self.simulation.order(ONE, vote()))
        for _ in range(chance.randrange(10)):
            self.simulation.tick(15)
            self.simulation.calm()
            if chance.random() < 0.4:
                self._vote()
        for _ in range(chance.randrange(60)):
            self._step(chance)

    def _vote(self) -> None:
        """People approve, also before a layer, if they are waited for."""
        if self.table.execution(ONE).status == "PENDING_APPROVAL":
            self.simulation.run(self.simulation.order(ONE, vote()))

    def _step(self, chance: random.Random) -> None:
        simulation = self.simulation
        if simulation.messages and chance.random() < 0.5:
            simulation.step(simulation.deliver(simulation.messages.pop(chance.randrange(len(simulation.messages)))))
        elif simulation.handlers and chance.random() < 0.9:
            simulation.step(chance.choice(simulation.handlers))
        else:
            simulation.tick(chance.choice([1, 5, 20]))
            if chance.random() < 0.2:
                simulation.step(simulation.sweep())

    def torn(self, chance: random.Random, lag: int) -> MemoryTable:
        """Each record as it was up to `lag` moves ago, whatever the others are."""
        last = len(self.versions) - 1
        table = MemoryTable({key: self.versions[max(0, last - chance.randint(0, lag))][key] for key in self.table.records})
        for region in (SOURCE, TARGET):
            if chance.random() < 0.2:
                table.records["", Kind.LOCK, region] = Lock(None, 0)  # as it was before the execution took it
        return table

    def executors(self) -> list[Handler]:
        """Those that hold a resource: the Region is lost, but a call that they made may still be carried out."""
        return [handler for handler in self.simulation.handlers if handler.holds is not None]


def replica(table: MemoryTable) -> Replica:
    """What is in the table, as the product reads it."""
    locks: dict[str, LockHeld | None] = {}
    for region in (SOURCE, TARGET):
        lock = table.records.get(("", Kind.LOCK, region))
        assert lock is None or isinstance(lock, Lock)
        locks[region] = LockHeld(lock.owner, lock.fence, free_at=lock.free_at) if lock else None
    approvals = {one.layer: one for one in table.approvals(ONE)}
    return Replica(table.execution(ONE), table.layers(ONE), table.resources(ONE), approvals, locks)


def take(simulation: Simulation) -> None:
    """As the product does. Raises NotAllowedError."""
    table, now = simulation.table, simulation.now
    move = take_over(replica(table), ORDER, HERE, now)
    while tidy := tidied(replica(table), HERE, now):
        assert simulation.commit(ONE, tidy)
        move = take_over(replica(table), ORDER, HERE, now)
    assert simulation.commit(ONE, move)


def waited_for(table: MemoryTable) -> int | None:
    """The layer whose approval is waited for, 0 for the execution's own."""
    return table.load(ONE).approval_layer()


def comes_to_rest(simulation: Simulation, people_vote: bool) -> bool:
    """Time passes and people approve whatever waits for them, or nobody does."""
    table = simulation.table
    for _ in range(400):
        simulation.calm()
        if not simulation.messages and is_settled(table.load(ONE)):
            return True
        if table.execution(ONE).status == "PENDING_APPROVAL" and people_vote:
            assert [one.status for one in table.approvals(ONE) if one.layer == waited_for(table)] == ["PENDING"], (
                "it waits for what is decided"
            )
            simulation.run(simulation.order(ONE, vote()))
        simulation.tick(60)
    return False


def number_of_attempts(world: World, name: str, fence: int) -> int:
    """How often the resource was acted on under the fence."""
    return sum(count for (who, attempt), count in world.acts.items() if who == name and attempt > 100 * (fence - 1))


@given(
    scenario=scenarios(acts, timeouts=(60, 600), approvals=(False, False, True)),
    seed=st.integers(0, 100_000),
    lag=st.sampled_from([0, 1, 3, 8, 200]),
)
def test_takeover_of_a_torn_replica_comes_to_rest(scenario: Scenario, seed: int, lag: int) -> None:
    """Nothing is acted on twice in one attempt, nobody acts beside an executor of the lost Region, and the locks are held to the end."""
    chance = random.Random(seed)
    lost = Lost(scenario, chance)
    table = lost.torn(chance, lag)
    simulation = Simulation(table, lost.simulation.world, now=lost.simulation.now, jitter=random.Random(2))
    if table.execution(ONE).status.is_terminal:
        return
    take(simulation)
    for message in chance.sample(list(lost.simulation.history), min(5, len(lost.simulation.history))):
        simulation.messages.append(message)  # what the lost Region had asked for
    here = table.execution(ONE)
    assert here.home_region == HERE and here.fence > lost.table.execution(ONE).fence
    assert here.status.is_terminal or all(table.lock(region).owner == ONE for region in (SOURCE, TARGET))
    for seconds in (0, 20, 30):  # the executors of the lost Region live for another minute
        simulation.tick(seconds)
        lost.simulation.tick(seconds)
        simulation.calm()
        for executor in lost.executors():
            name = table.resource(ONE, executor.holds or "").name
            assert number_of_attempts(simulation.world, name, here.fence) == 0, "acted beside an executor of the lost Region"
            lost.simulation.step(executor)
    assert comes_to_rest(simulation, chance.random() < 0.9), "I20: it does not come to rest"
    opened = [layer.number for layer in table.layers(ONE) if layer.status != "PENDING" and layer.approval_seconds is not None]
    approved = {one.layer for one in (*table.approvals(ONE), *lost.table.approvals(ONE)) if one.status == "APPROVED"}
    assert set(opened) - {min(layer.number for layer in table.layers(ONE))} <= approved, "I14: a layer is open that nobody has approved"
    assert all(count <= 1 for count in simulation.world.acts.values()), "I5: two acts in one attempt"
    execution, resources = table.execution(ONE), table.resources(ONE)
    check_layers(execution, table.layers(ONE), resources, set())
    if execution.status.is_terminal:
        assert execution.due_at is None and all(r.due_at is None for r in resources), "I10"
    else:
        check_timers(table, execution, resources)
    for region in (SOURCE, TARGET):
        assert (table.lock(region).owner == ONE) != execution.status.is_terminal, "I9/I10"
    for resource in resources:
        if resource.status == "SUCCEEDED":
            assert resource.name in simulation.world.said_done or resource.name in lost.watch.forced, "I6"
    at_rest = dict(table.records)
    simulation.tick(86_400)
    simulation.run(simulation.sweep())
    for message in simulation.history | lost.simulation.history:
        simulation.run(simulation.deliver(message))
    assert table.records == at_rest, "I12, I21"


def assert_given_up_for_good(lost: Lost, table: MemoryTable, late: Key, record: Record) -> None:
    """The execution ends here. What the lost Region had asked for and written comes `late`: nobody acts, and no lock stays for ever."""
    simulation = Simulation(table, World({}), now=lost.simulation.now, jitter=random.Random(2))
    assert simulation.commit(ONE, give_up(replica(table), ABANDON, HERE, simulation.now))
    execution = table.execution(ONE)
    assert (execution.status, execution.home_region, execution.due_at) == ("ABANDONED", HERE, None)
    assert execution.fence > lost.table.execution(ONE).fence
    locks = [lock for region in (SOURCE, TARGET) if isinstance(lock := table.records.get(("", Kind.LOCK, region)), Lock)]
    assert all(lock.free_at == simulation.now + timedelta(minutes=15) for lock in locks if lock.owner == ONE)
    with pytest.raises(NotAllowedError):
        take_over(replica(table), ORDER, HERE, simulation.now)
    table.records[late] = record
    simulation.tick(86_400)
    simulation.run(simulation.sweep())
    for message in lost.simulation.history:
        simulation.run(simulation.deliver(message))
    if isinstance(record, Lock) and record.owner == ONE:
        assert simulation.commit(ONE, take_over(replica(table), ORDER, HERE, simulation.now))
        assert table.lock(late[2]).owner is None
    assert not simulation.world.acts and table.execution(ONE) == execution


@pytest.mark.parametrize("missing", ["LAYER", "RESOURCE", "LOCK"])
@given(scenario=scenarios(acts), seed=st.integers(0, 100_000))
def test_takeover_without_a_record_is_refused_and_names_it(missing: str, scenario: Scenario, seed: int) -> None:
    """Or does not need it: what belongs to a closed layer."""
    chance = random.Random(seed)
    lost = Lost(scenario, chance)
    table = lost.torn(chance, 3)
    keys = [key for key in table.records if key[1] == missing]
    late = chance.choice(keys)
    gone = table.records.pop(late)
    execution = table.execution(ONE)
    if execution.status.is_terminal:
        return
    expected = {"LAYER": "layers, these have come", "RESOURCE": "these have come to us-east-1", "LOCK": "has not come here"}[missing]
    try:
        move = take_over(replica(table), ORDER, HERE, lost.simulation.now)
    except NotAllowedError as refusal:
        assert expected in str(refusal)
        assert_given_up_for_good(lost, table, late, gone)
        return
    with pytest.raises(NotAllowedError, match="it can be taken over"):
        give_up(replica(table), ABANDON, HERE, lost.simulation.now)
    if missing == "RESOURCE":
        assert isinstance(gone, Resource)
        moved = next(change for change in move.changes if change.kind is Kind.EXECUTION)
        assert gone.layer < int(str(moved.values["current_layer"])) or moved.values["status"] != "RUNNING"
    else:
        assert move.events[-1].detail_type == "Execution Completed"  # its locks were freed, or are no longer its own
