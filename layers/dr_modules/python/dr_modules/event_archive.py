"""EventArchive: replay the events of an archive in the Region that takes over, so that what the outage cut off is worked on.

ACTIVATE starts one replay, from EventBridge's archive to the event bus that the archive was made of (AWS replays to no other), of the
events between EventStartTime and EventEndTime. Without EventEndTime that is the time of the replay's start. Events reach an archive with a
delay, for which AWS advises to wait ten minutes (EventBridge User Guide, "Archiving and replaying events"): the last ones may be missing.

A time written into a manifest is soon a wrong one: let EventStartTime be a reference, such as "resolve:ssm:/shop/outage-start", and write
the outage's start into that SSM parameter of the target Region before the execution.

The replay is called after the execution, the resource and the attempt, so it is found again after a crash, and one that exists is adopted,
never started twice. A replay sends events again: consumers tell them by the event's field `replay-name`. What was sent cannot be taken
back, so one that has failed is started again only by a person's retry, under a new name and from the window's start. A drill does not
replay.

Example manifest resource:

    {
      "action": "EventArchive",
      "resourceName": "order-events",
      "parameters": {
        "ArchiveName": "orders",
        "BusName": "shop",
        "EventStartTime": "2026-03-01T06:00:00Z",
        "EventEndTime": "2026-03-01T07:30:00Z"
      }
    }
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import AwareDatetime, Field, model_validator

from dr_core.phases import Phase
from dr_modules.base import DRModule, ModuleParameters, Permissions, PreflightFinding, Status, Text, register

_FAILED = frozenset({"FAILED", "CANCELLED"})


class EventArchiveParameters(ModuleParameters):
    """One replay of a manifest resource."""

    archive: Text = Field(alias="ArchiveName", max_length=48, description="name of the archive in the target Region")
    bus: Text | None = Field(
        alias="BusName", default=None, description="name of the event bus, which must be the archive's own; without it, that one"
    )
    start: AwareDatetime = Field(alias="EventStartTime", description="events from this time on, ISO 8601 with a time zone")
    end: AwareDatetime | None = Field(
        alias="EventEndTime", default=None, description="events up to this time, ISO 8601 with a time zone; without it, the replay's start"
    )

    @model_validator(mode="after")
    def _window_in_order(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError("EventEndTime must be after EventStartTime")
        return self


@register("EventArchive")
class EventArchive(DRModule[EventArchiveParameters]):
    """Replays of EventBridge's archives."""

    permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: ("events:DescribeArchive", "events:DescribeEventBus", "events:DescribeReplay", "events:StartReplay"),
    }
    irreversible = frozenset({Phase.ACTIVATE})
    timeout_seconds = 3600

    def guard(self, parameters: EventArchiveParameters) -> None:
        """Refuse an archive or a bus that is not there, and a bus that is not the archive's."""
        self._source(parameters)

    def preflight(self, parameters: EventArchiveParameters) -> Iterable[PreflightFinding]:
        """Whether the archive holds the window, and is in order."""
        archive, now = self._archive(parameters), datetime.now(UTC)
        state, days = archive.get("State", ""), archive.get("RetentionDays") or 0
        if state != "ENABLED":
            reason = archive.get("StateReason") or "no reason given"
            yield self.warning("ArchiveNotEnabled", f"archive {parameters.archive} is {state} ({reason}): it may lack the latest events")
        if parameters.start > now:
            yield self.obstacle("WindowInTheFuture", f"EventStartTime {parameters.start} is in the future: name the outage's start")
        oldest = now - timedelta(days=days)
        if days and (parameters.end or now) <= oldest:
            message = f"archive {parameters.archive} keeps events for {days} days, and EventEndTime {parameters.end} is before that"
            yield self.obstacle("WindowNotRetained", f"{message}: nothing of the window is left; correct it")
        elif days and parameters.start < oldest:
            message = f"archive {parameters.archive} keeps events for {days} days, and EventStartTime {parameters.start} is before that"
            yield self.warning("WindowNotRetained", f"{message}: earlier events are not replayed")
        created = archive.get("CreationTime")
        if created is not None and parameters.start < created:
            message = f"archive {parameters.archive} was created at {created}, after EventStartTime {parameters.start}"
            yield self.warning("ArchiveTooYoung", f"{message}: earlier events are not replayed")

    def activate(self, parameters: EventArchiveParameters) -> None:
        """Start the replay of this attempt; one of its name that exists is ours already."""
        self.guard(parameters)
        archive_arn, bus_arn = self._source(parameters)
        run = self.run
        try:
            self._events.start_replay(
                ReplayName=self._name(run.attempt),
                Description=f"{run.application}: {run.resource_name}, execution {run.execution_id}"[:512],
                EventSourceArn=archive_arn,
                EventStartTime=parameters.start,
                EventEndTime=parameters.end or datetime.now(UTC),
                Destination={"Arn": bus_arn},
            )
        except self._events.exceptions.ResourceAlreadyExistsException:
            return  # started before a crash: the check watches it

    def activate_status_check(self, parameters: EventArchiveParameters) -> Status:
        """Done when the last replay that this execution has started for the target is COMPLETED; FAILED and CANCELLED fail."""
        for attempt in range(self.run.attempt, 0, -1):
            replay = self._replay(self._name(attempt))
            if replay is not None:
                return _status(replay, parameters)
        return Status.not_started(f"no replay of {parameters.archive} has been started")

    @cached_property
    def _events(self) -> Any:
        return self.client("events")

    def _name(self, attempt: int) -> str:
        """The same for every try of one attempt at one target, and of characters that EventBridge takes, 64 at most."""
        run = self.run
        key = hashlib.sha256(f"{run.execution_id}|{run.resource_id}|{self.position}".encode()).hexdigest()[:32]
        return f"dr-orchestrator-{key}-{attempt}"

    def _replay(self, name: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._events.describe_replay(ReplayName=name)
        except self._events.exceptions.ResourceNotFoundException:
            return None
        return found

    def _archive(self, parameters: EventArchiveParameters) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self._events.describe_archive(ArchiveName=parameters.archive)
        except self._events.exceptions.ResourceNotFoundException as error:
            message = f"there is no archive {parameters.archive} in {self.target.region}"
            raise self.error("ArchiveNotFound", f"{message}: correct ArchiveName, or create the archive there") from error
        return found

    def _source(self, parameters: EventArchiveParameters) -> tuple[str, str]:
        """The ARNs of the archive and of its bus. Raises ModuleError when one is missing, or the bus is not the archive's."""
        archive = self._archive(parameters)
        name = parameters.bus or archive["EventSourceArn"]
        try:
            bus = str(self._events.describe_event_bus(Name=name)["Arn"])
        except self._events.exceptions.ResourceNotFoundException as error:
            message = f"there is no event bus {name} in {self.target.region}"
            raise self.error("EventBusNotFound", f"{message}: correct BusName, or create the bus there") from error
        if bus != archive["EventSourceArn"]:
            message = f"archive {parameters.archive} was made of {archive['EventSourceArn']}, and EventBridge replays to no other bus"
            raise self.error("OtherBus", f"{message} ({bus}): correct BusName, or leave it out")
        return str(archive["ArchiveArn"]), bus


def _status(replay: Mapping[str, Any], parameters: EventArchiveParameters) -> Status:
    name, state = replay["ReplayName"], replay.get("State", "")
    if state == "COMPLETED":
        return Status.done(f"replay {name} of {parameters.archive} is COMPLETED")
    if state in _FAILED:
        reason = replay.get("StateReason") or "EventBridge gives no reason"
        return Status.failed(f"Replay{state.title()}", f"replay {name} of {parameters.archive} is {state}: {reason}")
    return Status.in_progress(f"replay {name} of {parameters.archive} is {state}", _percent(replay))


def _percent(replay: Mapping[str, Any]) -> int | None:
    """How much of the window has been replayed; EventBridge goes through it minute by minute."""
    start, end, last = replay.get("EventStartTime"), replay.get("EventEndTime"), replay.get("EventLastReplayedTime")
    if start is None or end is None or last is None or end <= start:
        return None
    return max(0, min(99, int(100 * (last - start) / (end - start))))
