"""What SQLServer reads: the manifest's words, the stored configuration, instances and automated backups, narrowed to what it decides on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from dr_modules import _rds
from dr_modules._aurora import RdsId
from dr_modules.base import Flag, ModuleParameters, Names, Status, Text

# On each instance that ACTIVATE restores: the resource id of the instance that it continues, and the execution that restored it. RDS
# itself does not tell where a restored instance comes from.
RESTORED_FROM, EXECUTION = "Orchestrator:RestoredFrom", "Orchestrator:ExecutionId"

_LONG_AGO = datetime.min.replace(tzinfo=UTC)  # for what has no time yet

# RDS keeps automated backups from one to 35 days.
Days = Annotated[int, Field(ge=1, le=35), BeforeValidator(lambda value: value, json_schema_input_type=int | str)]


class SQLServerParameters(ModuleParameters):
    """One instance of a manifest resource."""

    source: RdsId = Field(
        alias="DBInstanceIdentifierSource",
        description="The instance in the source Region: ACTIVATE restores it, CLEANUP expects it to have taken over, REPLICATE copies its "
        "backups.",
    )
    own: RdsId | None = Field(
        alias="DBInstanceIdentifier",
        default=None,
        description="The instance in the target Region: ACTIVATE creates it, CLEANUP deletes it. By default it has the source's name.",
    )
    config_key: Text | None = Field(
        alias="ClusterConfigSSMKey",
        default=None,
        description="The SSM parameter of the target Region with the instance's settings there: ACTIVATE reads it, CLEANUP writes it.",
    )
    kms_key: Text | None = Field(
        alias="KmsKeyId",
        default=None,
        description="REPLICATE: the key of the target Region for the copied backups. Needed where the source is encrypted.",
    )
    retention: Days = Field(
        alias="BackupRetentionPeriod", default=7, description="REPLICATE: the days that copied backups are kept, 1 to 35."
    )
    skip_final_snapshot: Flag = Field(
        alias="SkipFinalSnapshot",
        default=False,
        description="CLEANUP: take no final snapshot. RDS can delete an instance that is `failed`, `incompatible-restore` or "
        "`incompatible-network` only so.",
    )
    force: Flag = Field(
        alias="Force", default=False, description="CLEANUP: delete the instance although nothing shows that another one has taken over."
    )

    @property
    def instance(self) -> str:
        """The instance in the target Region."""
        return self.own or self.source


class InstanceConfig(ModuleParameters):
    """The settings of an instance in its Region, as `RestoreDBInstanceToPointInTime` takes them; RDS's default for what is not named."""

    instance_class: str | None = Field(alias="DBInstanceClass", default=None, pattern=r"^db\.")
    subnet_group: Text | None = Field(alias="DBSubnetGroupName", default=None)
    security_groups: Names = Field(alias="VpcSecurityGroupIds", default=())
    option_group: Text | None = Field(alias="OptionGroupName", default=None)
    parameter_group: Text | None = Field(alias="DBParameterGroupName", default=None)
    multi_az: Flag | None = Field(alias="MultiAZ", default=None)
    public: Flag | None = Field(alias="PubliclyAccessible", default=None)
    copy_tags: Flag | None = Field(alias="CopyTagsToSnapshot", default=None)
    minor_upgrades: Flag | None = Field(alias="AutoMinorVersionUpgrade", default=None)
    protected: Flag | None = Field(alias="DeletionProtection", default=None)
    # At least a day: without automated backups nothing could be replicated back.
    retention: Days | None = Field(alias="BackupRetentionPeriod", default=None)
    log_exports: Names = Field(alias="EnableCloudwatchLogsExports", default=())
    domain: Text | None = Field(alias="Domain", default=None)
    domain_role: Text | None = Field(alias="DomainIAMRoleName", default=None)

    @property
    def request(self) -> dict[str, Any]:
        """The part of the request that it stands for."""
        dumped = self.model_dump(by_alias=True, exclude_none=True, mode="json")
        return {key: value for key, value in dumped.items() if value != []}


@dataclass(frozen=True)
class Instance:
    """A DB instance; `restored_from` and `execution` are the tags that ACTIVATE gives."""

    id: str
    resource_id: str
    status: str
    encrypted: bool
    retention: int
    created: datetime | None
    restored_from: str | None
    execution: str | None
    config: InstanceConfig

    @property
    def protected(self) -> bool:
        """Whether it refuses to be deleted."""
        return bool(self.config.protected)

    @property
    def health(self) -> Status:
        """How far it is from `available`."""
        return _rds.Instance(self.id, "", "", self.status).health


@dataclass(frozen=True)
class Backup:
    """An automated backup, replicated from another Region; `latest` is the latest time that can be restored."""

    arn: str
    resource_id: str
    status: str
    source_created: datetime
    latest: datetime | None


def find_instance(rds: Any, instance_id: str) -> Instance | None:
    """The instance, or None where RDS answers DBInstanceNotFound."""
    try:
        found = rds.describe_db_instances(DBInstanceIdentifier=instance_id)["DBInstances"][0]
    except rds.exceptions.DBInstanceNotFoundFault:
        return None
    tags = {tag["Key"]: tag["Value"] for tag in found.get("TagList", [])}
    return Instance(
        id=found["DBInstanceIdentifier"],
        resource_id=found["DbiResourceId"],
        status=found["DBInstanceStatus"],
        encrypted=bool(found.get("StorageEncrypted")),
        retention=int(found.get("BackupRetentionPeriod", 0)),
        created=found.get("InstanceCreateTime"),
        restored_from=tags.get(RESTORED_FROM),
        execution=tags.get(EXECUTION),
        config=_config(found),
    )


def find_backup(rds: Any, source_arn: str) -> Backup | None:
    """The backup in this Region of the instance that has this ARN now, or had it last.

    An instance that was created anew under its old name has the old ARN: backups of its predecessors may still be `retained`, and
    restoring one would bring back old data. So the newest instance counts, and of its backups the one that still grows.
    """
    found = []
    for page in rds.get_paginator("describe_db_instance_automated_backups").paginate():
        found += [_backup(one) for one in page["DBInstanceAutomatedBackups"] if one["DBInstanceArn"] == source_arn]
    ids = sorted(found, key=lambda one: one.source_created)
    same = [one for one in found if one.resource_id == ids[-1].resource_id]
    return max(same, key=lambda one: (one.status != "retained", one.latest or _LONG_AGO), default=None)


def _backup(found: Mapping[str, Any]) -> Backup:
    return Backup(
        arn=found["DBInstanceAutomatedBackupsArn"],
        resource_id=found["DbiResourceId"],
        status=found["Status"],
        source_created=found.get("InstanceCreateTime", _LONG_AGO),
        latest=found.get("RestoreWindow", {}).get("LatestTime"),
    )


def _config(found: Mapping[str, Any]) -> InstanceConfig:
    """The settings of an instance. Default groups are left out: RDS finds them by itself, and their names differ with the version."""
    options = [
        one["OptionGroupName"] for one in found.get("OptionGroupMemberships", []) if not one["OptionGroupName"].startswith("default:")
    ]
    groups = [one["DBParameterGroupName"] for one in found.get("DBParameterGroups", [])]
    named = [name for name in groups if not name.startswith("default.")]
    domain: Mapping[str, Any] = next(iter(found.get("DomainMemberships", [])), {})
    settings = {
        "DBInstanceClass": found["DBInstanceClass"],
        "DBSubnetGroupName": found.get("DBSubnetGroup", {}).get("DBSubnetGroupName"),
        "VpcSecurityGroupIds": [one["VpcSecurityGroupId"] for one in found.get("VpcSecurityGroups", [])],
        "OptionGroupName": options[0] if options else None,
        "DBParameterGroupName": named[0] if named else None,
        "MultiAZ": found.get("MultiAZ"),
        "PubliclyAccessible": found.get("PubliclyAccessible"),
        "CopyTagsToSnapshot": found.get("CopyTagsToSnapshot"),
        "AutoMinorVersionUpgrade": found.get("AutoMinorVersionUpgrade"),
        "DeletionProtection": found.get("DeletionProtection"),
        "BackupRetentionPeriod": found.get("BackupRetentionPeriod") or None,
        "EnableCloudwatchLogsExports": found.get("EnabledCloudwatchLogsExports", []),
        "Domain": domain.get("Domain"),
        "DomainIAMRoleName": domain.get("IAMRoleName"),
    }
    return InstanceConfig.model_validate({key: value for key, value in settings.items() if value is not None})
