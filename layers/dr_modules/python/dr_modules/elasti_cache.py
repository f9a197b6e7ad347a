"""ElastiCache: failover of a global datastore (Redis OSS, Valkey), removal of the old side's replication group, and a new secondary.

DBClusterIdentifier is the replication group of the Region that the phase works in, GlobalClusterIdentifier the global datastore: its suffix
(`global-redis`) or its whole id (`ldgnf-global-redis`). The prefix is the Region's in which the global datastore was created, so that the
id changes with an unplanned failover and the suffix does not: the suffix is the better name for a manifest.

ACTIVATE, planned: `failover_global_replication_group`, which loses nothing. Unplanned: the Region's group is disassociated, and then
becomes the primary of a new global datastore of the same suffix, or where that is taken of `<suffix>-dr-<part of the execution's id>`.
Both end when the Region's group is the PRIMARY of a global datastore at rest and ClusterEndpointSSMKey, if named, holds its endpoint: as
`address:port`, or as the address alone if that is what the parameter held before.

CLEANUP stores the group's settings in ClusterConfigSSMKey, if named, takes the group out of its global datastore (or deletes one that has
no other member, where the other Region has its successor), and deletes it with a final snapshot `<group>-final-<execution's id>`. It
refuses (`LiveSide`) to delete the primary of a group that replicates, and one that stands alone unless the other Region shows a primary of
the same global datastore.

REPLICATE creates the Region's group as a secondary, with the settings of ClusterConfigSSMKey; what the manifest names goes before them. A
group that has left its global datastore is never overwritten: CLEANUP removes it first.

Replication groups send no events to EventBridge: https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/self-designed-events.html

Example manifest resource:

    {
      "action": "ElastiCache",
      "resourceName": "redis-global-datastore",
      "parameters": {
        "DBClusterIdentifier": "redis-prod-cluster",
        "GlobalClusterIdentifier": "global-redis",
        "ClusterEndpointSSMKey": "/prod/redis/endpoint",
        "ClusterConfigSSMKey": "/prod/redis/config"
      }
    }
"""

import json
import re
from collections.abc import Mapping
from typing import ClassVar

from dr_core.errors import ErrorClass
from dr_core.observability import utc_now
from dr_core.phases import Mode, Phase
from dr_modules import _elasti_cache as ec
from dr_modules._elasti_cache_base import LEFT, ElastiCacheBase, ElastiCacheParameters
from dr_modules.base import (
    Handle,
    Permissions,
    Progress,
    Status,
    register,
)

_REMOVED = "RemovedReplicationGroup"  # of a handle: a group whose creation had failed


@register("ElastiCache")
class ElastiCache(ElastiCacheBase):
    """Replication groups in a global datastore."""

    _read = ("elasticache:DescribeReplicationGroups", "elasticache:DescribeGlobalReplicationGroups", "ssm:GetParameter")
    permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: (
            *_read,
            "cloudwatch:ListMetrics",
            "cloudwatch:GetMetricData",
            "elasticache:FailoverGlobalReplicationGroup",
            "elasticache:DisassociateGlobalReplicationGroup",
            "elasticache:CreateGlobalReplicationGroup",
            "ssm:PutParameter",
        ),
        Phase.CLEANUP: (
            *_read,
            "elasticache:DescribeCacheClusters",
            "elasticache:ListTagsForResource",
            "elasticache:DisassociateGlobalReplicationGroup",
            "elasticache:DeleteGlobalReplicationGroup",
            "elasticache:DeleteReplicationGroup",
            "ssm:PutParameter",
        ),
        Phase.REPLICATE: (
            *_read,
            "elasticache:DescribeCacheSubnetGroups",
            "elasticache:CreateReplicationGroup",
            "elasticache:DeleteReplicationGroup",
        ),
    }
    implied_permissions: ClassVar[Permissions] = {
        Phase.CLEANUP: ("elasticache:CreateSnapshot",),
        Phase.REPLICATE: ("elasticache:AddTagsToResource", "kms:CreateGrant", "kms:DescribeKey"),
    }
    irreversible = frozenset({Phase.ACTIVATE, Phase.CLEANUP})
    check_cap_seconds = 10
    timeouts: ClassVar[Mapping[Phase, int]] = {Phase.ACTIVATE: 1800, Phase.CLEANUP: 3600, Phase.REPLICATE: 3600}
    terminal_codes = frozenset(
        {
            "SnapshotFeatureNotSupportedFault",
            "SnapshotQuotaExceededFault",
            "ClusterQuotaForCustomerExceeded",
            "NodeQuotaForClusterExceeded",
            "NodeQuotaForCustomerExceeded",
            "NodeGroupsPerReplicationGroupQuotaExceeded",
        }
    )

    def lag_seconds(self, parameters: ElastiCacheParameters) -> float | None:
        """CloudWatch's GlobalDatastoreReplicationLag in the target Region; None where the group is no secondary that replicates."""
        group = self.group(parameters)
        place = self.place(parameters, group)
        if place is None or (place[1].role, place[1].status) != (ec.SECONDARY, "associated"):
            return None
        lag = ec.lag(self.client("cloudwatch"), group, utc_now())
        if lag is None:
            message = f"CloudWatch has no recent GlobalDatastoreReplicationLag of {group.id} in {self.target.region}"
            raise self.error("LagUnknown", f"{message}: see in ElastiCache whether it replicates, then retry", ErrorClass.RETRYABLE)
        return lag

    def activate(self, parameters: ElastiCacheParameters) -> Handle:
        """Take the step that is due: fail over, or leave the global datastore, then make a new one; then store the endpoint."""
        self.guard(parameters)
        group = self.group(parameters)
        place = self.place(parameters, group)
        try:
            if place is None:
                self._create_datastore(parameters, group)
            elif place[1].role == ec.PRIMARY:
                self._store_endpoint(parameters, group)
            elif self.run.mode is Mode.PLANNED:
                self.cache.failover_global_replication_group(
                    GlobalReplicationGroupId=place[0].id,
                    PrimaryRegion=self.target.region,
                    PrimaryReplicationGroupId=group.id,
                )
            else:
                return self._disassociate(place[0], group)
        except (self.cache.exceptions.InvalidGlobalReplicationGroupStateFault, self.cache.exceptions.InvalidReplicationGroupStateFault):
            # Also the answer when this very step is under way already: then it is ours to watch.
            if self.activate_status_check(parameters).progress not in (Progress.IN_PROGRESS, Progress.DONE):
                raise
        return self.handle

    def activate_status_check(self, parameters: ElastiCacheParameters) -> Status:
        """Done when the group is the PRIMARY of a global datastore, both are at rest, and the endpoint is stored."""
        group = self.group(parameters)
        place = self.place(parameters, group)
        if place is None:
            return self._alone(group)
        datastore, member = place
        resting = Status.combined([group.health, datastore.health])
        if resting.progress is not Progress.DONE:
            return resting
        if member.role == ec.PRIMARY:
            return self._endpoint_stored(parameters, group)
        if (member.role, member.status) == (ec.SECONDARY, "associated"):
            primary = datastore.primary
            where = f"{primary.group} in {primary.region}" if primary else "none"
            return Status.not_started(f"the primary of {datastore.id} is {where}")
        return Status.in_progress(f"{group.id} is {member.status} in {datastore.id}")

    def cleanup(self, parameters: ElastiCacheParameters) -> Handle:
        """Store the settings, then take the step that is due: out of the global datastore, or delete."""
        self.guard(parameters)
        group = ec.find_group(self.cache, parameters.group)
        if group is None:
            return self.handle
        place = self.place(parameters, group)
        if group.status == "available":
            self._store_settings(parameters, group)
        if place is None:
            self._delete(parameters, group)
            return self.handle
        datastore, member = place
        if member.role == ec.PRIMARY:
            self.cache.delete_global_replication_group(GlobalReplicationGroupId=datastore.id, RetainPrimaryReplicationGroup=True)
            return {LEFT: datastore.id}
        return self._disassociate(datastore, group)

    def cleanup_status_check(self, parameters: ElastiCacheParameters) -> Status:
        """Done when ElastiCache answers that there is no such group."""
        group = ec.find_group(self.cache, parameters.group)
        if group is None:
            return Status.done(f"replication group {parameters.group} is gone")
        place = self.place(parameters, group)
        if group.status not in ("available", "create-failed"):
            return Status.in_progress(f"replication group {group.id} is {group.status}")
        if place is None:
            detail = f"replication group {group.id} stands alone and is {group.status}"
            return Status.next_step(detail) if LEFT in self.handle else Status.not_started(detail)
        datastore, member = place
        if not datastore.at_rest or member.status != "associated":
            return Status.in_progress(f"global datastore {datastore.id} is {datastore.status}, {group.id} is {member.status} in it")
        return Status.not_started(f"replication group {group.id} is {member.role} in {datastore.id}")

    def replicate(self, parameters: ElastiCacheParameters) -> Handle:
        """Create the Region's group as a secondary; first remove one whose creation has failed, which holds nothing."""
        self.guard(parameters)
        group = ec.find_group(self.cache, parameters.group)
        if group is not None and group.status == "create-failed":
            self.cache.delete_replication_group(ReplicationGroupId=group.id)
            return {_REMOVED: group.id}
        if group is None:
            settings = self.secondary(parameters)
            try:
                self.cache.create_replication_group(**settings)
            except self.cache.exceptions.ReplicationGroupAlreadyExistsFault:
                return self.handle  # created since the look above; the check tells whose it is
        return {}

    def replicate_status_check(self, parameters: ElastiCacheParameters) -> Status:
        """Done when the group is associated as SECONDARY, and it and its global datastore are `available`."""
        group = ec.find_group(self.cache, parameters.group)
        if group is None:
            detail = f"there is no replication group {parameters.group} in {self.target.region}"
            return Status.next_step(detail) if _REMOVED in self.handle else Status.not_started(detail)
        if group.status != "available":
            return group.health
        place = self.place(parameters, group)
        if place is None:
            return Status.not_started(f"replication group {group.id} stands alone")
        datastore, member = place
        if member.role == ec.PRIMARY:
            return Status.not_started(f"replication group {group.id} is the primary of {datastore.id}")
        if (member.role, member.status) != (ec.SECONDARY, "associated"):
            return Status.in_progress(f"replication group {group.id} is {member.status} in {datastore.id}")
        return datastore.health

    # ACTIVATE

    def _alone(self, group: ec.Group) -> Status:
        """The status of a group that has left its global datastore."""
        if self.run.mode is not Mode.UNPLANNED:
            message = f"replication group {group.id} is in no global datastore: run REPLICATE for its Region first"
            raise self.error("NotAMember", f"{message}, or run unplanned to have it serve with the data that it has")
        if group.health.progress is not Progress.DONE:
            return group.health
        return Status.next_step(f"replication group {group.id} stands alone, ready for a global datastore of its own")

    def _disassociate(self, datastore: ec.Datastore, group: ec.Group) -> Handle:
        self.cache.disassociate_global_replication_group(
            GlobalReplicationGroupId=datastore.id, ReplicationGroupId=group.id, ReplicationGroupRegion=self.target.region
        )
        return {LEFT: datastore.id}

    def _create_datastore(self, parameters: ElastiCacheParameters, group: ec.Group) -> None:
        """Make the group the primary of a global datastore of the same suffix as the one that it has left."""
        left = self.handle.get(LEFT)
        if left is None and any(one.id == parameters.datastore for one in ec.datastores(self.cache)):
            left = parameters.datastore
        name = ec.family(left) if left else parameters.datastore
        try:
            self.cache.create_global_replication_group(GlobalReplicationGroupIdSuffix=name, PrimaryReplicationGroupId=group.id)
        except self.cache.exceptions.GlobalReplicationGroupAlreadyExistsFault:
            # One that was created here before, and whose primary has since moved to the Region that is lost now.
            other = ec.successor(name, self.run.execution_id)
            self.cache.create_global_replication_group(GlobalReplicationGroupIdSuffix=other, PrimaryReplicationGroupId=group.id)

    def _endpoint_stored(self, parameters: ElastiCacheParameters, group: ec.Group) -> Status:
        """Whether the endpoint of a primary is where applications look for it."""
        serving = f"replication group {group.id} is the primary of {group.datastore}"
        if not parameters.endpoint_key:
            return Status.done(serving)
        if group.endpoint is None:
            return Status.in_progress(f"{serving} and has no endpoint yet")
        present = self.parameter(parameters.endpoint_key)
        if present == group.endpoint.worded_like(present):
            return Status.done(f"{serving}, and {parameters.endpoint_key} is {present}")
        return Status.next_step(f"{serving}, and {parameters.endpoint_key} is {present or 'not there yet'}")

    def _store_endpoint(self, parameters: ElastiCacheParameters, group: ec.Group) -> None:
        if parameters.endpoint_key and group.endpoint:
            self._store(parameters.endpoint_key, group.endpoint.worded_like(self.parameter(parameters.endpoint_key)))

    def _store(self, key: str, value: str) -> None:
        self.client("ssm").put_parameter(Name=key, Value=value, Type="String", Overwrite=True)

    # CLEANUP

    def _store_settings(self, parameters: ElastiCacheParameters, group: ec.Group) -> None:
        """Keep what REPLICATE will need, before anything is taken apart."""
        if not parameters.config_key:
            return
        value = json.dumps(ec.settings(self.cache, group), sort_keys=True)
        if value != self.parameter(parameters.config_key):
            self._store(parameters.config_key, value)

    def _delete(self, parameters: ElastiCacheParameters, group: ec.Group) -> None:
        snapshot = re.sub(r"[^a-z0-9]+", "-", f"{group.id}-final-{self.run.execution_id}".lower()).strip("-")
        keep = group.status != "create-failed" and not parameters.skip_snapshot
        try:
            self.cache.delete_replication_group(ReplicationGroupId=group.id, **({"FinalSnapshotIdentifier": snapshot} if keep else {}))
        except self.cache.exceptions.ReplicationGroupNotFoundFault:
            return  # gone since the look above
