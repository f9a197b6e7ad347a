"""AuroraMySQL, REPLICATE: the old side becomes a secondary again."""

from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.aurora_mysql import AuroraMySQL
from dr_modules.base import STARTABLE, Handle, Progress
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World, error
from tests.support.scenes import AURORA, CLUSTER, GLOBAL

ACTIVATE, REPLICATE = Phase.ACTIVATE, Phase.REPLICATE

BACK = {**AURORA, "DBInstanceIdentifier": ["writer-1"]}
NEW = {**AURORA, "DBInstanceIdentifier": ["east-1"]}


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
    scenes.failed_over(world)
    assert world.drive(AuroraMySQL, REPLICATE, BACK, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []


def test_a_secondary_without_its_instances_gets_them(world: World) -> None:
    rds = scenes.failed_over(world)
    for name in ("writer-1", "writer-2"):
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    world.time.advance(60)
    assert world.drive(AuroraMySQL, REPLICATE, NEW, region=PRIMARY).progress is Progress.DONE
    assert scenes.classes(world, PRIMARY) == {"east-1": "db.r6g.large"}  # the class of the writer, now in us-west-2
    assert world.changes == ["CreateDBInstance"]


def test_a_cluster_that_is_gone_is_created_as_secondary_with_its_instances(world: World) -> None:
    remove(world, scenes.failed_over(world), delete=True)

    assert world.drive(AuroraMySQL, REPLICATE, NEW, region=PRIMARY).progress is Progress.DONE

    assert members(world) == {STANDBY: True, PRIMARY: False}
    assert scenes.classes(world, PRIMARY) == {"east-1": "db.r6g.large"}
    assert world.changes == ["CreateDBCluster", "CreateDBInstance"]
    made = next(call for call in world.calls if call.changes)
    assert made.parameters["EngineVersion"] == "8.0.mysql_aurora.3.08.0"
    assert "KmsKeyId" not in made.parameters
    world.calls.clear()
    assert world.drive(AuroraMySQL, REPLICATE, NEW, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []


def test_each_step_begins_when_the_one_before_is_seen_to_be_done(world: World) -> None:
    remove(world, scenes.failed_over(world))
    raw, seen = {**NEW, "Force": True}, []
    handles: list[Handle] = []
    for _ in range(4):
        module = world.module(AuroraMySQL, REPLICATE, region=PRIMARY, handles=handles)
        status = module.observe(raw)
        seen.append(status.progress)
        if status.progress in STARTABLE:
            module.start(raw, again=False)
            handles = module.handles
            assert world.module(AuroraMySQL, REPLICATE, region=PRIMARY, handles=handles).observe(raw).progress is Progress.IN_PROGRESS
        world.time.advance(120)
    assert seen == [Progress.NOT_STARTED, Progress.NEXT_STEP, Progress.NEXT_STEP, Progress.DONE]
    assert AuroraMySQL.attempts(REPLICATE) == 3


def test_a_step_that_was_taken_and_left_nothing_is_not_taken_for_free(world: World) -> None:
    remove(world, scenes.failed_over(world), delete=True)
    lost = world.module(AuroraMySQL, REPLICATE, region=PRIMARY, handles=[{"step": "cluster created"}])
    assert lost.observe(NEW).progress is Progress.NOT_STARTED  # it was deleted again
    world.drive(AuroraMySQL, REPLICATE, NEW, region=PRIMARY)
    world.client("rds", PRIMARY).delete_db_instance(DBInstanceIdentifier="east-1", SkipFinalSnapshot=True)
    world.time.advance(60)
    over = world.module(AuroraMySQL, REPLICATE, region=PRIMARY, handles=[{"step": "instances created"}])
    assert over.observe(NEW).progress is Progress.NOT_STARTED


def test_a_takeover_that_finds_no_handle_goes_on(world: World) -> None:
    rds = scenes.failed_over(world)
    remove(world, rds)
    world.module(AuroraMySQL, REPLICATE, region=PRIMARY).start({**NEW, "Force": True}, again=True)
    world.time.advance(60)  # the cluster is gone, and with the executor its handle
    assert world.drive(AuroraMySQL, REPLICATE, {**NEW, "Force": True}, region=PRIMARY).progress is Progress.DONE


def test_the_secondary_is_encrypted_as_the_writer_is_and_placed_as_the_manifest_says(world: World) -> None:
    remove(world, scenes.failed_over(world), delete=True)
    scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", {"StorageEncrypted": True}, without=("FailoverState",))
    world.answer("rds", "CreateDBCluster", error("DBClusterAlreadyExistsFault"), status=400)
    placed = {**AURORA, "DBSubnetGroupName": "private", "VpcSecurityGroupIds": ["sg-1", "sg-2"]}
    for parameters in (placed, {**AURORA, "KmsKeyId": "alias/shop"}):
        world.module(AuroraMySQL, REPLICATE, region=PRIMARY).start(parameters, again=True)
    first, second = (call.parameters for call in world.calls if call.operation == "CreateDBCluster")
    assert (first["StorageEncrypted"], first["KmsKeyId"]) == (True, "alias/aws/rds")
    assert (first["DBSubnetGroupName"], first["VpcSecurityGroupIds"]) == ("private", ["sg-1", "sg-2"])
    assert second["KmsKeyId"] == "alias/shop"


def test_a_cluster_that_left_is_not_deleted_unasked(world: World) -> None:
    remove(world, scenes.failed_over(world))
    module = world.module(AuroraMySQL, REPLICATE, region=PRIMARY)
    assert [found.code for found in module.obstacles(BACK)] == ["Detached"]
    with pytest.raises(ModuleError, match='set "Force": true to have it deleted with a final snapshot') as raised:
        module.start(BACK, again=True)
    assert raised.value.error_class is ErrorClass.TERMINAL
    assert world.changes == []


def test_force_replaces_a_cluster_that_left_and_keeps_its_data_and_its_place(world: World) -> None:
    rds = scenes.failed_over(world)
    remove(world, rds)
    group = world.client("ec2", PRIMARY).create_security_group(GroupName="db", Description="db")["GroupId"]
    rds.modify_db_cluster(DBClusterIdentifier=CLUSTER, VpcSecurityGroupIds=[group])

    status = world.drive(AuroraMySQL, REPLICATE, {**NEW, "Force": True}, Mode.UNPLANNED, region=PRIMARY)

    assert status.progress is Progress.DONE, status
    assert members(world) == {STANDBY: True, PRIMARY: False}
    assert world.changes == ["DeleteDBInstance", "DeleteDBInstance", "DeleteDBCluster", "CreateDBCluster", "CreateDBInstance"]
    assert scenes.classes(world, PRIMARY) == {"east-1": "db.r6g.2xlarge"}  # as before: the handle kept it
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
    remove(world, scenes.failed_over(world))
    scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": []}, without=("FailoverState",))
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
    scenes.put(world, "DescribeDBClusters", "DBClusters", {"Status": status})
    assert world.module(AuroraMySQL, REPLICATE).observe(AURORA).progress is expected


# before anything is replaced


def finding(world: World, raw: dict[str, Any], mode: Mode = Mode.PLANNED) -> list[str]:
    return [found.code for found in world.module(AuroraMySQL, REPLICATE, mode, region=PRIMARY).obstacles(raw)]


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_what_a_new_secondary_needs_is_looked_for(world: World, mode: Mode) -> None:
    remove(world, scenes.failed_over(world), delete=True)
    raw = {**NEW, "DBInstanceClass": "db.r6g.large"}
    assert finding(world, raw, mode) == []
    named = {**raw, "DBSubnetGroupName": "none", "DBClusterParameterGroupName": "none"}
    assert finding(world, named, mode) == ["DBSubnetGroupNotFoundFault", "DBClusterParameterGroupNotFound"]
    quotas = [{"AccountQuotaName": "DBInstances", "Used": 40, "Max": 40}, {"AccountQuotaName": "DBClusters", "Used": 40, "Max": 40}]
    world.answer("rds", "DescribeAccountAttributes", {"AccountQuotas": quotas})
    assert finding(world, raw, mode) == ["InstanceQuotaExceeded", "DBClusterQuotaExceededFault"]
    assert world.changes == []
    assert (STANDBY in {call.region for call in world.calls}) is (mode is Mode.PLANNED)


def test_what_goes_makes_room_for_what_comes(world: World) -> None:
    rds = scenes.failed_over(world)
    remove(world, rds)
    world.answer("rds", "DescribeAccountAttributes", {"AccountQuotas": [{"AccountQuotaName": "DBInstances", "Used": 40, "Max": 40}]})
    forced = {**NEW, "Force": True}
    assert finding(world, forced) == []
    three = {**forced, "DBInstanceIdentifier": ["east-1", "east-2", "east-3"]}
    assert finding(world, three) == ["InstanceQuotaExceeded"]


def test_a_protected_cluster_cannot_be_replaced(world: World) -> None:
    rds = scenes.failed_over(world)
    remove(world, rds)
    rds.modify_db_cluster(DBClusterIdentifier=CLUSTER, DeletionProtection=True)
    assert finding(world, {**NEW, "Force": True}) == ["DeletionProtection"]


def test_a_writer_without_instances_is_found_ahead(world: World) -> None:
    remove(world, scenes.failed_over(world), delete=True)
    world.client("rds").delete_db_instance(DBInstanceIdentifier="reader-1", SkipFinalSnapshot=True)
    world.time.advance(60)
    assert finding(world, {**NEW, "DBInstanceClass": "db.r6g.large"}) == ["WriterWithoutInstances"]
