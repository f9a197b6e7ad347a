"""`--output json`: all that the text says, in a shape that stays. Names are the events' own; a field may be added, none is taken away.

{"schemaVersion": "1", "kind": "execution",
 "execution": {…}, "approval": {…} or null,
 "layers": [{…, "resources": [{…, "failure": {…} or null}]}],
 "timeline": [{"id", "at", "source", "detailType", "subject", "words", "detail"}],
 "next": {"sentences": [], "commands": []}}

{"schemaVersion": "1", "kind": "refusal", "execution": {"id", "application", "status": "REFUSED", "requestedAt"}, "problems": []}
"""

from datetime import datetime
from typing import Any

from dr_core.moves import error_fields, text
from dr_core.records import Layer, Resource
from dr_core.state import Refusal
from drctl.advice import Advice
from drctl.snapshot import Snapshot

SCHEMA_VERSION = "1"


def of_execution(snapshot: Snapshot, advice: Advice) -> dict[str, Any]:
    """The document of an execution. It has neither parameters nor tokens."""
    execution, approval, running = snapshot.execution, snapshot.approval, snapshot.running_seconds
    return {
        "schemaVersion": SCHEMA_VERSION,
        "kind": "execution",
        "execution": {
            "id": execution.id,
            "application": execution.application,
            "phase": execution.phase,
            "mode": execution.mode,
            "targetRegion": execution.target_region,
            "sourceRegion": execution.source_region,
            "homeRegion": execution.home_region,
            "status": execution.status,
            "requestedBy": execution.requested_by,
            "reason": execution.reason,
            "requestedAt": _at(execution.requested_at),
            "startedAt": _at(execution.started_at),
            "endedAt": _at(execution.ended_at),
            "elapsedSeconds": round(snapshot.elapsed_seconds, 3),
            "runningSeconds": None if running is None else round(running, 3),
            "currentLayer": execution.current_layer,
            "layersTotal": execution.layers_total,
            "manifestSha256": execution.manifest_sha256,
            "manifestVersionId": execution.manifest_version_id,
            "clientToken": execution.client_token,
            "outcomeDetail": execution.outcome_detail,
        },
        "approval": approval
        and {
            "status": approval.status,
            "requester": approval.requester,
            "expiresAt": _at(approval.expires_at),
            "askedAt": _at(approval.asked_at),
            "approver": approval.approver,
            "reason": approval.reason,
            "decidedAt": _at(approval.decided_at),
        },
        "layers": [_layer(layer, snapshot.resources_of(layer)) for layer in snapshot.layers],
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
        "bestEffort": resource.best_effort,
        "detail": resource.detail,
        "percent": resource.percent,
        "startedAt": _at(resource.started_at),
        "endedAt": _at(resource.ended_at),
        "nextAt": _at(resource.next_at),
        "deadlineAt": _at(resource.deadline_at),
        "failure": resource.failure and {**error_fields(resource.failure), "message": resource.failure.message},
    }


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else text(moment)
