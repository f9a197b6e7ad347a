"""Faults in the middle of a phase: it ends as it would have without them, and every change is made once."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from dr_core.records import Execution, ExecutionStatus, ResourceStatus
from localcloud.applications import storefront
from localcloud.cloud import STANDBY_REGION, WORKLOAD_ACCOUNT
from localcloud.faults import Effect, Fault, When
from tests.integration.stack.operator import Operator

# What INSTANTIATE has to change in the workload account, each once.
CHANGES = {"CreateDBInstance": 1, "RegisterScalableTarget": 1, "UpdateService": 2, "UpdateAutoScalingGroup": 1}
BEFORE_THE_CLAIM = pytest.mark.failure("A handler dies before its transaction")
AFTER_THE_CLAIM = pytest.mark.failure("A handler dies after its transaction", "An executor dies between claim and act")
BEFORE_THE_ACT = pytest.mark.failure("An executor dies between claim and act")
AFTER_THE_ACT = pytest.mark.failure("An executor dies after its act, before its record")
PAST = {"S": "2000-01-01T00:00:00.000Z"}


@pytest.fixture(autouse=True)
def _from_nothing_and_without_faults(operator: Operator) -> Iterator[None]:
    storefront.stand_down(operator.cloud)
    yield
    operator.cloud.faults.clear()


def begin(operator: Operator) -> str:
    """An approved INSTANTIATE."""
    execution_id = operator.request(phase="INSTANTIATE", mode="unplanned")
    assert operator.decide(execution_id, "approve").status_code == 200
    return execution_id


def changes(operator: Operator, position: int) -> Counter[str]:
    """What has been changed in the workload account since then: the calls that were carried out."""
    calls = operator.calls_since(position)
    return Counter(
        call.operation for call in calls if call.account == WORKLOAD_ACCOUNT and call.operation in CHANGES and call.status == 200
    )


def assert_as_without_faults(operator: Operator, execution: Execution, position: int) -> None:
    assert execution.status is ExecutionStatus.SUCCEEDED, execution.outcome_detail
    assert {resource.status for resource in operator.table.resources(execution.id)} == {ResourceStatus.SUCCEEDED}
    facts = storefront.observe(operator.cloud)
    assert facts["Aurora instances in us-west-2"] == "storefront-1 available, storefront-2 available"
    assert (facts["storefront-api running in us-west-2"], facts["workers in service in us-west-2"]) == ("4", "3")
    assert changes(operator, position) == CHANGES


def struck(operator: Operator) -> int:
    return sum(armed.struck for armed in operator.cloud.faults.active())


@pytest.mark.failure("DynamoDB throttles, or is out, in the home Region")
def test_the_table_is_throttled(operator: Operator) -> None:
    throttle = Fault(effect=Effect.THROTTLE, service="dynamodb", function="dr-orchestrator-*", probability=0.2, seed=1)
    position = operator.journal_position()
    with operator.cloud.faults.during(throttle) as (name,):
        execution = operator.finished(begin(operator))
    assert_as_without_faults(operator, execution, position)
    throttled = [call for call in operator.calls_since(position) if call.fault == name]
    assert len(throttled) >= 10
    assert {call.error for call in throttled} == {"ProvisionedThroughputExceededException"}


@pytest.mark.failure("The target's API hangs, or its Region is dark")
def test_the_database_service_of_the_target_region_is_dark_for_a_while(operator: Operator) -> None:
    dark = Fault(effect=Effect.DARK, region=STANDBY_REGION, service="rds", account=WORKLOAD_ACCOUNT, function="dr-orchestrator-*-resource")
    position = operator.journal_position()
    with operator.cloud.faults.during(dark) as (name,):
        execution_id = begin(operator)
        operator.wait(lambda: struck(operator) or None, "a call into the dark")
        time.sleep(10)
        assert operator.execution(execution_id).status is ExecutionStatus.RUNNING
    assert_as_without_faults(operator, operator.finished(execution_id), position)
    assert {call.status for call in operator.calls_since(position) if call.fault == name} == {0}


@pytest.mark.failure("The target's API hangs, or its Region is dark")
def test_a_change_that_was_made_but_not_answered(operator: Operator) -> None:
    position = operator.journal_position()
    faults = [Fault(effect=Effect.CUT_AFTER, account=WORKLOAD_ACCOUNT, operation=operation, last=1) for operation in CHANGES]
    with operator.cloud.faults.during(*faults):
        execution = operator.finished(begin(operator))
        assert struck(operator) == len(CHANGES)
    # Both are asked for by their goal, so that the second time changes nothing.
    again = {"RegisterScalableTarget", "UpdateService", "UpdateAutoScalingGroup"}
    made = changes(operator, position)
    assert made["CreateDBInstance"] == 1
    assert all(made[operation] <= CHANGES[operation] + 1 for operation in again)
    assert execution.status is ExecutionStatus.SUCCEEDED, execution.outcome_detail


@pytest.mark.parametrize(
    ("service", "operation", "when"),
    [
        pytest.param("rds", "CreateDBInstance", When.AFTER, marks=AFTER_THE_ACT),
        pytest.param("rds", "CreateDBInstance", When.BEFORE, marks=BEFORE_THE_ACT),
        pytest.param("dynamodb", "TransactWriteItems", When.BEFORE, marks=BEFORE_THE_CLAIM),
        pytest.param("dynamodb", "TransactWriteItems", When.AFTER, marks=AFTER_THE_CLAIM),
    ],
)
def test_the_function_that_starts_a_resource_is_killed(operator: Operator, service: str, operation: str, when: When) -> None:
    position = operator.journal_position()
    crash = Fault(effect=Effect.CRASH, when=when, service=service, operation=operation, function="*-start-resource", last=1)
    with operator.cloud.faults.during(crash):
        execution_id = begin(operator)
        operator.wait(lambda: struck(operator) or None, "the function to be killed")
    lease_over(operator, execution_id)
    operator.sweep()
    assert_as_without_faults(operator, operator.finished(execution_id), position)


def lease_over(operator: Operator, execution_id: str) -> None:
    """Let the killed function's lease have ended, as if a quarter of an hour had passed."""
    dynamodb, table = operator.cloud.client("dynamodb"), operator.outputs["StateTableName"]
    pk = {"S": f"EXEC#{execution_id}"}
    for item in dynamodb.query(TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": pk})["Items"]:
        if "lease_until" in item:
            dynamodb.update_item(
                TableName=table,
                Key={"pk": pk, "sk": item["sk"]},
                UpdateExpression="SET lease_until = :past",
                ExpressionAttributeValues={":past": PAST},
            )
    operator.overdue(execution_id)
