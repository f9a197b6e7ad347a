"""MemoryDB clusters and their backups, as they stand before a story begins."""

import json
from datetime import timedelta
from typing import Any

from moto.s3.models import s3_backends

from dr_modules._memory_db_readings import MARK
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World

NAME = "prod-memorydb"
BUCKETS = {PRIMARY: "backups-east", STANDBY: "backups-west"}
CONFIG_KEY, ENDPOINT_KEY = "/prod/memorydb/config", "/prod/memorydb/endpoint"
CONFIGURATION = {"NodeType": "db.r6g.large", "ACLName": "open-access", "NumShards": 2, "Tags": [{"Key": "Team", "Value": "shop"}]}


def parameters(region: str = STANDBY, **more: Any) -> dict[str, Any]:
    """The manifest's parameters for a Region."""
    keys = {"ClusterConfigSSMKey": CONFIG_KEY, "ClusterEndpointSSMKey": ENDPOINT_KEY}
    return {"ClusterName": NAME, **keys, "BackupBucket": BUCKETS[region], "Prefix": "memorydb/", **more}


def bucket(world: World, region: str = STANDBY) -> Any:
    """The Region's bucket. Returns the client."""
    s3 = world.client("s3", region)
    place = {} if region == PRIMARY else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=BUCKETS[region], **place)
    return s3


def backup(world: World, name: str, parts: int = 2, age: int = 600, region: str = STANDBY) -> None:
    """An exported snapshot of so many shards, so many seconds old."""
    for shard in range(1, parts + 1):
        key = f"memorydb/{name}-{shard:04}.rdb"
        world.client("s3", region).put_object(Bucket=BUCKETS[region], Key=key, Body=b"REDIS0011")
        found: Any = s3_backends[ACCOUNT]["aws"].get_object(BUCKETS[region], key)
        found.last_modified -= timedelta(seconds=age)


def configure(world: World, region: str = STANDBY, **changed: Any) -> None:
    """The stored configuration of the Region's cluster."""
    value = json.dumps({**CONFIGURATION, **changed})
    world.client("ssm", region).put_parameter(Name=CONFIG_KEY, Value=value, Type="String", Overwrite=True)


def standby(world: World) -> None:
    """What a failover to the standby Region needs."""
    bucket(world)
    configure(world)
    backup(world, "hourly-1", age=4000)
    backup(world, "hourly-2")


def cluster(world: World, region: str, activated_by: str = "", **options: Any) -> Any:
    """A cluster, available. Returns the client."""
    memorydb = world.client("memorydb", region)
    tags = [{"Key": MARK, "Value": activated_by}] if activated_by else []
    settings = {"NodeType": "db.r6g.large", "ACLName": "open-access", "NumShards": 2, **options}
    settings["Tags"] = [*settings.get("Tags", []), *tags]
    memorydb.create_cluster(ClusterName=NAME, **settings)
    world.time.advance(120)
    return memorydb


def failed_over(world: World, **options: Any) -> Any:
    """The standby Region's cluster has taken over, the primary Region's is left. Returns the client there."""
    bucket(world, PRIMARY)
    cluster(world, STANDBY, activated_by="00EARLIER")
    return cluster(world, PRIMARY, **options)


def status(world: World, region: str) -> str | None:
    """The cluster's status, None where there is none."""
    found = world.client("memorydb", region).describe_clusters()["Clusters"]
    return str(found[0]["Status"]) if found else None


def keys(world: World, region: str) -> list[str]:
    """What is in the Region's bucket."""
    found = world.client("s3", region).list_objects_v2(Bucket=BUCKETS[region])
    return [item["Key"] for item in found.get("Contents", [])]


def stored(world: World, key: str, region: str = STANDBY) -> str:
    """The value of an SSM parameter."""
    return str(world.client("ssm", region).get_parameter(Name=key)["Parameter"]["Value"])
