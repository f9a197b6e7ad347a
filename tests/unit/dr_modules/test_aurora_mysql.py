"""AuroraMySQL: readers, failover, cleanup and the new secondary, in the Regions of one global cluster."""

from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.aurora_mysql import AuroraMySQL
from dr_modules.base import Progress
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World, error
from tests.support.scenes import AURORA, CLUSTER, GLOBAL

READERS = {**AURORA, "DBInstanceIdentifier": ["reader-1", "Reader-2"]}
INSTANTIATE, ACTIVATE, CLEANUP, REPLICATE = Phase.INSTANTIATE, Phase.ACTIVATE, Phase.CLEANUP, Phase.REPLICATE


def classes(world: World, region: str = STANDBY) -> dict[str, str]:
    """The instances of the Region's cluster that are available, with their classes."""
    found = world.client("rds", region).describe_db_instances()["DBInstances"]
    return {one["DBInstanceIdentifier"]: one["DBInstanceClass"] for one in found if one["DBInstanceStatus"] == "available"}


def put(world: World, operation: str, key: str, changed: dict[str, Any], without: tuple[str, ...] = ()) -> None:
    """Answer a describe operation as the emulator does now, but for what is `changed`."""
    verb = {"DescribeDBClusters": "describe_db_clusters", "DescribeDBInstances": "describe_db_instances"}.get(
        operation, "describe_global_clusters"
    )
    found = getattr(world.client("rds"), verb)()[key][0]
    world.answer("rds", operation, {key: [{k: v for k, v in {**found, **changed}.items() if k not in without}]})


# INSTANTIATE


@pytest.mark.parametrize("there", [(), ("reader-1",), ("reader-1", "reader-2")], ids=["fresh", "half-way", "done already"])
@pytest.mark.parametrize("mode", list(Mode))
def test_the_cluster_gets_the_instances_that_it_lacks(world: World, there: tuple[str, ...], mode: Mode) -> None:
    scenes.aurora(world, there)
    named = {**READERS, "DBInstanceClass": "db.r6g.large"}

    assert world.drive(AuroraMySQL, INSTANTIATE, named, mode).progress is Progress.DONE
    assert classes(world) == {"reader-1": "db.r6g.large", "reader-2": "db.r6g.large"}
    assert world.changes == ["CreateDBInstance"] * (2 - len(there))
    world.calls.clear()
    assert world.drive(AuroraMySQL, INSTANTIATE, named, mode).progress is Progress.DONE
    assert world.changes == []


def test_a_planned_run_takes_the_class_of_the_writer(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, INSTANTIATE, READERS)
    assert classes(world) == {"reader-1": "db.r6g.large", "reader-2": "db.r6g.2xlarge"}


def test_an_unplanned_run_takes_the_class_of_a_neighbour_and_never_calls_the_peer(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, INSTANTIATE, READERS, Mode.UNPLANNED)
    assert classes(world) == {"reader-1": "db.r6g.large", "reader-2": "db.r6g.large"}
    assert {call.region for call in world.calls} == {STANDBY}


def test_a_writer_in_a_third_region_is_not_looked_for_in_the_peer(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    elsewhere = [member("eu-west-1", True), member(STANDBY, False)]
    put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": elsewhere}, without=("FailoverState",))
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
    put(world, "DescribeDBInstances", "DBInstances", {"DBInstanceStatus": status})
    seen = world.module(AuroraMySQL, INSTANTIATE).observe({**AURORA, "DBInstanceIdentifier": "reader-1"})
    assert seen.progress is expected
    assert status in seen.detail
    assert seen.code == (status if expected is Progress.FAILED else None)


def test_an_instance_that_the_cluster_does_not_list_is_not_done(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    put(world, "DescribeDBClusters", "DBClusters", {"DBClusterMembers": []})
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


# ACTIVATE


@pytest.mark.parametrize(("mode", "call"), [(Mode.PLANNED, "SwitchoverGlobalCluster"), (Mode.UNPLANNED, "FailoverGlobalCluster")])
def test_the_standby_becomes_the_writer(world: World, mode: Mode, call: str) -> None:
    scenes.aurora(world, ("reader-1",))

    status = world.drive(AuroraMySQL, ACTIVATE, AURORA, mode)

    assert status.progress is Progress.DONE, status
    assert scenes.writers(world) == [STANDBY]
    assert world.changes == [call]
    made = next(one for one in world.calls if one.changes)
    assert made.parameters["TargetDbClusterIdentifier"] == scenes.arn(STANDBY)
    assert made.parameters.get("AllowDataLoss", False) is (mode is Mode.UNPLANNED)
    assert {one.region for one in world.calls} == {STANDBY}
    world.calls.clear()
    assert world.drive(AuroraMySQL, ACTIVATE, AURORA, mode).progress is Progress.DONE
    assert world.changes == []


def test_a_failover_is_followed_to_its_end(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    module = world.module(AuroraMySQL, ACTIVATE)
    assert module.observe(AURORA).progress is Progress.NOT_STARTED
    module.start(AURORA, again=True)
    assert "pending" in module.observe(AURORA).detail
    world.time.advance(6)
    status = module.observe(AURORA)
    assert status.progress is Progress.IN_PROGRESS
    assert "failing-over" in status.detail


def test_a_failover_that_somebody_began_is_adopted(world: World) -> None:
    rds = scenes.aurora(world, ("reader-1",))
    rds.switchover_global_cluster(GlobalClusterIdentifier=GLOBAL, TargetDbClusterIdentifier=scenes.arn())
    assert world.drive(AuroraMySQL, ACTIVATE, AURORA).progress is Progress.DONE
    assert world.changes == []


def test_a_failover_that_begins_between_look_and_act_is_adopted(world: World) -> None:
    rds = scenes.aurora(world, ("reader-1",))
    module = world.module(AuroraMySQL, ACTIVATE)
    parameters = module.parse(AURORA)[0]
    rds.switchover_global_cluster(GlobalClusterIdentifier=GLOBAL, TargetDbClusterIdentifier=scenes.arn())
    module.activate(parameters)  # RDS answers InvalidGlobalClusterStateFault
    assert world.changes == ["SwitchoverGlobalCluster"]


def test_a_global_cluster_busy_with_something_else_is_not_adopted(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.answer("rds", "SwitchoverGlobalCluster", error("InvalidGlobalClusterStateFault"), status=400)
    with pytest.raises(ModuleError) as raised:
        world.module(AuroraMySQL, ACTIVATE).start(AURORA, again=True)
    assert (raised.value.code, raised.value.error_class) == ("InvalidGlobalClusterStateFault", ErrorClass.RETRYABLE)


def test_a_failover_to_another_region_is_not_ours(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    state = {"Status": "failing-over", "ToDbClusterArn": scenes.arn("eu-west-1")}
    put(world, "DescribeGlobalClusters", "GlobalClusters", {"FailoverState": state})
    with pytest.raises(ModuleError, match="retry when it has ended"):
        world.module(AuroraMySQL, ACTIVATE).observe(AURORA)


def member(region: str, writer: bool, synchronization: str = "connected") -> dict[str, Any]:
    return {"DBClusterArn": scenes.arn(region), "IsWriter": writer, "Readers": [], "SynchronizationStatus": synchronization}


OURS, THEIRS = [member(PRIMARY, False), member(STANDBY, True)], [member(PRIMARY, True), member(STANDBY, False)]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"GlobalClusterMembers": OURS}, Progress.DONE),
        ({"GlobalClusterMembers": THEIRS}, Progress.NOT_STARTED),
        ({"GlobalClusterMembers": [member(PRIMARY, False), member(STANDBY, False)]}, Progress.NOT_STARTED),
        ({"GlobalClusterMembers": OURS, "Status": "modifying"}, Progress.IN_PROGRESS),
        ({"GlobalClusterMembers": OURS, "Status": "a-state-to-come"}, Progress.IN_PROGRESS),
        ({"GlobalClusterMembers": THEIRS, "Status": "failing-over"}, Progress.IN_PROGRESS),
        (
            {"GlobalClusterMembers": OURS, "FailoverState": {"Status": "failing-over", "ToDbClusterArn": scenes.arn()}},
            Progress.IN_PROGRESS,
        ),
    ],
)
def test_what_counts_as_failed_over(world: World, changed: dict[str, Any], expected: Progress) -> None:
    scenes.aurora(world, ("reader-1",))
    put(world, "DescribeGlobalClusters", "GlobalClusters", changed, without=() if "FailoverState" in changed else ("FailoverState",))
    assert world.module(AuroraMySQL, ACTIVATE).observe(AURORA).progress is expected


@pytest.mark.parametrize(
    ("operation", "key", "changed", "expected"),
    [
        ("DescribeDBClusters", "DBClusters", {"Status": "modifying"}, Progress.IN_PROGRESS),
        ("DescribeDBClusters", "DBClusters", {"Status": "incompatible-parameters"}, Progress.FAILED),
        ("DescribeDBInstances", "DBInstances", {"DBInstanceStatus": "rebooting"}, Progress.IN_PROGRESS),
        ("DescribeDBInstances", "DBInstances", {"DBInstanceStatus": "failed"}, Progress.FAILED),
    ],
)
def test_a_writer_that_does_not_serve_is_not_done(world: World, operation: str, key: str, changed: Any, expected: Progress) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, ACTIVATE, AURORA)
    put(world, operation, key, changed)
    assert world.module(AuroraMySQL, ACTIVATE).observe(AURORA).progress is expected


def test_a_writer_without_instances_is_failed(world: World) -> None:
    scenes.aurora(world)
    put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": OURS}, without=("FailoverState",))
    assert world.module(AuroraMySQL, ACTIVATE).observe(AURORA).code == "NoInstances"


def test_a_cluster_without_instances_is_not_failed_over_to(world: World) -> None:
    scenes.aurora(world)
    with pytest.raises(ModuleError, match="run INSTANTIATE first"):
        world.module(AuroraMySQL, ACTIVATE, Mode.UNPLANNED).start(AURORA, again=True)
    assert world.changes == []


def test_a_drill_refuses(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    module = world.module(AuroraMySQL, ACTIVATE, Mode.DRILL)
    assert [found.code for found in module.obstacles(AURORA)] == ["RefusedInDrill"]
    with pytest.raises(ModuleError, match="a drill does not fail over a database"):
        module.start(AURORA, again=True)
    assert world.changes == []


def test_a_switchover_waits_for_a_secondary_that_is_behind(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    behind = [member(PRIMARY, True), member(STANDBY, False, "pending-resync")]
    put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": behind}, without=("FailoverState",))
    assert [found.code for found in world.module(AuroraMySQL, ACTIVATE).obstacles(AURORA)] == ["OutOfSync"]
    assert world.module(AuroraMySQL, ACTIVATE, Mode.UNPLANNED).obstacles(AURORA) == []


def test_a_cluster_that_has_left_the_global_cluster_is_named(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": [member(PRIMARY, True)]}, without=("FailoverState",))
    with pytest.raises(ModuleError, match="is not in global cluster global-aurora"):
        world.module(AuroraMySQL, ACTIVATE).observe(AURORA)


def test_without_a_global_cluster_the_listed_instance_becomes_the_writer(world: World) -> None:
    rds = scenes.lone_cluster(world, ("one", "two"))
    within = {"DBClusterIdentifier": CLUSTER, "DBInstanceIdentifier": "two"}
    module = world.module(AuroraMySQL, ACTIVATE)
    module.start(within, again=True)
    assert module.observe(within).progress is Progress.IN_PROGRESS
    assert world.drive(AuroraMySQL, ACTIVATE, within).progress is Progress.DONE
    members = rds.describe_db_clusters(DBClusterIdentifier=CLUSTER)["DBClusters"][0]["DBClusterMembers"]
    assert [one["DBInstanceIdentifier"] for one in members if one["IsClusterWriter"]] == ["two"]
    assert world.changes == ["FailoverDBCluster"]


def test_an_answer_that_never_came_is_ambiguous(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.answer("rds", "SwitchoverGlobalCluster", ConnectTimeoutError(endpoint_url="https://rds"))
    with pytest.raises(ModuleError) as raised:
        world.module(AuroraMySQL, ACTIVATE).start(AURORA, again=True)
    assert raised.value.error_class is ErrorClass.AMBIGUOUS


# CLEANUP

WRITERS = {**AURORA, "DBInstanceIdentifier": ["writer-1", "writer-2"]}


def test_the_old_side_loses_its_instances_and_keeps_its_backups(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, ACTIVATE, AURORA)
    world.calls.clear()
    module = world.module(AuroraMySQL, CLEANUP, region=PRIMARY)
    module.start(WRITERS, again=True)
    assert module.observe(WRITERS).progress is Progress.IN_PROGRESS

    assert world.drive(AuroraMySQL, CLEANUP, WRITERS, region=PRIMARY).progress is Progress.DONE
    assert classes(world, PRIMARY) == {}
    deletions = [call.parameters for call in world.calls if call.changes]
    assert [(d["DeleteAutomatedBackups"], d["SkipFinalSnapshot"]) for d in deletions] == [(False, True)] * 2
    assert {call.region for call in world.calls} == {PRIMARY}
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
    assert set(classes(world, PRIMARY)) == {"writer-1", "writer-2"}


@pytest.mark.parametrize("force", [True, "true", "Yes"])
def test_force_deletes_the_live_side(world: World, force: object) -> None:
    scenes.aurora(world)
    assert world.drive(AuroraMySQL, CLEANUP, {**WRITERS, "Force": force}, region=PRIMARY).progress is Progress.DONE
    assert classes(world, PRIMARY) == {}


def test_nothing_is_deleted_while_the_roles_change(world: World) -> None:
    rds = scenes.aurora(world, ("reader-1",))
    rds.switchover_global_cluster(GlobalClusterIdentifier=GLOBAL, TargetDbClusterIdentifier=scenes.arn())
    with pytest.raises(ModuleError, match="retry when it has ended") as raised:
        world.module(AuroraMySQL, CLEANUP, region=PRIMARY).start(WRITERS, again=True)
    assert raised.value.code == "FailoverUnderWay"


def test_a_global_cluster_without_writer_protects_every_side(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    nobody = [member(PRIMARY, False), member(STANDBY, False)]
    put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": nobody}, without=("FailoverState",))
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


# REPLICATE

BACK = {**AURORA, "DBInstanceIdentifier": ["writer-1"]}
NEW = {**AURORA, "DBInstanceIdentifier": ["east-1"]}


def failed_over(world: World) -> Any:
    """us-west-2 is the writer; returns the client of us-east-1, where the replica shall be."""
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, ACTIVATE, AURORA)
    world.calls.clear()
    return world.client("rds", PRIMARY)


def remove(world: World, rds: Any, delete: bool = False) -> None:
    """Take us-east-1's cluster out of the global cluster, and delete it."""
    rds.remove_from_global_cluster(GlobalClusterIdentifier=GLOBAL, DbClusterIdentifier=scenes.arn(PRIMARY))
    world.time.advance(60)
    if delete:
        for name in ("writer-1", "writer-2"):
            rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
        rds.delete_db_cluster(DBClusterIdentifier=CLUSTER, SkipFinalSnapshot=True)
        world.time.advance(60)


def members(world: World) -> dict[str, bool]:
    """The Regions of the global cluster, with whether each is the writer."""
    found = world.client("rds").describe_global_clusters(GlobalClusterIdentifier=GLOBAL)["GlobalClusters"][0]
    return {one["DBClusterArn"].split(":")[3]: one["IsWriter"] for one in found["GlobalClusterMembers"]}


def test_a_secondary_that_aurora_itself_kept_is_done(world: World) -> None:
    failed_over(world)
    assert world.drive(AuroraMySQL, REPLICATE, BACK, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []


def test_a_secondary_without_its_instances_gets_them(world: World) -> None:
    rds = failed_over(world)
    for name in ("writer-1", "writer-2"):
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    world.time.advance(60)
    assert world.drive(AuroraMySQL, REPLICATE, NEW, region=PRIMARY).progress is Progress.DONE
    assert classes(world, PRIMARY) == {"east-1": "db.r6g.large"}  # the class of the writer, now in us-west-2
    assert world.changes == ["CreateDBInstance"]


def test_a_cluster_that_is_gone_is_created_as_secondary_with_its_instances(world: World) -> None:
    remove(world, failed_over(world), delete=True)

    assert world.drive(AuroraMySQL, REPLICATE, NEW, region=PRIMARY).progress is Progress.DONE

    assert members(world) == {STANDBY: True, PRIMARY: False}
    assert classes(world, PRIMARY) == {"east-1": "db.r6g.large"}
    assert world.changes == ["CreateDBCluster", "CreateDBInstance"]
    made = next(call for call in world.calls if call.changes)
    assert made.parameters["EngineVersion"] == "8.0.mysql_aurora.3.08.0"
    assert "KmsKeyId" not in made.parameters
    world.calls.clear()
    assert world.drive(AuroraMySQL, REPLICATE, NEW, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []


def test_instances_that_a_new_cluster_does_not_take_yet_come_in_the_next_step(world: World) -> None:
    remove(world, failed_over(world), delete=True)
    module = world.module(AuroraMySQL, REPLICATE, region=PRIMARY)
    world.answer("rds", "CreateDBInstance", error("InvalidDBClusterStateFault"), status=400)
    module.start(NEW, again=True)
    assert module.observe(NEW).progress is Progress.IN_PROGRESS
    world.forget_answers()
    world.time.advance(60)
    assert module.observe(NEW).progress is Progress.NOT_STARTED
    assert world.drive(AuroraMySQL, REPLICATE, NEW, region=PRIMARY).progress is Progress.DONE


def test_the_secondary_is_encrypted_as_the_writer_is_and_placed_as_the_manifest_says(world: World) -> None:
    remove(world, failed_over(world), delete=True)
    put(world, "DescribeGlobalClusters", "GlobalClusters", {"StorageEncrypted": True}, without=("FailoverState",))
    world.answer("rds", "CreateDBCluster", error("DBClusterAlreadyExistsFault"), status=400)
    placed = {**AURORA, "DBSubnetGroupName": "private", "VpcSecurityGroupIds": ["sg-1", "sg-2"]}
    for parameters in (placed, {**AURORA, "KmsKeyId": "alias/shop"}):
        world.module(AuroraMySQL, REPLICATE, region=PRIMARY).start(parameters, again=True)
    first, second = (call.parameters for call in world.calls if call.operation == "CreateDBCluster")
    assert (first["StorageEncrypted"], first["KmsKeyId"]) == (True, "alias/aws/rds")
    assert (first["DBSubnetGroupName"], first["VpcSecurityGroupIds"]) == ("private", ["sg-1", "sg-2"])
    assert second["KmsKeyId"] == "alias/shop"


def test_a_cluster_that_left_is_not_deleted_unasked(world: World) -> None:
    remove(world, failed_over(world))
    module = world.module(AuroraMySQL, REPLICATE, region=PRIMARY)
    assert [found.code for found in module.obstacles(BACK)] == ["Detached"]
    with pytest.raises(ModuleError, match='set "Force": true to have it deleted with a final snapshot') as raised:
        module.start(BACK, again=True)
    assert raised.value.error_class is ErrorClass.TERMINAL
    assert world.changes == []


def test_force_replaces_a_cluster_that_left_and_keeps_its_data_and_its_place(world: World) -> None:
    rds = failed_over(world)
    remove(world, rds)
    group = world.client("ec2", PRIMARY).create_security_group(GroupName="db", Description="db")["GroupId"]
    rds.modify_db_cluster(DBClusterIdentifier=CLUSTER, VpcSecurityGroupIds=[group])

    status = world.drive(AuroraMySQL, REPLICATE, {**NEW, "Force": True}, Mode.UNPLANNED, region=PRIMARY)

    assert status.progress is Progress.DONE, status
    assert members(world) == {STANDBY: True, PRIMARY: False}
    assert world.changes == ["DeleteDBInstance", "DeleteDBInstance", "DeleteDBCluster", "CreateDBCluster", "CreateDBInstance"]
    assert classes(world, PRIMARY) == {"east-1": "db.r6g.2xlarge"}  # as before: the handle kept it
    snapshots = rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
    assert [one["DBClusterSnapshotIdentifier"] for one in snapshots] == ["aurora-prod-final-01execution"]
    deleted = [call.parameters for call in world.calls if call.operation.startswith("Delete")]
    assert {one["DeleteAutomatedBackups"] for one in deleted} == {False}
    created = next(call.parameters for call in world.calls if call.operation == "CreateDBCluster")
    assert created["VpcSecurityGroupIds"] == [group]
    assert {call.region for call in world.calls} == {PRIMARY}


def test_the_writer_is_not_made_a_replica_of_itself(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    with pytest.raises(ModuleError, match="is the writer of global-aurora") as raised:
        world.module(AuroraMySQL, REPLICATE, region=PRIMARY).observe(BACK)
    assert (raised.value.code, raised.value.error_class) == ("LiveSide", ErrorClass.TERMINAL)


def test_a_global_cluster_without_writer_cannot_be_replicated(world: World) -> None:
    remove(world, failed_over(world))
    put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": []}, without=("FailoverState",))
    with pytest.raises(ModuleError) as raised:
        world.module(AuroraMySQL, REPLICATE, region=PRIMARY).start({**BACK, "Force": True}, again=True)
    assert raised.value.code == "NoWriter"
    assert world.changes == []


def test_a_former_writer_that_is_being_synchronised_again_is_not_done(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, ACTIVATE, AURORA, Mode.UNPLANNED)
    world.calls.clear()
    seen = world.module(AuroraMySQL, REPLICATE, region=PRIMARY).observe(BACK)
    assert (seen.progress, "synchronised" in seen.detail) == (Progress.IN_PROGRESS, True)
    assert world.drive(AuroraMySQL, REPLICATE, BACK, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []


@pytest.mark.parametrize(
    ("status", "expected"), [("resynchronizing", Progress.IN_PROGRESS), ("inaccessible-encryption-credentials", Progress.FAILED)]
)
def test_the_states_of_a_secondary(world: World, status: str, expected: Progress) -> None:
    scenes.aurora(world, ("reader-1",))
    put(world, "DescribeDBClusters", "DBClusters", {"Status": status})
    assert world.module(AuroraMySQL, REPLICATE).observe(AURORA).progress is expected


# before anything runs


def test_what_was_before_is_recorded(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    before = world.module(AuroraMySQL, ACTIVATE).record_before(AURORA)
    assert before == [{"globalWriter": scenes.arn(PRIMARY), "instances": {"reader-1": "db.r6g.large"}}]


@pytest.mark.parametrize(
    ("phase", "raw", "keys"),
    [
        (INSTANTIATE, AURORA, ["DBInstanceIdentifier"]),
        (CLEANUP, AURORA, ["DBInstanceIdentifier"]),
        (REPLICATE, {"DBClusterIdentifier": CLUSTER}, ["GlobalClusterIdentifier"]),
        (ACTIVATE, {"DBClusterIdentifier": CLUSTER}, ["GlobalClusterIdentifier"]),
        (ACTIVATE, {"DBClusterIdentifier": CLUSTER, "DBInstanceIdentifier": "two"}, []),
        (ACTIVATE, AURORA, []),
        (INSTANTIATE, READERS, []),
        (REPLICATE, AURORA, []),
    ],
)
def test_what_a_phase_needs(phase: Phase, raw: object, keys: list[str]) -> None:
    assert [key for key, _, _ in AuroraMySQL.check_parameters(phase, AuroraMySQL.parse(raw)[0])] == keys
