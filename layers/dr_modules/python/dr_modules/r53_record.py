"""R53Record: point DNS records at the Region that takes over.

All records of a hosted zone go out in one `change_resource_record_sets` batch of UPSERTs. With `"Alias": "Yes"` RecordValue is the name
of an Application or Network Load Balancer in the target Region, or a DNS name; AliasHostedZoneId is needed for a DNS name that is neither
a load balancer of that Region, nor CloudFront's, nor in the record's own zone. Routing attributes, health check and SetIdentifier of an
existing record set that the manifest does not name are kept.

Done is two observations: the record set reads back as asked, and the change that this execution made is INSYNC, which its id, kept as
the act's handle, tells. `list_resource_record_sets` alone also shows changes that are still PENDING. Where no id is at hand (the record
was as asked before anything was done) the record as read is what there is: Route 53 does not say which change made it. A change of an
earlier attempt that is still PENDING is submitted again.

Route 53's control plane is in us-east-1 alone, and preflight says so. Where that must not matter, move the traffic without it: with routing
controls of the Application Recovery Controller, or with failover records whose health check something in the standby Region flips.

Example manifest resource:

    {
      "action": "R53Record",
      "resourceName": "dns-failover",
      "parameters": [
        {
          "HostedZoneId": "/hostedzone/Z1234567890",
          "R53RecordName": "api.example.com",
          "RecordType": "A",
          "Alias": "Yes",
          "RecordValue": "dr-alb-us-west-2"
        },
        {
          "HostedZoneId": "/hostedzone/Z1234567890",
          "R53RecordName": "app.example.com",
          "RecordType": "CNAME",
          "Alias": "No",
          "RecordValue": "dr-app.us-west-2.elb.amazonaws.com"
        }
      ]
    }
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dr_core.errors import ErrorClass
from dr_core.phases import Phase
from dr_modules.base import Count, DRModule, Flag, Handle, ModuleParameters, Names, Permissions, PreflightFinding, Status, Text, register

ZoneId = Annotated[Text, AfterValidator(lambda text: text.removeprefix("/hostedzone/"))]
# One record set has one routing policy; naming one in the manifest replaces the existing one.
_POLICIES = ("Weight", "Failover", "Region", "GeoLocation", "GeoProximityLocation", "CidrRoutingConfig", "MultiValueAnswer")
_KEPT = ("SetIdentifier", "HealthCheckId", *_POLICIES)
_CLOUDFRONT_ZONE = "Z2FDTNDATAQYW2"  # the same for every distribution
_CONTROL_PLANE = "us-east-1"


class R53RecordParameters(ModuleParameters):
    """One record set of a manifest resource. An alias has the TTL of what it points at."""

    zone: ZoneId = Field(alias="HostedZoneId", description="the hosted zone, with or without `/hostedzone/`")
    record_name: Text = Field(alias="R53RecordName", description="the record's full name, within the zone")
    record_type: Text = Field(alias="RecordType", description="`A`, `AAAA`, `CNAME` or another type")
    alias: Flag = Field(alias="Alias", default=False, description="whether RecordValue is what an alias points at")
    values: Names = Field(
        alias="RecordValue",
        min_length=1,
        description="value or values; of an alias the name of a load balancer in the target Region, or a DNS name",
    )
    ttl: Count = Field(alias="TTL", default=60, le=2147483647, description="seconds; an alias has none of its own")
    set_identifier: Text | None = Field(alias="SetIdentifier", default=None, description="which record set, where a name has several")
    weight: Count | None = Field(alias="Weight", default=None, le=255, description="weighted routing")
    failover: Literal["PRIMARY", "SECONDARY"] | None = Field(alias="Failover", default=None, description="failover routing")
    region: Text | None = Field(alias="Region", default=None, description="latency routing")
    evaluate_target_health: Flag | None = Field(
        alias="EvaluateTargetHealth", default=None, description="of an alias; without it as the existing record has it, else false"
    )
    alias_zone: ZoneId | None = Field(
        alias="AliasHostedZoneId", default=None, description="of an alias: the hosted zone of its DNS name, where it cannot be looked up"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.alias and len(self.values) != 1:
            raise ValueError("an alias has exactly one RecordValue")
        if len(self.routing) > 1:
            raise ValueError(f"a record set has one routing policy, not {' and '.join(self.routing)}")
        if self.routing and self.set_identifier is None:
            raise ValueError(f"{', '.join(self.routing)} needs SetIdentifier, which tells the record sets of one name apart")
        return self

    @property
    def routing(self) -> dict[str, object]:
        """The routing policy that the manifest names."""
        named = {"Weight": self.weight, "Failover": self.failover, "Region": self.region}
        return {key: value for key, value in named.items() if value is not None}


@register("R53Record")
class R53Record(DRModule[R53RecordParameters]):
    """Record sets of Route 53."""

    permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: (
            "route53:GetHostedZone",
            "route53:ListResourceRecordSets",
            "route53:ChangeResourceRecordSets",
            "route53:GetChange",
            "elasticloadbalancing:DescribeLoadBalancers",
        )
    }
    terminal_codes = frozenset({"InvalidChangeBatch"})
    check_cap_seconds = 10
    timeout_seconds = 3600  # Route 53's own recovery of its control plane may take that long

    def before(self, parameters: R53RecordParameters) -> Mapping[str, object]:
        """The former record set, None where there was none."""
        return {"hostedZoneId": parameters.zone, "recordSet": self._existing(parameters)}

    def preflight(self, parameters: R53RecordParameters) -> Iterator[PreflightFinding]:
        """Whether the record belongs into the zone and its load balancer is there; and what the change depends on."""
        zone = _canonical(self._route53.get_hosted_zone(Id=parameters.zone)["HostedZone"]["Name"])
        name = _canonical(parameters.record_name)
        if name != zone and not name.endswith(f".{zone}"):
            message = f"{parameters.record_name} is not in hosted zone {parameters.zone} ({zone.rstrip('.')})"
            yield self.obstacle("NameOutsideZone", f"{message}: correct R53RecordName or HostedZoneId")
        if self.target.region != _CONTROL_PLANE:
            message = f"Route 53 changes records through its control plane in {_CONTROL_PLANE} alone, which an outage there takes along"
            remedy = (
                "use routing controls of the Application Recovery Controller, or failover records with a health check that"
                f" {self.target.region} can flip; else keep this resource in the last layer, bestEffort and with a timeout"
            )
            yield self.warning("ControlPlaneElsewhere", f"{message}: {remedy}")
        self._wanted(parameters, self._existing(parameters))  # raises where a load balancer or the record set cannot be told

    def activate(self, parameters: R53RecordParameters) -> Handle:
        """Submit one record."""
        self.guard(parameters)
        return self._submit(parameters.zone, [self._wanted(parameters, self._existing(parameters))])

    def act(self, due: Mapping[int, R53RecordParameters]) -> None:
        """Submit the records of each hosted zone in one batch."""
        wanted = {position: self._wanted(item, self._existing(item)) for position, item in due.items()}
        for zone in dict.fromkeys(item.zone for item in due.values()):
            positions = [position for position, item in due.items() if item.zone == zone]
            handle = self._submit(zone, [wanted[position] for position in positions])
            for position in positions:
                self.keep(position, handle)

    def activate_status_check(self, parameters: R53RecordParameters) -> Status:
        """Done when the record set reads back as asked and the change is INSYNC."""
        name, existing = f"{parameters.record_name} {parameters.record_type}", self._existing(parameters)
        if existing is None:
            return Status.not_started(f"there is no record {name}")
        if _comparable(existing) != _comparable(self._wanted(parameters, existing)):
            return Status.not_started(f"{name} is {_target(existing)}")
        if "change" not in self.handle:
            return Status.done(f"{name} is {_target(existing)}")
        change = self._route53.get_change(Id=self.handle["change"])["ChangeInfo"]
        if change["Status"] == "INSYNC":
            return Status.done(f"{name} is {_target(existing)}, change {self.handle['change']} is INSYNC")
        detail = f"{name}: change {self.handle['change']} is {change['Status']}"
        return Status.in_progress(detail) if self.handle["attempt"] == str(self.run.attempt) else Status.not_started(detail)

    @cached_property
    def _route53(self) -> Any:
        return self.client("route53")

    def _submit(self, zone: str, records: list[dict[str, Any]]) -> Handle:
        comment = f"DR Orchestrator {self.run.execution_id} {self.run.resource_name}"[:256]
        changes = [{"Action": "UPSERT", "ResourceRecordSet": record} for record in records]
        answer = self._route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Comment": comment, "Changes": changes})
        return {"change": answer["ChangeInfo"]["Id"].removeprefix("/change/"), "attempt": str(self.run.attempt)}

    def _existing(self, parameters: R53RecordParameters) -> dict[str, Any] | None:
        """The record set as Route 53 has it. Raises ModuleError when several could be meant."""
        name, kind = _canonical(parameters.record_name), parameters.record_type
        pages = self._route53.get_paginator("list_resource_record_sets").paginate(
            HostedZoneId=parameters.zone, StartRecordName=name, StartRecordType=kind
        )
        found: list[dict[str, Any]] = []
        for page in pages:
            records = page["ResourceRecordSets"]
            found += [record for record in records if _canonical(record["Name"]) == name and record["Type"] == kind]
            if any(_canonical(record["Name"]) != name or record["Type"] != kind for record in records):
                break  # sorted by name and type: none can follow
        if parameters.set_identifier is not None:
            found = [record for record in found if record.get("SetIdentifier") == parameters.set_identifier]
        if len(found) > 1:
            names = ", ".join(str(record.get("SetIdentifier")) for record in found)
            raise self.error("AmbiguousRecord", f"{name} {kind} has the record sets {names}: name one in SetIdentifier")
        return found[0] if found else None

    def _wanted(self, parameters: R53RecordParameters, existing: Mapping[str, Any] | None) -> dict[str, Any]:
        """The record set that the manifest asks for, with what the existing one has beside it."""
        kept = {key: existing[key] for key in _KEPT if existing and key in existing}
        if parameters.routing:
            kept = {key: value for key, value in kept.items() if key not in _POLICIES}
        record = {"Name": _canonical(parameters.record_name), "Type": parameters.record_type, **kept, **parameters.routing}
        if parameters.set_identifier is not None:
            record["SetIdentifier"] = parameters.set_identifier
        if not parameters.alias:
            return {**record, "TTL": parameters.ttl, "ResourceRecords": [{"Value": value} for value in parameters.values]}
        zone, dns_name = self._alias_target(parameters)
        former = (existing or {}).get("AliasTarget", {}).get("EvaluateTargetHealth", False)
        health = former if parameters.evaluate_target_health is None else parameters.evaluate_target_health
        return {**record, "AliasTarget": {"HostedZoneId": zone, "DNSName": dns_name, "EvaluateTargetHealth": health}}

    def _alias_target(self, parameters: R53RecordParameters) -> tuple[str, str]:
        """Hosted zone and DNS name of what the alias points at."""
        value = parameters.values[0]
        if parameters.alias_zone is not None:
            return parameters.alias_zone, value
        plain = _canonical(value).rstrip(".").removeprefix("dualstack.")
        if "." in value and plain.endswith(".cloudfront.net"):
            return _CLOUDFRONT_ZONE, value
        if "." in value and not plain.endswith(".amazonaws.com"):
            return parameters.zone, value  # another record of the same zone; Route 53 refuses one that is not there
        named = (one for one in self._balancers(value) if value == one["LoadBalancerName"] or plain == one["DNSName"].lower())
        balancer = next(named, None)
        if balancer is None:
            message = f"there is no load balancer {value} in {self.target.region}"
            raise self.error("LoadBalancerNotFound", f"{message}: correct RecordValue, or give AliasHostedZoneId with a DNS name")
        state = balancer.get("State", {}).get("Code", "active")
        if state not in ("active", "active_impaired"):
            hopeless = state == "failed"
            message = f"load balancer {value} is {state}: {'create it again' if hopeless else 'retry when it is active'}"
            raise self.error("LoadBalancerNotReady", message, ErrorClass.TERMINAL if hopeless else ErrorClass.RETRYABLE)
        # `dualstack.` answers for A and AAAA alike; a Network Load Balancer has no such name.
        prefix = "dualstack." if balancer["Type"] == "application" else ""
        return balancer["CanonicalHostedZoneId"], prefix + balancer["DNSName"]

    def _balancers(self, value: str) -> list[dict[str, Any]]:
        elbv2 = self.client("elbv2")
        if "." not in value:
            try:
                return list(elbv2.describe_load_balancers(Names=[value])["LoadBalancers"])
            except elbv2.exceptions.LoadBalancerNotFoundException:
                return []
        pages = elbv2.get_paginator("describe_load_balancers").paginate()
        return [balancer for page in pages for balancer in page["LoadBalancers"]]


def _canonical(name: str) -> str:
    """A DNS name as Route 53 lists it, with `*` for its `\\052`."""
    return name.lower().replace("\\052", "*").rstrip(".") + "."


def _comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record set without the differences of spelling that Route 53 does not see."""
    same = {**record, "Name": _canonical(record["Name"])}
    if "ResourceRecords" in record:
        hosts = record["Type"] in ("CNAME", "NS", "PTR")
        same["ResourceRecords"] = sorted(_canonical(r["Value"]) if hosts else r["Value"] for r in record["ResourceRecords"])
    if "AliasTarget" in record:
        same["AliasTarget"] = {**record["AliasTarget"], "DNSName": _canonical(record["AliasTarget"]["DNSName"])}
    return same


def _target(record: Mapping[str, Any]) -> str:
    if "AliasTarget" in record:
        return f"an alias of {record['AliasTarget']['DNSName']}"
    return ", ".join(value["Value"] for value in record.get("ResourceRecords", []))
