"""SQLServer: CLEANUP of the Region left behind, REPLICATE towards it, and the way back."""

import json
from typing import Any

import pytest
from moto.rds.models import rds_backends

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress
from dr_modules.sql_server import SqlServer
from localcloud.extension import rds_backups
from tests.support import sqlserver_scenes as scenes
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World, error
from tests.support.sqlserver_scenes import KEY, NAME, SQLSERVER

ACTIVATE, CLEANUP, REPLICATE = Phase.ACTIVATE, Phase.CLEANUP, Phase.REPLICATE
STORE, UNPROTECT, DELETE = "PutParameter", "ModifyDBInstance", "DeleteDBInstance"
START = "StartDBInstanceAutomatedBackupsReplication"
FINAL = f"{NAME}-final-01execution"


def stored(world: World, region: str = PRIMARY) -> dict[str, Any]:
    """The settings in the Region."""
    return dict(json.loads(world.client("ssm", region).get_parameter(Name=KEY)["Parameter"]["Value"]))


def snapshots(world: World, region: str = PRIMARY) -> list[str]:
    """The Region's final snapshots."""
    found = world.client("rds", region).describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    return [one["DBSnapshotIdentifier"] for one in found]


def turn(status: str, region: str = PRIMARY) -> None:
    """Have the Region's instance in this state."""
    rds_backups.break_instance(rds_backends[ACCOUNT][region], NAME, status)


def cleanup(world: World, mode: Mode = Mode.PLANNED, raw: object = SQLSERVER) -> Progress:
    """Run CLEANUP in the primary Region to its end."""
    return world.drive(SqlServer, CLEANUP, raw, mode, region=PRIMARY).progress


# CLEANUP


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_the_old_side_is_deleted_and_all_is_kept(world: World, mode: Mode) -> None:
    scenes.failed_over(world)

    assert cleanup(world, mode) is Progress.DONE

    assert scenes.statuses(world, PRIMARY) == {}
    assert scenes.statuses(world) == {NAME: "available"}
    assert world.changes == [STORE, UNPROTECT, DELETE]
    call = next(call.parameters for call in world.calls if call.operation == DELETE)
    assert (call["DeleteAutomatedBackups"], call["FinalDBSnapshotIdentifier"]) == (False, FINAL)
    assert snapshots(world) == [FINAL]
    assert scenes.backup(world)["Status"] == "retained"
    kept = stored(world)
    assert (kept["DBInstanceClass"], kept["DeletionProtection"], kept["MultiAZ"]) == ("db.m5.xlarge", True, False)
    assert "OptionGroupName" not in kept  # RDS's default ones are found by RDS
    assert "DBParameterGroupName" not in kept

    world.calls.clear()
    assert cleanup(world, mode) is Progress.DONE
    assert world.changes == []


def test_an_instance_without_protection_is_deleted_in_one_step_less(world: World) -> None:
    rds = scenes.failed_over(world)
    rds.modify_db_instance(DBInstanceIdentifier=NAME, DeletionProtection=False)
    assert cleanup(world) is Progress.DONE
    assert world.changes == [STORE, DELETE]
    assert stored(world)["DeletionProtection"] is False


def test_each_step_waits_for_the_one_before(world: World) -> None:
    scenes.failed_over(world)
    module = world.module(SqlServer, CLEANUP, region=PRIMARY)
    assert module.observe(SQLSERVER).progress is Progress.NOT_STARTED
    for expected in (Progress.NEXT_STEP, Progress.IN_PROGRESS):
        module.start(SQLSERVER, again=True)
        assert module.observe(SQLSERVER).progress is Progress.IN_PROGRESS  # modifying, then deleting
        world.time.advance(15)
        assert module.observe(SQLSERVER).progress is expected
    assert world.changes == [STORE, UNPROTECT, DELETE]
    assert stored(world)["DeletionProtection"] is True
    world.time.advance(15)
    assert module.observe(SQLSERVER).progress is Progress.DONE


def test_a_cleanup_that_stopped_half_way_goes_on(world: World) -> None:
    rds = scenes.failed_over(world)
    world.module(SqlServer, CLEANUP, region=PRIMARY).start(SQLSERVER, again=True)
    world.time.advance(60)
    assert rds.describe_db_instances()["DBInstances"][0]["DeletionProtection"] is False
    world.calls.clear()
    assert cleanup(world) is Progress.DONE
    assert world.changes == [DELETE]
    assert stored(world)["DeletionProtection"] is True


def test_a_deletion_by_somebody_else_is_waited_for(world: World) -> None:
    rds = scenes.failed_over(world)
    rds.modify_db_instance(DBInstanceIdentifier=NAME, DeletionProtection=False)
    world.time.advance(60)
    rds.delete_db_instance(DBInstanceIdentifier=NAME, FinalDBSnapshotIdentifier=f"{NAME}-final-by-hand", DeleteAutomatedBackups=False)
    world.module(SqlServer, CLEANUP, region=PRIMARY).cleanup(SqlServer.parse(SQLSERVER)[0])
    assert cleanup(world) is Progress.DONE
    assert world.changes == []


def test_somebody_else_deletes_it_between_look_and_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes.failed_over(world).modify_db_instance(DBInstanceIdentifier=NAME, DeletionProtection=False)
    world.time.advance(60)
    module = world.module(SqlServer, CLEANUP, region=PRIMARY)
    assert isinstance(module, SqlServer)
    delete = module.rds.delete_db_instance

    def too_late(**ours: object) -> object:
        delete(DBInstanceIdentifier=NAME, FinalDBSnapshotIdentifier=f"{NAME}-final-by-hand", DeleteAutomatedBackups=False)
        return delete(**ours)

    monkeypatch.setattr(module.rds, "delete_db_instance", too_late)
    module.start(SQLSERVER, again=True)
    assert module.handles == [{}], "the snapshot that this execution asked for will never be"
    world.time.advance(60)
    assert module.observe(SQLSERVER).progress is Progress.DONE


@pytest.mark.parametrize("busy", ["backing-up", "a-state-to-come"])
def test_a_busy_instance_is_waited_for(world: World, busy: str) -> None:
    scenes.failed_over(world)
    turn(busy)
    module = world.module(SqlServer, CLEANUP, region=PRIMARY)
    module.start(SQLSERVER, again=True)
    assert world.changes == [STORE]
    assert module.observe(SQLSERVER).progress is Progress.IN_PROGRESS
    turn("available")
    assert module.observe(SQLSERVER).progress is Progress.NEXT_STEP
    assert cleanup(world) is Progress.DONE


def test_a_deletion_that_is_refused_says_so(world: World) -> None:
    scenes.failed_over(world)
    world.answer("rds", DELETE, error("InvalidDBInstanceState"), status=400)
    with pytest.raises(ModuleError) as raised:
        cleanup(world)
    assert raised.value.code == "InvalidDBInstanceState"


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_the_live_side_is_not_deleted(world: World, mode: Mode) -> None:
    """The only instance, and one beside another of its name that is nobody's successor."""
    scenes.ready(world)
    for state in ("does not exist", "is not tagged Orchestrator:RestoredFrom"):
        with pytest.raises(ModuleError, match=state) as raised:
            cleanup(world, mode)
        assert (raised.value.code, raised.value.error_class, world.changes) == ("LiveSide", ErrorClass.TERMINAL, [])
        if not scenes.statuses(world):
            scenes.instance(world, STANDBY)


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_a_wrong_region_does_not_delete_the_live_side(world: World, mode: Mode) -> None:
    scenes.failed_over(world)
    module = world.module(SqlServer, CLEANUP, mode, region=STANDBY)
    assert [found.code for found in module.obstacles(SQLSERVER)] == ["LiveSide"]
    with pytest.raises(ModuleError):
        module.start(SQLSERVER, again=True)
    assert world.changes == []


def test_a_successor_that_is_not_available_is_not_relied_on(world: World) -> None:
    scenes.failed_over(world)
    turn("incompatible-network", STANDBY)
    with pytest.raises(ModuleError) as raised:
        cleanup(world)
    assert (raised.value.code, raised.value.error_class, world.changes) == ("SuccessorNotAvailable", ErrorClass.RETRYABLE, [])


def test_force_deletes_all_the_same_and_asks_nobody(world: World) -> None:
    scenes.instance(world)
    assert cleanup(world, raw={**SQLSERVER, "Force": "true"}) is Progress.DONE
    assert {call.region for call in world.calls} == {PRIMARY}
    assert snapshots(world) == [FINAL]


@pytest.mark.parametrize(
    ("state", "expected"), [("creating", Progress.IN_PROGRESS), ("a-state-to-come", Progress.IN_PROGRESS), ("failed", Progress.FAILED)]
)
def test_gone_is_not_done_without_the_final_snapshot(world: World, state: str, expected: Progress) -> None:
    rds = scenes.cleaned_up(world)
    found = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"][0]
    world.answer("rds", "DescribeDBSnapshots", {"DBSnapshots": [{**found, "Status": state, "PercentProgress": 40}]})
    seen = world.module(SqlServer, CLEANUP, region=PRIMARY).observe(SQLSERVER)
    assert (seen.progress, seen.percent) == (expected, 40 if expected is Progress.IN_PROGRESS else None)


def test_a_snapshot_of_an_earlier_failover_is_not_the_one_that_was_asked_for(world: World) -> None:
    scenes.cleaned_up(world)  # the snapshot is an earlier execution's
    handles = [{"FinalDBSnapshotIdentifier": FINAL}]
    seen = world.module(SqlServer, CLEANUP, region=PRIMARY, handles=handles).observe(SQLSERVER)
    assert (seen.progress, seen.code) == (Progress.FAILED, "NoFinalSnapshot")
    assert world.module(SqlServer, CLEANUP, region=PRIMARY).observe(SQLSERVER).progress is Progress.DONE


def test_a_name_that_never_was_is_not_done(world: World) -> None:
    assert cleanup(world, raw={**SQLSERVER, "DBInstanceIdentifier": "misspelt"}) is Progress.FAILED
    assert cleanup(world, raw={**SQLSERVER, "SkipFinalSnapshot": True}) is Progress.DONE
    assert world.changes == []


@pytest.mark.parametrize("state", ["failed", "incompatible-restore", "incompatible-network"])
def test_an_instance_of_which_no_snapshot_can_be_taken(world: World, state: str) -> None:
    rds = scenes.failed_over(world)
    rds.modify_db_instance(DBInstanceIdentifier=NAME, DeletionProtection=False)
    world.time.advance(60)
    turn(state)
    seen = world.drive(SqlServer, CLEANUP, SQLSERVER, region=PRIMARY)
    assert (seen.progress, seen.code, world.changes) == (Progress.FAILED, state, [STORE])
    assert "SkipFinalSnapshot" in seen.detail
    world.module(SqlServer, CLEANUP, region=PRIMARY).start(SQLSERVER, again=True)  # as a person's retry does
    assert world.changes == [STORE]
    assert cleanup(world, raw={**SQLSERVER, "SkipFinalSnapshot": "true"}) is Progress.DONE
    assert world.changes == [STORE, DELETE]
    assert snapshots(world) == []


def test_preflight_looks_at_the_quota_of_snapshots(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes.failed_over(world)
    module = world.module(SqlServer, CLEANUP, region=PRIMARY)
    assert module.obstacles(SQLSERVER) == []
    monkeypatch.setattr(rds_backups, "SNAPSHOT_QUOTA", 0)
    assert [found.code for found in module.obstacles(SQLSERVER)] == ["ManualSnapshotsQuotaReached"]
    assert module.obstacles({**SQLSERVER, "SkipFinalSnapshot": True}) == []


def test_a_drill_deletes_its_copy_only(world: World) -> None:
    scenes.failed_over(world, f"{NAME}-drill")
    before = stored(world, STANDBY)
    copy = {"DBInstanceIdentifier": f"{NAME}-drill"}
    world.client("rds").modify_db_instance(**copy, DeletionProtection=True, ApplyImmediately=True)
    nothing = [{"instance": None, "backup": None}]
    assert world.take_back(SqlServer, {**SQLSERVER, "Force": True}, nothing).progress is Progress.DONE
    assert world.changes == ["ModifyDBInstance", "DeleteDBInstance"]
    assert (scenes.statuses(world), world.client("rds").describe_db_snapshots()["DBSnapshots"]) == ({}, [])
    assert scenes.statuses(world, PRIMARY) == {NAME: "available"}
    assert stored(world, STANDBY) == before


def test_what_may_not_be_a_drills_copy_is_left(world: World) -> None:
    scenes.instance(world, STANDBY, f"{NAME}-drill")
    with pytest.raises(ModuleError) as raised:
        world.take_back(SqlServer, {**SQLSERVER, "Force": True}, [{"instance": None, "backup": None}])
    assert raised.value.code == "NotADrillCopy"
    assert world.take_back(SqlServer, SQLSERVER, [{"instance": {"status": "available"}}]).progress is Progress.DONE, "it was there before"
    assert world.changes == []
    with pytest.raises(ModuleError, match="a drill does not run CLEANUP"):
        world.module(SqlServer, CLEANUP, Mode.DRILL).start(SQLSERVER, again=True)


# REPLICATE


def replicate(world: World, mode: Mode = Mode.PLANNED, raw: object = SQLSERVER, region: str = PRIMARY) -> Progress:
    """Run REPLICATE to its end."""
    return world.drive(SqlServer, REPLICATE, raw, mode, region=region).progress


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_backups_are_copied_to_the_old_side(world: World, mode: Mode) -> None:
    scenes.cleaned_up(world)

    assert replicate(world, mode, {"DBInstanceIdentifierSource": NAME, "BackupRetentionPeriod": "14"}) is Progress.DONE

    copy = scenes.backup(world, PRIMARY)
    assert (copy["Status"], copy["DBInstanceArn"], copy["BackupRetentionPeriod"]) == ("replicating", scenes.arn(STANDBY), 14)
    assert world.changes == [START]
    assert mode is Mode.PLANNED or {call.region for call in world.calls} == {PRIMARY}
    world.calls.clear()
    assert replicate(world, mode) is Progress.DONE
    assert world.changes == []


def test_begun_is_not_replicating(world: World) -> None:
    rds = scenes.cleaned_up(world)
    module = world.module(SqlServer, REPLICATE, region=PRIMARY)
    module.start(SQLSERVER, again=True)
    assert module.observe(SQLSERVER).progress is Progress.IN_PROGRESS
    module.replicate(SqlServer.parse(SQLSERVER)[0])  # refused as it runs already, and adopted
    world.time.advance(200)
    found = rds.describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"]
    changed = [{**one, "Status": "a-state-to-come"} for one in found]
    world.answer("rds", "DescribeDBInstanceAutomatedBackups", {"DBInstanceAutomatedBackups": changed})
    assert module.observe(SQLSERVER).progress is Progress.IN_PROGRESS
    world.forget_answers()
    rds.stop_db_instance_automated_backups_replication(SourceDBInstanceArn=scenes.arn(STANDBY))
    assert module.observe(SQLSERVER).progress is Progress.NOT_STARTED
    assert replicate(world) is Progress.DONE


def test_a_copy_in_a_bad_state_says_so(world: World) -> None:
    scenes.cleaned_up(world)
    world.answer("rds", START, error("InvalidDBInstanceAutomatedBackupState"), status=400)
    with pytest.raises(ModuleError) as raised:
        replicate(world)
    assert raised.value.code == "InvalidDBInstanceAutomatedBackupState"


def test_the_standing_copy_of_the_old_side_is_not_the_new_one(world: World) -> None:
    """After a failover the old instance's backups are still copied to the Region that serves now."""
    scenes.failed_over(world)
    with pytest.raises(ModuleError, match="has taken over from") as raised:
        replicate(world, region=STANDBY)
    assert (raised.value.code, world.changes) == ("LiveSide", [])


@pytest.mark.parametrize(
    ("options", "raw", "expected"),
    [
        ({}, {}, []),
        ({"BackupRetentionPeriod": 0}, {}, ["NoAutomatedBackups"]),
        ({"StorageEncrypted": True}, {}, ["NoKey"]),
        ({"StorageEncrypted": True}, {"KmsKeyId": "alias/sql"}, []),
        ({"StorageEncrypted": True}, {"KmsKeyId": f"arn:aws:kms:{STANDBY}:{ACCOUNT}:key/1"}, ["WrongKeyRegion"]),
        ({}, {"DBInstanceIdentifierSource": "nowhere"}, ["NoSource"]),
    ],
)
def test_preflight_looks_at_the_source(world: World, options: dict[str, Any], raw: dict[str, Any], expected: list[str]) -> None:
    scenes.instance(world, STANDBY, **options)
    asked = {**SQLSERVER, **raw}
    found = world.module(SqlServer, REPLICATE, region=PRIMARY).obstacles(asked)
    assert [one.code for one in found] == expected
    unseen = world.module(SqlServer, REPLICATE, Mode.UNPLANNED, region=PRIMARY).obstacles(asked)
    assert [one.code for one in unseen] == [code for code in expected if code == "WrongKeyRegion"]
    turn("rebooting", STANDBY)
    busy = world.module(SqlServer, REPLICATE, region=PRIMARY).obstacles(SQLSERVER)
    assert "SourceNotAvailable" in [one.code for one in busy]


def test_an_encrypted_source_is_copied_with_a_key_of_the_target_region(world: World) -> None:
    scenes.instance(world, STANDBY, StorageEncrypted=True)
    key = world.client("kms", PRIMARY).create_key()["KeyMetadata"]["Arn"]
    assert replicate(world, raw={**SQLSERVER, "KmsKeyId": key}) is Progress.DONE
    assert scenes.backup(world, PRIMARY)["KmsKeyId"] == key


def test_a_drill_does_not_replicate(world: World) -> None:
    scenes.cleaned_up(world)
    with pytest.raises(ModuleError) as raised:
        world.module(SqlServer, REPLICATE, Mode.DRILL, region=PRIMARY).start(SQLSERVER, again=True)
    assert (raised.value.code, world.changes) == ("RefusedInDrill", [])


# There and back


def test_the_way_back_restores_what_cleanup_stored(world: World) -> None:
    scenes.failed_over(world)
    assert cleanup(world) is Progress.DONE
    assert replicate(world) is Progress.DONE
    world.time.advance(1200)
    assert world.drive(SqlServer, ACTIVATE, SQLSERVER, region=PRIMARY).progress is Progress.DONE
    found = world.client("rds", PRIMARY).describe_db_instances()["DBInstances"][0]
    assert (found["DBInstanceClass"], found["DeletionProtection"]) == ("db.m5.xlarge", True)
    assert world.drive(SqlServer, CLEANUP, SQLSERVER, region=STANDBY).progress is Progress.DONE
    assert world.drive(SqlServer, REPLICATE, SQLSERVER, region=STANDBY).progress is Progress.DONE
    assert stored(world, STANDBY)["OptionGroupName"] == "backups"
    assert (scenes.statuses(world), scenes.statuses(world, PRIMARY)) == ({}, {NAME: "available"})
