"""REPLICATE of the DRS module: from the recovery instances that serve now back to the target Region."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dr_modules import _drs
from dr_modules._drs_base import DrsBase, DRSParameters
from dr_modules._listed import in_batches
from dr_modules.base import Handle, PreflightFinding, Progress, Status

# AWS's own document, see "Installing the AWS Replication Agent with Systems Manager"; Region is where the server is replicated to.
_DOCUMENT = "AWSDisasterRecovery-InstallDRAgentOnInstance"
_INSTANCES_PER_COMMAND = 50
_COMMAND_FAILED = frozenset({"Failed", "TimedOut", "Cancelled"})
_NOT_BEGUN = frozenset({"NOT_STARTED", "STOPPED", "DISCONNECTED"})


@dataclass(frozen=True)
class Live:
    """A machine that serves in the other Region, and the source server here that replicates it, once there is one."""

    hostname: str
    instance: _drs.RecoveryInstance
    copy: _drs.SourceServer | None


class DrsReplicate(DrsBase):
    """Reverse the replication, or install the agent anew."""

    def refuse_replicate(self, parameters: DRSParameters) -> None:
        """Refuse what did not come from EC2: only an agent can replicate that."""
        for live in self._live(parameters):
            if parameters.method is None and live.instance.origin != "AWS":
                message = f"{live.hostname} ({live.instance.id}) did not originate in EC2 ({live.instance.origin})"
                raise self.error("NotOfEC2", f'{message}: use "Method": "ReinstallAgent"')

    def start_replicating(self, parameters: DRSParameters) -> Handle:
        """Begin for the machines that are not yet replicated."""
        self.guard(parameters)
        due = [
            live for live in self._live(parameters) if self._progress(parameters, live).progress in (Progress.NOT_STARTED, Progress.FAILED)
        ]
        if parameters.method == "ReinstallAgent":
            return self._install([live.instance.instance_id for live in due])
        for live in due:
            self.peer_drs.reverse_replication(recoveryInstanceID=live.instance.id)
        return self.handle

    def replication_status(self, parameters: DRSParameters) -> Status:
        """Done when the source server of each machine that serves is CONTINUOUS."""
        return Status.combined([self._progress(parameters, live) for live in self._live(parameters)])

    def replicate_obstacles(self, parameters: DRSParameters) -> Iterator[PreflightFinding]:
        """Whether DRS is ready in the target Region, and the machines run."""
        try:
            self.drs.describe_source_servers(filters={}, maxResults=1)
        except self.drs.exceptions.UninitializedAccountException:
            message = f"DRS is not initialized in {self.target.region}: initialize it there"
            yield self.obstacle("UninitializedAccountException", message)
        for live in self._live(parameters):
            if live.instance.state != "RUNNING":
                message = f"{live.hostname} ({live.instance.id}) is {live.instance.state}: start it"
                yield self.obstacle("NotRunning", message)

    def _live(self, parameters: DRSParameters) -> list[Live]:
        """The recovery instance of each server in the other Region. Raises ModuleError where one is missing."""
        region = self.target.peer_region
        servers = self.every(parameters, region, _drs.source_servers(self.peer_drs))
        instances = _drs.recovery_instances(self.peer_drs, [server.id for server in servers.values()])
        copies = {one.instance_id: one for one in _drs.source_servers(self.drs)}
        found = []
        for hostname, server in servers.items():
            instance = instances.get(server.id)
            if instance is None or not instance.may_serve:
                message = f"{hostname} ({server.id}) has no recovery instance in {region}"
                raise self.error(
                    "NoRecoveryInstance", f"{message}: REPLICATE follows an ACTIVATE there, and targets the Region left behind"
                )
            found.append(Live(hostname, instance, copies.get(instance.instance_id)))
        return found

    def _progress(self, parameters: DRSParameters, live: Live) -> Status:
        if parameters.method == "ReinstallAgent":
            if live.copy is None:
                return self._installed(live)
        elif live.instance.replication in _NOT_BEGUN:
            # Not told from `copy`: where DRS launches into the original instance, a pairing of before the failover looks the same.
            return Status.not_started(f"{live.hostname}: {live.instance.id} is not replicated")
        if live.copy is None:
            return Status.in_progress(f"{live.hostname}: its source server is not yet there")
        copy = live.copy
        what = f"{live.hostname}: source server {copy.id} is {copy.state} {copy.error}".rstrip()
        if copy.state == "CONTINUOUS":
            return Status.done(what)
        if copy.state in _NOT_BEGUN:
            return Status.failed("ReplicationStopped", f"{what}: start its replication in DRS, or delete it and retry")
        return Status.in_progress(what)

    # The agent.
    @cached_property
    def _ssm(self) -> Any:
        """Where the machines run."""
        return self.peer_client("ssm")

    @property
    def _comment(self) -> str:
        """By which a command is known as this resource's, also when its id was not recorded."""
        return f"{self.run.execution_id} {self.run.resource_id}"[:100]

    def _install(self, instance_ids: list[str]) -> Handle:
        sent = [one for one in self.handle.get("commands", "").split(",") if one]
        for some in in_batches(instance_ids, _INSTANCES_PER_COMMAND):
            answer = self._ssm.send_command(
                InstanceIds=some,
                DocumentName=_DOCUMENT,
                Parameters={"Region": [self.target.region]},
                Comment=self._comment,
            )
            sent.append(str(answer["Command"]["CommandId"]))
            self.keep(self.position, {"commands": ",".join(sent)})  # also if the next command is refused
        return {"commands": ",".join(sent)}

    def _installed(self, live: Live) -> Status:
        """What became of the latest command of this resource on the machine."""
        instance_id = live.instance.instance_id
        pages = self._ssm.get_paginator("list_commands").paginate(InstanceId=instance_id)
        commands = [one for page in pages for one in page["Commands"] if self._is_our_command(one)]
        if not commands:
            return Status.not_started(f"{live.hostname}: no agent has been installed on {instance_id}")
        command_id = max(commands, key=lambda one: one["RequestedDateTime"])["CommandId"]
        what = f"{live.hostname}: the installation of its agent on {instance_id} (command {command_id})"
        try:
            result = self._ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
        except self._ssm.exceptions.InvocationDoesNotExist:
            return Status.in_progress(f"{what} has not reached the instance")
        if result["Status"] in _COMMAND_FAILED:
            reason = result.get("StandardErrorContent") or result.get("StatusDetails") or "no reason given"
            return Status.failed("AgentNotInstalled", f"{what} is {result['Status']}: {reason[:300]}")
        if result["Status"] == "Success":
            return Status.in_progress(f"{what} has succeeded; its source server is not yet there")
        return Status.in_progress(f"{what} is {result['Status']}")

    def _is_our_command(self, command: Mapping[str, Any]) -> bool:
        known = command["CommandId"] in self.handle.get("commands", "").split(",")
        return known or (command.get("DocumentName") == _DOCUMENT and command.get("Comment") == self._comment)
