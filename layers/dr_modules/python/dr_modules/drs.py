"""DRS: launch servers that Elastic Disaster Recovery replicates, and afterwards delete or reverse their replication.

Servers are named by HostNames, as DRS shows them (sourceProperties.identificationHints.hostname, upper and lower case alike), and each
name must match exactly one source server of the target Region that carries the Tags.

ACTIVATE launches recovery instances from the latest data, in a drill as drill instances, 100 servers in a job. A planned run and a drill
want every server CONTINUOUS; an unplanned one launches from what has been replicated. A server is done when its job says LAUNCHED and its
recovery instance runs. Jobs carry the tags dr:execution, dr:application and dr:resource, by which a job is found again whose id was lost,
and a launch of the last day by the same application is adopted while what it launched is still there. A launch replaces the server's
former recovery instance: where that may be what serves, ACTIVATE refuses (`RecoveryInstanceExists`), unless `Force`; a drill refuses in
any case. A drill also refuses launch settings that name an instance to launch into, which it would overwrite. Where the drill's instances
stand in the network, and whom they reach from there, DRS's launch settings say.

A failback to the Region that the servers came from is an ACTIVATE there: it launches the source servers that REPLICATE has made. With
`"RecoveryType": "Failback"` in Tags (as in manifests in the wild, where it is not a tag of the source server) a server that came from
outside of AWS is failed back by StartFailbackLaunch, once a failback client has been paired with its recovery instance and has copied it.

CLEANUP stops the replication of the source servers, disconnects and deletes them; with them go their recovery points. It refuses
(`LiveSide`) a server that runs on its recovery instance and has not failed back, and one that still replicates from anywhere but the
Region that is cleaned up. Recovery instances that are in the way are named, and terminated with `"TerminateRecoveryInstances": true`.
After a drill, CLEANUP terminates the drill instances that this application's drills have launched, and touches nothing else.

REPLICATE targets the Region where the replica is rebuilt. In the other Region it reverses the replication of each recovery instance
(ReverseReplication), which must have originated in EC2; with `"Method": "ReinstallAgent"` it installs the agent on them by Systems
Manager. It is done when the source server in the target Region is CONTINUOUS. It calls the other Region and so needs a planned run.

With `"Method": "OrchestrationSolution"` ACTIVATE has the DRS Orchestration Solution execute the plan PlanId, by calling its execution
handler FunctionName in the target Region, in a drill as DRILL. An execution of the plan that runs already is adopted. The solution's own
pauses are waited for, and what it does is not undone by the other phases here: they take HostNames.

Example manifest resource:

    {
      "action": "DRS",
      "resourceName": "application-servers",
      "parameters": {
        "HostNames": ["web-server-1", "app-server-1", "db-server-1"],
        "Tags": {
          "Environment": "DR",
          "RecoveryType": "Failover"
        }
      }
    }
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from dr_core.phases import Mode, Phase
from dr_modules._drs_base import DRSParameters
from dr_modules._drs_cleanup import DrsCleanup
from dr_modules._drs_launch import DrsLaunch
from dr_modules._drs_replicate import DrsReplicate
from dr_modules._drs_solution import PATIENTLY_ONCE, Solution
from dr_modules.base import Handle, NativeEvent, Permissions, PreflightFinding, Status, register

# DRS acts in EC2 with the rights of who starts the job: the dependent actions of StartRecovery and TerminateRecoveryInstances in
# "Actions, resources, and condition keys for AWS Elastic Disaster Recovery".
_LAUNCHING = (
    "drs:CreateRecoveryInstanceForDrs",
    "drs:ListTagsForResource",
    "drs:TagResource",
    "ec2:AttachVolume",
    "ec2:AuthorizeSecurityGroupEgress",
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:CreateLaunchTemplate",
    "ec2:CreateLaunchTemplateVersion",
    "ec2:CreateSnapshot",
    "ec2:CreateTags",
    "ec2:CreateVolume",
    "ec2:DeleteLaunchTemplateVersions",
    "ec2:DeleteSnapshot",
    "ec2:DeleteVolume",
    "ec2:DescribeAccountAttributes",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceAttribute",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSnapshots",
    "ec2:DescribeSubnets",
    "ec2:DescribeVolumes",
    "ec2:DetachVolume",
    "ec2:ModifyInstanceAttribute",
    "ec2:ModifyLaunchTemplate",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:RunInstances",
    "ec2:StartInstances",
    "ec2:StopInstances",
    "ec2:TerminateInstances",
    "iam:PassRole",
)
_TERMINATING = ("ec2:DeleteVolume", "ec2:DescribeInstances", "ec2:DescribeVolumes", "ec2:TerminateInstances")
_READ = ("drs:DescribeSourceServers", "drs:DescribeRecoveryInstances")


@register("DRS")
class Drs(DrsLaunch, DrsCleanup, DrsReplicate):
    """Servers under Elastic Disaster Recovery."""

    drills = frozenset({Phase.ACTIVATE})
    permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: (
            *_READ,
            "drs:DescribeJobs",
            "drs:DescribeJobLogItems",
            "drs:GetLaunchConfiguration",
            "drs:StartRecovery",
            "drs:StartFailbackLaunch",
            "lambda:GetFunctionConfiguration",
            "lambda:InvokeFunction",
        ),
        Phase.CLEANUP: (
            *_READ,
            "drs:DescribeJobs",
            "drs:StopFailback",
            "drs:TerminateRecoveryInstances",
            "drs:StopReplication",
            "drs:DisconnectSourceServer",
            "drs:DeleteSourceServer",
        ),
        Phase.REPLICATE: (*_READ, "drs:ReverseReplication", "ssm:ListCommands", "ssm:GetCommandInvocation", "ssm:SendCommand"),
    }
    # The solution's handler is asked for an execution's state as it is for a new one: by invoking it.
    observing: ClassVar[Permissions] = {Phase.ACTIVATE: ("lambda:InvokeFunction",)}
    implied_permissions: ClassVar[Permissions] = {Phase.ACTIVATE: _LAUNCHING, Phase.CLEANUP: _TERMINATING}
    irreversible = frozenset({Phase.CLEANUP})
    native_events = (
        NativeEvent("aws.drs", "DRS Source Server Launch Result"),
        NativeEvent("aws.drs", "DRS Source Server Data Replication Stalled Change"),
        NativeEvent("aws.drs", "DRS Recovery Instance Failback State Change"),
    )
    named_in_events = ("jobs", "sourceServer", "recoveryInstance")  # of the act and of `before`: the manifest knows hosts by name
    timeout_seconds = 3600
    timeouts: ClassVar[Mapping[Phase, int]] = {Phase.REPLICATE: 6 * 3600}  # every block is copied
    terminal_codes = frozenset({"UninitializedAccountException"})

    @classmethod
    def check_parameters(cls, phase: Phase, parameters: DRSParameters) -> list[tuple[str, str, str]]:
        """A method is one phase's, and each phase takes only what it acts on."""
        problems = []
        if parameters.method == "OrchestrationSolution" and phase is not Phase.ACTIVATE:
            problems.append(("Method", f"OrchestrationSolution is for ACTIVATE, not for {phase}", "name the servers in HostNames"))
        if parameters.method == "ReinstallAgent" and phase is not Phase.REPLICATE:
            problems.append(("Method", f"ReinstallAgent is for REPLICATE, not for {phase}", "leave out Method"))
        if parameters.terminate and phase is not Phase.CLEANUP:
            problems.append(("TerminateRecoveryInstances", f"only CLEANUP terminates, not {phase}", "leave it out"))
        return problems

    def guard(self, parameters: DRSParameters) -> None:
        """Refuse to replace, to delete, or to leave without protection what may be the live side."""
        if parameters.method == "OrchestrationSolution":
            return
        if self.run.phase is Phase.ACTIVATE:
            self.refuse_launch(parameters)
        elif self.run.phase is Phase.CLEANUP:
            self.refuse_cleanup(parameters)
        else:
            self.refuse_replicate(parameters)

    def preflight(self, parameters: DRSParameters) -> Iterable[PreflightFinding]:
        """Launch settings, quotas and replication before a launch; a ready Region before a replication; the solution's function."""
        if parameters.method == "OrchestrationSolution":
            return self._function_obstacles(parameters)
        if self.run.phase is Phase.ACTIVATE:
            return self.launch_obstacles(parameters)
        return self.replicate_obstacles(parameters) if self.run.phase is Phase.REPLICATE else ()

    def before(self, parameters: DRSParameters) -> Mapping[str, object]:
        """Ahead of a launch, the servers' states, lags and recovery instances."""
        direct = parameters.method != "OrchestrationSolution"
        return self.states(parameters) if self.run.phase is Phase.ACTIVATE and direct else {}

    def lag_seconds(self, parameters: DRSParameters) -> float | None:
        """The largest lag of the servers; the solution looks at its own."""
        return None if parameters.method == "OrchestrationSolution" else self.launch_lag(parameters)

    def activate(self, parameters: DRSParameters) -> Handle:
        """Start recovery or failback jobs, or have a plan executed."""
        if parameters.method != "OrchestrationSolution":
            return self.launch(parameters)
        return {"execution": self._solution(parameters).start(self._lambda(), f"dr-orchestrator {self.run.execution_id}")}

    def activate_status_check(self, parameters: DRSParameters) -> Status:
        """Done when every server is LAUNCHED, or the plan's execution is COMPLETED."""
        if parameters.method != "OrchestrationSolution":
            return self.launch_status(parameters)
        if not self.handle.get("execution"):
            return Status.not_started(f"plan {parameters.plan}: no execution of it is known; one that runs is adopted")
        return self._solution(parameters).status(self._lambda(), self.handle["execution"])

    def cleanup(self, parameters: DRSParameters) -> None:
        """Take the next step towards the servers' deletion."""
        self.clean_up(parameters)

    def cleanup_status_check(self, parameters: DRSParameters) -> Status:
        """Done when the source servers are gone."""
        return self.cleanup_progress(parameters)

    @classmethod
    def not_undone(cls, raw: Mapping[str, object]) -> str:
        """The solution's drill instances are the solution's."""
        if raw.get("Method") != "OrchestrationSolution":
            return ""
        return f"plan {raw.get('PlanId')}: terminate the drill's instances in the DRS Orchestration Solution"

    def undo(self, parameters: DRSParameters) -> None:
        """Terminate the drill's instances."""
        self.terminate_drill(parameters)

    def undo_status_check(self, parameters: DRSParameters) -> Status:
        """Done when they are gone."""
        return self.drill_status(parameters)

    def replicate(self, parameters: DRSParameters) -> Handle:
        """Replicate the machines that serve to the target Region."""
        return self.start_replicating(parameters)

    def replicate_status_check(self, parameters: DRSParameters) -> Status:
        """Done when the target Region's source servers are CONTINUOUS."""
        return self.replication_status(parameters)

    def _solution(self, parameters: DRSParameters) -> Solution:
        kind = "DRILL" if self.run.mode is Mode.DRILL else "RECOVERY"
        return Solution(parameters.function or "", parameters.plan or "", kind, self.error)

    def _lambda(self) -> Any:
        return self.client("lambda", PATIENTLY_ONCE)

    def _function_obstacles(self, parameters: DRSParameters) -> Iterable[PreflightFinding]:
        client = self.client("lambda")
        try:
            found = client.get_function_configuration(FunctionName=parameters.function)
        except client.exceptions.ResourceNotFoundException:
            message = f"there is no function {parameters.function} in {self.target.region}"
            yield self.obstacle("ResourceNotFoundException", f"{message}: correct FunctionName, or deploy the solution there")
            return
        if found.get("State", "Active") not in ("Active", "Inactive"):
            yield self.obstacle("FunctionNotActive", f"{parameters.function} is {found['State']}: deploy the solution again")
