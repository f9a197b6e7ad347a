"""What the table's stream means to the bus, from the records that the stream really has."""

from typing import Any

import boto3
import pytest
from botocore.config import Config

from dr_core.changes import Entry, to_publish
from tests.support.control_plane import HOME, OTHER, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.state_table import TABLE_NAME


def stream(cloud: Cloud) -> list[dict[str, Any]]:
    """All records of the table's stream so far."""
    client = boto3.client("dynamodbstreams", config=Config(account_id_endpoint_mode="disabled"))  # moto knows no other address
    arn = boto3.client("dynamodb").describe_table(TableName=TABLE_NAME)["Table"]["LatestStreamArn"]
    shard = client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    start = client.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    return [dict(record) for record in client.get_records(ShardIterator=start)["Records"]]


def test_each_new_event_goes_out_once_and_nothing_else(cloud: Cloud) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    found = [entry for record in stream(cloud) if (entry := to_publish(record, HOME))]
    assert [(entry.source, entry.detail_type) for entry in found] == [("dr.execution", "Execution Requested")]
    assert [entry.detail for entry in found] == [entry.detail for entry in cloud.table.timeline(an_execution().id)]
    assert all(entry.sequence_number for entry in found)
    assert {to_publish(record, OTHER) for record in stream(cloud)} == {None}


IMAGE = {
    "pk": {"S": "EXEC#e1"},
    "sk": {"S": "EVT#01X"},
    "trace_header": {"S": "Root=1"},
    "home": {"S": HOME},
    "source": {"S": "dr.layer"},
    "detail_type": {"S": "Layer Started"},
    "detail": {"S": "{}"},
}


def record(event_name: str = "INSERT", **changed: str) -> dict[str, object]:
    image = {**IMAGE, **{name: {"S": value} for name, value in changed.items()}}
    return {"eventName": event_name, "dynamodb": {"SequenceNumber": "7", "NewImage": image}}


def test_the_trace_of_whoever_stored_an_event_goes_on_behind_the_stream(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;Lineage=1:a87bd80c:16")
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    (entry,) = [entry for record in stream(cloud) if (entry := to_publish(record, HOME))]
    assert entry.trace_header == "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", "without the count of loops"
    assert entry.execution_id == an_execution().id


def test_without_a_trace_there_is_no_header(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    assert [entry.trace_header for record in stream(cloud) if (entry := to_publish(record, HOME))] == [""]


def test_an_outbox_item_becomes_an_event() -> None:
    assert to_publish(record(), HOME) == Entry("7", "dr.layer", "Layer Started", "{}", "e1", "Root=1")


@pytest.mark.parametrize(
    "stale",
    [
        record("MODIFY"),
        record("REMOVE"),
        record(sk="META"),
        record(sk="RES#EVT#"),
        record(home=OTHER),
        {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "7"}},
        {"eventName": "INSERT", "dynamodb": {"SequenceNumber": "7"}},
        {"eventName": "INSERT", "dynamodb": None},
    ],
)
def test_everything_else_is_none(stale: dict[str, object]) -> None:
    assert to_publish(stale, HOME) is None
