"""ElastiCache: replication groups over time, and global datastores over two Regions."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.elasticache.models import elasticache_backends

from localcloud.extension import clock, elasticache, elasticache_global

from .conftest import Client
from .test_cloudwatch import measured

ACCOUNT, EAST, WEST = "123456789012", "us-east-1", "us-west-2"
ID = "ldgnf-shop"
LAG = ("AWS/ElastiCache", "GlobalDatastoreReplicationLag")


def refused(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    return str(error.value.response["Error"]["Code"])


class Shop:
    """A global datastore with its primary in us-east-1 and a secondary in us-west-2."""

    def __init__(self, aws: Client, time: clock.ManualClock) -> None:
        self.east, self.west, self.time = aws("elasticache", EAST), aws("elasticache", WEST), time
        self.create(self.east, "east", CacheNodeType="cache.r7g.large", NumCacheClusters=2)
        self.east.create_global_replication_group(GlobalReplicationGroupIdSuffix="shop", PrimaryReplicationGroupId="east")
        time.advance(elasticache_global.CREATE_SECONDS)
        self.create(self.west, "west", GlobalReplicationGroupId=ID, NumCacheClusters=2)

    def create(self, cache: Any, name: str, **settings: Any) -> None:
        cache.create_replication_group(ReplicationGroupId=name, ReplicationGroupDescription="sessions", **settings)
        self.time.advance(elasticache.CREATE_SECONDS)

    def group(self, cache: Any, name: str) -> Any:
        return cache.describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]

    def described(self, cache: Any = None, datastore: str = ID) -> Any:
        found = (cache or self.west).describe_global_replication_groups(GlobalReplicationGroupId=datastore, ShowMemberInfo=True)
        return found["GlobalReplicationGroups"][0]

    def places(self) -> dict[str, tuple[str, str]]:
        return {one["ReplicationGroupId"]: (one["Role"], one["Status"]) for one in self.described(self.east)["Members"]}

    def fail_over(self, name: str = "west", region: str = WEST) -> None:
        self.west.failover_global_replication_group(GlobalReplicationGroupId=ID, PrimaryRegion=region, PrimaryReplicationGroupId=name)

    def leave(self, name: str = "west", region: str = WEST) -> None:
        self.west.disassociate_global_replication_group(GlobalReplicationGroupId=ID, ReplicationGroupId=name, ReplicationGroupRegion=region)


@pytest.fixture
def shop(aws: Client, time: clock.ManualClock) -> Shop:
    return Shop(aws, time)


# Replication groups


def test_a_group_is_created_with_its_nodes_and_host_names_in_time(aws: Client, time: clock.ManualClock) -> None:
    west = aws("elasticache", WEST)
    west.create_replication_group(ReplicationGroupId="Cache", ReplicationGroupDescription="x", NumCacheClusters=3)
    found = west.describe_replication_groups(ReplicationGroupId="cache")["ReplicationGroups"][0]
    assert (found["Status"], found["MemberClusters"]) == ("creating", ["cache-001", "cache-002", "cache-003"])
    assert ".usw2." in found["NodeGroups"][0]["PrimaryEndpoint"]["Address"]
    assert "GlobalReplicationGroupInfo" not in found
    assert refused(west.delete_replication_group, ReplicationGroupId="cache") == "InvalidReplicationGroupState"
    assert refused(west.modify_replication_group, ReplicationGroupId="cache", CacheNodeType="x") == "InvalidReplicationGroupState"
    time.advance(elasticache.CREATE_SECONDS)
    assert west.describe_replication_groups()["ReplicationGroups"][0]["Status"] == "available"


def test_several_shards_have_a_configuration_endpoint(aws: Client, time: clock.ManualClock) -> None:
    west = aws("elasticache", WEST)
    west.create_replication_group(ReplicationGroupId="c", ReplicationGroupDescription="x", NumNodeGroups=2, ReplicasPerNodeGroup=1)
    found = west.describe_replication_groups()["ReplicationGroups"][0]
    assert found["ClusterEnabled"]
    assert ".usw2." in found["ConfigurationEndpoint"]["Address"]
    assert [len(shard["NodeGroupMembers"]) for shard in found["NodeGroups"]] == [2, 2]


def test_nodes_are_clusters_of_their_own(aws: Client, time: clock.ManualClock) -> None:
    west, topic = aws("elasticache", WEST), f"arn:aws:sns:{WEST}:{ACCOUNT}:cache"
    options = {"SecurityGroupIds": ["sg-1"], "NotificationTopicArn": topic, "CacheParameterGroupName": "mine"}
    west.create_replication_group(ReplicationGroupId="c", ReplicationGroupDescription="x", **options)
    west.create_cache_cluster(CacheClusterId="lone", Engine="redis", CacheNodeType="cache.t4g.micro")
    node = west.describe_cache_clusters(CacheClusterId="c-001")["CacheClusters"][0]
    assert (node["ReplicationGroupId"], node["SecurityGroups"][0]["SecurityGroupId"]) == ("c", "sg-1")
    assert node["NotificationConfiguration"]["TopicArn"] == topic
    assert node["CacheParameterGroup"]["CacheParameterGroupName"] == "mine"
    assert [one["CacheClusterId"] for one in west.describe_cache_clusters()["CacheClusters"]] == ["lone", "c-001"]
    assert refused(west.describe_cache_clusters, CacheClusterId="c-002") == "CacheClusterNotFound"


def test_a_group_goes_in_time_and_leaves_its_final_snapshot(aws: Client, time: clock.ManualClock) -> None:
    west = aws("elasticache", WEST)
    west.create_replication_group(ReplicationGroupId="c", ReplicationGroupDescription="x")
    time.advance(elasticache.CREATE_SECONDS)
    west.delete_replication_group(ReplicationGroupId="c", FinalSnapshotIdentifier="last")
    assert west.describe_replication_groups()["ReplicationGroups"][0]["Status"] == "deleting"
    again = {"ReplicationGroupId": "c", "ReplicationGroupDescription": "x"}
    assert refused(west.create_replication_group, **again) == "ReplicationGroupAlreadyExists"
    time.advance(elasticache.DELETE_SECONDS)
    assert refused(west.describe_replication_groups, ReplicationGroupId="c") == "ReplicationGroupNotFoundFault"
    assert refused(west.delete_replication_group, ReplicationGroupId="c") == "ReplicationGroupNotFoundFault"
    assert [one["SnapshotName"] for one in west.describe_snapshots()["Snapshots"]] == ["last"]
    west.create_replication_group(**again)
    time.advance(elasticache.CREATE_SECONDS)
    assert refused(west.delete_replication_group, ReplicationGroupId="c", FinalSnapshotIdentifier="last") == "SnapshotAlreadyExistsFault"


def test_a_creation_can_be_made_to_fail_once(shop: Shop) -> None:
    shop.leave()
    shop.time.advance(elasticache_global.DISASSOCIATE_SECONDS)
    elasticache.fail_next_creation(ACCOUNT, WEST, "again")
    shop.create(shop.west, "again", GlobalReplicationGroupId=ID)
    assert shop.group(shop.west, "again")["Status"] == "create-failed"
    assert shop.described(shop.east)["Status"] == "primary-only"
    shop.west.delete_replication_group(ReplicationGroupId="again")
    shop.time.advance(elasticache.DELETE_SECONDS)
    shop.create(shop.west, "again", GlobalReplicationGroupId=ID)
    assert shop.places()["again"] == ("SECONDARY", "associated")


def test_missing_subnets_are_refused(aws: Client) -> None:
    named = {"ReplicationGroupId": "c", "ReplicationGroupDescription": "x", "CacheSubnetGroupName": "gone"}
    assert refused(aws("elasticache", WEST).create_replication_group, **named) == "CacheSubnetGroupNotFoundFault"


# Global datastores


def test_a_datastore_has_its_regions_prefix_and_is_alone_at_first(aws: Client, time: clock.ManualClock) -> None:
    west = aws("elasticache", WEST)
    west.create_replication_group(ReplicationGroupId="w", ReplicationGroupDescription="x", CacheNodeType="cache.r7g.large")
    create = west.create_global_replication_group
    wanted = {"GlobalReplicationGroupIdSuffix": "shop", "PrimaryReplicationGroupId": "w"}
    assert refused(create, **wanted) == "InvalidReplicationGroupState"
    time.advance(elasticache.CREATE_SECONDS)
    assert refused(create, **{**wanted, "PrimaryReplicationGroupId": "x"}) == "ReplicationGroupNotFoundFault"
    assert create(**wanted)["GlobalReplicationGroup"]["GlobalReplicationGroupId"] == "sgaui-shop"
    assert refused(west.delete_global_replication_group, GlobalReplicationGroupId="sgaui-shop", RetainPrimaryReplicationGroup=True) == (
        "InvalidGlobalReplicationGroupState"
    )
    statuses = []
    for _ in range(2):
        found = west.describe_global_replication_groups()["GlobalReplicationGroups"][0]
        group = west.describe_replication_groups()["ReplicationGroups"][0]
        statuses.append((found["Status"], "Members" in found, group["Status"], group["GlobalReplicationGroupInfo"]))
        time.advance(elasticache_global.CREATE_SECONDS)
    info = {"GlobalReplicationGroupId": "sgaui-shop", "GlobalReplicationGroupMemberRole": "PRIMARY"}
    assert statuses == [("creating", False, "modifying", info), ("primary-only", False, "available", info)]
    assert refused(create, **wanted) == "InvalidReplicationGroupState"
    assert refused(west.delete_replication_group, ReplicationGroupId="w") == "InvalidReplicationGroupState"


def test_a_suffix_is_taken_once_in_a_region_and_small_nodes_are_refused(shop: Shop) -> None:
    shop.create(shop.east, "other", CacheNodeType="cache.r7g.large")
    shop.create(shop.east, "small", CacheNodeType="cache.t4g.micro")
    create = shop.east.create_global_replication_group
    taken = refused(create, GlobalReplicationGroupIdSuffix="shop", PrimaryReplicationGroupId="other")
    assert taken == "GlobalReplicationGroupAlreadyExistsFault"
    assert shop.group(shop.east, "other")["Status"] == "available"
    assert refused(create, GlobalReplicationGroupIdSuffix="x", PrimaryReplicationGroupId="small") == "InvalidParameterValue"


def test_a_secondary_is_made_like_the_primary_and_replicates(shop: Shop, aws: Client) -> None:
    assert shop.places() == {"east": ("PRIMARY", "associated"), "west": ("SECONDARY", "associated")}
    assert shop.described()["Status"] == "available"
    assert shop.group(shop.west, "west")["CacheNodeType"] == "cache.r7g.large"
    node = {"CacheNodeId": "0001", "CacheClusterId": "west-001"}
    assert measured(aws, WEST, LAG, node)[0] == elasticache_global.LAG_SECONDS
    assert len(aws("cloudwatch", WEST).list_metrics(Namespace=LAG[0])["Metrics"]) == 1
    assert aws("cloudwatch", EAST).list_metrics(Namespace=LAG[0])["Metrics"] == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"GlobalReplicationGroupId": "ldgnf-gone"}, "GlobalReplicationGroupNotFoundFault"),
        ({"GlobalReplicationGroupId": ID}, "InvalidParameterValue"),  # the Region has a member
        ({"GlobalReplicationGroupId": ID, "EngineVersion": "7.1"}, "InvalidParameterCombination"),
        ({"GlobalReplicationGroupId": ID, "ReplicationGroupId": "west"}, "ReplicationGroupAlreadyExists"),
    ],
)
def test_who_may_not_join(shop: Shop, settings: dict[str, str], expected: str) -> None:
    request = {"ReplicationGroupId": "new", "ReplicationGroupDescription": "x", **settings}
    assert refused(shop.west.create_replication_group, **request) == expected
    assert set(shop.places()) == {"east", "west"}


def test_two_secondaries_are_the_most(shop: Shop, aws: Client) -> None:
    shop.create(aws("elasticache", "eu-west-1"), "ireland", GlobalReplicationGroupId=ID)
    request = {"ReplicationGroupId": "london", "ReplicationGroupDescription": "x", "GlobalReplicationGroupId": ID}
    assert refused(aws("elasticache", "eu-west-2").create_replication_group, **request) == "InvalidParameterValue"


def test_a_failover_moves_the_primary_when_it_ends(shop: Shop, aws: Client) -> None:
    shop.fail_over()
    assert (shop.described()["Status"], shop.group(shop.west, "west")["Status"]) == ("modifying", "modifying")
    assert shop.places()["east"][0] == "PRIMARY"
    assert refused(shop.fail_over) == "InvalidGlobalReplicationGroupState"
    shop.time.advance(elasticache_global.FAILOVER_SECONDS)
    assert shop.places() == {"east": ("SECONDARY", "associated"), "west": ("PRIMARY", "associated")}
    assert (shop.described()["Status"], shop.group(shop.west, "west")["Status"]) == ("available", "available")
    assert measured(aws, WEST, LAG, {"CacheClusterId": "west-001", "CacheNodeId": "0001"}) == []
    assert measured(aws, EAST, LAG, {"CacheClusterId": "east-001", "CacheNodeId": "0001"})


@pytest.mark.parametrize(("name", "region"), [("east", EAST), ("stranger", WEST), ("west", EAST)])
def test_the_primary_and_strangers_are_no_targets(shop: Shop, name: str, region: str) -> None:
    assert refused(shop.fail_over, name=name, region=region) == "InvalidParameterValue"
    assert refused(shop.leave, name=name, region=region) == "InvalidParameterValue"


def test_a_failover_needs_both_sides_healthy(shop: Shop) -> None:
    elasticache_backends[ACCOUNT][EAST].replication_groups["east"].status = "snapshotting"
    assert refused(shop.fail_over) == "InvalidGlobalReplicationGroupState"


def test_a_secondary_leaves_in_time_and_its_region_sees_the_datastore_no_more(shop: Shop, aws: Client) -> None:
    shop.leave()
    assert shop.places()["west"] == ("SECONDARY", "disassociating")
    assert shop.group(shop.west, "west")["Status"] == "modifying"
    assert measured(aws, WEST, LAG, {"CacheClusterId": "west-001", "CacheNodeId": "0001"}) == []
    assert refused(shop.leave) == "InvalidGlobalReplicationGroupState"
    shop.time.advance(elasticache_global.DISASSOCIATE_SECONDS)
    alone = shop.group(shop.west, "west")
    assert (alone["Status"], "GlobalReplicationGroupInfo" in alone) == ("available", False)
    assert shop.west.describe_global_replication_groups()["GlobalReplicationGroups"] == []
    assert refused(shop.described) == "GlobalReplicationGroupNotFoundFault"
    assert shop.described(shop.east)["Status"] == "primary-only"


def test_a_datastore_is_deleted_when_it_has_only_its_primary_which_stays(shop: Shop) -> None:
    delete = shop.east.delete_global_replication_group
    wanted = {"GlobalReplicationGroupId": ID, "RetainPrimaryReplicationGroup": True}
    assert refused(delete, **wanted) == "InvalidGlobalReplicationGroupState"
    shop.leave()
    shop.time.advance(elasticache_global.DISASSOCIATE_SECONDS)
    assert refused(delete, **{**wanted, "RetainPrimaryReplicationGroup": False}) == "InvalidParameterValue"
    delete(**wanted)
    assert shop.described(shop.east)["Status"] == "deleting"
    shop.time.advance(elasticache_global.DELETE_SECONDS)
    assert refused(delete, **wanted) == "GlobalReplicationGroupNotFoundFault"
    assert "GlobalReplicationGroupInfo" not in shop.group(shop.east, "east")
    shop.east.delete_replication_group(ReplicationGroupId="east")
