"""What the phases of ElastiCache share: the manifest's words, the lookups, and what must never be done."""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from dr_core.errors import ErrorClass
from dr_core.phases import Mode, Phase
from dr_modules import _elasti_cache as ec
from dr_modules.base import DRModule, Flag, ModuleParameters, Names, PreflightFinding, Text

LEFT = "GlobalReplicationGroupId"  # of a handle: the global datastore that the group has left

_MOST_SECONDARIES = 2

# ElastiCache keeps identifiers in lower case.
CacheId = Annotated[Text, AfterValidator(str.lower)]


class ElastiCacheParameters(ModuleParameters):
    """One replication group of a manifest resource. The subnet group and the security groups are for one that REPLICATE creates."""

    group: CacheId = Field(alias="DBClusterIdentifier", description="the replication group of the Region that the phase works in")
    datastore: CacheId = Field(alias="GlobalClusterIdentifier", description="the global datastore, by its suffix or its whole id")
    endpoint_key: Text | None = Field(
        alias="ClusterEndpointSSMKey", default=None, description="SSM parameter that holds the endpoint to write to; ACTIVATE sets it"
    )
    config_key: Text | None = Field(
        alias="ClusterConfigSSMKey", default=None, description="SSM parameter in which CLEANUP stores the settings that REPLICATE uses"
    )
    subnet_group: Text | None = Field(alias="CacheSubnetGroupName", default=None, description="REPLICATE: in place of the stored one")
    security_groups: Names = Field(alias="SecurityGroupIds", default=(), description="REPLICATE: in place of the stored ones")
    skip_snapshot: Flag = Field(alias="SkipFinalSnapshot", default=False, description="true: CLEANUP deletes without a final snapshot")
    force: Flag = Field(
        alias="Force",
        default=False,
        description="true: CLEANUP deletes a group that stands alone although no other Region serves in its place",
    )


class ElastiCacheBase(DRModule[ElastiCacheParameters]):
    """The lookups, the refusals and the findings of preflight."""

    def before(self, parameters: ElastiCacheParameters) -> Mapping[str, object]:
        """The group's place in its global datastore, and the endpoint that applications use."""
        group = ec.find_group(self.cache, parameters.group)
        place = self.place(parameters, group) if group else None
        return {
            "globalDatastore": place[0].id if place else None,
            "role": place[1].role if place else None,
            "endpoint": self.parameter(parameters.endpoint_key),
        }

    def guard(self, parameters: ElastiCacheParameters) -> None:
        """Refuse the removal of the live side, and a secondary in place of other data."""
        if self.run.phase is Phase.REPLICATE:
            self._refuse_overwriting(parameters)
            return
        if self.run.phase is Phase.CLEANUP:
            self._refuse_live_side(parameters)

    def preflight(self, parameters: ElastiCacheParameters) -> Iterator[PreflightFinding]:
        """Whether the group is fit to serve, its settings will be kept, or the new one's references resolve."""
        if self.run.phase is Phase.REPLICATE:
            yield from self._preflight_of_secondary(parameters)
            return
        group = self.group(parameters)
        if self.run.phase is Phase.CLEANUP:
            if not parameters.config_key:
                message = f"the settings of {group.id} are not kept: name ClusterConfigSSMKey"
                yield self.warning("SettingsNotKept", f"{message}, or REPLICATE knows only what its manifest names")
            return
        if not group.datastore:
            message = f"{group.id} has left its global datastore and has only the data that it had then"
            yield self.warning("StandsAlone", f"{message}: see that it is the one that shall serve")
        if not group.automatic_failover:
            yield self.warning("NoAutomaticFailover", f"{group.id} does not outlive its primary node: turn on automatic failover")

    @cached_property
    def cache(self) -> Any:
        """ElastiCache in the target Region."""
        return self.client("elasticache")

    def group(self, parameters: ElastiCacheParameters) -> ec.Group:
        """The Region's group. Raises ModuleError when there is none."""
        group = ec.find_group(self.cache, parameters.group)
        if group is None:
            message = f"there is no replication group {parameters.group} in {self.target.region}"
            raise self.error("ReplicationGroupNotFoundFault", f"{message}: correct DBClusterIdentifier, or run REPLICATE")
        return group

    def place(self, parameters: ElastiCacheParameters, group: ec.Group) -> tuple[ec.Datastore, ec.Member] | None:
        """The group's global datastore and its place in it, None if it stands alone. Raises ModuleError when it is not the manifest's."""
        if not group.datastore:
            return None
        datastore = ec.find_datastore(self.cache, group.datastore)
        member = datastore.member(group.id, self.target.region) if datastore else None
        if datastore is None or member is None:
            message = f"ElastiCache says that {group.id} is in {group.datastore}, and does not show it there"
            raise self.error("MembershipUnclear", f"{message}: retry when the change under way has ended", ErrorClass.RETRYABLE)
        if not ec.is_kin(datastore, parameters.datastore):
            message = f"{group.id} is in global datastore {datastore.id}, not in {parameters.datastore}"
            raise self.error("WrongGlobalDatastore", f"{message}: correct DBClusterIdentifier or GlobalClusterIdentifier")
        return datastore, member

    def parameter(self, key: str | None) -> str | None:
        """The value of an SSM parameter of the target Region, None if there is none."""
        if not key:
            return None
        ssm = self.client("ssm")
        try:
            return str(ssm.get_parameter(Name=key)["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound:
            return None

    def _refuse_live_side(self, parameters: ElastiCacheParameters) -> None:
        """Refuse to delete what serves: a primary with secondaries in any case, another one unless the peer serves in its place."""
        group = ec.find_group(self.cache, parameters.group)
        if group is None or group.status == "create-failed":
            return
        place = self.place(parameters, group)
        if place is not None:
            datastore, member = place
            primary = datastore.primary
            if not datastore.at_rest or primary is None:
                message = f"global datastore {datastore.id} is {datastore.status}: retry when that has ended"
                raise self.error("ChangeUnderWay", message, ErrorClass.RETRYABLE)
            if primary != member:
                return
            if len(datastore.members) > 1:
                message = f"{group.id} in {self.target.region} is the primary of {datastore.id}, which others replicate"
                raise self.error("LiveSide", f"{message}: fail over first, or correct the Region; Force does not change this")
        if parameters.force or self._peer_serves(parameters, place[0] if place else None):
            return
        message = f"{group.id} in {self.target.region} stands alone, and {self.target.peer_region} shows no primary in its place"
        raise self.error("LiveSide", f'{message}: run ACTIVATE there first, or set "Force": true to delete what may be the only copy')

    def _peer_serves(self, parameters: ElastiCacheParameters, datastore: ec.Datastore | None) -> bool:
        """Whether the other Region holds the primary of the same global datastore, or of the one made in its place."""
        known = datastore.id if datastore else self.handle.get(LEFT)
        return any(
            one.primary_in(self.target.peer_region)
            and (one.family == ec.family(known) if known else ec.is_called(one, parameters.datastore))
            for one in ec.datastores(self.peer_client("elasticache"))
        )

    def _refuse_overwriting(self, parameters: ElastiCacheParameters) -> None:
        """Refuse where a group of that name holds data of its own, or nothing is there to replicate from."""
        group = ec.find_group(self.cache, parameters.group)
        if group is None:
            self.joined(parameters)
            return
        place = self.place(parameters, group)
        if place is None and group.status == "available":
            message = f"replication group {group.id} in {self.target.region} is in no global datastore and may hold data of its own"
            raise self.error("Detached", f"{message}: run CLEANUP for it first")
        if place is not None and place[1].role == ec.PRIMARY:
            message = f"replication group {group.id} in {self.target.region} is the primary of {place[0].id}"
            remedy = "REPLICATE works in the Region that was left: correct the Region, or run CLEANUP there first"
            raise self.error("LiveSide", f"{message}: {remedy}")

    def joined(self, parameters: ElastiCacheParameters) -> ec.Datastore:
        """The global datastore to join, whose primary is in another Region. Raises ModuleError unless there is exactly one."""
        seen = {one.id: one for one in ec.datastores(self.cache)}
        if self.run.mode is not Mode.UNPLANNED:
            # A Region may not show a global datastore in which it has no part.
            seen |= {one.id: one for one in ec.datastores(self.peer_client("elasticache"))}
        served = [one for one in seen.values() if one.primary is not None and one.primary.region != self.target.region]
        found = [one for one in served if ec.is_called(one, parameters.datastore)]
        found = found or [one for one in served if ec.is_kin(one, parameters.datastore)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(one.id for one in found)
            raise self.error("SeveralGlobalDatastores", f"GlobalClusterIdentifier {parameters.datastore} may be {ids}: name the whole id")
        asked = self.target.region if self.run.mode is Mode.UNPLANNED else f"{self.target.region} or {self.target.peer_region}"
        message = f"there is no global datastore {parameters.datastore} in {asked} with a primary elsewhere than {self.target.region}"
        raise self.error("GlobalReplicationGroupNotFoundFault", f"{message}: correct GlobalClusterIdentifier, or run ACTIVATE first")

    def secondary(self, parameters: ElastiCacheParameters) -> dict[str, Any]:
        """The request for the secondary: what the manifest names, else what CLEANUP stored, else ElastiCache's defaults."""
        datastore = self.joined(parameters)
        named = {"CacheSubnetGroupName": parameters.subnet_group, "SecurityGroupIds": list(parameters.security_groups)}
        return {
            "ReplicationGroupDescription": f"Secondary of {datastore.id}",
            **self._stored_settings(parameters),
            **{key: value for key, value in named.items() if value},
            "ReplicationGroupId": parameters.group,
            "GlobalReplicationGroupId": datastore.id,
        }

    def _stored_settings(self, parameters: ElastiCacheParameters) -> dict[str, Any]:
        """What CLEANUP stored; nothing where it has not. Raises ModuleError for anything else."""
        value = self.parameter(parameters.config_key)
        if value is None:
            return {}
        try:
            stored = json.loads(value)
        except ValueError:
            stored = None
        if not isinstance(stored, dict) or not stored.keys() <= ec.SETTINGS:
            message = f"{parameters.config_key} holds no settings of a replication group as CLEANUP stores them"
            raise self.error("InvalidSettings", f"{message}: correct ClusterConfigSSMKey, or delete the parameter to go without")
        return stored

    def _preflight_of_secondary(self, parameters: ElastiCacheParameters) -> Iterator[PreflightFinding]:
        datastore, wanted = self.joined(parameters), self.secondary(parameters)
        if len(datastore.members) > _MOST_SECONDARIES:
            message = f"{datastore.id} has {_MOST_SECONDARIES} secondaries, as many as ElastiCache allows: remove one"
            yield self.obstacle("TooManySecondaries", message)
        subnets = wanted.get("CacheSubnetGroupName")
        if subnets is None:
            message = f"nothing tells the network of {parameters.group}: ElastiCache puts it into the default one"
            yield self.warning("DefaultNetwork", f"{message}; name CacheSubnetGroupName and SecurityGroupIds")
            return
        try:
            self.cache.describe_cache_subnet_groups(CacheSubnetGroupName=subnets)
        except self.cache.exceptions.CacheSubnetGroupNotFoundFault:
            message = f"there is no cache subnet group {subnets} in {self.target.region}: create it, or name another CacheSubnetGroupName"
            yield self.obstacle("CacheSubnetGroupNotFound", message)
