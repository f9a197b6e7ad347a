"""What a chaos run has seen: every change of the state table, in the order of its commits, as the table's stream tells it.

Each change is held against the invariants as it is seen, each execution as a whole when it has ended. The witness reads nothing that
the product made for it: the stream is the table's, the calls are the gateway's.
"""

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from dr_core.items import (
    EXECUTION_SK,
    ApprovalItem,
    CallsItem,
    CommandItem,
    EventItem,
    ExecutionItem,
    Item,
    LayerItem,
    ResourceItem,
)
from dr_core.mapping import record_of
from dr_core.moves import text
from dr_core.observability import utc_now
from dr_core.records import Approval, DetailType, Event, Execution, Layer, Resource, ResourceStatus
from tests.property.invariants import Watch, check_records, is_note
from tests.property.replay import MEANING
from tests.support.memory_table import Lock, Record

Image = Mapping[str, Any]
# What a change of a record is held against, as it is seen.
ON_EACH_CHANGE: Final[Mapping[type[Any], tuple[str, ...]]] = {
    Execution: ("I7 nothing decreases", "I10 terminal is absorbing", "I11 each change has its event", "I14 no start without approval"),
    Layer: ("I2 opened once, closed once per epoch", "I4 closed when all have ended", "I11 each change has its event"),
    Resource: (
        "I5 one claim per attempt",
        "I7 nothing decreases",
        "I8 claims only while running",
        "I11 each change has its event",
        "I23 throttling spends nothing",
        "I24 one chain of checks",
    ),
    Approval: ("I14 decided once", "I11 each change has its event"),
    Lock: ("I9 only the owner frees a lock",),
}
ON_EACH_EXECUTION: Final = (
    "I1 layers in order",
    "I3 succeeded means all layers did",
    "I7 attempts within bounds",
    "I10 no lock, no timer after the end",
    "I11 the events tell what is stored",
    "I19 a timer for all that waits",
    "I22 every wait is bounded",
)
TOLD_ONCE: Final = frozenset(
    {
        DetailType.EXECUTION_REQUESTED,
        DetailType.PREFLIGHT_COMPLETED,
        DetailType.APPROVAL_REQUESTED,
        DetailType.APPROVAL_GRANTED,
        DetailType.APPROVAL_REJECTED,
        DetailType.APPROVAL_EXPIRED,
        DetailType.EXECUTION_STARTED,
        DetailType.EXECUTION_COMPLETED,
        DetailType.EXECUTION_CANCELLED,
        DetailType.EXECUTION_ABANDONED,
    }
)
# A check that the queue held back by so much less than it should have is not noticed: SQS counts in whole seconds.
_EARLY_SECONDS: Final = 1.5
_TOLD_TO_PEOPLE: Final = frozenset({"NOTE", "CHANNEL", "NONCE"})
_LEFT_TO_THE_RUN: Final = frozenset({"due_at", "lease_until"})  # what the run itself changes, to let time pass


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold: of which execution, what was seen, and when."""

    invariant: str
    execution_id: str
    what: str
    at: str


@dataclass
class Seen:
    """All that is known of one execution."""

    id: str
    witness: "Witness"
    watch: Watch = field(init=False)
    records: dict[str, Record] = field(default_factory=dict)
    told: list[tuple[str, Event, int]] = field(default_factory=list)  # id, event, bytes
    claims: Counter[tuple[str, int]] = field(default_factory=Counter)
    first_claims: Counter[tuple[str, int]] = field(default_factory=Counter)
    changed_at: dict[str, float] = field(default_factory=dict)
    invoked: Counter[tuple[str, int]] = field(default_factory=Counter)  # calls of functions that the product's own journal tells of
    commands: int = 0
    lapsed: set[str] = field(default_factory=set)
    _pairs: list[tuple[Record, Record]] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = Watch(self)

    # --- as the invariants read it ---

    def execution(self, execution_id: str) -> Execution:
        """The execution itself."""
        found = self.records[EXECUTION_SK]
        assert isinstance(found, Execution) and execution_id == self.id
        return found

    def approval(self, execution_id: str) -> Approval:
        """The approval that is waited for, or else the last one that was; whatever its status."""
        return [one for one in self.approvals(execution_id) if one.is_wanted][-1]

    def approvals(self, execution_id: str) -> tuple[Approval, ...]:
        """The execution's approval and those before its layers, by the layers' numbers."""
        assert execution_id == self.id
        found = [record for record in list(self.records.values()) if isinstance(record, Approval)]
        return tuple(sorted(found, key=lambda approval: approval.layer))

    def layers(self, execution_id: str) -> tuple[Layer, ...]:
        """All layers in order of their numbers."""
        assert execution_id == self.id
        found = [record for record in list(self.records.values()) if isinstance(record, Layer)]
        return tuple(sorted(found, key=lambda layer: layer.number))

    def resources(self, execution_id: str, layer: int | None = None) -> tuple[Resource, ...]:
        """The resources of a layer, or of all layers, in order of their ids."""
        assert execution_id == self.id
        found = [r for r in list(self.records.values()) if isinstance(r, Resource) and layer in (None, r.layer)]
        return tuple(sorted(found, key=lambda resource: resource.id))

    def lock(self, region: str) -> Lock:
        """The application's lock on a Region."""
        return self.witness.locks.get((self.execution(self.id).application, region), Lock())

    def timeline(self, execution_id: str) -> list[Event]:
        """The events that say something of a status, in the order of their ids, as an auditor reads them."""
        assert execution_id == self.id
        return [event for _, event, _ in sorted(self.told, key=lambda told: told[0]) if event.detail_type in MEANING]

    # --- as it becomes known ---

    def changed(self, sk: str, after: Record) -> None:
        """A record was written."""
        before = self.records.get(sk)
        self.records[sk] = after
        if before == after:
            return
        if before is not None and _only_time_passed(before, after):
            self.lapsed.add(sk)
            return
        if before is not None and is_note(before, after):
            return  # it still has not moved
        self.changed_at[sk] = time.monotonic()
        if before is None:
            return
        self._in_time(sk, before, after)
        self.lapsed.discard(sk)
        self._pairs.append((before, after))
        for invariant in ON_EACH_CHANGE[type(after)]:
            self.witness.checked[invariant] += 1

    def tells(self, event_id: str, event: Event, size: int) -> None:
        """An event was stored."""
        if self._pairs:
            self.settle()  # the one before: what a transaction puts, such as its events, comes before what it updates
        self.told.append((event_id, event, size))
        if event.detail_type in TOLD_ONCE:
            self.witness.checked["I12 what happens once is told once"] += 1
            if sum(earlier.detail_type is event.detail_type for _, earlier, _ in self.told) > 1:
                self.witness.violated("I12", self.id, f"{event.detail_type} was told twice")
        if event.detail_type is DetailType.RESOURCE_STARTED:
            claim = str(event.fields["resourceId"]), int(str(event.fields["attempt"]))
            self.claims[claim] += 1
            self.first_claims[claim] += not event.fields["takeover"]
            if self.first_claims[claim] > 1:
                self.witness.violated("I5", self.id, f"attempt {claim[1]} of {claim[0]} was claimed {self.first_claims[claim]} times")
        if event.detail_type in MEANING:
            self._events.append(event)

    def settle(self) -> None:
        """A transaction is complete: its changes and events are held against each other and the rest."""
        pairs, events = self._pairs, self._events
        self._pairs, self._events = [], []
        if pairs:
            self._hold(lambda: self.watch(self.id, _Told(tuple(events)), pairs))  # type: ignore[arg-type]

    def check(self) -> None:
        """Hold everything that is known now against the invariants."""
        self.settle()
        for invariant in ON_EACH_EXECUTION:
            self.witness.checked[invariant] += 1
        self._hold(lambda: check_records(self, self.watch, self.id))

    def _hold(self, check: Any) -> None:
        try:
            check()
        except AssertionError as error:
            said = str(error).splitlines()[0] if str(error) else "an assertion"
            self.witness.violated(said.partition(":")[0], self.id, said)

    def _in_time(self, sk: str, before: Record, after: Record) -> None:
        """A check is recorded before its time only where a sweep asked for it: else a second chain of checks lives."""
        if not isinstance(before, Resource) or not isinstance(after, Resource) or before.status is not ResourceStatus.WAITING:
            return
        if after.status is ResourceStatus.WAITING and before.next_at is not None and sk not in self.lapsed:
            early = (before.next_at - utc_now()).total_seconds()
            self.witness.checked["I24 no check before its time"] += 1
            if early > _EARLY_SECONDS:
                self.witness.violated("I24", self.id, f"check {before.check_no} of {before.id} was recorded {early:.1f} s before its time")


@dataclass(frozen=True, slots=True)
class _Told:
    """The part of a move that a stream shows."""

    events: tuple[Event, ...]


class Witness:
    """Takes the records of the table's stream, in order."""

    def __init__(self) -> None:
        self.executions: dict[str, Seen] = {}
        self.locks: dict[tuple[str, str], Lock] = {}
        self.tokens: dict[str, str] = {}
        self.refused: set[str] = set()
        self.receipts: Counter[tuple[str, str]] = Counter()
        self.checked: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.found = threading.Event()
        self.found_at: float | None = None  # of the first violation, on the clock of time.monotonic
        self.changes = 0  # all but those of what people were told: whom a lost event first reaches when it comes again, is told then

    def take(self, name: str, image: Image) -> None:
        """One record of the stream: INSERT or MODIFY with the item's new image."""
        del name
        pk, sk = image["pk"]["S"], image["sk"]["S"]
        self.changes += sk.partition("#")[0] not in _TOLD_TO_PEOPLE
        kind, _, key = pk.partition("#")
        if kind == "LOCK":
            self._lock(key, image)
        elif kind == "TOKEN":
            self.tokens[key] = image["execution_id"]["S"]
        elif sk == "REFUSAL":
            self.refused.add(key)
        elif kind == "EXEC":
            seen = self.executions.setdefault(key, Seen(key, self))
            self._of(seen, sk, image)

    def _of(self, seen: Seen, sk: str, image: Image) -> None:
        prefix = sk.partition("#")[0]
        if prefix in _RECORDS:
            record = record_from(sk, image, seen.id)
            is_new = sk not in seen.records
            seen.changed(sk, record)
            if isinstance(record, Execution) and is_new:
                self._alone(record)
        elif prefix == "EVT":
            item = EventItem.from_raw_data(dict(image))
            seen.tells(sk.removeprefix("EVT#"), Event(DetailType(item.detail_type), _fields(item.detail)), len(item.detail.encode()))
        elif prefix == "CALLS":
            item_of_calls = CallsItem.from_raw_data(dict(image))
            answered = [c for c in item_of_calls.calls if c["action"] == "lambda:InvokeFunction" and "error_code" not in c]
            if answered:
                seen.invoked[sk.split("#")[1], int(item_of_calls.attempt)] += len(answered)
        elif prefix == "CMD":
            command = CommandItem.from_raw_data(dict(image))
            seen.commands += 1
            self.receipts[command.command, command.outcome] += 1

    def _lock(self, key: str, image: Image) -> None:
        application, _, region = key.rpartition("#")
        after = Lock(image.get("owner", {}).get("S"))
        before = self.locks.get((application, region), Lock())
        self.locks[application, region] = after
        self.checked["I9 only the owner frees a lock"] += 1
        if before.owner and after.owner and before.owner != after.owner:
            self.violated("I9", after.owner, f"took the lock of {application} in {region} that {before.owner} held")

    def _alone(self, new: Execution) -> None:
        """At most one execution of an application is alive, and it holds the locks."""
        self.checked["I9 one execution at a time"] += 1
        others = [seen.id for seen in self.live(new.application) if seen.id != new.id]
        if others:
            self.violated("I9", new.id, f"began while {', '.join(others)} of {new.application} was under way")

    def live(self, application: str | None = None) -> list[Seen]:
        """The executions that have not ended, of one application or of all."""
        found = []
        for seen in list(self.executions.values()):
            record = seen.records.get(EXECUTION_SK)
            if isinstance(record, Execution) and not record.status.is_terminal and application in (None, record.application):
                found.append(seen)
        return found

    def ended(self) -> list[Seen]:
        """The executions that have come to an end."""
        return [
            seen
            for seen in list(self.executions.values())
            if isinstance(record := seen.records.get(EXECUTION_SK), Execution) and record.status.is_terminal
        ]

    def violated(self, invariant: str, execution_id: str, what: str) -> None:
        """Note down a violation."""
        self.violations.append(Violation(invariant, execution_id, what, text(utc_now())))
        self.found_at = self.found_at or time.monotonic()
        self.found.set()


class Follower:
    """Reads a table's stream from its beginning, as often as it is asked to."""

    def __init__(self, streams: Any, dynamodb: Any, table: str, witness: Witness) -> None:
        self._streams = streams
        self._witness = witness
        arn = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        asked = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        self._position = streams.get_shard_iterator(**asked)["ShardIterator"]

    def read(self) -> int:
        """Hand over what is new; gives how many records that were."""
        count = 0
        while True:
            answer = self._streams.get_records(ShardIterator=self._position, Limit=1000)
            self._position = answer["NextShardIterator"]
            for record in answer["Records"]:
                image = record["dynamodb"].get("NewImage")
                if image is not None:
                    self._witness.take(record["eventName"], image)
            count += len(answer["Records"])
            if not answer["Records"]:
                return count


_RECORDS: Final[Mapping[str, tuple[type[Item], type[Any]]]] = {
    "META": (ExecutionItem, Execution),
    "LAYER": (LayerItem, Layer),
    "RES": (ResourceItem, Resource),
    "APPR": (ApprovalItem, Approval),
}


def record_from(sk: str, image: Image, execution_id: str) -> Record:
    """The record that an item's image holds."""
    model, kind = _RECORDS[sk.partition("#")[0]]
    more = {"id": execution_id} if kind is Execution else {}
    record: Record = record_of(kind, model.from_raw_data(dict(image)), **more)
    return record


def acts_of(calls: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, int], set[str]]:
    """The function calls of the gateway's journal that were carried out: execution, resource's name and attempt to the calls' own numbers.

    The tries of one call have one number.
    """
    found: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for call in calls:
        act = call.get("act")
        if act and call["operation"] == "Invoke" and call["status"] and "context" in act["parameters"]:
            context = act["parameters"]["context"]
            found[context["executionId"], context["resourceName"], int(context["attempt"])].add(str(act["invocation"]))
    return found


def _only_time_passed(before: Record, after: Record) -> bool:
    """Whether the run itself made the change."""
    if type(before) is not type(after) or isinstance(before, Lock) or isinstance(after, Lock):
        return False
    names = {name for name, value in asdict(after).items() if value != asdict(before)[name]}
    return bool(names) and names <= _LEFT_TO_THE_RUN and all(_is_past(getattr(after, name)) for name in names)


def _is_past(value: object) -> bool:
    return isinstance(value, datetime) and value.year == PAST.year


PAST: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def _fields(detail: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(detail)
    return found
