"""The events: what an operator sends, what the bus carries, and what comes out of a queue."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from ulid import ULID

from dr_core.commands import CommandName
from dr_core.errors import InvalidInputError, OrchestratorError, Problem
from dr_core.moves import text
from dr_core.phases import Mode, Phase
from dr_core.records import Event, Execution

SCHEMA_VERSION = "1"
# While a new version of the stack is deployed, and when old messages are sent again, events of the version before come too.
PREVIOUS_VERSION: str | None = None
# EventBridge takes more, but an event names things, it does not carry them.
MAX_EVENT_BYTES = 16 * 1024
_MOST_IDS = 1000  # of a command: so many fit into the event that tells of it
_LONGEST_TEXT = 400  # of a problem's, so that at least one fits into an event

Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512)]
ExecutionId = Annotated[str, StringConstraints(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]
M = TypeVar("M", bound=BaseModel)


class ExecutionRequested(BaseModel):
    """An operator's wish to run a phase: the detail of `Execution Requested` from source `dr.operator`.

    `mode` may be left out except for ACTIVATE, where nobody may guess whether data loss is accepted; it is `planned` then.
    `manifest` is a key in the manifest bucket, by default `<application>/<Phase>.json`. `requestedBy` is a claim. `dryRun`: only look,
    and say which calls would be made; nothing is changed, locked or approved. A drill has no REPLICATE, and its CLEANUP no manifest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    application: Name
    phase: Phase
    source_region: Region
    target_region: Region
    mode: Mode | None = None
    manifest: Text | None = None
    dry_run: StrictBool = False
    client_token: Name | None = None
    requested_by: Text
    reason: Text

    @model_validator(mode="after")
    def _fits(self) -> "ExecutionRequested":
        if self.source_region == self.target_region:
            raise ValueError("sourceRegion and targetRegion are the same; targetRegion is the one that the phase acts on")
        if self.phase is Phase.ACTIVATE and self.mode is None:
            raise ValueError('ACTIVATE needs a mode: "planned" (no data loss) or "unplanned" (data loss accepted)')
        if self.mode is Mode.DRILL and self.phase is Phase.REPLICATE:
            raise ValueError("a drill has no REPLICATE: it runs INSTANTIATE and ACTIVATE, and its CLEANUP takes back what they did")
        if self.mode is Mode.DRILL and self.phase is Phase.CLEANUP and self.manifest is not None:
            raise ValueError("a drill's CLEANUP takes no manifest: it takes back what the drills of the target Region did")
        if self.manifest is not None and not self.manifest.startswith(f"{self.application}/"):
            raise ValueError(f"manifest {self.manifest} is not one of {self.application}: its key begins with {self.application}/")
        return self

    @property
    def manifest_key(self) -> str:
        """The key of the manifest in the manifest bucket."""
        return self.manifest or f"{self.application}/{self.phase.file_name}"

    @classmethod
    def parse(cls, detail: object) -> "ExecutionRequested":
        """Validate the detail of an event. Raises InvalidInputError with every problem at once."""
        return _parsed(cls, detail, "Execution Requested")


def _parsed(model: type[M], detail: object, event: str) -> M:
    try:
        return model.model_validate(detail)
    except ValidationError as error:
        raise InvalidInputError([_problem(item["loc"], item["type"], item["msg"], model, event) for item in error.errors()]) from error


def _problem(location: tuple[int | str, ...], kind: str, message: str, model: type[BaseModel], event: str) -> Problem:
    key = printable(".".join(str(part) for part in location), 100)
    known = sorted(to_camel(name) for name in model.model_fields)
    remedies = {
        "extra_forbidden": f"known are {', '.join(known)}",
        "missing": "add it",
        "bool_type": "write true or false, without quotes",
    }
    return Problem(event, "", "", key, message.removeprefix("Value error, "), remedies.get(kind, ""))


class CommandRequested(BaseModel):
    """An operator's command to an execution: the detail of `Command Requested` from source `dr.operator`.

    `resourceIds`: such as `0002-001`; left out, `retry` and `skip` mean every failed resource of the current layer. `requestedBy` is a
    claim. `clientToken` makes a repetition harmless; without one, each event is a command of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    execution_id: ExecutionId
    command: CommandName
    resource_ids: tuple[Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{3}$")], ...] = Field((), max_length=_MOST_IDS)
    client_token: Name | None = None
    requested_by: Text
    reason: Text

    @classmethod
    def parse(cls, detail: object) -> "CommandRequested":
        """Validate the detail of an event. Raises InvalidInputError with every problem at once."""
        return _parsed(cls, detail, "Command Requested")


class VoteRequested(BaseModel):
    """A person's decision on an execution, for the manifest with that SHA-256; who they are says only the signature it came with.

    `planSha256`: of the plan that they were shown; left out, they decide on whatever it is. `breakGlass`: without quorum and four eyes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    execution_id: ExecutionId
    decision: Literal["approve", "reject"]
    manifest_sha256: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    plan_sha256: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=512)] = ""
    break_glass: StrictBool = False

    @classmethod
    def parse(cls, detail: object) -> "VoteRequested":
        """Validate what was sent. Raises InvalidInputError with every problem at once."""
        return _parsed(cls, detail, "Vote Requested")


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
