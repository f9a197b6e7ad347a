"""Preflight: before anybody decides, look at every resource with no right to change anything.

For each resource: what stands in the way, how much data a failover would lose now, and the calls that its act would make, none of them
sent. The same serves a dry run, which ends here.
"""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Final

from dr_core import flow
from dr_core.approval_plan import plan_digest
from dr_core.calls import Recording, reading_once, rehearsal
from dr_core.errors import ModuleError
from dr_core.observability import logger, utc_now
from dr_core.phases import Mode, Phase
from dr_core.records import Execution, ExecutionStatus, Resource, ResourceStatus
from dr_core.references import holds_reference
from dr_core.state import Table, table
from dr_core.target import TargetAccess, target_access
from dr_core.triggers import Preflown
from dr_engine.opening import lag_problem, module_in, module_of, open_target
from dr_modules.base import STARTABLE, DRModule, PreflightFinding, Progress, Severity

# Resources looked at side by side: each waits for AWS, not for the processor.
_SIDE_BY_SIDE: Final = 16
# What has not been looked at by then is said to be so: people wait for this.
_WITHIN_SECONDS: Final = 100.0
_CUT: Final = "further calls depend on the answers"
# What stands in a manifest for a SecureString is not looked up for a rehearsal; a module may need the value to go on.
_UNRESOLVED: Final = "the parameters refer to a SecureString, which is only read when the phase runs"


@dataclass(frozen=True)
class Report:
    """What preflight found of one resource.

    `progress` and `detail`: the status check's, None where it failed. `findings` as documents {severity, code, message}. `calls`: those
    that the act would make, in order, as documents; `may_also_call`: actions that the phase may need later or in another situation.
    `note` says why the list may be short; `irreversible` whether what the act does cannot be undone.
    """

    progress: str | None
    detail: str
    findings: tuple[PreflightFinding, ...]
    lag_seconds: float | None
    calls: tuple[Mapping[str, object], ...]
    may_also_call: tuple[str, ...]
    note: str = ""
    irreversible: bool = False


class Preflight:
    """Looks at the resources of executions that have just been requested."""

    def __init__(self, table: Table, access: TargetAccess, clock: flow.Clock) -> None:
        self._table = table
        self._access = access
        self._clock = clock

    def run(self, execution_id: str) -> Preflown | None:
        """Look at every resource, store the reports, and let the execution go on. None if it has gone on already."""
        state = self._table.load(execution_id)
        if state is None or state.execution.status not in (ExecutionStatus.PLANNING, ExecutionStatus.PENDING_APPROVAL):
            return None
        if state.execution.preflight_at is not None:
            return None
        resources = self._table.resources(execution_id)
        reports = self._reports(state.execution, resources)
        documents = {resource.id: document(resource, reports[resource.id]) for resource in resources}
        # Somebody may have voted or cancelled meanwhile: what follows is decided on the state as it is now.
        current = self._table.load(execution_id)
        if current is None or current.execution.preflight_at is not None:
            return None  # a second delivery was faster: what people have been shown stays as it is
        self._table.keep_preflight(execution_id, documents, self._clock())
        # Of what is stored, not of what was found: the table leaves out what it has no room for, and people see what it keeps.
        stored = self._table.preflights(execution_id)
        found = summary(reports.values())
        logger.info("preflight done", extra={"errors": found.errors, "warnings": found.warnings, "calls": found.calls})
        flow.follow(self._table, current, replace(found, plan_sha256=plan_digest(resources, stored)), self._clock)
        return found

    def _reports(self, execution: Execution, resources: tuple[Resource, ...]) -> dict[str, Report]:
        """A report of each resource, by id."""
        until = time.monotonic() + _WITHIN_SECONDS
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            running = {r.id: pool.submit(copy_context().run, self._report, execution, r, until) for r in resources}
        return {identity: future.result() for identity, future in running.items()}

    def _report(self, execution: Execution, resource: Resource, until: float) -> Report:
        if resource.status is ResourceStatus.SKIPPED:
            return Report(resource.status.value, resource.detail, (), None, (), ())
        if time.monotonic() > until:
            finding = PreflightFinding(Severity.WARNING, "NotLookedAt", f"{resource.name}: not looked at within {_WITHIN_SECONDS:.0f} s")
            return Report(None, "", (finding,), None, (), ())
        try:
            kind = module_of(resource)
            target = open_target(self._access, execution, resource, kind.read_actions(execution.phase))
        except ModuleError as error:
            return Report(None, "", (_stands_in_the_way(error),), None, (), ())
        module, raw = module_in(target, kind, execution, resource), json.loads(resource.parameters)
        try:
            return rehearse(module, raw, execution, resource)
        except Exception as error:  # noqa: BLE001  (told in the report: one module's mistake must not hide what was found of the others)
            logger.exception("preflight of a resource failed", extra={"resource_id": resource.id})
            what = module.error("PreflightFailed", f"{type(error).__name__}: {error}: look into the log of the preflight function")
            return Report(None, "", (_stands_in_the_way(what),), None, (), ())


def rehearse(module: DRModule[Any], raw: object, execution: Execution, resource: Resource) -> Report:
    """Everything that can be told of a resource without changing anything, as it is at one moment: nothing is read twice."""
    with reading_once():
        return _looked_at(module, raw, execution, resource)


def _looked_at(module: DRModule[Any], raw: object, execution: Execution, resource: Resource) -> Report:
    findings: list[PreflightFinding] = []
    progress, detail, lag, refusal = None, "", None, None
    recorded, note = Recording(planning=True), ""
    try:
        status = module.observe(raw)
        progress, detail = status.progress.value, status.detail
        findings += module.obstacles(raw)
    except ModuleError as error:
        refusal = error
    if progress in _STARTABLE:
        lag, problem = _lag(module, raw, execution, resource)
        findings += [problem] if problem else []
        recorded, note, refusal = _planned(module, raw)
    known_later = holds_reference(raw)
    if known_later:
        note = "; ".join(part for part in (note, _UNRESOLVED) if part)
    # What obstacles have told is not told again; nor that a reference is no value.
    if (
        refusal is not None
        and all(one.code != refusal.code for one in findings)
        and not (known_later and refusal.code == "InvalidParameters")
    ):
        findings.append(_stands_in_the_way(refusal))
    made = {call.action for call in recorded.calls}
    also = [one for one in module.permissions[execution.phase] if one not in module.read_actions(execution.phase) and one not in made]
    calls = tuple(call.document() for call in recorded.changing())
    irreversible = execution.phase in module.irreversible
    return Report(progress, detail, tuple(findings), lag, calls, tuple(also) if progress != Progress.DONE else (), note, irreversible)


def _lag(module: DRModule[Any], raw: object, execution: Execution, resource: Resource) -> tuple[float | None, PreflightFinding | None]:
    """The data that a failover would lose now, and what is wrong with that: an unplanned one goes on whatever it is."""
    if execution.phase is not Phase.ACTIVATE:
        return None, None
    lag, problem = None, None
    try:
        lag = module.lag(raw)
        problem = lag_problem(lag, resource, module)
    except ModuleError as error:
        problem = error
    if problem is None:
        return lag, None
    severity = Severity.ERROR if execution.mode is Mode.PLANNED else Severity.WARNING
    return lag, PreflightFinding(severity, problem.code, problem.message)


def _stands_in_the_way(error: ModuleError) -> PreflightFinding:
    return PreflightFinding(Severity.ERROR, error.code, error.message)


_STARTABLE = {progress.value for progress in STARTABLE | {Progress.FAILED}}


def _planned(module: DRModule[Any], raw: object) -> tuple[Recording, str, ModuleError | None]:
    """The calls of the act, none that changes anything sent, a note, and with what the act would refuse to begin.

    An act that needs an answer to go on ends where it would have come.
    """
    with rehearsal() as recording:
        try:
            module.start(raw, again=True)
        except ModuleError as error:
            # Before the first call it is a refusal; after it, the answer was only made up.
            return (recording, _CUT, None) if recording.changing() else (recording, f"the act would refuse: {error.message}", error)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            if not recording.changing():
                raise
            return recording, _CUT, None
    return recording, "", None


def document(resource: Resource, report: Report) -> dict[str, Any]:
    """A report as it is stored and shown."""
    return {
        "resourceId": resource.id,
        "layer": resource.layer,
        "resourceName": resource.name,
        "module": resource.module,
        "account": resource.account,
        "progress": report.progress,
        "detail": report.detail,
        "findings": [{key: str(value) for key, value in asdict(finding).items()} for finding in report.findings],
        "lagSeconds": None if report.lag_seconds is None else round(report.lag_seconds, 3),
        "calls": list(report.calls),
        "mayAlsoCall": list(report.may_also_call),
        "note": report.note,
        "irreversible": report.irreversible,
    }


def summary(reports: Any) -> Preflown:
    """How much was found in all; the lag is the largest."""
    found = list(reports)
    severities = [finding.severity for report in found for finding in report.findings]
    lags = [report.lag_seconds for report in found if report.lag_seconds is not None]
    return Preflown(
        errors=severities.count(Severity.ERROR),
        warnings=severities.count(Severity.WARNING),
        calls=sum(len(report.calls) for report in found),
        lag_seconds=max(lags, default=None),
    )


@cache
def preflight() -> Preflight:
    """The preflight of this function, as the environment sets it up."""
    return Preflight(table(), target_access(), utc_now)
