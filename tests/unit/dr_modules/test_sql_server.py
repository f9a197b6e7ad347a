"""SQLServer: ACTIVATE, restoring the other Region's instance from its copied backups."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from moto.rds.models import rds_backends

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules import _sql_server
from dr_modules.base import Progress, Severity
from dr_modules.sql_server import SqlServer
from localcloud.extension import rds_backups
from tests.support import sqlserver_scenes as scenes
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World, error
from tests.support.sqlserver_scenes import KEY, NAME, SQLSERVER

ACTIVATE = Phase.ACTIVATE
RESTORE = "RestoreDBInstanceToPointInTime"


def restored(world: World, name: str = NAME) -> dict[str, Any]:
    """The standby Region's instance as RDS describes it."""
    return dict(world.client("rds").describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0])


def turn(status: str, region: str = STANDBY) -> None:
    """Have the Region's instance in this state."""
    rds_backups.break_instance(rds_backends[ACCOUNT][region], NAME, status)


def codes(world: World, mode: Mode = Mode.PLANNED, raw: object = SQLSERVER) -> list[tuple[str, str]]:
    """What preflight finds."""
    return [(found.severity, found.code) for found in world.module(SqlServer, ACTIVATE, mode).obstacles(raw)]


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_the_instance_is_restored_with_the_stored_settings(world: World, mode: Mode) -> None:
    chosen = scenes.ready(world)

    assert world.drive(SqlServer, ACTIVATE, SQLSERVER, mode).progress is Progress.DONE

    found = restored(world)
    assert (found["DBInstanceStatus"], found["DBInstanceClass"]) == ("available", "db.r5.large")
    assert (found["MultiAZ"], found["DeletionProtection"]) == (True, True)
    assert found["DBSubnetGroup"]["DBSubnetGroupName"] == "db"
    assert [group["VpcSecurityGroupId"] for group in found["VpcSecurityGroups"]] == chosen["VpcSecurityGroupIds"]
    assert found["OptionGroupMemberships"][0]["OptionGroupName"] == "backups"
    assert found["DBParameterGroups"][0]["DBParameterGroupName"] == "sql"
    assert world.changes == [RESTORE]
    call = next(call.parameters for call in world.calls if call.operation == RESTORE)
    assert call["UseLatestRestorableTime"] is True
    assert call["SourceDBInstanceAutomatedBackupsArn"] == scenes.backup(world)["DBInstanceAutomatedBackupsArn"]
    assert {call.region for call in world.calls} == {STANDBY}
    assert scenes.statuses(world, PRIMARY) == {NAME: "available"}

    world.calls.clear()
    assert world.drive(SqlServer, ACTIVATE, SQLSERVER, mode).progress is Progress.DONE
    assert world.changes == []


def test_a_restoration_under_way_is_adopted(world: World) -> None:
    """The executor died between the act and its record."""
    scenes.ready(world)
    world.module(SqlServer, ACTIVATE).start(SQLSERVER, again=True)
    world.calls.clear()

    seen = world.module(SqlServer, ACTIVATE).observe(SQLSERVER)
    assert (seen.progress, "creating" in seen.detail) == (Progress.IN_PROGRESS, True)
    world.module(SqlServer, ACTIVATE).activate(SqlServer.parse(SQLSERVER)[0])
    assert world.drive(SqlServer, ACTIVATE, SQLSERVER).progress is Progress.DONE
    assert world.changes == []


def test_an_instance_restored_since_the_look_is_adopted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes.failed_over(world)
    real, looks = _sql_server.find_instance, iter([None, None])
    monkeypatch.setattr(_sql_server, "find_instance", lambda rds, name: next(looks, real(rds, name)))
    world.module(SqlServer, ACTIVATE).start(SQLSERVER, again=True)
    assert world.changes == [RESTORE]  # refused as it exists
    assert scenes.statuses(world) == {NAME: "available"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("available", Progress.DONE),
        ("backing-up", Progress.IN_PROGRESS),
        ("deleting", Progress.IN_PROGRESS),
        ("a-state-to-come", Progress.IN_PROGRESS),
        ("failed", Progress.FAILED),
        ("incompatible-restore", Progress.FAILED),
        ("restore-error", Progress.FAILED),
        ("storage-full", Progress.FAILED),
        ("inaccessible-encryption-credentials", Progress.FAILED),
    ],
)
def test_the_states_of_the_instance(world: World, status: str, expected: Progress) -> None:
    scenes.failed_over(world)
    turn(status)
    seen = world.module(SqlServer, ACTIVATE).observe(SQLSERVER)
    assert seen.progress is expected
    assert seen.code == (status if expected is Progress.FAILED else None)


# What is not the goal although an instance of the name is available


def test_an_instance_that_was_not_restored_is_not_done(world: World) -> None:
    scenes.ready(world)
    scenes.instance(world, STANDBY)
    with pytest.raises(ModuleError, match="was not restored by ACTIVATE") as raised:
        world.drive(SqlServer, ACTIVATE, SQLSERVER)
    assert (raised.value.code, raised.value.error_class, world.changes) == ("NameTaken", ErrorClass.TERMINAL, [])


def test_the_region_that_is_primary_already_is_refused(world: World) -> None:
    scenes.ready(world)
    with pytest.raises(ModuleError) as raised:
        world.drive(SqlServer, ACTIVATE, SQLSERVER, region=PRIMARY)
    assert (raised.value.code, world.changes) == ("NameTaken", [])


def test_an_instance_restored_from_a_predecessor_is_not_done(world: World) -> None:
    scenes.failed_over(world)
    scenes.delete(world)
    scenes.copied(world)  # a new source of the same name
    with pytest.raises(ModuleError, match="is tagged as restored from db-") as raised:
        world.module(SqlServer, ACTIVATE).observe(SQLSERVER)
    assert raised.value.code == "NameTaken"


@pytest.mark.parametrize(
    ("execution", "seconds", "code"), [("01EARLIER", 3600, "OldRestoration"), ("01EARLIER", 0, None), ("01EXECUTION", 3600, None)]
)
def test_data_that_the_source_has_left_behind_is_not_done(world: World, execution: str, seconds: int, code: str | None) -> None:
    chosen = scenes.ready(world)
    scenes.restore(world, execution=execution, **chosen)
    world.time.advance(seconds)
    module = world.module(SqlServer, ACTIVATE)
    if code is None:
        assert module.observe(SQLSERVER).progress is Progress.DONE
        return
    with pytest.raises(ModuleError, match="prod-sqlserver has lived on") as raised:
        module.observe(SQLSERVER)
    assert raised.value.code == code


def test_a_former_restoration_stays_done_when_the_source_is_gone(world: World) -> None:
    scenes.cleaned_up(world)
    world.time.advance(7200)
    assert world.module(SqlServer, ACTIVATE).observe(SQLSERVER).progress is Progress.DONE


def test_backups_of_a_predecessor_are_not_restored(world: World) -> None:
    scenes.copied(world)
    scenes.settings(world)
    scenes.delete(world)
    scenes.instance(world)
    rds = world.client("rds")
    rds.start_db_instance_automated_backups_replication(SourceDBInstanceArn=scenes.arn())
    found = rds.describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"]
    for order in (found, found[::-1]):  # RDS promises none
        world.answer("rds", "DescribeDBInstanceAutomatedBackups", {"DBInstanceAutomatedBackups": order})
        assert codes(world) == [(Severity.ERROR, "NotYetRestorable")]
    world.forget_answers()
    world.time.advance(1200)
    world.drive(SqlServer, ACTIVATE, SQLSERVER)
    source = world.client("rds", PRIMARY).describe_db_instances()["DBInstances"][0]
    tags = {tag["Key"]: tag["Value"] for tag in restored(world)["TagList"]}
    assert tags == {"Orchestrator:RestoredFrom": source["DbiResourceId"], "Orchestrator:ExecutionId": "01EXECUTION"}


def test_of_two_copies_the_one_that_grows_is_restored(world: World) -> None:
    rds = scenes.copied(world)
    scenes.settings(world)
    rds.stop_db_instance_automated_backups_replication(SourceDBInstanceArn=scenes.arn())
    rds.start_db_instance_automated_backups_replication(SourceDBInstanceArn=scenes.arn())
    world.time.advance(1200)
    assert codes(world) == []
    assert world.module(SqlServer, ACTIVATE).record_before(SQLSERVER)[0]["backup"]["status"] == "replicating"  # type: ignore[index]


# Before anything runs


def test_nothing_to_restore_from(world: World) -> None:
    scenes.instance(world)
    scenes.settings(world)
    module = world.module(SqlServer, ACTIVATE, Mode.UNPLANNED)
    with pytest.raises(ModuleError, match="correct DBInstanceIdentifierSource") as raised:
        module.start(SQLSERVER, again=True)
    assert (raised.value.code, world.changes) == ("NoBackup", [])
    world.client("rds").start_db_instance_automated_backups_replication(SourceDBInstanceArn=scenes.arn())
    looks: tuple[Callable[[], object], ...] = (lambda: module.start(SQLSERVER, again=True), lambda: module.lag(SQLSERVER))
    for look in looks:
        with pytest.raises(ModuleError) as pending:
            look()
        assert (pending.value.code, pending.value.error_class) == ("NotYetRestorable", ErrorClass.RETRYABLE)


@pytest.mark.parametrize(
    ("value", "code", "word"),
    [
        (None, "NoConfig", "does not exist"),
        ("{", "InvalidConfig", "is not JSON"),
        ("[]", "InvalidConfig", "valid dictionary"),
        ('{"InstanceClass": "db.r5.large"}', "InvalidConfig", "InstanceClass"),
        ('{"DBInstanceClass": "large"}', "InvalidConfig", "DBInstanceClass"),
        ('{"BackupRetentionPeriod": 0}', "InvalidConfig", "BackupRetentionPeriod"),
    ],
)
def test_settings_that_do_not_make_sense(world: World, value: str | None, code: str, word: str) -> None:
    scenes.copied(world)
    if value is not None:
        scenes.store(world, value)
    found = world.module(SqlServer, ACTIVATE).obstacles(SQLSERVER)
    assert [one.code for one in found] == [code]
    assert word in found[0].message
    with pytest.raises(ModuleError) as raised:
        world.module(SqlServer, ACTIVATE).start(SQLSERVER, again=True)
    assert (raised.value.code, raised.value.error_class, world.changes) == (code, ErrorClass.TERMINAL, [])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"DBSubnetGroupName": "nowhere"}, [(Severity.ERROR, "NoSuchGroup")]),
        ({"DBParameterGroupName": "none"}, [(Severity.ERROR, "NoSuchGroup")]),
        ({"OptionGroupName": "none"}, [(Severity.ERROR, "NoSuchGroup")]),
        ({"VpcSecurityGroupIds": ["sg-0123456789abcdef0"]}, [(Severity.ERROR, "NoSuchGroup")]),
        ({"VpcSecurityGroupIds": []}, [(Severity.WARNING, "DefaultNetwork")]),
    ],
)
def test_preflight_looks_for_the_groups(world: World, changed: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    scenes.copied(world)
    scenes.settings(world, **changed)
    assert codes(world) == expected
    assert codes(world, Mode.UNPLANNED) == expected


def test_preflight_looks_at_the_quota(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes.ready(world)
    scenes.instance(world, STANDBY, "another")
    monkeypatch.setattr(rds_backups, "INSTANCE_QUOTA", 1)
    assert codes(world) == [(Severity.ERROR, "DBInstancesQuotaReached")]


@pytest.mark.parametrize(("mode", "severity"), [(Mode.PLANNED, Severity.ERROR), (Mode.UNPLANNED, Severity.WARNING)])
def test_preflight_looks_at_the_replication(world: World, mode: Mode, severity: Severity) -> None:
    scenes.ready(world)
    world.client("rds").stop_db_instance_automated_backups_replication(SourceDBInstanceArn=scenes.arn())
    assert codes(world, mode) == [(severity, "NotReplicating")]


def test_the_lag_is_the_age_of_the_latest_restorable_time(world: World) -> None:
    scenes.ready(world)
    module = world.module(SqlServer, ACTIVATE, Mode.UNPLANNED)
    assert module.lag(SQLSERVER) == pytest.approx(rds_backups.LOG_SECONDS, abs=5)
    scenes.delete(world)  # takes a minute to go
    world.time.advance(1200)
    assert module.lag(SQLSERVER) == pytest.approx(rds_backups.LOG_SECONDS + 1260, abs=5)
    assert {call.region for call in world.calls} == {STANDBY}
    assert SqlServer.max_lag_seconds > rds_backups.LOG_SECONDS


def test_a_call_that_fails_says_so(world: World) -> None:
    scenes.ready(world)
    refused = {
        "InsufficientDBInstanceCapacity": ErrorClass.RETRYABLE,
        "KMSKeyNotAccessibleFault": ErrorClass.TERMINAL,
        "AccessDenied": ErrorClass.TERMINAL,
    }
    for code, expected in refused.items():
        world.answer("rds", RESTORE, error(code), status=400)
        with pytest.raises(ModuleError) as raised:
            world.module(SqlServer, ACTIVATE).start(SQLSERVER, again=True)
        assert (raised.value.code, raised.value.error_class) == (code, expected)


# Several, and drills


def test_a_list_of_targets(world: World) -> None:
    chosen = scenes.ready(world)
    other = {**SQLSERVER, "DBInstanceIdentifierSource": "Ledger", "DBInstanceIdentifier": "ledger-west", "ClusterConfigSSMKey": "/ledger"}
    scenes.instance(world, name="ledger")
    scenes.store(world, json.dumps({**chosen, "DBInstanceClass": "db.r5.4xlarge"}), key="/ledger")
    source = scenes.arn().replace(NAME, "ledger")
    world.client("rds").start_db_instance_automated_backups_replication(SourceDBInstanceArn=source)
    world.time.advance(1200)
    assert world.drive(SqlServer, ACTIVATE, [SQLSERVER, other]).progress is Progress.DONE
    assert scenes.statuses(world) == {NAME: "available", "ledger-west": "available"}
    assert restored(world, "ledger-west")["DBInstanceClass"] == "db.r5.4xlarge"


def test_a_drill_restores_a_copy_beside_production(world: World) -> None:
    scenes.ready(world)
    assert world.drive(SqlServer, ACTIVATE, SQLSERVER, Mode.DRILL).progress is Progress.DONE
    assert scenes.statuses(world) == {f"{NAME}-drill": "available"}
    assert world.module(SqlServer, ACTIVATE).observe(SQLSERVER).progress is Progress.NOT_STARTED
    long = {**SQLSERVER, "DBInstanceIdentifier": "a" * 60}
    assert [code for _, code in codes(world, Mode.DRILL, long)] == ["NameTooLong"]


def test_what_was_before_is_recorded(world: World) -> None:
    scenes.ready(world)
    before = world.module(SqlServer, ACTIVATE).record_before(SQLSERVER)
    copy = scenes.backup(world)
    recorded: Any = before[0]["backup"]
    assert before[0]["instance"] is None
    assert (recorded["arn"], recorded["status"]) == (copy["DBInstanceAutomatedBackupsArn"], "replicating")


@pytest.mark.parametrize(
    ("phase", "keys"), [(ACTIVATE, ["ClusterConfigSSMKey"]), (Phase.CLEANUP, ["ClusterConfigSSMKey"]), (Phase.REPLICATE, [])]
)
def test_what_a_phase_needs(phase: Phase, keys: list[str]) -> None:
    parsed = SqlServer.parse({"DBInstanceIdentifierSource": NAME})[0]
    assert [key for key, _, _ in SqlServer.check_parameters(phase, parsed)] == keys
    assert SqlServer.check_parameters(phase, SqlServer.parse({**SQLSERVER, "ClusterConfigSSMKey": KEY})[0]) == []
