"""ElastiCache: replication groups that take time to come and go, their nodes, and the refusals that AWS makes and moto does not."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from moto.core.base_backend import BaseBackend
from moto.core.responses import ActionResult, BaseResponse
from moto.elasticache.exceptions import ElastiCacheException, ReplicationGroupNotFound
from moto.elasticache.models import ElastiCacheBackend, ReplicationGroup, elasticache_backends
from moto.elasticache.responses import ElastiCacheResponse

from localcloud.extension import elasticache_global
from localcloud.extension.agenda import agenda_of, replace, settle_before_actions

CREATE_SECONDS: Final = 90.0
DELETE_SECONDS: Final = 60.0

_create_group: Final = ElastiCacheResponse.create_replication_group
_modify_group: Final = ElastiCacheResponse.modify_replication_group
_describe_clusters: Final = ElastiCacheResponse.describe_cache_clusters
_FAILING: Final = "_localcloud_failing_creations"

# The Region in the host names of nodes: us-west-2 is usw2.
_SHORT: Final = {"north": "n", "south": "s", "east": "e", "west": "w", "central": "c", "northeast": "ne", "southeast": "se"}


def install() -> None:
    """Extend moto's ElastiCache in this process."""
    settle_before_actions(ElastiCacheResponse, _backends)
    replace(
        ElastiCacheResponse,
        create_replication_group=create_replication_group,
        modify_replication_group=modify_replication_group,
        delete_replication_group=delete_replication_group,
        describe_cache_clusters=describe_cache_clusters,
    )
    replace(ReplicationGroup, global_replication_group_info=property(elasticache_global.info_of))
    elasticache_global.install()


def _backends(response: BaseResponse) -> Iterable[BaseBackend]:
    """Every Region of the account: a global datastore acts in several."""
    return list(elasticache_backends[response.current_account].values())


def fail_next_creation(account: str, region: str, group_id: str) -> None:
    """Have the next creation of that replication group end as `create-failed`."""
    elasticache_backends[account][region].__dict__.setdefault(_FAILING, set()).add(group_id)


def create_replication_group(response: ElastiCacheResponse) -> ActionResult:
    """CreateReplicationGroup: `creating` for a while; with a global datastore a secondary of it, made like its primary."""
    params, backend = response.params, response.elasticache_backend
    identifier: str = params["ReplicationGroupId"].lower()
    params["ReplicationGroupId"] = identifier
    joined = elasticache_global.joined_by(response)
    if joined is not None:
        params.update(joined.given_to_secondaries())
    if int(params.get("NumNodeGroups") or 1) > 1:
        params["ClusterMode"] = "enabled"
    if params.get("NumCacheClusters") and params.get("ClusterMode") != "enabled":
        # moto counts the replicas only when they are called so.
        params["ReplicasPerNodeGroup"] = int(params["NumCacheClusters"]) - 1
    subnets = params.get("CacheSubnetGroupName")
    if subnets and subnets not in backend.cache_subnet_groups:
        raise ElastiCacheException("CacheSubnetGroupNotFoundFault", f"Cache Subnet Group {subnets} does not exist.")
    answer = _create_group(response)
    group = backend.replication_groups[identifier]
    _name_region(group, backend.region_name)
    group.status = "creating"
    if joined is not None:
        joined.join(group)
    failing: set[str] = backend.__dict__.get(_FAILING, set())
    end = "create-failed" if identifier in failing else "available"
    failing.discard(identifier)
    agenda_of(backend).after(CREATE_SECONDS, partial(_finish_creation, group, end, joined))
    return answer


def _finish_creation(group: ReplicationGroup, end: str, joined: "elasticache_global.GlobalDatastore | None") -> None:
    group.status = end
    if joined is not None:
        joined.finish_joining(group)


def _name_region(group: ReplicationGroup, region: str) -> None:
    """Put the group's own Region into its host names, where moto has always us-east-1."""
    area, direction, number = region.rsplit("-", 2)
    short = f".{area.replace('-', '')}{_SHORT.get(direction, direction)}{number}."

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        if isinstance(value, list):
            return [named(item) for item in value]
        return value.replace(".use1.", short) if isinstance(value, str) else value

    group.node_groups = named(group.node_groups)
    if group.cluster_enabled:
        group.configuration_endpoint = named(group.configuration_endpoint)


def modify_replication_group(response: ElastiCacheResponse) -> ActionResult:
    """ModifyReplicationGroup: only of one that is at rest."""
    _available(_group(response))
    return _modify_group(response)


def delete_replication_group(response: ElastiCacheResponse) -> ActionResult:
    """DeleteReplicationGroup: `deleting` for a while, its final snapshot taken; refused for a member of a global datastore."""
    params, backend, group = response.params, response.elasticache_backend, _group(response)
    if params.get("RetainPrimaryCluster"):
        raise NotImplementedError("DeleteReplicationGroup with RetainPrimaryCluster")
    if group.status != "create-failed":
        _available(group)
    if elasticache_global.datastore_of(group) is not None:
        message = f"Replication group {group.replication_group_id} is associated with a global datastore: disassociate it first."
        raise ElastiCacheException("InvalidReplicationGroupState", message)
    snapshot = params.get("FinalSnapshotIdentifier")
    if snapshot:
        backend.create_snapshot(snapshot, group.replication_group_id, None, None, None)
    group.status = "deleting"
    agenda_of(backend).after(DELETE_SECONDS, partial(_forget, backend, group))
    return ActionResult({"ReplicationGroup": group})


def _forget(backend: ElastiCacheBackend, group: ReplicationGroup) -> None:
    if backend.replication_groups.get(group.replication_group_id) is group:
        del backend.replication_groups[group.replication_group_id]


def describe_cache_clusters(response: ElastiCacheResponse) -> ActionResult:
    """DescribeCacheClusters: also the nodes of replication groups, each a cluster of its own to AWS."""
    nodes = {
        node: _worded_node(group, node)
        for group in response.elasticache_backend.replication_groups.values()
        for node in group.member_clusters
    }
    wanted = response.params.get("CacheClusterId")
    if wanted in nodes:
        return ActionResult({"CacheClusters": [nodes[wanted]]})
    answer = _describe_clusters(response)
    if not wanted:
        clusters = list(response.elasticache_backend.cache_clusters.values())
        return ActionResult({"CacheClusters": [*clusters, *nodes.values()]})
    return answer


def _worded_node(group: ReplicationGroup, node: str) -> Mapping[str, Any]:
    words = {
        "CacheClusterId": node,
        "ARN": group.arn.replace(f":replicationgroup:{group.replication_group_id}", f":cluster:{node}"),
        "ReplicationGroupId": group.replication_group_id,
        "CacheClusterStatus": group.status,
        "CacheNodeType": group.cache_node_type,
        "Engine": group.engine,
        "EngineVersion": group.engine_version or "7.1.0",
        "NumCacheNodes": 1,
        "PreferredMaintenanceWindow": group.preferred_maintenance_window or "sun:05:00-sun:06:00",
        "CacheSubnetGroupName": group.cache_subnet_group_name or "default",
        "SecurityGroups": [{"SecurityGroupId": one, "Status": "active"} for one in group.security_group_ids or []],
        "AutoMinorVersionUpgrade": group.auto_minor_version_upgrade is not False,
        "SnapshotRetentionLimit": group.snapshot_retention_limit,
        "SnapshotWindow": group.snapshot_window,
    }
    if group.cache_parameter_group_name:
        words["CacheParameterGroup"] = {"CacheParameterGroupName": group.cache_parameter_group_name, "ParameterApplyStatus": "in-sync"}
    if group.notification_topic_arn:
        words["NotificationConfiguration"] = {"TopicArn": group.notification_topic_arn, "TopicStatus": "active"}
    return words


def _group(response: ElastiCacheResponse) -> ReplicationGroup:
    identifier = response.params["ReplicationGroupId"].lower()
    group: ReplicationGroup | None = response.elasticache_backend.replication_groups.get(identifier)
    if group is None:
        raise ReplicationGroupNotFound(identifier)
    return group


def _available(group: ReplicationGroup) -> None:
    """Raise while another operation is under way."""
    if group.status != "available":
        message = (
            f"Replication group {group.replication_group_id} has status {group.status}, which is not valid for the requested operation."
        )
        raise ElastiCacheException("InvalidReplicationGroupState", message)
