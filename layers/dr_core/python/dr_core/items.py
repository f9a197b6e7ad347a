"""The state table's items, as pynamodb models: one table, one partition per execution, one sort key per record.

| pk | sk | item |
|---|---|---|
| EXEC#<id> | META | the execution |
| EXEC#<id> | LAYER#<number> | a layer |
| EXEC#<id> | RES#<layer>-<index> | a resource |
| EXEC#<id> | APPR | the approval |
| EXEC#<id> | APPR#<layer> | the approval before a layer |
| EXEC#<id> | EVT#<ulid> | an event: outbox and audit trail |
| EXEC#<id> | PREFLIGHT#<layer>-<index> | what preflight found of a resource, and the calls that its act would make |
| EXEC#<id> | CALLS#<layer>-<index>#<ulid> | the AWS calls of one claim or check of a resource |
| EXEC#<id> | CMD#<token> | what became of a command |
| EXEC#<id> | NOTE#<channel>#<ulid> | an event of which people were told on a channel |
| EXEC#<id> | CHANNEL#<channel> | how much people were told on a channel, and the first message there |
| EXEC#<id> | REFUSAL | a request that was not accepted |
| LOCK#<application>#<Region> | LOCK | who may act there |
| EXEC#<id> | SLACK | where the request for approval stands in Slack |
| NONCE#<digest> | NONCE | what may be used once, and was |
| TOKEN#<application>#<token> | TOKEN | the execution that a client token started |

Index `due`: what must be looked at, when (sparse). Index `app`: an application's executions, newest last. Index `standing`: a Region's
executions, those that live and those that have ended, newest last.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pynamodb.attributes import Attribute, BooleanAttribute, JSONAttribute, NumberAttribute, UnicodeAttribute, UnicodeSetAttribute
from pynamodb.constants import STRING
from pynamodb.indexes import GlobalSecondaryIndex, IncludeProjection
from pynamodb.models import Model

from dr_core.errors import ErrorClass
from dr_core.moves import text
from dr_core.records import Approver, Ballot, Failure

EXECUTION_SK = "META"
APPROVAL_SK = "APPR"
REFUSAL_SK = "REFUSAL"


class MomentAttribute(Attribute[datetime]):
    """A moment as RFC 3339 text, UTC, to the millisecond: it sorts, and people can read it."""

    attr_type = STRING

    def serialize(self, value: datetime) -> str:
        return text(value)

    def deserialize(self, value: str) -> datetime:
        return datetime.fromisoformat(value).astimezone(UTC)


class FailureAttribute(Attribute[Failure]):
    """Why an attempt failed, as JSON text."""

    attr_type = STRING

    def serialize(self, value: Failure) -> str:
        return json.dumps(
            {"code": value.code, "class": value.error_class, "message": value.message, "requestId": value.request_id},
            ensure_ascii=False,
        )

    def deserialize(self, value: str) -> Failure:
        raw: dict[str, Any] = json.loads(value)
        return Failure(raw["code"], ErrorClass(raw["class"]), raw["message"], raw["requestId"])


class SecondsAttribute(Attribute[tuple[Any, ...]]):
    """Seconds, of one run or of several, as a JSON list of numbers or of such lists."""

    attr_type = STRING

    def serialize(self, value: tuple[Any, ...]) -> str:
        return json.dumps(value)

    def deserialize(self, value: str) -> tuple[Any, ...]:
        return tuple(tuple(one) if isinstance(one, list) else one for one in json.loads(value))


class NamesAttribute(UnicodeSetAttribute):
    """A set of names; an empty one is absent."""

    def deserialize(self, value: Any) -> Any:
        return frozenset(value)


class ApproversAttribute(Attribute[tuple[Approver, ...]]):
    """Who may decide, as JSON text."""

    attr_type = STRING

    def serialize(self, value: tuple[Approver, ...]) -> str:
        return json.dumps([{name: each for name, each in asdict(one).items() if each} for one in value], ensure_ascii=False)

    def deserialize(self, value: str) -> tuple[Approver, ...]:
        return tuple(Approver(**one) for one in json.loads(value))


class BallotsAttribute(Attribute[tuple[Ballot, ...]]):
    """The votes so far, as JSON text."""

    attr_type = STRING

    def serialize(self, value: tuple[Ballot, ...]) -> str:
        return json.dumps([{**asdict(one), "at": text(one.at)} for one in value], ensure_ascii=False)

    def deserialize(self, value: str) -> tuple[Ballot, ...]:
        raw: list[dict[str, Any]] = json.loads(value)
        return tuple(Ballot(**{**one, "at": datetime.fromisoformat(one["at"]).astimezone(UTC)}) for one in raw)


class DueIndex(GlobalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]
    """What must be looked at: hash `due_pk` (the home Region), range `due_at`."""

    class Meta:
        index_name = "due"
        projection = IncludeProjection(["status"])

    due_pk = UnicodeAttribute(hash_key=True)
    due_at = MomentAttribute(range_key=True)


class ApplicationIndex(GlobalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]
    """An application's executions and refusals: hash `application`, range `requested_at`."""

    class Meta:
        index_name = "app"
        projection = IncludeProjection(["status", "phase", "mode", "target_region", "started_at", "ended_at", "dry_run"])

    application = UnicodeAttribute(hash_key=True)
    requested_at = MomentAttribute(range_key=True)


class StandingIndex(GlobalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]
    """All executions and refusals of a Region: hash `standing` (LIVE#<Region>, or OVER#<Region> once ended), range `requested_at`."""

    class Meta:
        index_name = "standing"
        projection = IncludeProjection(
            ["application", "status", "phase", "mode", "target_region", "current_layer", "layers_total", "ended_at", "dry_run"]
        )

    standing = UnicodeAttribute(hash_key=True)
    requested_at = MomentAttribute(range_key=True)


class Item(Model):
    """The keys that all items have."""

    class Meta:
        table_name = ""  # set by state.Table, which knows it

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class DueItem(Item):
    """An item that the sweep may have to look at; both attributes are absent when it need not."""

    due_index = DueIndex()
    due_pk = UnicodeAttribute(null=True)
    due_at = MomentAttribute(null=True)


class ExecutionItem(DueItem):
    """records.Execution."""

    application_index = ApplicationIndex()
    standing_index = StandingIndex()
    standing = UnicodeAttribute(null=True)  # state.Table sets it with the status
    application = UnicodeAttribute()
    phase = UnicodeAttribute()
    mode = UnicodeAttribute()
    source_region = UnicodeAttribute()
    target_region = UnicodeAttribute()
    home_region = UnicodeAttribute()
    status = UnicodeAttribute()
    current_layer = NumberAttribute()
    layers_total = NumberAttribute()
    fence = NumberAttribute()
    manifest_sha256 = UnicodeAttribute()
    manifest_version_id = UnicodeAttribute()
    manifest_key = UnicodeAttribute(null=True)
    requested_by = UnicodeAttribute()
    reason = UnicodeAttribute()
    requested_at = MomentAttribute()
    started_at = MomentAttribute(null=True)
    ended_at = MomentAttribute(null=True)
    client_token = UnicodeAttribute(null=True)
    dry_run = BooleanAttribute(default=False)
    preflight_at = MomentAttribute(null=True)
    outcome_detail = UnicodeAttribute(default="")
    requester_verified = BooleanAttribute(default=False)
    taken_over_at = MomentAttribute(null=True)
    rto_seconds = NumberAttribute(null=True)
    rto_told = NumberAttribute(null=True)
    held_at = MomentAttribute(null=True)
    held_seconds = NumberAttribute(default=0)


class LayerItem(Item):
    """records.Layer."""

    number = NumberAttribute()
    status = UnicodeAttribute()
    epoch = NumberAttribute()
    total = NumberAttribute()
    policy = UnicodeAttribute()
    max_failures = NumberAttribute()
    started_at = MomentAttribute(null=True)
    ended_at = MomentAttribute(null=True)
    round = NumberAttribute(default=0)
    pardoned = NamesAttribute(null=True)
    approval_seconds = NumberAttribute(null=True)


class ResourceItem(DueItem):
    """records.Resource."""

    id = UnicodeAttribute()
    layer = NumberAttribute()
    name = UnicodeAttribute()
    module = UnicodeAttribute()
    account = UnicodeAttribute()
    parameters = UnicodeAttribute()
    status = UnicodeAttribute()
    attempt = NumberAttribute()
    check_no = NumberAttribute()
    spent = NumberAttribute()
    max_attempts = NumberAttribute()
    timeout_seconds = NumberAttribute()
    lease_seconds = NumberAttribute()
    max_lag_seconds = NumberAttribute()
    best_effort = BooleanAttribute()
    step = NumberAttribute(default=0)
    lease_owner = UnicodeAttribute(null=True)
    lease_until = MomentAttribute(null=True)
    deadline_at = MomentAttribute(null=True)
    next_at = MomentAttribute(null=True)
    started_at = MomentAttribute(null=True)
    ended_at = MomentAttribute(null=True)
    detail = UnicodeAttribute(default="")
    percent = NumberAttribute(null=True)
    failure = FailureAttribute(null=True)
    handles = UnicodeAttribute(null=True)
    before = UnicodeAttribute(null=True)
    lag_seconds = NumberAttribute(null=True)
    claimed_at = MomentAttribute(null=True)
    held_seconds = NumberAttribute(default=0)
    stalled_at = MomentAttribute(null=True)
    stalled_sweeps = NumberAttribute(null=True)
    peers = NumberAttribute(default=1)
    taken = SecondsAttribute(default=())
    known = SecondsAttribute(default=())
    undoes = UnicodeAttribute(null=True)


class ApprovalItem(DueItem):
    """records.Approval."""

    status = UnicodeAttribute()
    expires_at = MomentAttribute()
    manifest_sha256 = UnicodeAttribute()
    requester = UnicodeAttribute()
    quorum = NumberAttribute(default=1)
    approvers = ApproversAttribute(default=())
    votes = BallotsAttribute(default=())
    plan_sha256 = UnicodeAttribute(null=True)
    asked_at = MomentAttribute(null=True)
    task_token = UnicodeAttribute(null=True)
    approver = UnicodeAttribute(null=True)
    reason = UnicodeAttribute(default="")
    decided_at = MomentAttribute(null=True)
    layer = NumberAttribute(default=0)
    opened_at = MomentAttribute(null=True)
    reminded = NumberAttribute(default=0)


class LockItem(Item):
    """Who may act on an application in a Region; `owner` is absent when nobody does, `fence` rises with each owner.

    `free_at`: from then on anybody may take it, though its owner never freed it: an execution that was given up away from its home.
    """

    owner = UnicodeAttribute(null=True)
    fence = NumberAttribute()
    free_at = MomentAttribute(null=True)


class EventItem(Item):
    """An event in the outbox. `detail` is the text that goes to the bus; `home` is the Region that sends it, `trace_header` X-Ray's."""

    source = UnicodeAttribute()
    detail_type = UnicodeAttribute()
    detail = UnicodeAttribute()
    home = UnicodeAttribute()
    trace_header = UnicodeAttribute(null=True)


class PreflightItem(Item):
    """preflight.Report, as JSON."""

    at = MomentAttribute()
    report: JSONAttribute = JSONAttribute()


class CallsItem(Item):
    """What an executor called for one attempt of a resource: calls.Call each, as JSON."""

    attempt = NumberAttribute()
    at = MomentAttribute()
    calls: JSONAttribute = JSONAttribute()


class CommandItem(Item):
    """What became of a command: state.Receipt. Its token makes a repetition harmless."""

    command = UnicodeAttribute()
    actor = UnicodeAttribute()
    actor_verified = BooleanAttribute(default=False)
    outcome = UnicodeAttribute()
    why = UnicodeAttribute(default="")
    at = MomentAttribute()


class RefusalItem(Item):
    """A request that was not accepted, with everything wrong with it."""

    application_index = ApplicationIndex()
    standing_index = StandingIndex()
    standing = UnicodeAttribute(null=True)
    application = UnicodeAttribute()
    status = UnicodeAttribute()
    requested_at = MomentAttribute()
    problems: JSONAttribute = JSONAttribute()
    request: JSONAttribute = JSONAttribute()


class TokenItem(Item):
    """The execution that a client token started."""

    execution_id = UnicodeAttribute()


class NoteItem(Item):
    """An event that people are told of on a channel: claimed by whoever tells them, then told."""

    claimed_until = MomentAttribute(null=True)
    told_at = MomentAttribute(null=True)


class ChannelItem(Item):
    """What went to a channel: how many in which minute, how many were left out, the first message, and until when somebody writes it."""

    minute = UnicodeAttribute(null=True)
    sent = NumberAttribute(null=True)
    left_out = NumberAttribute(null=True)
    thread = UnicodeAttribute(null=True)
    opening_until = MomentAttribute(null=True)


class SlackItem(Item):
    """The message in Slack that asks for the decision: Slack's ids of channel and message."""

    channel = UnicodeAttribute()
    timestamp = UnicodeAttribute()


class NonceItem(Item):
    """What was used and may not be used again until `ttl`, in seconds since 1970; DynamoDB deletes it some time after."""

    ttl = NumberAttribute()


ITEMS: tuple[type[Item], ...] = (
    NoteItem,
    ChannelItem,
    ExecutionItem,
    LayerItem,
    ResourceItem,
    ApprovalItem,
    LockItem,
    EventItem,
    PreflightItem,
    CallsItem,
    CommandItem,
    RefusalItem,
    TokenItem,
    SlackItem,
    NonceItem,
)
