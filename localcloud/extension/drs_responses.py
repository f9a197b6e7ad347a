"""The API of DRS: what each operation reads, and how it words the answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from moto.core.common_types import TYPE_RESPONSE
from moto.core.responses import ActionResult, BaseResponse, EmptyResult
from moto.ec2.models import ec2_backends

from localcloud.extension import drs
from localcloud.extension.agenda import settle
from localcloud.extension.drs import DRSBackend, DRSError, Job, RecoveryInstance, SourceServer, conflict, drs_backends, text

PAGE_SIZE: Final = 100
_DISK_BYTES: Final = 8 * 1024**3
# How far a failback client has come, as the recovery instance's replication state.
_CLIENT_STATES: Final = {"FAILBACK_IN_PROGRESS": "INITIAL_SYNC", "FAILBACK_READY_FOR_LAUNCH": "CONTINUOUS", "FAILBACK_COMPLETED": "STOPPED"}
_SETTINGS: Final = frozenset(
    {
        "name",
        "launchDisposition",
        "targetInstanceTypeRightSizingMethod",
        "copyPrivateIp",
        "copyTags",
        "licensing",
        "postLaunchEnabled",
        "launchIntoInstanceProperties",
        "recoveryMode",
    }
)


class DRSResponse(BaseResponse):
    """Handles the requests to DRS; a method for each operation, named as on the boto3 client."""

    def __init__(self) -> None:
        super().__init__(service_name="drs")
        self.automated_parameter_parsing = True

    def call_action(self) -> TYPE_RESPONSE:
        """Let what has fallen due happen first: in every Region, for they replicate to each other, and in EC2."""
        regions, machines = drs_backends[self.current_account], ec2_backends[self.current_account]
        settle([*regions.values(), *(backend for region, backend in machines.items() if region in regions)])
        return super().call_action()

    @property
    def backend(self) -> DRSBackend:
        """This account's DRS in this Region; UninitializedAccountException before InitializeService."""
        if not self._regional.initialized:
            raise DRSError("UninitializedAccountException", "Account not initialized")
        return self._regional

    @property
    def _regional(self) -> DRSBackend:
        return drs_backends[self.current_account][self.region]

    def _server(self) -> SourceServer:
        return self.backend.server(self._get_param("sourceServerID"))

    def initialize_service(self) -> ActionResult:
        """InitializeService."""
        self._regional.initialized = True
        return EmptyResult()

    # Source servers.
    def create_extended_source_server(self) -> ActionResult:
        """CreateExtendedSourceServer: here, a machine whose agent has been installed; the tags describe it."""
        tags: Mapping[str, str] = self._get_param("tags") or {}
        hostname = tags.get(drs.HOSTNAME_TAG)
        if not hostname:
            raise DRSError("ValidationException", f"Name the machine in the tag {drs.HOSTNAME_TAG}")
        made = self.backend.add(hostname, tags, origin_region=tags.get(drs.ORIGIN_REGION_TAG))
        return ActionResult({"sourceServer": self._worded_server(made)})

    def describe_source_servers(self) -> ActionResult:
        """DescribeSourceServers."""
        filters = self._get_param("filters") or {}
        wanted, hardware = filters.get("sourceServerIDs"), filters.get("hardwareId")
        found = [
            server
            for server in self.backend.servers.values()
            if (not wanted or server.id in wanted) and (not hardware or server.instance_id == hardware)
        ]
        return self._page(found, self._worded_server)

    def stop_replication(self) -> ActionResult:
        """StopReplication."""
        self.backend.stop_replication(self._server())
        return ActionResult({"sourceServer": self._worded_server(self._server())})

    def start_replication(self) -> ActionResult:
        """StartReplication."""
        self.backend.start_replication(self._server())
        return ActionResult({"sourceServer": self._worded_server(self._server())})

    def disconnect_source_server(self) -> ActionResult:
        """DisconnectSourceServer."""
        self.backend.disconnect(self._server())
        return ActionResult(self._worded_server(self._server()))

    def delete_source_server(self) -> ActionResult:
        """DeleteSourceServer."""
        self.backend.delete_server(self._server())
        return EmptyResult()

    def describe_recovery_snapshots(self) -> ActionResult:
        """DescribeRecoverySnapshots: DRS names no error for a server that is not there."""
        filters = self._get_param("filters") or {}
        server = self.backend.servers.get(self._get_param("sourceServerID"))
        first, last = filters.get("fromDateTime", ""), filters.get("toDateTime", "9999")
        taken = self.backend.snapshots(server) if server else []
        found = [each for each in taken if first <= str(each["timestamp"]) <= last]
        if self._get_param("order") == "ASC":
            found.reverse()
        return self._page(found, lambda snapshot: snapshot)

    def get_launch_configuration(self) -> ActionResult:
        """GetLaunchConfiguration."""
        return ActionResult(self._launch_configuration(self._server()))

    def update_launch_configuration(self) -> ActionResult:
        """UpdateLaunchConfiguration."""
        server = self._server()
        server.launch_settings |= {name: self._get_param(name) for name in _SETTINGS if self._get_param(name) is not None}
        return ActionResult(self._launch_configuration(server))

    def _launch_configuration(self, server: SourceServer) -> dict[str, object]:
        return {
            "sourceServerID": server.id,
            "name": server.hostname,
            "ec2LaunchTemplateID": f"lt-{server.id[2:]}",
            "launchDisposition": "STARTED",
            "targetInstanceTypeRightSizingMethod": "BASIC",
            "copyPrivateIp": False,
            "copyTags": True,
            **server.launch_settings,
        }

    # Jobs.
    def start_recovery(self) -> ActionResult:
        """StartRecovery."""
        is_drill, tags = bool(self._get_param("isDrill")), self._get_param("tags") or {}
        return self._started(self.backend.start_recovery(self._get_param("sourceServers"), is_drill=is_drill, tags=tags))

    def start_failback_launch(self) -> ActionResult:
        """StartFailbackLaunch."""
        return self._started(self.backend.start_failback_launch(self._instances(), self._get_param("tags") or {}))

    def terminate_recovery_instances(self) -> ActionResult:
        """TerminateRecoveryInstances."""
        return self._started(self.backend.terminate(self._instances()))

    def _instances(self) -> list[RecoveryInstance]:
        """Those named; the operations that take several know no ResourceNotFoundException."""
        known, wanted = self.backend.instances, self._get_param("recoveryInstanceIDs")
        missing = [each for each in wanted if each not in known]
        if missing:
            raise conflict(f"Recovery instance {missing[0]} does not exist")
        return [known[each] for each in wanted]

    def _started(self, job: Job) -> ActionResult:
        return ActionResult({"job": _worded_job(job)})

    def describe_jobs(self) -> ActionResult:
        """DescribeJobs: the latest first."""
        filters = self._get_param("filters") or {}
        wanted, first, last = filters.get("jobIDs"), filters.get("fromDate", ""), filters.get("toDate", "9999")
        found = [job for job in self.backend.jobs.values() if (not wanted or job.id in wanted) and first <= text(job.created) <= last]
        return self._page(found[::-1], _worded_job)

    def describe_job_log_items(self) -> ActionResult:
        """DescribeJobLogItems."""
        job = self.backend.jobs.get(self._get_param("jobID"))
        if job is None:
            raise DRSError("ValidationException", f"Job {self._get_param('jobID')} does not exist")
        return self._page(job.log, lambda entry: entry)

    def delete_job(self) -> ActionResult:
        """DeleteJob: only a completed one."""
        job = self.backend.jobs.get(self._get_param("jobID"))
        if job is None:
            raise drs.not_found("Job", self._get_param("jobID"))
        if job.status != "COMPLETED":
            raise conflict(f"Job {job.id} is {job.status}")
        del self.backend.jobs[job.id]
        return EmptyResult()

    # Recovery instances.
    def describe_recovery_instances(self) -> ActionResult:
        """DescribeRecoveryInstances."""
        filters = self._get_param("filters") or {}
        wanted, servers = filters.get("recoveryInstanceIDs"), filters.get("sourceServerIDs")
        found = [
            each
            for each in self.backend.instances.values()
            if (not wanted or each.id in wanted) and (not servers or each.server.id in servers)
        ]
        return self._page(found, self._worded_instance)

    def reverse_replication(self) -> ActionResult:
        """ReverseReplication."""
        made = self.backend.reverse(self.backend.instance(self._get_param("recoveryInstanceID")))
        return ActionResult({"reversedDirectionSourceServerArn": made.arn})

    def stop_failback(self) -> ActionResult:
        """StopFailback."""
        self.backend.instance(self._get_param("recoveryInstanceID")).failback = "FAILBACK_NOT_STARTED"
        return EmptyResult()

    def disconnect_recovery_instance(self) -> ActionResult:
        """DisconnectRecoveryInstance."""
        self.backend.instance(self._get_param("recoveryInstanceID")).connected = False
        return EmptyResult()

    def delete_recovery_instance(self) -> ActionResult:
        """DeleteRecoveryInstance."""
        instance = self.backend.instances.get(self._get_param("recoveryInstanceID"))
        if instance is None:
            raise conflict(f"Recovery instance {self._get_param('recoveryInstanceID')} does not exist")
        self.backend.delete_instance(instance)
        return EmptyResult()

    # Tags.
    def tag_resource(self) -> ActionResult:
        """TagResource."""
        arn, tags = self._get_param("resourceArn"), self._get_param("tags")
        self._regional.tagged(arn).update(tags)
        if drs.FAILBACK_CLIENT_TAG in tags:
            self._regional.pair_failback_client(self._regional.server(arn.rpartition("/")[2]))
        return EmptyResult()

    def untag_resource(self) -> ActionResult:
        """UntagResource."""
        tags = self._regional.tagged(self._get_param("resourceArn"))
        for key in self._get_param("tagKeys"):
            tags.pop(key, None)
        return EmptyResult()

    def list_tags_for_resource(self) -> ActionResult:
        """ListTagsForResource."""
        return ActionResult({"tags": self._regional.tagged(self._get_param("resourceArn"))})

    # Wording.
    def _page(self, found: Sequence[Any], worded: Callable[[Any], Mapping[str, object]]) -> ActionResult:
        start = int(self._get_param("nextToken") or 0)
        end = start + min(self._get_param("maxResults") or PAGE_SIZE, PAGE_SIZE)
        answer: dict[str, object] = {"items": [worded(each) for each in found[start:end]]}
        return ActionResult({**answer, "nextToken": str(end)} if end < len(found) else answer)

    def _worded_server(self, server: SourceServer) -> dict[str, object]:
        instance = self.backend.instance_of(server)
        seen = text(self.backend.now())
        words: dict[str, object] = {
            "sourceServerID": server.id,
            "arn": server.arn,
            "tags": server.tags,
            "lastLaunchResult": server.launch_result,
            "dataReplicationInfo": _replication(server.state, server.tags),
            "lifeCycle": {
                "addedToServiceDateTime": text(server.added),
                "lastSeenByServiceDateTime": seen,
                **({"lastLaunch": server.launch} if server.launch else {}),
            },
            "sourceProperties": {
                "lastUpdatedDateTime": seen,
                "identificationHints": _hints(server.hostname, server.instance_id),
                "recommendedInstanceType": "m5.large",
                "cpus": [{"cores": 2, "modelName": "Intel Xeon"}],
                "ramBytes": 8 * 1024**3,
                "disks": [{"deviceName": "/dev/xvda", "bytes": _DISK_BYTES}],
                "os": {"fullString": "Linux"},
            },
            "stagingArea": {"status": "NOT_EXTENDED"},
            "replicationDirection": server.direction,
        }
        if instance is not None:
            words["recoveryInstanceId"] = instance.id
        if server.origin_region is not None:
            words["sourceCloudProperties"] = {
                "originAccountID": self.current_account,
                "originRegion": server.origin_region,
                "originAvailabilityZone": f"{server.origin_region}a",
            }
        if server.reversed_arn is not None:
            words["reversedDirectionSourceServerArn"] = server.reversed_arn
        return words

    def _worded_instance(self, instance: RecoveryInstance) -> dict[str, object]:
        copy = self.backend.copy_of(instance)
        by_client = _CLIENT_STATES.get(instance.failback, "NOT_STARTED")
        state = "DISCONNECTED" if not instance.connected else copy.state if copy else by_client
        failback = instance.failback
        if copy is not None and failback == "FAILBACK_IN_PROGRESS" and copy.state == "CONTINUOUS":
            failback = "FAILBACK_READY_FOR_LAUNCH"
        replication = _replication(state, copy.tags if copy else {})
        replication.pop("lagDuration", None)  # of a recovery instance, DRS models it as a date
        words: dict[str, object] = {
            "recoveryInstanceID": instance.id,
            "ec2InstanceID": instance.id,
            "ec2InstanceState": self.backend.ec2_state(instance),
            "arn": instance.arn,
            "sourceServerID": instance.server.id,
            "jobID": instance.job_id,
            "tags": instance.tags,
            "isDrill": instance.is_drill,
            "failback": {"state": failback},
            "dataReplicationInfo": replication,
            "recoveryInstanceProperties": {"identificationHints": _hints(instance.server.hostname, instance.id)},
            "pointInTimeSnapshotDateTime": text(instance.launched),
            "originEnvironment": "AWS" if instance.server.origin_region else "ON_PREMISES",
        }
        if instance.server.origin_region is not None:
            words["originAvailabilityZone"] = f"{instance.server.origin_region}a"
        return words


def _hints(hostname: str, instance_id: str | None) -> dict[str, object]:
    hints: dict[str, object] = {"hostname": hostname, "fqdn": f"{hostname}.example.internal"}
    return {**hints, "awsInstanceID": instance_id} if instance_id else hints


def _replication(state: str, tags: Mapping[str, str]) -> dict[str, object]:
    copied = 0 if state in ("INITIATING", "INITIAL_SYNC", "DISCONNECTED", "NOT_STARTED", "STOPPED") else _DISK_BYTES
    total = 0 if state == "DISCONNECTED" else _DISK_BYTES
    disk = {"deviceName": "/dev/xvda", "totalStorageBytes": total, "replicatedStorageBytes": copied, "backloggedStorageBytes": 0}
    info: dict[str, object] = {"dataReplicationState": state, "replicatedDisks": [disk]}
    if state not in ("STOPPED", "DISCONNECTED", "INITIATING", "INITIAL_SYNC", "NOT_STARTED"):
        info["lagDuration"] = tags.get(drs.LAG_TAG, "PT0S")
    if state == "STALLED":
        info["dataReplicationError"] = {"error": tags[drs.STALLED_TAG]}
    return info


def _worded_job(job: Job) -> dict[str, object]:
    participants = [
        {
            "sourceServerID": part.server.id,
            "launchStatus": part.status,
            **({"recoveryInstanceID": part.instance_id} if part.instance_id else {}),
        }
        for part in job.participants
    ]
    words: dict[str, object] = {
        "jobID": job.id,
        "arn": job.arn,
        "type": job.type,
        "initiatedBy": job.initiated_by,
        "creationDateTime": text(job.created),
        "status": job.status,
        "participatingServers": participants,
        "tags": job.tags,
    }
    return {**words, "endDateTime": text(job.ended)} if job.ended else words
