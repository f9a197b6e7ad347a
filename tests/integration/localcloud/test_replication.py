"""Global tables: each write goes to the other Region by itself and later, the last one wins, and what is held up is what a loss leaves."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from localcloud.cloud import PRIMARY_REGION, STANDBY_REGION, LocalCloud


@pytest.fixture
def table(cloud: LocalCloud) -> Iterator[str]:
    """A table with a replica in the other Region."""
    name, dynamodb = f"global-{uuid4().hex[:8]}", cloud.client("dynamodb")
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=keys,
        AttributeDefinitions=[{"AttributeName": key["AttributeName"], "AttributeType": "S"} for key in keys],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    dynamodb.update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": PRIMARY_REGION}}])
    yield name
    cloud.replication.heal()


def put(cloud: LocalCloud, table: str, region: str, **values: str) -> None:
    """Write items in one transaction: sort key and value."""
    items = [{"Put": {"TableName": table, "Item": item(key, value)}} for key, value in values.items()]
    cloud.client("dynamodb", region).transact_write_items(TransactItems=items)


def item(key: str, value: str) -> dict[str, Any]:
    return {"pk": {"S": "it"}, "sk": {"S": key}, "value": {"S": value}}


def there(cloud: LocalCloud, table: str, region: str) -> dict[str, str]:
    """What a Region has: value by sort key."""
    found = cloud.client("dynamodb", region).scan(TableName=table, ConsistentRead=True)["Items"]
    return {one["sk"]["S"]: one["value"]["S"] for one in found}


def test_a_write_reaches_the_other_region_later_and_its_stream_tells_it(cloud: LocalCloud, table: str) -> None:
    cloud.replication.hold((), seconds=1.0)
    put(cloud, table, STANDBY_REGION, **{f"k{number}": "1" for number in range(20)})
    assert len(there(cloud, table, PRIMARY_REGION)) < 20, "not with the write"
    cloud.replication.settle()
    assert there(cloud, table, PRIMARY_REGION) == there(cloud, table, STANDBY_REGION) == {f"k{number}": "1" for number in range(20)}
    streams = cloud.client("dynamodbstreams", PRIMARY_REGION)
    (stream,) = streams.list_streams(TableName=table)["Streams"]
    (shard,) = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    start = streams.get_shard_iterator(StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=start["ShardIterator"])["Records"]
    assert sorted(record["dynamodb"]["Keys"]["sk"]["S"] for record in records) == sorted(f"k{number}" for number in range(20))


def test_of_a_transaction_the_items_that_are_held_up_stay_behind(cloud: LocalCloud, table: str) -> None:
    put(cloud, table, STANDBY_REGION, META="old", LAYER="old")
    cloud.replication.settle()
    cloud.replication.hold(["META"])
    put(cloud, table, STANDBY_REGION, META="new", LAYER="new")
    cloud.replication.settle()
    assert there(cloud, table, PRIMARY_REGION) == {"META": "old", "LAYER": "new"}, "torn"
    assert cloud.replication.status().stopped == 1
    cloud.replication.heal()
    assert there(cloud, table, PRIMARY_REGION) == {"META": "new", "LAYER": "new"}


def test_what_was_written_last_wins_in_both_regions_whatever_comes_last(cloud: LocalCloud, table: str) -> None:
    cloud.replication.hold()
    put(cloud, table, STANDBY_REGION, one="first")
    put(cloud, table, PRIMARY_REGION, one="last", two="here")
    put(cloud, table, STANDBY_REGION, two="last")
    assert there(cloud, table, STANDBY_REGION) == {"one": "first", "two": "last"}
    assert there(cloud, table, PRIMARY_REGION) == {"one": "last", "two": "here"}
    cloud.replication.heal()
    assert there(cloud, table, STANDBY_REGION) == there(cloud, table, PRIMARY_REGION) == {"one": "last", "two": "last"}


def test_a_deletion_is_a_write(cloud: LocalCloud, table: str) -> None:
    put(cloud, table, STANDBY_REGION, gone="1", kept="1")
    cloud.replication.settle()
    cloud.replication.hold(["kept"])
    for key in ("gone", "kept"):
        cloud.client("dynamodb").delete_item(TableName=table, Key={"pk": {"S": "it"}, "sk": {"S": key}})
    put(cloud, table, PRIMARY_REGION, kept="2")
    cloud.replication.heal()
    assert there(cloud, table, STANDBY_REGION) == there(cloud, table, PRIMARY_REGION) == {"kept": "2"}
