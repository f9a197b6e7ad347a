"""Where the time of an execution went: AWS's own, people's, waits between attempts, and the orchestrator's. Pure.

The time from the opening of the first layer to the end is cut into pieces that neither overlap nor leave a gap, each of one kind, in
whole milliseconds: so the kinds add up to the total, exactly. Layers run one after the other, so a layer takes as long as the resource
in it that ended last: the critical path is one such resource for each time that a layer was open (a retry or skip after a halt opens it
again). While a layer is open, its time is that of its critical resource:

- AWS: from the first call of an attempt that changes something, as journalled, or from the first observation that found it under way
  where no call was made, until the attempt was observed at its goal, at its next step, or as failed. The wait for the next look at
  what AWS has finished is in it: nobody can tell when between two observations it ended.
- RETRY: from the failure of an attempt to the request of the next.
- PEOPLE: while the execution was halted, and while it was paused, as far as AWS was not at work.
- ORCHESTRATION: all the rest. Requests on their way, claims, roles, observations ahead of the act, joins of layers.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise, zip_longest

from dr_core.records import DetailType
from dr_people.timeline import Happening


class Kind(StrEnum):
    """What a piece of time was spent on."""

    AWS = "AWS"
    RETRY = "RETRY"
    PEOPLE = "PEOPLE"
    ORCHESTRATION = "ORCHESTRATION"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the time of a layer. `resource_id` is that of the critical path, empty while there is none."""

    layer: int
    resource_id: str
    kind: Kind
    start: datetime
    end: datetime

    @property
    def milliseconds(self) -> int:
        """How long it is."""
        return milliseconds(self.start, self.end)


@dataclass(frozen=True, slots=True)
class _Opening:
    """A layer from its opening, or reopening, to its completion; `end` is None while it is open."""

    layer: int
    start: datetime
    end: datetime | None


_ENDS = frozenset(
    {
        DetailType.RESOURCE_SUCCEEDED,
        DetailType.RESOURCE_FAILED,
        DetailType.RESOURCE_TIMED_OUT,
        DetailType.RESOURCE_SKIPPED,
        DetailType.RESOURCE_CANCELLED,
    }
)
_OPEN = (DetailType.LAYER_STARTED, DetailType.LAYER_REOPENED)


def milliseconds(start: datetime, end: datetime) -> int:
    """The time between two moments of the table, which are whole milliseconds."""
    return (end - start) // timedelta(milliseconds=1)


def pieces(events: Sequence[Happening], acts: Mapping[tuple[str, int], datetime], end: datetime) -> tuple[Piece, ...]:
    """The time from the opening of the first layer until `end`, cut into pieces, in order; none if no layer was opened.

    `acts`: when the first call that changes something was made, by resource id and attempt.
    """
    openings = tuple(_openings(events))
    paused = tuple(_paused(events, end))
    found: list[Piece] = []
    for opening, following in zip_longest(openings, openings[1:]):
        until = opening.end or (following.start if following else end)
        critical = _critical(events, opening, until)
        found += _layer_pieces(opening, until, critical, events, acts, paused)
        halted_until = following.start if following else end
        if halted_until > until:
            found.append(Piece(opening.layer, critical, Kind.PEOPLE, until, halted_until))
    return tuple(found)


def _openings(events: Iterable[Happening]) -> Iterator[_Opening]:
    layer, start = 0, None
    for event in events:
        if event.detail_type in _OPEN and start is None:
            layer, start = int(event.fields["layer"]), event.at
        elif event.detail_type == DetailType.LAYER_COMPLETED and start is not None:
            yield _Opening(layer, start, event.at)
            start = None
    if start is not None:
        yield _Opening(layer, start, None)


def _paused(events: Iterable[Happening], end: datetime) -> Iterator[tuple[datetime, datetime]]:
    since = None
    for event in events:
        if event.detail_type == DetailType.EXECUTION_PAUSED:
            since = event.at
        elif since is not None and event.detail_type.startswith("Execution "):
            yield since, event.at
            since = None
    if since is not None:
        yield since, end


def _within(events: Iterable[Happening], opening: _Opening, until: datetime) -> Iterator[Happening]:
    """The events of the layer's resources while it was open."""
    return (e for e in events if "resourceId" in e.fields and e.fields.get("layer") == opening.layer and opening.start <= e.at <= until)


def _critical(events: Iterable[Happening], opening: _Opening, until: datetime) -> str:
    """The resource that ended last while the layer was open; before any that ended, one that has not. Empty if nothing was done."""
    last: dict[str, tuple[bool, datetime]] = {}
    for event in _within(events, opening, until):
        ended = event.detail_type in _ENDS and not event.fields.get("willRetry")
        last[event.fields["resourceId"]] = (not ended, event.at)
    # Those under way by the moment of their last event too: nothing tells which of them will end last.
    return max(sorted(last), key=lambda one: last[one], default="")


def _layer_pieces(
    opening: _Opening,
    until: datetime,
    critical: str,
    events: Iterable[Happening],
    acts: Mapping[tuple[str, int], datetime],
    paused: Sequence[tuple[datetime, datetime]],
) -> Iterator[Piece]:
    marks = _marks(opening, until, [e for e in _within(events, opening, until) if e.fields["resourceId"] == critical], acts)
    starts = [at for at, _ in marks]
    cuts = {opening.start, until, *starts, *(at for pause in paused for at in pause)}
    ordered = sorted(at for at in cuts if opening.start <= at <= until)
    for start, end in pairwise(ordered):
        kind = marks[bisect_right(starts, start) - 1][1]
        if kind is not Kind.AWS and any(since <= start and end <= to for since, to in paused):
            kind = Kind.PEOPLE
        yield Piece(opening.layer, critical, kind, start, end)


def _marks(
    opening: _Opening, until: datetime, events: Sequence[Happening], acts: Mapping[tuple[str, int], datetime]
) -> list[tuple[datetime, Kind]]:
    """From when on the resource's time is of which kind, in order of time."""
    marks = [(opening.start, Kind.ORCHESTRATION)]
    following = [*(e.at for e in events[1:]), until]
    for event, next_at in zip(events, following, strict=False):
        kind = Kind.ORCHESTRATION
        if event.detail_type == DetailType.RESOURCE_WAITING:
            kind = Kind.AWS
        elif event.detail_type == DetailType.RESOURCE_FAILED and event.fields.get("willRetry"):
            kind = Kind.RETRY
        at = max(event.at, marks[-1][0])
        # After the measurement of the lag the attempt is the same one: the act comes next.
        began = acts.get((event.fields["resourceId"], event.fields["attempt"]))
        acting = event.detail_type in (DetailType.RESOURCE_STARTED, DetailType.RESOURCE_MEASURED)
        marks.append((at, kind))
        if acting and began is not None and began < next_at:
            marks.append((max(began, at), Kind.AWS))
    return marks
