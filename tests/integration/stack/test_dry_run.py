"""Dry runs: asked for by drctl or by the schedule, they say what would be done, and nothing is done."""

import json
import subprocess
import sys
from pathlib import Path

from dr_core.records import ExecutionStatus
from localcloud.applications import storefront
from localcloud.cloud import WORKLOAD_ACCOUNT
from tests.integration.stack.operator import Operator

READING = ("Describe", "Get", "List", "Head")


def changes(operator: Operator, position: int) -> list[str]:
    """What was changed in the workload account since then."""
    calls = operator.calls_since(position)
    return [call.operation for call in calls if call.account == WORKLOAD_ACCOUNT and not call.operation.startswith(READING)]


def test_a_plan_names_the_calls_in_order_and_makes_none(operator: Operator) -> None:
    storefront.stand_down(operator.cloud)  # another test may have prewarmed it
    before = operator.journal_position()
    command = [str(Path(sys.executable).with_name("drctl")), "plan", "storefront", "INSTANTIATE", "--output", "json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert changes(operator, before) == []
    assert operator.table.locked_by("storefront", ("us-east-1", "us-west-2")) == {}
    execution_id = next(line for line in operator.table.executions("storefront", 1))[0]
    reports = operator.table.preflights(execution_id)
    assert [(report["resourceName"], [call["action"] for call in report["calls"]]) for report in reports] == [
        ("database-tier", ["rds:CreateDBInstance"]),
        (
            "application-tier",
            ["application-autoscaling:RegisterScalableTarget", "ecs:UpdateService", "ecs:UpdateService"],
        ),
        ("worker-tier", ["autoscaling:UpdateAutoScalingGroup"]),
    ]
    for report in reports:
        assert report["calls"][0]["action"] in shown.stdout
        assert not any(call["sent"] for call in report["calls"])


def test_the_schedule_asks_for_a_preflight_of_every_registered_application(operator: Operator) -> None:
    before = operator.journal_position()
    known = {row[0] for row in operator.table.executions("storefront", 100)}
    function = operator.cloud.client("lambda")
    for _ in range(2):  # it may be delivered twice
        payload = json.dumps({"scheduledTime": f"2031-{len(known)}"}).encode()
        answer = function.invoke(FunctionName="dr-orchestrator-request-preflights", Payload=payload)
        assert "FunctionError" not in answer, answer["Payload"].read()

    def ended() -> list[str] | None:
        new = [row for row in operator.table.executions("storefront", 100) if row[0] not in known]
        return [row[0] for row in new] if len(new) == 2 and {row[1] for row in new} == {"SUCCEEDED"} else None

    dry_runs = [operator.execution(execution_id) for execution_id in operator.wait(ended, "two dry runs")]
    assert {(run.phase.value, run.dry_run, run.requested_by) for run in dry_runs} == {
        ("INSTANTIATE", True, "preflight schedule"),
        ("ACTIVATE", True, "preflight schedule"),
    }
    for run in dry_runs:
        assert run.status is ExecutionStatus.SUCCEEDED and run.outcome_detail.startswith("dry run: ")
        told = {detail_type for detail_type, _ in operator.events(run.id)}
        assert told == {"Execution Requested", "Preflight Completed", "Execution Completed"}
    assert changes(operator, before) == []
