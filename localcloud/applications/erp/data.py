"""The databases: an Aurora ledger, payroll on SQL Server, sessions in ElastiCache, a queue in MemoryDB, search in OpenSearch."""

import json
import time
from collections.abc import Callable
from typing import Any

from localcloud.cloud import PRIMARY_REGION, STANDBY_REGION, WORKLOAD_ACCOUNT, LocalCloud

LEDGER, PAYROLL, SESSIONS, QUEUE, SEARCH = "erp-ledger", "erp-payroll", "erp-sessions", "erp-queue", "erp-search"
_GLOBAL_LEDGER, _GLOBAL_SESSIONS = "erp-ledger-global", "erp-sessions-global"
_NETWORK = "erp"  # the name of every subnet group
_LEDGER_ENGINE, _LEDGER_CLASS = "aurora-mysql", "db.r6g.large"
_PASSWORD = "only-for-the-local-cloud"  # noqa: S105 - of an emulated database
_SHARDS = 2
_WAIT_SECONDS = 60.0


def create(cloud: LocalCloud) -> None:
    """Make all of it; what has to wait for something else comes last."""
    for region in (PRIMARY_REGION, STANDBY_REGION):
        _create_networks(cloud, region)
        _create_search(cloud, region, serving=region == PRIMARY_REGION)
    _create_first_sessions(cloud)
    _create_payroll(cloud)
    _create_ledger(cloud)
    _create_queue(cloud)
    _replicate_payroll(cloud)
    _replicate_sessions(cloud)


def observe(cloud: LocalCloud) -> dict[str, str]:
    """Which Region serves."""
    rds = _client(cloud, "rds", STANDBY_REGION)
    members = rds.describe_global_clusters(GlobalClusterIdentifier=_GLOBAL_LEDGER)["GlobalClusters"][0]["GlobalClusterMembers"]
    groups = _client(cloud, "elasticache", STANDBY_REGION).describe_global_replication_groups(ShowMemberInfo=True)
    primaries = [
        member["ReplicationGroupRegion"]
        for group in groups["GlobalReplicationGroups"]
        for member in group["Members"]
        if member["Role"] == "PRIMARY"
    ]
    writers = [member["DBClusterArn"].split(":")[3] for member in members if member["IsWriter"]]
    return {"ledger's writer": ", ".join(writers), "sessions' primary": ", ".join(primaries) or "none"}


def observe_region(cloud: LocalCloud, region: str) -> dict[str, str]:
    """What there is, and in what state."""
    rds, caches, queues = (_client(cloud, service, region) for service in ("rds", "elasticache", "memorydb"))
    instances = {one["DBInstanceIdentifier"]: one["DBInstanceStatus"] for one in rds.describe_db_instances()["DBInstances"]}
    backups = rds.describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"]
    replicated = [one["Status"] for one in backups if one["DBInstanceIdentifier"] == PAYROLL and one["Region"] != region]
    sessions = [one["Status"] for one in caches.describe_replication_groups()["ReplicationGroups"] if one["ReplicationGroupId"] == SESSIONS]
    queue = [one["Status"] for one in queues.describe_clusters()["Clusters"] if one["Name"] == QUEUE]
    exported = _client(cloud, "s3", region).list_objects_v2(Bucket=bucket(region), Prefix=f"queue/{QUEUE}-retired-")["KeyCount"]
    domain = _client(cloud, "opensearch", region).describe_domain(DomainName=SEARCH)["DomainStatus"]
    nodes, state = domain["ClusterConfig"]["InstanceCount"], domain["DomainProcessingStatus"]
    ledger = {name: status for name, status in instances.items() if name.startswith(LEDGER)}
    return {
        "ledger": ", ".join(f"{name} {status}" for name, status in sorted(ledger.items())) or "no instances",
        "payroll": instances.get(PAYROLL, "none"),
        "payroll's copied backups": ", ".join(sorted(replicated)) or "none",
        "sessions": ", ".join(sessions) or "none",
        "queue": ", ".join(queue) or "none",
        "queue's last export": f"{exported} of {_SHARDS} shards" if exported else "none",
        "search": f"{nodes} data nodes, {state}",
    }


def bucket(region: str) -> str:
    """The bucket with a Region's backups."""
    return f"erp-backups-{region}"


def _client(cloud: LocalCloud, service: str, region: str) -> Any:
    return cloud.client(service, region, WORKLOAD_ACCOUNT)


def _create_networks(cloud: LocalCloud, region: str) -> None:
    subnets = subnets_of(cloud, region)
    about = f"The network of the ERP system in {region}"
    _client(cloud, "rds", region).create_db_subnet_group(DBSubnetGroupName=_NETWORK, DBSubnetGroupDescription=about, SubnetIds=subnets)
    _client(cloud, "elasticache", region).create_cache_subnet_group(
        CacheSubnetGroupName=_NETWORK, CacheSubnetGroupDescription=about, SubnetIds=subnets
    )
    _client(cloud, "memorydb", region).create_subnet_group(SubnetGroupName=_NETWORK, SubnetIds=subnets)
    _client(cloud, "ssm", region).put_parameter(Name="/erp/subnets", Value=",".join(subnets), Type="StringList")


def subnets_of(cloud: LocalCloud, region: str) -> list[str]:
    """Two subnets, in different zones."""
    found = _client(cloud, "ec2", region).describe_subnets()["Subnets"]
    return [subnet["SubnetId"] for subnet in sorted(found, key=lambda subnet: str(subnet["AvailabilityZone"]))][:2]


def _security_group(cloud: LocalCloud, region: str) -> str:
    found = _client(cloud, "ec2", region).describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    return str(found[0]["GroupId"])


def _create_search(cloud: LocalCloud, region: str, *, serving: bool) -> None:
    masters = {"DedicatedMasterEnabled": True, "DedicatedMasterType": "m6g.large.search", "DedicatedMasterCount": 3}
    nodes = {"InstanceType": "r6g.large.search", "InstanceCount": 4 if serving else 2}
    zones = {"ZoneAwarenessEnabled": True, "ZoneAwarenessConfig": {"AvailabilityZoneCount": 2}}
    _client(cloud, "opensearch", region).create_domain(
        DomainName=SEARCH,
        EngineVersion="OpenSearch_2.17",
        ClusterConfig={**nodes, **zones, **(masters if serving else {})},
        EBSOptions={"EBSEnabled": True, "VolumeType": "gp3", "VolumeSize": 50},
        VPCOptions={"SubnetIds": subnets_of(cloud, region)},
    )


def _create_ledger(cloud: LocalCloud) -> None:
    primary, standby = (_client(cloud, "rds", region) for region in (PRIMARY_REGION, STANDBY_REGION))
    primary.create_global_cluster(GlobalClusterIdentifier=_GLOBAL_LEDGER, Engine=_LEDGER_ENGINE)
    member = {"DBClusterIdentifier": LEDGER, "Engine": _LEDGER_ENGINE, "GlobalClusterIdentifier": _GLOBAL_LEDGER}
    primary.create_db_cluster(**member, MasterUsername="admin", MasterUserPassword=_PASSWORD)
    standby.create_db_cluster(**member)
    for client, instances in ((primary, (f"{LEDGER}-1", f"{LEDGER}-2")), (standby, (f"{LEDGER}-1",))):
        for instance in instances:
            client.create_db_instance(
                DBInstanceIdentifier=instance, DBClusterIdentifier=LEDGER, DBInstanceClass=_LEDGER_CLASS, Engine=_LEDGER_ENGINE
            )


def _create_payroll(cloud: LocalCloud) -> None:
    _client(cloud, "rds", PRIMARY_REGION).create_db_instance(
        DBInstanceIdentifier=PAYROLL,
        Engine="sqlserver-se",
        LicenseModel="license-included",
        DBInstanceClass="db.m5.large",
        AllocatedStorage=100,
        MasterUsername="admin",
        MasterUserPassword=_PASSWORD,
        DBSubnetGroupName=_NETWORK,
        BackupRetentionPeriod=7,
        DeletionProtection=True,
    )
    settings = {
        "DBInstanceClass": "db.m5.large",
        "DBSubnetGroupName": _NETWORK,
        "VpcSecurityGroupIds": [_security_group(cloud, STANDBY_REGION)],
        "BackupRetentionPeriod": 7,
        "DeletionProtection": True,
    }
    _store(cloud, STANDBY_REGION, "/erp/payroll/config", json.dumps(settings))


def _replicate_payroll(cloud: LocalCloud) -> None:
    primary, standby = (_client(cloud, "rds", region) for region in (PRIMARY_REGION, STANDBY_REGION))

    def instance() -> Any:
        return primary.describe_db_instances(DBInstanceIdentifier=PAYROLL)["DBInstances"][0]

    _wait(lambda: instance()["DBInstanceStatus"], "available")
    standby.start_db_instance_automated_backups_replication(SourceDBInstanceArn=instance()["DBInstanceArn"])


def _create_first_sessions(cloud: LocalCloud) -> None:
    _client(cloud, "elasticache", PRIMARY_REGION).create_replication_group(
        ReplicationGroupId=SESSIONS,
        ReplicationGroupDescription="Sessions of the ERP system",
        Engine="valkey",
        CacheNodeType="cache.r7g.large",
        NumCacheClusters=2,
        AutomaticFailoverEnabled=True,
        MultiAZEnabled=True,
        CacheSubnetGroupName=_NETWORK,
    )


def _replicate_sessions(cloud: LocalCloud) -> None:
    primary, standby = (_client(cloud, "elasticache", region) for region in (PRIMARY_REGION, STANDBY_REGION))

    def group() -> Any:
        return primary.describe_replication_groups(ReplicationGroupId=SESSIONS)["ReplicationGroups"][0]

    _wait(lambda: group()["Status"], "available")
    made = primary.create_global_replication_group(GlobalReplicationGroupIdSuffix=_GLOBAL_SESSIONS, PrimaryReplicationGroupId=SESSIONS)[
        "GlobalReplicationGroup"
    ]["GlobalReplicationGroupId"]
    described = primary.describe_global_replication_groups
    _wait(lambda: described(GlobalReplicationGroupId=made)["GlobalReplicationGroups"][0]["Status"], "primary-only")
    standby.create_replication_group(
        ReplicationGroupId=SESSIONS,
        ReplicationGroupDescription="Sessions of the ERP system",
        GlobalReplicationGroupId=made,
        NumCacheClusters=2,
        AutomaticFailoverEnabled=True,
        MultiAZEnabled=True,
        CacheSubnetGroupName=_NETWORK,
    )
    endpoint = group()["NodeGroups"][0]["PrimaryEndpoint"]
    _store(cloud, STANDBY_REGION, "/erp/sessions/endpoint", f"{endpoint['Address']}:{endpoint['Port']}")


def _create_queue(cloud: LocalCloud) -> None:
    """A cluster where the system serves, and where it stands by a backup, as S3 replication would have brought it."""
    settings = {"NodeType": "db.r7g.large", "ACLName": "open-access", "NumShards": _SHARDS, "SubnetGroupName": _NETWORK}
    _client(cloud, "memorydb", PRIMARY_REGION).create_cluster(ClusterName=QUEUE, **settings)
    _store(cloud, STANDBY_REGION, "/erp/queue/config", json.dumps(settings))
    for region in (PRIMARY_REGION, STANDBY_REGION):
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3 = _client(cloud, "s3", region)
        s3.create_bucket(Bucket=bucket(region), **place)
        _store(cloud, region, "/erp/backup-bucket", bucket(region))
        for shard in range(1, _SHARDS + 1):
            s3.put_object(Bucket=bucket(region), Key=f"queue/{QUEUE}-hourly-{shard:04d}.rdb", Body=b"REDIS0011")


def _store(cloud: LocalCloud, region: str, name: str, value: str) -> None:
    _client(cloud, "ssm", region).put_parameter(Name=name, Value=value, Type="String")


def _wait(look: Callable[[], str], wanted: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while (seen := look()) != wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"still {seen}, not {wanted}, after {_WAIT_SECONDS:.0f} s")
        time.sleep(0.1)
