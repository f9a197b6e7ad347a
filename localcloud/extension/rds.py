"""RDS: instances and clusters that take time to come and go, and the refusals that AWS makes and moto does not."""

from collections.abc import Iterable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final

from moto.core.base_backend import BaseBackend
from moto.core.responses import ActionResult, BaseResponse
from moto.rds.exceptions import RDSClientError
from moto.rds.models import DBCluster, DBInstance, DBInstanceClustered, RDSBackend, rds_backends
from moto.rds.responses import RDSResponse

from localcloud.extension import rds_backups, rds_global
from localcloud.extension.agenda import agenda_of, replace, settle_before_actions

CREATE_INSTANCE_SECONDS: Final = 60.0
DELETE_INSTANCE_SECONDS: Final = 30.0
CREATE_CLUSTER_SECONDS: Final = 30.0
DELETE_CLUSTER_SECONDS: Final = 30.0
FAILOVER_CLUSTER_SECONDS: Final = 30.0

_create_instance: Final = RDSBackend.create_db_instance
_delete_instance: Final = RDSBackend.delete_db_instance
_create_cluster: Final = RDSBackend.create_db_cluster
_save_cluster_backup: Final = DBCluster.save_automated_backup
_save_instance_backup: Final = DBInstance.save_automated_backup


def install() -> None:
    """Extend moto's RDS in this process."""
    settle_before_actions(RDSResponse, _backends)
    replace(DBCluster, status=property(_cluster_status, _set_cluster_status))
    replace(DBCluster, designate_writer=designate_writer, db_cluster_members=property(db_cluster_members))
    replace(DBCluster, save_automated_backup=save_automated_backup)
    replace(DBInstance, save_automated_backup=save_instance_backup)
    replace(RDSBackend, create_db_instance=create_db_instance, delete_db_instance=delete_db_instance)
    replace(RDSBackend, create_db_cluster=create_db_cluster, failover_db_cluster=failover_db_cluster)
    replace(RDSResponse, delete_db_cluster=delete_db_cluster)
    rds_global.install()
    rds_backups.install()


def _backends(response: BaseResponse) -> Iterable[BaseBackend]:
    """Every Region of the account: a global cluster acts in several."""
    return list(rds_backends[response.current_account].values())


# Instances


def create_db_instance(backend: RDSBackend, db_kwargs: MutableMapping[str, Any]) -> DBInstance:
    """CreateDBInstance: the instance is `creating` for a while; a cluster that is going away takes no more."""
    cluster = backend.clusters.get(db_kwargs.get("db_cluster_identifier") or "")
    if cluster is not None and cluster.status == "deleting":
        raise RDSClientError(
            "InvalidDBClusterStateFault",
            f"The requested DB instance cannot be created: cluster {cluster.db_cluster_identifier} is being deleted.",
        )
    rds_backups.check_quota(backend)
    instance = _create_instance(backend, db_kwargs)  # type: ignore[arg-type] # moto's own dictionary type
    instance.status = "creating"
    agenda_of(backend).after(CREATE_INSTANCE_SECONDS, partial(_become_available, instance))
    return instance


def delete_db_instance(
    backend: RDSBackend,
    db_instance_identifier: str,
    final_db_snapshot_identifier: str | None = None,
    skip_final_snapshot: bool | None = False,
    delete_automated_backups: bool | None = True,
) -> DBInstance:
    """DeleteDBInstance: the instance is `deleting` for a while; its final snapshot is taken or declined, never forgotten."""
    instance = backend.databases.get(db_instance_identifier)
    if instance is None:
        raise RDSClientError("DBInstanceNotFound", f"DBInstance {db_instance_identifier} not found.")
    if instance.status == "deleting":
        raise RDSClientError("InvalidDBInstanceState", f"Instance {db_instance_identifier} is already being deleted.")
    _check_final_snapshot(final_db_snapshot_identifier, bool(skip_final_snapshot), clustered=isinstance(instance, DBInstanceClustered))
    rds_backups.check_deletion(instance, skip_final_snapshot=bool(skip_final_snapshot))
    _delete_instance(backend, db_instance_identifier, final_db_snapshot_identifier, skip_final_snapshot, delete_automated_backups)
    backend.databases[db_instance_identifier] = instance
    rds_backups.instance_deleted(instance, final_db_snapshot_identifier, keep=delete_automated_backups is False)
    if isinstance(instance, DBInstanceClustered):
        instance.is_cluster_writer = False
    agenda_of(backend).after(DELETE_INSTANCE_SECONDS, partial(_forget, backend.databases, db_instance_identifier, instance))
    return instance


def _check_final_snapshot(final_snapshot: str | None, skip: bool, *, clustered: bool) -> None:
    """Raise unless exactly one of taking a final snapshot and skipping it is asked for; a cluster keeps its own."""
    code = "InvalidParameterCombination"
    if clustered:
        if final_snapshot:
            raise RDSClientError(code, "FinalDBSnapshotIdentifier can not be specified when deleting a cluster instance.")
    elif final_snapshot and skip:
        raise RDSClientError(code, "FinalDBSnapshotIdentifier can not be specified when SkipFinalSnapshot is enabled.")
    elif not final_snapshot and not skip:
        raise RDSClientError(code, "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")


# Clusters


def create_db_cluster(backend: RDSBackend, kwargs: MutableMapping[str, Any]) -> DBCluster:
    """CreateDBCluster: the cluster is `creating` for a while; one with a global cluster joins it as reader."""
    identifier: str = kwargs["db_cluster_identifier"]
    if identifier in backend.clusters:
        raise RDSClientError("DBClusterAlreadyExistsFault", f"DB Cluster {identifier} already exists")
    _check_groups(backend, kwargs)
    rds_global.check_new_member(backend, kwargs)
    cluster = _create_cluster(backend, kwargs)  # type: ignore[arg-type] # moto's own dictionary type
    agenda_of(backend).after(CREATE_CLUSTER_SECONDS, partial(_become_available, cluster))
    return cluster


def _check_groups(backend: RDSBackend, kwargs: Mapping[str, Any]) -> None:
    """Raise where a cluster is to be in a subnet group, or have a parameter group, that does not exist."""
    subnets: str | None = kwargs.get("db_subnet_group_name")
    if subnets and subnets != "default" and subnets not in backend.subnet_groups:
        raise RDSClientError("DBSubnetGroupNotFoundFault", f"DB subnet group '{subnets}' does not exist.")
    group: str | None = kwargs.get("db_cluster_parameter_group_name")
    if group and not group.startswith("default.") and group not in backend.db_cluster_parameter_groups:
        raise RDSClientError("DBClusterParameterGroupNotFound", f"DBClusterParameterGroup not found: {group}")


def delete_db_cluster(response: RDSResponse) -> ActionResult:
    """DeleteDBCluster: refused with instances, or as member of a global cluster; else `deleting` for a while."""
    backend = response.backend
    cluster = _cluster(backend, response.params["DBClusterIdentifier"])
    final_snapshot: str | None = response.params.get("FinalDBSnapshotIdentifier")
    identifier = cluster.db_cluster_identifier
    if cluster.deletion_protection:
        raise RDSClientError(
            "InvalidParameterCombination",
            "Cannot delete protected Cluster, please disable deletion protection and try again.",
        )
    if cluster.status == "deleting":
        raise RDSClientError("InvalidDBClusterStateFault", f"DB Cluster {identifier} is already being deleted.")
    if any(member.status != "deleting" for member in cluster._members):
        raise RDSClientError(
            "InvalidDBClusterStateFault",
            "Cluster cannot be deleted, it still contains DB instances in non-deleting state.",
        )
    if cluster.global_cluster_identifier:
        raise RDSClientError(
            "InvalidDBClusterStateFault",
            "This cluster is a part of a global cluster, please remove it from globalcluster first",
        )
    _check_final_snapshot(final_snapshot, bool(response.params.get("SkipFinalSnapshot")), clustered=False)
    if final_snapshot:
        backend.create_db_cluster_snapshot(identifier, final_snapshot)
    cluster.status = "deleting"
    agenda_of(backend).after(DELETE_CLUSTER_SECONDS, partial(_forget, backend.clusters, identifier, cluster))
    return ActionResult({"DBCluster": cluster})


def failover_db_cluster(backend: RDSBackend, db_cluster_identifier: str, target_db_instance_identifier: str | None = None) -> DBCluster:
    """FailoverDBCluster: another instance of the same cluster becomes the writer after a while."""
    cluster = _cluster(backend, db_cluster_identifier)
    if cluster.status != "available":
        raise RDSClientError(
            "InvalidDBClusterStateFault",
            f"DbCluster {db_cluster_identifier} is in {cluster.status} state but expected it to be available.",
        )
    readers = [member for member in cluster.members if not member.is_cluster_writer and member.status == "available"]
    if target_db_instance_identifier is not None:
        wanted = target_db_instance_identifier.lower()
        readers = [reader for reader in readers if reader.db_instance_identifier == wanted]
    if not readers:
        raise RDSClientError(
            "InvalidDBClusterStateFault",
            f"DB cluster {db_cluster_identifier} has no reader in a valid state to fail over to.",
        )
    cluster.status = "failing-over"
    agenda_of(backend).after(FAILOVER_CLUSTER_SECONDS, partial(_finish_failover, cluster, readers[0]))
    return cluster


def _finish_failover(cluster: DBCluster, target: DBInstanceClustered) -> None:
    if target.status == "available":
        cluster.failover(target)
    cluster.status = "available"


def _cluster(backend: RDSBackend, identifier_or_arn: str) -> DBCluster:
    cluster = backend.clusters.get(identifier_or_arn.rpartition(":")[2])
    if cluster is None:
        raise RDSClientError("DBClusterNotFoundFault", f"DBCluster {identifier_or_arn} not found.")
    return cluster


def _cluster_status(cluster: DBCluster) -> str:
    """moto's own would turn available by being looked at."""
    return cluster._status


def _set_cluster_status(cluster: DBCluster, value: str) -> None:
    cluster._status = value


def designate_writer(cluster: DBCluster) -> None:
    """Promote the instance of the lowest tier when there is no writer, but none that is going away."""
    staying = [member for member in cluster._members if member.status != "deleting"]
    if staying and not any(member.is_cluster_writer for member in staying):
        min(staying, key=lambda member: member.promotion_tier).is_cluster_writer = True


def db_cluster_members(cluster: DBCluster) -> list[Mapping[str, object]]:
    """The instances of a cluster; in a secondary cluster of a global cluster every one is a reader."""
    is_secondary = bool(cluster.global_cluster_identifier) and not cluster.is_writer
    return [
        {
            "DBInstanceIdentifier": member.db_instance_identifier,
            "IsClusterWriter": member.is_cluster_writer and not is_secondary,
            "DBClusterParameterGroupStatus": "in-sync",
            "PromotionTier": member.promotion_tier,
        }
        for member in cluster.members
    ]


def save_automated_backup(cluster: DBCluster) -> None:
    """Take the automated snapshot; moto names it by the minute and trips over a cluster that is created again in it."""
    prefix = f"rds:{cluster.db_cluster_identifier}-"
    for identifier in [known for known in cluster.backend.cluster_snapshots if known.startswith(prefix)]:
        del cluster.backend.cluster_snapshots[identifier]
    _save_cluster_backup(cluster)


def save_instance_backup(instance: DBInstance) -> None:
    """Take the automated snapshot of an instance; one of a cluster has none, its cluster does. The name is mended as for clusters."""
    if isinstance(instance, DBInstanceClustered):
        return
    prefix = f"rds:{instance.db_instance_identifier}-"
    for identifier in [known for known in instance.backend.database_snapshots if known.startswith(prefix)]:
        del instance.backend.database_snapshots[identifier]
    _save_instance_backup(instance)


def _become_available(resource: DBInstance | DBCluster) -> None:
    if resource.status == "creating":
        resource.status = "available"


def _forget(resources: MutableMapping[str, Any], identifier: str, resource: DBInstance | DBCluster) -> None:
    """Drop a resource, unless another has taken its name."""
    if resources.get(identifier) is resource:
        del resources[identifier]
