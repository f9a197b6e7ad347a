"""What the MemoryDB module reads, narrowed to what it decides on: clusters, snapshots, backups in S3, and the stored configuration."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from dr_modules.base import Tags, Text

# The tag that ACTIVATE puts on a cluster: the id of its execution, a ULID, so that of two clusters the later one can be told.
MARK = "Orchestrator:ActivatedBy"

AVAILABLE = "available"
# Those in which a cluster takes writes: a snapshot or a change under way does not stop it.
SERVING = frozenset({AVAILABLE, "snapshotting", "updating"})

# "MemoryDB adds a shard identifier and .rdb to the value you enter": "Exporting a snapshot" of MemoryDB's developer guide.
_PART = re.compile(r"(?P<name>.+)-(?P<shard>\d{4})\.rdb")


# Members that DescribeClusters shows under the name, and in the form, in which CreateCluster takes them.
_ALIKE = (
    *(
        "NodeType",
        "ACLName",
        "SubnetGroupName",
        "ParameterGroupName",
        "Engine",
        "EngineVersion",
        "TLSEnabled",
        "NetworkType",
        "IpDiscovery",
    ),
    *("KmsKeyId", "AutoMinorVersionUpgrade", "MaintenanceWindow", "SnapshotWindow", "SnapshotRetentionLimit", "SnsTopicArn", "Description"),
)


class Configuration(BaseModel):
    """What CreateCluster is given besides name, tags of the run and source of the data: the members have its parameters' names."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_pascal)

    node_type: Text
    acl_name: Text = Field(alias="ACLName")
    num_shards: int = Field(ge=1)
    num_replicas_per_shard: int = Field(default=1, ge=0)
    subnet_group_name: Text | None = None
    security_group_ids: list[Text] | None = None
    parameter_group_name: Text | None = None
    engine: Text | None = None
    engine_version: Text | None = None
    tls_enabled: bool = Field(alias="TLSEnabled", default=True)
    port: int | None = None
    network_type: Text | None = None
    ip_discovery: Text | None = None
    kms_key_id: Text | None = None
    data_tiering: bool = False
    auto_minor_version_upgrade: bool = True
    maintenance_window: Text | None = None
    snapshot_window: Text | None = None
    snapshot_retention_limit: int = Field(default=0, ge=0)
    sns_topic_arn: Text | None = None
    description: Text | None = None
    tags: Tags = {}

    @classmethod
    def of(cls, found: Mapping[str, Any], tags: Mapping[str, str]) -> Self:
        """The configuration of a cluster as DescribeClusters shows it, with shard details. AWS's own tags and the mark are left out."""
        return cls.model_validate(
            {key: found[key] for key in _ALIKE if found.get(key) not in (None, "")}
            | {
                "NumShards": found["NumberOfShards"],
                "NumReplicasPerShard": max((shard["NumberOfNodes"] for shard in found.get("Shards", [])), default=1) - 1,
                "Port": found.get("ClusterEndpoint", {}).get("Port"),
                "DataTiering": found.get("DataTiering") == "true",
                "SecurityGroupIds": [group["SecurityGroupId"] for group in found.get("SecurityGroups", [])] or None,
                "Tags": {key: value for key, value in tags.items() if key != MARK and not key.startswith("aws:")},
            }
        )

    def parameters(self) -> dict[str, Any]:
        """The parameters of CreateCluster, without tags."""
        return self.model_dump(by_alias=True, exclude_none=True, exclude={"tags"})

    def document(self) -> str:
        """The JSON that is stored."""
        return json.dumps({**self.parameters(), "Tags": tag_list(self.tags)}, indent=1)


@dataclass(frozen=True)
class Cluster:
    """A cluster; `address` and `port` are its endpoint, known once it is created. `found` is the whole answer."""

    name: str
    arn: str
    status: str
    address: str
    port: int | None
    multi_region: bool
    data_tiering: bool
    found: Mapping[str, Any]

    def endpoint_like(self, present: str | None) -> str:
        """The endpoint with its port, unless what stands in its place now is an address alone."""
        return self.address if present and ":" not in present else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in MemoryDB; `shards` is 0 and `taken_at`, that of its oldest shard, None where MemoryDB does not tell yet."""

    name: str
    status: str
    shards: int
    taken_at: datetime | None


@dataclass(frozen=True)
class Backup:
    """The objects in S3 that are one exported snapshot; `name` is what precedes the shards' numbers, with the prefix."""

    name: str
    parts: tuple[str, ...]
    taken_at: datetime


def find_cluster(memorydb: Any, name: str) -> Cluster | None:
    """The cluster, or None where MemoryDB answers ClusterNotFoundFault."""
    try:
        found = memorydb.describe_clusters(ClusterName=name, ShowShardDetails=True)["Clusters"][0]
    except memorydb.exceptions.ClusterNotFoundFault:
        return None
    endpoint = found.get("ClusterEndpoint", {})
    return Cluster(
        name=found["Name"],
        arn=found["ARN"],
        status=found["Status"],
        address=endpoint.get("Address", ""),
        port=endpoint.get("Port"),
        multi_region=bool(found.get("MultiRegionClusterName")),
        data_tiering=found.get("DataTiering") == "true",
        found=found,
    )


def tags_of(memorydb: Any, cluster: Cluster) -> dict[str, str]:
    """A cluster's tags."""
    return {tag["Key"]: tag.get("Value", "") for tag in memorydb.list_tags(ResourceArn=cluster.arn)["TagList"]}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as MemoryDB takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def snapshots(memorydb: Any, cluster: str) -> Iterator[Snapshot]:
    """Every snapshot of the cluster of that name in the Region; those that were taken by hand outlive the cluster."""
    for page in memorydb.get_paginator("describe_snapshots").paginate(ClusterName=cluster, ShowDetail=True):
        for found in page["Snapshots"]:
            configuration = found.get("ClusterConfiguration", {})
            shards = configuration.get("Shards", [])
            times = [shard["SnapshotCreationTime"] for shard in shards if "SnapshotCreationTime" in shard]
            yield Snapshot(found["Name"], found["Status"], configuration.get("NumShards", len(shards)), min(times, default=None))


def backups(s3: Any, bucket: str, prefix: str) -> list[Backup]:
    """The exported snapshots under a prefix, complete or not, the newest first.

    A backup is as old as its oldest part. A replica in another Region's bucket keeps the time of the original.
    """
    parts: dict[str, dict[str, datetime]] = defaultdict(dict)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            match = _PART.fullmatch(item["Key"])
            if match and item["Size"] > 0:
                parts[match["name"]][item["Key"]] = item["LastModified"]
    found = [Backup(name, tuple(sorted(times)), min(times.values())) for name, times in parts.items()]
    return sorted(found, key=lambda backup: (backup.taken_at, backup.name), reverse=True)


def complete(found: list[Backup], shards: int) -> list[Backup]:
    """Those of `found`, newest first, that have an object for each shard.

    S3 does not tell how many shards a backup had. It needs as many objects as the configuration has shards, and no fewer than the backup
    before it: a configuration that is older than the latest shards must not let half a backup pass for a whole one. (After shards were
    removed, that passes over one backup.)
    """
    sizes = [len(backup.parts) for backup in found]
    return [backup for place, backup in enumerate(found) if sizes[place] >= max([shards, *sizes[place + 1 : place + 2]])]
