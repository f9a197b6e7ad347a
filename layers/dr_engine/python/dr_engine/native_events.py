"""AWS's own events advance a check; they never decide.

A service says on its account's default bus that something has changed, and a rule forwards that to the orchestrator's bus. Here it is
only asked which waiting resource is meant: that one is observed now, by the message that its next poll would have brought anyway.
Whether the event is true, late, repeated or forged makes no difference to what is recorded.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dr_core import queues
from dr_core.flow import Clock
from dr_core.metrics import Metric, measure
from dr_core.moves import about
from dr_core.observability import logger
from dr_core.records import DetailType, Resource
from dr_core.state import Table
from dr_modules.base import modules

# A service may send many events of one resource within moments. One leads to a check at once, the next one to a check when this time is
# over, so that also the last one's news is seen; the others to none.
AT_MOST_EVERY: Final = 5  # seconds
# Older ones say nothing that the polls, at most a minute apart, have not seen.
WORTH_NOTICING: Final = timedelta(seconds=120)
_MOST_EXECUTIONS: Final = 100


class ServiceEvent(BaseModel):
    """An event of an AWS service, as EventBridge delivers it; the fields that forwarding leaves as they were."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    source: str
    detail_type: str = Field(alias="detail-type")
    account: str
    region: str
    time: AwareDatetime
    resources: tuple[str, ...] = ()
    detail: Mapping[str, object]


def notice(table: Table, body: str, clock: Clock) -> int:
    """Have the resources checked that a service's event, the body of a queue's message, is about. Gives the number of checks sent.

    Raises pydantic's ValidationError for what is no such event.
    """
    event, now = ServiceEvent.model_validate_json(body), clock()
    listening = _listening().get((event.source, event.detail_type), ())
    if not listening or event.time < now - WORTH_NOTICING:
        return 0
    meant = frozenset(_names([*event.resources, event.detail]))
    sent = 0
    for execution in table.live(table.region, _MOST_EXECUTIONS):
        if not execution.current_layer or execution.target_region != event.region:
            continue
        for resource in table.waiting(execution.id, execution.current_layer, event.account, listening):
            if not meant.isdisjoint(known_as(resource)):
                sent += _advance(table, execution.id, resource, event, now)
    return sent


def known_as(resource: Resource) -> frozenset[str]:
    """The names by which AWS's own events may call what a resource is about, in lower case."""
    keys = modules()[resource.module].named_in_events
    stored = [json.loads(text) for text in (resource.parameters, resource.handles, resource.before) if text]
    return frozenset(_names([value for document in stored for value in _values(document, keys)]))


def _advance(table: Table, execution_id: str, resource: Resource, event: ServiceEvent, now: datetime) -> int:
    """Send the resource's next check early, unless enough are on their way. It is the same check: whichever comes first counts."""
    for delay in (0, AT_MOST_EVERY):
        if table.use_once(f"advanced|{execution_id}|{resource.id}|{delay}", now, AT_MOST_EVERY):
            queues.send(execution_id, about(resource, DetailType.RESOURCE_WAITING, checkNo=resource.check_no), delay)
            measure(Metric.CHECKS_ADVANCED, 1, execution_id=execution_id)
            found = {"execution_id": execution_id, "resource_id": resource.id, "source": event.source, "detail_type": event.detail_type}
            logger.info("check advanced", extra={**found, "delay_seconds": delay})
            return 1
    return 0


@cache
def _listening() -> Mapping[tuple[str, str], tuple[str, ...]]:
    """The modules that an event concerns, by its source and detail-type."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, module in modules().items():
        for event in module.native_events:
            found[event.source, event.detail_type] = (*found.get((event.source, event.detail_type), ()), name)
    return found


def _values(document: object, keys: tuple[str, ...]) -> Iterator[object]:
    """What stands under the keys, wherever in the document."""
    if isinstance(document, list):
        for item in document:
            yield from _values(item, keys)
    elif isinstance(document, dict):
        for key, value in document.items():
            if key in keys:
                yield value
            else:
                yield from _values(value, keys)


def _names(value: object) -> Iterator[str]:
    """The texts in a document, in lower case, as RDS keeps names; each of a list in a text, and what an ARN ends with. Never ""."""
    if isinstance(value, str):
        for text in value.casefold().split(","):
            last = text.replace(":", "/").rpartition("/")[2] if text.startswith("arn:") else ""
            yield from filter(None, (text, last))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _names(inner)
