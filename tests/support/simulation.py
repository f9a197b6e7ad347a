"""The handlers of the product as step-wise generators over a `MemoryTable`, and a network between them that keeps no promises.

Each `yield` is a point where anything may happen in between: another handler's step, a crash, the passing of time.
"""

import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from dr_core.checks import check_delay
from dr_core.commands import Command, NotAllowedError
from dr_core.errors import ErrorClass, ModuleError
from dr_core.execution import decide, lost_wake_ups
from dr_core.flow import carried_on
from dr_core.queues import follow_ups
from dr_core.records import DetailType, Event, Move, Resource, ResourceStatus, State
from dr_core.triggers import Asked, Checked, Claim, Outcome, Preflown, Started, Trigger, Vote, Wake
from tests.support.memory_table import T0, MemoryTable
from tests.support.world import World, outcome_of

# No handler outlives its function's time-out: less than the lease, so that a lease that has expired has no living holder.
FUNCTION_TIMEOUT = timedelta(seconds=60)
# What the template's rules bring to a function; nobody reacts to the rest.
ADVANCES = frozenset(
    {
        DetailType.APPROVAL_GRANTED,
        DetailType.APPROVAL_REJECTED,
        DetailType.APPROVAL_EXPIRED,
        DetailType.EXECUTION_RESUMED,
        DetailType.EXECUTION_CANCELLING,
        DetailType.LAYER_STARTED,
        DetailType.LAYER_REOPENED,
        DetailType.RESOURCE_SUCCEEDED,
        DetailType.RESOURCE_FAILED,
        DetailType.RESOURCE_TIMED_OUT,
        DetailType.RESOURCE_SKIPPED,
    }
)
_ROUTED = ADVANCES | {
    DetailType.EXECUTION_REQUESTED,
    DetailType.APPROVAL_REQUESTED,
    DetailType.RESOURCE_REQUESTED,
    DetailType.RESOURCE_WAITING,
}
_MOST_STEPS = 60

Steps = Generator[None, None, None]


@dataclass(frozen=True, slots=True)
class Message:
    """What a queue delivers: ids and fences."""

    detail_type: DetailType
    execution_id: str
    resource_id: str = ""
    attempt: int = 0
    check_no: int = 0

    @classmethod
    def of(cls, execution_id: str, event: Event) -> "Message":
        """The message that an event becomes."""
        fields = event.fields
        resource_id = str(fields.get("resourceId", ""))
        return cls(event.detail_type, execution_id, resource_id, int(str(fields.get("attempt", 0))), int(str(fields.get("checkNo", 0))))


@dataclass(eq=False)
class Handler:
    """A function that runs. `holds` is the resource that it has claimed."""

    name: str
    steps: Steps
    started_at: datetime
    holds: str | None = None

    def step(self) -> bool:
        """Run to the next pause; False at the end."""
        try:
            next(self.steps)
        except StopIteration:
            return False
        return True


@dataclass
class Simulation:
    """The table, the world, the clock, the messages in the queues and the handlers that run.

    With `skew_seconds` each look at a clock is wrong by up to so many seconds either way, as if every function ran on another machine.
    """

    table: MemoryTable
    world: World
    now: datetime = T0
    jitter: random.Random = field(default_factory=lambda: random.Random(0))
    bus_works: bool = True
    executors_work: bool = True
    skew_seconds: float = 0.0
    messages: list[Message] = field(default_factory=list)
    history: dict[Message, None] = field(default_factory=dict)
    handlers: list[Handler] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _relayed: int = 0
    _owners: Iterator[int] = field(default_factory=count)
    _running: Handler = field(init=False)

    def clock(self) -> datetime:
        """The time as one function sees it."""
        return self.now + timedelta(seconds=self.jitter.uniform(-self.skew_seconds, self.skew_seconds))

    # --- the network ---

    def relay(self) -> None:
        """Each event that was stored becomes a message, unless the bus is down."""
        for stored in self.table.events[self._relayed :]:
            if stored.event.detail_type in _ROUTED:
                self.send(stored.execution_id, stored.event)
        self._relayed = len(self.table.events)

    def send(self, execution_id: str, event: Event, by_sweep: bool = False) -> None:
        """Put a message in its queue; while the bus is down only the sweep's arrive."""
        if not (self.bus_works or by_sweep):
            return
        message = Message.of(execution_id, event)
        self.messages.append(message)
        self.history[message] = None

    def commit(self, execution_id: str, move: Move) -> bool:
        """Commit, and let the stream's reader do its work."""
        done = self.table.commit(execution_id, move)
        self.relay()
        return done

    # --- running handlers ---

    def deliver(self, message: Message) -> Handler:
        """Start the function that handles the message."""
        return self._start(message.detail_type, self._handle(message))

    def sweep(self) -> Handler:
        """Start the sweep."""
        return self._start("sweep", self._sweep())

    def order(self, execution_id: str, trigger: Trigger) -> Handler:
        """Start the function that takes a person's vote or command, or the approval's end."""
        return self._start(type(trigger).__name__, self._order(execution_id, trigger))

    def run(self, handler: Handler) -> None:
        """Let a handler run to its end, undisturbed."""
        while self.step(handler):
            pass

    def step(self, handler: Handler) -> bool:
        """Let a handler take one step; False at the end."""
        self._running = handler
        alive = handler.step()
        if not alive:
            self.crash(handler)
        return alive

    def crash(self, handler: Handler) -> None:
        """Nothing more is heard of the handler."""
        self.handlers = [other for other in self.handlers if other is not handler]

    def tick(self, seconds: float) -> None:
        """Time passes; functions that have run too long are stopped."""
        self.now += timedelta(seconds=seconds)
        self.handlers = [handler for handler in self.handlers if self.now < handler.started_at + FUNCTION_TIMEOUT]

    def _start(self, name: str, steps: Steps) -> Handler:
        handler = Handler(name, steps, self.now)
        self.handlers.append(handler)
        return handler

    # --- the handlers ---

    def _handle(self, message: Message) -> Steps:
        if message.detail_type is DetailType.RESOURCE_REQUESTED:
            return self._start_resource(message) if self.executors_work else self._nobody()
        if message.detail_type is DetailType.RESOURCE_WAITING:
            return self._check_resource(message)
        if message.detail_type is DetailType.EXECUTION_REQUESTED:
            return self._order(message.execution_id, Preflown(errors=0, warnings=0, calls=1))
        if message.detail_type is DetailType.APPROVAL_REQUESTED:
            return self._order(message.execution_id, Asked())
        return self._advance_one(message.execution_id)

    def _advance(self, execution_id: str) -> Generator[None, None, State]:
        known: State | None = None
        for _ in range(_MOST_STEPS):
            state = known or (yield from self.table.load_in_steps(execution_id))
            move = decide(state, Wake(), self.clock())
            if move is None:
                return state
            yield
            known = carried_on(state, move) if self.commit(execution_id, move) else None
            yield
        raise AssertionError("the execution does not come to rest")

    def _advance_one(self, execution_id: str) -> Steps:
        yield from self._advance(execution_id)

    def _follow(self, state: State, trigger: Trigger) -> Generator[None, None, bool]:
        now = self.clock()
        move = decide(state, trigger, now)
        if move is None:
            return False
        yield
        if not self.commit(state.execution.id, move):
            return False
        yield
        for event, _ in follow_ups(state, move, now):
            self.send(state.execution.id, event)
        return True

    def _order(self, execution_id: str, trigger: Trigger) -> Steps:
        state = yield from self.table.load_in_steps(execution_id)
        try:
            done = yield from self._follow(state, trigger)
        except NotAllowedError as refusal:
            self.refused.append(str(refusal))
            return
        if done and isinstance(trigger, Vote):
            self.votes.append(trigger)

    def _sweep(self) -> Steps:
        for execution_id in self.table.due(self.clock()):
            state = yield from self._advance(execution_id)
            for event in lost_wake_ups(state, self.clock()):
                yield
                self.send(execution_id, event, by_sweep=True)

    def _start_resource(self, message: Message) -> Steps:
        """Observe, claim, act if nothing is under way, observe. Who takes over acts only on what has not begun: the rest is for a new
        attempt."""
        ids = message.resource_id, message.attempt
        owner = f"executor-{next(self._owners)}"
        state = self.table.load_resource(message.execution_id, message.resource_id)
        resource = _only(state)
        takeover = resource.status is ResourceStatus.STARTING
        if decide(state, Claim(*ids, owner), self.clock()) is None:
            return
        yield
        try:
            outcome = self.world.observe(resource.name, self.now)
        except ModuleError as error:
            outcome = outcome_of(error)
        acts = outcome.kind == "NOT_STARTED" or (outcome.kind in ("FAILED", "NEXT_STEP") and not takeover)
        yield
        before, lag = ("{}", 1.5) if acts and resource.before is None else (None, None)
        if not (yield from self._follow(state, Claim(*ids, owner, before, lag))):
            return
        me = self._running
        me.holds = message.resource_id
        yield
        if acts:
            outcome = yield from self._act(message, resource.name)
        me.holds = None
        yield
        outcome = Outcome("IN_PROGRESS") if outcome.kind == "FAILED" else outcome  # it may be the last attempt's failure
        handles = f'["{message.attempt}"]'
        started = Started(*ids, owner, outcome, handles, check_delay(0, 5, 15, self.jitter.random()), self.jitter.random())
        yield from self._follow(self.table.load_resource(message.execution_id, message.resource_id), started)

    def _act(self, message: Message, name: str) -> Generator[None, None, Outcome]:
        assert self.table.resource(message.execution_id, message.resource_id).before is not None, "acts on what nobody captured"
        try:
            self.world.act(name, message.attempt, self.now)
        except ModuleError as error:
            return outcome_of(error)
        yield
        try:
            return self.world.observe(name, self.now)
        except ModuleError as error:
            return outcome_of(ModuleError(error.code, error.message, ErrorClass.AMBIGUOUS))

    def _nobody(self) -> Steps:
        """The message is taken, and nothing comes of it."""
        yield from ()

    def _check_resource(self, message: Message) -> Steps:
        state = self.table.load_resource(message.execution_id, message.resource_id)
        resource = _only(state)
        fences = (resource.status, resource.attempt, resource.check_no)
        if fences != (ResourceStatus.WAITING, message.attempt, message.check_no):
            return
        yield
        try:
            outcome = self.world.observe(resource.name, self.now)
        except ModuleError as error:
            outcome = outcome_of(error)
        yield
        delay = check_delay(message.check_no, 5, 15, self.jitter.random())
        checked = Checked(message.resource_id, message.attempt, message.check_no, outcome, delay, self.jitter.random())
        yield from self._follow(state, checked)

    # --- a fair schedule ---

    def settle(self, execution_id: str, rounds: int = 400, seconds: float = 15.0, shuffle: random.Random | None = None) -> bool:
        """Deliver everything, sweep, let time pass, until the execution ends or waits for a person. False if it never does."""
        for _ in range(rounds):
            self.calm(shuffle)
            if not self.messages and is_settled(self.table.load(execution_id)):
                return True
            self.tick(seconds)
        return False

    def calm(self, shuffle: random.Random | None = None) -> None:
        """What runs ends, what was sent arrives, and the sweep looks once."""
        for handler in tuple(self.handlers):
            self.run(handler)
        for message in self._take(shuffle):
            self.run(self.deliver(message))
        self.run(self.sweep())

    def _take(self, shuffle: random.Random | None) -> list[Message]:
        taken, self.messages = self.messages, []
        if shuffle is not None:
            taken += shuffle.choices(taken, k=len(taken) // 2) if taken else []
            shuffle.shuffle(taken)
        return taken


def _only(state: State) -> Resource:
    return state.resources[0]


def is_settled(state: State) -> bool:
    """Nothing is left to do but what a person must do, and nothing is under way."""
    status = state.execution.status
    if status.is_terminal or status == "FAILED":
        return True
    if status == "PAUSED":
        return all(r.status not in (ResourceStatus.STARTING, ResourceStatus.WAITING) for r in state.resources)
    return False


def vote(approve: bool = True, approver: str = "ann", sha: str = "5ha") -> Vote:
    """A person's vote."""
    return Vote(approve, approver, "seen", sha)


def command(name: str, *resource_ids: str) -> Command:
    """An operator's command."""
    return Command(name, "olga", "because", resource_ids)  # type: ignore[arg-type]
