"""What the phases of AuroraMySQL share: the manifest's words, the readings, and what must never be done."""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dr_core.errors import ErrorClass
from dr_core.phases import Mode, Phase
from dr_modules import _rds
from dr_modules.base import DRModule, Flag, Handle, ModuleParameters, Names, Status, Text

# RDS keeps identifiers in lower case.
RdsId = Annotated[Text, AfterValidator(str.lower)]
RdsIds = Annotated[Names, AfterValidator(lambda ids: tuple(one.lower() for one in ids))]


class AuroraMySQLParameters(ModuleParameters):
    """One Aurora cluster of a manifest resource. The last four are for a cluster that REPLICATE creates."""

    cluster: RdsId = Field(alias="DBClusterIdentifier", description="the target Region's cluster")
    instances: RdsIds = Field(
        alias="DBInstanceIdentifier",
        default=(),
        description="one instance or several: to create (INSTANTIATE), to delete (CLEANUP), that a new secondary shall have (REPLICATE); "
        "for ACTIVATE without a global cluster the one that shall be the writer",
    )
    global_cluster: RdsId | None = Field(
        alias="GlobalClusterIdentifier", default=None, description="the global cluster; needed for REPLICATE, and for ACTIVATE over Regions"
    )
    instance_class: str | None = Field(
        alias="DBInstanceClass",
        default=None,
        pattern=r"^db\.",
        description="class of new instances; without it that of the instance replaced, of the peer's writer (not in an unplanned run), "
        "or of another instance of the cluster",
    )
    force: Flag = Field(
        alias="Force",
        default=False,
        description="true: CLEANUP deletes the live side; REPLICATE replaces a cluster that has left the global cluster",
    )
    subnet_group: Text | None = Field(alias="DBSubnetGroupName", default=None, description="of a cluster that REPLICATE creates")
    security_groups: Names = Field(alias="VpcSecurityGroupIds", default=(), description="of a cluster that REPLICATE creates")
    parameter_group: Text | None = Field(
        alias="DBClusterParameterGroupName", default=None, description="of a cluster that REPLICATE creates"
    )
    kms_key: Text | None = Field(
        alias="KmsKeyId",
        default=None,
        description="of a cluster that REPLICATE creates, a key of its own Region; without it `alias/aws/rds`",
    )


class AuroraBase(DRModule[AuroraMySQLParameters]):
    """The lookups and the few changes that more than one phase makes."""

    def before(self, parameters: AuroraMySQLParameters) -> Mapping[str, object]:
        """The global writer, and the cluster's instances with their classes."""
        found = _rds.find_global(self.rds, parameters.global_cluster) if parameters.global_cluster else None
        instances = {one.id: one.instance_class for one in _rds.cluster_instances(self.rds, parameters.cluster)}
        return {"globalWriter": found.writer.arn if found and found.writer else None, "instances": instances}

    def guard(self, parameters: AuroraMySQLParameters) -> None:
        """Refuse a failover to a cluster without instances, and the removal of the live side or of data."""
        if self.run.phase is Phase.INSTANTIATE:
            self.class_of_missing(parameters)
        elif self.run.phase is Phase.ACTIVATE:
            if next(_rds.cluster_instances(self.rds, parameters.cluster), None) is None:
                raise self.error("NoInstances", f"cluster {parameters.cluster} has no instances: run INSTANTIATE first")
            self._refuse_out_of_sync(parameters)
        elif self.run.phase is Phase.CLEANUP:
            self._refuse_live_side(parameters)
        else:
            self._refuse_loss(parameters)
            self.class_of_missing(parameters)

    @cached_property
    def rds(self) -> Any:
        """RDS in the target Region."""
        return self.client("rds")

    def cluster(self, parameters: AuroraMySQLParameters) -> _rds.Cluster:
        """The target Region's cluster. Raises ModuleError when there is none."""
        cluster = _rds.find_cluster(self.rds, parameters.cluster)
        if cluster is None:
            message = f"there is no cluster {parameters.cluster} in {self.target.region}: correct DBClusterIdentifier, or run REPLICATE"
            raise self.error("DBClusterNotFoundFault", message)
        return cluster

    def global_cluster(self, global_id: str | None) -> _rds.GlobalCluster:
        """The global cluster as the target Region shows it. Raises ModuleError when there is none."""
        found = _rds.find_global(self.rds, global_id) if global_id else None
        if found is None:
            raise self.error("GlobalClusterNotFoundFault", f"there is no global cluster {global_id}: correct GlobalClusterIdentifier")
        return found

    def member(self, found: _rds.GlobalCluster, cluster: _rds.Cluster) -> _rds.Member:
        """The cluster's place in the global cluster. Raises ModuleError when it has none."""
        member = found.member(cluster.arn)
        if member is None:
            message = f"{cluster.arn} is not in global cluster {found.id}: add it with REPLICATE, or leave out GlobalClusterIdentifier"
            raise self.error("NotAMember", message)
        return member

    def instance(self, parameters: AuroraMySQLParameters, instance_id: str) -> _rds.Instance | None:
        """A listed instance, or None. Raises ModuleError when it belongs to another cluster."""
        instance = _rds.find_instance(self.rds, instance_id)
        if instance is not None and instance.cluster != parameters.cluster:
            owner = f"belongs to cluster {instance.cluster}" if instance.cluster else "belongs to no cluster"
            message = f"instance {instance_id} {owner}, not to {parameters.cluster}: correct DBInstanceIdentifier"
            raise self.error("WrongCluster", message)
        return instance

    def instances_available(self, parameters: AuroraMySQLParameters, cluster: _rds.Cluster) -> Status:
        """Done when each listed instance is `available` and a member of the cluster."""
        statuses = []
        for instance_id in parameters.instances:
            instance = self.instance(parameters, instance_id)
            if instance is None:
                statuses.append(Status.not_started(f"there is no instance {instance_id}"))
            elif instance.status == "available" and instance_id not in cluster.members:
                statuses.append(Status.in_progress(f"instance {instance_id} is not yet a member of {cluster.id}"))
            else:
                statuses.append(instance.health)
        return Status.combined(statuses)

    def class_of_missing(self, parameters: AuroraMySQLParameters) -> str:
        """The class for the listed instances that do not exist; empty if all do. Raises ModuleError when nothing tells it."""
        if all(self.instance(parameters, instance_id) for instance_id in parameters.instances):
            return ""
        found = parameters.instance_class or self.handle.get("DBInstanceClass") or self._class_of_peer_writer(parameters)
        existing = next(_rds.cluster_instances(self.rds, parameters.cluster), None)
        if not found and existing is None:
            message = f"nothing tells the class of the new instances of {parameters.cluster}: name DBInstanceClass in the manifest"
            raise self.error("UnknownInstanceClass", message)
        return found or (existing.instance_class if existing else "")

    def _class_of_peer_writer(self, parameters: AuroraMySQLParameters) -> str:
        if self.run.mode is not Mode.PLANNED or not parameters.global_cluster:
            return ""
        cluster = self.peer_writer(self.global_cluster(parameters.global_cluster))
        instance = _rds.find_instance(self.peer_client("rds"), cluster.writer) if cluster and cluster.writer else None
        return instance.instance_class if instance else ""

    def peer_writer(self, found: _rds.GlobalCluster) -> _rds.Cluster | None:
        """The cluster that takes writes, None where it is not in the other Region."""
        writer = found.writer
        if writer is None or writer.region != self.target.peer_region:
            return None
        return _rds.find_cluster(self.peer_client("rds"), writer.id)

    def create_missing(self, parameters: AuroraMySQLParameters, engine: str) -> None:
        """Create the listed instances that do not exist."""
        instance_class = self.class_of_missing(parameters)
        for instance_id in parameters.instances:
            if self.instance(parameters, instance_id) is not None:
                continue
            try:
                self.rds.create_db_instance(
                    DBInstanceIdentifier=instance_id,
                    DBClusterIdentifier=parameters.cluster,
                    DBInstanceClass=instance_class,
                    Engine=engine,
                )
            except self.rds.exceptions.DBInstanceAlreadyExistsFault:
                continue  # created since the look above; the check tells whose it is

    def delete_instance(self, instance: _rds.Instance) -> None:
        """Delete an instance of a cluster, unless it is going already."""
        if instance.status == "deleting":
            return
        # RDS refuses a final snapshot of a cluster's instance; automated backups would go by default.
        self.rds.delete_db_instance(DBInstanceIdentifier=instance.id, SkipFinalSnapshot=True, DeleteAutomatedBackups=False)

    def remove(self, cluster: _rds.Cluster) -> Handle:
        """Delete a cluster with its instances, keeping a final snapshot and its backups; returns what its successor needs."""
        instances = list(_rds.cluster_instances(self.rds, cluster.id))
        for instance in instances:
            self.delete_instance(instance)
        snapshot = re.sub(r"[^a-z0-9]+", "-", f"{cluster.id}-final-{self.run.execution_id}".lower()).strip("-")
        self.rds.delete_db_cluster(
            DBClusterIdentifier=cluster.id,
            SkipFinalSnapshot=False,
            FinalDBSnapshotIdentifier=snapshot,
            DeleteAutomatedBackups=False,
        )
        writer = next((one for one in instances if one.id == cluster.writer), None)
        return {**cluster.settings, **({"DBInstanceClass": writer.instance_class} if writer else {})}

    def secondary(self, parameters: AuroraMySQLParameters, found: _rds.GlobalCluster) -> dict[str, Any]:
        """The request for a secondary cluster: what the manifest names, else what a removed predecessor had, else RDS's defaults."""
        named = {
            "DBSubnetGroupName": parameters.subnet_group,
            "DBClusterParameterGroupName": parameters.parameter_group,
            "KmsKeyId": parameters.kms_key,
            "VpcSecurityGroupIds": ",".join(parameters.security_groups),
        }
        settings: dict[str, Any] = {key: value or self.handle.get(key) for key, value in named.items()}
        if settings["VpcSecurityGroupIds"]:
            settings["VpcSecurityGroupIds"] = settings["VpcSecurityGroupIds"].split(",")
        # A secondary is encrypted if the writer is, with a key of its own Region: RDS wants that named.
        key = settings.pop("KmsKeyId") or "alias/aws/rds"
        if found.encrypted:
            settings |= {"StorageEncrypted": True, "KmsKeyId": key}
        return {
            "DBClusterIdentifier": parameters.cluster,
            "GlobalClusterIdentifier": found.id,
            "Engine": found.engine,
            "EngineVersion": found.engine_version,
            **{key: value for key, value in settings.items() if value},
        }

    def _refuse_out_of_sync(self, parameters: AuroraMySQLParameters) -> None:
        """Refuse a switchover, which loses no data, while the secondary's copy is not the writer's."""
        if self.run.mode is not Mode.PLANNED or not parameters.global_cluster:
            return
        member = self.member(self.global_cluster(parameters.global_cluster), self.cluster(parameters))
        if member.synchronization == "pending-resync":
            message = f"{member.arn} waits to be synchronised again: retry when it is, or run unplanned and lose what it lacks"
            raise self.error("OutOfSync", message, ErrorClass.RETRYABLE)

    def _refuse_live_side(self, parameters: AuroraMySQLParameters) -> None:
        """Refuse to delete instances of the cluster that serves; `Force` in the manifest says that the operator knows."""
        cluster = None if parameters.force else _rds.find_cluster(self.rds, parameters.cluster)
        if cluster is None:
            return
        found = _rds.find_global(self.rds, parameters.global_cluster) if parameters.global_cluster else None
        if found is not None and found.failover_to is not None:
            message = f"a failover of {found.id} is {found.failover_status}: retry when it has ended"
            raise self.error("FailoverUnderWay", message, ErrorClass.RETRYABLE)
        member = found.member(cluster.arn) if found is not None else None
        if found is not None and member is not None:
            if found.writer is not None and not member.is_writer:
                return
            message = f"cluster {cluster.id} in {self.target.region} is the writer of {found.id}, or none is: fail over first"
            raise self.error("LiveSide", f'{message}, or set "Force": true to delete the live side')
        # Also one that has left its global cluster: so does a cluster that people promote by hand.
        if cluster.writer is not None:
            message = f"cluster {cluster.id} in {self.target.region} stands alone and its instance {cluster.writer} takes writes"
            raise self.error("LiveSide", f'{message}: name its GlobalClusterIdentifier, or set "Force": true to delete the live side')

    def _refuse_loss(self, parameters: AuroraMySQLParameters) -> None:
        """Refuse to replace a cluster whose data no other cluster holds."""
        found, cluster = self.global_cluster(parameters.global_cluster), _rds.find_cluster(self.rds, parameters.cluster)
        if found.writer is None:
            raise self.error("NoWriter", f"global cluster {found.id} has no writer to replicate from: fail over first")
        if cluster is None or found.member(cluster.arn) is not None or cluster.status == "creating" or parameters.force:
            return
        message = f"cluster {cluster.id} in {self.target.region} has left {found.id} and may hold data that {found.id} lacks"
        remedy = 'look at that data and delete the cluster, or set "Force": true to have it deleted with a final snapshot'
        raise self.error("Detached", f"{message}: {remedy}")
