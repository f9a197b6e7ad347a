"""The events: what the bus carries, and what comes out of a queue."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from ulid import ULID

from dr_core.errors import OrchestratorError
from dr_core.moves import text
from dr_core.records import Event, Execution

SCHEMA_VERSION = "1"
# While a new version of the stack is deployed, and when old messages are sent again, events of the version before come too.
PREVIOUS_VERSION: str | None = None
# EventBridge takes more, but an event names things, it does not carry them.
MAX_EVENT_BYTES = 16 * 1024
_LONGEST_TEXT = 400  # of a problem's, so that at least one fits into an event


class UnknownVersionError(OrchestratorError):
    """An event of a version that is neither the present one nor the one before."""


class Incoming(BaseModel):
    """An event as a queue hands it over: EventBridge's shape, of which the orchestrator's own wake-ups fill what they need."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = ""
    detail_type: str = Field(alias="detail-type")
    time: datetime | None = None
    detail: Mapping[str, object]


class WakeUp(BaseModel):
    """What a handler takes from an event: ids and fences. All else it reads from the table. Unknown fields are of a later version."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)

    execution_id: str
    resource_id: str = ""
    attempt: int = 0
    check_no: int = 0
    layer: int = 0
    application: str = ""
    phase: str = ""
    occurred_at: datetime | None = None

    @classmethod
    def from_queue(cls, body: str) -> "WakeUp":
        """Parse the body of a queue's message. Raises pydantic's ValidationError, and UnknownVersionError.

        A message without a version is a wake-up of before they had one: it is of version 1.
        """
        incoming = Incoming.model_validate_json(body)
        version = incoming.detail.get("schemaVersion", "1")
        accepted = [one for one in (PREVIOUS_VERSION, SCHEMA_VERSION) if one]
        if version not in accepted:
            raise UnknownVersionError(
                f"{printable(incoming.detail_type, 100)} has schemaVersion {printable(version, 20)}, "
                f"this stack knows {' and '.join(accepted)}: "
                "deploy the stack that knows it, then send the message again (drctl dlq redrive)"
            )
        return cls.model_validate(incoming.detail)


def wake_up(execution_id: str, event: Event) -> str:
    """An event as the body of a queue's message, for those who send it past the bus."""
    detail = {"schemaVersion": SCHEMA_VERSION, "executionId": execution_id, **event.fields}
    return json.dumps({"detail-type": event.detail_type, "source": event.detail_type.source, "detail": detail})


def detail(execution: Execution, event: Event, event_id: str, now: datetime) -> str:
    """The JSON text of the event's `detail`: the envelope and the event's own fields. Raises ValueError above MAX_EVENT_BYTES."""
    body = {
        "schemaVersion": SCHEMA_VERSION,
        "eventId": event_id,
        "executionId": execution.id,
        "application": execution.application,
        "phase": execution.phase,
        "homeRegion": execution.home_region,
        "targetRegion": execution.target_region,
        "fence": execution.fence,
        "occurredAt": text(now),
        **event.fields,
    }
    encoded = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    if len(encoded.encode()) > MAX_EVENT_BYTES:
        raise ValueError(f"{event.detail_type} would have {len(encoded.encode())} bytes, more than {MAX_EVENT_BYTES}")
    return encoded


def new_event_id(now: datetime) -> str:
    """A ULID for an event; those made in one process rise, also within a millisecond."""
    return str(ULID.from_datetime(now))


def first_event_id(since: datetime) -> str:
    """The lowest id that an event at `since` can have: it sorts after those of all earlier milliseconds."""
    return str(ULID.from_bytes(int(since.timestamp() * 1000).to_bytes(6, "big") + bytes(10)))


def execution_id(event_id: str, time: datetime) -> str:
    """The execution's ULID: the same for each delivery of the same event, so that a duplicate starts nothing."""
    milliseconds = int(time.timestamp() * 1000)
    return str(ULID.from_bytes(milliseconds.to_bytes(6, "big") + hashlib.sha256(event_id.encode()).digest()[:10]))


_SHORT = re.compile(r"[^\x20-\x7e]")


def printable(value: object, limit: int = 200) -> str:
    """Text from outside, fit for a message: printable, on one line, of at most `limit` characters."""
    return _SHORT.sub("?", str(value))[:limit]


def refused(execution_id: str, application: str, region: str, problems: list[dict[str, str]], now: datetime) -> tuple[str, str]:
    """Id and detail of `Execution Refused`, for a request that never became an execution; of the problems, as many as it can carry."""
    event_id = new_event_id(now)
    body = {
        "schemaVersion": SCHEMA_VERSION,
        "eventId": event_id,
        "executionId": execution_id,
        "application": application,
        "homeRegion": region,
        "occurredAt": text(now),
    }
    shown = [{key: value[:_LONGEST_TEXT] for key, value in problem.items()} for problem in problems]
    while True:
        encoded = json.dumps({**body, "problems": shown}, separators=(",", ":"), ensure_ascii=False)
        if len(encoded.encode()) <= MAX_EVENT_BYTES:
            return event_id, encoded
        shown.pop()
