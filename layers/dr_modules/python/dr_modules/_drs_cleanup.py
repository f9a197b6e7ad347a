"""CLEANUP of the DRS module: source servers out of service, each step seen to be done before the next; after a drill, its instances."""

from dataclasses import dataclass

from dr_modules import _drs
from dr_modules._drs_base import DrsBase, DRSParameters
from dr_modules._listed import in_batches
from dr_modules.base import Status

_STOPPED, _DISCONNECTED = "STOPPED", "DISCONNECTED"


@dataclass(frozen=True)
class Leftover:
    """A source server to delete. `copy` is the source server in the other Region that replicates its recovery instance."""

    hostname: str
    server: _drs.SourceServer
    instance: _drs.RecoveryInstance | None
    copy: _drs.SourceServer | None

    @property
    def feeds_copy(self) -> bool:
        """Whether the other Region still replicates the recovery instance, which keeps it from being terminated."""
        return self.copy is not None and self.copy.state not in (_STOPPED, _DISCONNECTED)

    @property
    def has_failed_back(self) -> bool:
        """Whether the other side has taken over from the recovery instance: DRS says so, or its copy there has been launched."""
        completed = self.instance is not None and self.instance.failback == "FAILBACK_COMPLETED"
        return completed or (self.copy is not None and self.copy.launched)


class DrsCleanup(DrsBase):
    """Terminate (if asked), stop, disconnect, delete."""

    def refuse_cleanup(self, parameters: DRSParameters) -> None:
        """Refuse what serves, what protects the side that serves, and recovery instances that nobody asked to terminate."""
        for leftover in self._leftovers(parameters):
            if not parameters.force:
                self._refuse_live(leftover)
            if leftover.instance is not None and not parameters.terminate:
                message = f"recovery instance {leftover.instance.id} ({leftover.instance.state}) of {leftover.hostname} is in the way"
                remedy = 'set "TerminateRecoveryInstances": true if it is no longer needed'
                raise self.error("RecoveryInstanceExists", f"{message}: {remedy}")

    def _refuse_live(self, leftover: Leftover) -> None:
        server, instance = leftover.server, leftover.instance
        override = 'or set "Force": true to delete it all the same'
        if instance is not None and instance.may_serve and not leftover.has_failed_back:
            message = f"{leftover.hostname} runs on recovery instance {instance.id} in {self.target.region}, and has not failed back"
            raise self.error("LiveSide", f"{message}: fail back first, {override}")
        # What is replicated from the Region that is cleaned up does not protect the live side.
        if server.state not in _drs.NOT_REPLICATING and server.origin_region != self.target.region:
            origin = server.origin_region or "its site"
            message = f"source server {server.id} of {leftover.hostname} is {server.state}: it protects what runs in {origin}"
            raise self.error("LiveSide", f"{message}; leave it, {override}")

    def clean_up(self, parameters: DRSParameters) -> None:
        """Take the next step for each server."""
        self.guard(parameters)
        jobs = _drs.recent_jobs(self.drs)
        doomed = []
        for leftover in self._leftovers(parameters):
            if leftover.instance is None:
                self._retire(leftover.server)
            elif leftover.feeds_copy and leftover.copy is not None:
                self.peer_drs.stop_replication(sourceServerID=leftover.copy.id)
            elif not _is_terminating(leftover, jobs):
                doomed.append(leftover.instance)
        for instance in doomed:
            if instance.failback not in ("FAILBACK_NOT_STARTED", "FAILBACK_COMPLETED"):
                self.drs.stop_failback(recoveryInstanceID=instance.id)
        for some in in_batches(doomed, 100):
            self.drs.terminate_recovery_instances(recoveryInstanceIDs=[instance.id for instance in some])

    def _retire(self, server: _drs.SourceServer) -> None:
        drs = self.drs
        try:
            if server.state == _DISCONNECTED:
                drs.delete_source_server(sourceServerID=server.id)
            elif server.state == _STOPPED:
                drs.disconnect_source_server(sourceServerID=server.id)
            else:
                drs.stop_replication(sourceServerID=server.id)
        except drs.exceptions.ResourceNotFoundException:
            return  # somebody has deleted it since: the check will see

    def cleanup_progress(self, parameters: DRSParameters) -> Status:
        """Done when DRS no longer lists any of the servers, on any page."""
        leftovers = self._leftovers(parameters)
        if not leftovers:
            return Status.done(f"DRS in {self.target.region} has no source server for {', '.join(parameters.hostnames)}")
        jobs = _drs.recent_jobs(self.drs)
        return Status.combined([self._step(leftover, jobs) for leftover in leftovers])

    def _step(self, leftover: Leftover, jobs: list[_drs.Job]) -> Status:
        server, instance = leftover.server, leftover.instance
        what = f"{leftover.hostname}: {server.id} is {server.state}"
        if instance is not None:
            what = f"{what}, recovery instance {instance.id} is {instance.state}"
            if _is_terminating(leftover, jobs):
                return Status.in_progress(f"{what} and being terminated")
            if leftover.copy is not None and not leftover.feeds_copy:
                return Status.next_step(what)
            return Status.not_started(what)
        terminated = any(job.type == "TERMINATE" and server.id in job.servers for job in jobs)
        begun = terminated or server.state in (_STOPPED, _DISCONNECTED)
        return Status.next_step(what) if begun else Status.not_started(what)

    def terminate_drill(self, parameters: DRSParameters) -> None:
        """Terminate the instances that a drill of this application has launched; replication and recovery points stay."""
        jobs = _drs.recent_jobs(self.drs)
        due = [one.instance.id for one in self._drilled(parameters) if one.instance is not None and not _is_terminating(one, jobs)]
        for some in in_batches(due, 100):
            self.drs.terminate_recovery_instances(recoveryInstanceIDs=some)

    def drill_status(self, parameters: DRSParameters) -> Status:
        """Done when DRS no longer lists any of them."""
        drilled, jobs = self._drilled(parameters), _drs.recent_jobs(self.drs)
        found = []
        for one in drilled:
            what = f"{one.hostname}: drill instance {one.instance.id} is {one.instance.state}" if one.instance else one.hostname
            found.append(Status.in_progress(f"{what} and being terminated") if _is_terminating(one, jobs) else Status.not_started(what))
        return Status.combined(found) if found else Status.done(f"{', '.join(parameters.hostnames)}: no drill instance is left")

    def _drilled(self, parameters: DRSParameters) -> list[Leftover]:
        """The servers whose recovery instance is a drill's, launched by a job of this application: nobody else's drill is ended."""
        servers = self.named(parameters, self.target.region, _drs.source_servers(self.drs))
        instances = _drs.recovery_instances(self.drs, [server.id for server in servers.values()])
        drills = {server_id: one for server_id, one in instances.items() if one.is_drill}
        jobs = _drs.jobs_by_id(self.drs, [one.job_id for one in drills.values() if one.job_id])
        ours = {job.id for job in jobs.values() if job.tags.get("dr:application") == self.run.application}
        named = {hostname: server for hostname, server in servers.items() if server.id in drills and drills[server.id].job_id in ours}
        return [Leftover(hostname, server, drills[server.id], None) for hostname, server in named.items()]

    def _leftovers(self, parameters: DRSParameters) -> list[Leftover]:
        servers = self.named(parameters, self.target.region, _drs.source_servers(self.drs))
        instances = _drs.recovery_instances(self.drs, [server.id for server in servers.values()])
        copies = {one.instance_id: one for one in _drs.source_servers(self.peer_drs)} if instances else {}
        found = []
        for hostname, server in servers.items():
            instance = instances.get(server.id)
            found.append(Leftover(hostname, server, instance, copies.get(instance.instance_id) if instance else None))
        return found


def _is_terminating(leftover: Leftover, jobs: list[_drs.Job]) -> bool:
    running = any(job.type == "TERMINATE" and job.is_running and leftover.server.id in job.servers for job in jobs)
    return running or (leftover.instance is not None and leftover.instance.state == "SHUTTING-DOWN")
