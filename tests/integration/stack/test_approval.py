"""The decision: only the page's POST decides, once, in time, with a link of ours."""

import json

import httpx
import pytest

from dr_core.records import ApprovalStatus, ExecutionStatus
from tests.integration.stack.operator import PATIENCE_SECONDS, Operator


@pytest.mark.failure("A link scanner opens the approval link")
def test_opening_the_link_decides_nothing(operator: Operator) -> None:
    execution_id = operator.request()
    link = operator.approver.link(execution_id, PATIENCE_SECONDS)

    for _ in range(5):
        assert "<form" in httpx.get(link, timeout=60).text
        httpx.head(link, timeout=60)

    approval = operator.table.approval(execution_id)
    assert approval is not None
    assert approval.status is ApprovalStatus.PENDING
    assert operator.execution(execution_id).status is ExecutionStatus.PENDING_APPROVAL


def test_a_rejected_execution_ends_and_frees_its_locks(operator: Operator) -> None:
    execution_id = operator.request()

    assert "rejected" in operator.decide(execution_id, "reject").text

    execution = operator.finished(execution_id)
    assert execution.status is ExecutionStatus.REJECTED
    assert "approver" in execution.outcome_detail
    assert operator.table.locked_by("storefront", ("us-east-1", "us-west-2")) == {}
    _wait_is_over(operator, execution_id, "SUCCEEDED")


@pytest.mark.failure("An approval link is used again, forged, or too late")
def test_a_repeated_decision_is_refused(operator: Operator) -> None:
    execution_id = operator.request()
    link = operator.approver.link(execution_id, PATIENCE_SECONDS)
    opened = operator.approver.open(link)
    assert opened.send("reject").status_code == 200

    again = opened.send("approve")

    assert again.status_code == 409
    assert operator.finished(execution_id).status is ExecutionStatus.REJECTED


@pytest.mark.failure("An approval link is used again, forged, or too late")
def test_a_forged_link_is_refused(operator: Operator) -> None:
    execution_id = operator.request()
    link = operator.approver.link(execution_id, PATIENCE_SECONDS)
    forged = httpx.URL(link).params["token"][:-2] + "xx"

    answer = httpx.post(link.partition("?")[0], data={"token": forged, "approver": "eve", "decision": "approve"}, timeout=60)

    assert answer.status_code == 403
    assert operator.execution(execution_id).status is ExecutionStatus.PENDING_APPROVAL


@pytest.mark.failure("An approval link is used again, forged, or too late")
def test_a_request_that_nobody_decides_expires(operator: Operator) -> None:
    """The state machine's own time-out, shortened for this test, ends it; a late decision is refused."""
    machine = _machine(operator)
    sfn = operator.cloud.client("stepfunctions")
    definition = sfn.describe_state_machine(stateMachineArn=machine)["definition"]
    shortened = json.loads(definition)
    shortened["States"]["RequestApproval"]["TimeoutSeconds"] = 15
    sfn.update_state_machine(stateMachineArn=machine, definition=json.dumps(shortened))
    try:
        execution_id = operator.request()
        opened = operator.approver.open(operator.approver.link(execution_id, PATIENCE_SECONDS))
        assert operator.finished(execution_id).status is ExecutionStatus.EXPIRED
    finally:
        sfn.update_state_machine(stateMachineArn=machine, definition=definition)

    assert opened.send("approve").status_code == 409
    assert operator.execution(execution_id).status is ExecutionStatus.EXPIRED
    assert operator.table.locked_by("storefront", ("us-east-1", "us-west-2")) == {}


def _machine(operator: Operator) -> str:
    found = operator.cloud.client("stepfunctions").list_state_machines()["stateMachines"]
    return str(next(machine["stateMachineArn"] for machine in found if "Approval" in machine["name"]))


def _wait_is_over(operator: Operator, execution_id: str, status: str) -> None:
    """The state machine holds no wait for what the table has decided."""
    arn = _machine(operator).replace(":stateMachine:", ":execution:") + f":{execution_id}"
    sfn = operator.cloud.client("stepfunctions")
    operator.wait(lambda: True if sfn.describe_execution(executionArn=arn)["status"] == status else None, f"{arn} to be {status}")
