"""What the DRS module reads from Elastic Disaster Recovery, narrowed to what it decides on. States are DRS's own words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dr_modules._listed import Listed, asked, in_batches

# No data flows from a source server in these states. STALLED is also what a machine shows that is no longer there.
NOT_REPLICATING: Final = frozenset({"STOPPED", "DISCONNECTED", "STALLED"})
# There is nothing yet, or nothing any more, that a launch could start from.
WITHOUT_COPY: Final = frozenset({"STOPPED", "DISCONNECTED", "INITIATING", "INITIAL_SYNC"})
GONE: Final = frozenset({"SHUTTING-DOWN", "TERMINATED", "NOT_FOUND"})
RECOVERY, DRILL, FAILBACK = "START_RECOVERY", "START_DRILL", "FAILBACK"
# How far back a job is looked for that an act has started but not recorded.
RECENT: Final = timedelta(hours=24)

_DURATION: Final = re.compile(
    r"P(?=.)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)

_SOURCE_SERVERS: Final = Listed("describe_source_servers", items=lambda page: page["items"])
_JOBS: Final = Listed("describe_jobs", items=lambda page: page["items"])
_RECOVERY_INSTANCES: Final = Listed(
    "describe_recovery_instances",
    items=lambda page: page["items"],
    asks=lambda ids: {"filters": {"sourceServerIDs": ids}},
    is_of=lambda item, name: item["sourceServerID"] == name,
    most=200,
)


@dataclass(frozen=True)
class SourceServer:
    """A protected machine. `lag` in seconds, None where DRS gives none; `origin_region` and `instance_id` are those of an EC2 instance."""

    id: str
    hostname: str
    tags: Mapping[str, str]
    state: str
    error: str
    lag: float | None
    direction: str
    origin_region: str | None
    instance_id: str | None
    launched: bool  # its last launch was a recovery, and went well


@dataclass(frozen=True)
class RecoveryInstance:
    """What the job `job_id` has launched. `replication` is the state of the replication back, `origin` AWS or ON_PREMISES."""

    id: str
    server_id: str
    instance_id: str
    state: str
    is_drill: bool
    origin: str
    failback: str
    replication: str
    job_id: str

    @property
    def may_serve(self) -> bool:
        """Whether it may be what the application runs on: there, and not a drill's."""
        return not self.is_drill and self.state not in GONE


@dataclass(frozen=True)
class Job:
    """A launch or a termination; `servers` says how each server fares, by source server id."""

    id: str
    type: str
    initiated_by: str
    status: str
    created: str
    tags: Mapping[str, str]
    servers: Mapping[str, str]

    @property
    def is_running(self) -> bool:
        """Whether it goes on; a state that DRS may add later does."""
        return self.status != "COMPLETED"


def source_servers(drs: Any) -> list[SourceServer]:
    """Every source server of the Region, over all pages; none where DRS has not been initialized."""
    try:
        return [_server(item) for item in asked(drs, _SOURCE_SERVERS, filters={})]
    except drs.exceptions.UninitializedAccountException:
        return []


def recovery_instances(drs: Any, server_ids: Sequence[str]) -> dict[str, RecoveryInstance]:
    """The recovery instances of these source servers, by source server id: DRS keeps one for each."""
    found = {item["sourceServerID"]: _instance(item) for item in asked(drs, _RECOVERY_INSTANCES, server_ids)}
    return {server_id: found[server_id] for server_id in server_ids if server_id in found}


def recent_jobs(drs: Any) -> list[Job]:
    """The jobs of the last day, the latest first."""
    # Of whole minutes: those who ask at the same time ask the same, and share it.
    first, last = ((utc_now() + by).strftime("%Y-%m-%dT%H:%M:00Z") for by in (-RECENT, RECENT))
    found = [_job(item) for item in asked(drs, _JOBS, filters={"fromDate": first, "toDate": last})]
    return sorted(found, key=lambda job: job.created, reverse=True)


def jobs_by_id(drs: Any, job_ids: Sequence[str]) -> dict[str, Job]:
    """Those of the jobs that DRS still knows, however old."""
    pages = (drs.get_paginator("describe_jobs").paginate(filters={"jobIDs": some}) for some in in_batches(job_ids, 100))
    return {item["jobID"]: _job(item) for each in pages for page in each for item in page["items"]}


def why_failed(drs: Any, job_id: str, server_id: str) -> str:
    """What the job's log says of a server's failure: DRS's last error, else the last thing that went wrong."""
    pages = drs.get_paginator("describe_job_log_items").paginate(jobID=job_id)
    entries = [item for page in pages for item in page["items"] if item.get("eventData", {}).get("sourceServerID") == server_id]
    failures = [item for item in entries if item["event"].endswith(("FAIL", "FAILED")) or item["event"] == "SERVER_SKIPPED"]
    reasons = [item["eventData"].get("rawError") or item["event"] for item in failures]
    return str(reasons[-1])[:300] if reasons else "its log gives no reason"


def seconds(duration: str) -> float | None:
    """An ISO 8601 duration, such as PT1M30S or P0D, in seconds; None for anything else."""
    match = _DURATION.fullmatch(duration)
    if match is None:
        return None
    return timedelta(**{name: float(value) for name, value in match.groupdict().items() if value}).total_seconds()


def utc_now() -> datetime:
    """The date; tests replace this function."""
    return datetime.now(UTC)


def _server(item: Mapping[str, Any]) -> SourceServer:
    info, hints = item.get("dataReplicationInfo", {}), item.get("sourceProperties", {}).get("identificationHints", {})
    launch = item.get("lifeCycle", {}).get("lastLaunch", {})
    return SourceServer(
        id=item["sourceServerID"],
        hostname=hints.get("hostname", ""),
        tags=item.get("tags", {}),
        state=info.get("dataReplicationState", "unknown"),
        error=info.get("dataReplicationError", {}).get("error", ""),
        lag=seconds(info.get("lagDuration", "")),
        direction=item.get("replicationDirection", "FAILOVER"),
        origin_region=item.get("sourceCloudProperties", {}).get("originRegion"),
        instance_id=hints.get("awsInstanceID"),
        launched=launch.get("status") == "LAUNCHED" and launch.get("initiated", {}).get("type") == "RECOVERY",
    )


def _instance(item: Mapping[str, Any]) -> RecoveryInstance:
    info = item.get("dataReplicationInfo", {})
    return RecoveryInstance(
        id=item["recoveryInstanceID"],
        server_id=item["sourceServerID"],
        instance_id=item.get("ec2InstanceID", ""),
        state=item.get("ec2InstanceState", "unknown"),
        is_drill=bool(item.get("isDrill")),
        origin=item.get("originEnvironment", "unknown"),
        failback=item.get("failback", {}).get("state", "FAILBACK_NOT_STARTED"),
        replication=info.get("dataReplicationState", "NOT_STARTED"),
        job_id=item.get("jobID", ""),
    )


def _job(item: Mapping[str, Any]) -> Job:
    return Job(
        id=item["jobID"],
        type=item.get("type", ""),
        initiated_by=item.get("initiatedBy", ""),
        status=item.get("status", "unknown"),
        created=item.get("creationDateTime", ""),
        tags=item.get("tags", {}),
        servers={part["sourceServerID"]: part.get("launchStatus", "unknown") for part in item.get("participatingServers", [])},
    )
