"""OpenSearchService: scale a domain up ahead of a failover, and down in the Region left behind.

One `update_domain_config` changes data nodes, dedicated master nodes, zones with their subnets, the volume of each data node
(TotalStorageSize divided by the number of nodes, rounded up) and Auto-Tune. What the manifest does not name stays as it is.

INSTANTIATE never lowers: a domain that has more nodes, zones, storage or larger instances than the manifest asks for may be serving, and
keeps them. CLEANUP never raises: it goes down to the manifest's numbers and no further, and `"MasterNodeCount": 0` removes the dedicated
masters. CLEANUP spreads the storage that is left over the nodes that are left. OpenSearch itself refuses a change for which the data would
not fit.

After a drill, CLEANUP gives the domain the nodes, volumes, subnets and Auto-Tune that it had.

OpenSearch does not tell which Region serves. CLEANUP refuses (`LiveSide`) to make a domain smaller while the other Region has no Active
domain of the same name that is larger, in whatever is lowered, than what would be left here. Where the names differ between the Regions,
or the domain shall be small in both, `"Force": true` says so.

A change is a blue/green deployment and takes from minutes to hours; OpenSearch makes one at a time. One that somebody else began is
waited for. The id of the change is kept: the resource is done when that change is COMPLETED, the domain is Active and not Processing, and
has what was asked for; it has failed when that change has, with OpenSearch's reason.

Example manifest resource:

    {
      "action": "OpenSearchService",
      "resourceName": "search-cluster",
      "parameters": {
        "DomainName": "prod-search",
        "DataNodeType": "r6g.large.search",
        "DataNodeCount": 3,
        "MasterNodeType": "r6g.large.search",
        "MasterNodeCount": 3,
        "SubnetList": ["subnet-abc123", "subnet-def456"],
        "AzCount": 2,
        "TotalStorageSize": 300,
        "AutoTune": "ENABLED"
      }
    }
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

from botocore.exceptions import ClientError
from pydantic import Field, model_validator

from dr_core.phases import Phase
from dr_modules import _open_search
from dr_modules._open_search import Domain, size_of
from dr_modules.base import (
    Count,
    DRModule,
    Flag,
    Handle,
    ModuleParameters,
    Names,
    NativeEvent,
    Permissions,
    PreflightFinding,
    Status,
    Text,
    register,
)

_CHANGE = "changeId"
# A blue/green deployment makes new nodes beside the old ones. AWS: reserve three times as many addresses in a subnet as it has data nodes.
_ADDRESSES_PER_NODE = 3


class OpenSearchServiceParameters(ModuleParameters):
    """The size of one domain; members that are left out stay as they are."""

    domain: Text = Field(alias="DomainName", min_length=3, max_length=28, description="name of the domain in the target Region")
    data_type: Text | None = Field(alias="DataNodeType", default=None, description="instance type of the data nodes")
    data_count: Count | None = Field(alias="DataNodeCount", default=None, ge=1, description="number of data nodes, at least AzCount")
    master_type: Text | None = Field(alias="MasterNodeType", default=None, description="instance type of the dedicated master nodes")
    master_count: Count | None = Field(
        alias="MasterNodeCount", default=None, description="number of dedicated master nodes; AWS advises 3, 0 is none"
    )
    subnets: Names | None = Field(
        alias="SubnetList", default=None, min_length=1, description="subnets of a domain in a VPC, one for each of AzCount zones"
    )
    zones: Count | None = Field(alias="AzCount", default=None, ge=1, le=3, description="number of Availability Zones of the data nodes")
    storage: Count | None = Field(
        alias="TotalStorageSize", default=None, ge=10, description="GiB of all data nodes together; each gets its share, rounded up"
    )
    auto_tune: Literal["ENABLED", "DISABLED"] | None = Field(alias="AutoTune", default=None, description="whether Auto-Tune is on")

    force: Flag = Field(
        alias="Force", default=False, description="true: CLEANUP shrinks the domain although none in the other Region is larger"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.model_fields_set - {"domain", "force"}:
            raise ValueError("name at least one thing to change, such as DataNodeCount")
        if self.zones and self.data_count and self.data_count < self.zones:
            raise ValueError("DataNodeCount must be at least AzCount")
        if self.subnets and len(self.subnets) != self.zones:
            raise ValueError("SubnetList needs AzCount, and as many subnets as it says")
        return self


@register("OpenSearchService")
class OpenSearchService(DRModule[OpenSearchServiceParameters]):
    """Domains of Amazon OpenSearch Service."""

    _actions = ("es:DescribeDomain", "es:DescribeDomainChangeProgress", "es:UpdateDomainConfig", "ec2:DescribeSubnets")
    drills = frozenset({Phase.INSTANTIATE})
    permissions: ClassVar[Permissions] = {Phase.INSTANTIATE: _actions, Phase.CLEANUP: _actions}
    # Looked up by OpenSearch, as the caller, when it changes a domain in a VPC.
    implied_permissions: ClassVar[Permissions] = dict.fromkeys(permissions, ("ec2:DescribeSecurityGroups", "ec2:DescribeVpcs"))
    native_events = (
        NativeEvent("aws.es", "Amazon OpenSearch Service Domain Update Notification"),
        NativeEvent("aws.es", "Domain Error Notification"),
    )
    named_in_events = ("DomainName",)
    terminal_codes = frozenset({"InvalidTypeException", "LimitExceededException"})
    check_cap_seconds = 30
    timeout_seconds = 3 * 3600

    def before(self, parameters: OpenSearchServiceParameters) -> Mapping[str, object]:
        """The size of the domain."""
        domain = self._domain(parameters)
        return {"cluster": dict(domain.cluster), "ebs": dict(domain.ebs), "vpc": dict(domain.vpc), "autoTune": domain.auto_tune}

    def guard(self, parameters: OpenSearchServiceParameters) -> None:
        """Refuse a domain that cannot become what the manifest asks for, and to shrink the live side."""
        domain, name = self._domain(parameters), parameters.domain
        if self.is_undoing:
            if not parameters.force:
                self._refuse_live_side(parameters, domain)
            return
        nodes, zones = self._nodes(parameters, domain), self._zones(parameters, domain)
        if nodes < zones:
            message = f"domain {name} cannot have {nodes} data nodes in {zones} zones"
            raise self.error("TooFewDataNodes", f"{message}: correct AzCount or DataNodeCount")
        if parameters.subnets and not domain.vpc:
            message = f"domain {name} has a public endpoint, and OpenSearch moves none into a VPC"
            raise self.error("PublicDomain", f"{message}: take SubnetList out of the manifest")
        if parameters.storage and not domain.ebs.get("EBSEnabled"):
            message = f"domain {name} has the instances' own disks and no EBS volumes"
            raise self.error("NoEbsVolumes", f"{message}: take TotalStorageSize out of the manifest")
        if self._masters(parameters, domain) and not (parameters.master_type or domain.cluster.get("DedicatedMasterType")):
            message = f"domain {name} has no dedicated master nodes, and nothing tells their type"
            raise self.error("UnknownMasterNodeType", f"{message}: give MasterNodeType in the manifest")
        if self.run.phase is Phase.CLEANUP and not parameters.force:
            self._refuse_live_side(parameters, domain)

    def preflight(self, parameters: OpenSearchServiceParameters) -> Iterable[PreflightFinding]:
        """Whether the subnets exist, are in different zones, and have the addresses that the new nodes take."""
        domain = self._domain(parameters)
        wanted = self._subnets(parameters, domain) or list(domain.vpc.get("SubnetIds", []))
        if not wanted:
            return
        try:
            found = self.client("ec2").describe_subnets(SubnetIds=wanted)["Subnets"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "InvalidSubnetID.NotFound":
                raise
            message = f"not all of the subnets {', '.join(wanted)} are in {self.target.region}: {error.response['Error']['Message']}"
            yield self.obstacle("SubnetNotFound", f"{message}: correct SubnetList")
            return
        if len({subnet["AvailabilityZone"] for subnet in found}) < len(found):
            yield self.obstacle("SubnetsShareZone", f"subnets {', '.join(wanted)} are not in different zones: correct SubnetList")
        needed = _ADDRESSES_PER_NODE * -(-self._nodes(parameters, domain) // len(found))
        for subnet in found:
            if subnet["AvailableIpAddressCount"] < needed:
                message = f"subnet {subnet['SubnetId']} has {subnet['AvailableIpAddressCount']} free addresses"
                yield self.warning("FewAddresses", f"{message}, a change may take {needed}: free some")

    def instantiate(self, parameters: OpenSearchServiceParameters) -> Handle:
        """Scale up; the handle holds the id of the change."""
        return self._change(parameters)

    def instantiate_status_check(self, parameters: OpenSearchServiceParameters) -> Status:
        """Done when the change is COMPLETED and the Active domain has at least what was asked for."""
        return self._observed(parameters)

    def cleanup(self, parameters: OpenSearchServiceParameters) -> Handle:
        """Scale down; the handle holds the id of the change."""
        return self._change(parameters)

    def cleanup_status_check(self, parameters: OpenSearchServiceParameters) -> Status:
        """Done when the change is COMPLETED and the Active domain has no more than what was asked for."""
        return self._observed(parameters)

    def undo(self, parameters: OpenSearchServiceParameters) -> Handle:
        """Give the domain its former configuration; the handle holds the id of the change."""
        return self._change(parameters)

    def undo_status_check(self, parameters: OpenSearchServiceParameters) -> Status:
        """Done when the change is COMPLETED and the Active domain has its former configuration."""
        return self._observed(parameters)

    def _change(self, parameters: OpenSearchServiceParameters) -> Handle:
        """Ask for what is missing. With nothing missing, as after a failed change that still shows, ask for all of it again."""
        self.guard(parameters)
        domain = self._domain(parameters)
        if domain.processing:
            return self.handle
        changes = dict(self._missing(parameters, domain)) or dict(self._wanted(parameters, domain))
        try:
            answer = self._client.update_domain_config(DomainName=parameters.domain, **changes)
        except self._client.exceptions.ValidationException:
            # Also the answer when somebody else has just begun a change: it is waited for, then this is due again.
            if not self._domain(parameters).processing:
                raise
            return {}
        details = answer["DomainConfig"].get("ChangeProgressDetails") or {}
        return {_CHANGE: details.get("ChangeId") or ""}  # empty: OpenSearch has nothing to change

    def _observed(self, parameters: OpenSearchServiceParameters) -> Status:
        name, domain = parameters.domain, self._domain(parameters)
        asked = _CHANGE in self.handle
        progress = _open_search.progress_of(self._client, name, self.handle.get(_CHANGE, ""))
        status = progress.get("Status", "")
        if status == "FAILED" or progress.get("ConfigChangeStatus") in _open_search.CHANGE_REJECTED:
            if self.handle.get(_CHANGE):
                return Status.failed(_open_search.failure_code(progress), f"{name}: {_open_search.reason_of(progress)}")
            if not asked and not domain.processing:
                return Status.next_step(f"{name}: the last change failed, {domain.counts}")
        if status in _open_search.CHANGE_RUNS or progress.get("ConfigChangeStatus") == "PendingUserInput":
            return Status.in_progress(f"{name}: {_open_search.stage_of(progress)}", _open_search.percent_of(progress))
        if domain.processing:
            return Status.in_progress(f"{name}: {domain.doing}")
        missing = dict(self._missing(parameters, domain))
        if missing:
            detail = f"{name}: {domain.counts}; {', '.join(missing)} to be changed"
            return Status.not_started(detail) if asked else Status.next_step(detail)
        if status not in _open_search.CHANGE_ENDED:
            return Status.in_progress(f"{name}: its change is {status}")
        return Status.done(f"{name}: {domain.counts}")

    @cached_property
    def _client(self) -> Any:
        return self.client("opensearch")

    def _domain(self, parameters: OpenSearchServiceParameters) -> Domain:
        """The domain. Raises ModuleError for one that is not there, or on its way out."""
        found = _open_search.find_domain(self._client, parameters.domain)
        if found is None:
            message = f"there is no domain {parameters.domain} in {self.target.region}"
            raise self.error("DomainNotFound", f"{message}: correct DomainName, or create the domain there")
        if found.doing in _open_search.GOING:
            raise self.error("DomainNotUsable", f"domain {parameters.domain} is {found.doing}: restore it, then retry")
        return found

    def _refuse_live_side(self, parameters: OpenSearchServiceParameters, domain: Domain) -> None:
        """Refuse to make smaller what no larger domain of that name in the other Region stands in for."""
        wanted = dict(self._wanted(parameters, domain))
        left = replace(domain, cluster=wanted["ClusterConfig"], ebs=wanted.get("EBSOptions", domain.ebs)).measures
        lowered = [what for what, number in domain.measures.items() if left[what] < number]
        if not lowered:
            return
        name, there = parameters.domain, self.target.peer_region
        other = _open_search.find_domain(self.peer_client("opensearch"), name)
        if other is not None and not other.processing and all(other.measures[what] > left[what] for what in lowered):
            return
        seen = f"it is {other.doing} with {other.counts} of {other.type} there" if other else "there is none"
        message = f"domain {name} would be smaller in {self.target.region}, and no larger one in {there} stands in for it ({seen})"
        remedy = 'correct the Regions of the request, run INSTANTIATE for the other one, or set "Force": true to shrink it all the same'
        raise self.error("LiveSide", f"{message}: it may be the live side; {remedy}")

    def _bounded(self, present: int, asked: int | None) -> int:
        """What the phase makes of a number: INSTANTIATE only raises, CLEANUP only lowers."""
        if asked is None:
            return present
        return min(present, asked) if self.run.phase is Phase.CLEANUP else max(present, asked)

    def _nodes(self, parameters: OpenSearchServiceParameters, domain: Domain) -> int:
        return self._bounded(domain.nodes, parameters.data_count)

    def _masters(self, parameters: OpenSearchServiceParameters, domain: Domain) -> int:
        return self._bounded(domain.masters, parameters.master_count)

    def _zones(self, parameters: OpenSearchServiceParameters, domain: Domain) -> int:
        return self._bounded(domain.zones, parameters.zones)

    def _type(self, present: str, asked: str | None) -> str:
        """The type asked for, unless INSTANTIATE would make it smaller or CLEANUP larger."""
        if asked is None or not present:
            return asked or present
        wrong_way = size_of(asked) > size_of(present) if self.run.phase is Phase.CLEANUP else size_of(asked) < size_of(present)
        return present if wrong_way else asked

    def _volume(self, parameters: OpenSearchServiceParameters, domain: Domain) -> int:
        """GiB of each data node."""
        if parameters.storage is None:
            return domain.volume
        nodes = self._nodes(parameters, domain)
        if self.run.phase is Phase.CLEANUP:
            return -(-min(parameters.storage, domain.volume * domain.nodes) // nodes)
        return max(domain.volume, -(-parameters.storage // nodes))

    def _subnets(self, parameters: OpenSearchServiceParameters, domain: Domain) -> list[str] | None:
        """The manifest's subnets, where their number fits the zones that the domain shall have."""
        if parameters.subnets and len(parameters.subnets) == self._zones(parameters, domain):
            return list(parameters.subnets)
        return None

    def _wanted(self, parameters: OpenSearchServiceParameters, domain: Domain) -> Iterator[tuple[str, dict[str, Any]]]:
        """The parts of the configuration that the manifest speaks of, each whole, as the domain shall have them."""
        if self.is_undoing:
            yield from self._former()
            return
        masters, zones = self._masters(parameters, domain), self._zones(parameters, domain)
        cluster = {
            **domain.cluster,
            "InstanceType": self._type(domain.type, parameters.data_type),
            "InstanceCount": self._nodes(parameters, domain),
            "DedicatedMasterEnabled": masters > 0,
            "ZoneAwarenessEnabled": zones > 1,
        }
        if masters:
            kept = str(domain.cluster.get("DedicatedMasterType") or "")
            cluster |= {"DedicatedMasterType": self._type(kept, parameters.master_type), "DedicatedMasterCount": masters}
        if zones > 1:
            cluster["ZoneAwarenessConfig"] = {"AvailabilityZoneCount": zones}
        yield "ClusterConfig", _open_search.tidied(cluster)
        if parameters.storage is not None:
            yield "EBSOptions", {**domain.ebs, "VolumeSize": self._volume(parameters, domain)}
        subnets = self._subnets(parameters, domain)
        if subnets is not None:
            yield "VPCOptions", {"SubnetIds": subnets, "SecurityGroupIds": list(domain.vpc.get("SecurityGroupIds", []))}
        if parameters.auto_tune is not None:
            yield "AutoTuneOptions", {"DesiredState": parameters.auto_tune}

    def _former(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The parts of the configuration as they were before the drill."""
        before = self.before_drill
        yield "ClusterConfig", dict(before["cluster"])
        if before["ebs"].get("EBSEnabled"):
            yield "EBSOptions", dict(before["ebs"])
        if before["vpc"]:
            groups = list(before["vpc"].get("SecurityGroupIds", []))
            yield "VPCOptions", {"SubnetIds": list(before["vpc"]["SubnetIds"]), "SecurityGroupIds": groups}
        if before["autoTune"].startswith(("ENABLE", "DISABLE")):
            yield "AutoTuneOptions", {"DesiredState": "ENABLED" if before["autoTune"].startswith("ENABLE") else "DISABLED"}

    def _missing(self, parameters: OpenSearchServiceParameters, domain: Domain) -> Iterator[tuple[str, dict[str, Any]]]:
        """Those of the wanted parts that the domain does not have."""
        for part, wanted in self._wanted(parameters, domain):
            if part == "VPCOptions":
                has = set(wanted["SubnetIds"]) == set(domain.vpc.get("SubnetIds", []))
            elif part == "AutoTuneOptions":
                # ENABLE_IN_PROGRESS and the like: on its way, by Auto-Tune's own time.
                has = domain.auto_tune.startswith(wanted["DesiredState"].removesuffix("D"))
            else:
                has = wanted == (domain.cluster if part == "ClusterConfig" else domain.ebs)
            if not has:
                yield part, wanted
