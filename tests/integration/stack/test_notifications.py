"""People are told in Slack by the deployed stack: one thread for each execution, each event once, and Slack holds nobody up."""

import json
from collections import Counter
from typing import Any

from dr_core.records import ExecutionStatus
from dr_people.notifications import ALL
from tests.integration.stack.operator import Operator
from tests.support.slack_workspace import Workspace


def posted(workspace: Workspace, execution_id: str) -> dict[str, dict[str, Any]]:
    """The notifications of the execution, by timestamp; requests for approval have blocks."""
    return {at: one for at, one in workspace.messages.items() if execution_id in one["text"] and not one.get("blocks")}


def wanted(operator: Operator, execution_id: str) -> list[Any]:
    """The events that people are told of, in order."""
    found = [one for one in operator.table.timeline(execution_id) if one.detail_type in ALL]
    return [one for one in found if not json.loads(one.detail).get("willRetry")]


def deliver_again(operator: Operator, execution_id: str) -> None:
    """The bus delivers every event once more."""
    sqs, functions = operator.cloud.client("sqs"), operator.cloud.client("lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName="dr-orchestrator-notify-people")["EventSourceMappings"]
    queue = sqs.get_queue_url(QueueName=mapping["EventSourceArn"].rpartition(":")[2])["QueueUrl"]
    for one in wanted(operator, execution_id):
        about = {"version": "0", "id": one.id, "account": "111111111111", "region": "us-west-2", "resources": []}
        event = {**about, "time": "2031-03-01T12:00:00Z", "source": one.source, "detail-type": one.detail_type}
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({**event, "detail": json.loads(one.detail)}))


def test_an_execution_is_one_thread_and_each_event_is_told_once(operator: Operator, workspace: Workspace) -> None:
    execution_id = operator.request()
    operator.decide(execution_id, "approve")
    assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
    events = wanted(operator, execution_id)
    operator.wait(lambda: True if len(posted(workspace, execution_id)) >= len(events) else None, f"{len(events)} messages in Slack")
    deliver_again(operator, execution_id)
    operator.quiet()
    (first, opening), *replies = posted(workspace, execution_id).items()
    assert "thread_ts" not in opening and replies and {one["thread_ts"] for _, one in replies} == {first}
    texts = Counter(one["text"] for one in posted(workspace, execution_id).values())
    assert set(texts.values()) == {1} and len(texts) == len(events)


def test_slack_that_fails_holds_no_execution_and_is_told_when_it_is_back(operator: Operator, workspace: Workspace) -> None:
    workspace.broken = "internal_error"
    try:
        execution_id = operator.request()
        operator.decide(execution_id, "approve")
        assert operator.finished(execution_id).status is ExecutionStatus.SUCCEEDED
        operator.wait(lambda: True if workspace.refusals else None, "Slack to be tried")
        assert posted(workspace, execution_id) == {}
    finally:
        workspace.broken = ""
    deliver_again(operator, execution_id)
    operator.wait(lambda: True if len(posted(workspace, execution_id)) >= len(wanted(operator, execution_id)) else None, "Slack to be told")
