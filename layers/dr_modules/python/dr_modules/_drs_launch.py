"""ACTIVATE of the DRS module: launch recovery instances, or what a failback client has copied."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dr_core.errors import ErrorClass
from dr_core.phases import Mode
from dr_modules import _drs
from dr_modules._drs_base import DrsBase, DRSParameters
from dr_modules._listed import in_batches
from dr_modules.base import STARTABLE, Handle, PreflightFinding, Progress, Status

# "AWS Elastic Disaster Recovery endpoints and quotas": none of the three can be raised.
SERVERS_PER_JOB = 100
_JOBS_AT_ONCE = 20
_SERVERS_IN_JOBS = 500


@dataclass(frozen=True)
class Candidate:
    """A server to launch: how it does, what is there of it already, and the kind of job that launches it."""

    hostname: str
    server: _drs.SourceServer
    instance: _drs.RecoveryInstance | None
    kind: str
    status: Status

    @property
    def lag(self) -> float | None:
        """Of what would be launched; None where it cannot be told."""
        if self.kind != _drs.FAILBACK:
            return self.server.lag
        # Of a recovery instance DRS gives no duration: that a client's copy is ready must do.
        return 0.0 if self.instance is not None and self.instance.failback == "FAILBACK_READY_FOR_LAUNCH" else None


class DrsLaunch(DrsBase):
    """Start jobs, find them again, and tell from them how each server does."""

    def refuse_launch(self, parameters: DRSParameters) -> None:
        """Refuse what would lose data, replace a machine that may serve, or cannot be launched at all."""
        for candidate in self._due(parameters):
            if candidate.kind == _drs.FAILBACK:
                self._refuse_failback(candidate)
                continue
            instance = candidate.instance
            is_drill = self.run.mode is Mode.DRILL
            if instance is not None and instance.may_serve and (is_drill or not parameters.force):
                message = f"{candidate.hostname} has recovery instance {instance.id} ({instance.state}), which a launch would replace"
                if is_drill:
                    raise self.error("RecoveryInstanceExists", f"{message}: it may be what serves, which a drill leaves alone")
                remedy = 'let CLEANUP terminate it if it is left over, or set "Force": true to have it replaced'
                raise self.error("RecoveryInstanceExists", f"{message}: {remedy}")
            self._refuse_state(candidate)
            if is_drill:
                self._refuse_overwriting(candidate)

    def _refuse_overwriting(self, candidate: Candidate) -> None:
        """A drill makes instances of its own, which its CLEANUP can terminate."""
        into = self._launched_into(candidate.server)
        if into:
            message = f"the launch settings of {candidate.hostname} ({candidate.server.id}) name instance {into}, which a launch overwrites"
            raise self.error("LaunchesIntoInstance", f"{message}: clear it in DRS's launch settings for the time of the drill")

    def _launched_into(self, server: _drs.SourceServer) -> str:
        """The instance whose volumes a launch replaces; empty where it makes a new one. Without settings nothing is launched."""
        try:
            settings = self.drs.get_launch_configuration(sourceServerID=server.id)
        except self.drs.exceptions.ResourceNotFoundException:
            return ""
        return str(settings.get("launchIntoInstanceProperties", {}).get("launchIntoEC2InstanceID") or "")

    def _refuse_state(self, candidate: Candidate) -> None:
        """Only an unplanned run launches from what is there when replication is not CONTINUOUS."""
        server = candidate.server
        what = f"{candidate.hostname} ({server.id}) is {server.state}" + (f", {server.error}" if server.error else "")
        if server.state in _drs.WITHOUT_COPY:
            raise self.error("NoRecoverySnapshot", f"{what}: there is no copy to launch from; replicate it first")
        if server.state != "CONTINUOUS" and self.run.mode is not Mode.UNPLANNED:
            passing = ErrorClass.TERMINAL if server.state in _drs.NOT_REPLICATING else ErrorClass.RETRYABLE
            remedy = "mend the replication as DRS says, or request the phase unplanned, which launches from what is there"
            raise self.error("NotContinuous", f"{what}, not CONTINUOUS: {remedy}", passing)

    def _refuse_failback(self, candidate: Candidate) -> None:
        self.refuse_drill("launch a failback")
        instance = candidate.instance
        if instance is None:
            message = f"{candidate.hostname} has no recovery instance in {self.target.region} to fail back from"
            raise self.error("NoRecoveryInstance", f"{message}: correct HostNames")
        if instance.origin == "AWS":
            message = f"{candidate.hostname} came from {candidate.server.origin_region}: its failback is launched there"
            raise self.error("WrongRegion", f"{message}, after REPLICATE; request the phase for that Region")
        if instance.failback != "FAILBACK_READY_FOR_LAUNCH":
            message = f"recovery instance {instance.id} of {candidate.hostname} is {instance.failback}, not FAILBACK_READY_FOR_LAUNCH"
            passing = ErrorClass.RETRYABLE if instance.failback == "FAILBACK_IN_PROGRESS" else ErrorClass.TERMINAL
            raise self.error("FailbackNotReady", f"{message}: pair the failback client and let it copy", passing)

    def launch(self, parameters: DRSParameters) -> Handle:
        """Start jobs for the servers that are neither launched nor under way."""
        self.guard(parameters)
        jobs = [job_id for job_id in self.handle.get("jobs", "").split(",") if job_id]
        by_kind: dict[str, list[Candidate]] = {}
        for candidate in self._due(parameters):
            by_kind.setdefault(candidate.kind, []).append(candidate)
        for kind, candidates in by_kind.items():
            for some in in_batches(candidates, SERVERS_PER_JOB):
                jobs.append(self._start(kind, some))
                self.keep(self.position, {"jobs": ",".join(jobs)})  # also if the next job is refused
        return {"jobs": ",".join(jobs)}

    def _start(self, kind: str, candidates: list[Candidate]) -> str:
        """Start one job. Without a snapshot's id DRS launches from the latest data."""
        if kind == _drs.FAILBACK:
            instances = [candidate.instance.id for candidate in candidates if candidate.instance]
            answer = self.drs.start_failback_launch(recoveryInstanceIDs=instances, tags=self.job_tags)
        else:
            servers = [{"sourceServerID": candidate.server.id} for candidate in candidates]
            answer = self.drs.start_recovery(sourceServers=servers, isDrill=kind == _drs.DRILL, tags=self.job_tags)
        return str(answer["job"]["jobID"])

    def launch_status(self, parameters: DRSParameters) -> Status:
        """Done when each server is LAUNCHED, and its recovery instance is there and runs."""
        return Status.combined([candidate.status for candidate in self._candidates(parameters)])

    def launch_lag(self, parameters: DRSParameters) -> float | None:
        """The largest lag of the servers still to be launched."""
        lags = []
        for candidate in self._due(parameters):
            if candidate.lag is None:
                message = f"DRS gives no lag for {candidate.hostname} ({candidate.server.id}), which is {candidate.server.state}"
                raise self.error("LagUnknown", f"{message}: look at its replication")
            lags.append(candidate.lag)
        return max(lags, default=None)

    def launch_obstacles(self, parameters: DRSParameters) -> Iterator[PreflightFinding]:
        """Launch settings, the state of replication, and DRS's limits for jobs."""
        due = self._due(parameters)
        for candidate in due:
            server = candidate.server
            if candidate.kind == _drs.FAILBACK:
                continue
            if server.state != "CONTINUOUS":
                message = f"{candidate.hostname} ({server.id}) is {server.state} {server.error}".rstrip()
                yield self.warning("NotContinuous", f"{message}: the launch starts from what has been replicated until then")
            try:
                settings = self.drs.get_launch_configuration(sourceServerID=server.id)
            except self.drs.exceptions.ResourceNotFoundException:
                message = f"{candidate.hostname} ({server.id}) has no launch settings: set them in DRS"
                yield self.obstacle("NoLaunchConfiguration", message)
                continue
            into = settings.get("launchIntoInstanceProperties", {}).get("launchIntoEC2InstanceID")
            if into:
                yield self.warning("LaunchesIntoInstance", f"{candidate.hostname} is launched into {into}: it must be stopped by then")
        running = [job for job in _drs.recent_jobs(self.drs) if job.is_running]
        jobs = len(running) + -(-len(due) // SERVERS_PER_JOB)
        servers = sum(len(job.servers) for job in running) + len(due)
        if jobs > _JOBS_AT_ONCE or servers > _SERVERS_IN_JOBS:
            message = f"{len(running)} jobs run in {self.target.region}; with this one {jobs} jobs of {servers} servers would"
            yield self.obstacle("JobQuota", f"{message}, DRS allows {_JOBS_AT_ONCE} and {_SERVERS_IN_JOBS}: wait until some have ended")

    def states(self, parameters: DRSParameters) -> Mapping[str, object]:
        """Each server's id, state and lag, and its recovery instance."""
        return {
            candidate.hostname: {
                "sourceServer": candidate.server.id,
                "state": candidate.server.state,
                "lagSeconds": candidate.lag,
                "recoveryInstance": candidate.instance.id if candidate.instance else None,
            }
            for candidate in self._candidates(parameters)
        }

    def _due(self, parameters: DRSParameters) -> list[Candidate]:
        """Those that an act starts."""
        startable = STARTABLE | {Progress.FAILED}
        return [candidate for candidate in self._candidates(parameters) if candidate.status.progress in startable]

    def _candidates(self, parameters: DRSParameters) -> list[Candidate]:
        servers = self.every(parameters, self.target.region, _drs.source_servers(self.drs))
        instances = _drs.recovery_instances(self.drs, [server.id for server in servers.values()])
        jobs = _drs.recent_jobs(self.drs)
        found = []
        for hostname, server in servers.items():
            # A failback within AWS is a recovery of the source server that REPLICATE has made in the Region of origin.
            by_client = parameters.is_failback and server.direction != "FAILBACK"
            kind = _drs.FAILBACK if by_client else _drs.DRILL if self.run.mode is Mode.DRILL else _drs.RECOVERY
            instance = instances.get(server.id)
            found.append(Candidate(hostname, server, instance, kind, self._status_of(hostname, server, instance, kind, jobs)))
        return found

    def _status_of(
        self, hostname: str, server: _drs.SourceServer, instance: _drs.RecoveryInstance | None, kind: str, jobs: list[_drs.Job]
    ) -> Status:
        """How a server does: from the job that launches it now, else this resource's latest, else an earlier execution's."""
        of_server = [job for job in jobs if server.id in job.servers]
        ours = next((job for job in of_server if self._is_ours(job) and job.initiated_by == kind), None)
        running = next((job for job in of_server if job.is_running), None)
        if running is not None and running.initiated_by != kind:
            return Status.in_progress(f"{hostname}: job {running.id} ({running.initiated_by}) must end first")
        job = running or ours or self._adoptable(of_server, instance, kind)
        if job is None:
            return Status.not_started(f"{hostname}: {server.id} is {server.state}, no job launches it")
        return self._launched(hostname, server, instance, job)

    def _is_ours(self, job: _drs.Job) -> bool:
        ours = job.tags.get("dr:execution") == self.run.execution_id and job.tags.get("dr:resource") == self.run.resource_id
        return ours or job.id in self.handle.get("jobs", "").split(",")

    def _adoptable(self, of_server: list[_drs.Job], instance: _drs.RecoveryInstance | None, kind: str) -> _drs.Job | None:
        """The launch that an earlier execution of this application made of what runs now. A drill launches anew."""
        if kind == _drs.DRILL or not of_server or (instance is None or not instance.may_serve):
            return None
        last = next((job for job in of_server if job.type == "LAUNCH"), None)
        if last is None or last.initiated_by != kind or last.tags.get("dr:application") != self.run.application:
            return None
        # Once its failback has begun, what runs is no longer known to be the application's.
        untouched = kind == _drs.FAILBACK or instance.failback == "FAILBACK_NOT_STARTED"
        return last if untouched and last.servers[instance.server_id] == "LAUNCHED" else None

    def _launched(self, hostname: str, server: _drs.SourceServer, instance: _drs.RecoveryInstance | None, job: _drs.Job) -> Status:
        state = job.servers[server.id]
        what = f"{hostname}: job {job.id} is {job.status}, {state}"
        if state == "FAILED":
            return Status.failed("LaunchFailed", f"{what}: {_drs.why_failed(self.drs, job.id, server.id)}")
        if state == "TERMINATED":
            return Status.failed("InstanceTerminated", f"{what}: the instance has been terminated since; retry launches it anew")
        if state != "LAUNCHED":
            ended = f"{what}: the job has ended without launching it"
            return Status.in_progress(what) if job.is_running else Status.failed("NotLaunched", ended)
        if job.initiated_by == _drs.FAILBACK:
            return Status.done(what)
        if instance is None or instance.is_drill != (job.initiated_by == _drs.DRILL):
            return Status.in_progress(f"{what}, its recovery instance is not yet listed")
        what = f"{what}, {instance.instance_id} is {instance.state}"
        if instance.state in _drs.GONE:
            return Status.failed("InstanceTerminated", f"{what}; retry launches it anew")
        # STOPPED is what the launch settings may ask for (launchDisposition).
        return Status.done(what) if instance.state in ("RUNNING", "STOPPED") else Status.in_progress(what)
