"""What an execution has that an undisturbed one has not, each with its words. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from dr_core.records import Approval, DetailType
from dr_core.reports import seconds
from dr_people.report import Call, DataLoss, Deviation, Recovery
from dr_people.snapshot import Snapshot
from dr_people.timeline import Happening
from dr_people.wording import between, duration

# Whoever decides has decided late when more than this share of the time to decide had gone by.
_LATE = 0.5
_RESUMING = (DetailType.EXECUTION_RESUMED, DetailType.EXECUTION_CANCELLING, DetailType.EXECUTION_ABANDONED)


def deviations(
    snapshot: Snapshot, calls: Sequence[Call], losses: Sequence[DataLoss], recovery: Recovery, as_of: datetime
) -> list[Deviation]:
    """All of them, in order of time."""
    found = [
        *_of_events(snapshot.timeline),
        *_stops(snapshot.timeline, as_of),
        *_of_calls(calls),
        *(late for one in snapshot.approvals for late in _of_approval(one)),
        *_of_lag(snapshot.timeline, losses),
    ]
    if recovery.met is False and recovery.measured_ms is not None and recovery.target_ms is not None:
        words = f"took {duration(recovery.measured_ms / 1000)}, the target is {duration(recovery.target_ms / 1000)}"
        found.append(Deviation(at=as_of, kind="TARGET_MISSED", subject="", words=words))
    return sorted(found, key=lambda one: one.at)


def _of_events(events: Sequence[Happening]) -> Iterator[Deviation]:
    for event in events:
        make = _MEANT.get(event.detail_type)
        deviation = make(event) if make else None
        if deviation is not None:
            yield deviation


def _as(kind: str) -> Callable[[Happening], Deviation]:
    def make(event: Happening) -> Deviation:
        return Deviation.model_validate({"at": event.at, "kind": kind, "subject": event.subject, "words": event.words})

    return make


def _failed(event: Happening) -> Deviation:
    return _as("RETRY" if event.fields.get("willRetry") else "FAILURE")(event)


def _started(event: Happening) -> Deviation | None:
    return _as("TAKEOVER")(event) if event.fields.get("takeover") else None


def _succeeded(event: Happening) -> Deviation | None:
    return _as("FORCED")(event) if event.fields.get("forced") else None


_MEANT: Mapping[str, Callable[[Happening], Deviation | None]] = {
    DetailType.RESOURCE_FAILED: _failed,
    DetailType.RESOURCE_TIMED_OUT: _as("TIME_OUT"),
    DetailType.RESOURCE_STARTED: _started,
    DetailType.RESOURCE_SUCCEEDED: _succeeded,
    DetailType.RESOURCE_RETRIED: _as("RETRIED_BY_HAND"),
    DetailType.RESOURCE_SKIPPED: _as("SKIPPED"),
    DetailType.EXECUTION_CANCELLING: _as("CANCELLED"),
    DetailType.APPROVAL_BYPASSED: _as("BREAK_GLASS"),
    DetailType.COMMAND_REFUSED: _as("COMMAND_REFUSED"),
}


def _stops(events: Sequence[Happening], as_of: datetime) -> Iterator[Deviation]:
    """Each pause and each halt, with how long it lasted."""
    for index, event in enumerate(events):
        if event.detail_type not in (DetailType.EXECUTION_PAUSED, DetailType.EXECUTION_HALTED):
            continue
        end = next((later.at for later in events[index + 1 :] if later.detail_type in _RESUMING), as_of)
        kind = "PAUSE" if event.detail_type == DetailType.EXECUTION_PAUSED else "HALT"
        words = ", ".join(part for part in (f"for {between(event.at, end)}", event.words) if part)
        yield Deviation.model_validate({"at": event.at, "kind": kind, "subject": event.subject, "words": words})


def _of_calls(calls: Sequence[Call]) -> Iterator[Deviation]:
    for call in calls:
        if call.error_code is not None:
            request = f" (request id {call.request_id})" if call.request_id else ""
            words = f"{call.action}: {call.error_code}: {call.error_message or 'no message'}{request}, attempt {call.attempt}"
            yield Deviation(at=datetime.fromisoformat(call.at), kind="CALL_FAILED", subject=call.resource_name, words=words)


def _of_approval(approval: Approval) -> Iterator[Deviation]:
    if approval.asked_at is None or approval.decided_at is None:
        return
    waited, allowed = approval.decided_at - approval.asked_at, approval.expires_at - approval.asked_at
    if waited > allowed * _LATE:
        before = f"before layer {approval.layer}: " if approval.layer else ""
        words = f"{before}{approval.status} after {duration(waited.total_seconds())} of the {duration(allowed.total_seconds())} allowed"
        yield Deviation(at=approval.decided_at, kind="LATE_APPROVAL", subject="", words=words)


def _of_lag(events: Sequence[Happening], losses: Sequence[DataLoss]) -> Iterator[Deviation]:
    measured = {event.fields["resourceId"]: event.at for event in events if event.detail_type == DetailType.RESOURCE_MEASURED}
    for loss in losses:
        if loss.lag_seconds > loss.accepted_seconds and loss.resource_id in measured:
            words = f"{seconds(loss.lag_seconds)} of data not yet replicated, {seconds(loss.accepted_seconds)} are accepted when planned"
            yield Deviation(at=measured[loss.resource_id], kind="LAG_ABOVE_LIMIT", subject=loss.resource_name, words=words)
