"""Events onto the bus."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from dr_core.aws import client
from dr_core.changes import Entry
from dr_core.observability import logger
from dr_core.settings import setting

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

_BATCH = 10  # the most that PutEvents takes


@cache
def _events() -> "EventBridgeClient":
    return client("events")


def publish(entries: Sequence[Entry]) -> list[Entry]:
    """Put the events on the bus, ten at a time. Gives back those that the bus did not take: PutEvents answers 200 all the same."""
    failed: list[Entry] = []
    for start in range(0, len(entries), _BATCH):
        batch = entries[start : start + _BATCH]
        answer = _events().put_events(Entries=[_request(entry) for entry in batch])
        for entry, result in zip(batch, answer["Entries"], strict=True):
            if "ErrorCode" in result:
                about = {"execution_id": entry.execution_id} if entry.execution_id else {}
                logger.error("event not taken", extra={"error_code": result["ErrorCode"], "detail_type": entry.detail_type, **about})
                failed.append(entry)
    return failed


def _request(entry: Entry) -> "PutEventsRequestEntryTypeDef":
    put: PutEventsRequestEntryTypeDef = {
        "EventBusName": setting("BUS_NAME"),
        "Source": entry.source,
        "DetailType": entry.detail_type,
        "Detail": entry.detail,
    }
    if entry.trace_header:
        put["TraceHeader"] = entry.trace_header
    return put
