"""What the modules read from RDS, narrowed to what they decide on. Statuses are RDS's own words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dr_modules.base import Status

# What a switchover or failover under way shows as, besides the global cluster's FailoverState.
FAILING_OVER = frozenset({"failing-over", "switching-over", "promoting"})

_TERMINAL = frozenset(
    {
        "failed",
        "storage-full",
        "restore-error",
        "insufficient-capacity",
        "inaccessible-encryption-credentials",
        "inaccessible-encryption-credentials-recoverable",
        "stopped",
    }
)


@dataclass(frozen=True)
class Instance:
    """A DB instance."""

    id: str
    cluster: str
    instance_class: str
    status: str

    @property
    def health(self) -> Status:
        """How far it is from `available`."""
        return _health(f"instance {self.id}", self.status)


@dataclass(frozen=True)
class Cluster:
    """An Aurora DB cluster; `writer` is the instance that takes writes, `settings` what a cluster in its place must be given again.

    `protected`: it has deletion protection.
    """

    id: str
    arn: str
    status: str
    engine: str
    engine_version: str
    protected: bool
    members: tuple[str, ...]
    writer: str | None
    settings: Mapping[str, str]

    @property
    def health(self) -> Status:
        """How far it is from `available`."""
        return _health(f"cluster {self.id}", self.status)


@dataclass(frozen=True)
class Member:
    """A cluster of a global cluster."""

    arn: str
    is_writer: bool
    synchronization: str

    @property
    def region(self) -> str:
        """Where the cluster is."""
        return self.arn.split(":")[3]

    @property
    def id(self) -> str:
        """The cluster's identifier in its Region."""
        return self.arn.split(":")[-1]


@dataclass(frozen=True)
class GlobalCluster:
    """An Aurora global cluster; `failover_to` is the ARN that a running switchover or failover is heading for."""

    id: str
    status: str
    engine: str
    engine_version: str
    encrypted: bool
    members: tuple[Member, ...]
    failover_to: str | None
    failover_status: str

    @property
    def health(self) -> Status:
        """How far it is from `available`."""
        return _health(f"global cluster {self.id}", self.status)

    @property
    def writer(self) -> Member | None:
        """The cluster that takes writes."""
        return next((member for member in self.members if member.is_writer), None)

    def member(self, arn: str) -> Member | None:
        """The cluster with that ARN, if it belongs to the global cluster."""
        return next((member for member in self.members if member.arn == arn), None)


def find_instance(rds: Any, instance_id: str) -> Instance | None:
    """The instance, or None where RDS answers DBInstanceNotFound."""
    try:
        found = rds.describe_db_instances(DBInstanceIdentifier=instance_id)["DBInstances"]
    except rds.exceptions.DBInstanceNotFoundFault:
        return None
    return _instance(found[0])


def cluster_instances(rds: Any, cluster_id: str) -> Iterator[Instance]:
    """Every instance of a cluster, whatever its state."""
    filters = [{"Name": "db-cluster-id", "Values": [cluster_id]}]
    for page in rds.get_paginator("describe_db_instances").paginate(Filters=filters):
        yield from map(_instance, page["DBInstances"])


def find_cluster(rds: Any, cluster_id: str) -> Cluster | None:
    """The cluster, or None where RDS answers DBClusterNotFoundFault."""
    try:
        found = rds.describe_db_clusters(DBClusterIdentifier=cluster_id)["DBClusters"][0]
    except rds.exceptions.DBClusterNotFoundFault:
        return None
    members = found.get("DBClusterMembers", [])
    groups = [group["VpcSecurityGroupId"] for group in found.get("VpcSecurityGroups", [])]
    settings = {
        "DBSubnetGroupName": found.get("DBSubnetGroup", ""),
        "DBClusterParameterGroupName": found.get("DBClusterParameterGroup", ""),
        "KmsKeyId": found.get("KmsKeyId", ""),
        "VpcSecurityGroupIds": ",".join(groups),
    }
    return Cluster(
        id=cluster_id,
        arn=found["DBClusterArn"],
        status=found["Status"],
        engine=found["Engine"],
        engine_version=found["EngineVersion"],
        protected=bool(found.get("DeletionProtection")),
        members=tuple(member["DBInstanceIdentifier"] for member in members),
        writer=next((member["DBInstanceIdentifier"] for member in members if member.get("IsClusterWriter")), None),
        settings={key: value for key, value in settings.items() if value},
    )


def find_global(rds: Any, global_id: str) -> GlobalCluster | None:
    """The global cluster as this Region shows it, or None where RDS answers GlobalClusterNotFoundFault."""
    try:
        found = rds.describe_global_clusters(GlobalClusterIdentifier=global_id)["GlobalClusters"][0]
    except rds.exceptions.GlobalClusterNotFoundFault:
        return None
    failover = found.get("FailoverState") or {}
    return GlobalCluster(
        id=global_id,
        status=found["Status"],
        engine=found["Engine"],
        engine_version=found["EngineVersion"],
        encrypted=bool(found.get("StorageEncrypted")),
        members=tuple(
            Member(item["DBClusterArn"], bool(item.get("IsWriter")), item.get("SynchronizationStatus", ""))
            for item in found.get("GlobalClusterMembers", [])
        ),
        failover_to=failover.get("ToDbClusterArn", "unknown") if failover else None,
        failover_status=failover.get("Status", ""),
    )


def quotas(rds: Any) -> dict[str, tuple[int, int]]:
    """Of each quota of RDS in the Region, by its name such as `DBInstances`: how much is used, and the most that may be."""
    found = rds.describe_account_attributes()["AccountQuotas"]
    return {quota["AccountQuotaName"]: (quota["Used"], quota["Max"]) for quota in found}


def is_orderable(rds: Any, engine: str, engine_version: str, instance_class: str) -> bool:
    """Whether the Region offers the class for that engine, as it is now."""
    asked = {"Engine": engine, "EngineVersion": engine_version, "DBInstanceClass": instance_class}
    return bool(rds.describe_orderable_db_instance_options(**asked, MaxRecords=20)["OrderableDBInstanceOptions"])


def _instance(found: dict[str, Any]) -> Instance:
    return Instance(
        found["DBInstanceIdentifier"], found.get("DBClusterIdentifier", ""), found["DBInstanceClass"], found["DBInstanceStatus"]
    )


def _health(what: str, status: str) -> Status:
    """The status of what shall be `available`; a state that RDS may add later is in progress."""
    if status == "available":
        return Status.done(f"{what} is available")
    if status in _TERMINAL or status.startswith("incompatible-") or status.endswith("-failed"):
        remedy = "start it" if status == "stopped" else "mend it as its events in RDS say"
        return Status.failed(status, f"{what} is {status}: {remedy}, then retry")
    return Status.in_progress(f"{what} is {status}")
