"""Redis over two Regions: what stands there before a story begins."""

from typing import Any

from tests.support.aws import PRIMARY, STANDBY, World

EAST, WEST = "redis-east", "redis-west"
SUFFIX, GLOBAL = "global-redis", "ldgnf-global-redis"
ENDPOINT_KEY, CONFIG_KEY = "/prod/redis/endpoint", "/prod/redis/config"
NAMES = {"GlobalClusterIdentifier": SUFFIX, "ClusterEndpointSSMKey": ENDPOINT_KEY, "ClusterConfigSSMKey": CONFIG_KEY}
IN_EAST, IN_WEST = {"DBClusterIdentifier": EAST, **NAMES}, {"DBClusterIdentifier": WEST, **NAMES}


def group(world: World, name: str, region: str, **settings: Any) -> None:
    """A replication group of two nodes in subnets of its own, available."""
    cache, ec2 = world.client("elasticache", region), world.client("ec2", region)
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    if "CacheSubnetGroups" in cache.describe_cache_subnet_groups() and not cache.describe_cache_subnet_groups()["CacheSubnetGroups"]:
        cache.create_cache_subnet_group(CacheSubnetGroupName="cache", CacheSubnetGroupDescription="cache", SubnetIds=subnets)
    settings = {"CacheSubnetGroupName": "cache", "SecurityGroupIds": ["sg-0123"], "NumCacheClusters": 2, **settings}
    if "GlobalReplicationGroupId" not in settings:
        settings = {"CacheNodeType": "cache.r7g.large", "Engine": "redis", "EngineVersion": "7.1", **settings}
    cache.create_replication_group(
        ReplicationGroupId=name, ReplicationGroupDescription="sessions", AutomaticFailoverEnabled=True, MultiAZEnabled=True, **settings
    )
    world.time.advance(120)


def datastore(world: World, **settings: Any) -> Any:
    """A global datastore: the primary in the primary Region, a secondary in the standby. Returns the standby's client."""
    group(world, EAST, PRIMARY, **settings)
    world.client("elasticache", PRIMARY).create_global_replication_group(
        GlobalReplicationGroupIdSuffix=SUFFIX, PrimaryReplicationGroupId=EAST
    )
    world.time.advance(60)
    group(world, WEST, STANDBY, GlobalReplicationGroupId=GLOBAL)
    return world.client("elasticache")


def failed_over(world: World) -> Any:
    """The primary is in the standby Region, the former primary is its secondary. Returns the primary Region's client."""
    west = datastore(world)
    west.failover_global_replication_group(GlobalReplicationGroupId=GLOBAL, PrimaryRegion=STANDBY, PrimaryReplicationGroupId=WEST)
    world.time.advance(120)
    return world.client("elasticache", PRIMARY)


def cut_off(world: World, recreate: bool = True) -> Any:
    """After an unplanned failover: each Region's group is a primary by itself. Returns the primary Region's client."""
    west = datastore(world)
    west.disassociate_global_replication_group(GlobalReplicationGroupId=GLOBAL, ReplicationGroupId=WEST, ReplicationGroupRegion=STANDBY)
    world.time.advance(120)
    if recreate:
        west.create_global_replication_group(GlobalReplicationGroupIdSuffix=SUFFIX, PrimaryReplicationGroupId=WEST)
        world.time.advance(120)
    return world.client("elasticache", PRIMARY)


def without_replica(world: World) -> Any:
    """The standby's group is the only one left of the global datastore. Returns the primary Region's client."""
    east = failed_over(world)
    east.disassociate_global_replication_group(GlobalReplicationGroupId=GLOBAL, ReplicationGroupId=EAST, ReplicationGroupRegion=PRIMARY)
    world.time.advance(60)
    east.delete_replication_group(ReplicationGroupId=EAST)
    world.time.advance(120)
    return east


def members(world: World, region: str = STANDBY) -> dict[str, dict[str, str]]:
    """The roles by replication group, of each global datastore that a Region shows."""
    found = world.client("elasticache", region).describe_global_replication_groups(ShowMemberInfo=True)["GlobalReplicationGroups"]
    return {one["GlobalReplicationGroupId"]: {each["ReplicationGroupId"]: each["Role"] for each in one["Members"]} for one in found}


def groups(world: World, region: str) -> dict[str, str]:
    """The Region's replication groups with their statuses."""
    found = world.client("elasticache", region).describe_replication_groups()["ReplicationGroups"]
    return {one["ReplicationGroupId"]: one["Status"] for one in found}


def stored(world: World, key: str, region: str = STANDBY) -> str | None:
    """The value of an SSM parameter."""
    found = world.client("ssm", region).get_parameters(Names=[key])["Parameters"]
    return found[0]["Value"] if found else None


def primary_endpoint(world: World, name: str = WEST, region: str = STANDBY) -> str:
    """The address and port that applications write to."""
    found = world.client("elasticache", region).describe_replication_groups(ReplicationGroupId=name)["ReplicationGroups"][0]
    endpoint = found.get("ConfigurationEndpoint") or found["NodeGroups"][0]["PrimaryEndpoint"]
    return f"{endpoint['Address']}:{endpoint['Port']}"
