"""The records as the model sees them: interned, and with only as much of time in them as decisions depend on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dr_core.commands import NotAllowedError
from dr_core.execution import decide, lost_wake_ups
from dr_core.records import Approval, Event, Execution, Layer, Move, Resource, State
from dr_core.triggers import Trigger
from tests.support.memory_table import T0, Key, LayerPlan, MemoryTable, Record, begin

# Every decision is taken at one moment: what is due is due; a lease or a deadline has passed or has not.
NOW = T0 + timedelta(days=1)
PAST, FUTURE = NOW - timedelta(hours=12), NOW + timedelta(hours=12)

Decide = Callable[[State, Any], Move | None]
# What a reader holds in hand: all records as they were, by an interned number.
Facts = int


def really(state: State, trigger: Trigger) -> Move | None:
    """The product's own decision."""
    return decide(state, trigger, NOW)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a move led to."""

    facts: Facts
    messages: frozenset[Any]


class Book:
    """Every set of records that was ever reached, by number; decisions and commits are made once for each."""

    def __init__(self, layers: Sequence[LayerPlan], sent: Callable[[Event], Any], decides: Decide = really) -> None:
        """`sent` gives the message that an event becomes, None if nobody reacts to it."""
        self._decides, self._sent = decides, sent
        table = MemoryTable()
        begin(table, layers)
        self.keys: tuple[Key, ...] = tuple(table.records)
        self._numbers: dict[tuple[Record, ...], Facts] = {}
        self._tables: list[MemoryTable] = []
        self._moves: list[Move] = []
        self._move_numbers: dict[object, int] = {}
        self._decided: dict[tuple[object, ...], int | None] = {}
        self._committed: dict[tuple[Facts, int], Committed | None] = {}
        self._lost: dict[Facts, frozenset[Any]] = {}
        self._expired: dict[tuple[Facts, int, str], Facts] = {}
        self._layer_numbers: dict[tuple[Layer, ...], int] = {}
        self._layers: list[tuple[Layer, ...]] = []
        self._layers_of: list[int] = []
        self._resources: list[tuple[Resource, ...]] = []
        self._due: list[bool] = []
        self.start = self._intern(table)

    def table(self, facts: Facts) -> MemoryTable:
        """The records themselves."""
        return self._tables[facts]

    def resources(self, facts: Facts) -> tuple[Resource, ...]:
        """All resources, in order of their ids."""
        return self._resources[facts]

    def is_due(self, facts: Facts) -> bool:
        """Whether the sweep can see the execution."""
        return self._due[facts]

    def layers(self, facts: Facts) -> int:
        """The layers alone, as the first read of a snapshot gives them, by number."""
        return self._layers_of[facts]

    def decide(self, layers: int, facts: Facts, trigger: object) -> int | None:
        """The number of the move that follows, from layers that were read before everything else. None if nothing does."""
        key = (layers, facts, trigger)
        if key not in self._decided:
            self._decided[key] = self._decide(replace(self.table(facts).load("e1"), layers=self._layers[layers]), trigger)
        return self._decided[key]

    def _decide(self, state: State, trigger: object) -> int | None:
        try:
            move = self._decides(state, trigger)
        except NotAllowedError:
            return None
        if move is None:
            return None
        key = (tuple((c.kind, c.key, _items(c.expected), _items(c.values)) for c in move.changes), repr(move.events))
        if key not in self._move_numbers:
            self._move_numbers[key] = len(self._moves)
            self._moves.append(move)
        return self._move_numbers[key]

    def commit(self, facts: Facts, move: int) -> Committed | None:
        """What the move leads to, or None if one of its conditions no longer holds."""
        key = (facts, move)
        if key not in self._committed:
            table = MemoryTable(dict(self.table(facts).records))
            done = table.commit("e1", self._moves[move])
            self._committed[key] = Committed(self._intern(table), self._messages(table.timeline("e1"))) if done else None
        return self._committed[key]

    def lost(self, facts: Facts) -> frozenset[Any]:
        """The messages that the sweep would send again."""
        if facts not in self._lost:
            self._lost[facts] = self._messages(lost_wake_ups(self.table(facts).load("e1"), NOW))
        return self._lost[facts]

    def _messages(self, events: Iterable[Event]) -> frozenset[Any]:
        return frozenset(message for event in events if (message := self._sent(event)) is not None)

    def expired(self, facts: Facts, number: int, name: str) -> Facts:
        """The same when a resource's lease or deadline has passed, as `name` says."""
        key = (facts, number, name)
        if key not in self._expired:
            table = MemoryTable(dict(self.table(facts).records))
            resource = self._resources[facts][number]
            found = next(key for key, record in table.records.items() if isinstance(record, Resource) and record.id == resource.id)
            table.records[found] = replace(resource, **{name: PAST})  # type: ignore[arg-type]
            self._expired[key] = self._intern(table)
        return self._expired[key]

    def _intern(self, table: MemoryTable) -> Facts:
        records = tuple(timeless(table.records[key]) for key in self.keys)
        if records not in self._numbers:
            self._numbers[records] = len(self._tables)
            kept = MemoryTable(dict(zip(self.keys, records, strict=True)))
            self._tables.append(kept)
            layers = kept.layers("e1")
            if layers not in self._layer_numbers:
                self._layer_numbers[layers] = len(self._layers)
                self._layers.append(layers)
            self._layers_of.append(self._layer_numbers[layers])
            self._resources.append(kept.resources("e1"))
            self._due.append(bool(kept.due(PAST)))
        return self._numbers[records]


def _items(values: object) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(dict(values).items()))  # type: ignore[call-overload]


def timeless(record: Record) -> Record:
    """The record without the moments and texts that no decision depends on."""
    if isinstance(record, Execution):
        return replace(
            record,
            requested_at=PAST,
            started_at=None,
            ended_at=None,
            due_at=_due(record.due_at),
            outcome_detail="",
            held_at=None,
            held_seconds=0.0,
        )
    if isinstance(record, Layer):
        return replace(record, started_at=None, ended_at=None)
    if isinstance(record, Approval):
        return replace(
            record,
            expires_at=FUTURE,
            opened_at=_due(record.opened_at),
            asked_at=None,
            decided_at=None,
            due_at=_due(record.due_at),
            reason="",
        )
    if isinstance(record, Resource):
        return replace(
            record,
            lease_until=_passed(record.lease_until),
            deadline_at=_passed(record.deadline_at),
            next_at=_due(record.next_at),
            due_at=_due(record.due_at),
            started_at=None,
            held_seconds=0.0,
            claimed_at=_due(record.claimed_at),  # long enough ago that an act which does not show was lost
            ended_at=None,
            detail="",
            percent=None,
            failure=None,
            handles=None,
            before=None,
        )
    return record


def _due(moment: datetime | None) -> datetime | None:
    return None if moment is None else PAST


def _passed(moment: datetime | None) -> datetime | None:
    return None if moment is None else FUTURE if moment > NOW else PAST
