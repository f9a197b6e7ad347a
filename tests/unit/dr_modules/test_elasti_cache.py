"""ElastiCache: failover, cleanup and the new secondary, in the Regions of one global datastore."""

from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress, Severity
from dr_modules.elasti_cache import ElastiCache
from localcloud.extension import cloudwatch
from tests.support import elasticache_scenes as scenes
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World, error
from tests.support.elasticache_scenes import EAST, ENDPOINT_KEY, GLOBAL, IN_EAST, IN_WEST, WEST

ACTIVATE, CLEANUP, REPLICATE = Phase.ACTIVATE, Phase.CLEANUP, Phase.REPLICATE
NEW = "sgaui-global-redis"
LAG = ("AWS/ElastiCache", "GlobalDatastoreReplicationLag")
SNAPSHOT = f"{EAST}-final-01execution"


def put(world: World, operation: str, changed: dict[str, Any], region: str = STANDBY) -> None:
    """Answer a describe operation as the emulator does now, but for what is `changed`."""
    cache = world.client("elasticache", region)
    if operation == "DescribeReplicationGroups":
        found, key = cache.describe_replication_groups()["ReplicationGroups"][0], "ReplicationGroups"
    else:
        found, key = cache.describe_global_replication_groups(ShowMemberInfo=True)["GlobalReplicationGroups"][0], "GlobalReplicationGroups"
    world.answer("elasticache", operation, {key: [{**found, **changed}]})


def codes(world: World, phase: Phase, raw: object, mode: Mode = Mode.PLANNED, region: str = STANDBY) -> list[str]:
    return [found.code for found in world.module(ElastiCache, phase, mode, region=region).obstacles(raw)]


# ACTIVATE


def test_a_planned_failover_moves_the_primary_and_the_endpoint(world: World) -> None:
    scenes.datastore(world)
    assert world.drive(ElastiCache, ACTIVATE, IN_WEST).progress is Progress.DONE
    assert scenes.members(world) == {GLOBAL: {EAST: "SECONDARY", WEST: "PRIMARY"}}
    assert scenes.stored(world, ENDPOINT_KEY) == scenes.primary_endpoint(world)
    assert world.changes == ["FailoverGlobalReplicationGroup", "PutParameter"]
    world.calls.clear()
    assert world.drive(ElastiCache, ACTIVATE, IN_WEST).progress is Progress.DONE
    assert world.changes == []


@pytest.mark.parametrize("name", ["global-redis", GLOBAL])
def test_an_unplanned_failover_makes_a_global_datastore_of_the_same_suffix(world: World, name: str) -> None:
    scenes.datastore(world)
    raw = {**IN_WEST, "GlobalClusterIdentifier": name}
    assert world.drive(ElastiCache, ACTIVATE, raw, Mode.UNPLANNED).progress is Progress.DONE
    assert scenes.members(world) == {NEW: {WEST: "PRIMARY"}}
    assert scenes.stored(world, ENDPOINT_KEY) == scenes.primary_endpoint(world)
    assert world.changes == ["DisassociateGlobalReplicationGroup", "CreateGlobalReplicationGroup", "PutParameter"]
    assert {call.region for call in world.calls} == {STANDBY}
    world.calls.clear()
    assert world.drive(ElastiCache, ACTIVATE, raw, Mode.UNPLANNED).progress is Progress.DONE
    assert world.changes == []


@pytest.mark.parametrize("recreated", [False, True])
def test_an_unplanned_failover_goes_on_where_it_stopped(world: World, recreated: bool) -> None:
    scenes.cut_off(world, recreate=recreated)
    assert world.drive(ElastiCache, ACTIVATE, IN_WEST, Mode.UNPLANNED).progress is Progress.DONE
    assert scenes.members(world) == {NEW: {WEST: "PRIMARY"}}
    assert world.changes == ["CreateGlobalReplicationGroup", "PutParameter"][recreated:]


def test_a_suffix_that_is_taken_gets_another_name_that_cleanup_and_replicate_know(world: World) -> None:
    """West to east by a planned failover in the datastore made in the west, which then loses the east."""
    scenes.group(world, WEST, STANDBY)
    west = world.client("elasticache")
    west.create_global_replication_group(GlobalReplicationGroupIdSuffix="global-redis", PrimaryReplicationGroupId=WEST)
    world.time.advance(60)
    scenes.group(world, EAST, PRIMARY, GlobalReplicationGroupId=NEW)
    west.failover_global_replication_group(GlobalReplicationGroupId=NEW, PrimaryRegion=PRIMARY, PrimaryReplicationGroupId=EAST)
    world.time.advance(120)

    assert world.drive(ElastiCache, ACTIVATE, IN_WEST, Mode.UNPLANNED).progress is Progress.DONE
    again = f"{NEW}-dr-xecution"
    assert scenes.members(world) == {again: {WEST: "PRIMARY"}}
    assert world.drive(ElastiCache, CLEANUP, IN_EAST, region=PRIMARY).progress is Progress.DONE
    assert world.drive(ElastiCache, REPLICATE, IN_EAST, region=PRIMARY).progress is Progress.DONE
    assert scenes.members(world) == {again: {WEST: "PRIMARY", EAST: "SECONDARY"}}


@pytest.mark.parametrize(
    ("before", "keeps_port"), [(None, True), ("redis-east.cache:6379", True), ("redis-east.cache", False)], ids=["new", "port", "address"]
)
def test_the_endpoint_is_worded_as_before(world: World, before: str | None, keeps_port: bool) -> None:
    scenes.datastore(world)
    if before:
        world.client("ssm").put_parameter(Name=ENDPOINT_KEY, Value=before, Type="String")
    world.drive(ElastiCache, ACTIVATE, IN_WEST)
    endpoint = scenes.primary_endpoint(world)
    assert scenes.stored(world, ENDPOINT_KEY) == (endpoint if keeps_port else endpoint.partition(":")[0])


def test_a_primary_whose_endpoint_is_not_stored_is_not_done(world: World) -> None:
    scenes.failed_over(world)
    assert world.module(ElastiCache, ACTIVATE).observe(IN_WEST).progress is Progress.NEXT_STEP
    without_key = {key: value for key, value in IN_WEST.items() if key != "ClusterEndpointSSMKey"}
    assert world.module(ElastiCache, ACTIVATE).observe(without_key).progress is Progress.DONE
    put(world, "DescribeReplicationGroups", {"NodeGroups": []})
    assert world.module(ElastiCache, ACTIVATE).observe(IN_WEST).progress is Progress.IN_PROGRESS


@pytest.mark.parametrize("status", ["modifying", "a-state-to-come"])
@pytest.mark.parametrize("operation", ["DescribeReplicationGroups", "DescribeGlobalReplicationGroups"])
@pytest.mark.parametrize("scene", [scenes.datastore, scenes.failed_over, scenes.cut_off])
def test_what_is_not_at_rest_is_in_progress(world: World, scene: Any, operation: str, status: str) -> None:
    scene(world)
    put(world, operation, {"Status": status})
    seen = world.module(ElastiCache, ACTIVATE, Mode.UNPLANNED).observe(IN_WEST)
    assert seen.progress is Progress.IN_PROGRESS
    assert status in seen.detail


def test_a_failed_group_is_a_failure_and_an_unknown_place_is_in_progress(world: World) -> None:
    scenes.datastore(world)
    place = {"ReplicationGroupId": WEST, "ReplicationGroupRegion": STANDBY, "Role": "SECONDARY", "Status": "disassociating"}
    put(world, "DescribeGlobalReplicationGroups", {"Members": [place]})
    assert world.module(ElastiCache, ACTIVATE).observe(IN_WEST).progress is Progress.IN_PROGRESS
    put(world, "DescribeGlobalReplicationGroups", {"Members": []})
    with pytest.raises(ModuleError, match="does not show it there") as unclear:
        world.module(ElastiCache, ACTIVATE).observe(IN_WEST)
    assert unclear.value.error_class is ErrorClass.RETRYABLE
    put(world, "DescribeReplicationGroups", {"Status": "create-failed"})
    world.answer("elasticache", "DescribeGlobalReplicationGroups", error("GlobalReplicationGroupNotFoundFault"), 404)
    with pytest.raises(ModuleError, match="does not show it there"):
        world.module(ElastiCache, ACTIVATE).observe(IN_WEST)


def test_a_failover_under_way_by_somebody_else_is_watched(world: World) -> None:
    west = scenes.datastore(world)
    module = world.module(ElastiCache, ACTIVATE)
    west.failover_global_replication_group(GlobalReplicationGroupId=GLOBAL, PrimaryRegion=STANDBY, PrimaryReplicationGroupId=WEST)
    module.activate(module.parse(IN_WEST)[0])
    assert world.drive(ElastiCache, ACTIVATE, IN_WEST).progress is Progress.DONE


def test_a_state_that_forbids_the_step_is_said(world: World) -> None:
    scenes.datastore(world)
    world.answer("elasticache", "FailoverGlobalReplicationGroup", error("InvalidGlobalReplicationGroupState"), 400)
    with pytest.raises(ModuleError) as raised:
        world.module(ElastiCache, ACTIVATE).start(IN_WEST, again=True)
    assert raised.value.error_class is ErrorClass.RETRYABLE


@pytest.mark.parametrize(
    ("raw", "mode", "scene", "expected"),
    [
        (IN_WEST, Mode.DRILL, scenes.datastore, "RefusedInDrill"),
        ({**IN_WEST, "DBClusterIdentifier": "other"}, Mode.PLANNED, scenes.datastore, "ReplicationGroupNotFoundFault"),
        ({**IN_WEST, "GlobalClusterIdentifier": "other"}, Mode.PLANNED, scenes.datastore, "WrongGlobalDatastore"),
        ({**IN_WEST, "GlobalClusterIdentifier": "redis"}, Mode.UNPLANNED, scenes.datastore, "WrongGlobalDatastore"),
        (IN_WEST, Mode.PLANNED, lambda world: scenes.cut_off(world, recreate=False), "NotAMember"),
    ],
)
def test_what_is_wrong_is_found_before_anything_happens(world: World, raw: object, mode: Mode, scene: Any, expected: str) -> None:
    scene(world)
    assert codes(world, ACTIVATE, raw, mode) == [expected]
    with pytest.raises(ModuleError):
        world.module(ElastiCache, ACTIVATE, mode).start(raw, again=True)
    assert world.changes == []


def test_preflight_warns_of_a_group_that_stands_alone_or_cannot_lose_a_node(world: World) -> None:
    scenes.cut_off(world, recreate=False)
    assert codes(world, ACTIVATE, IN_WEST, Mode.UNPLANNED) == ["StandsAlone"]
    put(world, "DescribeReplicationGroups", {"AutomaticFailover": "disabled"})
    found = world.module(ElastiCache, ACTIVATE, Mode.UNPLANNED).obstacles(IN_WEST)
    assert [(one.code, one.severity) for one in found] == [("StandsAlone", Severity.WARNING), ("NoAutomaticFailover", Severity.WARNING)]


def test_the_lag_is_cloudwatchs_in_the_target_region(world: World) -> None:
    scenes.datastore(world)
    lag = world.module(ElastiCache, ACTIVATE, Mode.UNPLANNED).lag
    assert lag(IN_WEST) == 1.0
    cloudwatch.hold(ACCOUNT, STANDBY, *LAG, 95.0)
    assert lag(IN_WEST) == 95.0
    cloudwatch.hold(ACCOUNT, STANDBY, *LAG, None)
    with pytest.raises(ModuleError, match="no recent GlobalDatastoreReplicationLag"):
        lag(IN_WEST)
    assert {call.region for call in world.calls} == {STANDBY}


@pytest.mark.parametrize("scene", [scenes.failed_over, scenes.cut_off, lambda world: scenes.cut_off(world, recreate=False)])
def test_a_primary_or_lone_group_has_no_lag(world: World, scene: Any) -> None:
    scene(world)
    assert world.module(ElastiCache, ACTIVATE, Mode.UNPLANNED).lag(IN_WEST) is None


def test_what_was_before_is_recorded(world: World) -> None:
    scenes.datastore(world)
    assert world.module(ElastiCache, ACTIVATE).record_before(IN_WEST) == [
        {"globalDatastore": GLOBAL, "role": "SECONDARY", "endpoint": None}
    ]


def test_several_targets(world: World) -> None:
    scenes.datastore(world)
    scenes.group(world, "carts-west", STANDBY)
    carts = {"DBClusterIdentifier": "carts-west", "GlobalClusterIdentifier": "carts", "ClusterEndpointSSMKey": "/carts"}
    assert world.drive(ElastiCache, ACTIVATE, [IN_WEST, carts], Mode.UNPLANNED).progress is Progress.DONE
    assert scenes.members(world) == {NEW: {WEST: "PRIMARY"}, "sgaui-carts": {"carts-west": "PRIMARY"}}
    assert scenes.stored(world, "/carts") == scenes.primary_endpoint(world, "carts-west")
