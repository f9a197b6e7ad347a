"""The protocol as a model: the product's decisions between handlers that run side by side, over a network without promises.

Messages: on `mono` what was ever sent can be delivered for ever (repeated, reordered, late or never); on `lossy` each is delivered once,
and any may vanish. A handler reads the layers, then the rest, decides, and commits some time later: at most `gap` handlers are between
read and commit at once, the others read and commit in one step. An executor observes between reading and committing its claim, and stops
also between its claim, its act and its record.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeVar

from dr_core.errors import ErrorClass
from dr_core.records import DetailType, Event, Failure, Resource, ResourceStatus
from dr_core.triggers import Checked, Claim, Expire, Outcome, Started, Trigger, Vote, Wake
from tests.model.checker import Step
from tests.model.facts import PAST, Book, Committed, Decide, Facts, really
from tests.support.memory_table import SHA, LayerPlan, ResourcePlan, resource_id
from tests.support.simulation import ADVANCES, command

T = TypeVar("T")
World = Literal["absent", "going", "next", "done", "broken"]
_SEEN = {
    "absent": Outcome("NOT_STARTED"),
    "going": Outcome("IN_PROGRESS"),
    "next": Outcome("NEXT_STEP"),
    "done": Outcome("DONE"),
    "broken": Outcome("FAILED", failure=Failure("Broken", ErrorClass.RETRYABLE, "it broke")),
}


class Message(NamedTuple):
    """What lies in a queue. `number` is the resource's."""

    kind: Literal["wake", "start", "check", "ended"]
    number: int = 0
    attempt: int = 0
    check_no: int = 0

    def __str__(self) -> str:
        return "wake" if self.kind == "wake" else f"{self.kind} r{self.number} #{self.attempt}.{self.check_no}"


class Reading(NamedTuple):
    """A function that has read the layers, and nothing else yet."""

    layers: int

    def __str__(self) -> str:
        return "advance"


class Deciding(NamedTuple):
    """A function that is about to commit; an executor's with its resource and the owner of the lease, a check's with its resource.

    `seen`: what an executor that wants to claim has observed, once it has.
    """

    move: int
    who: Literal["advance", "claim", "record", "check", "order"]
    number: int = -1
    attempt: int = 0
    owner: str = ""
    takeover: bool = False
    seen: str = ""

    def __str__(self) -> str:
        return self.who + (f" r{self.number}" if self.number >= 0 else "")


class Executor(NamedTuple):
    """An executor that has claimed. `seen` is what it observed before; empty once it has acted, or adopted."""

    number: int
    attempt: int
    owner: str
    takeover: bool
    seen: str

    def __str__(self) -> str:
        return f"r{self.number} #{self.attempt} by {self.owner}"


Function = Reading | Deciding | Executor


class Now(NamedTuple):
    """One state of everything."""

    facts: Facts
    world: tuple[World, ...]
    acts: tuple[tuple[int, ...], ...]
    messages: frozenset[Message]
    functions: frozenset[Function]
    budget: tuple[int, ...]
    counted: int = 0
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """A wake-up that brings along how many endings were counted; only a mutation looks at that."""

    endings: int


@dataclass(frozen=True, slots=True)
class Mutation:
    """A protection that is taken away from the protocol, to see that the search misses it."""

    decides: Decide = really
    counts_endings: bool = False
    lease_too_short: bool = False
    claims_on_a_later_read: bool = False
    owners_come_again: bool = False
    takeover_acts_on_failed: bool = False
    takeover_takes_next_step: bool = False
    sweeps: bool = True


@dataclass(frozen=True)
class Variant:
    """What is searched: how many resources each layer has, the network, and how often what may go wrong.

    `votes`: it begins before the approval. `asks`: the numbers of the layers that wait for an approval of their own.
    """

    layers: tuple[int, ...] = (2, 1)
    network: Literal["mono", "lossy"] = "mono"
    crash: int = 0
    broken: int = 0
    step: int = 0
    deadline: int = 0
    repoll: int = 0
    pause: int = 0
    cancel: int = 0
    retry: int = 0
    skip: int = 0
    abandon: int = 0
    force_complete: int = 0
    gap: int = 1
    max_attempts: int = 1
    votes: bool = False
    asks: tuple[int, ...] = ()
    policy: Literal["drain", "failFast", "continue"] = "drain"
    mutation: Mutation = field(default_factory=Mutation)


Label = tuple[object, ...]
_BUDGETS = ("crash", "broken", "step", "deadline", "repoll", "pause", "cancel", "retry", "skip", "abandon", "force-complete")
_ATTEMPTS = 6


class Protocol:
    """The transitions of a variant."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.mutation = variant.mutation
        plans = [
            LayerPlan(
                i + 1,
                tuple(ResourcePlan(f"r{i + 1}{k}", variant.max_attempts) for k in range(size)),
                variant.policy,
                approval=i + 1 in variant.asks,
            )
            for i, size in enumerate(variant.layers)
        ]
        self.ids = tuple(resource_id(plan.number, i) for plan in plans for i in range(len(plan.resources)))
        self.numbers = {key: number for number, key in enumerate(self.ids)}
        self.book = Book(plans, self._message, self.mutation.decides)
        self.lossy = variant.network == "lossy"
        self._orders_of: dict[Facts, list[tuple[str, str, Trigger]]] = {}

    def start(self) -> Now:
        """An approved execution, or with `votes` one that waits for its approval."""
        size = len(self.ids)
        budget = tuple(int(getattr(self.variant, name.replace("-", "_"))) for name in _BUDGETS)
        absent: tuple[World, ...] = tuple("absent" for _ in range(size))
        now = Now(self.book.start, absent, ((0,) * _ATTEMPTS,) * size, frozenset(), frozenset(), budget)
        if self.variant.votes:
            return now
        voted = self.book.decide(self.book.layers(now.facts), now.facts, Vote(True, "ann", "", SHA))
        assert voted is not None
        return self._committed(now, self.book.commit(now.facts, voted))

    # --- transitions ---

    def steps(self, now: Now) -> Iterator[Step[Now]]:
        """Everything that may happen next."""
        if now.wrong:
            return
        for message in now.messages:
            if self.lossy:
                yield Step(("lose", message), now._replace(messages=now.messages - {message}), helps=False)
            yield from self._deliver(now, message)
        for function in now.functions:
            if (budget := self._spend(now, "crash")) is not None:
                yield Step(("crash", function), self._without(now, function)._replace(budget=budget), helps=False)
            yield from self._run(now, function)
        yield from self._environment(now)
        yield from self._people(now)
        if self.mutation.sweeps:
            yield from self._sweep(now)

    def _deliver(self, now: Now, message: Message) -> Iterator[Step[Now]]:
        rest = now if not self.lossy else now._replace(messages=now.messages - {message})
        label = (message,)
        if message.kind == "wake":
            if self._may_pause(now):
                yield Step(("read", *label), self._with(rest, Reading(self.book.layers(now.facts))))
            else:
                yield self._at_once(label, rest, Wake(), Deciding(-1, "advance"))
        elif message.kind == "ended":
            counted = rest._replace(counted=min(rest.counted + 1, 9))
            yield self._at_once(label, counted, Wake(), Deciding(-1, "advance"))
        elif message.kind == "start":
            held_by = self.resource(now.facts, message.number).lease_owner
            owner = "a" if held_by is None else chr(ord(held_by) + 1)  # one that nobody had in this attempt
            if self.mutation.owners_come_again:
                owner = "b" if held_by == "a" else "a"
            takeover = held_by is not None
            trigger = Claim(self.ids[message.number], message.attempt, owner)
            claim = Deciding(-1, "claim", message.number, message.attempt, owner, takeover)
            seen = "" if self._may_pause(rest) else now.world[message.number]
            yield self._later(label, rest, trigger, claim._replace(seen=seen))
        else:
            yield from self._check(label, now, rest, message)

    def _check(self, label: Label, now: Now, rest: Now, message: Message) -> Iterator[Step[Now]]:
        seen = now.world[message.number]
        resource = self.resource(now.facts, message.number)
        goes_on = seen in ("absent", "going") and resource.deadline_at != PAST
        if goes_on and (resource.attempt, resource.check_no) == (message.attempt, message.check_no):
            budget = self._spend(now, "repoll")
            if budget is None:
                return  # one more check would only look the same again
            rest = rest._replace(budget=budget)
        trigger = Checked(self.ids[message.number], message.attempt, message.check_no, _SEEN[seen], 0.0, 0.0)
        yield self._later((*label, seen), rest, trigger, Deciding(-1, "check", message.number))

    def _run(self, now: Now, function: Function) -> Iterator[Step[Now]]:
        rest = self._without(now, function)
        if isinstance(function, Reading):
            move = self._decide(rest, Wake(), function.layers)
            yield Step(("decide",), rest if move is None else self._with(rest, Deciding(move, "advance")))
        elif isinstance(function, Deciding) and function.who == "claim" and not function.seen:
            yield Step(("observe", function), self._with(rest, function._replace(seen=now.world[function.number])))
        elif isinstance(function, Deciding):
            if function.who == "claim" and self.mutation.claims_on_a_later_read:
                again = self._decide(rest, Claim(self.ids[function.number], function.attempt, function.owner))
                function = function._replace(move=function.move if again is None else again)
            yield Step(("commit", function), self._commit(rest, function))
        elif function.seen:
            yield self._act(rest, function)
        else:
            seen = now.world[function.number]
            outcome = _SEEN["going" if seen == "broken" else seen]  # it may be the last attempt's failure: the checks decide
            trigger = Started(self.ids[function.number], function.attempt, function.owner, outcome, None, 0.0, 0.0)
            record = Deciding(-1, "record", function.number, function.attempt, function.owner)
            yield self._later(("record", function), rest, trigger, record)

    def _act(self, rest: Now, executor: Executor) -> Step[Now]:
        number, attempt = executor.number, executor.attempt
        recording = executor._replace(seen="")
        fresh = not executor.takeover or self.mutation.takeover_acts_on_failed
        due = executor.seen == "next" and (not executor.takeover or self.mutation.takeover_takes_next_step)
        if executor.seen == "absent" or (executor.seen == "broken" and fresh) or due:
            acts = _put(rest.acts, number, _put(rest.acts[number], attempt, rest.acts[number][attempt] + 1))
            acted = rest._replace(world=_put(rest.world, number, "going"), acts=acts)
            return Step(("act", executor), self._with(acted, recording))
        return Step(("adopt", executor), self._with(rest, recording))

    def _environment(self, now: Now) -> Iterator[Step[Now]]:
        for number, state in enumerate(now.world):
            if state == "going":
                yield Step(("done", number), now._replace(world=_put(now.world, number, "done")))
                if (budget := self._spend(now, "step")) is not None:
                    yield Step(("a step is done", number), now._replace(world=_put(now.world, number, "next"), budget=budget))
                if (budget := self._spend(now, "broken")) is not None:
                    yield Step(("breaks", number), now._replace(world=_put(now.world, number, "broken"), budget=budget), helps=False)
            resource = self.resource(now.facts, number)
            holders = [f for f in now.functions if isinstance(f, Executor | Deciding) and f.number == number and f.owner]
            living = [f for f in holders if f.owner == resource.lease_owner and getattr(f, "who", "") != "claim"]
            if resource.lease_until not in (None, PAST) and (not living or self.mutation.lease_too_short):
                expired = self.book.expired(now.facts, number, "lease_until")
                yield Step(("lease ends", number), now._replace(facts=expired))
            if resource.status in (ResourceStatus.STARTING, ResourceStatus.WAITING) and resource.deadline_at != PAST:
                nobody_acts = state == "absent" and resource.status is ResourceStatus.WAITING
                budget = now.budget if nobody_acts else self._spend(now, "deadline")
                if budget is not None:
                    late = self.book.expired(now.facts, number, "deadline_at")
                    yield Step(("deadline passes", number), now._replace(facts=late, budget=budget), helps=nobody_acts)

    def _people(self, now: Now) -> Iterator[Step[Now]]:
        for name, label, trigger in self._orders(now.facts):
            budget = self._spend(now, name) if name else now.budget
            if budget is None:
                continue
            yield replace(self._later((label,), now._replace(budget=budget), trigger, Deciding(-1, "order")), helps=False)

    def _sweep(self, now: Now) -> Iterator[Step[Now]]:
        if not self.book.is_due(now.facts):
            return
        if self._decide(now, Wake()) is not None:
            yield self._at_once(("sweep steps",), now, Wake(), Deciding(-1, "advance"))
            return
        again = self.book.lost(now.facts)
        if not again <= now.messages:
            yield Step(("sweep sends",), now._replace(messages=now.messages | again))

    # --- reading, deciding, committing ---

    def _decide(self, now: Now, trigger: Trigger | Counted, layers: int | None = None) -> int | None:
        if self.mutation.counts_endings and isinstance(trigger, Wake):
            trigger = Counted(now.counted)
        return self.book.decide(self.book.layers(now.facts) if layers is None else layers, now.facts, trigger)

    def _later(self, label: Label, now: Now, trigger: Trigger, then: Deciding) -> Step[Now]:
        """Read and decide; commit in a step of its own while another function may pause."""
        move = self._decide(now, trigger)
        if move is None:
            return Step((*label, "nothing"), now)
        if self._may_pause(now):
            return Step((*label, "decides"), self._with(now, then._replace(move=move)))
        return Step(label, self._commit(now, then._replace(move=move)))

    def _at_once(self, label: Label, now: Now, trigger: Trigger, then: Deciding) -> Step[Now]:
        move = self._decide(now, trigger)
        return Step((*label, "nothing"), now) if move is None else Step(label, self._commit(now, then._replace(move=move)))

    def _commit(self, now: Now, function: Deciding) -> Now:
        committed = self.book.commit(now.facts, function.move)
        if function.who == "advance" and self.lossy:
            now = now._replace(messages=now.messages | {Message("wake")})  # an advance goes on until nothing follows
        if committed is None:
            return now
        after = self._committed(now, committed)
        if function.who == "claim":
            if self.book.table(now.facts).execution("e1").status != "RUNNING":
                return after._replace(wrong="claimed while not RUNNING")
            return self._with(after, Executor(function.number, function.attempt, function.owner, function.takeover, function.seen))
        if function.who == "check":
            resource = self.resource(after.facts, function.number)
            if resource.status is ResourceStatus.WAITING:
                check = Message("check", function.number, resource.attempt, resource.check_no)
                return after._replace(messages=after.messages | {check})
        return after

    def _committed(self, now: Now, committed: Committed | None) -> Now:
        assert committed is not None
        return now._replace(facts=committed.facts, messages=now.messages | committed.messages)

    def _message(self, event: Event) -> Message | None:
        fields = event.fields
        number = self.numbers[str(fields["resourceId"])] if "resourceId" in fields else 0
        if event.detail_type is DetailType.RESOURCE_REQUESTED:
            return Message("start", number, int(str(fields["attempt"])))
        if event.detail_type is DetailType.RESOURCE_WAITING:
            return Message("check", number, int(str(fields["attempt"])), int(str(fields["checkNo"])))
        if event.detail_type is DetailType.RESOURCE_SUCCEEDED and self.mutation.counts_endings:
            return Message("ended", number)
        return Message("wake") if event.detail_type in ADVANCES else None

    # --- small change ---

    def resource(self, facts: Facts, number: int) -> Resource:
        """A resource by its number."""
        return self.book.resources(facts)[number]

    def _orders(self, facts: Facts) -> list[tuple[str, str, Trigger]]:
        """What people may do: the budget that it takes, what to call it, and the trigger."""
        if facts in self._orders_of:
            return self._orders_of[facts]
        wanted: list[tuple[str, str, Trigger]] = [("", "resume", command("resume"))]
        wanted += [(name, name, command(name)) for name in ("pause", "cancel", "abandon")]
        for number, resource in enumerate(self.book.resources(facts)):
            names = ("retry", "skip") if resource.status.is_failure else ("force-complete",) if resource.status == "WAITING" else ()
            wanted += [(name, f"{name} r{number}", command(name, resource.id)) for name in names]
        if self.book.table(facts).execution("e1").status == "PENDING_APPROVAL":
            wanted += [("", "approve", Vote(True, "ann", "", SHA)), ("", "reject", Vote(False, "bob", "", SHA)), ("", "expire", Expire())]
        orders = [order for order in wanted if self.book.decide(self.book.layers(facts), facts, order[2]) is not None]
        self._orders_of[facts] = orders
        return orders

    def _may_pause(self, now: Now) -> bool:
        return sum(not isinstance(f, Executor) for f in now.functions) < self.variant.gap

    def _spend(self, now: Now, name: str) -> tuple[int, ...] | None:
        index = _BUDGETS.index(name)
        return _put(now.budget, index, now.budget[index] - 1) if now.budget[index] else None

    @staticmethod
    def _with(now: Now, function: Function) -> Now:
        return now._replace(functions=now.functions | {function})

    @staticmethod
    def _without(now: Now, function: Function) -> Now:
        return now._replace(functions=now.functions - {function})


def _put(values: tuple[T, ...], index: int, value: T) -> tuple[T, ...]:
    return (*values[:index], value, *values[index + 1 :])
