"""The ERP system on the deployed stack: every module, in both accounts, through all four phases; and the plans of the DRS solution."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from dr_core.records import Execution, ExecutionStatus, ResourceStatus
from localcloud import applications
from localcloud.applications import Application, drs_solution
from localcloud.cloud import STANDBY_REGION, WORKLOAD_ACCOUNT
from localcloud.installation import publish
from localcloud.journal import Entry
from tests.integration.stack.operator import Operator

READS = ("Describe", "Get", "List", "Head", "AssumeRole")
SECRET = "only-for-the-local-cloud"  # what the manifests' SecureString holds


@pytest.fixture(scope="session")
def erp(operator: Operator) -> Application:
    """The system, created once, with its manifests published."""
    system = applications.load("erp")
    system.create(operator.cloud)
    publish(operator.cloud, system.NAME)
    return system


def test_all_modules_take_the_system_to_the_other_region_and_rebuild_the_replica(operator: Operator, erp: Application) -> None:
    found = []
    for step in erp.steps():
        detail = json.loads(step.entries[0]["Detail"])
        execution = run(operator, detail)
        assert execution.status is ExecutionStatus.SUCCEEDED, (step.phase, execution.outcome_detail)
        resources = operator.table.resources(execution.id)
        assert {resource.status for resource in resources} == {ResourceStatus.SUCCEEDED}
        assert [finding for finding in findings(operator, execution.id) if finding["severity"] == "ERROR"] == []
        facts = erp.observe(operator.cloud)
        assert {fact: facts[fact] for fact in step.expected} == step.expected, step.phase
        found.append(execution.id)
    # Once more, the last phase: all is as wanted.
    before = operator.journal_position()

    execution = run(operator, detail)

    assert execution.status is ExecutionStatus.SUCCEEDED, execution.outcome_detail
    assert changes(operator.calls_since(before)) == []
    assert erp.observe(operator.cloud) == facts
    for execution_id in (*found, execution.id):
        stored = everything_stored(operator, execution_id)
        assert "resolve:ssm:/erp/announcer-key" in stored
        assert SECRET not in stored


def test_a_plan_that_pauses_is_waited_for(operator: Operator, erp: Application) -> None:
    execution_id = start_plan(operator, "erp-pauses")
    detail = operator.wait(lambda: paused(operator, execution_id), "the plan to pause")
    assert "resume it in the DRS Orchestration Solution" in detail

    started = drs_solution.last_execution(operator.cloud, STANDBY_REGION, "erp-pauses")
    assert started is not None
    drs_solution.call(operator.cloud, STANDBY_REGION, "resume_execution", executionId=started["executionId"])

    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED


@pytest.mark.failure("An operation is accepted and fails later")
def test_a_plan_of_which_a_server_fails_has_failed(operator: Operator, erp: Application) -> None:
    execution_id = start_plan(operator, "erp-partial")

    assert operator.finished(execution_id).status is ExecutionStatus.FAILED
    (resource,) = operator.table.resources(execution_id)
    assert resource.status is ResourceStatus.FAILED
    assert resource.failure is not None
    assert resource.failure.code == "ExecutionPartial"
    assert "app-2 FAILED" in resource.failure.message


def run(operator: Operator, detail: dict[str, Any]) -> Execution:
    """An execution that is approved, once it has ended."""
    execution_id = operator.request(**detail)
    assert operator.decide(execution_id, "approve").status_code == 200
    return operator.finished(execution_id)


def start_plan(operator: Operator, plan: str) -> str:
    """Begin an execution of an application that is nothing but this plan."""
    parameters = {"Method": "OrchestrationSolution", "FunctionName": drs_solution.FUNCTION, "PlanId": plan}
    resource = {"action": "DRS", "resourceName": "plan", "AccountId": WORKLOAD_ACCOUNT, "maxAttempts": 1, "parameters": parameters}
    operator.publish(plan, "Activate.json", json.dumps([{"layer": 1, "resources": [resource]}]).encode())
    execution_id = operator.request(application=plan, phase="ACTIVATE", mode="unplanned")
    operator.decide(execution_id, "approve")
    return execution_id


def paused(operator: Operator, execution_id: str) -> str | None:
    """What the resource says once its plan is paused."""
    (resource,) = operator.table.resources(execution_id)
    return resource.detail if "PAUSED" in resource.detail else None


def findings(operator: Operator, execution_id: str) -> list[dict[str, Any]]:
    """What preflight found, of all resources."""
    return [finding for report in operator.table.preflights(execution_id) for finding in report["findings"]]


def changes(calls: Sequence[Entry]) -> list[str]:
    """The calls that changed something in the workload account."""
    return [call.operation for call in calls if call.account == WORKLOAD_ACCOUNT and not call.operation.startswith(READS)]


def everything_stored(operator: Operator, execution_id: str) -> str:
    """Every item of an execution, as text."""
    table, pk = operator.outputs["StateTableName"], {":pk": {"S": f"EXEC#{execution_id}"}}
    pages = operator.cloud.client("dynamodb").get_paginator("query")
    found = pages.paginate(TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues=pk)
    return str([page["Items"] for page in found])
