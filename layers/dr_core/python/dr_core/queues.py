"""Messages that go past the bus: the next check of a resource, the end of a retry's wait, and what the sweep sends again."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from dr_core.aws import client
from dr_core.events import wake_up
from dr_core.records import DetailType, Event, Kind, Move, ResourceStatus, State
from dr_core.settings import Name, setting

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_QUEUES: Mapping[DetailType, Name] = {
    DetailType.EXECUTION_REQUESTED: "PREFLIGHT_QUEUE_URL",
    DetailType.APPROVAL_REQUESTED: "APPROVAL_QUEUE_URL",
    DetailType.RESOURCE_REQUESTED: "START_QUEUE_URL",
    DetailType.RESOURCE_WAITING: "CHECK_QUEUE_URL",
    DetailType.RESOURCE_FAILED: "ADVANCE_QUEUE_URL",
}
_LONGEST_DELAY = 900  # the most that SQS holds a message back; the sweep covers what is later


@cache
def _sqs() -> "SQSClient":
    return client("sqs")


def send(execution_id: str, event: Event, delay_seconds: int = 0) -> None:
    """Send a wake-up to the queue that handles its detail-type, to be delivered after `delay_seconds`."""
    _sqs().send_message(
        QueueUrl=setting(_QUEUES[event.detail_type]),
        MessageBody=wake_up(execution_id, event),
        DelaySeconds=max(0, min(_LONGEST_DELAY, delay_seconds)),
    )


def follow_ups(state: State, move: Move, now: datetime) -> list[tuple[Event, int]]:
    """The wake-ups that a committed move needs at a later time, each with its delay in seconds."""
    found = []
    for change in move.changes:
        if change.kind is not Kind.RESOURCE or not isinstance(due := change.values.get("next_at"), datetime):
            continue
        resource = state.resource(change.key)
        if resource is None:
            continue
        fields: dict[str, object] = {"resourceId": resource.id, "attempt": resource.attempt}
        delay = round((due - now).total_seconds())
        if change.values.get("status") is ResourceStatus.WAITING:
            fields["checkNo"] = change.values["check_no"]
            found.append((Event(DetailType.RESOURCE_WAITING, fields), delay))
        elif change.values.get("status") is ResourceStatus.RETRY_WAIT:
            found.append((Event(DetailType.RESOURCE_FAILED, fields), delay + 1))  # not before it is due
    return found
