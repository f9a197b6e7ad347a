"""OpenSearch Service: domains whose creation and changes take time, the progress of a change, and the refusals that AWS makes.

While a change runs, DescribeDomain shows what was asked for already, as AWS does, and `Processing`. `fail_next_change` has the next change
of a domain fail; the domain is then as it was before. The sentence with which AWS refuses a second change is the one in
https://github.com/hashicorp/terraform-provider-aws/issues/38136.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from moto.core.base_backend import BaseBackend
from moto.core.exceptions import JsonRESTError
from moto.core.responses import BaseResponse
from moto.core.utils import unix_time, utcnow
from moto.es import urls as es_urls
from moto.moto_api._internal import mock_random
from moto.opensearch.exceptions import ResourceNotFoundException
from moto.opensearch.models import OpenSearchDomain, OpenSearchServiceBackend, opensearch_backends
from moto.opensearch.responses import OpenSearchServiceResponse

from localcloud.extension.agenda import agenda_of, replace, settle_before_actions

CREATE_SECONDS: Final = 60.0
VALIDATE_SECONDS: Final = 10.0
CHANGE_SECONDS: Final = 90.0  # validation included

IN_PROGRESS: Final = "A change/update is in progress. Please wait for it to complete before requesting another change."
_PATH: Final = "{0}/2021-01-01/opensearch/domain/(?P<domainname>[^/]+)/progress"
_STAGES: Final = ("Validation", "Provisioning new nodes", "Copying shards to new nodes", "Terminating nodes")
_CHANGES, _FAILURE, _CREATING = "_localcloud_changes", "_localcloud_failure", "_localcloud_creating"
# What an update can change, as moto calls it, and as AWS does.
_MERGED: Final = {"cluster_config": "ClusterConfig", "ebs_options": "EBSOptions", "vpc_options": "VPCOptions"}
_CHANGEABLE: Final = {**_MERGED, "auto_tune_options": "AutoTuneOptions"}

_create: Final = OpenSearchServiceBackend.create_domain
_update: Final = OpenSearchServiceBackend.update_domain_config
_to_dict: Final = OpenSearchDomain.to_dict
_to_config_dict: Final = OpenSearchDomain.to_config_dict


@dataclass
class Change:
    """One change of a domain. `completed` counts its stages; `reason` says why it failed."""

    id: str
    properties: list[str]
    former: Mapping[str, Any]
    started: float
    updated: float
    status: str = "PENDING"
    config_status: str = "Pending"
    completed: int = 0
    reason: str = ""

    @property
    def running(self) -> bool:
        """Whether it has yet to end."""
        return self.status in ("PENDING", "PROCESSING")

    def move(self, status: str, config_status: str, completed: int, reason: str = "") -> None:
        """Get on, or end."""
        self.status, self.config_status, self.completed, self.reason = status, config_status, completed, reason
        self.updated = unix_time(utcnow())


def install() -> None:
    """Extend moto's OpenSearch Service in this process."""
    settle_before_actions(OpenSearchServiceResponse, _backends)
    replace(OpenSearchServiceBackend, create_domain=create_domain, update_domain_config=update_domain_config)
    replace(OpenSearchDomain, to_dict=to_dict, to_config_dict=to_config_dict)
    replace(OpenSearchServiceResponse, describe_domain_change_progress=describe_domain_change_progress)
    es_urls.url_paths[_PATH] = OpenSearchServiceResponse.dispatch


def fail_next_change(
    account: str, region: str, domain: str, reason: str = "Insufficient capacity", config_status: str = "ValidationFailed"
) -> None:
    """Have the next change of a domain end in FAILED, its ConfigChangeStatus ValidationFailed or Cancelled."""
    opensearch_backends[account][region].describe_domain(domain).__dict__[_FAILURE] = (reason, config_status)


def _backends(response: BaseResponse) -> Iterable[BaseBackend]:
    return [opensearch_backends[response.current_account][response.region]]


def create_domain(backend: OpenSearchServiceBackend, domain_name: str, **options: Any) -> OpenSearchDomain:
    """CreateDomain: the domain is being created for a while."""
    options["auto_tune_options"] = _tuned(options.get("auto_tune_options"))
    domain = _create(backend, domain_name=domain_name, **options)
    if domain.vpc_options is not None:
        domain.vpc_options = {"VPCId": "vpc-0localcloud", "SecurityGroupIds": [], **domain.vpc_options}  # type: ignore[dict-item] # moto's type lacks the id
    domain.__dict__[_CREATING] = True
    agenda_of(backend).after(CREATE_SECONDS, partial(_finish_creation, domain))
    return domain


def _finish_creation(domain: OpenSearchDomain) -> None:
    domain.__dict__[_CREATING] = False


def update_domain_config(backend: OpenSearchServiceBackend, domain_name: str, **options: Any) -> OpenSearchDomain:
    """UpdateDomainConfig: one change at a time; members that are not given stay; what changes nothing begins no change."""
    domain = backend.describe_domain(domain_name)
    if _is_busy(domain):
        raise _refused(IN_PROGRESS)
    former = {name: copy.deepcopy(getattr(domain, name)) for name in _CHANGEABLE}
    for name in _MERGED:
        if options.get(name):
            options[name] = {**(former[name] or {}), **options[name]}
    options["auto_tune_options"] = _tuned(options.get("auto_tune_options"))
    if options.get("cluster_config"):
        options["cluster_config"] = _tidied(options["cluster_config"])
    _check(domain, options)
    _update(backend, domain_name=domain_name, **options)
    changed = [aws for name, aws in _CHANGEABLE.items() if _said(getattr(domain, name)) != _said(former[name])]
    if changed:
        now = unix_time(utcnow())
        change = Change(str(mock_random.uuid4()), changed, former, now, now)
        _changes(domain).append(change)
        agenda_of(backend).after(VALIDATE_SECONDS, partial(_validate, domain, change))
        agenda_of(backend).after(CHANGE_SECONDS, partial(_complete, change))
    return domain


def _tuned(options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Auto-Tune's options with the state that they lead to, at once."""
    return {**options, "State": options["DesiredState"]} if options else None


def _tidied(cluster: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing: the masters' type and number, and the zones, of a domain that has none."""
    dropped: set[str] = set()
    if not cluster.get("DedicatedMasterEnabled"):
        dropped |= {"DedicatedMasterType", "DedicatedMasterCount"}
    if not cluster.get("ZoneAwarenessEnabled"):
        dropped.add("ZoneAwarenessConfig")
    return {name: value for name, value in cluster.items() if name not in dropped}


def _check(domain: OpenSearchDomain, options: Mapping[str, Any]) -> None:
    """Raise for a configuration that AWS refuses."""
    cluster = options.get("cluster_config") or domain.cluster_config
    zones = cluster.get("ZoneAwarenessConfig", {}).get("AvailabilityZoneCount", 2) if cluster.get("ZoneAwarenessEnabled") else 1
    if cluster["InstanceCount"] < zones:
        raise _refused(f"You must choose at least {zones} data nodes for {zones} Availability Zones.")
    if cluster.get("DedicatedMasterEnabled") and not (cluster.get("DedicatedMasterType") and cluster.get("DedicatedMasterCount")):
        raise _refused("You must specify the type and the number of dedicated master nodes.")
    ebs = options.get("ebs_options") or {}
    if ebs.get("VolumeSize") and not ebs.get("EBSEnabled"):
        raise _refused("EBS must be enabled to set a volume size.")
    vpc = options.get("vpc_options")
    if vpc and domain.vpc_options is None:
        raise _refused("You can't change a domain from a public endpoint to a VPC.")
    vpc = vpc or domain.vpc_options
    if vpc and len(vpc["SubnetIds"]) != zones:
        raise _refused(f"You must specify exactly {zones} subnets because you've set zone count to {zones}.")


def _refused(message: str) -> JsonRESTError:
    return JsonRESTError("ValidationException", message)


def _said(options: Any) -> Any:
    """What of a member of the configuration can differ: Auto-Tune's present state follows the desired one."""
    return options["State"] if isinstance(options, dict) and "State" in options else options


def _validate(domain: OpenSearchDomain, change: Change) -> None:
    failure: tuple[str, str] | None = domain.__dict__.pop(_FAILURE, None)
    if failure is None:
        change.move("PROCESSING", "ApplyingChanges", 1)
        return
    for name, value in change.former.items():
        setattr(domain, name, value)
    change.move("FAILED", failure[1], 0, failure[0])


def _complete(change: Change) -> None:
    if change.running:
        change.move("COMPLETED", "Completed", len(_STAGES))


def _changes(domain: OpenSearchDomain) -> list[Change]:
    found: list[Change] = domain.__dict__.setdefault(_CHANGES, [])
    return found


def _is_busy(domain: OpenSearchDomain) -> bool:
    changes = _changes(domain)
    return bool(domain.__dict__.get(_CREATING)) or (bool(changes) and changes[-1].running)


def to_dict(domain: OpenSearchDomain) -> dict[str, Any]:
    """DomainStatus."""
    creating, busy = bool(domain.__dict__.get(_CREATING)), _is_busy(domain)
    status = "Creating" if creating else "Modifying" if busy else "Deleting" if domain.deleted else "Active"
    found = {**_to_dict(domain), "Created": not creating, "Processing": busy or domain.deleted, "DomainProcessingStatus": status}
    if found.get("AutoTuneOptions"):
        found["AutoTuneOptions"] = {"State": found["AutoTuneOptions"]["State"]}
    return {**found, **_details(domain)}


def to_config_dict(domain: OpenSearchDomain) -> dict[str, Any]:
    """DomainConfig: each part with its status, which moto leaves out of most."""
    changing = _changes(domain)[-1].properties if _changes(domain) and _is_busy(domain) else []
    parts = {}
    for name, part in _to_config_dict(domain).items():
        state = "Processing" if name in changing else "Active"
        if name == "AutoTuneOptions":
            state = part["Options"]["State"]
        dates = {"CreationDate": domain.creation_date, "UpdateDate": domain.creation_date}
        parts[name] = {"Options": part["Options"], "Status": {**dates, "State": state, "PendingDeletion": False}}
    return {**parts, **(_details(domain) if _is_busy(domain) else {})}


def _details(domain: OpenSearchDomain) -> dict[str, Any]:
    if not _changes(domain):
        return {}
    change = _changes(domain)[-1]
    details = {
        "ChangeId": change.id,
        "Message": change.reason,
        "ConfigChangeStatus": change.config_status,
        "InitiatedBy": "CUSTOMER",
        "StartTime": change.started,
        "LastUpdatedTime": change.updated,
    }
    return {"ChangeProgressDetails": details}


def describe_domain_change_progress(response: OpenSearchServiceResponse) -> str:
    """DescribeDomainChangeProgress: of one change, or of the most recent."""
    domain = response.opensearch_backend.describe_domain(response.path.rstrip("/").split("/")[-2])
    wanted: str | None = response._get_param("changeid")
    changes = [change for change in _changes(domain) if wanted in (None, change.id)]
    if wanted is not None and not changes:
        raise ResourceNotFoundException(wanted)
    return json.dumps({"ChangeProgressStatus": _progress(changes[-1])} if changes else {})


def _progress(change: Change) -> dict[str, Any]:
    failed = change.status == "FAILED"
    stages = [
        {
            "Name": name,
            "Status": "COMPLETED" if number < change.completed else "FAILED" if failed and number == change.completed else "PENDING",
            "Description": change.reason if failed and number == change.completed else name,
            "LastUpdated": change.updated,
        }
        for number, name in enumerate(_STAGES)
    ]
    return {
        "ChangeId": change.id,
        "StartTime": change.started,
        "Status": change.status,
        "PendingProperties": change.properties if change.running else [],
        "CompletedProperties": change.properties if change.status == "COMPLETED" else [],
        "TotalNumberOfStages": len(_STAGES),
        "ChangeProgressStages": stages,
        "LastUpdatedTime": change.updated,
        "ConfigChangeStatus": change.config_status,
        "InitiatedBy": "CUSTOMER",
    }
