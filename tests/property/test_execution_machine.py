"""The rules under chaos: real decisions, a network that repeats, reorders and loses, handlers that crash, operators that interfere."""

import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dr_core.errors import ErrorClass
from dr_core.moves import about
from dr_core.records import ApprovalStatus, DetailType, ResourceStatus
from dr_core.triggers import Expire
from tests.property.invariants import Watch, check_state
from tests.property.scenarios import Scenario, scenarios
from tests.support.memory_table import MemoryTable, begin
from tests.support.simulation import Handler, Message, Simulation, command, vote
from tests.support.world import World

ONE = "e1"
picks = st.integers(0, 1_000)
COMMANDS = ("pause", "resume", "cancel", "retry", "skip", "force-complete", "abandon")


class ExecutionMachine(RuleBasedStateMachine):
    """One execution from its request on; a second one tries to get its locks."""

    bus_works = True
    skew_seconds = 0.0

    @initialize(
        scenario=scenarios(approvals=(False, False, True)), seed=st.integers(0, 1_000), approved=st.sampled_from([True, True, True, False])
    )
    def request(self, scenario: Scenario, seed: int, approved: bool) -> None:
        """An operator's request has been accepted; mostly it is approved at once."""
        self.table = MemoryTable()
        self.watch = Watch(self.table)
        self.table.observers.append(self.watch)
        assert begin(self.table, scenario.layers, execution_id=ONE)
        world = World(scenario.scripts)
        self.simulation = Simulation(
            self.table, world, jitter=random.Random(seed), bus_works=self.bus_works, skew_seconds=self.skew_seconds
        )
        self.simulation.relay()
        if approved:
            self.simulation.run(self.simulation.order(ONE, vote()))

    # --- the network ---

    def _message(self, pick: int) -> Message:
        return self.simulation.messages[pick % len(self.simulation.messages)]

    def _deliver(self, pick: int, keep: bool) -> Handler:
        message = self._message(pick)
        if not keep:
            self.simulation.messages.remove(message)
        return self.simulation.deliver(message)

    @precondition(lambda self: self.simulation.messages)
    @rule(pick=picks, keep=st.booleans())
    def deliver(self, pick: int, keep: bool) -> None:
        """A function starts on a message, which may come again."""
        self.simulation.step(self._deliver(pick, keep))

    @precondition(lambda self: self.simulation.messages)
    @rule(pick=picks, keep=st.booleans())
    def handle(self, pick: int, keep: bool) -> None:
        """A message is handled at one go."""
        self.simulation.run(self._deliver(pick, keep))

    @precondition(lambda self: self.simulation.messages and not self.simulation.handlers and not self.skew_seconds)
    @rule(pick=picks)
    def handle_twice(self, pick: int) -> None:
        """Handled twice is handled once. On clocks that differ it is later for the second one, and more may be due."""
        message = self._message(pick)
        self.simulation.run(self.simulation.deliver(message))
        once = dict(self.table.records)
        self.simulation.run(self.simulation.deliver(message))
        assert self.table.records == once, "I12"

    @precondition(lambda self: self.simulation.messages)
    @rule(pick=picks)
    def drop(self, pick: int) -> None:
        """A message is lost."""
        self.simulation.messages.remove(self._message(pick))

    @precondition(lambda self: self.simulation.history)
    @rule(pick=picks)
    def replay(self, pick: int) -> None:
        """A message of the past comes again."""
        past = list(self.simulation.history)
        self.simulation.messages.append(past[pick % len(past)])

    @rule(pick=picks)
    def native_event(self, pick: int) -> None:
        """AWS says that something has changed, rightly or not: what waits is looked at ahead of its time."""
        waiting = [r for r in self.table.resources(ONE) if r.status is ResourceStatus.WAITING]
        for resource in waiting[pick % len(waiting) :] if waiting else ():
            self.simulation.send(ONE, about(resource, DetailType.RESOURCE_WAITING, checkNo=resource.check_no))

    # --- the functions ---

    @precondition(lambda self: self.simulation.handlers)
    @rule(pick=picks, steps=st.integers(1, 4))
    def step(self, pick: int, steps: int) -> None:
        """A running function gets on."""
        handler = self.simulation.handlers[pick % len(self.simulation.handlers)]
        while steps and self.simulation.step(handler):
            steps -= 1

    @precondition(lambda self: self.simulation.handlers)
    @rule(pick=picks)
    def crash(self, pick: int) -> None:
        """A running function dies."""
        self.simulation.crash(self.simulation.handlers[pick % len(self.simulation.handlers)])

    @rule()
    def sweep(self) -> None:
        """The sweep starts."""
        self.simulation.step(self.simulation.sweep())

    @rule()
    def sweep_all(self) -> None:
        """The sweep runs to its end."""
        self.simulation.run(self.simulation.sweep())

    @rule(seconds=st.sampled_from([1, 10, 30, 46, 61, 130, 300]))
    def tick(self, seconds: int) -> None:
        """Time passes."""
        self.simulation.tick(seconds)

    @rule(seconds=st.sampled_from([5, 30, 100]), rounds=st.integers(1, 3))
    def calm(self, seconds: int, rounds: int) -> None:
        """For a while, everything works."""
        for _ in range(rounds):
            self.simulation.calm()
            self.simulation.tick(seconds)

    # --- the world and the people ---

    @rule(pick=picks, error=st.sampled_from(list(ErrorClass)))
    def upset(self, pick: int, error: ErrorClass) -> None:
        """The next observation of a resource fails."""
        resources = self.table.resources(ONE)
        self.simulation.world.upset(resources[pick % len(resources)].name, error)

    @rule(approve=st.booleans(), sha=st.sampled_from(["5ha", "5ha", "other"]))
    def vote(self, approve: bool, sha: str) -> None:
        """A person decides."""
        self.simulation.step(self.simulation.order(ONE, vote(approve, sha=sha)))

    @rule()
    def expire(self) -> None:
        """The approval's timer fires."""
        self.simulation.step(self.simulation.order(ONE, Expire()))

    @rule(name=st.sampled_from(COMMANDS), picks=st.lists(picks, max_size=2), at_once=st.booleans())
    def order(self, name: str, picks: list[int], at_once: bool) -> None:
        """An operator steers, with or without naming resources."""
        resources = self.table.resources(ONE, self.table.execution(ONE).current_layer)
        ids = dict.fromkeys(resources[pick % len(resources)].id for pick in picks) if resources else {}
        handler = self.simulation.order(ONE, command(name, *ids))
        if at_once:
            self.simulation.run(handler)
        else:
            self.simulation.step(handler)

    @rule(status=st.sampled_from([ResourceStatus.FAILED, ResourceStatus.TIMED_OUT, ResourceStatus.WAITING]))
    def mend(self, status: ResourceStatus) -> None:
        """An operator does what fits a resource that has failed or waits."""
        found = [r.id for r in self.table.resources(ONE, self.table.execution(ONE).current_layer) if r.status is status]
        name = "force-complete" if status is ResourceStatus.WAITING else "retry"
        for resource_id in found[:1]:
            self.simulation.run(self.simulation.order(ONE, command(name, resource_id)))

    # --- what holds ---

    @invariant()
    def holds(self) -> None:
        """Every safety property, in every state."""
        check_state(self.simulation, self.watch, ONE)
        ended = (DetailType.APPROVAL_GRANTED, DetailType.APPROVAL_REJECTED, DetailType.APPROVAL_EXPIRED)
        told = sorted(int(str(event.fields.get("layer", 0))) for event in self.table.timeline(ONE) if event.detail_type in ended)
        decided = [one.layer for one in self.table.approvals(ONE) if one.status is not ApprovalStatus.PENDING]
        assert told == decided, "I14: each approval is decided or expires, not both, and once"

    @precondition(lambda self: self.table.lock("us-east-1").owner == ONE)
    @rule()
    def contend(self) -> None:
        """Nobody else gets in while the execution holds its locks."""
        before = dict(self.table.records)
        assert not begin(self.table, (), execution_id="e2") and self.table.records == before, "I9"

    def teardown(self) -> None:
        """Faults end; what is left must come to rest, stay there, and shrug off everything that was ever sent."""
        if not hasattr(self, "simulation"):
            return
        simulation = self.simulation
        assert simulation.settle(ONE, seconds=60.0), "I20: it does not come to rest"
        self.holds()
        at_rest, events = dict(self.table.records), len(self.table.events)
        simulation.tick(86_400)
        simulation.run(simulation.sweep())
        assert not simulation.messages and self.table.records == at_rest and len(self.table.events) == events, "I21: the sweep is not quiet"
        for message in simulation.history:
            simulation.run(simulation.deliver(message))
        assert self.table.records == at_rest and len(self.table.events) == events, "I12: what is past changes nothing"
        if self.table.execution(ONE).status.is_terminal:
            assert begin(self.table, (), execution_id="e2"), "I9: the locks are free"
            for message in simulation.history:
                simulation.run(simulation.deliver(message))
            assert self.table.lock("us-west-2").owner == "e2"


class SilentBusMachine(ExecutionMachine):
    """Every event of the bus is lost: only what the sweep sends arrives."""

    bus_works = False


class SkewedClocksMachine(ExecutionMachine):
    """Clocks differ by up to 50 s: less than what a lease is longer than a function lives."""

    skew_seconds = 25.0


TestExecution = pytest.mark.failure(
    "Duplicate event, message delivered again",
    "Events out of order, a message of an earlier attempt",
    "A handler dies before its transaction",
    "A handler dies after its transaction",
    "An executor dies between claim and act",
    "An executor dies after its act, before its record",
    "Two Regions start the same application",
    "Cancel while data fails over",
)(ExecutionMachine.TestCase)
TestSilentBus = pytest.mark.failure("Event lost: a rule disabled, an event dropped")(SilentBusMachine.TestCase)
TestSkewedClocks = pytest.mark.failure("Clocks differ")(SkewedClocksMachine.TestCase)
