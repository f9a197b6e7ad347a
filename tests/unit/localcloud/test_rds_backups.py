"""RDS: automated backups are copied to another Region over time, and instances are restored from them, with AWS's refusals."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.rds.models import rds_backends

from localcloud.extension import clock, rds, rds_backups

from .conftest import Client

EAST = "us-east-1"
ARN = f"arn:aws:rds:{EAST}:123456789012:db:ledger"


@pytest.fixture
def east(aws: Client) -> Any:
    return aws("rds", EAST)


@pytest.fixture
def west(aws: Client) -> Any:
    return aws("rds", "us-west-2")


def create(east: Any, time: clock.ManualClock, name: str = "ledger", **options: Any) -> None:
    asked = {"AllocatedStorage": 200, "BackupRetentionPeriod": 7, "DBInstanceClass": "db.m5.xlarge", **options}
    east.create_db_instance(
        DBInstanceIdentifier=name, Engine="sqlserver-se", MasterUsername="admin1", MasterUserPassword="secret99", **asked
    )
    time.advance(rds.CREATE_INSTANCE_SECONDS)


def copy(west: Any, time: clock.ManualClock) -> str:
    """A copied backup, an hour old; returns its ARN."""
    made = west.start_db_instance_automated_backups_replication(SourceDBInstanceArn=ARN, BackupRetentionPeriod=14)
    time.advance(3600)
    return str(made["DBInstanceAutomatedBackup"]["DBInstanceAutomatedBackupsArn"])


def backups(client: Any, **asked: Any) -> list[dict[str, Any]]:
    return list(client.describe_db_instance_automated_backups(**asked)["DBInstanceAutomatedBackups"])


def restore(west: Any, **asked: Any) -> None:
    west.restore_db_instance_to_point_in_time(**{"TargetDBInstanceIdentifier": "ledger", "UseLatestRestorableTime": True, **asked})


def status(client: Any, name: str = "ledger") -> str:
    return str(client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]["DBInstanceStatus"])


def refusal(call: Any, **asked: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**asked)
    return str(raised.value.response["Error"]["Code"])


def age(moment: datetime) -> float:
    """Seconds since then."""
    return (datetime.now(UTC) - moment).total_seconds()


# Replication


def test_a_copy_is_pending_then_replicating(east: Any, west: Any, time: clock.ManualClock) -> None:
    create(east, time)
    begun = west.start_db_instance_automated_backups_replication(SourceDBInstanceArn=ARN)["DBInstanceAutomatedBackup"]
    assert (begun["Status"], begun["RestoreWindow"], begun["BackupRetentionPeriod"]) == ("pending", {}, 7)
    assert begun["DBInstanceAutomatedBackupsArn"].startswith("arn:aws:rds:us-west-2:123456789012:auto-backup:ab-")
    time.advance(rds_backups.REPLICATE_SECONDS)
    found = backups(west)[0]
    assert (found["Status"], found["Region"], found["DBInstanceArn"]) == ("replicating", EAST, ARN)
    assert found["DbiResourceId"] == east.describe_db_instances()["DBInstances"][0]["DbiResourceId"]


def test_the_latest_time_is_some_minutes_behind_and_stands_when_the_source_is_gone(east: Any, west: Any, time: clock.ManualClock) -> None:
    create(east, time)
    copy(west, time)
    window = backups(west)[0]["RestoreWindow"]
    assert age(window["LatestTime"]) == pytest.approx(rds_backups.LOG_SECONDS, abs=5)
    assert age(window["EarliestTime"]) == pytest.approx(3600 - rds_backups.REPLICATE_SECONDS, abs=5)
    east.delete_db_instance(DBInstanceIdentifier="ledger", SkipFinalSnapshot=True, DeleteAutomatedBackups=False)
    time.advance(1000)
    found = backups(west)[0]
    assert found["Status"] == "retained"
    assert age(found["RestoreWindow"]["LatestTime"]) == pytest.approx(1000 + rds_backups.LOG_SECONDS, abs=5)
    assert [one["Status"] for one in backups(east)] == ["retained"]


def test_backups_go_with_the_instance_unless_they_are_to_be_kept(east: Any, west: Any, time: clock.ManualClock) -> None:
    create(east, time)
    copy(west, time)
    assert [one["Status"] for one in backups(east)] == ["active"]
    east.delete_db_instance(DBInstanceIdentifier="ledger", SkipFinalSnapshot=True)  # they go by default
    time.advance(rds.DELETE_INSTANCE_SECONDS)
    assert (backups(east), backups(west)) == ([], [])


def test_a_copy_that_is_stopped_is_retained_and_can_begin_again(east: Any, west: Any, time: clock.ManualClock) -> None:
    create(east, time)
    assert refusal(west.stop_db_instance_automated_backups_replication, SourceDBInstanceArn=ARN) == "InvalidDBInstanceState"
    copy(west, time)
    assert west.stop_db_instance_automated_backups_replication(SourceDBInstanceArn=ARN)["DBInstanceAutomatedBackup"]["Status"] == "retained"
    copy(west, time)
    assert [one["Status"] for one in backups(west)] == ["retained", "replicating"]


@pytest.mark.parametrize(
    ("options", "asked", "code"),
    [
        ({"BackupRetentionPeriod": 0}, {}, "InvalidDBInstanceState"),
        ({}, {"SourceDBInstanceArn": ARN + "s"}, "DBInstanceNotFound"),
        ({}, {"SourceDBInstanceArn": ARN.replace(EAST, "us-west-2")}, "InvalidParameterValue"),
        ({}, {"BackupRetentionPeriod": 36}, "InvalidParameterValue"),
        ({"StorageEncrypted": True}, {}, "InvalidParameterCombination"),
        ({}, {"KmsKeyId": f"arn:aws:kms:{EAST}:123456789012:key/1-2"}, "KMSKeyNotAccessibleFault"),
    ],
)
def test_replication_is_refused(
    east: Any, west: Any, time: clock.ManualClock, options: dict[str, Any], asked: dict[str, Any], code: str
) -> None:
    create(east, time, **options)
    call = west.start_db_instance_automated_backups_replication
    assert refusal(call, **{"SourceDBInstanceArn": ARN, **asked}) == code
    assert backups(west) == []


def test_replication_is_refused_twice_beyond_the_quota_and_of_a_busy_source(
    east: Any, west: Any, time: clock.ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(east, time)
    copy(west, time)
    call = west.start_db_instance_automated_backups_replication
    assert refusal(call, SourceDBInstanceArn=ARN) == "InvalidDBInstanceAutomatedBackupState"
    create(east, time, "other")
    monkeypatch.setattr(rds_backups, "REPLICATION_QUOTA", 1)
    assert refusal(call, SourceDBInstanceArn=ARN.replace("ledger", "other")) == "DBInstanceAutomatedBackupQuotaExceeded"
    rds_backups.break_instance(rds_backends["123456789012"][EAST], "other", "storage-full")
    assert refusal(call, SourceDBInstanceArn=ARN.replace("ledger", "other")) == "InvalidDBInstanceState"


def test_backups_are_found_by_their_names(east: Any, west: Any, time: clock.ManualClock) -> None:
    create(east, time)
    arn = copy(west, time)
    create(west, time, "local")
    resource = backups(west, DBInstanceAutomatedBackupsArn=arn)[0]["DbiResourceId"]
    for asked in (
        {"DbiResourceId": resource},
        {"DBInstanceIdentifier": "LEDGER"},
        {"Filters": [{"Name": "status", "Values": ["replicating"]}]},
        {"Filters": [{"Name": "db-instance-id", "Values": [ARN]}]},
        {"Filters": [{"Name": "dbi-resource-id", "Values": [resource]}]},
    ):
        assert [one["DBInstanceIdentifier"] for one in backups(west, **asked)] == ["ledger"]
    assert {one["DBInstanceIdentifier"] for one in backups(west)} == {"ledger", "local"}
    assert backups(west, DBInstanceIdentifier="unknown") == []
    assert refusal(west.describe_db_instance_automated_backups, DbiResourceId="db-1") == "DBInstanceAutomatedBackupNotFound"
    pages = list(west.get_paginator("describe_db_instance_automated_backups").paginate(PaginationConfig={"PageSize": 20}))
    assert sum(len(page["DBInstanceAutomatedBackups"]) for page in pages) == 2


# Restoration


def test_an_instance_is_restored_over_time(east: Any, west: Any, time: clock.ManualClock) -> None:
    create(east, time, MultiAZ=True, DeletionProtection=True, Tags=[{"Key": "Owner", "Value": "shop"}])
    arn = copy(west, time)
    restore(west, SourceDBInstanceAutomatedBackupsArn=arn, DBInstanceClass="db.r5.large")
    assert status(west) == "creating"
    time.advance(rds_backups.RESTORE_SECONDS)
    assert status(west) == "backing-up"
    time.advance(rds_backups.FIRST_BACKUP_SECONDS)
    assert status(west) == "available"
    source, found = (client.describe_db_instances()["DBInstances"][0] for client in (east, west))
    assert (found["DBInstanceClass"], found["AllocatedStorage"], found["Engine"]) == ("db.r5.large", 200, "sqlserver-se")
    assert found["DbiResourceId"] != source["DbiResourceId"]
    # What is not named is RDS's default, not the source's.
    assert (found["MultiAZ"], found["DeletionProtection"], found["TagList"]) == (False, False, [])
    assert age(found["InstanceCreateTime"]) == pytest.approx(rds_backups.RESTORE_SECONDS + rds_backups.FIRST_BACKUP_SECONDS, abs=5)


def test_an_instance_is_restored_from_what_a_deleted_one_left(east: Any, west: Any, time: clock.ManualClock) -> None:
    create(east, time)
    copy(west, time)
    resource = backups(west)[0]["DbiResourceId"]
    east.delete_db_instance(DBInstanceIdentifier="ledger", SkipFinalSnapshot=True, DeleteAutomatedBackups=False)
    time.advance(rds.DELETE_INSTANCE_SECONDS)
    for client in (east, west):
        restore(client, SourceDbiResourceId=resource)
        assert status(client) == "creating"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"DBSubnetGroupName": "none"}, "DBSubnetGroupNotFoundFault"),
        ({"OptionGroupName": "none"}, "OptionGroupNotFoundFault"),
        ({"DBParameterGroupName": "none"}, "DBParameterGroupNotFound"),
        ({"VpcSecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidParameterValue"),
        ({"TargetDBInstanceIdentifier": "taken"}, "DBInstanceAlreadyExists"),
        ({"SourceDBInstanceIdentifier": "taken"}, "InvalidParameterCombination"),
        ({"RestoreTime": datetime.now(UTC)}, "InvalidParameterCombination"),
        ({"UseLatestRestorableTime": False}, "InvalidParameterCombination"),
        ({"UseLatestRestorableTime": False, "RestoreTime": datetime.now(UTC) - timedelta(days=1)}, "InvalidRestoreFault"),
        (
            {"SourceDBInstanceAutomatedBackupsArn": "arn:aws:rds:us-west-2:123456789012:auto-backup:ab-1"},
            "DBInstanceAutomatedBackupNotFound",
        ),
    ],
)
def test_restoration_is_refused(east: Any, west: Any, time: clock.ManualClock, asked: dict[str, Any], code: str) -> None:
    create(east, time)
    arn = copy(west, time)
    create(west, time, "taken")
    assert refusal(lambda **words: restore(west, **words), **{"SourceDBInstanceAutomatedBackupsArn": arn, **asked}) == code
    assert [one["DBInstanceIdentifier"] for one in west.describe_db_instances()["DBInstances"]] == ["taken"]


def test_restoration_within_a_region(east: Any, time: clock.ManualClock) -> None:
    create(east, time)
    time.advance(3600)
    moment = datetime.now(UTC) - timedelta(minutes=30)
    restore(east, SourceDBInstanceIdentifier="ledger", TargetDBInstanceIdentifier="copy", UseLatestRestorableTime=False, RestoreTime=moment)
    assert status(east, "copy") == "creating"
    create(east, time, "unsaved", BackupRetentionPeriod=0)
    words = {"SourceDBInstanceIdentifier": "unsaved", "TargetDBInstanceIdentifier": "two"}
    assert refusal(lambda **asked: restore(east, **asked), **words) == "PointInTimeRestoreNotEnabled"
    assert refusal(lambda **asked: restore(east, **asked), **{**words, "SourceDBInstanceIdentifier": "none"}) == "DBInstanceNotFound"


def test_nothing_is_restored_from_a_pending_copy_or_beyond_the_quota(
    east: Any, west: Any, time: clock.ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(east, time)
    made = west.start_db_instance_automated_backups_replication(SourceDBInstanceArn=ARN)
    arn = made["DBInstanceAutomatedBackup"]["DBInstanceAutomatedBackupsArn"]
    assert refusal(lambda **asked: restore(west, **asked), SourceDBInstanceAutomatedBackupsArn=arn) == "InvalidDBInstanceState"
    time.advance(rds_backups.REPLICATE_SECONDS)
    monkeypatch.setattr(rds_backups, "INSTANCE_QUOTA", 1)
    create(west, time, "first")
    assert refusal(lambda **asked: restore(west, **asked), SourceDBInstanceAutomatedBackupsArn=arn) == "InstanceQuotaExceeded"
    assert refusal(lambda **asked: create(west, time, **asked), name="second") == "InstanceQuotaExceeded"
    quotas = {one["AccountQuotaName"]: (one["Used"], one["Max"]) for one in west.describe_account_attributes()["AccountQuotas"]}
    assert (quotas["DBInstances"], quotas["ManualSnapshots"]) == ((1, 1), (0, rds_backups.SNAPSHOT_QUOTA))


# What else happens to an instance


def test_an_instance_is_modified_over_time_and_protected_from_deletion(east: Any, time: clock.ManualClock) -> None:
    create(east, time, DeletionProtection=True)
    delete = east.delete_db_instance
    assert refusal(delete, DBInstanceIdentifier="ledger", SkipFinalSnapshot=True) == "InvalidParameterCombination"
    east.modify_db_instance(DBInstanceIdentifier="ledger", DeletionProtection=False)
    assert status(east) == "modifying"
    assert refusal(east.modify_db_instance, DBInstanceIdentifier="ledger", DeletionProtection=True) == "InvalidDBInstanceState"
    assert refusal(delete, DBInstanceIdentifier="ledger", FinalDBSnapshotIdentifier="last") == "InvalidDBInstanceState"
    time.advance(rds_backups.MODIFY_SECONDS)
    assert status(east) == "available"
    assert refusal(east.modify_db_instance, DBInstanceIdentifier="none", DeletionProtection=True) == "DBInstanceNotFound"


def test_a_final_snapshot_takes_its_time_and_needs_an_instance_in_order(east: Any, time: clock.ManualClock) -> None:
    create(east, time)
    rds_backups.break_instance(rds_backends["123456789012"][EAST], "ledger", "incompatible-restore")
    assert refusal(east.delete_db_instance, DBInstanceIdentifier="ledger", FinalDBSnapshotIdentifier="last") == "InvalidDBInstanceState"
    rds_backups.break_instance(rds_backends["123456789012"][EAST], "ledger", "available")
    east.delete_db_instance(DBInstanceIdentifier="ledger", FinalDBSnapshotIdentifier="last")

    def snapshot() -> str:
        return str(east.describe_db_snapshots(DBSnapshotIdentifier="last")["DBSnapshots"][0]["Status"])

    assert (snapshot(), status(east)) == ("creating", "deleting")
    time.advance(rds_backups.FINAL_SNAPSHOT_SECONDS)
    assert (snapshot(), status(east)) == ("available", "deleting")


def test_a_parameter_group_that_there_is_not_is_an_error(east: Any) -> None:
    assert refusal(east.describe_db_parameter_groups, DBParameterGroupName="none") == "DBParameterGroupNotFound"
    assert east.describe_db_parameter_groups()["DBParameterGroups"] == []
