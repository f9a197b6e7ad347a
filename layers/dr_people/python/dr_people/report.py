"""The recovery report: what was asked, by whom it was allowed, what happened, how long it took against the target, and what was lost.

One model; its dump is the report as JSON, and the page, the text and the PDF are made from it and from nothing else. It is a function of
the table alone: made again from the same state, it is the same.

Lengths of time whose names end in `Ms` are whole milliseconds; moments are UTC.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from dr_people.time_split import Kind


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Request(_Part):
    """What was asked, by whom and why; the manifest is named by its SHA-256 and its version in the bucket."""

    application: str
    phase: str
    mode: str
    target_region: str
    source_region: str
    home_region: str
    requested_by: str
    requester_verified: bool
    reason: str
    requested_at: datetime
    client_token: str | None
    dry_run: bool
    manifest_sha256: str = Field(alias="manifestSha256")
    manifest_version_id: str
    preflight: str = Field(description="the verdict of the look before the decision, in a line; empty if there was none")


class Ballot(_Part):
    """One person's vote. `channel` and `identity`: how they were known."""

    approve: bool
    approver: str
    channel: str
    identity: str
    reason: str
    at: datetime
    break_glass: bool


class Approval(_Part):
    """Who decided, and how long it took from the request for a decision. `layer`: the one that waited for it; 0 for the execution."""

    layer: int = 0
    status: str
    approver: str | None
    reason: str
    asked_at: datetime | None
    decided_at: datetime | None
    expires_at: datetime
    waited_ms: int | None
    quorum: int
    votes: tuple[Ballot, ...]


class TimeSplit(_Part):
    """Where time went: `total_ms` = `aws_ms` + `overhead_ms`, and `overhead_ms` is the sum of its three parts."""

    total_ms: int
    aws_ms: int
    overhead_ms: int
    orchestration_ms: int
    retry_ms: int
    people_ms: int

    @model_validator(mode="after")
    def _adds_up(self) -> "TimeSplit":
        if self.total_ms != self.aws_ms + self.overhead_ms or self.overhead_ms != self.orchestration_ms + self.retry_ms + self.people_ms:
            raise ValueError("the parts do not add up to the total")
        return self


class Recovery(_Part):
    """The time to recover: from the opening of the first layer, after the approval, to the end. `target_ms` None: there is no target."""

    measured_ms: int | None
    from_request_ms: int | None
    target_ms: int | None
    met: bool | None


class DataLoss(_Part):
    """The data not yet replicated when a resource failed over, in seconds: what was lost, or would have been."""

    resource_id: str
    resource_name: str
    lag_seconds: float
    accepted_seconds: int


class Failed(_Part):
    """Why a resource failed last, in AWS's own words."""

    code: str
    error_class: str
    message: str
    request_id: str | None


class Resource(_Part):
    """What became of a resource. `duration_ms` runs from its last claim to its end."""

    id: str
    name: str
    module: str
    account: str
    status: str
    attempts: int
    failed_attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    duration_ms: int | None
    is_critical: bool
    forced: bool
    detail: str
    lag_seconds: float | None
    failure: Failed | None


class Layer(_Part):
    """A layer, from its opening until the next one opened or the execution ended, halts included."""

    number: int
    status: str
    times_reopened: int
    started_at: datetime | None
    ended_at: datetime | None
    time: TimeSplit
    resources: tuple[Resource, ...]


class CriticalStep(_Part):
    """A stretch of the critical path: one kind of time of one resource, empty while a layer had nothing to do."""

    layer: int
    resource_id: str
    resource_name: str
    kind: Kind
    started_at: datetime
    ended_at: datetime
    duration_ms: int


class Deviation(_Part):
    """Something that an undisturbed run does not have."""

    at: datetime
    kind: Literal[
        "RETRY",
        "FAILURE",
        "TIME_OUT",
        "TAKEOVER",
        "RETRIED_BY_HAND",
        "SKIPPED",
        "FORCED",
        "PAUSE",
        "HALT",
        "CANCELLED",
        "LATE_APPROVAL",
        "BREAK_GLASS",
        "COMMAND_REFUSED",
        "CALL_FAILED",
        "LAG_ABOVE_LIMIT",
        "TARGET_MISSED",
    ]
    subject: str
    words: str


class Call(_Part):
    """A call to AWS, from the journal. A request id is CloudTrail's in the target account; `shared_by` is how many resources it told of."""

    at: str
    resource_id: str
    resource_name: str
    attempt: int
    action: str
    region: str
    duration_ms: int | None
    request_id: str | None
    error_code: str | None
    error_message: str | None
    shared_by: int | None = None


class Changed(_Part):
    """So many calls of one action that changed something in an account and Region."""

    account: str
    region: str
    action: str
    times: int


class LeftOut(_Part):
    """A resource that the drill did not run or take back, and why."""

    resource_id: str
    resource_name: str
    module: str
    why: str


class Drill(_Part):
    """What a drill changed, by the journal of its calls, and what it left out.

    `production_untouched`: each call that changed something was made in the Region of the drill, and named nothing that spans Regions.
    `beyond`: the calls that did not keep to that. `functions`: calls of functions of your own, of which the journal shows no more.
    """

    production_untouched: bool
    changed: tuple[Changed, ...]
    beyond: tuple[Changed, ...]
    functions: int
    left_out: tuple[LeftOut, ...]


class Happened(_Part):
    """An event of the timeline."""

    at: datetime
    detail_type: str
    subject: str
    words: str


class PastRun(_Part):
    """An earlier execution of the same phase of the same application that was started, and how long its layers took."""

    execution_id: str
    status: str
    mode: str
    requested_at: datetime
    recovery_ms: int | None
    layers_ms: dict[int, int]


class Report(_Part):
    """The recovery report of an execution, as of `as_of`: its last event."""

    schema_version: Literal["1"] = "1"
    kind: Literal["report"] = "report"
    execution_id: str
    status: str
    outcome: str
    as_of: datetime
    started_at: datetime | None
    ended_at: datetime | None
    request: Request
    approval: Approval | None
    layer_approvals: tuple[Approval, ...] = ()
    drill: Drill | None = Field(None, description="of an execution in mode drill")
    recovery: Recovery
    data_loss: tuple[DataLoss, ...]
    time: TimeSplit
    layers: tuple[Layer, ...]
    critical_path: tuple[CriticalStep, ...]
    deviations: tuple[Deviation, ...]
    past_runs: tuple[PastRun, ...]
    calls: tuple[Call, ...]
    timeline: tuple[Happened, ...]

    @property
    def measured_rpo(self) -> DataLoss | None:
        """The most data that a failover found not yet replicated; None if none was measured."""
        return max(self.data_loss, key=lambda one: one.lag_seconds, default=None)
