"""What the phases of SQLServer share: the lookups, what must never be done, and what could keep a phase from succeeding. Only reads."""

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from dr_core.errors import ErrorClass
from dr_core.observability import utc_now
from dr_core.phases import Mode, Phase
from dr_modules import _rds, _sql_server
from dr_modules._sql_server import Backup, Instance, InstanceConfig, SQLServerParameters
from dr_modules.base import DRModule, PreflightFinding

_DRILL_SUFFIX = "-drill"
_LONGEST_NAME = 63


class SqlServerBase(DRModule[SQLServerParameters]):
    """The readings, of which none changes anything."""

    def guard(self, parameters: SQLServerParameters) -> None:
        """Refuse to restore from nothing, to delete what may be the live side, and to replicate in a drill."""
        if self.run.phase is Phase.ACTIVATE:
            if len(self.instance_id(parameters)) > _LONGEST_NAME:
                raise self.error(
                    "NameTooLong", f"{self.instance_id(parameters)} has more than {_LONGEST_NAME} letters: name DBInstanceIdentifier"
                )
            self.restorable(parameters)
        elif self.run.phase is Phase.CLEANUP:
            self._refuse_live_side(parameters)
        else:
            self._refuse_foreign_key(parameters)

    def preflight(self, parameters: SQLServerParameters) -> Iterable[PreflightFinding]:
        """Settings, groups and quotas of the target Region, the health of the replication, and in a planned run the peer's instance."""
        if self.run.phase is Phase.ACTIVATE:
            yield from self._of_restoring(parameters)
        elif self.run.phase is Phase.CLEANUP:
            if not parameters.skip_final_snapshot:
                yield from self._of_quota("ManualSnapshots", "delete snapshots or have the quota raised")
        elif self.run.mode is Mode.PLANNED:
            yield from self._of_replicating(parameters)

    def lag_seconds(self, parameters: SQLServerParameters) -> float:
        """The age of the latest time that can be restored in the target Region."""
        latest = self.restorable(parameters).latest
        if latest is None:
            raise self.error("NotYetRestorable", f"no backup of {parameters.source} can be restored in {self.target.region} yet")
        return max(0.0, (utc_now() - latest).total_seconds())

    # What is there

    @cached_property
    def rds(self) -> Any:
        """RDS in the target Region."""
        return self.client("rds")

    def instance_id(self, parameters: SQLServerParameters) -> str:
        """The name of the instance in the target Region; a drill's copy has one of its own."""
        return parameters.instance + (_DRILL_SUFFIX if self.run.mode is Mode.DRILL else "")

    def instance(self, parameters: SQLServerParameters) -> Instance | None:
        """The instance in the target Region."""
        return _sql_server.find_instance(self.rds, self.instance_id(parameters))

    def source_arn(self, parameters: SQLServerParameters) -> str:
        """The ARN of the instance in the other Region, without a call there."""
        region = self.target.peer_region
        partition = self.target.session.get_partition_for_region(region)
        return f"arn:{partition}:rds:{region}:{self.target.account}:db:{parameters.source}"

    def backup(self, parameters: SQLServerParameters) -> Backup | None:
        """The copy of the source's backups in the target Region."""
        return _sql_server.find_backup(self.rds, self.source_arn(parameters))

    def restorable(self, parameters: SQLServerParameters) -> Backup:
        """The copy of the source's backups. Raises ModuleError when there is nothing to restore from."""
        backup = self.backup(parameters)
        if backup is None:
            message = f"{self.target.region} has no automated backup of {self.source_arn(parameters)}"
            raise self.error("NoBackup", f"{message}: correct DBInstanceIdentifierSource, or run REPLICATE ahead of a failover")
        if backup.latest is None:
            message = f"the copy of the backups of {parameters.source} in {self.target.region} is {backup.status}"
            raise self.error("NotYetRestorable", f"{message}: retry when its first snapshot has arrived", ErrorClass.RETRYABLE)
        return backup

    def config(self, parameters: SQLServerParameters) -> InstanceConfig:
        """The stored settings. Raises ModuleError when there are none, or they do not make sense."""
        where, stored = f"SSM parameter {parameters.config_key} in {self.target.region}", self.stored(parameters)
        if stored is None:
            raise self.error("NoConfig", f"{where} does not exist: store the settings that the instance shall have there as a JSON object")
        try:
            return InstanceConfig.model_validate(json.loads(stored))
        except ValidationError as error:
            wrong = "; ".join(": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors(include_input=False))
            raise self.error("InvalidConfig", f"{where}: {wrong}: correct it") from None
        except ValueError as error:
            raise self.error("InvalidConfig", f"{where} is not JSON ({error}): correct it") from None

    def stored(self, parameters: SQLServerParameters) -> str | None:
        """The settings' parameter as it is, None where there is none."""
        if parameters.config_key is None:
            raise self.error("InvalidParameters", f"{self.run.phase} needs ClusterConfigSSMKey")
        ssm = self.client("ssm")
        try:
            return str(ssm.get_parameter(Name=parameters.config_key)["Parameter"]["Value"])
        except ssm.exceptions.ParameterNotFound:
            return None

    # What must not be

    def refuse_other_data(self, parameters: SQLServerParameters, instance: Instance) -> None:
        """Raise unless the instance is the source's restored one, and as recent as a restoration now would make it."""
        backup = self.backup(parameters)
        if instance.restored_from is None or (backup is not None and backup.resource_id != instance.restored_from):
            origin = f"is tagged as restored from {instance.restored_from}" if instance.restored_from else "was not restored by ACTIVATE"
            wanted = f"{_sql_server.RESTORED_FROM}={backup.resource_id}" if backup else _sql_server.RESTORED_FROM
            message = f"instance {instance.id} in {self.target.region} {origin}, not from {parameters.source} in {self.target.peer_region}"
            raise self.error("NameTaken", f"{message}: delete or rename it; if it is the restored one, tag it {wanted}")
        if instance.execution == self.run.execution_id or instance.status != "available" or instance.created is None:
            return
        if backup is not None and backup.latest is not None and backup.latest > instance.created + timedelta(seconds=self.max_lag_seconds):
            message = f"instance {instance.id} in {self.target.region} was restored at {instance.created} by execution {instance.execution}"
            remedy = "skip this resource if the instance has served since, else delete it and retry"
            raise self.error("OldRestoration", f"{message}, and {parameters.source} has lived on until {backup.latest}: {remedy}")

    def _refuse_live_side(self, parameters: SQLServerParameters) -> None:
        """Raise unless another instance shows that it has taken over from the one to be deleted."""
        instance = None if parameters.force else self.instance(parameters)
        if instance is None or instance.status == "deleting":
            return
        remedy = 'or set "Force": true to delete it all the same'
        successor = _sql_server.find_instance(self.peer_client("rds"), parameters.source)
        if successor is None or successor.restored_from != instance.resource_id:
            message = f"instance {instance.id} in {self.target.region} has no successor: {parameters.source} in {self.target.peer_region}"
            state = "does not exist" if successor is None else f"is not tagged {_sql_server.RESTORED_FROM}={instance.resource_id}"
            raise self.error("LiveSide", f"{message} {state}: run ACTIVATE there first, correct the Regions, {remedy}")
        if successor.status != "available":
            message = f"the successor of {instance.id}, {successor.id} in {self.target.peer_region}, is {successor.status}"
            raise self.error("SuccessorNotAvailable", f"{message}: retry when it is available, {remedy}", ErrorClass.RETRYABLE)

    def _refuse_foreign_key(self, parameters: SQLServerParameters) -> None:
        """Raise when the key is another Region's: RDS would say only that it is not accessible."""
        parts = (parameters.kms_key or "").split(":")
        if parts[0] == "arn" and parts[3] != self.target.region:
            raise self.error("WrongKeyRegion", f"KmsKeyId is a key of {parts[3]}: name one of {self.target.region}")

    # Preflight

    def _of_restoring(self, parameters: SQLServerParameters) -> Iterator[PreflightFinding]:
        backup = self.restorable(parameters)
        if backup.status != "replicating":
            message = f"the backups of {parameters.source} in {self.target.region} are {backup.status}, their latest time {backup.latest}"
            find = self.obstacle if self.run.mode is Mode.PLANNED else self.warning
            yield find("NotReplicating", f"{message}: start the replication again, or run unplanned and lose what came later")
        yield from self._of_quota("DBInstances", "delete instances or have the quota raised")
        config = self.config(parameters)
        if config.subnet_group is None or not config.security_groups:
            message = f"{parameters.config_key} in {self.target.region} lacks DBSubnetGroupName or VpcSecurityGroupIds"
            yield self.warning("DefaultNetwork", f"{message}: the instance would be in the default VPC or have its default security group")
        yield from self._of_groups(config)

    def _of_groups(self, config: InstanceConfig) -> Iterator[PreflightFinding]:
        """Groups that the settings name and the target Region does not have."""
        rds = self.rds
        described = {
            "DBSubnetGroupName": (config.subnet_group, rds.describe_db_subnet_groups),
            "DBParameterGroupName": (config.parameter_group, rds.describe_db_parameter_groups),
            "OptionGroupName": (config.option_group, rds.describe_option_groups),
        }
        missing = ("DBSubnetGroupNotFoundFault", "DBParameterGroupNotFoundFault", "OptionGroupNotFoundFault")
        for key, (name, describe) in described.items():
            try:
                if name is not None:
                    describe(**{key: name})
            except tuple(getattr(rds.exceptions, fault) for fault in missing):
                yield self.obstacle("NoSuchGroup", f"{self.target.region} has no {key} {name}: create it there, or correct the settings")
        if config.security_groups:
            filters = [{"Name": "group-id", "Values": list(config.security_groups)}]
            pages = self.client("ec2").get_paginator("describe_security_groups").paginate(Filters=filters)
            known = {group["GroupId"] for page in pages for group in page["SecurityGroups"]}
            for unknown in sorted(set(config.security_groups) - known):
                yield self.obstacle("NoSuchGroup", f"{self.target.region} has no security group {unknown}: correct VpcSecurityGroupIds")

    def _of_quota(self, name: str, remedy: str) -> Iterator[PreflightFinding]:
        used, most = _rds.quotas(self.rds).get(name, (0, 1))
        if used >= most:
            yield self.obstacle(f"{name}QuotaReached", f"the account uses {used} of {most} {name} in {self.target.region}: {remedy}")

    def _of_replicating(self, parameters: SQLServerParameters) -> Iterator[PreflightFinding]:
        source = _sql_server.find_instance(self.peer_client("rds"), parameters.source)
        where = f"{parameters.source} in {self.target.peer_region}"
        if source is None:
            yield self.obstacle(
                "NoSource", f"there is no instance {where}: correct DBInstanceIdentifierSource, or run ACTIVATE there first"
            )
            return
        if source.status != "available":
            yield self.obstacle("SourceNotAvailable", f"instance {where} is {source.status}: retry when it is available")
        if source.retention == 0:
            yield self.obstacle(
                "NoAutomatedBackups", f"instance {where} has no automated backups: set its backup retention to a day or more"
            )
        if source.encrypted and parameters.kms_key is None:
            yield self.obstacle("NoKey", f"instance {where} is encrypted: name a KmsKeyId of {self.target.region}")
