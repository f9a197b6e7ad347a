"""MemoryDB: clusters and snapshots that take time, exports to S3, and the refusals that AWS makes and moto does not.

An export is one object per shard, called `<TargetSnapshotName>-<shard>.rdb` ("Exporting a snapshot" of MemoryDB's developer guide).
What can be refused with which code is in botocore's model: CreateCluster has no code of its own for a snapshot or an object that is
missing, so that is an InvalidParameterValueException.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from moto.core.base_backend import BaseBackend
from moto.core.responses import ActionResult, BaseResponse
from moto.memorydb.exceptions import ClusterNotFoundFault, InvalidParameterValueException, MemoryDBClientError, SnapshotNotFoundFault
from moto.memorydb.models import MemoryDBBackend, MemoryDBCluster, MemoryDBSnapshot, memorydb_backends
from moto.memorydb.responses import MemoryDBResponse
from moto.s3.exceptions import S3ClientError

from localcloud.extension.agenda import agenda_of, replace, settle_before_actions
from localcloud.extension.memorydb_s3 import storage

CREATE_CLUSTER_SECONDS: Final = 120.0
DELETE_CLUSTER_SECONDS: Final = 60.0
SNAPSHOT_SECONDS: Final = 60.0
COPY_SECONDS: Final = 45.0

OPEN_ACCESS: Final = "open-access"
_FAMILIES: Final = {
    "default.memorydb-redis6": "memorydb_redis6",
    "default.memorydb-redis7": "memorydb_redis7",
    "default.memorydb-valkey7": "memorydb_valkey7",
}
_PATCHES: Final = {"6.2": "6.2.6", "7.0": "7.0.7", "7.1": "7.1.1", "7.2": "7.2.6", "7.3": "7.3.0"}
_GROUPS, _ACLS, _FAILING = "_localcloud_parameter_groups", "_localcloud_acls", "_localcloud_failing"

_log: Final = logging.getLogger(__name__)

_cluster_to_dict: Final = MemoryDBCluster.to_dict
_create_snapshot: Final = MemoryDBBackend.create_snapshot


def install() -> None:
    """Extend moto's MemoryDB in this process."""
    settle_before_actions(MemoryDBResponse, _backends)
    replace(MemoryDBCluster, to_dict=cluster_to_dict, engine="redis", network_type="ipv4", ip_discovery="ipv4")
    replace(
        MemoryDBResponse,
        create_cluster=create_cluster,
        delete_cluster=delete_cluster,
        create_snapshot=create_snapshot,
        copy_snapshot=copy_snapshot,
        describe_snapshots=describe_snapshots,
        create_acl=create_acl,
        describe_ac_ls=describe_acls,  # what moto makes of DescribeACLs
        create_parameter_group=create_parameter_group,
        describe_parameter_groups=describe_parameter_groups,
    )


def _backends(response: BaseResponse) -> Iterable[BaseBackend]:
    return [memorydb_backends[response.current_account][response.region]]


def fail_next(account: str, region: str, operation: str) -> None:
    """Have the next cluster end as `create-failed` or `restore-failed` (`CreateCluster`), or an export write nothing (`CopySnapshot`)."""
    _kept(memorydb_backends[account][region], _FAILING)[operation] = True


def _kept(backend: MemoryDBBackend, what: str) -> dict[str, Any]:
    """What moto has no place for; it is lost with the backend's other state when moto is reset."""
    kept: dict[str, Any] = backend.__dict__.setdefault(what, {})
    return kept


def _params(response: MemoryDBResponse) -> dict[str, Any]:
    params: dict[str, Any] = json.loads(response.body)
    return params


# Clusters


def cluster_to_dict(cluster: MemoryDBCluster) -> dict[str, Any]:
    """A cluster with the members that moto leaves out."""
    named: Any = cluster  # install() gives it these members
    more = {"Engine": named.engine, "NetworkType": named.network_type, "IpDiscovery": named.ip_discovery}
    return {**_cluster_to_dict(cluster), **more}


def create_cluster(response: MemoryDBResponse) -> ActionResult:
    """CreateCluster: what it names must exist, also the snapshot or the objects that it is restored from; `creating` for a while."""
    backend, params = response.memorydb_backend, _params(response)
    _check_names(backend, params)
    source = _source(backend, params)
    shards = params.get("NumShards") or (source.cluster.num_shards if source else 1)
    cluster = backend.create_cluster(
        cluster_name=params["ClusterName"],
        node_type=params["NodeType"],
        parameter_group_name=params.get("ParameterGroupName", ""),
        description=params.get("Description", ""),
        subnet_group_name=params.get("SubnetGroupName", ""),
        security_group_ids=params.get("SecurityGroupIds", []),
        maintenance_window=params.get("MaintenanceWindow", ""),
        port=params.get("Port", 0),
        sns_topic_arn=params.get("SnsTopicArn", ""),
        tls_enabled=params.get("TLSEnabled", True),
        kms_key_id=params.get("KmsKeyId", ""),
        snapshot_arns=params.get("SnapshotArns", []),
        snapshot_name=params.get("SnapshotName", ""),
        snapshot_retention_limit=params.get("SnapshotRetentionLimit", 0),
        tags=params.get("Tags", []),
        snapshot_window=params.get("SnapshotWindow", ""),
        acl_name=params["ACLName"],
        engine_version=params.get("EngineVersion", ""),
        auto_minor_version_upgrade=params.get("AutoMinorVersionUpgrade", True),
        data_tiering=params.get("DataTiering", False),
        num_shards=shards,
        num_replicas_per_shard=params.get("NumReplicasPerShard", 1),
    )
    _complete(cluster, params)
    cluster.status = "creating"
    failed = "restore-failed" if params.get("SnapshotArns") or source else "create-failed"
    ends_as = failed if _kept(backend, _FAILING).pop("CreateCluster", False) else "available"
    agenda_of(backend).after(CREATE_CLUSTER_SECONDS, partial(_set_status, cluster, ends_as))
    return ActionResult({"Cluster": cluster.to_dict()})


def _complete(cluster: MemoryDBCluster, params: Mapping[str, Any]) -> None:
    """Set what moto drops: engines that it does not know, and shards without replicas."""
    named: Any = cluster
    named.engine = params.get("Engine", named.engine)
    named.network_type = params.get("NetworkType", named.network_type)
    named.ip_discovery = params.get("IpDiscovery", named.ip_discovery)
    version = params.get("EngineVersion")
    if version in _PATCHES:
        cluster.engine_version, cluster.engine_patch_version = version, _PATCHES[version]
    if params.get("NumReplicasPerShard") == 0:
        cluster.num_replicas_per_shard, cluster.availability_mode = 0, "SingleAZ"
        cluster.shards = cluster.get_shard_details()


def _check_names(backend: MemoryDBBackend, params: Mapping[str, Any]) -> None:
    acl, group, subnets = params["ACLName"], params.get("ParameterGroupName"), params.get("SubnetGroupName")
    if acl not in _acls(backend):
        raise MemoryDBClientError("ACLNotFoundFault", f"ACL {acl} not found.")
    if group and group not in _parameter_groups(backend):
        raise MemoryDBClientError("ParameterGroupNotFoundFault", f"Parameter group {group} not found.")
    if subnets and subnets not in backend.subnet_groups:
        raise MemoryDBClientError("SubnetGroupNotFoundFault", f"Subnet group {subnets} not found.")
    if params.get("TLSEnabled") is False and acl != OPEN_ACCESS:
        raise MemoryDBClientError("InvalidParameterCombinationException", f"A cluster without TLS needs the ACL {OPEN_ACCESS}.")
    if any(tag["Key"].lower().startswith("aws:") for tag in params.get("Tags", [])):
        raise InvalidParameterValueException("aws: prefixed tag key names are not allowed for external use.")


def _source(backend: MemoryDBBackend, params: Mapping[str, Any]) -> MemoryDBSnapshot | None:
    """The snapshot that a new cluster is restored from. Raises when it, or an object named in its place, is not there."""
    name, arns = params.get("SnapshotName"), params.get("SnapshotArns")
    if name and arns:
        raise MemoryDBClientError("InvalidParameterCombinationException", "Specify either SnapshotName or SnapshotArns, not both.")
    buckets = storage(backend.account_id, backend.region_name)
    for arn in arns or []:
        bucket, _, key = arn.partition(":::")[2].partition("/")
        if not arn.startswith("arn:") or not key or not buckets.has(bucket, key):
            raise InvalidParameterValueException(f"The snapshot {arn} does not exist or cannot be read.")
    if not name:
        return None
    snapshot = backend.snapshots.get(name)
    if snapshot is None:
        raise InvalidParameterValueException(f"Snapshot {name} not found.")
    if snapshot.status != "available":
        raise InvalidParameterValueException(f"Snapshot {name} is {snapshot.status}.")
    return snapshot


def delete_cluster(response: MemoryDBResponse) -> ActionResult:
    """DeleteCluster: `deleting` for a while, then gone; the final snapshot is available by then."""
    backend, params = response.memorydb_backend, _params(response)
    cluster = _cluster(backend, params["ClusterName"])
    if cluster.status != "available" and not cluster.status.endswith("-failed"):
        raise _invalid_state(cluster)
    if params.get("FinalSnapshotName"):
        final = _create_snapshot(backend, cluster.cluster_name, params["FinalSnapshotName"])
        _begin(backend, final, "creating", DELETE_CLUSTER_SECONDS)
    cluster.status = "deleting"
    agenda_of(backend).after(DELETE_CLUSTER_SECONDS, partial(_forget, backend, cluster))
    return ActionResult({"Cluster": cluster.to_dict()})


def _forget(backend: MemoryDBBackend, cluster: MemoryDBCluster) -> None:
    if backend.clusters.get(cluster.cluster_name) is cluster:
        del backend.clusters[cluster.cluster_name]


def _cluster(backend: MemoryDBBackend, name: str) -> MemoryDBCluster:
    if name not in backend.clusters:
        raise ClusterNotFoundFault(msg=f"Cluster {name} not found.")
    return backend.clusters[name]


def _invalid_state(cluster: MemoryDBCluster) -> MemoryDBClientError:
    return MemoryDBClientError("InvalidClusterStateFault", f"Cluster {cluster.cluster_name} is {cluster.status}.")


def _set_status(resource: MemoryDBCluster | MemoryDBSnapshot, status: str) -> None:
    if resource.status != "deleting":
        resource.status = status


# Snapshots


def create_snapshot(response: MemoryDBResponse) -> ActionResult:
    """CreateSnapshot: of an available cluster, which can do nothing else meanwhile."""
    backend, params = response.memorydb_backend, _params(response)
    cluster = _cluster(backend, params["ClusterName"])
    if cluster.status != "available":
        raise _invalid_state(cluster)
    snapshot = _create_snapshot(backend, cluster.cluster_name, params["SnapshotName"], params.get("KmsKeyId"), params.get("Tags"))
    _begin(backend, snapshot, "creating", SNAPSHOT_SECONDS)
    cluster.status = "snapshotting"
    agenda_of(backend).after(SNAPSHOT_SECONDS, partial(_set_status, cluster, "available"))
    return ActionResult({"Snapshot": snapshot.to_dict()})


def _begin(backend: MemoryDBBackend, snapshot: MemoryDBSnapshot, status: str, seconds: float) -> None:
    snapshot.status = status
    agenda_of(backend).after(seconds, partial(_set_status, snapshot, "available"))


def copy_snapshot(response: MemoryDBResponse) -> ActionResult:
    """CopySnapshot: to a snapshot of another name, or with a bucket to one object for each shard."""
    backend, params = response.memorydb_backend, _params(response)
    source = backend.snapshots.get(params["SourceSnapshotName"])
    if source is None:
        raise SnapshotNotFoundFault(msg=f"Snapshot {params['SourceSnapshotName']} not found.")
    if source.status != "available":
        raise MemoryDBClientError("InvalidSnapshotStateFault", f"Snapshot {source.snapshot_name} is {source.status}.")
    name, bucket = params["TargetSnapshotName"], params.get("TargetBucket")
    if bucket:
        return _export(backend, source, name, bucket)
    if name in backend.snapshots:
        raise MemoryDBClientError("SnapshotAlreadyExistsFault", "Snapshot with specified name already exists.")
    copied = MemoryDBSnapshot(
        backend.account_id, backend.region_name, source.cluster, name, params.get("KmsKeyId"), params.get("Tags"), "manual"
    )
    backend.snapshots[name] = copied
    if params.get("Tags"):
        backend.tag_resource(copied.arn, params["Tags"])
    _begin(backend, copied, "creating", COPY_SECONDS)
    return ActionResult({"Snapshot": copied.to_dict()})


def _export(backend: MemoryDBBackend, source: MemoryDBSnapshot, name: str, bucket: str) -> ActionResult:
    buckets = storage(backend.account_id, backend.region_name)
    region = buckets.bucket_region(bucket)
    if region is None:
        raise InvalidParameterValueException(f"The S3 bucket {bucket} does not exist.")
    if region != backend.region_name:
        raise InvalidParameterValueException(f"The S3 bucket {bucket} is outside of the region.")
    if source.cluster.data_tiering == "true":
        raise MemoryDBClientError("InvalidParameterCombinationException", "Snapshots of clusters with data tiering cannot be exported.")
    keys = [f"{name}-{shard['Name']}.rdb" for shard in source.shards]
    for key in keys:
        if buckets.has(bucket, key):
            raise InvalidParameterValueException(f"The S3 bucket {bucket} already contains an object with key {key}.")
    source.status = "copying"
    written = [] if _kept(backend, _FAILING).pop("CopySnapshot", False) else keys
    agenda_of(backend).after(COPY_SECONDS, partial(_write, backend, source, bucket, written))
    return ActionResult({"Snapshot": source.to_dict()})


def _write(backend: MemoryDBBackend, source: MemoryDBSnapshot, bucket: str, keys: Sequence[str]) -> None:
    """End an export. One that S3 does not take leaves the snapshot available, and the objects so far, as with AWS."""
    buckets = storage(backend.account_id, backend.region_name)
    try:
        for key in keys:
            buckets.put(bucket, key, b"REDIS0011")
    except (S3ClientError, BotoCoreError, ClientError):
        # Not the caller's affair: it is whatever call comes when the export falls due.
        _log.exception("export of %s to %s", source.snapshot_name, bucket)
    _set_status(source, "available")


def describe_snapshots(response: MemoryDBResponse) -> ActionResult:
    """DescribeSnapshots: by snapshot, cluster and source, as far as they are given; a snapshot by name must exist."""
    params = _params(response)
    wanted = {"snapshot_name": params.get("SnapshotName"), "cluster_name": params.get("ClusterName"), "source": _source_name(params)}
    found = [
        snapshot
        for snapshot in response.memorydb_backend.snapshots.values()
        if all(value in (None, getattr(snapshot, name)) for name, value in wanted.items())
    ]
    if params.get("SnapshotName") and not found:
        raise SnapshotNotFoundFault(msg=f"Snapshot {params['SnapshotName']} not found.")
    return ActionResult({"Snapshots": [one.to_desc_dict() if params.get("ShowDetail") else one.to_dict() for one in found]})


def _source_name(params: Mapping[str, Any]) -> str | None:
    return {"system": "automated", "user": "manual"}.get(params.get("Source", ""), params.get("Source"))


# What a cluster refers to


def _acls(backend: MemoryDBBackend) -> dict[str, list[str]]:
    """The users of each access control list."""
    return {OPEN_ACCESS: ["default"], **_kept(backend, _ACLS)}


def create_acl(response: MemoryDBResponse) -> ActionResult:
    """CreateACL: `active` at once."""
    backend, params = response.memorydb_backend, _params(response)
    name, users = params["ACLName"], params.get("UserNames", [])
    if name in _acls(backend):
        raise MemoryDBClientError("ACLAlreadyExistsFault", f"ACL {name} already exists.")
    if missing := [user for user in users if user not in backend.users]:
        raise MemoryDBClientError("UserNotFoundFault", f"Users {', '.join(missing)} not found.")
    _kept(backend, _ACLS)[name] = users
    return ActionResult({"ACL": _acl(backend, name, users)})


def describe_acls(response: MemoryDBResponse) -> ActionResult:
    """DescribeACLs: one by name, or all."""
    backend, name = response.memorydb_backend, _params(response).get("ACLName")
    known = _acls(backend)
    if name and name not in known:
        raise MemoryDBClientError("ACLNotFoundFault", f"ACL {name} not found.")
    return ActionResult({"ACLs": [_acl(backend, one, users) for one, users in known.items() if name in (None, one)]})


def _acl(backend: MemoryDBBackend, name: str, users: list[str]) -> dict[str, Any]:
    return {
        "Name": name,
        "Status": "active",
        "UserNames": users,
        "MinimumEngineVersion": "6.2",
        "Clusters": [cluster.cluster_name for cluster in backend.clusters.values() if cluster.acl_name == name],
        "ARN": f"arn:aws:memorydb:{backend.region_name}:{backend.account_id}:acl/{name}",
    }


def _parameter_groups(backend: MemoryDBBackend) -> dict[str, str]:
    """The family of each parameter group."""
    return {**_FAMILIES, **_kept(backend, _GROUPS)}


def create_parameter_group(response: MemoryDBResponse) -> ActionResult:
    """CreateParameterGroup: a name for a family; no parameters are kept."""
    backend, params = response.memorydb_backend, _params(response)
    name, family = params["ParameterGroupName"], params["Family"]
    if name in _parameter_groups(backend):
        raise MemoryDBClientError("ParameterGroupAlreadyExistsFault", f"Parameter group {name} already exists.")
    if family not in _FAMILIES.values():
        raise InvalidParameterValueException(f"{family} is not a valid parameter group family.")
    _kept(backend, _GROUPS)[name] = family
    return ActionResult({"ParameterGroup": _parameter_group(backend, name, family)})


def describe_parameter_groups(response: MemoryDBResponse) -> ActionResult:
    """DescribeParameterGroups: one by name, or all."""
    backend, name = response.memorydb_backend, _params(response).get("ParameterGroupName")
    known = _parameter_groups(backend)
    if name and name not in known:
        raise MemoryDBClientError("ParameterGroupNotFoundFault", f"Parameter group {name} not found.")
    groups = [_parameter_group(backend, one, family) for one, family in known.items() if name in (None, one)]
    return ActionResult({"ParameterGroups": groups})


def _parameter_group(backend: MemoryDBBackend, name: str, family: str) -> dict[str, Any]:
    arn = f"arn:aws:memorydb:{backend.region_name}:{backend.account_id}:parametergroup/{name}"
    return {"Name": name, "Family": family, "Description": family, "ARN": arn}
