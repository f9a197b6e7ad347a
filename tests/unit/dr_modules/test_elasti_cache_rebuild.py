"""ElastiCache: the side that was left is taken down, and becomes a secondary again."""

import json
from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules import _elasti_cache
from dr_modules.base import Progress
from dr_modules.elasti_cache import ElastiCache
from localcloud.extension import elasticache
from tests.support import elasticache_scenes as scenes
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World, error
from tests.support.elasticache_scenes import CONFIG_KEY, EAST, GLOBAL, IN_EAST, IN_WEST, WEST

from .test_elasti_cache import NEW, codes, put

CLEANUP, REPLICATE = Phase.CLEANUP, Phase.REPLICATE
SNAPSHOT = f"{EAST}-final-01execution"
OUT, RETIRE, DELETE, STORE = (
    "DisassociateGlobalReplicationGroup",
    "DeleteGlobalReplicationGroup",
    "DeleteReplicationGroup",
    "PutParameter",
)


def clean(world: World, raw: object = IN_EAST, mode: Mode = Mode.PLANNED, **options: Any) -> Progress:
    return world.drive(ElastiCache, CLEANUP, raw, mode, region=PRIMARY, **options).progress


def rebuild(world: World, raw: object = IN_EAST, mode: Mode = Mode.PLANNED) -> Progress:
    return world.drive(ElastiCache, REPLICATE, raw, mode, region=PRIMARY).progress


def snapshots(world: World) -> list[str]:
    return [one["SnapshotName"] for one in world.client("elasticache", PRIMARY).describe_snapshots()["Snapshots"]]


# CLEANUP


@pytest.mark.parametrize(
    ("scene", "left", "steps"),
    [
        (scenes.failed_over, {GLOBAL: {WEST: "PRIMARY"}}, [STORE, OUT, DELETE]),
        (scenes.cut_off, {NEW: {WEST: "PRIMARY"}}, [STORE, RETIRE, DELETE]),
    ],
    ids=["planned", "unplanned"],
)
@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_the_old_side_goes_with_a_final_snapshot(world: World, scene: Any, left: dict[str, Any], steps: list[str], mode: Mode) -> None:
    scene(world)
    assert clean(world, mode=mode) is Progress.DONE
    assert scenes.groups(world, PRIMARY) == {}
    assert scenes.members(world) == left
    assert snapshots(world) == [SNAPSHOT]
    assert world.changes == steps
    world.calls.clear()
    assert clean(world, mode=mode) is Progress.DONE
    assert world.changes == []


def test_the_settings_are_stored_as_the_new_group_needs_them(world: World) -> None:
    scenes.failed_over(world)
    clean(world)
    stored = json.loads(scenes.stored(world, CONFIG_KEY, PRIMARY) or "")
    assert stored.keys() <= _elasti_cache.SETTINGS
    assert (stored["CacheSubnetGroupName"], stored["SecurityGroupIds"], stored["NumCacheClusters"]) == ("cache", ["sg-0123"], 2)
    assert (stored["AutomaticFailoverEnabled"], stored["MultiAZEnabled"]) == (True, True)


def test_cleanup_goes_on_where_it_stopped_also_without_its_handle(world: World) -> None:
    east = scenes.failed_over(world)
    names = {"GlobalReplicationGroupId": GLOBAL, "ReplicationGroupId": EAST, "ReplicationGroupRegion": PRIMARY}
    east.disassociate_global_replication_group(**names)
    assert clean(world) is Progress.DONE
    assert world.changes == [STORE, DELETE]


def test_one_act_takes_one_step(world: World) -> None:
    scenes.failed_over(world)
    first = world.module(ElastiCache, CLEANUP, region=PRIMARY)
    first.start(IN_EAST, again=True)
    assert first.observe(IN_EAST).progress is Progress.IN_PROGRESS
    world.time.advance(120)
    assert first.observe(IN_EAST).progress is Progress.NEXT_STEP
    assert world.changes == [STORE, OUT]


def test_no_snapshot_only_when_the_manifest_says_so(world: World) -> None:
    scenes.failed_over(world)
    assert clean(world, {**IN_EAST, "SkipFinalSnapshot": "true"}) is Progress.DONE
    assert snapshots(world) == []


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
@pytest.mark.parametrize("force", [{}, {"Force": True}])
def test_a_primary_that_replicates_is_never_deleted(world: World, mode: Mode, force: dict[str, bool]) -> None:
    """Also when the request names the wrong Region."""
    scenes.datastore(world)
    assert "LiveSide" in codes(world, CLEANUP, {**IN_EAST, **force}, mode, PRIMARY)
    with pytest.raises(ModuleError, match="which others replicate"):
        world.module(ElastiCache, CLEANUP, mode, region=PRIMARY).start({**IN_EAST, **force}, again=True)
    assert world.changes == []


@pytest.mark.parametrize(
    ("scene", "raw", "region"),
    [
        (lambda world: scenes.cut_off(world, recreate=False), IN_EAST, PRIMARY),  # nothing serves in its place yet
        (lambda world: scenes.cut_off(world, recreate=False), IN_WEST, STANDBY),  # has just left: a failover may be half-way
        (lambda world: scenes.without_replica(world), IN_WEST, STANDBY),  # the only copy
        (lambda world: scenes.group(world, EAST, PRIMARY), IN_EAST, PRIMARY),
    ],
)
def test_what_may_be_the_only_copy_goes_only_by_force(world: World, scene: Any, raw: dict[str, str], region: str) -> None:
    scene(world)
    if raw is IN_WEST and region == STANDBY and EAST in scenes.groups(world, PRIMARY):
        world.client("elasticache", PRIMARY).delete_global_replication_group(
            GlobalReplicationGroupId=GLOBAL, RetainPrimaryReplicationGroup=True
        )
        world.time.advance(60)
    assert "LiveSide" in codes(world, CLEANUP, raw, region=region)
    with pytest.raises(ModuleError, match="may be the only copy"):
        world.module(ElastiCache, CLEANUP, region=region).start(raw, again=True)
    assert world.changes == []
    assert world.drive(ElastiCache, CLEANUP, {**raw, "Force": True}, region=region).progress is Progress.DONE


def test_another_datastore_of_the_peer_proves_nothing(world: World) -> None:
    scenes.cut_off(world, recreate=False)
    world.client("elasticache").create_global_replication_group(GlobalReplicationGroupIdSuffix="redis", PrimaryReplicationGroupId=WEST)
    world.time.advance(120)
    assert "LiveSide" in codes(world, CLEANUP, IN_EAST, region=PRIMARY)


def test_a_successor_that_is_not_at_rest_proves_nothing(world: World) -> None:
    scenes.cut_off(world, recreate=False)
    world.client("elasticache").create_global_replication_group(
        GlobalReplicationGroupIdSuffix="global-redis", PrimaryReplicationGroupId=WEST
    )
    assert "LiveSide" in codes(world, CLEANUP, IN_EAST, region=PRIMARY)


def test_cleanup_waits_for_what_is_under_way(world: World) -> None:
    east = scenes.failed_over(world)
    east.failover_global_replication_group(GlobalReplicationGroupId=GLOBAL, PrimaryRegion=PRIMARY, PrimaryReplicationGroupId=EAST)
    module = world.module(ElastiCache, CLEANUP, region=PRIMARY)
    assert module.observe(IN_EAST).progress is Progress.IN_PROGRESS
    with pytest.raises(ModuleError, match="retry when that has ended") as raised:
        module.cleanup(module.parse(IN_EAST)[0])
    assert raised.value.error_class is ErrorClass.RETRYABLE
    world.time.advance(120)
    assert "LiveSide" in codes(world, CLEANUP, IN_EAST, region=PRIMARY)  # it is the primary by now


@pytest.mark.parametrize("status", ["deleting", "snapshotting", "a-state-to-come"])
def test_going_is_not_gone(world: World, status: str) -> None:
    scenes.failed_over(world)
    put(world, "DescribeReplicationGroups", {"Status": status}, PRIMARY)
    assert world.module(ElastiCache, CLEANUP, region=PRIMARY).observe(IN_EAST).progress is Progress.IN_PROGRESS


def test_a_drill_deletes_nothing_and_settings_that_are_not_kept_are_said(world: World) -> None:
    scenes.failed_over(world)
    assert codes(world, CLEANUP, IN_EAST, Mode.DRILL, PRIMARY) == ["RefusedInDrill"]
    without = {key: value for key, value in IN_EAST.items() if key != "ClusterConfigSSMKey"}
    assert codes(world, CLEANUP, without, region=PRIMARY) == ["SettingsNotKept"]
    assert clean(world, without) is Progress.DONE
    assert world.changes == [OUT, DELETE]


# REPLICATE


@pytest.mark.parametrize("name", ["global-redis", GLOBAL])
@pytest.mark.parametrize(("scene", "datastore"), [(scenes.failed_over, GLOBAL), (scenes.cut_off, NEW)], ids=["planned", "unplanned"])
def test_the_old_side_becomes_a_secondary_with_its_former_settings(world: World, scene: Any, datastore: str, name: str) -> None:
    scene(world)
    raw = {**IN_EAST, "GlobalClusterIdentifier": name}
    assert clean(world, raw) is Progress.DONE
    world.calls.clear()
    assert rebuild(world, raw) is Progress.DONE
    assert scenes.members(world) == {datastore: {WEST: "PRIMARY", EAST: "SECONDARY"}}
    node = world.client("elasticache", PRIMARY).describe_cache_clusters(CacheClusterId=f"{EAST}-002")["CacheClusters"][0]
    assert (node["CacheSubnetGroupName"], node["SecurityGroups"][0]["SecurityGroupId"]) == ("cache", "sg-0123")
    assert world.changes == ["CreateReplicationGroup"]
    world.calls.clear()
    assert rebuild(world, raw) is Progress.DONE
    assert world.changes == []


def test_the_manifest_goes_before_what_is_stored(world: World) -> None:
    scenes.failed_over(world)
    clean(world)
    rebuild(world, {**IN_EAST, "SecurityGroupIds": "sg-9"})
    created = next(call for call in world.calls if call.operation == "CreateReplicationGroup").parameters
    assert (created["SecurityGroupIds"], created["CacheSubnetGroupName"]) == (["sg-9"], "cache")


def test_associating_is_not_associated(world: World) -> None:
    scenes.without_replica(world)
    module = world.module(ElastiCache, REPLICATE, region=PRIMARY)
    module.start({**IN_EAST, "CacheSubnetGroupName": "cache"}, again=True)
    assert module.observe(IN_EAST).progress is Progress.IN_PROGRESS
    world.time.advance(120)
    assert module.observe(IN_EAST).progress is Progress.DONE
    for place in ({"Status": "associating", "Role": "SECONDARY"}, {"Status": "associated", "Role": "a-role-to-come"}):
        put(
            world,
            "DescribeGlobalReplicationGroups",
            {"Members": [{"ReplicationGroupId": EAST, "ReplicationGroupRegion": PRIMARY, **place}]},
            PRIMARY,
        )
        assert module.observe(IN_EAST).progress is Progress.IN_PROGRESS
    put(world, "DescribeReplicationGroups", {"Status": "a-state-to-come"}, PRIMARY)
    assert module.observe(IN_EAST).progress is Progress.IN_PROGRESS


def test_a_failed_creation_fails_and_a_fresh_attempt_replaces_it(world: World) -> None:
    scenes.without_replica(world)
    elasticache.fail_next_creation(ACCOUNT, PRIMARY, EAST)
    raw = {**IN_EAST, "CacheSubnetGroupName": "cache"}
    assert rebuild(world, raw) is Progress.FAILED
    again = world.module(ElastiCache, REPLICATE, region=PRIMARY, attempt=2)
    again.start(raw, again=True)
    world.time.advance(120)
    assert again.observe(raw).progress is Progress.NEXT_STEP
    assert world.drive(ElastiCache, REPLICATE, raw, region=PRIMARY, handles=again.handles).progress is Progress.DONE


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        (scenes.datastore, "LiveSide"),
        (scenes.cut_off, "LiveSide"),  # its old datastore is still there
        (lambda world: scenes.group(world, EAST, PRIMARY), "Detached"),
        (lambda world: None, "GlobalReplicationGroupNotFoundFault"),
    ],
)
def test_nothing_is_overwritten_or_replicated_from_nowhere(world: World, scene: Any, expected: str) -> None:
    scene(world)
    assert codes(world, REPLICATE, IN_EAST, region=PRIMARY) == [expected]
    with pytest.raises(ModuleError):
        world.module(ElastiCache, REPLICATE, region=PRIMARY).start(IN_EAST, again=True)
    assert world.changes == []


def test_an_unplanned_run_does_not_ask_the_peer(world: World) -> None:
    scenes.without_replica(world)
    assert codes(world, REPLICATE, IN_EAST, Mode.UNPLANNED, PRIMARY) == ["GlobalReplicationGroupNotFoundFault"]
    assert {call.region for call in world.calls} == {PRIMARY}


def test_a_name_that_may_mean_two_is_asked_about(world: World) -> None:
    scenes.without_replica(world)
    scenes.group(world, "other", STANDBY)
    west = world.client("elasticache")
    west.create_global_replication_group(GlobalReplicationGroupIdSuffix="global-redis", PrimaryReplicationGroupId="other")
    world.time.advance(60)
    assert codes(world, REPLICATE, IN_EAST, region=PRIMARY) == ["SeveralGlobalDatastores"]
    assert rebuild(world, {**IN_EAST, "GlobalClusterIdentifier": GLOBAL}) is Progress.DONE


def test_references_are_resolved_before_anything_is_created(world: World) -> None:
    scenes.without_replica(world)
    assert codes(world, REPLICATE, IN_EAST, region=PRIMARY) == ["DefaultNetwork"]
    assert codes(world, REPLICATE, {**IN_EAST, "CacheSubnetGroupName": "gone"}, region=PRIMARY) == ["CacheSubnetGroupNotFound"]
    for value in ("no JSON", "[]", '{"AuthToken": "x"}'):
        world.client("ssm", PRIMARY).put_parameter(Name=CONFIG_KEY, Value=value, Type="String", Overwrite=True)
        assert codes(world, REPLICATE, IN_EAST, region=PRIMARY) == ["InvalidSettings"]
    members = [
        {"ReplicationGroupId": f"g{number}", "ReplicationGroupRegion": region, "Role": role, "Status": "associated"}
        for number, (region, role) in enumerate([(STANDBY, "PRIMARY"), ("eu-west-1", "SECONDARY"), ("eu-west-2", "SECONDARY")])
    ]
    put(world, "DescribeGlobalReplicationGroups", {"Members": members})
    raw = {**IN_EAST, "ClusterConfigSSMKey": "/other", "CacheSubnetGroupName": "cache"}
    assert codes(world, REPLICATE, raw, region=PRIMARY) == ["TooManySecondaries"]


def test_a_group_created_by_somebody_since_is_watched(world: World) -> None:
    scenes.without_replica(world)
    world.answer("elasticache", "CreateReplicationGroup", error("ReplicationGroupAlreadyExists"), 400)
    module = world.module(ElastiCache, REPLICATE, region=PRIMARY)
    module.start(IN_EAST, again=True)
    assert module.observe(IN_EAST).progress is Progress.NOT_STARTED
