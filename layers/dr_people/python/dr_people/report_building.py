"""The recovery report of an execution, made from what the table says of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice, zip_longest
from typing import Any

from dr_core import records
from dr_core.calls import is_reading
from dr_core.phases import Mode
from dr_core.records import Execution, State
from dr_core.reports import read_reports, verdict
from dr_core.state import Listed, Table
from dr_people.gantt import chart, picture
from dr_people.report import (
    Approval,
    Ballot,
    Call,
    Changed,
    CriticalStep,
    DataLoss,
    Drill,
    Failed,
    Happened,
    Layer,
    LeftOut,
    PastRun,
    Recovery,
    Report,
    Request,
    Resource,
    TimeSplit,
)
from dr_people.report_deviations import deviations
from dr_people.snapshot import Snapshot, read
from dr_people.time_split import Kind, Piece, milliseconds, pieces

PAST_RUNS = 5
Journal = Sequence[tuple[str, int, list[Any]]]


def report_of(table: Table, state: State, now: datetime) -> Report:
    """The report of an execution just loaded, as of its last event, or of `now` while it is under way."""
    execution = state.execution
    earlier = table.past_runs(execution.application, execution.phase, execution.requested_at)
    past = [past_run(one, table.layers(one.id)) for one in islice(earlier, PAST_RUNS)]
    return build(read(table, state, now), table.calls(execution.id), past)


def picture_of(table: Table, state: State, as_of: datetime) -> str:
    """The timeline of the execution as SVG, as of that moment."""
    return picture(chart(read(table, state, as_of)))


def past_run(run: Listed, layers: Iterable[records.Layer]) -> PastRun:
    """What an earlier execution took, layer by layer."""
    return PastRun(
        execution_id=run.id,
        status=run.status,
        mode=run.mode,
        requested_at=run.requested_at,
        recovery_ms=_between(run.started_at, run.ended_at),
        layers_ms={one.number: took for one in layers if (took := _between(one.started_at, one.ended_at)) is not None},
    )


def build(snapshot: Snapshot, journal: Journal, past: Sequence[PastRun]) -> Report:
    """The report of what `snapshot` and the journal of calls hold, beside earlier runs. Pure."""
    execution = snapshot.execution
    last = max((one.at for one in snapshot.timeline), default=execution.requested_at)
    resting = execution.status.is_terminal or execution.status is records.ExecutionStatus.FAILED
    as_of = execution.ended_at or (last if resting else snapshot.now)
    names = {one.id: one.name for one in snapshot.resources}
    path = pieces(snapshot.timeline, _acts(journal), as_of)
    recovery = _recovery(execution, as_of)
    calls = tuple(_calls(journal, names))
    losses = tuple(
        DataLoss(resource_id=one.id, resource_name=one.name, lag_seconds=float(one.lag_seconds), accepted_seconds=one.max_lag_seconds)
        for one in snapshot.resources
        if one.lag_seconds is not None
    )
    return Report(
        execution_id=execution.id,
        status=execution.status,
        outcome=execution.outcome_detail,
        as_of=as_of,
        started_at=execution.started_at,
        ended_at=execution.ended_at,
        request=_request(snapshot),
        approval=next((_approval(one) for one in snapshot.approvals if not one.layer), None),
        layer_approvals=tuple(_approval(one) for one in snapshot.approvals if one.layer),
        drill=_drill(snapshot, journal) if execution.mode is Mode.DRILL else None,
        recovery=recovery,
        data_loss=losses,
        time=_split(path, execution.started_at, as_of),
        layers=tuple(_layers(snapshot, path, as_of)),
        critical_path=tuple(_steps(path, names)),
        deviations=tuple(deviations(snapshot, calls, losses, recovery, as_of)),
        past_runs=tuple(past),
        calls=calls,
        timeline=tuple(Happened(at=e.at, detail_type=e.detail_type, subject=e.subject, words=e.words) for e in snapshot.timeline),
    )


def _between(start: datetime | None, end: datetime | None) -> int | None:
    return None if start is None or end is None else milliseconds(start, end)


def _acts(journal: Journal) -> dict[tuple[str, int], datetime]:
    """When each attempt made its first call that changes something."""
    found: dict[tuple[str, int], datetime] = {}
    for resource_id, attempt, made in journal:
        for call in made:
            if call["at"] and not is_reading(call["action"].partition(":")[2]):
                at = datetime.fromisoformat(call["at"])
                found[resource_id, attempt] = min(at, found.get((resource_id, attempt), at))
    return found


def _calls(journal: Journal, names: Mapping[str, str]) -> Iterator[Call]:
    rows = [(call["at"], resource_id, attempt, call) for resource_id, attempt, made in journal for call in made]
    for at, resource_id, attempt, call in sorted(rows, key=lambda row: row[:3]):
        yield Call(
            at=at,
            resource_id=resource_id,
            resource_name=names.get(resource_id, resource_id),
            attempt=attempt,
            action=call["action"],
            region=call["region"],
            duration_ms=call.get("duration_ms"),
            request_id=call.get("request_id"),
            error_code=call.get("error_code"),
            error_message=call.get("error_message"),
            shared_by=call.get("shared_by"),
        )


def _drill(snapshot: Snapshot, journal: Journal) -> Drill:
    target = snapshot.execution.target_region
    accounts = {one.id: one.account for one in snapshot.resources}
    made: Counter[tuple[str, str, str, bool]] = Counter()
    for resource_id, _, calls in journal:
        for call in calls:
            if not is_reading(call["action"].partition(":")[2]):
                made[accounts.get(resource_id, ""), call["region"], call["action"], _is_beyond(call, target)] += 1
    rows = [(Changed(account=where[0], region=where[1], action=where[2], times=times), where[3]) for where, times in sorted(made.items())]
    changed, beyond = tuple(row for row, _ in rows), tuple(row for row, out in rows if out)
    return Drill(
        production_untouched=not beyond,
        changed=changed,
        beyond=beyond,
        functions=sum(one.times for one in changed if one.action == "lambda:InvokeFunction"),
        left_out=tuple(
            LeftOut(resource_id=one.id, resource_name=one.name, module=one.module, why=one.detail)
            for one in snapshot.resources
            if one.status is records.ResourceStatus.SKIPPED
        ),
    )


def _is_beyond(call: Mapping[str, Any], target: str) -> bool:
    """Whether a call changes more than the Region of the drill: made in another one, or of what AWS calls global."""
    return call["region"] != target or any(name.startswith("Global") for name in call.get("parameters", {}))


def _request(snapshot: Snapshot) -> Request:
    execution = snapshot.execution
    looked_at = read_reports(snapshot.preflight)
    return Request(
        application=execution.application,
        phase=execution.phase,
        mode=execution.mode,
        target_region=execution.target_region,
        source_region=execution.source_region,
        home_region=execution.home_region,
        requested_by=execution.requested_by,
        requester_verified=execution.requester_verified,
        reason=execution.reason,
        requested_at=execution.requested_at,
        client_token=execution.client_token,
        dry_run=execution.dry_run,
        manifest_sha256=execution.manifest_sha256,
        manifest_version_id=execution.manifest_version_id,
        preflight=verdict(looked_at, len(snapshot.resources)).words() if looked_at else "",
    )


def _approval(approval: records.Approval) -> Approval:
    return Approval(
        layer=approval.layer,
        status=approval.status,
        approver=approval.approver,
        reason=approval.reason,
        asked_at=approval.asked_at,
        decided_at=approval.decided_at,
        expires_at=approval.expires_at,
        waited_ms=_between(approval.asked_at, approval.decided_at),
        quorum=approval.quorum,
        votes=tuple(
            Ballot(
                approve=one.approve,
                approver=one.approver,
                channel=one.channel,
                identity=one.identity,
                reason=one.reason,
                at=one.at,
                break_glass=one.break_glass,
            )
            for one in approval.votes
        ),
    )


def _recovery(execution: Execution, as_of: datetime) -> Recovery:
    succeeded = execution.status in (records.ExecutionStatus.SUCCEEDED, records.ExecutionStatus.SUCCEEDED_WITH_FAILURES)
    measured = _between(execution.started_at, execution.ended_at if succeeded else None)
    target = execution.rto_seconds * 1000 if execution.rto_seconds else None
    return Recovery(
        measured_ms=measured,
        from_request_ms=_between(execution.requested_at, execution.ended_at if measured is not None else None),
        target_ms=target,
        met=measured <= target if measured is not None and target is not None else None,
    )


def _split(path: Iterable[Piece], start: datetime | None, end: datetime) -> TimeSplit:
    """The total is taken from the table, the parts from the pieces: TimeSplit refuses those that do not add up."""
    spent = dict.fromkeys(Kind, 0)
    for piece in path:
        spent[piece.kind] += piece.milliseconds
    aws, orchestration, retry, people = (spent[kind] for kind in (Kind.AWS, Kind.ORCHESTRATION, Kind.RETRY, Kind.PEOPLE))
    return TimeSplit(
        total_ms=milliseconds(start, end) if start else 0,
        aws_ms=aws,
        overhead_ms=orchestration + retry + people,
        orchestration_ms=orchestration,
        retry_ms=retry,
        people_ms=people,
    )


def _layers(snapshot: Snapshot, path: Sequence[Piece], as_of: datetime) -> Iterator[Layer]:
    ordered = sorted(snapshot.layers, key=lambda one: one.number)
    critical = {one.resource_id for one in path}
    forced = {one.fields["resourceId"] for one in snapshot.timeline if one.fields.get("forced")}
    for layer, following in zip_longest(ordered, ordered[1:]):
        until = following.started_at if following and following.started_at else as_of
        yield Layer(
            number=layer.number,
            status=layer.status,
            times_reopened=layer.epoch,
            started_at=layer.started_at,
            ended_at=layer.ended_at,
            time=_split([one for one in path if one.layer == layer.number], layer.started_at, until),
            resources=tuple(_resource(one, critical, forced) for one in snapshot.resources_of(layer)),
        )


def _resource(resource: records.Resource, critical: set[str], forced: set[str]) -> Resource:
    failure = resource.failure
    return Resource(
        id=resource.id,
        name=resource.name,
        module=resource.module,
        account=resource.account,
        status=resource.status,
        attempts=resource.attempt,
        failed_attempts=resource.spent + resource.status.is_failure,
        started_at=resource.started_at,
        ended_at=resource.ended_at,
        duration_ms=_between(resource.started_at, resource.ended_at),
        is_critical=resource.id in critical,
        forced=resource.id in forced,
        detail=resource.detail,
        lag_seconds=None if resource.lag_seconds is None else float(resource.lag_seconds),
        failure=failure
        and Failed(code=failure.code, error_class=failure.error_class, message=failure.message, request_id=failure.request_id),
    )


def _steps(path: Iterable[Piece], names: Mapping[str, str]) -> Iterator[CriticalStep]:
    """The pieces, of which those that follow one another and are of one kind become one."""
    joined: list[Piece] = []
    for piece in path:
        before = joined[-1] if joined else None
        if before and (before.layer, before.resource_id, before.kind, before.end) == (
            piece.layer,
            piece.resource_id,
            piece.kind,
            piece.start,
        ):
            joined[-1] = replace(before, end=piece.end)
        else:
            joined.append(piece)
    for one in joined:
        yield CriticalStep(
            layer=one.layer,
            resource_id=one.resource_id,
            resource_name=names.get(one.resource_id, ""),
            kind=one.kind,
            started_at=one.start,
            ended_at=one.end,
            duration_ms=one.milliseconds,
        )
