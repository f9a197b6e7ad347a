"""What did not get through is listed, sent again when the cause is gone, and processed; what is stale changes nothing."""

import json
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from dr_core.records import ExecutionStatus
from localcloud.applications import storefront
from localcloud.cloud import WORKLOAD_ACCOUNT
from localcloud.faults import Effect, Fault
from tests.integration.stack.operator import Operator, drctl

# One worker for all of them: they share the deployed stack.
pytestmark = pytest.mark.xdist_group("stack")

_SECONDS = 8
READS = ("Describe", "Get", "List", "AssumeRole")


def url_of(operator: Operator, queue: str) -> str:
    found = operator.cloud.client("cloudformation").describe_stack_resource(StackName="dr-orchestrator", LogicalResourceId=queue)
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def lying(operator: Operator, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    found = operator.cloud.client("sqs").get_queue_attributes(QueueUrl=url_of(operator, queue), AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


@pytest.fixture
def _hasty(operator: Operator) -> Iterator[None]:
    """A message on which start_execution failed comes again soon."""
    sqs, url = operator.cloud.client("sqs"), url_of(operator, "StartExecutionQueue")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(_SECONDS)})
    yield
    operator.cloud.faults.clear()
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "360"})


@pytest.mark.usefixtures("_hasty")
def test_a_message_that_fails_is_listed_and_processed_when_the_cause_is_gone(operator: Operator) -> None:
    assert drctl("dlq", "list").stdout == "Nothing is in the dead-letter queues.\n"
    token = uuid4().hex
    detail = {
        "application": "storefront",
        "phase": "INSTANTIATE",
        "sourceRegion": "us-east-1",
        "targetRegion": "us-west-2",
        "requestedBy": "alice",
        "reason": "test",
        "clientToken": token,
    }
    denied = Fault(effect=Effect.ERROR, service="dynamodb", function="dr-orchestrator-start-execution", code="AccessDeniedException")
    with operator.cloud.faults.during(denied):
        operator.put("dr.operator", "Execution Requested", detail)
        operator.wait(lambda: lying(operator, "DeadLetterQueue") or None, "a dead letter")
        time.sleep(_SECONDS)  # an attempt that took longer than the message was hidden fails, too
    for _ in range(2):
        listed = drctl("dlq", "list", "-o", "json")
        (letter,) = json.loads(listed.stdout)
        assert listed.returncode == 1 and letter["queue"] == "DeadLetterQueue" and letter["detail_type"] == "Execution Requested"
        assert "StartExecutionQueue" in letter["came_from"], "and it is still there when it is read again"
    assert operator.table.by_token("storefront", token) is None

    operator._requested.add("storefront")
    assert drctl("dlq", "redrive").returncode == 0
    operator.wait(lambda: operator.table.by_token("storefront", token), "the execution")
    assert drctl("dlq", "list").returncode == 0


def test_sending_everything_again_after_the_end_changes_nothing(operator: Operator) -> None:
    storefront.stand_down(operator.cloud)
    execution_id = operator.request(phase="INSTANTIATE", mode="unplanned")
    operator.decide(execution_id, "approve")
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
    operator.quiet()
    before, position = operator.items(execution_id), operator.journal_position()

    sqs = operator.cloud.client("sqs")
    for entry in operator.table.timeline(execution_id):
        operator.put(entry.source, entry.detail_type, json.loads(entry.detail))
    for resource in operator.table.resources(execution_id):
        for check_no in range(resource.check_no + 1):
            wake_up = {"executionId": execution_id, "resourceId": resource.id, "attempt": resource.attempt, "checkNo": check_no}
            body = json.dumps({"detail-type": "Resource Waiting", "source": "dr.resource", "detail": wake_up})
            sqs.send_message(QueueUrl=url_of(operator, "CheckQueue"), MessageBody=body)
    operator.quiet()

    assert operator.items(execution_id) == before
    called = {call.operation for call in operator.calls_since(position) if call.account == WORKLOAD_ACCOUNT}
    assert [name for name in called if not name.startswith(READS)] == []
    assert any(call.service == "sqs" and call.operation == "SendMessage" for call in operator.calls_since(position))
    assert drctl("dlq", "list").returncode == 0, "and nothing failed on the way"
