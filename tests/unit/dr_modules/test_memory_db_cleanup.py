"""MemoryDB, CLEANUP: configuration, snapshot, export, deletion; the live side stays, and so does a cluster whose export is missing."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from dr_core.errors import ModuleError
from dr_core.phases import Mode, Phase
from dr_modules._memory_db_readings import MARK
from dr_modules.base import Progress, Severity, Status
from dr_modules.memory_db import MemoryDB
from localcloud.extension import memorydb
from tests.support import memorydb_scenes as scenes
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World, error

DOWN = Phase.CLEANUP
RAW = scenes.parameters(PRIMARY)
FORCED = {**RAW, "Force": "Yes"}
RETIRED, FINAL = (f"{scenes.NAME}-{kind}-01execution" for kind in ("retired", "final"))


def objects(name: str, shards: int = 2) -> list[str]:
    return [f"memorydb/{name}-{shard:04}.rdb" for shard in range(1, shards + 1)]


def drive(world: World, raw: object = RAW, mode: Mode = Mode.PLANNED, **options: Any) -> Status:
    return world.drive(MemoryDB, DOWN, raw, mode, region=PRIMARY, **options)


def findings(world: World, raw: object = RAW, mode: Mode = Mode.PLANNED, region: str = PRIMARY) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.code) for finding in world.module(MemoryDB, DOWN, mode, region=region).obstacles(raw)]


def refusal(world: World, raw: object = RAW, mode: Mode = Mode.PLANNED, region: str = PRIMARY) -> str:
    with pytest.raises(ModuleError) as refused:
        world.module(MemoryDB, DOWN, mode, region=region).start(raw, again=True)
    assert world.changes == []
    return refused.value.code


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_the_data_are_exported_then_the_cluster_is_deleted(world: World, mode: Mode) -> None:
    scenes.failed_over(world)

    status = drive(world, mode=mode)

    assert status.progress is Progress.DONE
    assert scenes.status(world, PRIMARY) is None
    assert scenes.keys(world, PRIMARY) == objects(RETIRED)
    assert scenes.status(world, STANDBY) == "available"
    assert world.changes == ["PutParameter", "CreateSnapshot", "CopySnapshot", "DeleteCluster"]


def test_a_second_run_changes_nothing(world: World) -> None:
    scenes.failed_over(world)
    drive(world)
    world.calls.clear()
    assert drive(world).progress is Progress.DONE
    assert world.changes == []


def test_the_cluster_comes_back_as_it_was(world: World) -> None:
    """What CLEANUP stores is what ACTIVATE reads."""
    settings: dict[str, Any] = {
        "NumShards": 3,
        "NumReplicasPerShard": 2,
        "Port": 6380,
        "Engine": "valkey",
        "EngineVersion": "7.2",
        "Description": "carts",
    }
    settings |= {"SubnetGroupName": "default", "ParameterGroupName": "default.memorydb-valkey7", "SecurityGroupIds": ["sg-1", "sg-2"]}
    settings |= {"MaintenanceWindow": "sun:05:00-sun:06:00", "SnapshotWindow": "03:00-04:00", "SnapshotRetentionLimit": 7}
    settings |= {"KmsKeyId": "alias/east", "SnsTopicArn": f"arn:aws:sns:{PRIMARY}:{ACCOUNT}:ops", "AutoMinorVersionUpgrade": False}
    world.client("memorydb", PRIMARY).create_acl(ACLName="app", UserNames=["default"])
    settings |= {"ACLName": "app", "TLSEnabled": True, "NodeType": "db.r6g.xlarge"}
    scenes.failed_over(world, **settings, Tags=[{"Key": "Team", "Value": "shop"}])
    before = world.client("memorydb", PRIMARY).describe_clusters(ShowShardDetails=True)["Clusters"][0]

    assert drive(world).progress is Progress.DONE

    stored = json.loads(scenes.stored(world, scenes.CONFIG_KEY, PRIMARY))
    assert settings.items() <= stored.items()
    assert stored["Tags"] == [{"Key": "Team", "Value": "shop"}]  # without the mark of the run that made it
    scenes.backup(world, "from-the-west", parts=3, region=PRIMARY)
    world.client("memorydb", STANDBY).delete_cluster(ClusterName=scenes.NAME)
    assert world.drive(MemoryDB, Phase.ACTIVATE, RAW, region=PRIMARY).progress is Progress.DONE
    after = world.client("memorydb", PRIMARY).describe_clusters(ShowShardDetails=True)["Clusters"][0]
    ignored = ("Shards", "ARN")
    assert {key: value for key, value in after.items() if key not in ignored} == {k: v for k, v in before.items() if k not in ignored}
    assert [shard["NumberOfNodes"] for shard in after["Shards"]] == [3, 3, 3]


@pytest.mark.parametrize("done", ["nothing", "snapshot creating", "snapshot", "export under way", "export", "deleting"])
def test_it_goes_on_from_wherever_it_is_found(world: World, done: str) -> None:
    steps = ["nothing", "snapshot creating", "snapshot", "export under way", "export", "deleting"].index(done)
    client = scenes.failed_over(world)
    scenes.configure(world, PRIMARY)
    if steps >= 1:
        client.create_snapshot(ClusterName=scenes.NAME, SnapshotName=RETIRED)
    if steps >= 2:
        world.time.advance(memorydb.SNAPSHOT_SECONDS)
    if steps >= 3:
        client.copy_snapshot(SourceSnapshotName=RETIRED, TargetSnapshotName=f"memorydb/{RETIRED}", TargetBucket=scenes.BUCKETS[PRIMARY])
    if steps >= 4:
        world.time.advance(memorydb.COPY_SECONDS)
        client.describe_clusters()
    if steps >= 5:
        client.delete_cluster(ClusterName=scenes.NAME)

    assert drive(world).progress is Progress.DONE

    assert (scenes.status(world, PRIMARY), scenes.keys(world, PRIMARY)) == (None, objects(RETIRED))
    left = {"nothing": 4, "snapshot creating": 2, "snapshot": 2, "export under way": 1, "export": 1, "deleting": 0}[done]
    assert len(world.changes) == left


def test_each_step_waits_for_the_one_before(world: World) -> None:
    scenes.failed_over(world)
    module = world.module(MemoryDB, DOWN, region=PRIMARY)
    seen = []
    for seconds in (0, memorydb.SNAPSHOT_SECONDS, memorydb.COPY_SECONDS, memorydb.DELETE_CLUSTER_SECONDS):
        world.time.advance(seconds)
        seen.append(module.observe(RAW).progress)
        module.start(RAW, again=False)
        seen.append(module.observe(RAW).progress)
        module.start(RAW, again=False)  # while it is under way nothing more is done
    waiting = [Progress.NEXT_STEP, Progress.IN_PROGRESS]
    assert seen == [*waiting, *waiting, *waiting, Progress.DONE, Progress.DONE]
    assert len(world.changes) == 4


def test_an_export_that_fails_deletes_nothing(world: World) -> None:
    scenes.failed_over(world)
    memorydb.fail_next(ACCOUNT, PRIMARY, "CopySnapshot")
    module = world.module(MemoryDB, DOWN, region=PRIMARY)
    for _ in range(2):
        module.start(RAW, again=False)
        world.time.advance(60)
    status = module.observe(RAW)
    assert (status.progress, "has ended" in status.detail) == (Progress.NOT_STARTED, True)
    assert scenes.status(world, PRIMARY) == "available"
    # Another attempt exports again.
    assert drive(world, handles=module.handles).progress is Progress.DONE
    assert scenes.keys(world, PRIMARY) == objects(RETIRED)


def test_an_export_that_lacks_a_shard_deletes_nothing(world: World) -> None:
    scenes.failed_over(world)
    drive(world, steps=4)
    assert scenes.status(world, PRIMARY) == "available"
    assert scenes.keys(world, PRIMARY) == objects(RETIRED)
    world.client("s3", PRIMARY).delete_object(Bucket=scenes.BUCKETS[PRIMARY], Key=objects(RETIRED)[1])
    world.calls.clear()
    with pytest.raises(ModuleError) as refused:  # AWS overwrites nothing
        drive(world)
    assert refused.value.code == "InvalidParameterValueException"
    assert "DeleteCluster" not in world.changes
    assert scenes.status(world, PRIMARY) == "available"


def test_a_bucket_that_memory_db_may_not_write_to_deletes_nothing(world: World) -> None:
    scenes.failed_over(world)
    world.answer("memorydb", "CopySnapshot", error("InvalidParameterValueException", "MemoryDB has not been granted WRITE"), 400)
    with pytest.raises(ModuleError, match="has not been granted WRITE"):
        drive(world)
    assert scenes.status(world, PRIMARY) == "available"


@pytest.mark.parametrize("region", [PRIMARY, STANDBY])
@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_the_only_cluster_is_the_live_side(world: World, region: str, mode: Mode) -> None:
    for each in (PRIMARY, STANDBY):
        scenes.bucket(world, each)
    scenes.cluster(world, region)
    assert refusal(world, scenes.parameters(region), mode, region) == "LiveSide"
    assert findings(world, scenes.parameters(region), mode, region) == [(Severity.ERROR, "LiveSide")]


def test_a_manifest_with_the_wrong_region_does_not_delete_the_live_side(world: World) -> None:
    """Both Regions have an available cluster: the one that was activated later is the live side."""
    scenes.failed_over(world)
    scenes.bucket(world)
    assert refusal(world, scenes.parameters(STANDBY), region=STANDBY) == "LiveSide"


@pytest.mark.parametrize(("here", "there"), [("", ""), ("01LATER", "01EARLIER"), ("01A", "01A")])
def test_of_two_clusters_only_a_later_activation_tells(world: World, here: str, there: str) -> None:
    scenes.bucket(world, PRIMARY)
    scenes.cluster(world, STANDBY, activated_by=there)
    scenes.cluster(world, PRIMARY, activated_by=here)
    assert refusal(world) == "LiveSide"


def test_after_a_failback_the_other_side_is_the_one_left_behind(world: World) -> None:
    scenes.bucket(world)
    scenes.cluster(world, STANDBY, activated_by="01A")
    scenes.cluster(world, PRIMARY, activated_by="01B")
    assert world.drive(MemoryDB, DOWN, scenes.parameters(STANDBY)).progress is Progress.DONE
    assert (scenes.status(world, STANDBY), scenes.status(world, PRIMARY)) == (None, "available")


def test_a_successor_that_is_not_yet_serving_is_none(world: World) -> None:
    scenes.bucket(world, PRIMARY)
    scenes.cluster(world, PRIMARY)
    tags = [{"Key": MARK, "Value": "01LATER"}]
    west = world.client("memorydb", STANDBY)
    west.create_cluster(ClusterName=scenes.NAME, NodeType="db.r6g.large", ACLName="open-access", Tags=tags)
    assert refusal(world) == "LiveSide"
    world.time.advance(120)
    west.create_snapshot(ClusterName=scenes.NAME, SnapshotName="nightly")  # a snapshot does not stop it from serving
    assert drive(world).progress is Progress.DONE


def test_force_removes_the_last_cluster_and_its_export_is_a_backup(world: World) -> None:
    scenes.bucket(world, PRIMARY)
    scenes.cluster(world, PRIMARY)
    assert drive(world, FORCED).progress is Progress.DONE
    assert scenes.keys(world, PRIMARY) == objects(FINAL)
    assert world.drive(MemoryDB, Phase.ACTIVATE, RAW, region=PRIMARY).progress is Progress.DONE


def test_an_export_of_a_cluster_that_was_left_behind_is_no_backup(world: World) -> None:
    """It lacks what was written to its successor, though it may be newer than the successor's own backups."""
    scenes.failed_over(world)
    drive(world, FORCED)
    with pytest.raises(ModuleError) as missing:
        world.module(MemoryDB, Phase.ACTIVATE, Mode.UNPLANNED, region=PRIMARY).lag(RAW)
    assert missing.value.code == "NoBackup"


def test_a_cluster_that_is_gone_without_an_export_is_not_done(world: World) -> None:
    scenes.bucket(world, PRIMARY)
    scenes.configure(world, PRIMARY)
    scenes.backup(world, f"{scenes.NAME}-retired-00earlier", parts=1, region=PRIMARY)
    scenes.backup(world, "hourly", region=PRIMARY)
    status = world.module(MemoryDB, DOWN, region=PRIMARY).observe(RAW)
    assert (status.progress, status.code) == (Progress.FAILED, "ExportMissing")
    assert findings(world) == [(Severity.ERROR, "ExportMissing")]
    scenes.backup(world, f"{scenes.NAME}-final-00earlier", region=PRIMARY)
    assert world.module(MemoryDB, DOWN, region=PRIMARY).observe(RAW).progress is Progress.DONE


def test_what_somebody_else_does_with_the_cluster_is_waited_for(world: World) -> None:
    client = scenes.failed_over(world)
    client.create_snapshot(ClusterName=scenes.NAME, SnapshotName="by-hand")
    assert world.module(MemoryDB, DOWN, region=PRIMARY).observe(RAW).progress is Progress.IN_PROGRESS
    assert drive(world).progress is Progress.DONE


def test_what_begins_between_look_and_act_is_no_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand = scenes.failed_over(world)
    module = world.module(MemoryDB, DOWN, region=PRIMARY)
    assert isinstance(module, MemoryDB)
    create = module.memorydb.create_snapshot

    def create_too_late(**names: str) -> Any:
        by_hand.create_snapshot(ClusterName=scenes.NAME, SnapshotName="by-hand")
        return create(**names)

    with monkeypatch.context() as patch:
        patch.setattr(module.memorydb, "create_snapshot", create_too_late)
        module.start(RAW, again=False)
    assert module.observe(RAW).progress is Progress.IN_PROGRESS
    assert drive(world).progress is Progress.DONE


def test_a_snapshot_that_was_asked_for_and_never_came_is_a_failed_attempt(world: World) -> None:
    scenes.failed_over(world)
    module = world.module(MemoryDB, DOWN, region=PRIMARY, handles=[{"snapshot": RETIRED}])
    assert module.observe(RAW).progress is Progress.NOT_STARTED


def test_a_cluster_whose_state_is_wrong_for_no_reason_that_shows_is_a_failure(world: World) -> None:
    scenes.failed_over(world)
    world.answer("memorydb", "CreateSnapshot", error("InvalidClusterStateFault"), 400)
    with pytest.raises(ModuleError) as refused:
        world.module(MemoryDB, DOWN, region=PRIMARY).start(RAW, again=False)
    assert refused.value.code == "InvalidClusterStateFault"


@pytest.mark.parametrize(
    ("state", "progress"), [("updating", Progress.IN_PROGRESS), ("create-failed", Progress.FAILED), ("new", Progress.IN_PROGRESS)]
)
def test_states_that_no_step_can_be_taken_in(world: World, state: str, progress: Progress) -> None:
    found = {"Name": scenes.NAME, "ARN": f"arn:aws:memorydb:{PRIMARY}:{ACCOUNT}:cluster/{scenes.NAME}", "Status": state}
    world.answer("memorydb", "DescribeClusters", {"Clusters": [found]})
    assert world.module(MemoryDB, DOWN, region=PRIMARY).observe(RAW).progress is progress


def test_preflight_finds_what_would_stop_the_export(world: World) -> None:
    scenes.failed_over(world, DataTiering=True, NodeType="db.r6gd.xlarge")
    scenes.bucket(world)
    raw = {**RAW, "BackupBucket": scenes.BUCKETS[STANDBY]}
    assert findings(world, raw) == [(Severity.ERROR, "DataTiering"), (Severity.ERROR, "BucketElsewhere")]
    assert findings(world, {**RAW, "BackupBucket": "missing"})[1:] == [(Severity.ERROR, "NoSuchBucket")]


def test_preflight_of_what_was_left_behind_finds_nothing(world: World) -> None:
    scenes.failed_over(world)
    assert findings(world) == []


def test_a_drill_deletes_nothing(world: World) -> None:
    scenes.failed_over(world)
    assert refusal(world, FORCED, Mode.DRILL) == "RefusedInDrill"


def test_a_part_of_a_multi_region_cluster_is_refused(world: World) -> None:
    found = {"Name": scenes.NAME, "ARN": f"arn:aws:memorydb:{PRIMARY}:{ACCOUNT}:cluster/{scenes.NAME}", "Status": "available"}
    scenes.bucket(world, PRIMARY)
    world.answer("memorydb", "DescribeClusters", {"Clusters": [{**found, "MultiRegionClusterName": "virxk-carts"}]})
    assert refusal(world, FORCED) == "MultiRegionCluster"


def test_a_large_configuration_is_stored(world: World) -> None:
    tags = [{"Key": f"{n:03}" + "k" * 100, "Value": "v" * 200} for n in range(20)]
    scenes.failed_over(world, Tags=tags)
    drive(world)
    assert len(scenes.stored(world, scenes.CONFIG_KEY, PRIMARY)) > 4096
    put = next(call.parameters for call in world.calls if call.operation == "PutParameter")
    assert put["Tier"] == "Intelligent-Tiering"


def test_before_is_what_people_need_for_a_rollback(world: World) -> None:
    scenes.failed_over(world)
    (before,) = world.module(MemoryDB, DOWN, region=PRIMARY).record_before(RAW)
    assert before["status"] == "available"
    assert json.loads(str(before["configuration"]))["NumShards"] == 2
    assert world.changes == []


def test_the_phases_say_what_they_need() -> None:
    for phase, key in ((Phase.ACTIVATE, "ClusterEndpointSSMKey"), (DOWN, "BackupBucket")):
        (parsed,) = MemoryDB.parse({name: value for name, value in RAW.items() if name != key})
        assert [problem[0] for problem in MemoryDB.check_parameters(phase, parsed)] == [key]
    with pytest.raises(ValidationError):
        MemoryDB.parse({**RAW, "Tags": [{"Key": "aws:a", "Value": "b"}]})
