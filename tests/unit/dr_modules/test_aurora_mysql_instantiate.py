"""AuroraMySQL, INSTANTIATE: the instances that the standby's cluster lacks."""

from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.aurora_mysql import AuroraMySQL
from dr_modules.base import Progress
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World, error
from tests.support.scenes import AURORA

READERS = {**AURORA, "DBInstanceIdentifier": ["reader-1", "Reader-2"]}
INSTANTIATE, ACTIVATE, CLEANUP = Phase.INSTANTIATE, Phase.ACTIVATE, Phase.CLEANUP


@pytest.mark.parametrize("there", [(), ("reader-1",), ("reader-1", "reader-2")], ids=["fresh", "half-way", "done already"])
@pytest.mark.parametrize("mode", list(Mode))
def test_the_cluster_gets_the_instances_that_it_lacks(world: World, there: tuple[str, ...], mode: Mode) -> None:
    scenes.aurora(world, there)
    named = {**READERS, "DBInstanceClass": "db.r6g.large"}

    assert world.drive(AuroraMySQL, INSTANTIATE, named, mode).progress is Progress.DONE
    assert scenes.classes(world) == {"reader-1": "db.r6g.large", "reader-2": "db.r6g.large"}
    assert world.changes == ["CreateDBInstance"] * (2 - len(there))
    world.calls.clear()
    assert world.drive(AuroraMySQL, INSTANTIATE, named, mode).progress is Progress.DONE
    assert world.changes == []


def test_a_planned_run_takes_the_class_of_the_writer(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, INSTANTIATE, READERS)
    assert scenes.classes(world) == {"reader-1": "db.r6g.large", "reader-2": "db.r6g.2xlarge"}


def test_an_unplanned_run_takes_the_class_of_a_neighbour_and_never_calls_the_peer(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, INSTANTIATE, READERS, Mode.UNPLANNED)
    assert scenes.classes(world) == {"reader-1": "db.r6g.large", "reader-2": "db.r6g.large"}
    assert {call.region for call in world.calls} == {STANDBY}


def test_a_writer_in_a_third_region_is_not_looked_for_in_the_peer(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    elsewhere = [scenes.member("eu-west-1", True), scenes.member(STANDBY, False)]
    scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": elsewhere}, without=("FailoverState",))
    world.module(AuroraMySQL, INSTANTIATE).start(READERS, again=True)
    assert {call.region for call in world.calls} == {STANDBY}


@pytest.mark.parametrize("mode", [Mode.UNPLANNED, Mode.DRILL])
def test_an_unknown_class_fails_before_anything_is_created(world: World, mode: Mode) -> None:
    scenes.aurora(world)
    module = world.module(AuroraMySQL, INSTANTIATE, mode)
    assert [found.code for found in module.obstacles(READERS)] == ["UnknownInstanceClass"]
    with pytest.raises(ModuleError, match="name DBInstanceClass in the manifest") as raised:
        module.start(READERS, again=True)
    assert raised.value.error_class is ErrorClass.TERMINAL
    assert world.changes == []


def test_created_is_not_available(world: World) -> None:
    scenes.aurora(world)
    module = world.module(AuroraMySQL, INSTANTIATE)
    module.start(READERS, again=True)
    status = module.observe(READERS)
    assert status.progress is Progress.IN_PROGRESS
    assert "instance reader-1 is creating" in status.detail


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("available", Progress.DONE),
        ("a-state-to-come", Progress.IN_PROGRESS),
        ("failed", Progress.FAILED),
        ("storage-full", Progress.FAILED),
        ("incompatible-network", Progress.FAILED),
        ("inaccessible-encryption-credentials", Progress.FAILED),
        ("restore-error", Progress.FAILED),
        ("upgrade-failed", Progress.FAILED),
        ("stopped", Progress.FAILED),
    ],
)
def test_the_states_of_an_instance(world: World, status: str, expected: Progress) -> None:
    scenes.aurora(world, ("reader-1",))
    scenes.put(world, "DescribeDBInstances", "DBInstances", {"DBInstanceStatus": status})
    seen = world.module(AuroraMySQL, INSTANTIATE).observe({**AURORA, "DBInstanceIdentifier": "reader-1"})
    assert seen.progress is expected
    assert status in seen.detail
    assert seen.code == (status if expected is Progress.FAILED else None)


def test_an_instance_that_the_cluster_does_not_list_is_not_done(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    scenes.put(world, "DescribeDBClusters", "DBClusters", {"DBClusterMembers": []})
    seen = world.module(AuroraMySQL, INSTANTIATE).observe({**AURORA, "DBInstanceIdentifier": "reader-1"})
    assert seen.progress is Progress.IN_PROGRESS


def test_an_instance_created_by_somebody_meanwhile_is_adopted(world: World) -> None:
    scenes.aurora(world)
    world.answer("rds", "CreateDBInstance", error("DBInstanceAlreadyExists"), status=400)
    world.module(AuroraMySQL, INSTANTIATE).start({**READERS, "DBInstanceClass": "db.r6g.large"}, again=True)


@pytest.mark.parametrize("phase", [INSTANTIATE, CLEANUP])
def test_an_instance_of_another_cluster_is_never_touched(world: World, phase: Phase) -> None:
    rds = scenes.aurora(world)
    rds.create_db_cluster(DBClusterIdentifier="other", Engine="aurora-mysql", MasterUsername="root", MasterUserPassword="password1")
    rds.create_db_instance(
        DBInstanceIdentifier="reader-1", DBClusterIdentifier="other", Engine="aurora-mysql", DBInstanceClass="db.r6g.large"
    )
    world.time.advance(120)
    with pytest.raises(ModuleError, match="belongs to cluster other") as raised:
        world.module(AuroraMySQL, phase).start({**READERS, "Force": "Yes"}, again=True)
    assert raised.value.error_class is ErrorClass.TERMINAL
    assert world.changes == []


def test_missing_clusters_fail_with_the_remedy(world: World) -> None:
    with pytest.raises(ModuleError, match="there is no cluster aurora-prod in us-west-2: correct DBClusterIdentifier") as raised:
        world.module(AuroraMySQL, INSTANTIATE).observe(READERS)
    assert raised.value.error_class is ErrorClass.TERMINAL
    scenes.lone_cluster(world, ())
    with pytest.raises(ModuleError, match="there is no global cluster global-aurora: correct GlobalClusterIdentifier"):
        world.module(AuroraMySQL, ACTIVATE).observe(AURORA)


# before anything is created


def finding(world: World, **more: Any) -> list[str]:
    return [found.code for found in world.module(AuroraMySQL, INSTANTIATE).obstacles({**READERS, **more})]


def quota(world: World, used: int, most: int) -> None:
    answer = {"AccountQuotas": [{"AccountQuotaName": "DBInstances", "Used": used, "Max": most}]}
    world.answer("rds", "DescribeAccountAttributes", answer)


@pytest.mark.parametrize(
    ("there", "used", "expected"),
    [((), 38, []), ((), 39, ["InstanceQuotaExceeded"]), (("reader-1",), 39, []), (("reader-1",), 40, ["InstanceQuotaExceeded"])],
)
def test_the_quota_of_the_target_region_must_hold_what_is_missing(
    world: World, there: tuple[str, ...], used: int, expected: list[str]
) -> None:
    scenes.aurora(world, there)
    quota(world, used, 40)
    assert finding(world) == expected
    calls = [call for call in world.calls if call.operation == "DescribeAccountAttributes"]
    assert {call.region for call in calls} == {STANDBY}


def test_a_quota_that_is_exceeded_is_not_tried_again(world: World) -> None:
    scenes.aurora(world)
    world.answer("rds", "CreateDBInstance", error("InstanceQuotaExceeded"), status=400)
    with pytest.raises(ModuleError) as raised:
        world.module(AuroraMySQL, INSTANTIATE).start(READERS, again=True)
    assert raised.value.error_class is ErrorClass.TERMINAL


@pytest.mark.parametrize(("name", "expected"), [("db.r6g.large", []), ("db.m1.small", ["InstanceClassNotOrderable"])])
def test_a_class_that_the_region_does_not_offer_is_found(world: World, name: str, expected: list[str]) -> None:
    scenes.aurora(world)
    assert finding(world, DBInstanceClass=name) == expected


def test_a_replica_that_is_out_of_sync_is_told(world: World) -> None:
    scenes.aurora(world)
    behind = [scenes.member(PRIMARY, True), scenes.member(STANDBY, False, "pending-resync")]
    scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": behind}, without=("FailoverState",))
    assert finding(world) == ["OutOfSync"]


@pytest.mark.parametrize(
    ("members", "code"), [([], "NotAMember"), (None, "GlobalClusterNotFoundFault")], ids=["not a member", "no global cluster"]
)
def test_a_global_cluster_that_does_not_hold_the_cluster_is_found(world: World, members: Any, code: str) -> None:
    scenes.aurora(world, ("reader-1",))
    if members is None:
        assert finding(world, GlobalClusterIdentifier="other", DBInstanceClass="db.r6g.large") == [code]
    else:
        alone = {"GlobalClusterMembers": [scenes.member(PRIMARY, True)]}
        scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", alone, without=("FailoverState",))
        assert finding(world, DBInstanceClass="db.r6g.large") == [code]


def test_preflight_finds_nothing_where_nothing_is_missing_and_changes_nothing(world: World) -> None:
    scenes.aurora(world)
    assert finding(world) == []
    assert world.changes == []
