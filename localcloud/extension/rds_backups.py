"""RDS: automated backups of instances, replicated to another Region, and the instances restored from them.

Facts are those of the RDS User Guide ("Replicating automated backups to another AWS Region", "Restoring a DB instance to a specified
time"), error codes those of each operation's model.
"""

import base64
import secrets
from collections.abc import Mapping, MutableMapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from moto.core.responses import ActionResult, PaginatedResult
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.rds.exceptions import RDSClientError
from moto.rds.models import DBInstance, DBInstanceClustered, DBParameterGroup, RDSBackend, rds_backends
from moto.rds.responses import RDSResponse

from localcloud.extension import clock
from localcloud.extension.agenda import agenda_of, replace, settle

REPLICATE_SECONDS: Final = 120.0  # until the first snapshot has been copied
RESTORE_SECONDS: Final = 90.0
FIRST_BACKUP_SECONDS: Final = 30.0
MODIFY_SECONDS: Final = 10.0
FINAL_SNAPSHOT_SECONDS: Final = 20.0
LOG_SECONDS: Final = 300.0  # transaction logs leave an instance every five minutes

# RDS's default quotas for an account in a Region.
INSTANCE_QUOTA: Final = 40
CLUSTER_QUOTA: Final = 40
SNAPSHOT_QUOTA: Final = 100
REPLICATION_QUOTA: Final = 20

_STATE: Final = "_localcloud_backups"
_CREATED: Final = "_localcloud_created"
# States in which RDS takes no snapshot, so that a deletion must skip the final one.
_BROKEN: Final = frozenset({"failed", "incompatible-restore", "incompatible-network"})
_BUSY: Final = frozenset({"backing-up", "modifying", "rebooting", "upgrading"})

# What an instance restored from a backup has from its source; the rest is named in the call, or RDS's default.
_INHERITED: Final = (
    "engine",
    "engine_version",
    "db_instance_class",
    "allocated_storage",
    "storage_type",
    "iops",
    "license_model",
    "master_username",
    "port",
    "db_name",
    "backup_retention_period",
    "storage_encrypted",
)

_create_instance: Final = RDSBackend.create_db_instance
_modify_instance: Final = RDSBackend.modify_db_instance
_initialise: Final = DBInstance.__init__
_parameter_groups: Final = RDSBackend.describe_db_parameter_groups


class AutomatedBackup:
    """What RDS keeps to restore one instance: in the instance's Region, or replicated to another."""

    def __init__(self, backend: RDSBackend, source: DBInstance, status: str, since: float | None, retention: int, key: str | None) -> None:
        self.arn = f"arn:{backend.partition}:rds:{backend.region_name}:{backend.account_id}:auto-backup:ab-{_unique()}"
        self.source = source
        self.status = status
        self.since = since  # on the clock: the earliest time that can be restored; None before the first snapshot
        self.until: float | None = None  # on the clock: when the source fell silent
        self.retention = retention
        self.key = key

    @property
    def latest(self) -> float | None:
        """On the clock: the latest time that can be restored."""
        if self.since is None:
            return None
        return max(self.since, (clock.now() if self.until is None else self.until) - clock.scaled(LOG_SECONDS))

    def retain(self) -> None:
        """Nothing more comes from the source; what there is stays."""
        if self.status != "retained":
            self.status, self.until = "retained", clock.now()

    def begin(self, at: float) -> None:
        """The first snapshot had been copied at `at`."""
        if self.status == "pending":
            self.status, self.since = "replicating", at

    @property
    def worded(self) -> dict[str, Any]:
        """As the model words it."""
        source, latest = self.source, self.latest
        window = {} if self.since is None or latest is None else {"EarliestTime": wall(self.since), "LatestTime": wall(latest)}
        words = {
            "DBInstanceArn": source.db_instance_arn,
            "DbiResourceId": source.dbi_resource_id,
            "Region": source.region,
            "DBInstanceIdentifier": source.db_instance_identifier,
            "RestoreWindow": window,
            "AllocatedStorage": source.allocated_storage,
            "Status": self.status,
            "Port": source.port,
            "AvailabilityZone": source.availability_zone,
            "InstanceCreateTime": created(source),
            "MasterUsername": source.master_username,
            "Engine": source.engine,
            "EngineVersion": source.engine_version,
            "LicenseModel": source.license_model,
            "OptionGroupName": source.option_group_name,
            "Encrypted": source.storage_encrypted,
            "StorageType": source.storage_type,
            "KmsKeyId": self.key,
            "BackupRetentionPeriod": self.retention,
            "DBInstanceAutomatedBackupsArn": self.arn,
        }
        return {name: value for name, value in words.items() if value is not None}


def install() -> None:
    """Extend moto's RDS in this process."""
    replace(DBInstance, __init__=initialise, instance_create_time=property(created, _set_created))
    replace(RDSBackend, modify_db_instance=modify_db_instance, describe_db_parameter_groups=describe_db_parameter_groups)
    replace(
        RDSResponse,
        start_db_instance_automated_backups_replication=start_replication,
        stop_db_instance_automated_backups_replication=stop_replication,
        describe_db_instance_automated_backups=describe_backups,
        restore_db_instance_to_point_in_time=restore_to_point_in_time,
        describe_account_attributes=describe_account_attributes,
    )


def wall(at: float) -> datetime:
    """A moment of the emulator's clock as a time of day: so far before or after the present one."""
    return utcnow() + timedelta(seconds=at - clock.now())


# Instances


def initialise(instance: DBInstance, *arguments: Any, **options: Any) -> None:
    """Give each instance a resource id of its own; moto's is the same for all."""
    _initialise(instance, *arguments, **options)
    instance.dbi_resource_id = f"db-{_unique()}"


def created(instance: DBInstance) -> datetime:
    """When an instance was created, as the emulator's clock sees it."""
    return wall(instance.__dict__[_CREATED])


def _set_created(instance: DBInstance, value: datetime) -> None:
    """The wall clock that moto reads does not move with the emulator's."""
    del value
    instance.__dict__[_CREATED] = clock.now()


def modify_db_instance(backend: RDSBackend, db_instance_identifier: str, db_kwargs: MutableMapping[str, Any]) -> DBInstance:
    """ModifyDBInstance: an instance of its own is `modifying` for a while, and only an available one can be modified."""
    instance = backend.databases.get(db_instance_identifier)
    if instance is None or isinstance(instance, DBInstanceClustered):
        return _modify_instance(backend, db_instance_identifier, db_kwargs)  # type: ignore[arg-type] # moto's own dictionary type
    if instance.status != "available":
        raise RDSClientError("InvalidDBInstanceState", f"Instance {db_instance_identifier} is {instance.status}, not available.")
    _modify_instance(backend, db_instance_identifier, db_kwargs)  # type: ignore[arg-type] # moto's own dictionary type
    instance.status = "modifying"
    agenda_of(backend).after(MODIFY_SECONDS, partial(_turn, instance, "modifying", "available"))
    return instance


def check_deletion(instance: DBInstance, *, skip_final_snapshot: bool) -> None:
    """Raise where RDS cannot take the final snapshot that a deletion asks for."""
    if not skip_final_snapshot and not isinstance(instance, DBInstanceClustered) and instance.status in _BROKEN | _BUSY:
        raise RDSClientError(
            "InvalidDBInstanceState",
            f"Cannot create a snapshot because the database instance {instance.db_instance_identifier} is not currently in the "
            "available state.",
        )


def instance_deleted(instance: DBInstance, final_snapshot: str | None, *, keep: bool) -> None:
    """What DeleteDBInstance does to backups: they are kept, frozen, or go, in every Region; the final snapshot takes its time."""
    if isinstance(instance, DBInstanceClustered):
        return
    own = _backups(instance.backend)
    if keep and instance.backup_retention_period and not any(one.source is instance for one in own.values()):
        active = _active(instance)
        own[active.arn] = active
    for backend in rds_backends[instance.account_id].values():
        backups = _backups(backend)
        for arn in [arn for arn, one in backups.items() if one.source is instance]:
            if keep:
                backups[arn].retain()
            else:
                del backups[arn]
    if final_snapshot:
        snapshot = instance.backend.database_snapshots[final_snapshot]
        snapshot.status = "creating"
        agenda_of(instance.backend).after(FINAL_SNAPSHOT_SECONDS, partial(setattr, snapshot, "status", "available"))


def break_instance(backend: RDSBackend, identifier: str, status: str) -> None:
    """Have an instance fail, such as in the middle of its restoration: `status` is where it ends, like `incompatible-restore`."""
    settle([backend])
    backend.databases[identifier].status = status


def check_quota(backend: RDSBackend) -> None:
    """Raise when the account has no room for another instance in this Region."""
    if len(backend.databases) >= INSTANCE_QUOTA:
        raise RDSClientError("InstanceQuotaExceeded", "The request exceeds the number of DB instances that the account may have.")


def describe_account_attributes(response: RDSResponse) -> ActionResult:
    """DescribeAccountAttributes: the quotas that stand in the way of a new instance, cluster or snapshot."""
    backend = response.backend
    manual = [one for one in backend.database_snapshots.values() if one.snapshot_type == "manual"]
    quotas = [
        ("DBInstances", len(backend.databases), INSTANCE_QUOTA),
        ("DBClusters", len(backend.clusters), CLUSTER_QUOTA),
        ("ManualSnapshots", len(manual), SNAPSHOT_QUOTA),
    ]
    return ActionResult({"AccountQuotas": [{"AccountQuotaName": name, "Used": used, "Max": most} for name, used, most in quotas]})


def describe_db_parameter_groups(backend: RDSBackend, db_parameter_group_kwargs: MutableMapping[str, Any]) -> list[DBParameterGroup]:
    """DescribeDBParameterGroups: a name that there is not is an error, not an empty list."""
    found = _parameter_groups(backend, db_parameter_group_kwargs)  # type: ignore[arg-type] # moto's own dictionary type
    name = db_parameter_group_kwargs.get("db_parameter_group_name")
    if name and not found:
        raise RDSClientError("DBParameterGroupNotFound", f"DBParameterGroup not found: {name}")
    return found


# Backups


def start_replication(response: RDSResponse) -> ActionResult:
    """StartDBInstanceAutomatedBackupsReplication: `pending` until the first snapshot has been copied, then `replicating`."""
    backend, params = response.backend, response.params
    source = _source(backend, params["SourceDBInstanceArn"])
    retention = int(params.get("BackupRetentionPeriod") or 7)
    if not 1 <= retention <= 35:
        raise RDSClientError("InvalidParameterValue", f"Invalid backup retention period: {retention}. Must be between 1 and 35.")
    if source.status != "available" or not source.backup_retention_period:
        raise RDSClientError(
            "InvalidDBInstanceState",
            f"{source.db_instance_identifier} is {source.status} with a backup retention of {source.backup_retention_period} days: "
            "its backups cannot be replicated.",
        )
    backups = _backups(backend)
    if any(one.source is source and one.status != "retained" for one in backups.values()):
        raise RDSClientError("InvalidDBInstanceAutomatedBackupState", f"Backups of {source.db_instance_arn} are replicated already.")
    if sum(one.status != "retained" for one in backups.values()) >= REPLICATION_QUOTA:
        raise RDSClientError("DBInstanceAutomatedBackupQuotaExceeded", "The quota for replicated automated backups is exceeded.")
    key = params.get("KmsKeyId")
    if source.storage_encrypted and not key:
        raise RDSClientError("InvalidParameterCombination", "KmsKeyId is required to replicate the backups of an encrypted instance.")
    made = AutomatedBackup(backend, source, "pending", None, retention, backend._validate_kms_key(key) if key else None)
    backups[made.arn] = made
    agenda_of(backend).after(REPLICATE_SECONDS, partial(made.begin, clock.now() + clock.scaled(REPLICATE_SECONDS)))
    return ActionResult({"DBInstanceAutomatedBackup": made.worded})


def stop_replication(response: RDSResponse) -> ActionResult:
    """StopDBInstanceAutomatedBackupsReplication: what has been copied stays, `retained`."""
    source = _source(response.backend, response.params["SourceDBInstanceArn"])
    for backup in _backups(response.backend).values():
        if backup.source is source and backup.status != "retained":
            backup.retain()
            return ActionResult({"DBInstanceAutomatedBackup": backup.worded})
    raise RDSClientError("InvalidDBInstanceState", f"Backups of {source.db_instance_arn} are not replicated to this Region.")


def describe_backups(response: RDSResponse) -> ActionResult:
    """DescribeDBInstanceAutomatedBackups: of this Region's instances, those that they left behind, and those from other Regions."""
    backend, params = response.backend, response.params
    wanted: dict[str, list[str]] = {each["Name"]: list(each["Values"]) for each in params.get("Filters") or []}
    for name, parameter in (
        ("dbi-resource-id", "DbiResourceId"),
        ("arn", "DBInstanceAutomatedBackupsArn"),
        ("name", "DBInstanceIdentifier"),
    ):
        if params.get(parameter):
            wanted[name] = [params[parameter]]
    found = [words for one in _all(backend) if _matches(words := one.worded, wanted)]
    if not found and (params.get("DbiResourceId") or params.get("DBInstanceAutomatedBackupsArn")):
        raise RDSClientError("DBInstanceAutomatedBackupNotFound", "No automated backup has that id.")
    return PaginatedResult({"DBInstanceAutomatedBackups": found})


def _matches(words: Mapping[str, Any], wanted: Mapping[str, list[str]]) -> bool:
    values = {
        "status": [words["Status"]],
        "db-instance-id": [words["DBInstanceIdentifier"], words["DBInstanceArn"]],
        "dbi-resource-id": [words["DbiResourceId"]],
        "arn": [words["DBInstanceAutomatedBackupsArn"]],
        "name": [words["DBInstanceIdentifier"]],
    }
    return all({value.lower() for value in values[name]} & {one.lower() for one in any_of} for name, any_of in wanted.items())


def restore_to_point_in_time(response: RDSResponse) -> ActionResult:
    """RestoreDBInstanceToPointInTime: a new instance, `creating`, then `backing-up`, then `available`."""
    backend, params = response.backend, response.params
    backup, name = _backup(backend, params), params["TargetDBInstanceIdentifier"]
    _check_time(backup, params)
    if name in backend.databases:
        raise RDSClientError("DBInstanceAlreadyExists", "DB instance already exists")
    check_quota(backend)
    groups = set(params.get("VpcSecurityGroupIds") or [])
    known = ec2_backends[backend.account_id][backend.region_name].describe_security_groups()
    if unknown := groups - {group.id for group in known}:
        raise RDSClientError("InvalidParameterValue", f"Invalid security group , groupId= {', '.join(sorted(unknown))}, groupName=.")
    options = {key: getattr(backup.source, key) for key in _INHERITED}
    options |= {key: value for key, value in params.items() if value is not None}
    options |= {"db_instance_identifier": name, "kms_key_id": backup.key or backup.source.kms_key_id}
    instance = _create_instance(backend, options)
    instance.status = "creating"
    agenda = agenda_of(backend)
    agenda.after(RESTORE_SECONDS, partial(_turn, instance, "creating", "backing-up"))
    agenda.after(RESTORE_SECONDS + FIRST_BACKUP_SECONDS, partial(_turn, instance, "backing-up", "available"))
    return ActionResult({"DBInstance": instance})


def _backup(backend: RDSBackend, params: Mapping[str, Any]) -> AutomatedBackup:
    """The backup that the call names in one of the three ways."""
    keys = ("SourceDBInstanceIdentifier", "SourceDbiResourceId", "SourceDBInstanceAutomatedBackupsArn")
    named = {key: params.get(key) for key in keys if params.get(key)}
    if len(named) != 1:
        raise RDSClientError("InvalidParameterCombination", f"Exactly one of {', '.join(keys)} must be specified.")
    identifier = named.get("SourceDBInstanceIdentifier")
    if identifier is not None:
        source = backend.databases.get(identifier)
        if source is None:
            raise RDSClientError("DBInstanceNotFound", f"DBInstance {identifier} not found.")
        if not source.backup_retention_period:
            raise RDSClientError("PointInTimeRestoreNotEnabled", f"{identifier} has no automated backups.")
        return _active(source)
    for backup in _all(backend):
        if named.keys() == {"SourceDbiResourceId"} and backup.source.dbi_resource_id == named["SourceDbiResourceId"]:
            return backup
        if backup.arn == named.get("SourceDBInstanceAutomatedBackupsArn"):
            return backup
    raise RDSClientError("DBInstanceAutomatedBackupNotFound", "No automated backup has that id.")


def _check_time(backup: AutomatedBackup, params: Mapping[str, Any]) -> None:
    """Raise unless the time asked for can be restored."""
    time, latest = params.get("RestoreTime"), backup.latest
    if bool(time) is bool(params.get("UseLatestRestorableTime")):
        raise RDSClientError("InvalidParameterCombination", "Specify either RestoreTime or UseLatestRestorableTime.")
    if backup.since is None or latest is None:
        raise RDSClientError("InvalidDBInstanceState", f"{backup.arn} is {backup.status}: there is nothing yet to restore from.")
    if time and not wall(backup.since) <= time.replace(tzinfo=None) <= wall(latest):
        raise RDSClientError("InvalidRestoreFault", f"{time} is outside the restore window of {backup.arn}.")


def _source(backend: RDSBackend, arn: str) -> DBInstance:
    """The instance of another Region that an ARN names."""
    parts = arn.split(":")
    if len(parts) != 7 or parts[2] != "rds" or parts[5] != "db" or parts[3] == backend.region_name:
        raise RDSClientError("InvalidParameterValue", f"{arn} is not the ARN of a DB instance in another Region.")
    source = rds_backends[backend.account_id][parts[3]].databases.get(parts[6])
    if source is None or isinstance(source, DBInstanceClustered):
        raise RDSClientError("DBInstanceNotFound", f"DBInstance {arn} not found.")
    return source


def _backups(backend: RDSBackend) -> dict[str, AutomatedBackup]:
    """The retained and the replicated backups of a Region; they are lost with moto's other state when it is reset."""
    backups: dict[str, AutomatedBackup] = backend.__dict__.setdefault(_STATE, {})
    return backups


def _all(backend: RDSBackend) -> list[AutomatedBackup]:
    kept = _backups(backend)
    gone = {id(one.source) for one in kept.values()}
    present = [one for one in backend.databases.values() if not isinstance(one, DBInstanceClustered) and id(one) not in gone]
    return [*(_active(one) for one in present if one.backup_retention_period), *kept.values()]


def _active(instance: DBInstance) -> AutomatedBackup:
    """The backup that every instance has of itself, under an ARN that stays the same."""
    made = AutomatedBackup(
        instance.backend, instance, "active", instance.__dict__[_CREATED], instance.backup_retention_period, instance.kms_key_id
    )
    made.arn = f"{made.arn.rpartition('-')[0]}-{instance.dbi_resource_id.removeprefix('db-')}"
    return made


def _turn(instance: DBInstance, before: str, after: str) -> None:
    """Change a state, unless something else has happened to the instance."""
    if instance.status == before:
        instance.status = after


def _unique() -> str:
    """The 26 letters and digits of RDS's resource ids."""
    return base64.b32encode(secrets.token_bytes(17)).decode()[:26]
