"""SQLServer: an instance of RDS for SQL Server, restored in the other Region from its replicated automated backup.

ACTIVATE restores the newest state that the target Region's copy of the source's backups holds (`restore_db_instance_to_point_in_time`
with UseLatestRestorableTime), with the settings in the SSM parameter ClusterConfigSSMKey of the target Region: a JSON object with any of
DBInstanceClass, DBSubnetGroupName, VpcSecurityGroupIds, OptionGroupName, DBParameterGroupName, MultiAZ, PubliclyAccessible,
CopyTagsToSnapshot, AutoMinorVersionUpgrade, DeletionProtection, BackupRetentionPeriod, EnableCloudwatchLogsExports, Domain and
DomainIAMRoleName. What is written to the source after the latest restorable time is lost: stop its writers before a planned run, and wait
until the lag says that their last writes have arrived. The restored instance carries the tags Orchestrator:RestoredFrom (the resource id
of the source) and Orchestrator:ExecutionId. An instance of the name without the first tag is not taken for the restored one; nor is one
that another execution restored while the source has since lived on for longer than `max_lag_seconds`. A drill restores a copy under the
name with `-drill` at its end, beside which production goes on.

CLEANUP writes the settings of the instance in the Region left behind to ClusterConfigSSMKey of that Region, for the way back, switches
deletion protection off, and deletes the instance with a final snapshot; its automated backups stay. It does so only when the instance in
the other Region is `available` and says by its tag that it was restored from this one: nothing else tells the old side from the live one.
That question goes to the Region that serves now, in an unplanned run too; where it gets no answer, nothing is deleted. `"Force": true`
deletes without asking. After a drill, CLEANUP deletes the drill's copy with its backups, without a final snapshot, and nothing else.

REPLICATE, in the Region where the replica is rebuilt, begins to copy the backups of the source Region's instance. A copy that runs
already is left as it is, also where its key or its retention is not the manifest's.

Example manifest resource:

    {
      "action": "SQLServer",
      "resourceName": "sql-database",
      "parameters": {
        "DBInstanceIdentifierSource": "prod-sqlserver",
        "ClusterConfigSSMKey": "/prod/sqlserver/config"
      }
    }
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from dr_core.phases import Phase
from dr_modules import _sql_server
from dr_modules._sql_server import Instance, SQLServerParameters
from dr_modules._sql_server_base import SqlServerBase
from dr_modules.base import Handle, NativeEvent, Permissions, Progress, Status, register

_SNAPSHOT = "FinalDBSnapshotIdentifier"
# RDS takes no snapshot of an instance in these states (DeleteDBInstance).
_NO_SNAPSHOT = frozenset({"failed", "incompatible-restore", "incompatible-network"})


@register("SQLServer")
class SqlServer(SqlServerBase):
    """Instances of RDS for SQL Server."""

    drills = frozenset({Phase.ACTIVATE})
    permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: (
            "rds:DescribeDBInstances",
            "rds:DescribeDBInstanceAutomatedBackups",
            "rds:DescribeAccountAttributes",
            "rds:DescribeDBSubnetGroups",
            "rds:DescribeDBParameterGroups",
            "rds:DescribeOptionGroups",
            "ec2:DescribeSecurityGroups",
            "ssm:GetParameter",
            "rds:RestoreDBInstanceToPointInTime",
        ),
        Phase.CLEANUP: (
            "rds:DescribeDBInstances",
            "rds:DescribeDBSnapshots",
            "rds:DescribeAccountAttributes",
            "ssm:GetParameter",
            "ssm:PutParameter",
            "rds:ModifyDBInstance",
            "rds:DeleteDBInstance",
        ),
        Phase.REPLICATE: (
            "rds:DescribeDBInstances",
            "rds:DescribeDBInstanceAutomatedBackups",
            "rds:StartDBInstanceAutomatedBackupsReplication",
        ),
    }
    # Tags at creation, the final snapshot, encryption with a key of your own and a domain are used with the caller's rights.
    implied_permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: ("rds:AddTagsToResource", "kms:CreateGrant", "kms:DescribeKey", "iam:PassRole"),
        Phase.CLEANUP: ("rds:CreateDBSnapshot", "kms:CreateGrant", "kms:DescribeKey"),
        Phase.REPLICATE: ("kms:CreateGrant", "kms:DescribeKey"),
    }
    irreversible = frozenset({Phase.CLEANUP})
    native_events = (NativeEvent("aws.rds", "RDS DB Instance Event"), NativeEvent("aws.rds", "RDS DB Snapshot Event"))
    named_in_events = ("DBInstanceIdentifierSource", "DBInstanceIdentifier", _SNAPSHOT)
    terminal_codes = frozenset({"DBSnapshotAlreadyExists", "KMSKeyNotAccessibleFault", "StorageTypeNotSupported", "InvalidRestoreFault"})
    check_cap_seconds = 30
    # Restoring, the final snapshot and the first copy take as long as the volume is large.
    timeouts: ClassVar[Mapping[Phase, int]] = {Phase.ACTIVATE: 4 * 3600, Phase.CLEANUP: 2 * 3600, Phase.REPLICATE: 4 * 3600}
    # Transaction logs leave the instance every five minutes and are then copied to the other Region.
    max_lag_seconds = 1800

    @classmethod
    def check_parameters(cls, phase: Phase, parameters: SQLServerParameters) -> list[tuple[str, str, str]]:
        """ACTIVATE and CLEANUP need the place of the settings."""
        if phase in (Phase.ACTIVATE, Phase.CLEANUP) and parameters.config_key is None:
            remedy = "name the SSM parameter of the target Region that holds the instance's settings"
            return [("ClusterConfigSSMKey", f"{phase} needs ClusterConfigSSMKey", remedy)]
        return []

    def before(self, parameters: SQLServerParameters) -> Mapping[str, object]:
        """The target Region's instance with its settings, and from ACTIVATE and REPLICATE the copy of the source's backups."""
        instance = self.instance(parameters)
        known: dict[str, object] = {"instance": instance.config.request | {"status": instance.status} if instance else None}
        if self.run.phase is not Phase.CLEANUP:
            backup = self.backup(parameters)
            latest = backup.latest.isoformat() if backup and backup.latest else None
            known["backup"] = {"arn": backup.arn, "status": backup.status, "latestTime": latest} if backup else None
        return known

    # ACTIVATE

    def activate(self, parameters: SQLServerParameters) -> None:
        """Restore the instance, unless it is there."""
        self.guard(parameters)
        if self.instance(parameters) is not None:
            return
        backup, config = self.restorable(parameters), self.config(parameters)
        tags = {_sql_server.RESTORED_FROM: backup.resource_id, _sql_server.EXECUTION: self.run.execution_id}
        try:
            self.rds.restore_db_instance_to_point_in_time(
                SourceDBInstanceAutomatedBackupsArn=backup.arn,
                TargetDBInstanceIdentifier=self.instance_id(parameters),
                UseLatestRestorableTime=True,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
                **config.request,
            )
        except self.rds.exceptions.DBInstanceAlreadyExistsFault:
            # Restored since the look above, by us or somebody else: this raises unless it is what was asked for.
            self.activate_status_check(parameters)

    def activate_status_check(self, parameters: SQLServerParameters) -> Status:
        """Done when the instance that was restored from the source is `available`."""
        instance = self.instance(parameters)
        if instance is None:
            return Status.not_started(f"there is no instance {self.instance_id(parameters)} in {self.target.region}")
        if instance.status == "deleting":
            return Status.in_progress(f"instance {instance.id} is deleting")
        self.refuse_other_data(parameters, instance)
        return instance.health

    # CLEANUP

    def cleanup(self, parameters: SQLServerParameters) -> Handle:
        """Store the settings; then switch deletion protection off, or if it is off delete the instance."""
        self.guard(parameters)
        instance = self.instance(parameters)
        if instance is None or instance.status == "deleting":
            return self.handle
        self._store(parameters, instance)
        if self._readiness(parameters, instance).progress is not Progress.NEXT_STEP:
            return self.handle  # the check says why, and asks for the next step when it is due
        if instance.protected:
            self._unprotect(instance)
            return self.handle
        return self._delete(parameters, instance)

    def cleanup_status_check(self, parameters: SQLServerParameters) -> Status:
        """Done when RDS answers DBInstanceNotFound and the final snapshot is `available`."""
        instance = self.instance(parameters)
        if instance is None:
            return self._final_snapshot(parameters)
        if instance.status == "deleting":
            return Status.in_progress(f"instance {instance.id} is deleting")
        if self._to_store(parameters, instance) is not None:
            return Status.not_started(f"instance {instance.id} is {instance.status}, its settings are not stored")
        return self._readiness(parameters, instance)

    # CLEANUP of a drill

    def undo(self, parameters: SQLServerParameters) -> None:
        """Switch deletion protection off, or if it is off delete the drill's copy."""
        copy = self._copy_of_drill(parameters)
        if copy is None or copy.status == "deleting" or copy.health.progress is Progress.IN_PROGRESS:
            return  # the check says why, and asks for the next step when it is due
        if copy.restored_from is None:
            message = f"instance {copy.id} in {self.target.region} does not say that it was restored by ACTIVATE"
            raise self.error("NotADrillCopy", f"{message}: look what it is, and skip this resource")
        if copy.protected:
            self._unprotect(copy)
        else:
            again = partial(self.undo_status_check, parameters)
            self._deleted(copy, again, DeleteAutomatedBackups=True, SkipFinalSnapshot=True)

    def undo_status_check(self, parameters: SQLServerParameters) -> Status:
        """Done when RDS answers DBInstanceNotFound for the drill's copy."""
        copy = self._copy_of_drill(parameters)
        if copy is None:
            return Status.done(f"{self.target.region} has no instance {self.instance_id(parameters)} of the drill")
        if copy.status == "deleting":
            return Status.in_progress(f"instance {copy.id} is deleting")
        if copy.health.progress is Progress.IN_PROGRESS:
            return copy.health
        return Status.next_step(f"instance {copy.id} is {copy.status}, deletion protection is {'on' if copy.protected else 'off'}")

    def _copy_of_drill(self, parameters: SQLServerParameters) -> Instance | None:
        """The copy, None where it is gone; one that was there before the drill is not the drill's."""
        return self.instance(parameters) if self.before_drill["instance"] is None else None

    # REPLICATE

    def replicate(self, parameters: SQLServerParameters) -> None:
        """Begin to copy the source's backups to the target Region."""
        self.guard(parameters)
        request: dict[str, Any] = {"SourceDBInstanceArn": self.source_arn(parameters), "BackupRetentionPeriod": parameters.retention}
        if parameters.kms_key is not None:
            request["KmsKeyId"] = parameters.kms_key
        try:
            self.rds.start_db_instance_automated_backups_replication(**request)
        except self.rds.exceptions.InvalidDBInstanceAutomatedBackupStateFault:
            # Also the answer when they are being copied already.
            if self.replicate_status_check(parameters).progress not in (Progress.IN_PROGRESS, Progress.DONE):
                raise

    def replicate_status_check(self, parameters: SQLServerParameters) -> Status:
        """Done when the source's backups are `replicating`."""
        backup = self.backup(parameters)
        if backup is None or backup.status == "retained":
            return Status.not_started(f"backups of {self.source_arn(parameters)} are not copied to {self.target.region}")
        instance = self.instance(parameters)
        if instance is not None and instance.restored_from == backup.resource_id:
            message = f"instance {instance.id} in {self.target.region} has taken over from {parameters.source} in {self.target.peer_region}"
            raise self.error("LiveSide", f"{message}: REPLICATE targets the Region where the replica is rebuilt")
        detail = f"the copy of the backups of {parameters.source} is {backup.status}"
        return Status.done(detail) if backup.status == "replicating" else Status.in_progress(detail)

    def _to_store(self, parameters: SQLServerParameters, instance: Instance) -> str | None:
        """What the settings' parameter must be given, None when it is right."""
        stored, wanted = self.stored(parameters), instance.config.request
        try:
            known = json.loads(stored) if stored is not None else {}
        except ValueError:
            known = {}
        # Off is how we leave it before the deletion: what it was before is what the next instance must have.
        if isinstance(known, dict) and known.get("DeletionProtection") is True:
            wanted["DeletionProtection"] = True
        return None if known == wanted else json.dumps(wanted)

    def _store(self, parameters: SQLServerParameters, instance: Instance) -> None:
        value = self._to_store(parameters, instance)
        if value is not None:
            self.client("ssm").put_parameter(Name=parameters.config_key, Value=value, Type="String", Overwrite=True)

    def _readiness(self, parameters: SQLServerParameters, instance: Instance) -> Status:
        """Whether an instance with stored settings can be made ready for its deletion, or deleted, now."""
        if instance.health.progress is Progress.IN_PROGRESS:
            return instance.health
        if instance.status in _NO_SNAPSHOT and not parameters.skip_final_snapshot:
            message = (
                f'instance {instance.id} is {instance.status}, of which RDS takes no snapshot: mend it, or set "SkipFinalSnapshot": true'
            )
            return Status.failed(instance.status, message)
        return Status.next_step(f"settings of {instance.id} are stored, deletion protection is {'on' if instance.protected else 'off'}")

    def _delete(self, parameters: SQLServerParameters, instance: Instance) -> Handle:
        """Delete an instance, keep its automated backups; returns the final snapshot's name."""
        name = re.sub(r"[^a-z0-9]+", "-", f"{instance.id}-final-{self.run.execution_id}".lower()).strip("-")
        final: dict[str, Any] = {"SkipFinalSnapshot": True}
        if not parameters.skip_final_snapshot:
            final = {"SkipFinalSnapshot": False, _SNAPSHOT: name}
        if not self._deleted(instance, partial(self.cleanup_status_check, parameters), DeleteAutomatedBackups=False, **final):
            return self.handle
        return {} if parameters.skip_final_snapshot else {_SNAPSHOT: name}

    def _unprotect(self, instance: Instance) -> None:
        self.rds.modify_db_instance(DBInstanceIdentifier=instance.id, DeletionProtection=False, ApplyImmediately=True)

    def _deleted(self, instance: Instance, check: Callable[[], Status], **how: Any) -> bool:
        """Delete an instance; False where that has to wait, and `check` asks for it again."""
        try:
            self.rds.delete_db_instance(DBInstanceIdentifier=instance.id, **how)
        except self.rds.exceptions.InvalidDBInstanceStateFault:
            # Also the answer when somebody deletes it already, or does something else to it: then the check asks again when that is over.
            if check().progress is not Progress.IN_PROGRESS:
                raise
            return False
        return True

    def _final_snapshot(self, parameters: SQLServerParameters) -> Status:
        """The status when the instance is gone: of the snapshot that this execution asked for, else of the newest final one."""
        name = self.instance_id(parameters)
        if parameters.skip_final_snapshot:
            return Status.done(f"instance {name} is gone")
        pages = self.rds.get_paginator("describe_db_snapshots").paginate(DBInstanceIdentifier=name, SnapshotType="manual")
        prefix = self.handle.get(_SNAPSHOT, f"{name}-final-")
        found = [one for page in pages for one in page["DBSnapshots"] if one["DBSnapshotIdentifier"].startswith(prefix)]
        if not found:
            message = (
                f"there is no instance {name} in {self.target.region} and no final snapshot {prefix}* of it: correct DBInstanceIdentifier"
            )
            return Status.failed("NoFinalSnapshot", f'{message}, or set "SkipFinalSnapshot": true if it was deleted without one')
        # One that is being taken has no SnapshotCreateTime yet: it is the newest.
        newest = max(found, key=lambda one: ("SnapshotCreateTime" not in one, one.get("SnapshotCreateTime")))
        state, detail = (
            newest["Status"],
            f"instance {name} is gone, its final snapshot {newest['DBSnapshotIdentifier']} is {newest['Status']}",
        )
        if state == "available":
            return Status.done(detail)
        if state == "failed":
            return Status.failed(state, f"{detail}: restore the instance from its retained automated backup, then retry")
        return Status.in_progress(detail, newest.get("PercentProgress"))
