"""AuroraMySQL: readers ahead of a failover, the failover itself, removal of the old side's instances, and a new secondary.

INSTANTIATE creates the instances that the target Region's cluster lacks. ACTIVATE makes that cluster the writer of its global cluster:
`switchover_global_cluster` in a planned run, `failover_global_cluster` with AllowDataLoss in an unplanned one; without a global cluster
`failover_db_cluster` to a listed instance. CLEANUP deletes the listed instances in the Region left behind, and refuses while that Region
holds the writer. REPLICATE makes this Region's cluster a secondary again; a cluster that has left the global cluster holds data of its
own and is replaced only with `"Force": true`, after a final snapshot. That takes three steps, each begun when the one before it is seen
to be done: remove the cluster, create the secondary, create its instances.

After a drill, CLEANUP deletes the listed instances that were not there before it; never one that takes writes.

Ahead of a failover the lag is measured in the target Region: the secondary's AuroraGlobalDBReplicationLag and AuroraGlobalDBRPOLag.

Calls go to the target Region. A planned run also asks the peer, for the writer's class where the manifest names no DBInstanceClass and
for the writer's health ahead of a phase; CLEANUP does so in every mode, since there the peer is the Region that serves.
Instances of a cluster cannot have a final snapshot of their own: the data is the cluster's, and its backups stay.

Example manifest resource:

    {
      "action": "AuroraMySQL",
      "resourceName": "production-database",
      "parameters": {
        "DBClusterIdentifier": "aurora-prod-cluster",
        "DBInstanceIdentifier": ["aurora-prod-reader-1", "aurora-prod-reader-2"],
        "GlobalClusterIdentifier": "global-aurora-cluster"
      }
    }
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

from dr_core.phases import Mode, Phase
from dr_modules import _rds
from dr_modules._aurora import AuroraMySQLParameters
from dr_modules._aurora_preflight import AuroraPreflight
from dr_modules.base import Handle, NativeEvent, Permissions, Progress, Status, register

# Steps of REPLICATE, as its handle calls the one that was begun last.
_REMOVED, _CREATED, _COMPLETED = "cluster removed", "cluster created", "instances created"


@register("AuroraMySQL")
class AuroraMySQL(AuroraPreflight):
    """Aurora MySQL clusters, alone or in a global cluster."""

    _read = ("rds:DescribeDBClusters", "rds:DescribeDBInstances", "rds:DescribeGlobalClusters")
    _capacity = ("rds:DescribeAccountAttributes", "rds:DescribeOrderableDBInstanceOptions")
    _places = ("rds:DescribeDBSubnetGroups", "rds:DescribeDBClusterParameterGroups")
    drills = frozenset({Phase.INSTANTIATE})
    permissions: ClassVar[Permissions] = {
        Phase.INSTANTIATE: (*_read, *_capacity, "rds:CreateDBInstance"),
        Phase.ACTIVATE: (
            *_read,
            "cloudwatch:GetMetricData",
            "rds:SwitchoverGlobalCluster",
            "rds:FailoverGlobalCluster",
            "rds:FailoverDBCluster",
        ),
        Phase.CLEANUP: (*_read, "rds:DeleteDBInstance"),
        Phase.REPLICATE: (
            *_read,
            *_capacity,
            *_places,
            "rds:CreateDBCluster",
            "rds:CreateDBInstance",
            "rds:DeleteDBInstance",
            "rds:DeleteDBCluster",
        ),
    }
    # A cluster encrypted with a key of your own is created, and a final snapshot is taken, with the caller's right to do so.
    implied_permissions: ClassVar[Permissions] = {Phase.REPLICATE: ("kms:CreateGrant", "kms:DescribeKey", "rds:CreateDBClusterSnapshot")}
    irreversible = frozenset({Phase.ACTIVATE, Phase.CLEANUP})
    native_events = (NativeEvent("aws.rds", "RDS DB Cluster Event"), NativeEvent("aws.rds", "RDS DB Instance Event"))
    named_in_events = ("DBClusterIdentifier", "DBInstanceIdentifier")
    # Quotas and network that only a person can mend.
    terminal_codes = frozenset(
        {
            "InstanceQuotaExceeded",
            "DBClusterQuotaExceededFault",
            "StorageQuotaExceeded",
            "KMSKeyNotAccessibleFault",
            "DBSubnetGroupDoesNotCoverEnoughAZs",
            "InvalidSubnet",
            "InvalidVPCNetworkStateFault",
        }
    )
    max_lag_seconds = 10
    check_cap_seconds = 10
    timeout_seconds = 900
    timeouts: ClassVar[Mapping[Phase, int]] = {Phase.REPLICATE: 3600}  # the secondary's volume is filled from the writer's

    @classmethod
    def check_parameters(cls, phase: Phase, parameters: AuroraMySQLParameters) -> list[tuple[str, str, str]]:
        """INSTANTIATE and CLEANUP need instances, REPLICATE a global cluster, ACTIVATE one or the other."""
        problems = []
        if not parameters.instances and (phase in (Phase.INSTANTIATE, Phase.CLEANUP)):
            problems.append(("DBInstanceIdentifier", f"{phase} needs DBInstanceIdentifier", "name the instances"))
        if not parameters.global_cluster and phase is Phase.REPLICATE:
            problems.append(("GlobalClusterIdentifier", "REPLICATE needs GlobalClusterIdentifier", "name the global cluster to join"))
        if phase is Phase.ACTIVATE and not (parameters.global_cluster or parameters.instances):
            remedy = "name the global cluster, or for a failover within the Region the DBInstanceIdentifier that shall be the writer"
            problems.append(("GlobalClusterIdentifier", "ACTIVATE needs GlobalClusterIdentifier or DBInstanceIdentifier", remedy))
        return problems

    def instantiate(self, parameters: AuroraMySQLParameters) -> None:
        """Create the instances that the cluster lacks."""
        self.guard(parameters)
        self.create_missing(parameters, self.cluster(parameters).engine)

    def instantiate_status_check(self, parameters: AuroraMySQLParameters) -> Status:
        """Done when each listed instance is `available` and a member of the cluster."""
        return self.instances_available(parameters, self.cluster(parameters))

    def activate(self, parameters: AuroraMySQLParameters) -> None:
        """Make the target Region's cluster the global writer, or a listed instance its cluster's writer."""
        self.guard(parameters)
        cluster, rds = self.cluster(parameters), self.rds
        try:
            if not parameters.global_cluster:
                wanted = next((one for one in parameters.instances if one in cluster.members), parameters.instances[0])
                rds.failover_db_cluster(DBClusterIdentifier=cluster.id, TargetDBInstanceIdentifier=wanted)
            elif self.run.mode is Mode.PLANNED:
                rds.switchover_global_cluster(GlobalClusterIdentifier=parameters.global_cluster, TargetDbClusterIdentifier=cluster.arn)
            else:
                names = {"GlobalClusterIdentifier": parameters.global_cluster, "TargetDbClusterIdentifier": cluster.arn}
                rds.failover_global_cluster(**names, AllowDataLoss=True)
        except (rds.exceptions.InvalidGlobalClusterStateFault, rds.exceptions.InvalidDBClusterStateFault):
            # Also the answer when this very failover is under way already: then it is ours to watch.
            if self.activate_status_check(parameters).progress not in (Progress.IN_PROGRESS, Progress.DONE):
                raise

    def activate_status_check(self, parameters: AuroraMySQLParameters) -> Status:
        """Done when the cluster is the writer, no failover is under way, and all that serves is `available`."""
        cluster = self.cluster(parameters)
        instances = list(_rds.cluster_instances(self.rds, cluster.id))
        serving = Status.combined([cluster.health, *(one.health for one in instances)])
        if not parameters.global_cluster:
            ours = cluster.writer in parameters.instances or cluster.status in _rds.FAILING_OVER
            return serving if ours else Status.not_started(f"{cluster.writer} is the writer of {cluster.id}")
        found = self.global_cluster(parameters.global_cluster)
        member = self.member(found, cluster)
        if found.failover_to is not None:
            if found.failover_to != cluster.arn:
                message = f"a failover of {found.id} to {found.failover_to} is {found.failover_status}: retry when it has ended"
                raise self.error("FailoverElsewhere", message)
            return Status.in_progress(f"failover of {found.id} to {cluster.id} is {found.failover_status}")
        if not member.is_writer:
            if {found.status, cluster.status} & _rds.FAILING_OVER:
                return Status.in_progress(f"{found.id} is {found.status}, {cluster.id} is {cluster.status}")
            return Status.not_started(f"{found.writer.arn if found.writer else 'no cluster'} is the writer of {found.id}")
        if not instances:
            return Status.failed("NoInstances", f"{cluster.id} is the writer of {found.id} but has no instances: run INSTANTIATE")
        return Status.combined([found.health, serving])

    def cleanup(self, parameters: AuroraMySQLParameters) -> None:
        """Delete the listed instances; the cluster and its backups stay."""
        self.guard(parameters)
        for instance_id in parameters.instances:
            instance = self.instance(parameters, instance_id)
            if instance is not None:
                self.delete_instance(instance)

    def cleanup_status_check(self, parameters: AuroraMySQLParameters) -> Status:
        """Done when RDS answers DBInstanceNotFound for each listed instance."""
        statuses = []
        for instance_id in parameters.instances:
            instance = self.instance(parameters, instance_id)
            if instance is None:
                statuses.append(Status.done(f"instance {instance_id} is gone"))
            elif instance.status == "deleting":
                statuses.append(Status.in_progress(f"instance {instance_id} is deleting"))
            else:
                statuses.append(Status.not_started(f"instance {instance_id} is {instance.status}"))
        return Status.combined(statuses)

    def undo(self, parameters: AuroraMySQLParameters) -> None:
        """Delete the listed instances that the cluster did not have before the drill."""
        made = self._made_by_drill(parameters)
        if parameters.global_cluster:
            self.guard(parameters.model_copy(update={"force": False}))
        elif (writer := self.cluster(parameters).writer) in {one.id for one in made}:
            message = f"instance {writer} in {self.target.region}, which the drill has made, takes writes by now"
            raise self.error("LiveSide", f"{message}: skip this resource, it has become the live side")
        for instance in made:
            self.delete_instance(instance)

    def undo_status_check(self, parameters: AuroraMySQLParameters) -> Status:
        """Done when RDS answers DBInstanceNotFound for each of those."""
        found = [
            Status.in_progress(f"instance {one.id} is deleting")
            if one.status == "deleting"
            else Status.not_started(f"instance {one.id} is {one.status}, and was not there before the drill")
            for one in self._made_by_drill(parameters)
        ]
        return (
            Status.combined(found) if found else Status.done(f"cluster {parameters.cluster} has the instances that it had before the drill")
        )

    def _made_by_drill(self, parameters: AuroraMySQLParameters) -> list[_rds.Instance]:
        new = [one for one in parameters.instances if one not in self.before_drill["instances"]]
        return [found for one in new if (found := self.instance(parameters, one)) is not None]

    def replicate(self, parameters: AuroraMySQLParameters) -> Handle:
        """Take the step that is due: remove a cluster that has left the global cluster, create the secondary, or its instances.

        The handle says which step that was, and keeps the removed cluster's network, key and instance class for the one in its place.
        """
        self.guard(parameters)
        found, cluster = self.global_cluster(parameters.global_cluster), _rds.find_cluster(self.rds, parameters.cluster)
        if cluster is None:
            # It may have been created since the look above; the check tells whether it has joined.
            with suppress(self.rds.exceptions.DBClusterAlreadyExistsFault):
                self.rds.create_db_cluster(**self.secondary(parameters, found))
            return {**self.handle, "step": _CREATED}
        if found.member(cluster.arn) is None:
            return {**self.remove(cluster), "step": _REMOVED}
        self.create_missing(parameters, found.engine)
        return {**self.handle, "step": _COMPLETED}

    def replicate_status_check(self, parameters: AuroraMySQLParameters) -> Status:
        """Done when the cluster is a reader of the global cluster, in sync and `available`, and so are the listed instances."""
        found, cluster = self.global_cluster(parameters.global_cluster), _rds.find_cluster(self.rds, parameters.cluster)
        step = self.handle.get("step")
        if cluster is None:
            if step == _REMOVED:
                return Status.next_step(f"cluster {parameters.cluster} has been removed")
            return Status.not_started(f"there is no cluster {parameters.cluster} in {self.target.region}")
        member = found.member(cluster.arn)
        if found.failover_to is not None or cluster.status in ("creating", "deleting"):
            return Status.in_progress(f"cluster {cluster.id} is {cluster.status} {found.failover_status}".rstrip())
        if member is None:
            return Status.not_started(f"cluster {cluster.id} is not in {found.id}")
        if member.is_writer:
            message = f"cluster {cluster.id} is the writer of {found.id}: REPLICATE targets the Region where the replica is rebuilt"
            raise self.error("LiveSide", message)
        if member.synchronization == "pending-resync":
            return Status.in_progress(f"cluster {cluster.id} waits to be synchronised again")
        instances = self.instances_available(parameters, cluster)
        if cluster.health.progress is Progress.DONE and instances.progress is Progress.NOT_STARTED and step == _CREATED:
            return Status.next_step(f"cluster {cluster.id} is a reader of {found.id}; {instances.detail}")
        return Status.combined([cluster.health, instances])
