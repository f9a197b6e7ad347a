"""What could keep a phase of AuroraMySQL from succeeding, and how far the replica is behind. Only reads."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from dr_core.errors import ErrorClass
from dr_core.observability import utc_now
from dr_core.phases import Mode, Phase
from dr_modules import _rds
from dr_modules._aurora import AuroraBase, AuroraMySQLParameters
from dr_modules.base import PreflightFinding, Progress, Status

# Both in milliseconds, measured in the Region of the secondary: how old what it has is, and by how much its transactions are behind.
_LAG, _RPO_LAG = "AuroraGlobalDBReplicationLag", "AuroraGlobalDBRPOLag"
_LOOK_BACK = timedelta(minutes=5)


class AuroraPreflight(AuroraBase):
    """The readings ahead of a phase."""

    def preflight(self, parameters: AuroraMySQLParameters) -> Iterator[PreflightFinding]:
        """States, replication health, and where something is created, its place and the quotas of the target Region."""
        phase, cluster = self.run.phase, _rds.find_cluster(self.rds, parameters.cluster)
        if cluster is not None:
            yield from self._unavailable(cluster.health, self.target.region)
        if parameters.global_cluster:
            yield from self._replication_findings(parameters.global_cluster, cluster)
        if phase is Phase.ACTIVATE and cluster is not None:
            yield from self._failover_findings(parameters, cluster)
        if phase in (Phase.INSTANTIATE, Phase.REPLICATE):
            yield from self._creation_findings(parameters, cluster)

    def lag_seconds(self, parameters: AuroraMySQLParameters) -> float | None:
        """The larger of replication lag and RPO lag, as CloudWatch has it newest; None without a global cluster, or for its writer.

        Raises LagUnknown when the secondary has published no replication lag in the last five minutes.
        """
        if not parameters.global_cluster:
            return None
        member = self.member(self.global_cluster(parameters.global_cluster), self.cluster(parameters))
        if member.is_writer:
            return None
        lags = self._newest_lags(parameters.cluster)
        if _LAG not in lags:
            minutes = _LOOK_BACK.total_seconds() / 60
            message = f"cluster {parameters.cluster} in {self.target.region} has published no {_LAG} in the last {minutes:.0f} minutes"
            remedy = "look whether it is replicated to, then retry; or run unplanned and lose what it lacks"
            raise self.error("LagUnknown", f"{message}: {remedy}", ErrorClass.RETRYABLE)
        return max(lags.values()) / 1000

    def _newest_lags(self, cluster: str) -> dict[str, float]:
        """The newest datapoint of each metric that has one, in milliseconds."""
        now = utc_now()
        queries = [
            {
                "Id": metric.lower(),
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/RDS",
                        "MetricName": metric,
                        "Dimensions": [{"Name": "DBClusterIdentifier", "Value": cluster}],
                    },
                    "Period": 60,
                    "Stat": "Maximum",
                },
            }
            for metric in (_LAG, _RPO_LAG)
        ]
        answer: dict[str, Any] = self.client("cloudwatch").get_metric_data(
            MetricDataQueries=queries, StartTime=now - _LOOK_BACK, EndTime=now, ScanBy="TimestampDescending"
        )
        values = {result["Id"]: result["Values"] for result in answer["MetricDataResults"]}
        return {metric: values[metric.lower()][0] for metric in (_LAG, _RPO_LAG) if values.get(metric.lower())}

    def _unavailable(self, health: Status, region: str) -> Iterator[PreflightFinding]:
        """What is in a state that nothing leads out of, and what is only on its way to `available`."""
        if health.progress is Progress.FAILED:
            yield self.obstacle("NotAvailable", f"in {region} {health.detail}")
        elif health.progress is not Progress.DONE:
            yield self.warning("NotYetAvailable", f"in {region} {health.detail}: RDS may refuse to change it until it is available")

    def _replication_findings(self, global_id: str, cluster: _rds.Cluster | None) -> Iterator[PreflightFinding]:
        """The global cluster, the cluster's place in it, and the writer where the other Region may be asked."""
        if self.run.phase is Phase.CLEANUP and _rds.find_global(self.rds, global_id) is None:
            return  # nothing left to replicate; the guard has looked whether the cluster serves
        found = self.global_cluster(global_id)
        yield from self._unavailable(found.health, self.target.region)
        if self.run.phase in (Phase.INSTANTIATE, Phase.ACTIVATE) and cluster is not None:
            member = self.member(found, cluster)
            if member.synchronization == "pending-resync":
                message = f"{member.arn} waits to be synchronised again: until then it lacks what the writer has"
                yield self.warning("OutOfSync", message)
        if self.run.phase is Phase.INSTANTIATE or (self.run.mode is Mode.UNPLANNED and self.run.phase is not Phase.CLEANUP):
            return
        writer = self.peer_writer(found)
        if writer is not None:
            yield from self._unavailable(writer.health, self.target.peer_region)
            if not writer.members:
                message = f"cluster {writer.id} in {self.target.peer_region} is the writer of {found.id} and has no instances"
                yield self.obstacle("WriterWithoutInstances", f"{message}: run INSTANTIATE for {self.target.peer_region}")

    def _failover_findings(self, parameters: AuroraMySQLParameters, cluster: _rds.Cluster) -> Iterator[PreflightFinding]:
        """Instances that would have to serve, and without a global cluster the one that shall be the writer."""
        for instance in _rds.cluster_instances(self.rds, cluster.id):
            yield from self._unavailable(instance.health, self.target.region)
        if not parameters.global_cluster and not set(parameters.instances) & set(cluster.members):
            message = f"{', '.join(parameters.instances)} is no instance of cluster {cluster.id}: correct DBInstanceIdentifier"
            yield self.obstacle("NotAMember", message)

    def _creation_findings(self, parameters: AuroraMySQLParameters, cluster: _rds.Cluster | None) -> Iterator[PreflightFinding]:
        """Whether RDS can create what is missing in the target Region."""
        freed = 0
        missing = [one for one in parameters.instances if self.instance(parameters, one) is None]
        if self.run.phase is Phase.REPLICATE:
            found = self.global_cluster(parameters.global_cluster)
            if cluster is not None and found.member(cluster.arn) is None:  # and Force has it replaced
                freed, missing = len(list(_rds.cluster_instances(self.rds, cluster.id))), list(parameters.instances)
                if cluster.protected:
                    message = f"cluster {cluster.id} in {self.target.region} shall be replaced and has deletion protection"
                    yield self.obstacle("DeletionProtection", f"{message}: turn that off")
            yield from self._reference_findings(parameters)
        yield from self._quota_findings("DBInstances", "InstanceQuotaExceeded", len(missing) - freed)
        if cluster is None:
            yield from self._quota_findings("DBClusters", "DBClusterQuotaExceededFault", 1)
            return
        instance_class = self.class_of_missing(parameters)
        if instance_class and not _rds.is_orderable(self.rds, cluster.engine, cluster.engine_version, instance_class):
            message = f"{instance_class} cannot be ordered in {self.target.region} for {cluster.engine} {cluster.engine_version}"
            yield self.obstacle("InstanceClassNotOrderable", f"{message}: name another DBInstanceClass")

    def _quota_findings(self, quota: str, code: str, more: int) -> Iterator[PreflightFinding]:
        """A quota that so many more would exceed; `code` is the error that RDS would answer."""
        used, most = _rds.quotas(self.rds).get(quota, (0, more))
        if more > 0 and used + more > most:
            message = f"{more} more {quota} are needed in {self.target.region}, and {used} of {most} are used: have the quota raised"
            yield self.obstacle(code, message)

    def _reference_findings(self, parameters: AuroraMySQLParameters) -> Iterator[PreflightFinding]:
        """Groups that a new secondary shall have and that are not there."""
        rds, region = self.rds, self.target.region
        try:
            if parameters.subnet_group:
                rds.describe_db_subnet_groups(DBSubnetGroupName=parameters.subnet_group)
        except rds.exceptions.DBSubnetGroupNotFoundFault:
            message = f"there is no subnet group {parameters.subnet_group} in {region}: correct DBSubnetGroupName"
            yield self.obstacle("DBSubnetGroupNotFoundFault", message)
        try:
            if parameters.parameter_group:
                rds.describe_db_cluster_parameter_groups(DBClusterParameterGroupName=parameters.parameter_group)
        except rds.exceptions.DBParameterGroupNotFoundFault:
            message = f"there is no cluster parameter group {parameters.parameter_group} in {region}: correct DBClusterParameterGroupName"
            yield self.obstacle("DBClusterParameterGroupNotFound", message)
