"""MemoryDB: clusters and snapshots take time, exports are objects, and AWS's refusals are made."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.extension import clock, memorydb

from .conftest import Client

ACCOUNT, REGION, BUCKET = "123456789012", "us-west-2", "backups"
SETTINGS = {"NodeType": "db.r6g.large", "ACLName": "open-access"}


@pytest.fixture
def client(aws: Client) -> Any:
    return aws("memorydb", REGION)


@pytest.fixture
def s3(aws: Client) -> Any:
    made = aws("s3", REGION)
    made.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return made


@pytest.fixture
def cluster(client: Any, time: clock.ManualClock) -> Any:
    """An available cluster of two shards; the client."""
    client.create_cluster(ClusterName="orders", NumShards=2, **SETTINGS)
    time.advance(memorydb.CREATE_CLUSTER_SECONDS)
    return client


@pytest.fixture
def snapshot(cluster: Any, time: clock.ManualClock) -> Any:
    """An available snapshot of it; the client."""
    cluster.create_snapshot(ClusterName="orders", SnapshotName="nightly")
    time.advance(memorydb.SNAPSHOT_SECONDS)
    return cluster


def status(client: Any, name: str = "orders") -> str:
    return str(client.describe_clusters(ClusterName=name)["Clusters"][0]["Status"])


def snapshot_status(client: Any, name: str = "nightly") -> str:
    return str(client.describe_snapshots(SnapshotName=name)["Snapshots"][0]["Status"])


def keys(s3: Any) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def refused(call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    return str(error.value.response["Error"]["Code"])


def test_a_cluster_is_creating_then_available_then_deleting_then_gone(client: Any, time: clock.ManualClock) -> None:
    client.create_cluster(ClusterName="orders", **SETTINGS)
    assert status(client) == "creating"
    assert refused(client.delete_cluster, ClusterName="orders") == "InvalidClusterStateFault"
    time.advance(memorydb.CREATE_CLUSTER_SECONDS)
    assert status(client) == "available"
    client.delete_cluster(ClusterName="orders")
    assert status(client) == "deleting"
    assert refused(client.delete_cluster, ClusterName="orders") == "InvalidClusterStateFault"
    time.advance(memorydb.DELETE_CLUSTER_SECONDS)
    assert refused(client.describe_clusters, ClusterName="orders") == "ClusterNotFoundFault"
    assert refused(client.delete_cluster, ClusterName="orders") == "ClusterNotFoundFault"


def test_what_moto_drops_is_kept(client: Any) -> None:
    client.create_cluster(ClusterName="orders", NumReplicasPerShard=0, Engine="valkey", EngineVersion="7.2", IpDiscovery="ipv6", **SETTINGS)
    found = client.describe_clusters(ClusterName="orders", ShowShardDetails=True)["Clusters"][0]
    assert (found["Engine"], found["EngineVersion"], found["IpDiscovery"]) == ("valkey", "7.2", "ipv6")
    assert [shard["NumberOfNodes"] for shard in found["Shards"]] == [1]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ACLName": "missing"}, "ACLNotFoundFault"),
        ({"ParameterGroupName": "missing"}, "ParameterGroupNotFoundFault"),
        ({"SubnetGroupName": "missing"}, "SubnetGroupNotFoundFault"),
        ({"SnapshotName": "missing"}, "InvalidParameterValueException"),
        ({"SnapshotArns": ["arn:aws:s3:::backups/missing-0001.rdb"]}, "InvalidParameterValueException"),
        ({"SnapshotArns": ["arn:aws:s3:::no-such-bucket/a-0001.rdb"]}, "InvalidParameterValueException"),
        ({"SnapshotName": "a", "SnapshotArns": ["arn:aws:s3:::backups/a-0001.rdb"]}, "InvalidParameterCombinationException"),
        ({"TLSEnabled": False, "ACLName": "app"}, "InvalidParameterCombinationException"),
        ({"Tags": [{"Key": "aws:cloudformation:stack-name", "Value": "shop"}]}, "InvalidParameterValueException"),
    ],
)
def test_a_cluster_refers_to_what_is_there(client: Any, s3: Any, wrong: dict[str, Any], code: str) -> None:
    client.create_acl(ACLName="app", UserNames=["default"])
    assert refused(client.create_cluster, ClusterName="orders", **{**SETTINGS, **wrong}) == code


def test_a_cluster_is_created_from_objects_that_exist(client: Any, s3: Any, time: clock.ManualClock) -> None:
    s3.put_object(Bucket=BUCKET, Key="memorydb/a-0001.rdb", Body=b"REDIS0011")
    client.create_cluster(ClusterName="orders", SnapshotArns=[f"arn:aws:s3:::{BUCKET}/memorydb/a-0001.rdb"], **SETTINGS)
    time.advance(memorydb.CREATE_CLUSTER_SECONDS)
    assert status(client) == "available"


def test_a_cluster_from_a_snapshot_has_its_shards(snapshot: Any) -> None:
    snapshot.create_cluster(ClusterName="copy", SnapshotName="nightly", **SETTINGS)
    assert snapshot.describe_clusters(ClusterName="copy")["Clusters"][0]["NumberOfShards"] == 2


def test_a_snapshot_that_is_not_yet_available_restores_and_exports_nothing(cluster: Any, s3: Any) -> None:
    cluster.create_snapshot(ClusterName="orders", SnapshotName="nightly")
    assert refused(cluster.create_cluster, ClusterName="copy", SnapshotName="nightly", **SETTINGS) == "InvalidParameterValueException"
    export = {"SourceSnapshotName": "nightly", "TargetSnapshotName": "a", "TargetBucket": BUCKET}
    assert refused(cluster.copy_snapshot, **export) == "InvalidSnapshotStateFault"


def test_a_snapshot_takes_time_and_the_cluster_does_nothing_else(cluster: Any, time: clock.ManualClock) -> None:
    cluster.create_snapshot(ClusterName="orders", SnapshotName="nightly")
    assert (status(cluster), snapshot_status(cluster)) == ("snapshotting", "creating")
    assert refused(cluster.create_snapshot, ClusterName="orders", SnapshotName="other") == "InvalidClusterStateFault"
    assert refused(cluster.delete_cluster, ClusterName="orders") == "InvalidClusterStateFault"
    time.advance(memorydb.SNAPSHOT_SECONDS)
    assert (status(cluster), snapshot_status(cluster)) == ("available", "available")
    assert refused(cluster.create_snapshot, ClusterName="orders", SnapshotName="nightly") == "SnapshotAlreadyExistsFault"
    assert refused(cluster.create_snapshot, ClusterName="missing", SnapshotName="other") == "ClusterNotFoundFault"


def test_an_export_is_one_object_for_each_shard_after_a_while(snapshot: Any, s3: Any, time: clock.ManualClock) -> None:
    snapshot.copy_snapshot(SourceSnapshotName="nightly", TargetSnapshotName="memorydb/nightly", TargetBucket=BUCKET)
    assert (snapshot_status(snapshot), keys(s3)) == ("copying", [])
    time.advance(memorydb.COPY_SECONDS)
    assert snapshot_status(snapshot) == "available"
    assert keys(s3) == ["memorydb/nightly-0001.rdb", "memorydb/nightly-0002.rdb"]
    again = {"SourceSnapshotName": "nightly", "TargetSnapshotName": "memorydb/nightly", "TargetBucket": BUCKET}
    assert refused(snapshot.copy_snapshot, **again) == "InvalidParameterValueException"


@pytest.mark.parametrize(
    ("source", "bucket", "code"),
    [
        ("missing", BUCKET, "SnapshotNotFoundFault"),
        ("nightly", "no-such-bucket", "InvalidParameterValueException"),
        ("nightly", "in-the-east", "InvalidParameterValueException"),
    ],
)
def test_an_export_needs_a_snapshot_and_a_bucket_of_its_region(
    snapshot: Any, aws: Client, s3: Any, source: str, bucket: str, code: str
) -> None:
    aws("s3", "us-east-1").create_bucket(Bucket="in-the-east")
    assert refused(snapshot.copy_snapshot, SourceSnapshotName=source, TargetSnapshotName="a", TargetBucket=bucket) == code


def test_an_export_can_fail_and_leaves_nothing(snapshot: Any, s3: Any, time: clock.ManualClock) -> None:
    memorydb.fail_next(ACCOUNT, REGION, "CopySnapshot")
    snapshot.copy_snapshot(SourceSnapshotName="nightly", TargetSnapshotName="a", TargetBucket=BUCKET)
    time.advance(memorydb.COPY_SECONDS)
    assert (snapshot_status(snapshot), keys(s3)) == ("available", [])
    snapshot.copy_snapshot(SourceSnapshotName="nightly", TargetSnapshotName="a", TargetBucket=BUCKET)
    s3.delete_bucket(Bucket=BUCKET)
    time.advance(memorydb.COPY_SECONDS)
    assert snapshot_status(snapshot) == "available"


def test_a_copy_without_bucket_is_a_snapshot(snapshot: Any, time: clock.ManualClock) -> None:
    tags = [{"Key": "Team", "Value": "shop"}]
    arn = snapshot.copy_snapshot(SourceSnapshotName="nightly", TargetSnapshotName="kept", Tags=tags)["Snapshot"]["ARN"]
    assert snapshot_status(snapshot, "kept") == "creating"
    time.advance(memorydb.COPY_SECONDS)
    assert snapshot_status(snapshot, "kept") == "available"
    assert snapshot.list_tags(ResourceArn=arn)["TagList"] == tags
    assert refused(snapshot.copy_snapshot, SourceSnapshotName="nightly", TargetSnapshotName="kept") == "SnapshotAlreadyExistsFault"


def test_a_final_snapshot_is_taken_and_outlives_the_cluster(snapshot: Any, time: clock.ManualClock) -> None:
    assert refused(snapshot.delete_cluster, ClusterName="orders", FinalSnapshotName="nightly") == "SnapshotAlreadyExistsFault"
    snapshot.delete_cluster(ClusterName="orders", FinalSnapshotName="last")
    assert snapshot_status(snapshot, "last") == "creating"
    time.advance(memorydb.DELETE_CLUSTER_SECONDS)
    assert snapshot_status(snapshot, "last") == "available"
    found = snapshot.describe_snapshots(ClusterName="orders", ShowDetail=True)["Snapshots"]
    assert [(one["Name"], len(one["ClusterConfiguration"]["Shards"])) for one in found] == [("nightly", 2), ("last", 2)]
    assert snapshot.describe_snapshots(ClusterName="orders", Source="system")["Snapshots"] == []
    assert refused(snapshot.describe_snapshots, SnapshotName="missing") == "SnapshotNotFoundFault"


@pytest.mark.parametrize(("restored", "ends_as"), [(False, "create-failed"), (True, "restore-failed")])
def test_a_creation_can_fail_and_what_failed_can_be_deleted(snapshot: Any, time: clock.ManualClock, restored: bool, ends_as: str) -> None:
    memorydb.fail_next(ACCOUNT, REGION, "CreateCluster")
    snapshot.create_cluster(ClusterName="copy", **SETTINGS, **({"SnapshotName": "nightly"} if restored else {}))
    time.advance(memorydb.CREATE_CLUSTER_SECONDS)
    assert status(snapshot, "copy") == ends_as
    snapshot.delete_cluster(ClusterName="copy")
    assert status(snapshot, "copy") == "deleting"


def test_what_clusters_refer_to_is_described(client: Any) -> None:
    client.create_acl(ACLName="app", UserNames=["default"])
    client.create_parameter_group(ParameterGroupName="tuned", Family="memorydb_redis7")
    client.create_cluster(ClusterName="orders", ParameterGroupName="tuned", **{**SETTINGS, "ACLName": "app"})
    assert client.describe_acls(ACLName="app")["ACLs"][0]["Clusters"] == ["orders"]
    assert {acl["Name"] for acl in client.describe_acls()["ACLs"]} == {"open-access", "app"}
    assert client.describe_parameter_groups(ParameterGroupName="tuned")["ParameterGroups"][0]["Family"] == "memorydb_redis7"
    assert refused(client.describe_acls, ACLName="missing") == "ACLNotFoundFault"
    assert refused(client.describe_parameter_groups, ParameterGroupName="missing") == "ParameterGroupNotFoundFault"
    assert refused(client.create_acl, ACLName="app") == "ACLAlreadyExistsFault"
    assert refused(client.create_acl, ACLName="other", UserNames=["missing"]) == "UserNotFoundFault"
    taken = {"ParameterGroupName": "tuned", "Family": "memorydb_redis7"}
    assert refused(client.create_parameter_group, **taken) == "ParameterGroupAlreadyExistsFault"
    assert refused(client.create_parameter_group, ParameterGroupName="a", Family="redis9") == "InvalidParameterValueException"
