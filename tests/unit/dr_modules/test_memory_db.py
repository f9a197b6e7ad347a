"""MemoryDB, ACTIVATE: from whatever is found in the Region to an available cluster of the newest complete backup."""

import json
from typing import Any

import pytest

from dr_core.errors import ModuleError
from dr_core.phases import Mode, Phase
from dr_modules._memory_db_readings import MARK
from dr_modules.base import Progress, Severity
from dr_modules.memory_db import MemoryDB
from localcloud.extension import memorydb
from tests.support import memorydb_scenes as scenes
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World, error

UP = Phase.ACTIVATE
RAW = scenes.parameters()
NO_BUCKET = {key: value for key, value in RAW.items() if key not in ("BackupBucket", "Prefix")}


def created(world: World) -> dict[str, Any]:
    """What the module gave to CreateCluster, tags by key."""
    found = next(call.parameters for call in world.calls if call.operation == "CreateCluster")
    return {**found, "Tags": {tag["Key"]: tag["Value"] for tag in found["Tags"]}}


def restored(world: World) -> list[str]:
    """The objects the cluster was created from, without bucket and prefix."""
    return [arn.removeprefix(f"arn:aws:s3:::{scenes.BUCKETS[STANDBY]}/memorydb/") for arn in created(world)["SnapshotArns"]]


def endpoint(world: World, region: str = STANDBY) -> str:
    found = world.client("memorydb", region).describe_clusters(ClusterName=scenes.NAME)["Clusters"][0]["ClusterEndpoint"]
    return f"{found['Address']}:{found['Port']}"


def findings(world: World, raw: object = RAW, mode: Mode = Mode.PLANNED, region: str = STANDBY) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.code) for finding in world.module(MemoryDB, UP, mode, region=region).obstacles(raw)]


def put_endpoint(world: World, value: str) -> None:
    world.client("ssm").put_parameter(Name=scenes.ENDPOINT_KEY, Value=value, Type="String", Overwrite=True)


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_the_cluster_comes_from_the_newest_backup_and_its_endpoint_is_stored(world: World, mode: Mode) -> None:
    scenes.standby(world)

    status = world.drive(MemoryDB, UP, RAW, mode)

    assert status.progress is Progress.DONE
    assert scenes.status(world, STANDBY) == "available"
    assert restored(world) == ["hourly-2-0001.rdb", "hourly-2-0002.rdb"]
    assert scenes.stored(world, scenes.ENDPOINT_KEY) == endpoint(world)
    assert world.changes == ["CreateCluster", "PutParameter"]
    assert {call.region for call in world.calls} == {STANDBY}


def test_a_second_run_changes_nothing(world: World) -> None:
    scenes.standby(world)
    world.drive(MemoryDB, UP, RAW)
    world.calls.clear()
    assert world.drive(MemoryDB, UP, RAW).progress is Progress.DONE
    assert world.changes == []


def test_the_cluster_is_made_as_the_configuration_says(world: World) -> None:
    scenes.standby(world)
    world.client("memorydb").create_acl(ACLName="app", UserNames=["default"])
    settings: dict[str, Any] = {
        "ACLName": "app",
        "SubnetGroupName": "default",
        "ParameterGroupName": "default.memorydb-valkey7",
        "Engine": "valkey",
    }
    settings |= {"EngineVersion": "7.2", "NumReplicasPerShard": 2, "Port": 6380, "SecurityGroupIds": ["sg-1"], "SnapshotRetentionLimit": 7}
    settings |= {"MaintenanceWindow": "sun:05:00-sun:06:00", "SnapshotWindow": "03:00-04:00", "KmsKeyId": "alias/west"}
    scenes.configure(world, **settings)

    assert world.drive(MemoryDB, UP, {**RAW, "Tags": [{"Key": "Owner", "Value": "sre"}]}).progress is Progress.DONE

    assert settings.items() <= created(world).items()
    assert created(world)["Tags"] == {"Team": "shop", "Owner": "sre", MARK: "01EXECUTION"}


def test_a_backup_that_lacks_a_shard_is_passed_over(world: World) -> None:
    scenes.standby(world)
    scenes.backup(world, "half", parts=1, age=10)
    assert world.drive(MemoryDB, UP, RAW).progress is Progress.DONE
    assert restored(world) == ["hourly-2-0001.rdb", "hourly-2-0002.rdb"]


def test_a_configuration_older_than_the_shards_lets_no_half_backup_pass(world: World) -> None:
    scenes.standby(world)  # two shards
    scenes.backup(world, "grown", parts=3, age=60)
    scenes.backup(world, "half-replicated", parts=2, age=10)
    assert set(findings(world)) == {(Severity.WARNING, "IncompleteBackup"), (Severity.WARNING, "ShardsDiffer")}
    world.drive(MemoryDB, UP, RAW)
    assert restored(world) == ["grown-0001.rdb", "grown-0002.rdb", "grown-0003.rdb"]


def test_after_shards_were_removed_one_backup_is_passed_over(world: World) -> None:
    scenes.bucket(world)
    scenes.configure(world)
    for age, (name, parts) in zip((300, 200, 100), (("old", 3), ("smaller-1", 2), ("smaller-2", 2)), strict=True):
        scenes.backup(world, name, parts, age)
    world.drive(MemoryDB, UP, RAW)
    assert restored(world) == ["smaller-2-0001.rdb", "smaller-2-0002.rdb"]


def test_what_is_no_backup_is_not_restored(world: World) -> None:
    scenes.standby(world)
    s3 = world.client("s3")
    for key, body in {"memorydb/notes.txt": b"x", "memorydb/dump-20261122.rdb": b"x", "memorydb/dump-20261123.rdb": b"x"}.items():
        s3.put_object(Bucket=scenes.BUCKETS[STANDBY], Key=key, Body=body)
    for shard in (1, 2):
        s3.put_object(Bucket=scenes.BUCKETS[STANDBY], Key=f"memorydb/empty-{shard:04}.rdb", Body=b"")
    scenes.backup(world, f"{scenes.NAME}-retired-00earlier", age=5)  # the last state of a cluster that had been left behind
    world.drive(MemoryDB, UP, RAW)
    assert restored(world) == ["hourly-2-0001.rdb", "hourly-2-0002.rdb"]


def test_without_a_bucket_the_newest_snapshot_is_restored(world: World) -> None:
    old = scenes.cluster(world, STANDBY)
    for name in ("first", "second", f"{scenes.NAME}-retired-00earlier"):
        old.create_snapshot(ClusterName=scenes.NAME, SnapshotName=name)
        world.time.advance(60)
    old.delete_cluster(ClusterName=scenes.NAME)
    world.time.advance(60)
    scenes.configure(world)

    assert world.drive(MemoryDB, UP, NO_BUCKET).progress is Progress.DONE
    assert created(world)["SnapshotName"] == "second"


def test_the_lag_is_the_age_of_the_backup_that_would_be_restored(world: World) -> None:
    scenes.standby(world)
    assert world.module(MemoryDB, UP).lag(RAW) == pytest.approx(600, abs=30)
    scenes.backup(world, "half", parts=1, age=10)
    assert world.module(MemoryDB, UP).lag(RAW) == pytest.approx(600, abs=30)
    world.drive(MemoryDB, UP, RAW)
    assert world.module(MemoryDB, UP).lag(RAW) is None


def test_the_lag_is_that_of_the_oldest_shard(world: World) -> None:
    scenes.bucket(world)
    scenes.configure(world)
    scenes.backup(world, "a", parts=1, age=900)
    scenes.backup(world, "other", parts=2, age=5000)
    body = {"Bucket": scenes.BUCKETS[STANDBY], "Key": "memorydb/a-0002.rdb", "Body": b"REDIS0011"}
    world.client("s3").put_object(**body)
    assert world.module(MemoryDB, UP, Mode.UNPLANNED).lag(RAW) == pytest.approx(900, abs=30)


@pytest.mark.parametrize(
    ("state", "progress"),
    [
        ("available", Progress.NEXT_STEP),
        ("creating", Progress.IN_PROGRESS),
        ("snapshotting", Progress.IN_PROGRESS),
        ("a-state-of-tomorrow", Progress.IN_PROGRESS),
        ("create-failed", Progress.FAILED),
        ("restore-failed", Progress.FAILED),
        ("incompatible-network", Progress.FAILED),
    ],
)
def test_only_available_will_do(world: World, state: str, progress: Progress) -> None:
    found = {"Name": scenes.NAME, "ARN": f"arn:aws:memorydb:{STANDBY}:{ACCOUNT}:cluster/{scenes.NAME}", "Status": state}
    world.answer("memorydb", "DescribeClusters", {"Clusters": [{**found, "ClusterEndpoint": {"Address": "host", "Port": 6379}}]})
    world.answer("memorydb", "ListTags", {"TagList": [{"Key": MARK, "Value": "01EXECUTION"}]})
    assert world.module(MemoryDB, UP).observe(RAW).progress is progress


def test_a_restore_that_failed_fails(world: World) -> None:
    scenes.standby(world)
    memorydb.fail_next(ACCOUNT, STANDBY, "CreateCluster")
    status = world.drive(MemoryDB, UP, RAW)
    assert (status.progress, status.code) == (Progress.FAILED, "restore-failed")
    assert findings(world) == [(Severity.ERROR, "restore-failed")]


def test_done_needs_the_endpoint(world: World) -> None:
    """Crashed after the cluster was made; the parameter still names the one before."""
    scenes.cluster(world, STANDBY, activated_by="01EXECUTION")
    put_endpoint(world, "clustercfg.of-before.example.com")
    assert world.module(MemoryDB, UP).observe(RAW).progress is Progress.NEXT_STEP
    assert world.drive(MemoryDB, UP, RAW).progress is Progress.DONE
    assert scenes.stored(world, scenes.ENDPOINT_KEY) == endpoint(world).rpartition(":")[0]  # an address alone, as before
    assert world.changes == ["PutParameter"]


def test_a_cluster_that_somebody_creates_meanwhile_is_watched(world: World) -> None:
    scenes.standby(world)
    module = world.module(MemoryDB, UP)
    world.answer("memorydb", "CreateCluster", error("ClusterAlreadyExistsFault"), 400)
    module.start(RAW, again=False)
    scenes.cluster(world, STANDBY)
    assert world.drive(MemoryDB, UP, RAW).progress is Progress.DONE


def test_a_planned_run_does_not_take_the_cluster_that_was_left_behind(world: World) -> None:
    scenes.failed_over(world)
    raw = scenes.parameters(PRIMARY)
    with pytest.raises(ModuleError) as stale:
        world.module(MemoryDB, UP, region=PRIMARY).observe(raw)
    assert stale.value.code == "StaleCluster"
    assert findings(world, raw, region=PRIMARY) == [(Severity.ERROR, "StaleCluster")]
    # The one that took over is no leftover, and an unplanned run does not ask.
    assert world.module(MemoryDB, UP).observe(RAW).progress is Progress.NEXT_STEP
    world.calls.clear()
    assert world.module(MemoryDB, UP, Mode.UNPLANNED, region=PRIMARY).observe(raw).progress is Progress.NEXT_STEP
    assert {call.region for call in world.calls} == {PRIMARY}


@pytest.mark.parametrize(
    ("configuration", "code"),
    [
        (None, "NoClusterConfiguration"),
        ("clustercfg", "InvalidClusterConfiguration"),
        (json.dumps({"NodeType": "db.r6g.large"}), "InvalidClusterConfiguration"),
        (json.dumps({**scenes.CONFIGURATION, "NumShard": 3}), "InvalidClusterConfiguration"),
        (json.dumps({**scenes.CONFIGURATION, "NumShards": 3}), "NoBackup"),
        (json.dumps({**scenes.CONFIGURATION, "SubnetGroupName": "missing"}), "SubnetGroupNameNotFound"),
        (json.dumps({**scenes.CONFIGURATION, "ParameterGroupName": "missing"}), "ParameterGroupNameNotFound"),
        (json.dumps({**scenes.CONFIGURATION, "ACLName": "missing"}), "ACLNameNotFound"),
    ],
)
def test_preflight_finds_what_would_stop_the_restore(world: World, configuration: str | None, code: str) -> None:
    scenes.standby(world)
    ssm = world.client("ssm")
    if configuration is None:
        ssm.delete_parameter(Name=scenes.CONFIG_KEY)
    else:
        ssm.put_parameter(Name=scenes.CONFIG_KEY, Value=configuration, Type="String", Overwrite=True)
    assert findings(world) == [(Severity.ERROR, code)]
    with pytest.raises(ModuleError):
        world.module(MemoryDB, UP).start(RAW, again=False)
    assert scenes.status(world, STANDBY) is None


def test_preflight_of_a_region_that_is_ready_finds_nothing(world: World) -> None:
    scenes.standby(world)
    assert findings(world) == []
    assert findings(world, mode=Mode.UNPLANNED) == []


def test_preflight_warns_of_a_bucket_that_may_be_dark(world: World) -> None:
    scenes.standby(world)
    scenes.bucket(world, PRIMARY)
    scenes.backup(world, "hourly", region=PRIMARY)
    assert findings(world, {**RAW, "BackupBucket": scenes.BUCKETS[PRIMARY]}) == [(Severity.WARNING, "BucketElsewhere")]


@pytest.mark.parametrize(
    ("raw", "code"), [({**RAW, "BackupBucket": "missing"}, "NoSuchBucket"), ({**RAW, "Prefix": "x/"}, "NoBackup"), (NO_BUCKET, "NoBackup")]
)
def test_without_a_backup_there_is_no_lag_and_no_cluster(world: World, raw: dict[str, Any], code: str) -> None:
    scenes.standby(world)
    assert findings(world, raw) == [(Severity.ERROR, code)]
    with pytest.raises(ModuleError) as unknown:
        world.module(MemoryDB, UP).lag(raw)
    assert unknown.value.code == code


def test_a_drill_restores_nothing(world: World) -> None:
    scenes.standby(world)
    assert findings(world, mode=Mode.DRILL) == [(Severity.ERROR, "RefusedInDrill")]
    with pytest.raises(ModuleError) as refusal:
        world.module(MemoryDB, UP, Mode.DRILL).start(RAW, again=False)
    assert refusal.value.code == "RefusedInDrill"
    assert world.changes == []


def test_several_clusters_come_up_together(world: World) -> None:
    scenes.standby(world)
    other = {**RAW, "ClusterName": "Sessions", "ClusterEndpointSSMKey": "/sessions"}
    assert world.drive(MemoryDB, UP, [RAW, other]).progress is Progress.DONE
    found = world.client("memorydb").describe_clusters()["Clusters"]
    assert {cluster["Name"] for cluster in found} == {scenes.NAME, "sessions"}
    assert "sessions" in scenes.stored(world, "/sessions")
