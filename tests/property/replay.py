"""The statuses that a timeline tells: the events are the audit trail, so they alone must lead to what is stored."""

from collections.abc import Callable, Iterable, Mapping

from dr_core.records import DetailType, Event

Told = Callable[[Mapping[str, object]], str]


def _execution(_: Mapping[str, object]) -> str:
    return "execution"


def _approval(fields: Mapping[str, object]) -> str:
    return f"approval {fields['layer']}" if "layer" in fields else "approval"


def _asked(fields: Mapping[str, object]) -> str:
    """Before a layer it is the execution that begins to wait."""
    return "execution" if "layer" in fields else "approval"


def _waits(fields: Mapping[str, object]) -> str:
    return "PENDING_APPROVAL" if "layer" in fields else "PENDING"


def _layer(fields: Mapping[str, object]) -> str:
    return f"layer {fields['layer']}"


def _resource(fields: Mapping[str, object]) -> str:
    return f"resource {fields['resourceId']}"


def _always(status: str) -> Told:
    return lambda _: status


def _outcome(fields: Mapping[str, object]) -> str:
    return str(fields["outcome"])


def _failed(fields: Mapping[str, object]) -> str:
    return "RETRY_WAIT" if fields["willRetry"] else "FAILED"


MEANING: Mapping[DetailType, tuple[Told, Told]] = {
    DetailType.EXECUTION_REQUESTED: (_execution, _always("PENDING_APPROVAL")),
    DetailType.EXECUTION_STARTED: (_execution, _always("RUNNING")),
    DetailType.EXECUTION_COMPLETED: (_execution, _outcome),
    DetailType.EXECUTION_HALTED: (_execution, _always("FAILED")),
    DetailType.EXECUTION_TAKEN_OVER: (_execution, lambda fields: str(fields["status"])),
    DetailType.EXECUTION_PAUSED: (_execution, _always("PAUSED")),
    DetailType.EXECUTION_RESUMED: (_execution, _always("RUNNING")),
    DetailType.EXECUTION_CANCELLING: (_execution, _always("CANCELLING")),
    DetailType.EXECUTION_CANCELLED: (_execution, _outcome),
    DetailType.EXECUTION_REJECTED: (_execution, _outcome),
    DetailType.EXECUTION_EXPIRED: (_execution, _outcome),
    DetailType.EXECUTION_ABANDONED: (_execution, _outcome),
    DetailType.PREFLIGHT_COMPLETED: (_execution, _always("PENDING_APPROVAL")),
    DetailType.APPROVAL_REQUESTED: (_asked, _waits),
    DetailType.APPROVAL_SENT: (_approval, _always("PENDING")),
    DetailType.APPROVAL_REMINDER: (_approval, _always("PENDING")),
    DetailType.VOTE_RECORDED: (_approval, _always("PENDING")),
    DetailType.APPROVAL_BYPASSED: (_approval, _always("PENDING")),
    DetailType.APPROVAL_GRANTED: (_approval, _always("APPROVED")),
    DetailType.APPROVAL_REJECTED: (_approval, _always("REJECTED")),
    DetailType.APPROVAL_EXPIRED: (_approval, _always("EXPIRED")),
    DetailType.LAYER_STARTED: (_layer, _always("RUNNING")),
    DetailType.LAYER_REOPENED: (_layer, _always("RUNNING")),
    DetailType.LAYER_COMPLETED: (_layer, _outcome),
    DetailType.RESOURCE_REQUESTED: (_resource, _always("REQUESTED")),
    DetailType.RESOURCE_STARTED: (_resource, _always("STARTING")),
    DetailType.RESOURCE_MEASURED: (_resource, _always("STARTING")),
    DetailType.RESOURCE_WAITING: (_resource, _always("WAITING")),
    DetailType.RESOURCE_SUCCEEDED: (_resource, _always("SUCCEEDED")),
    DetailType.RESOURCE_FAILED: (_resource, _failed),
    DetailType.RESOURCE_TIMED_OUT: (_resource, _always("TIMED_OUT")),
    DetailType.RESOURCE_RETRIED: (_resource, _always("PENDING")),
    DetailType.RESOURCE_SKIPPED: (_resource, _always("SKIPPED")),
    DetailType.RESOURCE_CANCELLED: (_resource, _always("CANCELLED")),
}


def tell(event: Event) -> tuple[str, str]:
    """Of which record the event speaks, and the status that it gives it."""
    name, status = MEANING[event.detail_type]
    return name(event.fields), status(event.fields)


def replay(timeline: Iterable[Event]) -> dict[str, str]:
    """The last status that the events tell of each record; an approval is there from the request on, before anybody is asked."""
    return {"approval": "PENDING", **dict(map(tell, timeline))}
