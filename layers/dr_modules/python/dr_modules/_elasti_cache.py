"""What the ElastiCache module reads, narrowed to what it decides on. Statuses and roles are ElastiCache's own words."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dr_modules.base import Status

PRIMARY, SECONDARY = "PRIMARY", "SECONDARY"

_AT_REST = frozenset({"available", "primary-only"})
_LAG = {"Namespace": "AWS/ElastiCache", "MetricName": "GlobalDatastoreReplicationLag"}
# AWS publishes a lag each minute, some minutes late.
_LAG_WINDOW = timedelta(minutes=10)
_SUCCESSOR = re.compile(r"-dr-[0-9a-z]{8}$")
_FULL_ID = re.compile(r"^[a-z]{5}-")


@dataclass(frozen=True)
class Endpoint:
    """Where applications write to."""

    address: str
    port: int

    def worded_like(self, present: str | None) -> str:
        """With its port, unless what stands in its place now is an address alone."""
        return self.address if present and ":" not in present else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Group:
    """A replication group; `datastore` is the id of the global datastore that it belongs to, empty if none."""

    id: str
    arn: str
    status: str
    datastore: str
    nodes: tuple[str, ...]
    endpoint: Endpoint | None
    automatic_failover: bool
    found: Mapping[str, Any]

    @property
    def health(self) -> Status:
        """How far it is from `available`."""
        what = f"replication group {self.id} is {self.status}"
        if self.status == "available":
            return Status.done(what)
        if self.status == "create-failed":
            return Status.failed(self.status, f"{what}: see its events in ElastiCache, delete it and retry")
        return Status.in_progress(what)


@dataclass(frozen=True)
class Member:
    """A replication group's place in a global datastore."""

    group: str
    region: str
    role: str
    status: str


@dataclass(frozen=True)
class Datastore:
    """A global datastore."""

    id: str
    status: str
    members: tuple[Member, ...]

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way, as far as it says itself."""
        return self.status in _AT_REST

    @property
    def health(self) -> Status:
        """How far it is from being at rest."""
        what = f"global datastore {self.id} is {self.status}"
        return Status.done(what) if self.at_rest else Status.in_progress(what)

    @property
    def primary(self) -> Member | None:
        """The member that takes writes."""
        return next((member for member in self.members if member.role == PRIMARY), None)

    @property
    def family(self) -> str:
        """The name that it shares with those that stood, or will stand, in its place."""
        return family(self.id)

    def member(self, group_id: str, region: str) -> Member | None:
        """A replication group's place in it."""
        return next((one for one in self.members if (one.group, one.region) == (group_id, region)), None)

    def primary_in(self, region: str) -> bool:
        """Whether that Region serves, and nothing is under way."""
        return self.at_rest and self.primary is not None and self.primary.region == region


def family(datastore_id: str) -> str:
    """The suffix of a global datastore's id, without the Region's prefix that AWS put before it and what `successor` put behind it."""
    return _SUCCESSOR.sub("", datastore_id.partition("-")[2])


def successor(name: str, execution_id: str) -> str:
    """Another suffix of the same family, for where the plain one is taken."""
    return f"{name}-dr-{re.sub('[^0-9a-z]', '0', execution_id.lower())[-8:].rjust(8, '0')}"


def is_called(datastore: Datastore, name: str) -> bool:
    """Whether a manifest's name means a global datastore: its id or its suffix."""
    return name in (datastore.id, datastore.family)


def is_kin(datastore: Datastore, name: str) -> bool:
    """Whether a manifest's name means a global datastore or one that stood in its place, whose id began with another Region's prefix."""
    return is_called(datastore, name) or (_FULL_ID.match(name) is not None and family(name) == datastore.family)


def find_group(cache: Any, group_id: str) -> Group | None:
    """The replication group, or None where ElastiCache answers ReplicationGroupNotFoundFault."""
    try:
        found = cache.describe_replication_groups(ReplicationGroupId=group_id)["ReplicationGroups"][0]
    except cache.exceptions.ReplicationGroupNotFoundFault:
        return None
    shards = found.get("NodeGroups") or [{}]
    endpoint = found.get("ConfigurationEndpoint") or shards[0].get("PrimaryEndpoint") or {}
    return Group(
        id=group_id,
        arn=found["ARN"],
        status=found["Status"],
        datastore=(found.get("GlobalReplicationGroupInfo") or {}).get("GlobalReplicationGroupId", ""),
        nodes=tuple(found.get("MemberClusters", [])),
        endpoint=Endpoint(endpoint["Address"], endpoint["Port"]) if endpoint.get("Address") else None,
        automatic_failover=found.get("AutomaticFailover") == "enabled",
        found=found,
    )


def find_datastore(cache: Any, datastore_id: str) -> Datastore | None:
    """The global datastore as this Region shows it, or None where ElastiCache answers GlobalReplicationGroupNotFoundFault."""
    try:
        answer = cache.describe_global_replication_groups(GlobalReplicationGroupId=datastore_id, ShowMemberInfo=True)
    except cache.exceptions.GlobalReplicationGroupNotFoundFault:
        return None
    return _datastore(answer["GlobalReplicationGroups"][0])


def datastores(cache: Any) -> Iterator[Datastore]:
    """Every global datastore that a Region shows."""
    for page in cache.get_paginator("describe_global_replication_groups").paginate(ShowMemberInfo=True):
        yield from map(_datastore, page["GlobalReplicationGroups"])


def _datastore(found: Mapping[str, Any]) -> Datastore:
    members = tuple(
        Member(one["ReplicationGroupId"], one["ReplicationGroupRegion"], one.get("Role", ""), one.get("Status", ""))
        for one in found.get("Members", [])
    )
    return Datastore(found["GlobalReplicationGroupId"], found["Status"], members)


def lag(cloudwatch: Any, group: Group, now: datetime) -> float | None:
    """Seconds by which a secondary is behind the primary, the most of all its series; None where CloudWatch has no recent datapoint.

    By which of its names a series is told apart (group, node, global datastore) is looked up: AWS does not document it.
    """
    names = {group.id, group.datastore, *group.nodes}
    series = [
        metric["Dimensions"]
        for page in cloudwatch.get_paginator("list_metrics").paginate(**_LAG)
        for metric in page["Metrics"]
        if any(dimension["Value"] in names for dimension in metric["Dimensions"])
    ]
    if not series:
        return None
    queries = [
        {"Id": f"lag{number}", "MetricStat": {"Metric": {**_LAG, "Dimensions": one}, "Period": 60, "Stat": "Maximum"}}
        for number, one in enumerate(series)
    ]
    answer = cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=now - _LAG_WINDOW, EndTime=now, ScanBy="TimestampDescending")
    return max((result["Values"][0] for result in answer["MetricDataResults"] if result["Values"]), default=None)


def settings(cache: Any, group: Group) -> dict[str, Any]:
    """What a replication group in the place of this one must be given again, as CreateReplicationGroup calls it.

    Without what a secondary has from its primary (engine, node type, shards, parameter group, encryption), which AWS refuses to be told.
    """
    found = group.found
    shards = found["NodeGroups"]
    node = cache.describe_cache_clusters(CacheClusterId=group.nodes[0])["CacheClusters"][0]
    tags = cache.list_tags_for_resource(ResourceName=group.arn)["TagList"]
    replicas = (
        {"ReplicasPerNodeGroup": len(shards[0]["NodeGroupMembers"]) - 1}
        if found.get("ClusterEnabled")
        else {"NumCacheClusters": len(group.nodes)}
    )
    named = {
        "ReplicationGroupDescription": found.get("Description"),
        "CacheSubnetGroupName": node.get("CacheSubnetGroupName"),
        "SecurityGroupIds": [one["SecurityGroupId"] for one in node.get("SecurityGroups", [])],
        "PreferredMaintenanceWindow": node.get("PreferredMaintenanceWindow"),
        "NotificationTopicArn": (node.get("NotificationConfiguration") or {}).get("TopicArn"),
        "Port": group.endpoint.port if group.endpoint else None,
        "SnapshotRetentionLimit": found.get("SnapshotRetentionLimit"),
        "SnapshotWindow": found.get("SnapshotWindow"),
        "KmsKeyId": found.get("KmsKeyId"),
        "UserGroupIds": found.get("UserGroupIds"),
        "NetworkType": found.get("NetworkType"),
        "IpDiscovery": found.get("IpDiscovery"),
        "Tags": tags,
    }
    flags = {
        "AutomaticFailoverEnabled": group.automatic_failover,
        "MultiAZEnabled": found.get("MultiAZ") == "enabled",
        "AutoMinorVersionUpgrade": found.get("AutoMinorVersionUpgrade", True),
    }
    return {**{key: value for key, value in named.items() if value}, **replicas, **flags}


# What `settings` may have stored: nothing else is passed on from SSM.
SETTINGS = frozenset(
    {
        "ReplicationGroupDescription",
        "CacheSubnetGroupName",
        "SecurityGroupIds",
        "PreferredMaintenanceWindow",
        "NotificationTopicArn",
        "Port",
        "SnapshotRetentionLimit",
        "SnapshotWindow",
        "KmsKeyId",
        "UserGroupIds",
        "NetworkType",
        "IpDiscovery",
        "Tags",
        "ReplicasPerNodeGroup",
        "NumCacheClusters",
        "AutomaticFailoverEnabled",
        "MultiAZEnabled",
        "AutoMinorVersionUpgrade",
    }
)
