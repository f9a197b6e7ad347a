"""ElastiCache: global datastores over several Regions, with failover and disassociation that take time.

A Region shows only the global datastores in which it has a member.
https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Redis-Global-Datastore.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from moto.core.responses import ActionResult
from moto.elasticache.exceptions import ElastiCacheException, ReplicationGroupNotFound
from moto.elasticache.models import ElastiCacheBackend, ReplicationGroup, elasticache_backends
from moto.elasticache.responses import ElastiCacheResponse

from localcloud.extension import cloudwatch
from localcloud.extension.agenda import agenda_of, replace, settle

CREATE_SECONDS: Final = 30.0
FAILOVER_SECONDS: Final = 60.0
DISASSOCIATE_SECONDS: Final = 40.0
DELETE_SECONDS: Final = 20.0
LAG_SECONDS: Final = 1.0
MOST_SECONDARIES: Final = 2

# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Redis-Global-Datastores-CLI.html
PREFIXES: Final = {
    "us-east-1": "ldgnf",
    "us-east-2": "fpkhr",
    "us-west-1": "virxk",
    "us-west-2": "sgaui",
    "ca-central-1": "bxodz",
    "eu-central-1": "iudkw",
    "eu-west-1": "gxeiz",
    "eu-west-2": "okuqm",
    "eu-west-3": "fgjhi",
    "ap-northeast-1": "quwsw",
    "ap-northeast-2": "lfqnh",
    "ap-south-1": "erpgt",
    "ap-southeast-1": "vlqxn",
    "ap-southeast-2": "vbgxd",
    "sa-east-1": "juxlw",
}

_HOME_REGION: Final = "us-east-1"  # whose backend keeps the global datastores of an account
_ATTRIBUTE: Final = "_localcloud_datastores"
# A secondary has these from the primary: AWS refuses a request that names them too.
_OF_THE_PRIMARY: Final = (
    "NumNodeGroups",
    "CacheParameterGroupName",
    "Engine",
    "EngineVersion",
    "CacheNodeType",
    "CacheSecurityGroupNames",
    "TransitEncryptionEnabled",
    "AtRestEncryptionEnabled",
    "SnapshotArns",
    "SnapshotName",
    "PrimaryClusterId",
)
_AT_REST: Final = frozenset({"available", "primary-only"})


@dataclass
class Member:
    """A replication group's place in a global datastore."""

    group: ReplicationGroup
    region: str
    role: str
    status: str

    def worded(self) -> Mapping[str, str]:
        """As the model words it."""
        return {
            "ReplicationGroupId": self.group.replication_group_id,
            "ReplicationGroupRegion": self.region,
            "Role": self.role,
            "AutomaticFailover": self.group.automatic_failover,
            "Status": self.status,
        }


class GlobalDatastore:
    """A global datastore that knows what is happening to it."""

    def __init__(self, backend: ElastiCacheBackend, identifier: str, description: str, primary: ReplicationGroup) -> None:
        self.id = identifier
        self.arn = f"arn:aws:elasticache::{backend.account_id}:globalreplicationgroup:{self.id}"
        self.description = description
        self.status = "creating"
        self.members = [Member(primary, backend.region_name, "PRIMARY", "associating")]
        self._agenda = agenda_of(elasticache_backends[backend.account_id][_HOME_REGION])
        primary.status = "modifying"
        self._agenda.after(CREATE_SECONDS, self._rest)

    @property
    def primary(self) -> Member:
        """The member that takes writes: there is always one."""
        return next(member for member in self.members if member.role == "PRIMARY")

    def member(self, group_id: str, region: str) -> Member:
        """A member. Raises InvalidParameterValue for any other group."""
        for member in self.members:
            if (member.group.replication_group_id, member.region) == (group_id, region):
                return member
        message = f"Replication group {group_id} in {region} is not associated with Global Replication Group {self.id}."
        raise ElastiCacheException("InvalidParameterValue", message)

    def check_at_rest(self) -> None:
        """Raise while another operation is under way."""
        if self.status not in _AT_REST:
            raise ElastiCacheException(
                "InvalidGlobalReplicationGroupState", f"Global Replication Group {self.id} is in {self.status} state."
            )

    def check_new_member(self, region: str, params: Mapping[str, Any]) -> None:
        """Raise unless a group of that Region, asked for like this, may join."""
        self.check_at_rest()
        named = [name for name in _OF_THE_PRIMARY if params.get(name) not in (None, [], "")]
        if named:
            message = f"{', '.join(named)} can't be specified with GlobalReplicationGroupId: a secondary has them from the primary."
            raise ElastiCacheException("InvalidParameterCombination", message)
        if any(member.region == region for member in self.members):
            raise ElastiCacheException("InvalidParameterValue", f"{self.id} has a member in {region} already.")
        if len(self.members) > MOST_SECONDARIES:
            raise ElastiCacheException("InvalidParameterValue", f"{self.id} has {MOST_SECONDARIES} secondaries already.")

    def given_to_secondaries(self) -> dict[str, Any]:
        """What a secondary has from the primary."""
        group = self.primary.group
        given = {
            "CacheNodeType": group.cache_node_type,
            "Engine": group.engine,
            "EngineVersion": group.engine_version,
            "CacheParameterGroupName": group.cache_parameter_group_name,
            "TransitEncryptionEnabled": group.transit_encryption_enabled,
            "AtRestEncryptionEnabled": group.at_rest_encryption_enabled,
            "ClusterMode": group.cluster_mode,
            "NumNodeGroups": len(group.node_groups),
        }
        return {name: value for name, value in given.items() if value is not None}

    def join(self, group: ReplicationGroup) -> None:
        """Begin to associate a group that is being created."""
        self.members.append(Member(group, _region(group), "SECONDARY", "associating"))
        self.status = "modifying"

    def finish_joining(self, group: ReplicationGroup) -> None:
        """Have a group replicate that has been created, or forget one that has not."""
        self.members = [member for member in self.members if member.group is not group or group.status == "available"]
        self._rest()

    def fail_over(self, target: Member) -> None:
        """Begin to make another member the primary."""
        self.status = "modifying"
        for member in self.members:
            member.group.status = "modifying"
        self._agenda.after(FAILOVER_SECONDS, partial(self._finish_failover, target))

    def _finish_failover(self, target: Member) -> None:
        for member in self.members:
            member.role = "PRIMARY" if member is target else "SECONDARY"
        self._rest()

    def disassociate(self, member: Member) -> None:
        """Begin to make a secondary a replication group of its own."""
        self.status = "modifying"
        member.status = "disassociating"
        member.group.status = "modifying"
        self._agenda.after(DISASSOCIATE_SECONDS, partial(self._finish_disassociation, member))

    def _finish_disassociation(self, member: Member) -> None:
        self.members.remove(member)
        member.group.status = "available"
        self._rest()

    def _rest(self) -> None:
        self.status = "available" if len(self.members) > 1 else "primary-only"
        for member in self.members:
            member.status = "associated"
            if member.group.status == "modifying":
                member.group.status = "available"

    def delete(self, known: dict[str, "GlobalDatastore"]) -> None:
        """Begin to remove a datastore whose primary stays as a replication group of its own."""
        self.status = "deleting"
        self._agenda.after(DELETE_SECONDS, partial(self._finish_deletion, known))

    def _finish_deletion(self, known: dict[str, "GlobalDatastore"]) -> None:
        self.members.clear()
        del known[self.id]

    def worded(self, *, with_members: bool = True) -> Mapping[str, Any]:
        """As the model words it."""
        group = self.primary.group
        words: dict[str, Any] = {
            "GlobalReplicationGroupId": self.id,
            "GlobalReplicationGroupDescription": self.description,
            "Status": self.status,
            "CacheNodeType": group.cache_node_type,
            "Engine": group.engine,
            "EngineVersion": group.engine_version or "7.1.0",
            "ClusterEnabled": group.cluster_enabled,
            "GlobalNodeGroups": [{"GlobalNodeGroupId": f"{self.id}-{node['node_group_id']}"} for node in group.node_groups],
            "AuthTokenEnabled": group.auth_token_enabled,
            "TransitEncryptionEnabled": group.transit_encryption_enabled,
            "AtRestEncryptionEnabled": group.at_rest_encryption_enabled,
            "ARN": self.arn,
        }
        return {**words, "Members": [member.worded() for member in self.members]} if with_members else words


def install() -> None:
    """Extend moto's ElastiCache in this process; `elasticache.install` calls it."""
    replace(
        ElastiCacheResponse,
        create_global_replication_group=create_global_replication_group,
        delete_global_replication_group=delete_global_replication_group,
        describe_global_replication_groups=describe_global_replication_groups,
        disassociate_global_replication_group=disassociate_global_replication_group,
        failover_global_replication_group=failover_global_replication_group,
    )
    cloudwatch.live("AWS/ElastiCache", "GlobalDatastoreReplicationLag", "Seconds", _lags)


def create_global_replication_group(response: ElastiCacheResponse) -> ActionResult:
    """CreateGlobalReplicationGroup: around an existing replication group of this Region, which is its primary."""
    params, backend = response.params, response.elasticache_backend
    group_id = params["PrimaryReplicationGroupId"].lower()
    group = backend.replication_groups.get(group_id)
    if group is None:
        raise ReplicationGroupNotFound(group_id)
    if group.status != "available" or datastore_of(group) is not None:
        message = f"Replication group {group_id} has status {group.status} or is associated with a global datastore already."
        raise ElastiCacheException("InvalidReplicationGroupState", message)
    if group.cache_node_type.startswith("cache.t"):
        raise ElastiCacheException("InvalidParameterValue", f"Global datastores are not supported for node type {group.cache_node_type}.")
    description = params.get("GlobalReplicationGroupDescription") or " "
    identifier = f"{PREFIXES[response.region]}-{params['GlobalReplicationGroupIdSuffix']}"
    known = _datastores(backend.account_id)
    if identifier in known:
        raise ElastiCacheException("GlobalReplicationGroupAlreadyExistsFault", f"Global Replication Group {identifier} already exists.")
    created = known[identifier] = GlobalDatastore(backend, identifier, description, group)
    return ActionResult({"GlobalReplicationGroup": created.worded()})


def describe_global_replication_groups(response: ElastiCacheResponse) -> ActionResult:
    """DescribeGlobalReplicationGroups: one by its identifier, or all that this Region has a part in."""
    params = response.params
    with_members = bool(params.get("ShowMemberInfo"))
    if params.get("GlobalReplicationGroupId"):
        found = [_named(response)]
    else:
        found = [one for one in _datastores(response.current_account).values() if _seen(one, response.region)]
    return ActionResult({"GlobalReplicationGroups": [one.worded(with_members=with_members) for one in found]})


def failover_global_replication_group(response: ElastiCacheResponse) -> ActionResult:
    """FailoverGlobalReplicationGroup: another member becomes the primary; both sides must be healthy."""
    params, moved = response.params, _named(response)
    target = moved.member(params["PrimaryReplicationGroupId"].lower(), params["PrimaryRegion"])
    if target is moved.primary:
        raise ElastiCacheException("InvalidParameterValue", f"{target.group.replication_group_id} is the primary of {moved.id} already.")
    moved.check_at_rest()
    if any(member.group.status != "available" for member in (target, moved.primary)):
        raise ElastiCacheException("InvalidGlobalReplicationGroupState", f"A member of {moved.id} is not available.")
    moved.fail_over(target)
    return ActionResult({"GlobalReplicationGroup": moved.worded()})


def disassociate_global_replication_group(response: ElastiCacheResponse) -> ActionResult:
    """DisassociateGlobalReplicationGroup: a secondary goes on by itself; the primary cannot leave."""
    params, left = response.params, _named(response)
    member = left.member(params["ReplicationGroupId"].lower(), params["ReplicationGroupRegion"])
    if member is left.primary:
        raise ElastiCacheException("InvalidParameterValue", f"The primary of {left.id} can't be disassociated.")
    left.check_at_rest()
    left.disassociate(member)
    return ActionResult({"GlobalReplicationGroup": left.worded()})


def delete_global_replication_group(response: ElastiCacheResponse) -> ActionResult:
    """DeleteGlobalReplicationGroup: one with no secondary; its primary stays."""
    deleted = _named(response)
    if not response.params["RetainPrimaryReplicationGroup"]:
        raise ElastiCacheException("InvalidParameterValue", "RetainPrimaryReplicationGroup must be true.")
    deleted.check_at_rest()
    if len(deleted.members) > 1:
        raise ElastiCacheException("InvalidGlobalReplicationGroupState", f"{deleted.id} has secondaries: disassociate them first.")
    deleted.delete(_datastores(response.current_account))
    return ActionResult({"GlobalReplicationGroup": deleted.worded()})


def joined_by(response: ElastiCacheResponse) -> GlobalDatastore | None:
    """The global datastore that a new replication group asks to join, checked; None for one of its own."""
    identifier = response.params.get("GlobalReplicationGroupId")
    if not identifier:
        return None
    # The one look from a Region that has no part in it yet.
    joined = _datastores(response.current_account).get(identifier)
    if joined is None:
        raise _not_found(identifier)
    if response.params["ReplicationGroupId"] in response.elasticache_backend.replication_groups:
        return joined  # moto says that it exists
    joined.check_new_member(response.region, response.params)
    return joined


def datastore_of(group: ReplicationGroup) -> GlobalDatastore | None:
    """The global datastore of which a replication group is a member."""
    known = _datastores(group.arn.split(":")[4]).values()
    return next((one for one in known for member in one.members if member.group is group), None)


def info_of(group: ReplicationGroup) -> Mapping[str, str] | None:
    """What a replication group tells of its global datastore; nothing when it stands alone."""
    found = datastore_of(group)
    if found is None:
        return None
    role = next(member.role for member in found.members if member.group is group)
    return {"GlobalReplicationGroupId": found.id, "GlobalReplicationGroupMemberRole": role}


def _lags(account: str, region: str) -> Iterable[tuple[dict[str, str], float]]:
    """A secondary that replicates has a lag, told of its primary node; others have none."""
    settle(list(elasticache_backends[account].values()))
    for found in _datastores(account).values():
        for member in found.members:
            if member.region == region and (member.role, member.status) == ("SECONDARY", "associated"):
                yield {"CacheClusterId": member.group.member_clusters[0], "CacheNodeId": "0001"}, LAG_SECONDS


def _datastores(account: str) -> dict[str, GlobalDatastore]:
    """The global datastores of an account; lost with moto's other state when that is reset."""
    found: dict[str, GlobalDatastore] = elasticache_backends[account][_HOME_REGION].__dict__.setdefault(_ATTRIBUTE, {})
    return found


def _seen(datastore: GlobalDatastore, region: str) -> bool:
    return any(member.region == region for member in datastore.members)


def _named(response: ElastiCacheResponse) -> GlobalDatastore:
    identifier = response.params["GlobalReplicationGroupId"]
    found = _datastores(response.current_account).get(identifier)
    if found is None or not _seen(found, response.region):
        raise _not_found(identifier)
    return found


def _not_found(identifier: str) -> ElastiCacheException:
    return ElastiCacheException("GlobalReplicationGroupNotFoundFault", f"Global Replication Group {identifier} does not exist.")


def _region(group: ReplicationGroup) -> str:
    return group.arn.split(":")[3]
