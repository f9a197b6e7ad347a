"""Domains of OpenSearch Service and the progress of their changes, as the service tells of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHANGE_RUNS = frozenset({"PENDING", "PROCESSING"})
CHANGE_ENDED = frozenset({"COMPLETED", "FAILED", ""})  # "": there has been none
CHANGE_REJECTED = frozenset({"ValidationFailed", "Cancelled"})
GOING = frozenset({"Deleting", "Isolated"})

_SIZES = ("nano", "micro", "small", "medium", "large", "xlarge")


@dataclass(frozen=True)
class Domain:
    """What is read of a domain: its parts as the service names them, without what says nothing, and what it is doing."""

    cluster: Mapping[str, Any]
    ebs: Mapping[str, Any]
    vpc: Mapping[str, Any]
    auto_tune: str
    doing: str
    processing: bool

    @property
    def nodes(self) -> int:
        """Data nodes."""
        return int(self.cluster.get("InstanceCount") or 1)

    @property
    def masters(self) -> int:
        """Dedicated master nodes."""
        return int(self.cluster.get("DedicatedMasterCount") or 0)

    @property
    def zones(self) -> int:
        """Availability Zones of the data nodes."""
        return int((self.cluster.get("ZoneAwarenessConfig") or {}).get("AvailabilityZoneCount") or 1)

    @property
    def volume(self) -> int:
        """GiB of each data node; 0 without EBS."""
        return int(self.ebs.get("VolumeSize") or 0) if self.ebs.get("EBSEnabled") else 0

    @property
    def measures(self) -> Mapping[str, int]:
        """How large it is, in what CLEANUP lowers."""
        storage = self.volume * self.nodes
        return {"data nodes": self.nodes, "master nodes": self.masters, "GiB": storage, "node size": size_of(self.type)}

    @property
    def type(self) -> str:
        """Instance type of the data nodes."""
        return str(self.cluster.get("InstanceType") or "")

    @property
    def counts(self) -> str:
        """For people."""
        return f"{self.nodes} data nodes with {self.volume} GiB each, {self.masters} master nodes, {self.zones} zones"


def find_domain(opensearch: Any, name: str) -> Domain | None:
    """A domain of the client's Region, or None."""
    try:
        found = opensearch.describe_domain(DomainName=name)["DomainStatus"]
    except opensearch.exceptions.ResourceNotFoundException:
        return None
    doing = "Deleting" if found.get("Deleted") else found.get("DomainProcessingStatus") or "Active"
    return Domain(
        cluster=tidied(found["ClusterConfig"]),
        ebs=found.get("EBSOptions") or {},
        vpc=found.get("VPCOptions") or {},
        auto_tune=(found.get("AutoTuneOptions") or {}).get("State", ""),
        doing=doing,
        processing=bool(found.get("Processing") or found.get("UpgradeProcessing") or doing != "Active"),
    )


def progress_of(opensearch: Any, name: str, change_id: str) -> Mapping[str, Any]:
    """The progress of a change of a domain, or without an id of the most recent one; empty if there is none."""
    which = {"ChangeId": change_id} if change_id else {}
    try:
        answer = opensearch.describe_domain_change_progress(DomainName=name, **which)
    except opensearch.exceptions.ResourceNotFoundException:
        return {}
    found: Mapping[str, Any] = answer.get("ChangeProgressStatus") or {}
    return found


def tidied(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """A ClusterConfig in one form: nothing of masters or zones where there are none, and the number of zones where there are some."""
    found = {"DedicatedMasterEnabled": False, "ZoneAwarenessEnabled": False, **cluster}
    if not found["DedicatedMasterEnabled"]:
        found = {name: value for name, value in found.items() if name not in ("DedicatedMasterType", "DedicatedMasterCount")}
    zones = found.pop("ZoneAwarenessConfig", None) or {"AvailabilityZoneCount": 2}  # OpenSearch's own number
    return {**found, "ZoneAwarenessConfig": zones} if found["ZoneAwarenessEnabled"] else found


def size_of(instance_type: str) -> int:
    """A number that grows with the size in a type such as r6g.2xlarge.search; 0 for what is not known."""
    found = re.fullmatch(r"[a-z0-9-]+\.(\d*)([a-z]+)\.search", instance_type)
    if found is None or found[2] not in _SIZES:
        return 0
    return _SIZES.index(found[2]) + int(found[1] or 1)


def failure_code(progress: Mapping[str, Any]) -> str:
    """What kind of failure a change met."""
    said = progress.get("ConfigChangeStatus", "")
    return str(said) if said in CHANGE_REJECTED else "ChangeFailed"


def reason_of(progress: Mapping[str, Any]) -> str:
    """Why a change failed: what its validation and its stages say."""
    found = [failure.get("Message", "") for failure in progress.get("ValidationFailures", [])]
    found += [stage.get("Description", "") for stage in progress.get("ChangeProgressStages", []) if stage.get("Status") == "FAILED"]
    said = "; ".join(text for text in found if text) or "OpenSearch gives no reason"
    return f"change {progress.get('ChangeId', '')} failed: {said}"


def stage_of(progress: Mapping[str, Any]) -> str:
    """How far a change is, for people."""
    said = progress.get("ConfigChangeStatus") or progress.get("Status", "")
    pending = next((stage["Name"] for stage in progress.get("ChangeProgressStages", []) if stage.get("Status") != "COMPLETED"), "")
    if said == "PendingUserInput":
        return "its change waits for input of a person in the OpenSearch console"
    return f"its change is {said}" + (f", at {pending}" if pending else "")


def percent_of(progress: Mapping[str, Any]) -> int | None:
    """The share of its stages that a change has completed."""
    stages, total = progress.get("ChangeProgressStages", []), progress.get("TotalNumberOfStages") or 0
    completed = sum(1 for stage in stages if stage.get("Status") == "COMPLETED")
    return min(99, 100 * completed // total) if total else None
