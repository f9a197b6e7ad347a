"""The troubleshooting board: from everything that runs down to the AWS call that failed, each page from a bounded number of reads.

One renderer for three shells (`board_shells`): the CloudWatch dashboard's custom widget, a page behind a function URL, and
`drctl dashboard`. A shell says how one gets from page to page, and what stands around the content.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from markupsafe import Markup
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from dr_core.records import Execution, ExecutionStatus, LayerStatus, Resource, ResourceStatus, State
from dr_core.reports import plural
from dr_core.state import Table
from dr_people import console
from dr_people.advice import advise, failure_words, mending, stuck
from dr_people.gantt import chart, picture
from dr_people.rendering import render
from dr_people.snapshot import Snapshot, read
from dr_people.timeline import Happening, happening, line
from dr_people.wellbeing import Wellbeing
from dr_people.wording import between, duration, moment, plain

# The first page reads this many executions whole; the others are lines of the list. What needs a person comes first.
MOST_IN_FULL = 5
MOST_LIVE = 200
MOST_RECENT = 20
_MOST_ATTEMPTS = 20

# What a variable of the dashboard holds while nothing has been chosen.
_ANY = ("", "any", "any-application", "any-execution")
_Chosen = BeforeValidator(lambda value: None if isinstance(value, str) and value.strip().lower() in _ANY else value)


class Asked(BaseModel):
    """Which page is wanted: an execution's, a resource's, an attempt's, an application's history; without any of them the first one."""

    model_config = ConfigDict(extra="ignore", frozen=True, str_strip_whitespace=True)

    execution: Annotated[Annotated[str, StringConstraints(pattern=r"^[0-9A-HJKMNP-TV-Za-z]{1,26}$")] | None, _Chosen] = None
    resource: Annotated[Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{3}$")] | None, _Chosen] = None
    attempt: Annotated[int, Field(ge=1)] | None = None
    application: Annotated[Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,63}|-)$")] | None, _Chosen] = None


# How one gets to a page: what is written there, and what is asked for.
Go = Callable[..., Markup]


@dataclass(frozen=True)
class Board:
    """What the pages are made of. `command`: how drctl is to be called."""

    table: Table
    region: str
    stack: str
    state_machine_arn: str
    command: str
    clock: Callable[[], datetime]
    wellbeing: Callable[[], Wellbeing]

    def page(self, asked: Asked, go: Go) -> Markup:
        """The content of the page that is wanted, as HTML without a frame."""
        now = self.clock()
        if asked.execution:
            state = self.table.load(asked.execution)
            if state is None:
                return self._refused_or_unknown(asked.execution, go)
            if asked.resource:
                return self._resource(state, asked.resource, asked.attempt, now, go)
            return self._execution(read(self.table, state, now), go)
        return self._overview(asked.application, now, go)

    def _overview(self, application: str | None, now: datetime, go: Go) -> Markup:
        with ThreadPoolExecutor(1) as beside:  # nobody waits for CloudWatch longer than for the table
            looked = beside.submit(self.wellbeing)
            live = [one for one in self.table.live(self.region, MOST_LIVE) if application in (None, one.application)]
            live.sort(key=lambda one: (_URGENCY.get(one.status, 9), one.requested_at))
            recent = self.table.history(application, MOST_RECENT) if application else self.table.over(self.region, MOST_RECENT)
            states = [self.table.load(one.id) for one in live[:MOST_IN_FULL]]
            cases = [self._case(state, now) for state in states if state is not None]
        return self._render(
            "board_overview.html.j2",
            go,
            application=application,
            cases=cases,
            others=live[MOST_IN_FULL:],
            live=len(live),
            halted=sum(one.status == ExecutionStatus.FAILED for one in live),
            too_many=len(live) >= MOST_LIVE,
            recent=recent,
            wellbeing=looked.result(),
            now=now,
        )

    def _case(self, state: State, now: datetime) -> "Case":
        approvals = (state.approval,) if state.approval else ()
        snapshot = Snapshot(state.execution, approvals, state.layers, state.resources, (), (), now)
        return self._told(snapshot)

    def _told(self, snapshot: Snapshot) -> "Case":
        execution = snapshot.execution
        troubles = tuple(
            Trouble(resource, _failure(resource), mending(execution, resource, self.command))
            for resource in snapshot.resources
            if resource.status.is_failure and not execution.status.is_terminal and resource.layer == execution.current_layer
        )
        advice = advise(snapshot, self.command)
        # What stands beside each failure need not be said again.
        sentences = tuple(one for one in advice.sentences if not any(trouble.why and trouble.why in one for trouble in troubles))
        return Case(snapshot, sentences, advice.commands, troubles, _since(snapshot), _target(execution))

    def _execution(self, snapshot: Snapshot, go: Go) -> Markup:
        execution = snapshot.execution
        links = console.of_execution(execution, self.stack, self.state_machine_arn, snapshot.now)
        return self._render(
            "board_execution.html.j2",
            go,
            case=self._told(snapshot),
            links=links,
            picture=Markup(picture(chart(snapshot), f"t{execution.id}")),  # noqa: S704  (the template has escaped what is in it)
            events=[line(one, execution.requested_at) for one in snapshot.timeline][-200:],
            now=snapshot.now,
        )

    def _resource(self, state: State, resource_id: str, attempt: int | None, now: datetime, go: Go) -> Markup:
        execution = state.execution
        found = next((one for one in self.table.resources(execution.id, int(resource_id[:4])) if one.id == resource_id), None)
        if found is None:
            return self._nothing(f"Execution {execution.id} has no resource {resource_id}.", go)
        timeline = [happening(entry) for entry in self.table.timeline(execution.id)]
        attempts = list(attempts_of(found, timeline, self.table.calls(execution.id, found.id)))
        return self._render(
            "board_resource.html.j2",
            go,
            execution=execution,
            resource=found,
            failure=_failure(found),
            mend=mending(execution, found, self.command) if found.status.is_failure and not execution.status.is_terminal else "",
            attempts=[one for one in reversed(attempts) if attempt in (None, one.number)][:_MOST_ATTEMPTS],
            one_only=attempt is not None,
            links=console.of_resource(execution, found),
            now=now,
        )

    def _refused_or_unknown(self, execution_id: str, go: Go) -> Markup:
        refusal = self.table.refusal(execution_id)
        if refusal is None:
            return self._nothing(f"There is no execution {execution_id}.", go)
        return self._render("board_refusal.html.j2", go, refusal=refusal)

    def _nothing(self, message: str, go: Go) -> Markup:
        return self._render("board_nothing.html.j2", go, message=message)

    def _render(self, template: str, go: Go, **values: Any) -> Markup:
        words = {"moment": moment, "between": between, "duration": duration, "plain": plain, "plural": plural}
        return Markup(render(template, go=go, region=self.region, stack=self.stack, **words, **values))  # noqa: S704  (as above)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A resource that failed: why, in AWS's own words, and the command that goes on once the cause is mended."""

    resource: Resource
    why: str
    command: str


@dataclass(frozen=True, slots=True)
class Case:
    """An execution as the first page tells of it. `since`: when it came to where it is now; `target`: seconds, None where none is set."""

    snapshot: Snapshot
    sentences: tuple[str, ...]
    commands: tuple[str, ...]
    troubles: tuple[Trouble, ...]
    since: datetime
    target: float | None

    @property
    def is_stuck(self) -> bool:
        """Whether something should have happened long ago."""
        return any(stuck(self.snapshot))

    @property
    def layers_done(self) -> int:
        """How many layers have closed well."""
        return sum(layer.status in (LayerStatus.SUCCEEDED, LayerStatus.SUCCEEDED_WITH_FAILURES) for layer in self.snapshot.layers)

    @property
    def recovery(self) -> str:
        """How much of the time for the recovery has gone, and what is left of it."""
        spent = self.snapshot.running_seconds
        if self.snapshot.execution.dry_run:
            return "a dry run, nothing recovers"
        if self.target is None:
            return "not begun; no target is set" if spent is None else f"{duration(spent)} so far; no target is set"
        if spent is None:
            return f"not begun; {duration(self.target)} to go"
        left = self.target - spent
        return f"{duration(spent)} of {duration(self.target)}, " + (f"{duration(left)} left" if left >= 0 else f"{duration(-left)} over")

    @property
    def is_late(self) -> bool:
        """Whether four fifths of the time have gone."""
        return self.target is not None and (self.snapshot.running_seconds or 0.0) > 0.8 * self.target


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a resource: what happened, and which calls were journalled. Calls are as `Table.calls` gives them."""

    number: int
    events: tuple[Happening, ...]
    calls: tuple[Mapping[str, Any], ...]

    @property
    def failure(self) -> Mapping[str, Any] | None:
        """What it failed with, as it stands in the event; None if it did not."""
        return next((one.fields["error"] for one in reversed(self.events) if "error" in one.fields), None)

    @property
    def outcome(self) -> str:
        """How it stands, in the words of its last event."""
        return self.events[-1].detail_type.removeprefix("Resource ").upper() if self.events else ""


def attempts_of(resource: Resource, timeline: Sequence[Happening], journal: Sequence[tuple[str, int, list[Any]]]) -> Iterator[Attempt]:
    """The attempts of a resource, in order, each with its events and its journalled calls."""
    mine = [one for one in timeline if one.fields.get("resourceId") == resource.id]
    numbers = sorted({int(one.fields.get("attempt", 0)) for one in mine} | {attempt for _, attempt, _ in journal})
    for number in numbers:
        events = tuple(one for one in mine if int(one.fields.get("attempt", 0)) == number)
        calls = tuple(call for _, attempt, made in journal if attempt == number for call in made)
        if number:
            yield Attempt(number, events, calls)


_URGENCY: Mapping[str, int] = {
    ExecutionStatus.FAILED: 0,
    ExecutionStatus.RUNNING: 1,
    ExecutionStatus.CANCELLING: 2,
    ExecutionStatus.PENDING_APPROVAL: 3,
    ExecutionStatus.PAUSED: 4,
    ExecutionStatus.PLANNING: 5,
}


def _failure(resource: Resource) -> str:
    if resource.failure is not None:
        return failure_words(resource.failure)
    return resource.detail if resource.status is ResourceStatus.TIMED_OUT else ""


def _since(snapshot: Snapshot) -> datetime:
    """Since when it is where it is: the end of the failed layer's last resource, the present layer's beginning, or the request."""
    execution = snapshot.execution
    layer = next((one for one in snapshot.layers if one.number == execution.current_layer), None)
    if execution.status is ExecutionStatus.FAILED and layer is not None and layer.ended_at is not None:
        return layer.ended_at
    if execution.ended_at is not None:
        return execution.ended_at
    return (layer.started_at if layer else None) or execution.requested_at


def _target(execution: Execution) -> float | None:
    return float(execution.rto_seconds) if execution.rto_seconds else None
