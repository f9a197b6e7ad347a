"""What did not get through is listed, sent again when the cause is gone, and processed; what is stale changes nothing."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from dr_core.records import ExecutionStatus
from localcloud.applications import storefront
from localcloud.cloud import WORKLOAD_ACCOUNT
from localcloud.faults import Effect, Fault
from tests.integration.stack.operator import Operator, drctl

_SECONDS = 8
# Each of them wakes a function that reads the table.
AWAKENING = {"Execution Requested", "Approval Granted", "Layer Started", "Resource Requested", "Resource Succeeded", "Execution Completed"}
STAYS = re.compile("DeadLetterQueue|UndeliveredQueue")
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


@pytest.mark.failure("Messages in a dead-letter queue")
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


def succeeded(operator: Operator) -> str:
    """The id of an execution that has ended well, and of which nothing is under way any more."""
    storefront.stand_down(operator.cloud)
    execution_id = operator.request(phase="INSTANTIATE", mode="unplanned")
    operator.decide(execution_id, "approve")
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
    operator.quiet()
    return execution_id


@pytest.mark.failure("Messages in a dead-letter queue")
def test_sending_everything_again_after_the_end_changes_nothing(operator: Operator) -> None:
    execution_id = succeeded(operator)
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


@contextmanager
def impatient(operator: Operator) -> Iterator[None]:
    """Each message on which a function fails is a dead letter at once, not after five times."""
    sqs = operator.cloud.client("sqs")
    names = {"VisibilityTimeout", "RedrivePolicy"}
    urls = [url for url in sqs.list_queues(QueueNamePrefix="dr-orchestrator-")["QueueUrls"] if not STAYS.search(url)]
    found = {url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in urls}
    before = {url: {name: attributes[name] for name in names} for url, attributes in found.items()}
    assert len(before) >= 10
    for url, attributes in before.items():
        policy = {**json.loads(attributes["RedrivePolicy"]), "maxReceiveCount": 1}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1", "RedrivePolicy": json.dumps(policy)})
    try:
        yield
    finally:
        for url, attributes in before.items():
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)


def undelivered(operator: Operator, rule: str, event: dict[str, object]) -> None:
    """Put an event where EventBridge puts it when a rule cannot hand it to its queue, with what EventBridge says about it."""
    events = operator.cloud.client("events")
    bus = {"EventBusName": operator.outputs["BusName"]}
    (name,) = [one["Name"] for one in events.list_rules(**bus)["Rules"] if rule in one["Name"]]
    told = {
        "RULE_ARN": events.describe_rule(Name=name, **bus)["Arn"],
        "TARGET_ARN": events.list_targets_by_rule(Rule=name, **bus)["Targets"][0]["Arn"],
        "ERROR_CODE": "SQS.AccessDenied",
    }
    attributes = {key: {"DataType": "String", "StringValue": value} for key, value in told.items()}
    url = url_of(operator, "UndeliveredQueue")
    operator.cloud.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(event), MessageAttributes=attributes)


@pytest.mark.failure("Messages in a dead-letter queue")
def test_redriving_every_dead_letter_after_the_end_changes_nothing(operator: Operator) -> None:
    execution_id = succeeded(operator)
    before, timeline = operator.items(execution_id), operator.table.timeline(execution_id)

    # No function can read the table while all of its past comes again.
    denied = Fault(effect=Effect.ERROR, service="dynamodb", function="dr-orchestrator-*", code="AccessDeniedException")
    with impatient(operator), operator.cloud.faults.during(denied):
        for entry in timeline:
            operator.put(entry.source, entry.detail_type, json.loads(entry.detail))
        operator.quiet()
    requested = [entry for entry in timeline if entry.detail_type == "Resource Requested"]
    for entry in requested:
        event = {"detail-type": entry.detail_type, "source": entry.source, "detail": json.loads(entry.detail)}
        undelivered(operator, "ResourcesRequestedRule", event)
    letters = json.loads(drctl("dlq", "list", "-o", "json").stdout)
    dead = [letter for letter in letters if letter["queue"] == "DeadLetterQueue"]
    assert {letter["detail_type"] for letter in dead} >= AWAKENING
    assert len(letters) - len(dead) == len(requested) > 0
    assert operator.items(execution_id) == before, "none of them got through"

    position = operator.journal_position()
    redriven = drctl("dlq", "redrive")
    assert redriven.returncode == 0, redriven.stderr
    operator.quiet()
    assert operator.items(execution_id) == before
    calls = operator.calls_since(position)
    assert sum(call.service == "dynamodb" for call in calls) > len(dead), "the functions have been woken, and have read"
    assert [call.operation for call in calls if call.account == WORKLOAD_ACCOUNT and not call.operation.startswith(READS)] == []
    assert drctl("dlq", "list").stdout == "Nothing is in the dead-letter queues.\n"
