"""What an approver is told, read once from the table and rendered for page, mail, Slack and terminal alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from dr_core.phases import Mode, Phase
from dr_core.records import Approval, ApprovalStatus, Ballot, Execution, Resource
from dr_core.reports import DONE, Found, PlannedCall, ResourceReport, data_loss, one_line, plural, proof, read_reports, verdict, worst_first
from dr_core.state import Table
from dr_people.past_runs import completed_seconds


@dataclass(frozen=True, slots=True)
class Step:
    """One resource of the plan. `observed`, `actions` and `why_no_call` are words; `looked_at` says whether preflight reported on it."""

    layer: int
    name: str
    module: str
    account: str
    looked_at: bool
    observed: str = ""
    actions: str = ""
    calls: tuple[PlannedCall, ...] = ()
    call_count: int = 0
    why_no_call: str = ""
    may_also_call: str = ""
    note: str = ""
    irreversible: bool = False
    lag_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ApprovalContext:
    """A request for approval. Texts from outside are on one line and of bounded length, but not escaped.

    `verdict` is the preflight's, `is_blocked` whether it found what stands in the way; `data_loss` and `duration` are empty where
    nothing was measured; `past_seconds`: how long completed executions of the same application and phase took, newest first.
    `layer`: the number of the layer before which the execution waits, 0 before the first.
    """

    execution_id: str
    application: str
    phase: Phase
    mode: Mode
    target_region: str
    source_region: str
    requested_by: str
    requester_verified: bool
    reason: str
    requested_at: datetime
    expires_at: datetime
    manifest_sha256: str
    status: ApprovalStatus
    decided_by: str
    decided_at: datetime | None
    decision_reason: str
    is_open: bool
    quorum: int
    ballots: tuple[Ballot, ...]
    plan_sha256: str
    verdict: str
    is_blocked: bool
    is_preflown: bool
    findings: tuple[Found, ...]
    data_loss: str
    past_seconds: tuple[float, ...]
    steps: tuple[Step, ...]
    layer: int = 0

    @property
    def title(self) -> str:
        """The request in a few words."""
        return f"{self.phase} of {self.application}{self._before}"

    @property
    def _before(self) -> str:
        return f", before layer {self.layer}" if self.layer else ""

    @property
    def headline(self) -> str:
        """The request in a line, with Region and mode."""
        return f"{self.phase} of {self.application} in {self.target_region} ({self.mode}){self._before}"

    @property
    def requester(self) -> str:
        """Who asked, and whether anybody has made sure of it."""
        return f"{self.requested_by} ({proof(self.requester_verified)})"

    @property
    def expiry(self) -> str:
        """When the request ends by itself, UTC."""
        return f"{self.expires_at:%Y-%m-%d %H:%M:%SZ}"

    @property
    def duration(self) -> str:
        """How long it should take, from past runs; empty where there are none."""
        if not self.past_seconds:
            return ""
        runs = plural(len(self.past_seconds), "completed run")
        return f"about {length(median(self.past_seconds))}, at worst {length(max(self.past_seconds))} ({runs})"

    @property
    def irreversible(self) -> tuple[Step, ...]:
        """The steps that cannot be undone."""
        return tuple(step for step in self.steps if step.irreversible)

    @property
    def undoing(self) -> str:
        """What can be said of going back, in a line."""
        if not self.is_preflown:
            return "not known: no preflight looked at it"
        if not self.irreversible:
            return "no step is marked irreversible"
        names = ", ".join(f"{step.name} ({step.module})" for step in self.irreversible[:5])
        left = len(self.irreversible) - 5
        return f"{plural(len(self.irreversible), 'step')} cannot be undone: {names}{f' and {left} more' if left > 0 else ''}"

    @property
    def votes(self) -> str:
        """How many must agree, and who has voted so far."""
        cast = ", ".join(f"{one_line(one.approver)} {'approves' if one.approve else 'rejects'}" for one in self.ballots)
        return f"{plural(self.quorum, 'approval')} needed; {cast or 'none so far'}"

    @property
    def decided(self) -> str:
        """What became of it, to follow "this request"; empty while it waits."""
        if self.is_open:
            return ""
        if self.status is ApprovalStatus.PENDING:
            return "no longer waits for a decision"
        by = f" by {self.decided_by}" if self.decided_by else ""
        return f"is already {self.status}{by}"

    def facts(self) -> dict[str, str]:
        """What is to be known before a decision, most important first."""
        facts = {
            "Waits": f"layer {self.layer}; the layers before it were carried out, and a rejection undoes none of it" if self.layer else "",
            "Preflight": self.verdict,
            "Data loss": self.data_loss,
            "Undoing": self.undoing,
            "Takes": self.duration or "not known: no completed run yet",
            "Application": self.application,
            "Phase": str(self.phase),
            "Mode": str(self.mode),
            "Acts on": self.target_region,
            "Other Region": self.source_region,
            "Requested by": self.requester,
            "Reason": self.reason,
            "Votes": self.votes,
            "Execution": self.execution_id,
            "Manifest (SHA-256)": self.manifest_sha256,
            "Expires": self.expiry,
        }
        return {name: value for name, value in facts.items() if value}

    def layers(self) -> list[tuple[int, list[Step]]]:
        """The steps by layer, in the order in which they run."""
        found: dict[int, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.layer, []).append(step)
        return sorted(found.items())


def load_context(table: Table, execution_id: str) -> ApprovalContext | None:
    """What the table holds of the request; None if there is no such execution, or it needs no approval."""
    found = load_request(table, execution_id)
    return found[0] if found else None


def load_request(table: Table, execution_id: str) -> tuple[ApprovalContext, Approval] | None:
    """The same, with the approval itself."""
    state = table.load(execution_id)
    approval = table.approval_of(state) if state else None
    if state is None or approval is None:
        return None
    return read_context(table, state.execution, approval), approval


def read_context(table: Table, execution: Execution, approval: Approval) -> ApprovalContext:
    """What the table holds beside an execution and an approval that were just read."""
    reports = read_reports(table.preflights(execution.id))
    past = completed_seconds(table, execution.application, execution.phase)
    return context_of(execution, approval, table.resources(execution.id), reports, past)


def context_of(
    execution: Execution, approval: Approval, resources: Sequence[Resource], reports: Sequence[ResourceReport], past: Sequence[float] = ()
) -> ApprovalContext:
    """The same from records that are there already. `past`: seconds that completed executions took."""
    found = verdict(reports, len(resources))
    by_id = {report.resource_id: report for report in reports}
    return ApprovalContext(
        execution_id=execution.id,
        application=execution.application,
        phase=execution.phase,
        mode=execution.mode,
        target_region=execution.target_region,
        source_region=execution.source_region,
        requested_by=one_line(execution.requested_by),
        requester_verified=execution.requester_verified,
        reason=one_line(execution.reason),
        requested_at=execution.requested_at,
        expires_at=approval.expires_at,
        manifest_sha256=approval.manifest_sha256,
        status=approval.status,
        decided_by=one_line(approval.approver or ""),
        decided_at=approval.decided_at,
        decision_reason=one_line(approval.reason),
        is_open=execution.status == "PENDING_APPROVAL" and approval.status is ApprovalStatus.PENDING,
        quorum=approval.quorum,
        ballots=approval.votes,
        plan_sha256=approval.plan_sha256 or "",
        verdict=found.words(),
        is_blocked=found.errors > 0,
        is_preflown=found.looked_at > 0,
        findings=tuple(worst_first(reports)),
        data_loss=data_loss(execution, reports, resources),
        past_seconds=tuple(past),
        steps=tuple(_steps(resources, by_id)),
        layer=approval.layer,
    )


def _steps(resources: Sequence[Resource], by_id: dict[str, ResourceReport]) -> Iterator[Step]:
    for resource in resources:
        report = by_id.get(resource.id)
        name, module = one_line(resource.name), one_line(resource.module)
        if report is None:
            yield Step(resource.layer, name, module, resource.account, looked_at=False)
            continue
        yield Step(
            layer=resource.layer,
            name=name,
            module=module,
            account=resource.account,
            looked_at=True,
            observed=one_line(": ".join(part for part in (report.progress, report.detail) if part)),
            actions=one_line(report.actions(), 1000),
            calls=report.calls,
            call_count=report.call_count,
            why_no_call="" if report.call_count else report.why_no_call(),
            may_also_call=one_line(", ".join(report.may_also_call)),
            note=one_line(report.note),
            irreversible=report.irreversible and report.progress != DONE,
            lag_seconds=report.lag_seconds,
        )


def length(seconds: float) -> str:
    """A length of time as people say it: 45 s, 12 min, 1 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
