"""MemoryDB: restore a cluster from its newest backup, and export and delete the one left behind.

MemoryDB replicates nothing to another Region. What a failover restores are snapshots that were exported to a bucket (`copy_snapshot`
with TargetBucket, on a schedule of your own) and copied by S3 replication to BackupBucket in the standby Region. The bucket policy must
allow the service principal `<region>.memorydb-snapshot.amazonaws.com` to read and write, and encryption be SSE-S3: MemoryDB reads no other.

ACTIVATE creates the cluster from the newest complete backup: the objects `<Prefix><snapshot>-<shard>.rdb` in BackupBucket, one for each
shard, or without BackupBucket from the newest snapshot of the cluster in the target Region. A backup is complete when it has as many
objects as the configuration has shards, and no fewer than the backup before it. When the cluster is `available`, its endpoint is stored in
the parameter ClusterEndpointSSMKey: as `address:port`, or as the address alone if that is what the parameter held before.

The configuration is a JSON document in the parameter ClusterConfigSSMKey of the target Region, with the members of CreateCluster (NodeType,
ACLName and NumShards at least): subnet group, security groups, key and so on are that Region's own. CLEANUP writes it; for a Region that
has never had the cluster write it once by hand:

    {"NodeType": "db.r7g.large", "ACLName": "app", "NumShards": 2, "NumReplicasPerShard": 1, "SubnetGroupName": "dr",
     "SecurityGroupIds": ["sg-1"], "ParameterGroupName": "default.memorydb-redis7", "EngineVersion": "7.1"}

The tag `Orchestrator:ActivatedBy` on the new cluster names the execution. By it, of two clusters of the same name in two Regions, the one
that has taken over can be told: it is the one activated later. CLEANUP asks the other Region, in every mode, and refuses unless a cluster
there serves and was activated after this one; `"Force": true` is the only override. Where the other Region's cluster was not made by
ACTIVATE (restored by hand), tag it. A planned ACTIVATE that finds a cluster asks the other Region too, and reports one that it has
left behind as StaleCluster in place of done: CLEANUP first. An unplanned run cannot ask, and takes the cluster that is there.

CLEANUP stores the configuration, takes a snapshot, exports it to BackupBucket under Prefix, and deletes the cluster only when every
shard's object is there. The snapshot stays, too. An export of a cluster that another has taken over from is called
`<cluster>-retired-<execution>`: it is kept for people, and ACTIVATE never restores it, as it lacks what was written since. One of a
cluster that still was the latest (Force) is called `<cluster>-final-<execution>`, and is a backup like others.

Each cluster needs a Prefix of its own: whatever lies under it is taken for a backup of the cluster. MemoryDB sends no events to
EventBridge, so progress is polled.

Example manifest resource:

    {
      "action": "MemoryDB",
      "resourceName": "memorydb-cluster",
      "parameters": {
        "ClusterName": "prod-memorydb",
        "ClusterConfigSSMKey": "/prod/memorydb/config",
        "ClusterEndpointSSMKey": "/prod/memorydb/endpoint",
        "BackupBucket": "dr-backups-bucket",
        "Prefix": "memorydb/",
        "Tags": [{"Key": "Environment", "Value": "Production"}]
      }
    }
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import ClassVar

from dr_core.phases import Mode, Phase
from dr_modules import _memory_db_readings as readings
from dr_modules._memory_db import MemoryDBBase, MemoryDBParameters
from dr_modules._memory_db_readings import AVAILABLE, MARK, Cluster, Configuration, Snapshot
from dr_modules.base import Handle, Permissions, PreflightFinding, Progress, Status, register


@register("MemoryDB")
class MemoryDB(MemoryDBBase):
    """Clusters of MemoryDB, restored from backups."""

    permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: (
            "memorydb:DescribeClusters",
            "memorydb:DescribeSnapshots",
            "memorydb:DescribeSubnetGroups",
            "memorydb:DescribeParameterGroups",
            "memorydb:DescribeACLs",
            "memorydb:ListTags",
            "memorydb:CreateCluster",
            "s3:GetBucketLocation",
            "s3:ListBucket",
            "ssm:GetParameter",
            "ssm:PutParameter",
        ),
        Phase.CLEANUP: (
            "memorydb:DescribeClusters",
            "memorydb:DescribeSnapshots",
            "memorydb:ListTags",
            "memorydb:CreateSnapshot",
            "memorydb:CopySnapshot",
            "memorydb:DeleteCluster",
            "s3:GetBucketLocation",
            "s3:ListBucket",
            "ssm:GetParameter",
            "ssm:PutParameter",
        ),
    }
    # For a cluster with tags or a key of your own. For an export: "Step 3: Export a MemoryDB snapshot" of MemoryDB's developer guide.
    implied_permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: ("memorydb:TagResource", "kms:CreateGrant", "kms:DescribeKey", "s3:GetObject"),
        Phase.CLEANUP: ("s3:ListAllMyBuckets", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
    }
    irreversible = frozenset({Phase.CLEANUP})
    check_cap_seconds = 30
    timeout_seconds = 3600
    timeouts: ClassVar[Mapping[Phase, int]] = {Phase.CLEANUP: 7200}  # three waits: snapshot, export, deletion
    max_lag_seconds = 3600  # the age of an hourly export
    terminal_codes = frozenset(
        {
            "ClusterQuotaForCustomerExceededFault",
            "NodeQuotaForClusterExceededFault",
            "NodeQuotaForCustomerExceededFault",
            "ShardsPerClusterQuotaExceededFault",
            "SnapshotQuotaExceededFault",
            "TagQuotaPerResourceExceeded",
        }
    )

    @classmethod
    def check_parameters(cls, phase: Phase, parameters: MemoryDBParameters) -> list[tuple[str, str, str]]:
        """ACTIVATE has an endpoint to store, CLEANUP an export to make."""
        if phase is Phase.ACTIVATE and parameters.endpoint_key is None:
            remedy = "name the SSM parameter in which applications look for the endpoint"
            return [("ClusterEndpointSSMKey", "ACTIVATE needs ClusterEndpointSSMKey", remedy)]
        if phase is Phase.CLEANUP and parameters.bucket is None:
            return [
                ("BackupBucket", "CLEANUP needs BackupBucket", "name a bucket of the target Region: the data are exported before they go")
            ]
        return []

    def before(self, parameters: MemoryDBParameters) -> Mapping[str, object]:
        """The cluster's status, ahead of a failover the endpoint that applications use, ahead of the removal the configuration."""
        cluster = self.cluster(parameters)
        status = cluster.status if cluster else None
        if self.run.phase is Phase.ACTIVATE:
            return {"status": status, "endpoint": self.parameter(parameters.endpoint_key)}
        return {"status": status, "configuration": self._present(cluster).document() if cluster else None}

    def guard(self, parameters: MemoryDBParameters) -> None:
        """Refuse the removal of a cluster that none has taken over from."""
        if self.run.phase is Phase.ACTIVATE:
            return
        cluster = self.cluster(parameters)
        if cluster is None:
            return
        if cluster.multi_region:
            message = f"{cluster.name} is part of a multi-Region cluster, which needs no failover: take it out of the manifest"
            raise self.error("MultiRegionCluster", message)
        if not parameters.force and not self.left_behind(parameters, cluster):
            peer = self.target.peer_region
            message = (
                f"{cluster.name} in {self.target.region} is the live side: no cluster of that name in {peer} serves and was activated later"
            )
            remedy = f'correct the Region, run ACTIVATE for {peer} first, or give "Force": true to remove the live side'
            raise self.error("LiveSide", f"{message} (tag {MARK}): {remedy}")

    def preflight(self, parameters: MemoryDBParameters) -> Iterable[PreflightFinding]:
        """What the new cluster needs, or the export."""
        cleanup = self.run.phase is Phase.CLEANUP
        status = self.cleanup_status_check(parameters) if cleanup else self.activate_status_check(parameters)
        if status.progress is Progress.FAILED:
            yield self.obstacle(status.code or "Failed", status.detail)
            return
        cluster = self.cluster(parameters)
        if cleanup:
            if cluster is not None and cluster.data_tiering:
                message = f"{cluster.name} has data tiering, its snapshots cannot be exported: delete it by hand"
                yield self.obstacle("DataTiering", message)
            yield from self.bucket_elsewhere(parameters, self.obstacle)
        elif cluster is None:
            configuration = self.configuration(parameters)
            yield from self.missing_names(configuration)
            yield from self.doubtful_backups(parameters, configuration)
            yield from self.bucket_elsewhere(parameters, self.warning)

    def lag_seconds(self, parameters: MemoryDBParameters) -> float | None:
        """The age of the backup that would be restored; None where there is a cluster."""
        if self.cluster(parameters) is not None:
            return None
        source = self.source(parameters, self.configuration(parameters))
        return max(0.0, (datetime.now(UTC) - source.taken_at).total_seconds())

    def activate(self, parameters: MemoryDBParameters) -> None:
        """Create the cluster, or when it is available store its endpoint."""
        self.guard(parameters)
        cluster = self.cluster(parameters)
        if cluster is None:
            self._restore(parameters)
        elif cluster.status == AVAILABLE:
            self.put_parameter(parameters.endpoint_key, cluster.endpoint_like(self.parameter(parameters.endpoint_key)))

    def activate_status_check(self, parameters: MemoryDBParameters) -> Status:
        """Done when the cluster is `available`, none in the other Region has taken over from it, and its endpoint is stored."""
        cluster = self.cluster(parameters)
        if cluster is None:
            return Status.not_started(f"there is no cluster {parameters.cluster} in {self.target.region}")
        if cluster.status != AVAILABLE:
            return self.under_way(cluster)
        ours = self.tags(cluster).get(MARK) == self.run.execution_id
        if not ours and self.run.mode is Mode.PLANNED and self.left_behind(parameters, cluster):
            message = f"{cluster.name} in {self.target.region} lacks what was written to its successor in {self.target.peer_region}"
            raise self.error("StaleCluster", f"{message}: run CLEANUP for {self.target.region}, then this again")
        stored = self.parameter(parameters.endpoint_key)
        if stored != cluster.endpoint_like(stored):
            return Status.next_step(f"cluster {cluster.name} is available, and {parameters.endpoint_key} is {stored or 'not there yet'}")
        return Status.done(f"cluster {cluster.name} is available, and {parameters.endpoint_key} is {stored}")

    def cleanup(self, parameters: MemoryDBParameters) -> Handle:
        """Take the step that is due: configuration and snapshot, export, deletion. The handle names the snapshot, or export, begun."""
        self.guard(parameters)
        cluster = self.cluster(parameters)
        if cluster is None or cluster.status != AVAILABLE:
            return self.handle
        errors = self.memorydb.exceptions
        try:
            return self._next_step(parameters, cluster)
        except (errors.InvalidClusterStateFault, errors.InvalidSnapshotStateFault):
            # Somebody, or a schedule, has begun something since the look above: it is waited for.
            if self.cleanup_status_check(parameters).progress is not Progress.IN_PROGRESS:
                raise
        return self.handle

    def cleanup_status_check(self, parameters: MemoryDBParameters) -> Status:
        """Done when MemoryDB answers ClusterNotFoundFault and the objects of every shard are in the bucket."""
        cluster = self.cluster(parameters)
        if cluster is None:
            return self._gone(parameters)
        if cluster.status != AVAILABLE:
            return self.under_way(cluster)
        snapshot = self._snapshot(parameters)
        if snapshot is None and "snapshot" in self.handle:
            return Status.not_started(f"snapshot {self.handle['snapshot']} was asked for, but is not there")
        if snapshot is None:
            # Not "not started": the cluster may have been waited for, which must not count as an attempt.
            return Status.next_step(f"cluster {cluster.name} is available: a snapshot is to be taken")
        if snapshot.status.endswith("failed"):
            return Status.failed(snapshot.status, f"snapshot {snapshot.name} is {snapshot.status}: delete it, then retry")
        if snapshot.status != AVAILABLE:
            return Status.in_progress(f"snapshot {snapshot.name} is {snapshot.status}")
        where = f"s3://{parameters.bucket}/{parameters.prefix}{snapshot.name}"
        if self._exported(parameters, snapshot):
            return Status.next_step(f"{where} is complete: cluster {cluster.name} is to be deleted")
        if self.handle.get("export") == snapshot.name:
            return Status.not_started(f"the export to {where} has ended, but not all objects are there: see MemoryDB's events")
        return Status.next_step(f"snapshot {snapshot.name} is to be exported to {where}")

    def _restore(self, parameters: MemoryDBParameters) -> None:
        configuration = self.configuration(parameters)
        source = self.source(parameters, configuration)
        tags = readings.tag_list({**configuration.tags, **parameters.tags, MARK: self.run.execution_id})
        settings = {**configuration.parameters(), **source.parameters}
        try:
            self.memorydb.create_cluster(ClusterName=parameters.cluster, **settings, Tags=tags)
        except self.memorydb.exceptions.ClusterAlreadyExistsFault:
            return  # created since the look that found none; the check tells how it fares

    def _next_step(self, parameters: MemoryDBParameters, cluster: Cluster) -> Handle:
        """Begin what comes after what is there. The cluster goes only when the export has been seen to be complete."""
        snapshot = self._snapshot(parameters)
        if snapshot is None:
            self.put_parameter(parameters.config_key, self._present(cluster).document())
            name = self._name(parameters, "retired" if self.left_behind(parameters, cluster) else "final")
            self.memorydb.create_snapshot(ClusterName=cluster.name, SnapshotName=name)
            return {"snapshot": name}
        if snapshot.status == AVAILABLE and self._exported(parameters, snapshot):
            self.memorydb.delete_cluster(ClusterName=cluster.name)
        elif snapshot.status == AVAILABLE:
            names = {"SourceSnapshotName": snapshot.name, "TargetSnapshotName": f"{parameters.prefix}{snapshot.name}"}
            self.memorydb.copy_snapshot(**names, TargetBucket=parameters.bucket)
            return {"export": snapshot.name}
        return self.handle

    def _present(self, cluster: Cluster) -> Configuration:
        return Configuration.of(cluster.found, self.tags(cluster))

    def _name(self, parameters: MemoryDBParameters, kind: str) -> str:
        """Of this execution's snapshot and export: the same after a crash."""
        return f"{parameters.cluster}-{kind}-{self.run.execution_id}".lower()

    def _snapshot(self, parameters: MemoryDBParameters) -> Snapshot | None:
        """This execution's snapshot."""
        ours = {self._name(parameters, kind) for kind in ("retired", "final")}
        return next((found for found in readings.snapshots(self.memorydb, parameters.cluster) if found.name in ours), None)

    def _exported(self, parameters: MemoryDBParameters, snapshot: Snapshot) -> bool:
        """Whether each shard's object of a snapshot is in the bucket."""
        name = f"{parameters.prefix}{snapshot.name}"
        found = readings.backups(self.s3, self._bucket(parameters), name)
        return any(backup.name == name and 0 < snapshot.shards <= len(backup.parts) for backup in found)

    def _gone(self, parameters: MemoryDBParameters) -> Status:
        """Done where the export of a CLEANUP is complete; where none is, nothing can be exported any more."""
        shards = {snapshot.name: snapshot.shards for snapshot in readings.snapshots(self.memorydb, parameters.cluster)}
        bucket, stem = self._bucket(parameters), f"{parameters.prefix}{parameters.cluster}"
        exports = [one for kind in ("retired", "final") for one in readings.backups(self.s3, bucket, f"{stem}-{kind}-")]
        for backup in exports:
            # Where the snapshot has been deleted since, the configuration tells what was stored just before it was taken.
            needed = shards.get(backup.name.removeprefix(parameters.prefix)) or self.configuration(parameters).num_shards
            if len(backup.parts) >= needed:
                return Status.done(f"cluster {parameters.cluster} is gone, its data are in s3://{bucket}/{backup.name}")
        message = f"there is no cluster {parameters.cluster} in {self.target.region}, and no complete export of it at s3://{bucket}/{stem}"
        return Status.failed("ExportMissing", f"{message}: correct ClusterName, BackupBucket and Prefix, or take it out of the manifest")

    def _bucket(self, parameters: MemoryDBParameters) -> str:
        if parameters.bucket is None:
            raise self.error("InvalidParameters", "CLEANUP needs BackupBucket")
        return parameters.bucket
