"""AuroraMySQL, CLEANUP: the old side's instances go, the live side's never."""

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.aurora_mysql import AuroraMySQL
from dr_modules.base import Progress
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World
from tests.support.scenes import AURORA, CLUSTER, GLOBAL

ACTIVATE, CLEANUP = Phase.ACTIVATE, Phase.CLEANUP

WRITERS = {**AURORA, "DBInstanceIdentifier": ["writer-1", "writer-2"]}


def test_the_old_side_loses_its_instances_and_keeps_its_backups(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, ACTIVATE, AURORA)
    world.calls.clear()
    module = world.module(AuroraMySQL, CLEANUP, region=PRIMARY)
    module.start(WRITERS, again=True)
    assert module.observe(WRITERS).progress is Progress.IN_PROGRESS

    assert world.drive(AuroraMySQL, CLEANUP, WRITERS, region=PRIMARY).progress is Progress.DONE
    assert scenes.classes(world, PRIMARY) == {}
    deletions = [call.parameters for call in world.calls if call.changes]
    assert [(d["DeleteAutomatedBackups"], d["SkipFinalSnapshot"]) for d in deletions] == [(False, True)] * 2
    assert {call.region for call in world.calls if call.changes} == {PRIMARY}
    world.calls.clear()
    assert world.drive(AuroraMySQL, CLEANUP, WRITERS, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []


def test_a_cleanup_goes_on_from_half_way(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, ACTIVATE, AURORA)
    world.client("rds", PRIMARY).delete_db_instance(DBInstanceIdentifier="writer-1", SkipFinalSnapshot=True)
    world.calls.clear()
    assert world.drive(AuroraMySQL, CLEANUP, WRITERS, region=PRIMARY).progress is Progress.DONE
    assert world.changes == ["DeleteDBInstance"]


def test_the_live_side_is_not_deleted(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    module = world.module(AuroraMySQL, CLEANUP, region=PRIMARY)
    assert [found.code for found in module.obstacles(WRITERS)] == ["LiveSide"]
    with pytest.raises(ModuleError, match="is the writer of global-aurora, or none is: fail over first") as raised:
        module.start(WRITERS, again=True)
    assert (raised.value.code, raised.value.error_class) == ("LiveSide", ErrorClass.TERMINAL)
    assert world.changes == []
    assert set(scenes.classes(world, PRIMARY)) == {"writer-1", "writer-2"}


@pytest.mark.parametrize("force", [True, "true", "Yes"])
def test_force_deletes_the_live_side(world: World, force: object) -> None:
    scenes.aurora(world)
    assert world.drive(AuroraMySQL, CLEANUP, {**WRITERS, "Force": force}, region=PRIMARY).progress is Progress.DONE
    assert scenes.classes(world, PRIMARY) == {}


def test_nothing_is_deleted_while_the_roles_change(world: World) -> None:
    rds = scenes.aurora(world, ("reader-1",))
    rds.switchover_global_cluster(GlobalClusterIdentifier=GLOBAL, TargetDbClusterIdentifier=scenes.arn())
    with pytest.raises(ModuleError, match="retry when it has ended") as raised:
        world.module(AuroraMySQL, CLEANUP, region=PRIMARY).start(WRITERS, again=True)
    assert raised.value.code == "FailoverUnderWay"


def test_a_global_cluster_without_writer_protects_every_side(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    nobody = [scenes.member(PRIMARY, False), scenes.member(STANDBY, False)]
    scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": nobody}, without=("FailoverState",))
    with pytest.raises(ModuleError) as raised:
        world.module(AuroraMySQL, CLEANUP).start({**AURORA, "DBInstanceIdentifier": "reader-1"}, again=True)
    assert raised.value.code == "LiveSide"


def test_a_cluster_that_stands_alone_and_serves_is_live(world: World) -> None:
    scenes.lone_cluster(world, ("one",))
    alone = {"DBClusterIdentifier": CLUSTER, "DBInstanceIdentifier": "one"}
    with pytest.raises(ModuleError, match="stands alone and its instance one takes writes") as raised:
        world.module(AuroraMySQL, CLEANUP).start(alone, again=True)
    assert raised.value.code == "LiveSide"
    gone = {**alone, "GlobalClusterIdentifier": "deleted-long-ago"}
    with pytest.raises(ModuleError, match="stands alone"):
        world.module(AuroraMySQL, CLEANUP).start(gone, again=True)
    assert world.changes == []


def test_a_cluster_that_was_promoted_by_hand_is_live(world: World) -> None:
    rds = scenes.aurora(world, ("reader-1",))
    rds.remove_from_global_cluster(GlobalClusterIdentifier=GLOBAL, DbClusterIdentifier=scenes.arn())
    world.time.advance(60)
    with pytest.raises(ModuleError, match="stands alone and its instance reader-1 takes writes"):
        world.module(AuroraMySQL, CLEANUP).start({**AURORA, "DBInstanceIdentifier": "reader-1"}, again=True)
    assert scenes.writers(world) == [PRIMARY]
    assert world.changes == []


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_a_manifest_that_names_the_live_region_is_refused_in_every_mode(world: World, mode: Mode) -> None:
    """The failover is over, us-west-2 serves, and somebody asks to clean up us-west-2."""
    scenes.failed_over(world)
    ours = {**AURORA, "DBInstanceIdentifier": "reader-1"}
    module = world.module(AuroraMySQL, CLEANUP, mode)
    assert [found.code for found in module.obstacles(ours)] == ["LiveSide"]
    with pytest.raises(ModuleError, match="fail over first"):
        module.start(ours, again=True)
    assert world.changes == []


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_the_new_writer_is_looked_at_in_every_mode(world: World, mode: Mode) -> None:
    scenes.failed_over(world)
    world.client("rds").delete_db_instance(DBInstanceIdentifier="reader-1", SkipFinalSnapshot=True)
    world.time.advance(60)
    found = world.module(AuroraMySQL, CLEANUP, mode, region=PRIMARY).obstacles(WRITERS)
    assert [one.code for one in found] == ["WriterWithoutInstances"]
    assert STANDBY in {call.region for call in world.calls}


def test_nothing_stands_in_the_way_of_a_cleanup_after_a_failover(world: World) -> None:
    scenes.failed_over(world)
    assert world.module(AuroraMySQL, CLEANUP, region=PRIMARY).obstacles(WRITERS) == []
    gone = {**WRITERS, "GlobalClusterIdentifier": "gone", "Force": True}
    assert world.module(AuroraMySQL, CLEANUP, region=PRIMARY).obstacles(gone) == []
