"""DRS (Elastic Disaster Recovery), which moto lacks: source servers that replicate, recovery jobs that take time, recovery instances.

There is no API that makes a source server: the agent on the machine does. Here `add_source_server` does, and for those who reach
this cloud only over HTTP, such as an application's script, CreateExtendedSourceServer with tags that describe the machine:

    drs.initialize_service()
    drs.create_extended_source_server(
        sourceServerArn="arn:aws:drs:us-east-1:222222222222:source-server/s-00000000000000000",  # any: staging accounts are not emulated
        tags={"localcloud:hostname": "web-1", "localcloud:origin-region": "us-east-1", "Environment": "DR"},
    )

Without `localcloud:origin-region` the machine is on premises. More tags of a source server, set at any time by TagResource and taken back
by UntagResource, say what becomes of it:

    localcloud:launch-fails     its launches fail, with this reason
    localcloud:lag              its lag, as an ISO 8601 duration such as PT10M
    localcloud:stalled          its replication is STALLED, with this DataReplicationErrorString, such as AGENT_NOT_SEEN
    localcloud:failback-client  a failback client (on premises) has been paired with its recovery instance

What a call is refused for, and the order of states, follow the DRS user guide and API reference; the order of a job's log as well.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import ModuleType
from typing import Final, Literal

import moto
from moto import backend_index
from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.exceptions import ServiceException
from moto.ec2.models import ec2_backends
from moto.moto_api._internal import mock_random

from localcloud.extension import clock
from localcloud.extension.agenda import agenda_of

INITIATE_SECONDS: Final = 10.0
SYNC_SECONDS: Final = 60.0
RESCAN_SECONDS: Final = 30.0
START_JOB_SECONDS: Final = 5.0
LAUNCH_SECONDS: Final = 90.0
END_JOB_SECONDS: Final = 10.0
TERMINATE_SECONDS: Final = 30.0

# "AWS Elastic Disaster Recovery endpoints and quotas".
SERVERS_PER_JOB: Final = 100
JOBS_AT_ONCE: Final = 20
SERVERS_IN_JOBS: Final = 500

HOSTNAME_TAG: Final = "localcloud:hostname"
ORIGIN_REGION_TAG: Final = "localcloud:origin-region"
LAUNCH_FAILS_TAG: Final = "localcloud:launch-fails"
LAG_TAG: Final = "localcloud:lag"
STALLED_TAG: Final = "localcloud:stalled"
FAILBACK_CLIENT_TAG: Final = "localcloud:failback-client"

_IMAGE: Final = "ami-12c6146b"  # moto has it in every Region
_HOST: Final = r"https?://drs\.(.+)\.amazonaws\.com"
_WITHOUT_SNAPSHOT: Final = frozenset({"INITIATING", "INITIAL_SYNC", "STOPPED", "DISCONNECTED"})
_QUIET: Final = frozenset({"STOPPED", "DISCONNECTED"})

Direction = Literal["FAILOVER", "FAILBACK"]


class DRSError(ServiceException):
    """An error of DRS, by its modelled code."""


def conflict(message: str) -> DRSError:
    """The state of a resource does not allow the call."""
    return DRSError("ConflictException", message)


def not_found(what: str, resource_id: str) -> DRSError:
    """Only for operations that model it: StartRecovery, for one, does not."""
    return DRSError("ResourceNotFoundException", f"{what} with ID {resource_id} does not exist")


@dataclass
class SourceServer:
    """A protected machine. `instance_id` and `origin_region` are of the EC2 instance that it is; neither is there on premises."""

    id: str
    arn: str
    hostname: str
    tags: dict[str, str]
    added: datetime
    direction: Direction = "FAILOVER"
    origin_region: str | None = None
    instance_id: str | None = None
    reversed_arn: str | None = None
    replication: str = "INITIATING"
    protected_since: datetime | None = None
    launch: dict[str, object] = field(default_factory=dict)  # lifeCycle.lastLaunch
    launch_result: str = "NOT_STARTED"
    launch_settings: dict[str, object] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The replication state as it shows."""
        return "STALLED" if STALLED_TAG in self.tags and self.replication not in _QUIET else self.replication


@dataclass
class RecoveryInstance:
    """What a launch has made; `copy` is the ARN of the source server that replicates it back, once there is one."""

    id: str
    arn: str
    server: SourceServer
    job_id: str
    is_drill: bool
    launched: datetime
    tags: dict[str, str]
    failback: str = "FAILBACK_NOT_STARTED"
    copy: str | None = None
    connected: bool = True


@dataclass
class Participant:
    """A server's part in a job."""

    server: SourceServer
    status: str = "PENDING"
    instance_id: str | None = None


@dataclass
class Job:
    """A launch or a termination."""

    id: str
    arn: str
    type: str
    initiated_by: str
    created: datetime
    tags: dict[str, str]
    participants: list[Participant]
    status: str = "PENDING"
    ended: datetime | None = None
    log: list[dict[str, object]] = field(default_factory=list)


class DRSBackend(BaseBackend):
    """DRS in one account and Region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.initialized = False
        self.servers: dict[str, SourceServer] = {}
        self.instances: dict[str, RecoveryInstance] = {}
        self.jobs: dict[str, Job] = {}
        self._origin = datetime.now(UTC) - timedelta(seconds=clock.now())
        self._moment: float | None = None  # at which the change was due that is made now: later, by the clock

    @property
    def urls(self) -> dict[str, object]:  # type: ignore[override]
        """The routes that moto shall take for this service; its own property imports them from moto."""
        return {f"{_HOST}{path}": handler for path, handler in self.url_paths.items()}

    @property
    def url_paths(self) -> dict[str, object]:  # type: ignore[override]
        """The same without the host."""
        from localcloud.extension.drs_responses import DRSResponse  # it imports this module

        return {"/.*$": DRSResponse.dispatch}

    @property
    def url_bases(self) -> list[str]:
        """The host."""
        return [_HOST]

    def now(self) -> datetime:
        """The date, as far as this cloud's clock has moved it on."""
        return self._origin + timedelta(seconds=clock.now() if self._moment is None else self._moment)

    # Source servers.
    def server(self, server_id: str) -> SourceServer:
        """A source server, or ResourceNotFoundException."""
        if server_id not in self.servers:
            raise not_found("Source server", server_id)
        return self.servers[server_id]

    def add(
        self,
        hostname: str,
        tags: Mapping[str, str],
        *,
        origin_region: str | None,
        instance_id: str | None = None,
        direction: Direction = "FAILOVER",
    ) -> SourceServer:
        """An agent has registered its machine; replication begins."""
        self.initialized = True
        server_id = f"s-{_hex()}"
        made = SourceServer(server_id, self._arn("source-server", server_id), hostname, dict(tags), self.now(), direction, origin_region)
        made.instance_id = instance_id or (f"i-{_hex()}" if origin_region else None)
        self.servers[server_id] = made
        self.synchronise(made)
        return made

    def synchronise(self, server: SourceServer, first: str = "INITIATING") -> None:
        """Begin to replicate: from the start, or for a machine whose disks are there already with a RESCAN."""
        server.replication = first
        if first == "RESCAN":
            self._later(RESCAN_SECONDS, partial(self._move, server, "RESCAN", "CONTINUOUS"))
            return
        self._later(INITIATE_SECONDS, partial(self._move, server, "INITIATING", "INITIAL_SYNC"))
        self._later(INITIATE_SECONDS + SYNC_SECONDS, partial(self._move, server, "INITIAL_SYNC", "CONTINUOUS"))

    def _move(self, server: SourceServer, before: str, after: str) -> None:
        if server.replication == before:
            server.replication = after
            server.protected_since = self.now()

    def check_idle(self, server: SourceServer) -> None:
        """Raise while a job runs for the server."""
        for job in self.jobs.values():
            if job.status != "COMPLETED" and any(part.server is server for part in job.participants):
                raise conflict(f"Source server {server.id} is being processed by job {job.id}")

    def instance_of(self, server: SourceServer) -> RecoveryInstance | None:
        """The server's recovery instance."""
        return next((one for one in self.instances.values() if one.server is server), None)

    def stop_replication(self, server: SourceServer) -> None:
        """Its snapshots are deleted with it."""
        self.check_idle(server)
        if server.replication == "DISCONNECTED":
            raise conflict(f"Source server {server.id} is disconnected")
        server.replication, server.protected_since = "STOPPED", None

    def start_replication(self, server: SourceServer) -> None:
        """Only of a stopped one."""
        if server.replication != "STOPPED":
            raise conflict(f"Source server {server.id} is {server.state}, not STOPPED")
        self.synchronise(server)

    def disconnect(self, server: SourceServer) -> None:
        """Refused while there is a recovery instance."""
        self.check_idle(server)
        instance = self.instance_of(server)
        if instance is not None:
            raise conflict(f"Source server {server.id} has recovery instance {instance.id}")
        server.replication, server.protected_since = "DISCONNECTED", None

    def delete_server(self, server: SourceServer) -> None:
        """Refused unless disconnected."""
        self.check_idle(server)
        if server.replication != "DISCONNECTED":
            raise conflict(f"Source server {server.id} must be disconnected before it is deleted")
        del self.servers[server.id]

    def pair_failback_client(self, server: SourceServer) -> None:
        """A failback client has been started where the machine was; it copies the recovery instance."""
        instance = self.instance_of(server)
        if instance is not None and server.origin_region is None and instance.failback == "FAILBACK_NOT_STARTED":
            instance.failback = "FAILBACK_IN_PROGRESS"
            self._later(SYNC_SECONDS, partial(setattr, instance, "failback", "FAILBACK_READY_FOR_LAUNCH"))

    # Jobs.
    def start_recovery(self, wanted: Sequence[Mapping[str, str]], *, is_drill: bool, tags: Mapping[str, str]) -> Job:
        """StartRecovery knows no ResourceNotFoundException: a server that is not there is a conflict."""
        servers = []
        for each in wanted:
            server = self.servers.get(each["sourceServerID"])
            if server is None:
                raise conflict(f"Source server {each['sourceServerID']} does not exist")
            self.check_idle(server)
            if server.replication in _WITHOUT_SNAPSHOT:
                raise conflict(f"Source server {server.id} is {server.state} and has no recovery snapshot")
            snapshot = each.get("recoverySnapshotID")
            if snapshot is not None and snapshot not in {one["snapshotID"] for one in self.snapshots(server)}:
                raise conflict(f"Recovery snapshot {snapshot} of source server {server.id} does not exist")
            servers.append(server)
        job = self._job("LAUNCH", "START_DRILL" if is_drill else "START_RECOVERY", servers, tags)
        for server in servers:
            kind = "DRILL" if is_drill else "RECOVERY"
            server.launch = {"initiated": {"apiCallDateTime": text(self.now()), "jobID": job.id, "type": kind}, "status": "PENDING"}
            server.launch_result = "PENDING"
        self._later(START_JOB_SECONDS + LAUNCH_SECONDS, partial(self._launch, job, is_drill=is_drill))
        self._later(START_JOB_SECONDS + LAUNCH_SECONDS + END_JOB_SECONDS, partial(self._end, job))
        return job

    def start_failback_launch(self, instances: Sequence[RecoveryInstance], tags: Mapping[str, str]) -> Job:
        """Launch what a failback client has copied."""
        for instance in instances:
            self.check_idle(instance.server)
            if instance.failback != "FAILBACK_READY_FOR_LAUNCH":
                raise conflict(f"Recovery instance {instance.id} is {instance.failback}, not FAILBACK_READY_FOR_LAUNCH")
        job = self._job("LAUNCH", "FAILBACK", [instance.server for instance in instances], tags)
        self._later(START_JOB_SECONDS + LAUNCH_SECONDS, partial(self._fail_back, job, instances))
        self._later(START_JOB_SECONDS + LAUNCH_SECONDS + END_JOB_SECONDS, partial(self._end, job))
        return job

    def terminate(self, instances: Sequence[RecoveryInstance]) -> Job:
        """Terminate EC2 instances; refused for those that another Region still replicates."""
        for instance in instances:
            copy = self.copy_of(instance)
            if copy is not None and copy.replication not in _QUIET:
                raise conflict(f"Recovery instance {instance.id} cannot be terminated during failback: {copy.arn} replicates it")
        job = self._job("TERMINATE", "TERMINATE_RECOVERY_INSTANCES", [instance.server for instance in instances], {})
        self._later(START_JOB_SECONDS + TERMINATE_SECONDS, partial(self._terminate, job, instances))
        return job

    def _job(self, kind: str, initiated_by: str, servers: Sequence[SourceServer], tags: Mapping[str, str]) -> Job:
        running = [job for job in self.jobs.values() if job.status != "COMPLETED"]
        busy = sum(len(job.participants) for job in running)
        if len(servers) > SERVERS_PER_JOB or len(running) >= JOBS_AT_ONCE or busy + len(servers) > SERVERS_IN_JOBS:
            limits = f"{SERVERS_PER_JOB} servers per job, {JOBS_AT_ONCE} jobs and {SERVERS_IN_JOBS} servers in jobs at once"
            raise DRSError("ServiceQuotaExceededException", f"The quotas are {limits}")
        job_id = f"drsjob-{_hex()}"
        participants = [Participant(server) for server in servers]
        job = Job(job_id, self._arn("job", job_id), kind, initiated_by, self.now(), dict(tags), participants)
        self.jobs[job_id] = job
        self._later(START_JOB_SECONDS, partial(self._begin, job))
        return job

    def _begin(self, job: Job) -> None:
        job.status = "STARTED"
        self._log(job, "JOB_START")
        for part in job.participants:
            part.status = "IN_PROGRESS" if job.type == "LAUNCH" else part.status
            if job.type == "LAUNCH" and job.initiated_by != "FAILBACK":
                part.server.launch["status"] = "IN_PROGRESS"
                # A launch replaces what an earlier one made.
                former = self.instance_of(part.server)
                if former is not None:
                    self._log(job, "CLEANUP_START", part.server)
                    self._remove(former)

    def _launch(self, job: Job, *, is_drill: bool) -> None:
        for part in job.participants:
            server, reason = part.server, part.server.tags.get(LAUNCH_FAILS_TAG)
            if reason is not None:
                part.status = "FAILED"
                self._log(job, "LAUNCH_FAILED", server, rawError=reason)
            else:
                instance_id = self._run_instance(server)
                self.instances[instance_id] = RecoveryInstance(
                    instance_id, self._arn("recovery-instance", instance_id), server, job.id, is_drill, self.now(), {}
                )
                part.status, part.instance_id = "LAUNCHED", instance_id
                self._log(job, "LAUNCH_START", server, targetInstanceID=instance_id)
            server.launch["status"] = part.status
            server.launch_result = "SUCCEEDED" if part.status == "LAUNCHED" else "FAILED"

    def _fail_back(self, job: Job, instances: Sequence[RecoveryInstance]) -> None:
        for part, instance in zip(job.participants, instances, strict=True):
            reason = part.server.tags.get(LAUNCH_FAILS_TAG)
            part.status, instance.failback = ("FAILED", "FAILBACK_ERROR") if reason else ("LAUNCHED", "FAILBACK_COMPLETED")
            part.instance_id = instance.id
            if reason:
                self._log(job, "LAUNCH_FAILED", part.server, rawError=reason)

    def _terminate(self, job: Job, instances: Sequence[RecoveryInstance]) -> None:
        for part, instance in zip(job.participants, instances, strict=True):
            self._remove(instance)
            part.status, part.instance_id = "TERMINATED", instance.id
        self._end(job)

    def _end(self, job: Job) -> None:
        job.status, job.ended = "COMPLETED", self.now()
        self._log(job, "JOB_END")

    def _log(self, job: Job, event: str, server: SourceServer | None = None, **data: str) -> None:
        about = {"sourceServerID": server.id} if server else {}
        job.log.append({"event": event, "logDateTime": text(self.now()), "eventData": {**about, **data}})

    # Recovery instances.
    def instance(self, instance_id: str) -> RecoveryInstance:
        """A recovery instance, or ResourceNotFoundException."""
        if instance_id not in self.instances:
            raise not_found("Recovery instance", instance_id)
        return self.instances[instance_id]

    def ec2_state(self, instance: RecoveryInstance) -> str:
        """The state of its EC2 instance."""
        found = ec2_backends[self.account_id][self.region_name].get_instance_by_id(instance.id)
        return found.state.upper() if found else "NOT_FOUND"

    def copy_of(self, instance: RecoveryInstance) -> SourceServer | None:
        """The source server, in another Region, that replicates the instance back."""
        if instance.copy is None:
            return None
        return drs_backends[self.account_id][instance.copy.split(":")[3]].servers.get(instance.copy.rpartition("/")[2])

    def reverse(self, instance: RecoveryInstance) -> SourceServer:
        """Replicate to where the machine came from: a new source server there, or the one of which this machine is the failback."""
        server, copy = instance.server, self.copy_of(instance)
        if server.origin_region is None:
            raise DRSError("ValidationException", f"Recovery instance {instance.id} did not originate in EC2")
        if self.ec2_state(instance) != "RUNNING" or instance.is_drill or not instance.connected:
            raise conflict(f"Recovery instance {instance.id} has not finished initializing, is a drill's, or is disconnected")
        if copy is not None and copy.replication not in _QUIET:
            raise conflict(f"Replication of recovery instance {instance.id} has been reversed already")
        there = drs_backends[self.account_id][server.origin_region]
        if not there.initialized:
            raise DRSError("UninitializedAccountException", f"Account not initialized in {server.origin_region}")
        former = there.servers.get((server.reversed_arn or "").rpartition("/")[2])
        if former is not None:
            former.instance_id = instance.id
            there.synchronise(former, "RESCAN")
        else:
            direction: Direction = "FAILBACK" if server.direction == "FAILOVER" else "FAILOVER"
            tags = {key: value for key, value in server.tags.items() if not key.startswith("localcloud:")}
            former = there.add(server.hostname, tags, origin_region=self.region_name, instance_id=instance.id, direction=direction)
        former.reversed_arn, server.reversed_arn, instance.copy = server.arn, former.arn, former.arn
        instance.failback = "FAILBACK_IN_PROGRESS"
        return former

    def delete_instance(self, instance: RecoveryInstance) -> None:
        """Forget it; its EC2 instance stays. Refused unless disconnected."""
        if instance.connected:
            raise conflict(f"Recovery instance {instance.id} must be disconnected before it is deleted")
        del self.instances[instance.id]

    def _run_instance(self, server: SourceServer) -> str:
        name = {"Name": server.hostname, "AWSElasticDisasterRecoverySourceServerID": server.id}
        reservation = ec2_backends[self.account_id][self.region_name].run_instances(
            _IMAGE, 1, None, [], instance_type="m5.large", is_instance_type_default=True, tags={"instance": name}
        )
        return str(reservation.instances[0].id)

    def _remove(self, instance: RecoveryInstance) -> None:
        if self.ec2_state(instance) != "NOT_FOUND":
            ec2_backends[self.account_id][self.region_name].terminate_instances([instance.id])
        if instance.server.launch:
            instance.server.launch["status"] = "TERMINATED"
        self.instances.pop(instance.id, None)

    def snapshots(self, server: SourceServer) -> list[dict[str, object]]:
        """One for each ten minutes of the last hour for which the server has been protected, the latest first."""
        since = server.protected_since
        if since is None:
            return []
        last = int((self.now() - since).total_seconds() // 600)
        taken = [(number, since + timedelta(minutes=10 * number)) for number in range(last, max(last - 6, -1), -1)]
        return [
            {
                "snapshotID": f"pit-{server.id[2:12]}{number:07d}",
                "sourceServerID": server.id,
                "expectedTimestamp": text(at),
                "timestamp": text(at),
            }
            for number, at in taken
        ]

    def tagged(self, arn: str) -> dict[str, str]:
        """The tags of a resource, to change; ResourceNotFoundException where there is none."""
        known: Iterable[SourceServer | RecoveryInstance | Job] = (*self.servers.values(), *self.instances.values(), *self.jobs.values())
        found = next((one for one in known if one.arn == arn), None)
        if found is None:
            raise not_found("Resource", arn)
        return found.tags

    def _later(self, seconds: float, change: Callable[[], object]) -> None:
        agenda_of(self).after(seconds, partial(self._make, clock.now() + clock.scaled(seconds), change))

    def _make(self, moment: float, change: Callable[[], object]) -> None:
        self._moment = moment
        try:
            change()
        finally:
            self._moment = None

    def _arn(self, kind: str, resource_id: str) -> str:
        return f"arn:aws:drs:{self.region_name}:{self.account_id}:{kind}/{resource_id}"


drs_backends: Final = BackendDict(DRSBackend, "drs")


def install() -> None:
    """Make DRS a service of moto in this process."""
    package = ModuleType("moto.drs")
    package.__dict__["drs_backends"] = drs_backends
    sys.modules["moto.drs"] = package
    moto.__dict__["drs"] = package
    backend_index.backend_url_patterns.insert(0, ("drs", re.compile(_HOST)))


def add_source_server(
    account: str, region: str, hostname: str, *, origin_region: str | None = None, tags: Mapping[str, str] | None = None
) -> str:
    """A machine in `origin_region` (None: on premises) begins to replicate to `region`. Returns the source server's id."""
    return drs_backends[account][region].add(hostname, tags or {}, origin_region=origin_region).id


def text(at: datetime) -> str:
    """A date as DRS writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _hex() -> str:
    return str(mock_random.get_random_hex(17))
