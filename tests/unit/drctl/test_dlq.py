"""`drctl dlq`: reading takes nothing away; an event of a rule goes to the rule's queue."""

import json

import boto3
import pytest

from tests.support.desk import ID, Desk

EVENT = {"detail-type": "Resource Requested", "source": "dr.resource", "detail": {"executionId": ID}}


@pytest.fixture
def _undelivered(desk: Desk) -> None:
    """A rule could not hand over an event; publish_changes gave up records of the stream."""
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="undelivered")["QueueUrl"]
    told = {
        "RULE_ARN": "arn:aws:events:us-west-2:123456789012:rule/dr-orchestrator/ResourcesRequestedRule",
        "TARGET_ARN": "arn:aws:sqs:us-west-2:123456789012:start-resource",
        "ERROR_CODE": "SQS.AccessDenied",
        "ERROR_MESSAGE": "may not",
    }
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in told.items()}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(EVENT), MessageAttributes=attributes)  # type: ignore[arg-type]
    note = {"requestContext": {"functionArn": "arn:aws:lambda:us-west-2:1:function:publish-changes", "condition": "RetryAttemptsExhausted"}}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({**note, "DDBStreamBatchInfo": {"shardId": "s"}}))


def test_nothing_is_there(desk: Desk) -> None:
    result = desk.run("dlq", "list")
    assert (result.exit_code, result.stdout) == (0, "Nothing is in the dead-letter queues.\n")


@pytest.mark.failure("Messages in a dead-letter queue")
@pytest.mark.usefixtures("_undelivered")
def test_reading_takes_nothing_away(desk: Desk) -> None:
    for _ in range(2):
        result = desk.run("dlq", "list", "-o", "json")
        assert result.exit_code == 1
        found = {letter["detail_type"]: letter for letter in json.loads(result.stdout)}
        event, note = found["Resource Requested"], found["stream records"]
        assert (event["came_from"], event["execution_id"]) == ("ResourcesRequestedRule", ID)
        assert (event["error"], event["queue"]) == ("SQS.AccessDenied: may not", "UndeliveredQueue")
        assert (note["came_from"], note["error"]) == ("publish-changes", "RetryAttemptsExhausted")


@pytest.mark.failure("Messages in a dead-letter queue")
@pytest.mark.usefixtures("_undelivered")
def test_an_event_of_a_rule_goes_to_its_queue_and_a_note_stays(desk: Desk) -> None:
    sqs = boto3.client("sqs")
    target = sqs.create_queue(QueueName="start-resource")["QueueUrl"]
    result = desk.run("dlq", "redrive", "--queue", "UndeliveredQueue")
    assert result.exit_code == 1 and "keeps 1 messages that came from no rule: notes of the stream" in result.stderr
    (message,) = sqs.receive_message(QueueUrl=target, MaxNumberOfMessages=10)["Messages"]
    assert json.loads(message["Body"]) == EVENT
    (left,) = json.loads(desk.run("dlq", "list", "-o", "json").stdout)
    assert left["detail_type"] == "stream records"


@pytest.mark.failure("Messages in a dead-letter queue")
@pytest.mark.usefixtures("_undelivered")
def test_status_says_that_something_lies_there(desk: Desk) -> None:
    desk.request([("database-tier", "AuroraMySQL")])
    assert "Dead letters: about 2 in UndeliveredQueue: drctl dlq list" in desk.run("status", ID).stdout
