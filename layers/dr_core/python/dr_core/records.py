"""What is known of an execution: its records as values, and the conditional moves between them. No I/O.

Every record is frozen. A `Move` is one transaction on the table: each `Change` holds only if the record still has the expected
values, and all events of the move are stored with it, or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from dr_core.errors import ErrorClass
from dr_core.phases import Mode, Phase


class ExecutionStatus(StrEnum):
    """FAILED is halted: it waits for a person and keeps its locks. The terminal ones hold no lock.

    A dry run is PLANNING until its preflight and plan are stored; it never holds a lock and needs no approval.
    """

    PLANNING = "PLANNING"
    PENDING_APPROVAL = "PENDING_APPROVAL"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    SUCCEEDED_WITH_FAILURES = "SUCCEEDED_WITH_FAILURES"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    ABANDONED = "ABANDONED"

    @property
    def is_terminal(self) -> bool:
        """Nothing leaves a terminal status."""
        return self not in _LIVE


_LIVE = frozenset(
    {
        ExecutionStatus.PLANNING,
        ExecutionStatus.PENDING_APPROVAL,
        ExecutionStatus.RUNNING,
        ExecutionStatus.PAUSED,
        ExecutionStatus.FAILED,
        ExecutionStatus.CANCELLING,
    }
)


class LayerStatus(StrEnum):
    """A layer that closed successfully never opens again."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    SUCCEEDED_WITH_FAILURES = "SUCCEEDED_WITH_FAILURES"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ResourceStatus(StrEnum):
    """REQUESTED: an executor may claim it. STARTING: one has, until its lease ends. WAITING: observed again and again."""

    PENDING = "PENDING"
    REQUESTED = "REQUESTED"
    STARTING = "STARTING"
    WAITING = "WAITING"
    RETRY_WAIT = "RETRY_WAIT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Stable within the layer's epoch: only a person's retry or skip leaves it, and that raises the epoch."""
        return self in _ENDED

    @property
    def is_failure(self) -> bool:
        """Ended without the goal state having been observed."""
        return self in (ResourceStatus.FAILED, ResourceStatus.TIMED_OUT)


# So many sweeps have to find a resource overdue, and unmoved between them, before it counts as stuck.
STUCK_SWEEPS = 3
_ENDED = frozenset(
    {
        ResourceStatus.SUCCEEDED,
        ResourceStatus.FAILED,
        ResourceStatus.TIMED_OUT,
        ResourceStatus.SKIPPED,
        ResourceStatus.CANCELLED,
    }
)


class ApprovalStatus(StrEnum):
    """All but PENDING are final."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of one phase of one application. `current_layer` is the number of the open layer, 0 before the first.

    `manifest_key`: where its manifest lies in the bucket. `preflight_at`: when its preflight was stored. A `dry_run` ends there, and
    nothing is changed. `requester_verified`: AWS has said who `requested_by` is, by the signature of the request; else it is what the
    request says of itself. `held_at`: since when it is PAUSED or FAILED, and begins nothing; `held_seconds`: how long it had been before.
    `taken_over_at`: when `home_region` became its home, if it was another one before. `rto_seconds`: the time in which it has to recover,
    as registered when it was requested; `rto_told`: the highest percentage of it of which people have been told that it is over.
    """

    id: str
    application: str
    phase: Phase
    mode: Mode
    source_region: str
    target_region: str
    home_region: str
    status: ExecutionStatus
    current_layer: int
    layers_total: int
    fence: int
    manifest_sha256: str
    manifest_version_id: str
    requested_by: str
    reason: str
    requested_at: datetime
    manifest_key: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    due_at: datetime | None = None
    client_token: str | None = None
    dry_run: bool = False
    preflight_at: datetime | None = None
    outcome_detail: str = ""
    requester_verified: bool = False
    held_at: datetime | None = None
    held_seconds: float = 0.0
    taken_over_at: datetime | None = None
    rto_seconds: int | None = None
    rto_told: int | None = None

    def held(self, now: datetime) -> float:
        """How many seconds, up to `now`, nothing could begin because it was PAUSED or FAILED."""
        return self.held_seconds + ((now - self.held_at).total_seconds() if self.held_at else 0.0)


@dataclass(frozen=True, slots=True)
class Layer:
    """Resources that run in parallel. `epoch` rises each time a person re-opens the layer, `round` each time resources are requested.

    `pardoned`: the ids of the resources whose failures a person knew of when they retried others: they no longer trip a fail-fast layer.
    `approval_seconds`: how long people have to decide before it opens; None if nobody is asked.
    """

    number: int
    status: LayerStatus
    epoch: int
    total: int
    policy: Literal["drain", "failFast", "continue"] = "drain"
    max_failures: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    round: int = 0
    pardoned: frozenset[str] | None = None
    approval_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, in the service's own words where it gave any."""

    code: str
    error_class: ErrorClass
    message: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of a layer. `attempt` and `check_no` fence out messages of the past; `spent` counts the attempts that failed, `step`
    the steps of a longer operation that were done: each next one is an attempt too, but spends none.

    `parameters` are as resolved, JSON text; `handles` what the module's act gave to its check, JSON text; `before` what the world was
    before the first act, JSON text. `lag_seconds`: the data not yet replicated when a failover began (None: nothing is, or it could
    not be told); `max_lag_seconds`: the most that a planned one accepts. `started_at`: when the operation's first step was claimed,
    `claimed_at`: when the present attempt was. `held_seconds`: how long the execution had been held when the resource last began to wait
    for its turn; for what is held meanwhile the deadline waits. `stalled_sweeps`: how many sweeps found it overdue, for the `due_at` that
    `stalled_at` is: what moves has another one, and is no longer meant. `peers`: how many of its layer, itself among them, are of its
    module and account. `taken`: how many seconds each step took that is done; `known`: the same of up to five earlier runs of the phase.
    `undoes`: of a resource of a drill's CLEANUP, the `before` of the drill's act that it takes back.
    """

    id: str
    layer: int
    name: str
    module: str
    account: str
    parameters: str
    status: ResourceStatus
    attempt: int
    check_no: int
    spent: int
    max_attempts: int
    timeout_seconds: int
    lease_seconds: int
    max_lag_seconds: int = 60
    best_effort: bool = False
    step: int = 0
    lease_owner: str | None = None
    lease_until: datetime | None = None
    deadline_at: datetime | None = None
    next_at: datetime | None = None
    due_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    detail: str = ""
    percent: int | None = None
    failure: Failure | None = None
    handles: str | None = None
    before: str | None = None
    lag_seconds: float | None = None
    claimed_at: datetime | None = None
    held_seconds: float = 0.0
    stalled_at: datetime | None = None
    stalled_sweeps: int | None = None
    peers: int = 1
    taken: tuple[float, ...] = ()
    known: tuple[tuple[float, ...], ...] = ()
    undoes: str | None = None

    @property
    def is_stuck(self) -> bool:
        """Whether sweep after sweep has called for it, and nothing has moved it."""
        return self.due_at is not None and self.stalled_at == self.due_at and (self.stalled_sweeps or 0) >= STUCK_SWEEPS


@dataclass(frozen=True, slots=True)
class Approver:
    """A person who may decide, and the identities by which channels know them. `escalation`: asked only when others do not answer."""

    name: str
    email: str | None = None
    slack_user_id: str | None = None
    principal: str | None = None
    subject: str | None = None
    escalation: bool = False


Channel = Literal["page", "slack", "iam", "oidc"]


@dataclass(frozen=True, slots=True)
class Ballot:
    """One person's vote, as it was recorded. `identity`: as the channel knows them."""

    approve: bool
    approver: str
    channel: Channel
    identity: str
    reason: str
    at: datetime
    break_glass: bool = False


@dataclass(frozen=True, slots=True)
class Approval:
    """The decision on an execution, or before one of its layers. `asked_at` is set once the request has gone out;
    `task_token` lets the state machine go on.

    `approvers`: who may decide, as configured when it was requested; empty means whoever a channel lets in. `quorum`: how many of them
    must approve. `plan_sha256`: of the plan that people are shown (`approval_plan.plan_digest`), None until there is something to show.
    `approver` and `reason` are of those whose votes decided it. `layer`: the number of the layer that waits for it, 0 for the execution
    itself. `opened_at`: since when it is waited for, None until then; `reminded`: the last share of its time, in %, at which people were
    reminded.
    """

    status: ApprovalStatus
    expires_at: datetime
    manifest_sha256: str
    requester: str
    quorum: int = 1
    approvers: tuple[Approver, ...] = ()
    votes: tuple[Ballot, ...] = ()
    plan_sha256: str | None = None
    asked_at: datetime | None = None
    task_token: str | None = None
    approver: str | None = None
    reason: str = ""
    decided_at: datetime | None = None
    due_at: datetime | None = None
    layer: int = 0
    opened_at: datetime | None = None
    reminded: int = 0

    @property
    def is_wanted(self) -> bool:
        """Whether it is, or has been, waited for: the execution's from the beginning, a layer's when its turn has come."""
        return self.opened_at is not None or not self.layer


@dataclass(frozen=True, slots=True)
class State:
    """A snapshot of one execution: all layers, the resources of the current layer, the approval that what comes next waits for.

    The layers are read before the resources: that order makes closing a layer on its epoch sound.
    """

    execution: Execution
    layers: tuple[Layer, ...] = ()
    resources: tuple[Resource, ...] = ()
    approval: Approval | None = None

    def layer(self, number: int) -> Layer | None:
        """The layer with that number, if there is one."""
        return next((layer for layer in self.layers if layer.number == number), None)

    def next_layer(self) -> Layer | None:
        """The layer that runs after the current one, if there is one."""
        later = [layer for layer in self.layers if layer.number > self.execution.current_layer]
        return min(later, key=lambda layer: layer.number, default=None)

    def approval_layer(self) -> int | None:
        """The layer whose approval is `approval`: 0 for that of the execution itself; None if nothing that comes next waits for one."""
        if self.execution.current_layer == 0:
            return 0 if self.execution.status is ExecutionStatus.PENDING_APPROVAL else None
        following = None if self.execution.status.is_terminal else self.next_layer()
        return following.number if following is not None and following.approval_seconds is not None else None

    def resource(self, resource_id: str) -> Resource | None:
        """The resource with that id, if the snapshot holds it."""
        return next((resource for resource in self.resources if resource.id == resource_id), None)


class Kind(StrEnum):
    """The kinds of record that a change can touch."""

    EXECUTION = "EXECUTION"
    LAYER = "LAYER"
    RESOURCE = "RESOURCE"
    APPROVAL = "APPROVAL"
    LOCK = "LOCK"


@dataclass(frozen=True, slots=True)
class Change:
    """Set `values` on one record if it has the `expected` ones; a value of None means that the attribute is absent.

    `key`: the layer's number or the resource's id as text, the Region for a lock, empty for the execution and its approval; for the
    approval of a layer the layer's number as text.
    With no values it is only a condition.
    """

    kind: Kind
    key: str
    expected: Mapping[str, object]
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `fields` are those beside the envelope's, by their names in the event."""

    detail_type: "DetailType"
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Move:
    """One transaction: every change holds, or nothing happens; its events are stored with it."""

    changes: tuple[Change, ...]
    events: tuple[Event, ...] = ()


class DetailType(StrEnum):
    """The events of the bus, in past tense, as they stand in `detail-type`."""

    EXECUTION_REQUESTED = "Execution Requested"
    EXECUTION_REFUSED = "Execution Refused"
    PREFLIGHT_COMPLETED = "Preflight Completed"
    EXECUTION_STARTED = "Execution Started"
    EXECUTION_COMPLETED = "Execution Completed"
    EXECUTION_HALTED = "Execution Halted"
    EXECUTION_TAKEN_OVER = "Execution Taken Over"
    EXECUTION_PAUSED = "Execution Paused"
    EXECUTION_RESUMED = "Execution Resumed"
    EXECUTION_CANCELLING = "Execution Cancelling"
    EXECUTION_CANCELLED = "Execution Cancelled"
    EXECUTION_REJECTED = "Execution Rejected"
    EXECUTION_EXPIRED = "Execution Expired"
    EXECUTION_ABANDONED = "Execution Abandoned"
    RTO_AT_RISK = "RTO At Risk"
    RTO_MISSED = "RTO Missed"
    APPROVAL_REQUESTED = "Approval Requested"
    APPROVAL_SENT = "Approval Sent"
    APPROVAL_REMINDER = "Approval Reminder"
    APPROVAL_BYPASSED = "Approval Bypassed"
    VOTE_RECORDED = "Vote Recorded"
    APPROVAL_GRANTED = "Approval Granted"
    APPROVAL_REJECTED = "Approval Rejected"
    APPROVAL_EXPIRED = "Approval Expired"
    COMMAND_ACCEPTED = "Command Accepted"
    COMMAND_REFUSED = "Command Refused"
    LAYER_STARTED = "Layer Started"
    LAYER_REOPENED = "Layer Reopened"
    LAYER_COMPLETED = "Layer Completed"
    RESOURCE_REQUESTED = "Resource Requested"
    RESOURCE_STARTED = "Resource Started"
    RESOURCE_MEASURED = "Resource Measured"
    RESOURCE_WAITING = "Resource Waiting"
    RESOURCE_SUCCEEDED = "Resource Succeeded"
    RESOURCE_FAILED = "Resource Failed"
    RESOURCE_TIMED_OUT = "Resource Timed Out"
    RESOURCE_RETRIED = "Resource Retried"
    RESOURCE_SKIPPED = "Resource Skipped"
    RESOURCE_CANCELLED = "Resource Cancelled"
    STUCK_DETECTED = "Stuck Detected"

    @property
    def source(self) -> str:
        """The event's `source`: `dr.execution`, `dr.preflight`, `dr.approval`, `dr.command`, `dr.layer`, `dr.resource` or `dr.system`."""
        first = self.split()[0].lower()
        return f"dr.{_SPOKEN_FOR.get(first, first)}"


_SPOKEN_FOR = {"vote": "approval", "rto": "execution", "stuck": "system"}
