"""An execution as a picture over time: who was waited for, when, and which resources held up the end. Pure.

A row for the execution, each layer and each resource; a span for each thing that it did. The picture is drawn in SVG
(`templates/gantt.svg.j2`) and in the terminal (`drctl timeline`), both on the same axis.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Literal

from markupsafe import Markup

from dr_core.records import DetailType, ExecutionStatus, Layer, LayerStatus, Resource
from dr_people.rendering import render
from dr_people.snapshot import Snapshot
from dr_people.timeline import Happening
from dr_people.wording import between, duration, moment, plain


class Doing(StrEnum):
    """What a row does during a span. ACTING and WAITING are AWS's own time, APPROVAL, PERSON and PAUSED are people's."""

    PREFLIGHT = "preflight"
    APPROVAL = "approval"
    QUEUED = "queued"  # asked for, and not begun by a function yet
    ACTING = "acting"  # a function looks, and makes its calls
    WAITING = "waiting"  # AWS is at work, and is looked at again and again
    RETRY = "retry"  # failed, and will be tried again
    RUNNING = "running"
    PERSON = "person"  # failed, and a person has to decide
    PAUSED = "paused"

    @property
    def words(self) -> str:
        """What people read."""
        return _WORDS[self]


_WORDS: Mapping[Doing, str] = {
    Doing.PREFLIGHT: "preflight",
    Doing.APPROVAL: "waits for approval",
    Doing.QUEUED: "waits for its turn",
    Doing.ACTING: "is being started",
    Doing.WAITING: "AWS is at work",
    Doing.RETRY: "waits for another try",
    Doing.RUNNING: "runs",
    Doing.PERSON: "failed, waits for a person",
    Doing.PAUSED: "paused",
}
_PLAIN_COLOURS: Mapping[Doing, str] = {
    Doing.PREFLIGHT: "#879196",
    Doing.APPROVAL: "#8a5300",
    Doing.QUEUED: "#879196",
    Doing.ACTING: "#0a53a8",
    Doing.WAITING: "#539fe5",
    Doing.RETRY: "#8a5300",
    Doing.RUNNING: "#b6bec9",
    Doing.PERSON: "#b0141b",
    Doing.PAUSED: "#8a5300",
}
_OUTLINED = frozenset({Doing.APPROVAL, Doing.RETRY, Doing.PERSON, Doing.PAUSED})
# For what draws SVG without style sheets, such as mail programs and makers of PDF; a page's own colours go before these.
_COLOURS: Mapping[Doing, Markup] = {
    doing: Markup(' fill="{}"').format(colour) if doing not in _OUTLINED else Markup(' fill="none" stroke="{}"').format(colour)
    for doing, colour in _PLAIN_COLOURS.items()
}
_PEOPLE = frozenset({Doing.APPROVAL, Doing.PERSON, Doing.PAUSED})


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time. `open`: it has not ended; `end` is then the moment of the picture. `attempt`: 0 where there are none."""

    doing: Doing
    start: datetime
    end: datetime
    attempt: int = 0
    open: bool = False

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the picture. `key`: empty for the execution, a layer's number, or a resource's id. `critical`: the end waited for it."""

    kind: Literal["execution", "layer", "resource"]
    key: str
    label: str
    status: str
    spans: tuple[Span, ...]
    critical: bool = False

    @property
    def seconds(self) -> float:
        """From its first span to the end of its last."""
        return (self.spans[-1].end - self.spans[0].start).total_seconds() if self.spans else 0.0

    def words(self) -> str:
        """The row in a sentence, for whoever does not see the picture."""
        told = [f"{span.doing.words} {duration(span.seconds)}{' so far' if span.open else ''}" for span in self.spans]
        path = ", on the critical path" if self.critical else ""
        return f"{self.label}: {self.status}{path}{'; ' if told else ''}{', '.join(told)}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the axis, from `left` to `right` between 0 and 1. `people`: nothing but people was waited for."""

    start: datetime
    end: datetime
    left: float
    right: float
    people: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """The picture from `start` to `end`. `critical`: the resources, one for each layer that has begun, that the end waited for."""

    start: datetime
    end: datetime
    rows: tuple[Row, ...]
    axis: tuple[Stretch, ...]

    @property
    def critical(self) -> tuple[Row, ...]:
        """The rows of the critical path, in order."""
        return tuple(row for row in self.rows if row.critical)

    def at(self, when: datetime) -> float:
        """Where a moment stands: 0 is the left edge, 1 the right one. Within a stretch of the axis time runs evenly."""
        for one in self.axis:
            if when <= one.end:
                share = (when - one.start) / (one.end - one.start)
                return one.left + max(0.0, share) * (one.right - one.left)
        return 1.0

    def ticks(self, most: int = 8) -> list[tuple[datetime, str]]:
        """Moments to write on the axis, each with the time since the request, far enough apart to be read."""
        machine = sum(((one.end - one.start).total_seconds() for one in self.axis if not one.people), 0.0)
        step = next((one for one in _STEPS if machine / one <= most), _STEPS[-1])
        found: list[tuple[datetime, str]] = []
        for one in self.axis:
            for when in _within(one, self.start, step):
                if not found or self.at(when) - self.at(found[-1][0]) >= 0.6 / most:
                    found.append((when, _since(when - self.start)))
        return found


# Time that people took is drawn no wider than this share of what machines took, or nothing else would be seen.
_PEOPLES_SHARE = 0.2
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


def chart(snapshot: Snapshot) -> Chart:
    """The picture of an execution as it was read."""
    execution = snapshot.execution
    end = execution.ended_at or snapshot.now
    spans = _spans(_of_execution(snapshot.timeline), end, is_open=not execution.status.is_terminal)
    rows = [Row("execution", "", f"{execution.phase} of {plain(execution.application)}", execution.status, spans)]
    for layer in snapshot.layers:
        rows.append(_layer(layer, snapshot, end))
        inside = [_resource(resource, snapshot, end) for resource in snapshot.resources_of(layer)]
        last = slowest(inside)
        rows += [_on_the_path(row) if row is last else row for row in inside]
    return Chart(execution.requested_at, end, tuple(rows), tuple(_axis(spans, execution.requested_at, end)))


def picture(drawn: Chart, identity: str = "timeline") -> str:
    """The chart as SVG. `identity`: begins the ids of its title and description, so that a page can hold several."""
    shown = {span.doing for row in drawn.rows for span in row.spans}
    legend = [doing for doing in Doing if doing in shown and doing not in (Doing.PREFLIGHT, Doing.RUNNING)]
    return render("gantt.svg.j2", chart=drawn, id=identity, legend=legend, colours=_COLOURS, moment=moment, between=between)


def slowest(resources: Iterable[Row]) -> Row | None:
    """The resource that its layer waited for: the last to end, of those the one that took longest; None where none has begun."""
    return max((row for row in resources if row.spans), key=lambda row: (row.spans[-1].end, row.seconds), default=None)


def _on_the_path(row: Row) -> Row:
    return replace(row, critical=True)


# From `moment` on the row does `doing`, or nothing that takes time.
Mark = tuple[datetime, Doing | None, int]


def _spans(marks: Iterable[Mark], end: datetime, *, is_open: bool) -> tuple[Span, ...]:
    """From each mark to the next, the last one until `end`. What takes no time is left out, but for what is still going on."""
    found: list[Span] = []
    for (start, doing, attempt), (until, _, _) in pairwise([*marks, (end, None, 0)]):
        goes_on = is_open and until == end
        if doing is not None and (until > start or goes_on):
            found.append(Span(doing, start, until, attempt, open=goes_on))
    return tuple(found)


def _of_execution(timeline: Iterable[Happening]) -> Iterator[Mark]:
    doing: Doing | None = None
    for one in timeline:
        if one.detail_type == DetailType.PREFLIGHT_COMPLETED and doing is not Doing.PREFLIGHT:
            continue  # it came too late, and nobody waited for it any more
        if one.detail_type in _EXECUTION:
            doing = _EXECUTION[one.detail_type]
            yield one.at, doing, 0


def _layer(layer: Layer, snapshot: Snapshot, end: datetime) -> Row:
    marks: list[Mark] = []
    for one in snapshot.timeline:
        if one.fields.get("layer") == layer.number and one.detail_type in (DetailType.LAYER_STARTED, DetailType.LAYER_REOPENED):
            marks.append((one.at, Doing.RUNNING, 0))
        elif one.fields.get("layer") == layer.number and one.detail_type == DetailType.LAYER_COMPLETED:
            marks.append((one.at, Doing.PERSON if one.fields.get("outcome") == LayerStatus.FAILED else None, 0))
    going = layer.status is LayerStatus.RUNNING or _is_halted_at(layer.number, snapshot)
    return Row("layer", str(layer.number), f"Layer {layer.number}", layer.status, _spans(marks, end, is_open=going and _is_live(snapshot)))


def _resource(resource: Resource, snapshot: Snapshot, end: datetime) -> Row:
    marks: list[Mark] = []
    for one in snapshot.timeline:
        if one.fields.get("resourceId") != resource.id or one.detail_type not in _RESOURCE:
            continue
        attempt, doing = int(one.fields.get("attempt", 0)), _RESOURCE[one.detail_type]
        if one.fields.get("willRetry"):
            doing = Doing.RETRY
        if one.detail_type in (DetailType.RESOURCE_RETRIED, DetailType.RESOURCE_SKIPPED) and marks:
            marks[-1] = (marks[-1][0], Doing.PERSON, marks[-1][2])  # since its failure a person was waited for
        marks.append((one.at, doing, attempt))
    halted = resource.status.is_failure and _is_halted_at(resource.layer, snapshot)
    if halted and marks:
        marks[-1] = (marks[-1][0], Doing.PERSON, marks[-1][2])
    going = (not resource.status.is_terminal or halted) and _is_live(snapshot)
    return Row("resource", resource.id, plain(resource.name), resource.status, _spans(marks, end, is_open=going))


def _is_live(snapshot: Snapshot) -> bool:
    return not snapshot.execution.status.is_terminal


def _is_halted_at(layer: int, snapshot: Snapshot) -> bool:
    return snapshot.execution.status is ExecutionStatus.FAILED and snapshot.execution.current_layer == layer


_EXECUTION: Mapping[str, Doing | None] = {
    DetailType.EXECUTION_REQUESTED: Doing.PREFLIGHT,
    DetailType.PREFLIGHT_COMPLETED: None,
    DetailType.APPROVAL_REQUESTED: Doing.APPROVAL,
    DetailType.APPROVAL_GRANTED: Doing.QUEUED,
    DetailType.EXECUTION_STARTED: Doing.RUNNING,
    DetailType.EXECUTION_RESUMED: Doing.RUNNING,
    DetailType.EXECUTION_CANCELLING: Doing.RUNNING,
    DetailType.EXECUTION_PAUSED: Doing.PAUSED,
    DetailType.EXECUTION_HALTED: Doing.PERSON,
    DetailType.EXECUTION_COMPLETED: None,
    DetailType.EXECUTION_CANCELLED: None,
    DetailType.EXECUTION_REJECTED: None,
    DetailType.EXECUTION_EXPIRED: None,
    DetailType.EXECUTION_ABANDONED: None,
}
_RESOURCE: Mapping[str, Doing | None] = {
    DetailType.RESOURCE_REQUESTED: Doing.QUEUED,
    DetailType.RESOURCE_STARTED: Doing.ACTING,
    DetailType.RESOURCE_WAITING: Doing.WAITING,
    DetailType.RESOURCE_RETRIED: Doing.QUEUED,
    DetailType.RESOURCE_SUCCEEDED: None,
    DetailType.RESOURCE_FAILED: None,
    DetailType.RESOURCE_TIMED_OUT: None,
    DetailType.RESOURCE_SKIPPED: None,
    DetailType.RESOURCE_CANCELLED: None,
}


def _axis(spans: Sequence[Span], start: datetime, end: datetime) -> Iterator[Stretch]:
    """The stretches of the axis: where nothing but people is waited for, a long time is drawn short."""
    cuts = sorted({start, end, *(moment for span in spans if span.doing in _PEOPLE for moment in (span.start, span.end))})
    parts = [(a, b, any(s.doing in _PEOPLE and s.start <= a and b <= s.end for s in spans)) for a, b in pairwise(cuts)]
    lengths = [(b - a).total_seconds() for a, b, _ in parts]
    machine = sum(length for length, (_, _, people) in zip(lengths, parts, strict=True) if not people)
    longest = _PEOPLES_SHARE * machine or math.inf
    widths = [min(length, longest) if people else length for length, (_, _, people) in zip(lengths, parts, strict=True)]
    left, total = 0.0, sum(widths)
    for (a, b, people), width in zip(parts, widths, strict=True):
        yield Stretch(a, b, left, left + width / total, people)
        left += width / total


def _within(stretch: Stretch, zero: datetime, step: int) -> Iterator[datetime]:
    """The moments of a stretch that are written on the axis: its beginning, and within machines' time each `step` since `zero`."""
    yield stretch.start
    if stretch.people:
        return
    number = math.floor((stretch.start - zero).total_seconds() / step) + 1
    while (when := zero + timedelta(seconds=number * step)) < stretch.end:
        yield when
        number += 1


def _since(passed: timedelta) -> str:
    """The time since the request, short enough for an axis: 0:05, 12:30, 2:05:00."""
    minutes, seconds = divmod(round(passed.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
