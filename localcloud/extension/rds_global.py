"""RDS: Aurora global clusters over two Regions, with switchover and failover that take time."""

from collections.abc import MutableMapping
from functools import partial
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.rds.exceptions import RDSClientError
from moto.rds.models import DBCluster, GlobalCluster, RDSBackend, rds_backends
from moto.rds.responses import RDSResponse

from localcloud.extension.agenda import agenda_of, replace

VERIFY_SECONDS: Final = 5.0
GLOBAL_FAILOVER_SECONDS: Final = 60.0
RESYNCHRONISE_SECONDS: Final = 120.0
REMOVE_SECONDS: Final = 20.0
DELETE_SECONDS: Final = 10.0

# moto keeps the global clusters of an account in one Region's backend.
_HOME_REGION: Final = "us-east-1"


class AuroraGlobalCluster(GlobalCluster):
    """A global cluster that knows what is happening to it."""

    def __init__(self, backend: RDSBackend, identifier: str, params: MutableMapping[str, Any], engine: str) -> None:
        super().__init__(
            backend=backend,
            global_cluster_identifier=identifier,
            engine=engine,
            engine_version=params.get("EngineVersion"),
            storage_encrypted=params.get("StorageEncrypted"),
            deletion_protection=params.get("DeletionProtection"),
        )
        self.database_name: str | None = params.get("DatabaseName")
        self.failover_state: dict[str, object] | None = None
        self.resynchronising: set[str] = set()

    @property
    def global_cluster_members(self) -> list[dict[str, Any]]:
        """The members as the model words them."""
        return [self._worded(member) for member in self.members]

    def writer(self) -> DBCluster | None:
        """The primary cluster."""
        return next((member for member in self.members if member.is_writer), None)

    def member(self, arn: str) -> DBCluster:
        """A member by its ARN; raises DBClusterNotFoundFault for any other cluster."""
        for member in self.members:
            if member.db_cluster_arn == arn:
                return member
        raise RDSClientError("DBClusterNotFoundFault", f"{arn} is not a member of global cluster {self.global_cluster_identifier}.")

    def check_idle(self) -> None:
        """Raise while another operation is under way."""
        if self.status != "available":
            raise RDSClientError(
                "InvalidGlobalClusterStateFault",
                f"Global cluster {self.global_cluster_identifier} is in {self.status} state.",
            )

    def move_writer(self, target: DBCluster, *, data_loss: bool) -> None:
        """Begin to make another member the writer."""
        source = self.writer()
        self.status = "failing-over" if data_loss else "switching-over"
        self.failover_state = {
            "Status": "pending",
            "FromDbClusterArn": source.db_cluster_arn if source else None,
            "ToDbClusterArn": target.db_cluster_arn,
            "IsDataLossAllowed": data_loss,
        }
        target.status = self.status
        if source is not None and not data_loss:
            source.status = self.status
        agenda = agenda_of(self.backend)
        agenda.after(VERIFY_SECONDS, partial(self.failover_state.update, Status="failing-over"))
        agenda.after(GLOBAL_FAILOVER_SECONDS, partial(self._finish_move, source, target, data_loss=data_loss))
        if source is not None and data_loss:
            agenda.after(GLOBAL_FAILOVER_SECONDS + RESYNCHRONISE_SECONDS, partial(self._finish_resynchronising, source))

    def _finish_move(self, source: DBCluster | None, target: DBCluster, *, data_loss: bool) -> None:
        for member in self.members:
            member.is_writer = member is target
        target.status = "available"
        if source is not None and data_loss:
            # Aurora rebuilds the former primary from the new one, as a secondary.
            source.status = "resynchronizing"
            self.resynchronising.add(source.db_cluster_arn)
        elif source is not None:
            source.status = "available"
        self.failover_state = None
        self.status = "available"

    def _finish_resynchronising(self, source: DBCluster) -> None:
        self.resynchronising.discard(source.db_cluster_arn)
        if source.status == "resynchronizing":
            source.status = "available"

    def detach(self, member: DBCluster) -> None:
        """Make a member a cluster of its own."""
        if member in self.members:
            self.members.remove(member)
        member.global_cluster_identifier = None
        member.is_writer = False
        member.status = "available"

    def _worded(self, member: DBCluster) -> dict[str, Any]:
        arn = member.db_cluster_arn
        words: dict[str, Any] = {
            "DBClusterArn": arn,
            "IsWriter": member.is_writer,
            "Readers": self.readers if member.is_writer else [],
            "SynchronizationStatus": "pending-resync" if arn in self.resynchronising else "connected",
        }
        if not member.is_writer:
            words["GlobalWriteForwardingStatus"] = "disabled"
        return words


def install() -> None:
    """Extend moto's RDS in this process; `rds.install` calls it."""
    replace(
        RDSResponse,
        create_global_cluster=create_global_cluster,
        delete_global_cluster=delete_global_cluster,
        describe_global_clusters=describe_global_clusters,
        failover_global_cluster=failover_global_cluster,
        modify_global_cluster=modify_global_cluster,
        remove_from_global_cluster=remove_from_global_cluster,
        switchover_global_cluster=switchover_global_cluster,
    )


def create_global_cluster(response: RDSResponse) -> ActionResult:
    """CreateGlobalCluster: empty, or around an existing cluster, which is its writer."""
    params = response.params
    identifier: str = params["GlobalClusterIdentifier"]
    if identifier in response.global_backend.global_clusters:
        raise RDSClientError("GlobalClusterAlreadyExistsFault", f"Global cluster {identifier} already exists.")
    source_arn: str | None = params.get("SourceDBClusterIdentifier")
    engine: str | None = params.get("Engine")
    if source_arn is None:
        if engine is None:
            raise RDSClientError("InvalidParameterValue", "Engine is required for a global cluster without a source cluster.")
        created = AuroraGlobalCluster(response.global_backend, identifier, params, engine)
    else:
        if engine is not None:
            raise RDSClientError("InvalidParameterCombination", "Engine is inherited from the source cluster.")
        created = _around(response, source_arn, identifier)
    response.global_backend.global_clusters[identifier] = created
    return ActionResult({"GlobalCluster": created})


def _around(response: RDSResponse, source_arn: str, identifier: str) -> AuroraGlobalCluster:
    source = _cluster_by_arn(response.current_account, source_arn)
    if source.global_cluster_identifier or source.status != "available":
        raise RDSClientError(
            "InvalidDBClusterStateFault",
            f"Cluster {source_arn} is in {source.status} state or part of a global cluster already.",
        )
    created = AuroraGlobalCluster(response.global_backend, identifier, response.params, source.engine)
    created.engine_version = source.engine_version
    created.storage_encrypted = source.storage_encrypted
    created.members.append(source)
    source.is_writer = True
    source.global_cluster_identifier = identifier
    return created


def describe_global_clusters(response: RDSResponse) -> ActionResult:
    """DescribeGlobalClusters: one by its identifier, or all."""
    if response.params.get("GlobalClusterIdentifier"):
        return ActionResult({"GlobalClusters": [_named(response)]})
    return ActionResult({"GlobalClusters": list(response.global_backend.global_clusters.values())})


def switchover_global_cluster(response: RDSResponse) -> ActionResult:
    """SwitchoverGlobalCluster: move the writer without loss; both sides must be healthy."""
    return _move_writer(response, data_loss=False)


def failover_global_cluster(response: RDSResponse) -> ActionResult:
    """FailoverGlobalCluster: with AllowDataLoss the old writer is not asked; else it is a switchover."""
    data_loss = bool(response.params.get("AllowDataLoss"))
    if data_loss and response.params.get("Switchover"):
        raise RDSClientError("InvalidParameterCombination", "AllowDataLoss and Switchover can't both be specified.")
    return _move_writer(response, data_loss=data_loss)


def _move_writer(response: RDSResponse, *, data_loss: bool) -> ActionResult:
    moved = _named(response)
    moved.check_idle()
    target = moved.member(response.params["TargetDbClusterIdentifier"])
    if target.is_writer:
        raise RDSClientError("InvalidDBClusterStateFault", f"{target.db_cluster_arn} is the primary cluster already.")
    source = moved.writer()
    for cluster in [target] if data_loss or source is None else [target, source]:
        if cluster.status != "available":
            raise RDSClientError("InvalidDBClusterStateFault", f"{cluster.db_cluster_arn} is in {cluster.status} state.")
    if not any(instance.status == "available" for instance in target.members):
        raise RDSClientError("InvalidDBClusterStateFault", f"{target.db_cluster_arn} has no available DB instance.")
    moved.move_writer(target, data_loss=data_loss)
    return ActionResult({"GlobalCluster": moved})


def remove_from_global_cluster(response: RDSResponse) -> ActionResult:
    """RemoveFromGlobalCluster: a secondary is promoted on its own; the writer leaves last."""
    left = _named(response)
    left.check_idle()
    member = left.member(response.params["DbClusterIdentifier"])
    if member.is_writer and len(left.members) > 1:
        raise RDSClientError("InvalidGlobalClusterStateFault", "The primary cluster cannot be removed while there are secondary clusters.")
    if member.status == "promoting":
        raise RDSClientError("InvalidDBClusterStateFault", f"{member.db_cluster_arn} is in promoting state.")
    member.status = "promoting"
    agenda_of(left.backend).after(REMOVE_SECONDS, partial(left.detach, member))
    return ActionResult({"GlobalCluster": left})


def modify_global_cluster(response: RDSResponse) -> ActionResult:
    """ModifyGlobalCluster: its name, its protection and its engine's version."""
    modified, params = _named(response), response.params
    modified.check_idle()
    known = response.global_backend.global_clusters
    renamed: str | None = params.get("NewGlobalClusterIdentifier")
    if renamed:
        if renamed in known:
            raise RDSClientError("GlobalClusterAlreadyExistsFault", f"Global cluster {renamed} already exists.")
        del known[modified.global_cluster_identifier]
        modified.global_cluster_identifier = renamed
        known[renamed] = modified
        for member in modified.members:
            member.global_cluster_identifier = renamed
    if params.get("DeletionProtection") is not None:
        modified.deletion_protection = bool(params["DeletionProtection"])
    if params.get("EngineVersion"):
        modified.engine_version = params["EngineVersion"]
    return ActionResult({"GlobalCluster": modified})


def delete_global_cluster(response: RDSResponse) -> ActionResult:
    """DeleteGlobalCluster: only an empty, unprotected one."""
    deleted = _named(response)
    deleted.check_idle()
    if deleted.deletion_protection:
        raise RDSClientError("InvalidParameterCombination", "Cannot delete protected Global Cluster.")
    if deleted.members:
        raise RDSClientError("InvalidGlobalClusterStateFault", f"Global Cluster {deleted.global_cluster_arn} is not empty")
    deleted.status = "deleting"
    forget = partial(response.global_backend.global_clusters.pop, deleted.global_cluster_identifier, None)
    agenda_of(deleted.backend).after(DELETE_SECONDS, forget)
    return ActionResult({"GlobalCluster": deleted})


def check_new_member(backend: RDSBackend, kwargs: MutableMapping[str, Any]) -> None:
    """Check, and complete from the global cluster, the request for a cluster that joins one; others pass."""
    identifier: str | None = kwargs.get("global_cluster_identifier")
    if not identifier:
        return
    joined = _find(backend.account_id, identifier)
    joined.check_idle()
    if kwargs.get("engine") != joined.engine:
        raise RDSClientError("InvalidParameterCombination", f"The engine of global cluster {identifier} is {joined.engine}.")
    if any(member.region == backend.region_name for member in joined.members):
        raise RDSClientError("InvalidGlobalClusterStateFault", f"{identifier} has a cluster in {backend.region_name} already.")
    if joined.members and kwargs.get("master_username"):
        raise RDSClientError("InvalidParameterCombination", "Cannot specify user name for cross region replication cluster")
    if not joined.members and not kwargs.get("master_username"):
        raise RDSClientError("InvalidParameterValue", "The parameter MasterUsername must be provided and must not be blank.")
    if not kwargs.get("engine_version"):
        kwargs["engine_version"] = joined.engine_version


def _named(response: RDSResponse) -> AuroraGlobalCluster:
    return _find(response.current_account, response.params["GlobalClusterIdentifier"])


def _find(account: str, identifier: str) -> AuroraGlobalCluster:
    found = rds_backends[account][_HOME_REGION].global_clusters.get(identifier)
    if not isinstance(found, AuroraGlobalCluster):
        raise RDSClientError("GlobalClusterNotFoundFault", f"Global cluster {identifier} not found")
    return found


def _cluster_by_arn(account: str, arn: str) -> DBCluster:
    region = arn.split(":")[3] if arn.count(":") >= 6 else ""
    known = rds_backends[account].get(region)
    cluster = known.clusters.get(arn.rpartition(":")[2]) if known else None
    if cluster is None:
        raise RDSClientError("DBClusterNotFoundFault", f"Source cluster {arn} could not be found.")
    return cluster
