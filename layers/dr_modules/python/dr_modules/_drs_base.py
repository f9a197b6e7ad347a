"""The DRS module's parameters, and how its phases find the servers that they name."""

from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dr_modules import _drs
from dr_modules.base import DRModule, Flag, ModuleParameters, Names, Tags, Text

_RECOVERY_TYPE = "RecoveryType"


class DRSParameters(ModuleParameters):
    """Servers of a manifest resource, or a plan of the DRS Orchestration Solution."""

    hostnames: Names = Field(
        alias="HostNames",
        default=(),
        description="host names as DRS shows them; each must match exactly one source server (not with OrchestrationSolution)",
    )
    tags: Tags = Field(
        alias="Tags",
        default_factory=dict,
        description="tags that each source server must carry; the key RecoveryType is no tag but says `Failover` (default) or `Failback`",
    )
    method: Literal["ReinstallAgent", "OrchestrationSolution"] | None = Field(
        alias="Method",
        default=None,
        description="`ReinstallAgent`: REPLICATE installs the agent anew; `OrchestrationSolution`: ACTIVATE has PlanId executed",
    )
    function: Text | None = Field(
        alias="FunctionName", default=None, description="OrchestrationSolution: the solution's execution handler, by name or ARN"
    )
    plan: Text | None = Field(alias="PlanId", default=None, description="OrchestrationSolution: the recovery plan")
    terminate: Flag = Field(
        alias="TerminateRecoveryInstances",
        default=False,
        description="CLEANUP terminates the recovery instances that keep their source servers from being deleted",
    )
    force: Flag = Field(
        alias="Force",
        default=False,
        description="CLEANUP also of what may be the live side; ACTIVATE also where the launch replaces a recovery instance",
    )

    @field_validator("tags")
    @classmethod
    def _recovery_type_is_known(cls, tags: dict[str, str]) -> dict[str, str]:
        if tags.get(_RECOVERY_TYPE, "Failover").casefold() not in ("failover", "failback"):
            raise ValueError(f"{_RECOVERY_TYPE} must be Failover or Failback")
        return tags

    @model_validator(mode="after")
    def _names_or_plan(self) -> Self:
        if self.method == "OrchestrationSolution":
            if not (self.function and self.plan) or self.hostnames:
                raise ValueError("Method OrchestrationSolution needs FunctionName and PlanId, and takes no HostNames: the plan has them")
        elif not self.hostnames or self.function or self.plan:
            raise ValueError("name the servers in HostNames; FunctionName and PlanId go with Method OrchestrationSolution")
        if len({name.casefold() for name in self.hostnames}) < len(self.hostnames):
            raise ValueError("HostNames has a name twice")
        return self

    @property
    def is_failback(self) -> bool:
        """Whether a failback is asked for."""
        return self.tags.get(_RECOVERY_TYPE, "").casefold() == "failback"

    def matches(self, server: _drs.SourceServer, hostname: str) -> bool:
        """Whether a source server is the one called `hostname`."""
        wanted = {key: value for key, value in self.tags.items() if key != _RECOVERY_TYPE}
        return server.hostname.casefold() == hostname.casefold() and wanted.items() <= server.tags.items()


class DrsBase(DRModule[DRSParameters]):
    """What the phases share."""

    @cached_property
    def drs(self) -> Any:
        """DRS in the target Region."""
        return self.client("drs")

    @cached_property
    def peer_drs(self) -> Any:
        """DRS in the other Region."""
        return self.peer_client("drs")

    def named(self, parameters: DRSParameters, region: str, known: list[_drs.SourceServer]) -> dict[str, _drs.SourceServer]:
        """The source servers of the manifest by host name, without those that are not there. Raises ModuleError where a name fits two."""
        found: dict[str, _drs.SourceServer] = {}
        for hostname in parameters.hostnames:
            matching = [server for server in known if parameters.matches(server, hostname)]
            if len(matching) > 1:
                ids = ", ".join(server.id for server in matching)
                remedy = "tell them apart by Tags, or delete those that are no longer used"
                raise self.error("AmbiguousHostName", f"{hostname} fits {len(matching)} source servers in {region} ({ids}): {remedy}")
            if matching:
                found[hostname] = matching[0]
        return found

    def every(self, parameters: DRSParameters, region: str, known: list[_drs.SourceServer]) -> dict[str, _drs.SourceServer]:
        """The source servers of the manifest by host name. Raises ModuleError unless each name matches exactly one."""
        found = self.named(parameters, region, known)
        missing = [hostname for hostname in parameters.hostnames if hostname not in found]
        if missing:
            message = f"DRS in {region} has no source server for {', '.join(missing)}" + (" with these Tags" if parameters.tags else "")
            raise self.error("SourceServerNotFound", f"{message}: correct HostNames and Tags, or install the agent there")
        return found

    @property
    def job_tags(self) -> dict[str, str]:
        """By which a job is known as this resource's, also when its id was not recorded."""
        run = self.run
        return {"dr:execution": run.execution_id, "dr:application": run.application, "dr:resource": run.resource_id}
