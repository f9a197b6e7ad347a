"""An approval before a layer, on the deployed stack: the execution waits there with its locks held, and both ends are clean."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from dr_core.records import ApprovalStatus, ExecutionStatus, LayerStatus
from localcloud.cloud import REPOSITORY
from tests.integration.stack.operator import PATIENCE_SECONDS, Operator

REGIONS = ("us-east-1", "us-west-2")
KEY = "AskedBefore2.json"


def requested(operator: Operator) -> str:
    """An INSTANTIATE of the storefront whose second layer waits for people."""
    first, second = json.loads((REPOSITORY / "manifests" / "storefront" / "Instantiate.json").read_text())
    operator.publish("storefront", KEY, json.dumps([first, {**second, "approval": True}]).encode())
    return operator.request(manifest=f"storefront/{KEY}")


def waiting(operator: Operator, execution_id: str) -> str:
    """The first layer is approved and has closed; the link of the request before the second."""
    assert "is approved" in operator.decide(execution_id, "approve").text
    return operator.approver.link(execution_id, PATIENCE_SECONDS, layer=2)


def machine_execution(operator: Operator, execution_id: str) -> str:
    """What became of the state machine that waits before the second layer."""
    arn = operator.outputs["ApprovalStateMachineArn"].replace(":stateMachine:", ":execution:")
    sfn = operator.cloud.client("stepfunctions")
    return str(sfn.describe_execution(executionArn=f"{arn}:{execution_id}-layer-2")["status"])


@contextmanager
def time_to_decide(operator: Operator, seconds: int) -> Iterator[None]:
    """What begins to wait from now on has so long."""
    sfn, machine = operator.cloud.client("stepfunctions"), operator.outputs["ApprovalStateMachineArn"]
    definition = sfn.describe_state_machine(stateMachineArn=machine)["definition"]
    shortened = json.loads(definition)
    shortened["States"]["RequestApproval"]["TimeoutSeconds"] = seconds
    sfn.update_state_machine(stateMachineArn=machine, definition=json.dumps(shortened))
    try:
        yield
    finally:
        sfn.update_state_machine(stateMachineArn=machine, definition=definition)


def test_the_execution_waits_before_the_layer_and_goes_on_when_it_is_approved(operator: Operator) -> None:
    execution_id = requested(operator)
    first = operator.approver.link(execution_id, PATIENCE_SECONDS)
    link = waiting(operator, execution_id)

    execution = operator.execution(execution_id)
    assert (execution.status, execution.current_layer) == (ExecutionStatus.PENDING_APPROVAL, 1)
    assert [layer.status for layer in operator.table.layers(execution_id)] == [LayerStatus.SUCCEEDED, LayerStatus.PENDING]
    assert operator.table.locked_by("storefront", REGIONS) == dict.fromkeys(REGIONS, execution_id)
    old = httpx.get(first, timeout=60)
    assert old.status_code == 410 and "<form" not in old.text
    assert "The request that this link was made for is APPROVED by approver." in old.text and "before layer 2" in old.text

    assert "is approved" in operator.decide_by(link, "approve").text
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
    assert [one.status for one in operator.table.approvals(execution_id)] == [ApprovalStatus.APPROVED] * 2
    assert operator.table.locked_by("storefront", REGIONS) == {}
    operator.wait(lambda: True if machine_execution(operator, execution_id) == "SUCCEEDED" else None, "the wait to be over")


def test_undecided_it_expires_frees_its_locks_and_undoes_nothing(operator: Operator) -> None:
    execution_id = requested(operator)
    operator.approver.link(execution_id, PATIENCE_SECONDS)
    with time_to_decide(operator, 10):
        link = waiting(operator, execution_id)
        execution = operator.finished(execution_id)

    assert execution.status is ExecutionStatus.EXPIRED
    assert execution.outcome_detail.startswith("before layer 2: nobody decided by")
    assert execution.outcome_detail.endswith("what stands in the layers before it was carried out, and stays as it is")
    assert operator.table.locked_by("storefront", REGIONS) == {}
    assert [layer.status for layer in operator.table.layers(execution_id)] == [LayerStatus.SUCCEEDED, LayerStatus.PENDING]
    assert "is already EXPIRED" in operator.decide_by(link, "approve").text
    assert operator.execution(execution_id).status is ExecutionStatus.EXPIRED
