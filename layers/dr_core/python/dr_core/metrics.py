"""What is measured, and how it reaches CloudWatch: each value is a line of the log, in the Embedded Metric Format.

Every value of an execution is counted twice: with the dimension `service` alone, which the alarms are on, and with `application` and
`phase`. The execution's id is in the line, and is no dimension. Alarms and dashboard name what stands here, and nothing else.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from dr_core.records import DetailType, Event, Execution, Move, State

NAMESPACE: Final = "DROrchestrator"
SERVICE: Final = "dr-orchestrator"


class Metric(StrEnum):
    """The names. Those that end in Seconds are lengths of time, a ratio is one, all others are counted."""

    EXECUTION_DURATION = "ExecutionDurationSeconds"  # from the opening of the first layer to a good end: the recovery time
    EXECUTIONS_HALTED = "ExecutionsHalted"  # a layer failed, a person has to decide
    LAYER_DURATION = "LayerDurationSeconds"
    RESOURCE_DURATION = "ResourceDurationSeconds"  # of an attempt that ended the resource; also by module
    APPROVAL_WAIT = "ApprovalWaitSeconds"  # from the request to the decision, or to its expiry
    EVENT_LAG = "EventLagSeconds"  # from what happened to the function that it wakes up
    POLL_LAG = "PollLagSeconds"  # how much later than due a resource was looked at
    JOIN_CONFLICTS = "JoinConflicts"  # a step that somebody else took at the same moment
    SWEEPER_REPAIRS = "SweeperRepairs"  # wake-ups that were lost, and sent again
    CHECKS_ADVANCED = "ChecksAdvanced"  # checks that an event of AWS's own called for, ahead of their time
    SWEEPS_COMPLETED = "SweepsCompleted"  # the sweep's sign of life
    STUCK_RESOURCES = "StuckResources"  # three sweeps called for a resource, and nothing moved it
    RTO_ELAPSED_RATIO = "RtoElapsedRatio"  # of the recovery time: at 0.8, at 1, and at a good end; 1 is all of it
    BREAK_GLASS = "BreakGlass"  # an approval without quorum and four eyes
    PREFLIGHT_ERRORS = "PreflightErrors"
    PREFLIGHT_WARNINGS = "PreflightWarnings"

    @property
    def unit(self) -> MetricUnit:
        """CloudWatch's unit of it."""
        return MetricUnit.Seconds if self.endswith("Seconds") else MetricUnit.Count


def measure(metric: Metric, value: float, *, application: str = "", phase: str = "", module: str = "", execution_id: str = "") -> None:
    """Write one value. `module` is a dimension beside application and phase."""
    provider = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service=SERVICE)
    provider.add_metric(name=metric, unit=metric.unit, value=value)
    if application:
        provider.add_dimensions(application=application, phase=phase)
    if application and module:
        provider.add_dimensions(application=application, phase=phase, module=module)
    if execution_id:
        provider.add_metadata(key="execution_id", value=execution_id)
    provider.flush_metrics()


def measure_of(metric: Metric, value: float, execution: Execution, module: str = "") -> None:
    """Write one value of an execution."""
    measure(metric, value, application=execution.application, phase=execution.phase, module=module, execution_id=execution.id)


def measure_move(state: State, move: Move, now: datetime) -> None:
    """Write what a committed move ended, and how long that took. `state` is that before the move."""
    for event in move.events:
        for metric, value in _measured(state, event, now).items():
            module = str(event.fields["module"]) if metric is Metric.RESOURCE_DURATION else ""
            measure_of(metric, value, state.execution, module)


def _measured(state: State, event: Event, now: datetime) -> Mapping[Metric, float]:
    fields = event.fields
    match event.detail_type:
        case DetailType.LAYER_COMPLETED:
            layer = state.layer(int(str(fields["layer"])))
            return {Metric.LAYER_DURATION: _seconds(layer.started_at, now)} if layer and layer.started_at else {}
        case DetailType.RESOURCE_SUCCEEDED | DetailType.RESOURCE_FAILED | DetailType.RESOURCE_TIMED_OUT:
            return {Metric.RESOURCE_DURATION: int(str(fields["durationMs"])) / 1000} if "durationMs" in fields else {}
        case DetailType.APPROVAL_GRANTED | DetailType.APPROVAL_REJECTED | DetailType.APPROVAL_EXPIRED:
            asked_at = state.approval.asked_at if state.approval else None
            return {Metric.APPROVAL_WAIT: _seconds(asked_at, now)} if asked_at else {}
        case DetailType.EXECUTION_HALTED:
            return {Metric.EXECUTIONS_HALTED: 1}
        case DetailType.EXECUTION_COMPLETED if state.execution.started_at:  # a dry run never started
            seconds = _seconds(state.execution.started_at, now)
            target = state.execution.rto_seconds
            return {Metric.EXECUTION_DURATION: seconds, **({Metric.RTO_ELAPSED_RATIO: seconds / target} if target else {})}
        case DetailType.RTO_AT_RISK | DetailType.RTO_MISSED:
            return {Metric.RTO_ELAPSED_RATIO: float(str(fields["ratio"]))}
        case DetailType.STUCK_DETECTED:
            return {Metric.STUCK_RESOURCES: 1}
        case _:
            return {}


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()
