"""`--output json`: all that the text says, in a shape that stays. Names are the events' own; a field may be added, none is taken away.

{"schemaVersion": "1", "kind": "execution",
 "execution": {…}, "approval": {…, "votes": [{"approver", "channel", "decision", "reason", "at", "breakGlass"}]} or null,
 "layers": [{…, "resources": [{…, "failure": {…} or null}]}],
 "preflight": {"errors", "warnings", "calls", "lagSeconds", "resources", "lookedAt"} or null, "reports": [a resource's, as below],
 "timeline": [{"id", "at", "source", "detailType", "subject", "words", "detail"}],
 "next": {"sentences": [], "commands": []}}

{"schemaVersion": "1", "kind": "preflight" or "plan", "execution": {…}, "preflight": {…},
 "reports": [{"resourceId", "layer", "resourceName", "module", "account", "progress", "detail", "findings", "lagSeconds", "maxLagSeconds",
              "calls": [{"action", "region", "parameters", …}], "mayAlsoCall", "note", "irreversible"}]}

{"schemaVersion": "1", "kind": "approval", "execution": {…}, "approval": {…}, "preflight": {…}, "reports": [as above],
 "dataLoss": "in words", "irreversible": [resources, by name], "pastSeconds": [how long completed runs took, newest first]}

{"schemaVersion": "1", "kind": "refusal", "execution": {"id", "application", "status": "REFUSED", "requestedAt"}, "problems": []}
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from dr_core.moves import error_fields, text
from dr_core.records import Approval, Execution, Layer, Resource
from dr_core.reports import read_reports, verdict
from dr_core.state import Refusal
from dr_people.advice import Advice
from dr_people.approval_context import ApprovalContext
from dr_people.snapshot import Snapshot

SCHEMA_VERSION = "1"


def of_execution(snapshot: Snapshot, advice: Advice) -> dict[str, Any]:
    """The document of an execution. It has neither task tokens nor parameters but those of the calls that preflight planned."""
    execution, approval, running = snapshot.execution, snapshot.approval, snapshot.running_seconds
    return {
        "schemaVersion": SCHEMA_VERSION,
        "kind": "execution",
        "execution": {
            **_execution(execution),
            "elapsedSeconds": round(snapshot.elapsed_seconds, 3),
            "runningSeconds": None if running is None else round(running, 3),
        },
        "approval": approval and _approval(approval),
        "layers": [_layer(layer, snapshot.resources_of(layer)) for layer in snapshot.layers],
        "preflight": _preflight(snapshot.resources, snapshot.preflight) if snapshot.preflight else None,
        "reports": _reports(snapshot.resources, snapshot.preflight),
        "timeline": [
            {
                "id": one.id,
                "at": _at(one.at),
                "source": one.source,
                "detailType": one.detail_type,
                "subject": one.subject,
                "words": one.words,
                "detail": one.fields,
            }
            for one in snapshot.timeline
        ],
        "next": {"sentences": advice.sentences, "commands": advice.commands},
    }


def of_request(
    execution: Execution,
    approval: Approval,
    resources: Sequence[Resource],
    reports: Sequence[Mapping[str, Any]],
    context: ApprovalContext,
) -> dict[str, Any]:
    """The document of a request for approval: what an approver is told."""
    return {
        **of_waiting(execution, approval),
        "preflight": _preflight(resources, reports) if reports else None,
        "reports": _reports(resources, reports),
        "dataLoss": context.data_loss,
        "irreversible": [step.name for step in context.irreversible],
        "pastSeconds": list(context.past_seconds),
    }


def of_waiting(execution: Execution, approval: Approval) -> dict[str, Any]:
    """The same in short, as it stands in a list."""
    return {"schemaVersion": SCHEMA_VERSION, "kind": "approval", "execution": _execution(execution), "approval": _approval(approval)}


def of_preflight(
    kind: Literal["preflight", "plan"], execution: Execution, resources: Sequence[Resource], reports: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The document of a dry run that has ended."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "kind": kind,
        "execution": _execution(execution),
        "preflight": _preflight(resources, reports),
        "reports": _reports(resources, reports),
    }


def of_refusal(refusal: Refusal) -> dict[str, Any]:
    """The document of a refused request."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "kind": "refusal",
        "execution": {
            "id": refusal.execution_id,
            "application": refusal.application,
            "status": "REFUSED",
            "requestedAt": _at(refusal.requested_at),
        },
        "problems": refusal.problems,
    }


def _execution(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.id,
        "application": execution.application,
        "phase": execution.phase,
        "mode": execution.mode,
        "dryRun": execution.dry_run,
        "targetRegion": execution.target_region,
        "sourceRegion": execution.source_region,
        "homeRegion": execution.home_region,
        "status": execution.status,
        "requestedBy": execution.requested_by,
        "requesterVerified": execution.requester_verified,
        "reason": execution.reason,
        "requestedAt": _at(execution.requested_at),
        "preflightAt": _at(execution.preflight_at),
        "startedAt": _at(execution.started_at),
        "endedAt": _at(execution.ended_at),
        "currentLayer": execution.current_layer,
        "layersTotal": execution.layers_total,
        "manifestSha256": execution.manifest_sha256,
        "manifestVersionId": execution.manifest_version_id,
        "clientToken": execution.client_token,
        "outcomeDetail": execution.outcome_detail,
    }


def _approval(approval: Approval) -> dict[str, Any]:
    return {
        "status": approval.status,
        "layer": approval.layer,
        "requester": approval.requester,
        "expiresAt": _at(approval.expires_at),
        "askedAt": _at(approval.asked_at),
        "quorum": approval.quorum,
        "approvers": [{"name": one.name, "escalation": one.escalation} for one in approval.approvers],
        "votes": [
            {
                "approver": one.approver,
                "channel": one.channel,
                "decision": "approve" if one.approve else "reject",
                "reason": one.reason,
                "at": _at(one.at),
                "breakGlass": one.break_glass,
            }
            for one in approval.votes
        ],
        "approver": approval.approver,
        "reason": approval.reason,
        "decidedAt": _at(approval.decided_at),
        "manifestSha256": approval.manifest_sha256,
        "planSha256": approval.plan_sha256,
    }


def _preflight(resources: Sequence[Resource], reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    read = read_reports(reports)
    found = verdict(read, len(resources))
    return {
        "errors": found.errors,
        "warnings": found.warnings,
        "calls": found.calls,
        "lagSeconds": max((report.lag_seconds for report in read if report.lag_seconds is not None), default=None),
        "resources": found.resources,
        "lookedAt": found.looked_at,
    }


def _reports(resources: Sequence[Resource], reports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    limits = {resource.id: resource.max_lag_seconds for resource in resources}
    return [{**report, "maxLagSeconds": limits.get(report["resourceId"])} for report in reports]


def _layer(layer: Layer, resources: tuple[Resource, ...]) -> dict[str, Any]:
    return {
        "layer": layer.number,
        "status": layer.status,
        "epoch": layer.epoch,
        "policy": layer.policy,
        "maxFailures": layer.max_failures,
        "startedAt": _at(layer.started_at),
        "endedAt": _at(layer.ended_at),
        "resources": [_resource(resource) for resource in resources],
    }


def _resource(resource: Resource) -> dict[str, Any]:
    return {
        "resourceId": resource.id,
        "resourceName": resource.name,
        "module": resource.module,
        "account": resource.account,
        "status": resource.status,
        "attempt": resource.attempt,
        "maxAttempts": resource.max_attempts,
        "step": resource.step,
        "lagSeconds": resource.lag_seconds,
        "maxLagSeconds": resource.max_lag_seconds,
        "bestEffort": resource.best_effort,
        "detail": resource.detail,
        "percent": resource.percent,
        "startedAt": _at(resource.started_at),
        "endedAt": _at(resource.ended_at),
        "nextAt": _at(resource.next_at),
        "deadlineAt": _at(resource.deadline_at),
        "stuck": resource.is_stuck,
        "failure": resource.failure and {**error_fields(resource.failure), "message": resource.failure.message},
    }


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else text(moment)
