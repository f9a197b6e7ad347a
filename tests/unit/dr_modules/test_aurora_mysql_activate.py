"""AuroraMySQL, ACTIVATE: the standby becomes the writer, and how far it was behind."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.aurora_mysql import AuroraMySQL
from dr_modules.base import Progress, Severity
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World, error
from tests.support.scenes import AURORA, CLUSTER, GLOBAL

ACTIVATE = Phase.ACTIVATE


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
    assert {one.region for one in world.calls if one.changes} == {STANDBY}
    assert (PRIMARY in {one.region for one in world.calls}) is (mode is Mode.PLANNED)
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
    scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", {"FailoverState": state})
    with pytest.raises(ModuleError, match="retry when it has ended"):
        world.module(AuroraMySQL, ACTIVATE).observe(AURORA)


OURS, THEIRS = [scenes.member(PRIMARY, False), scenes.member(STANDBY, True)], [scenes.member(PRIMARY, True), scenes.member(STANDBY, False)]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"GlobalClusterMembers": OURS}, Progress.DONE),
        ({"GlobalClusterMembers": THEIRS}, Progress.NOT_STARTED),
        ({"GlobalClusterMembers": [scenes.member(PRIMARY, False), scenes.member(STANDBY, False)]}, Progress.NOT_STARTED),
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
    scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", changed, without=() if "FailoverState" in changed else ("FailoverState",))
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
    scenes.put(world, operation, key, changed)
    assert world.module(AuroraMySQL, ACTIVATE).observe(AURORA).progress is expected


def test_a_writer_without_instances_is_failed(world: World) -> None:
    scenes.aurora(world)
    scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": OURS}, without=("FailoverState",))
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
    with pytest.raises(ModuleError, match="a drill does not run"):
        module.start(AURORA, again=True)
    assert world.changes == []


def test_a_switchover_waits_for_a_secondary_that_is_behind(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    behind = [scenes.member(PRIMARY, True), scenes.member(STANDBY, False, "pending-resync")]
    scenes.put(world, "DescribeGlobalClusters", "GlobalClusters", {"GlobalClusterMembers": behind}, without=("FailoverState",))
    assert [found.code for found in world.module(AuroraMySQL, ACTIVATE).obstacles(AURORA)] == ["OutOfSync"]
    unplanned = world.module(AuroraMySQL, ACTIVATE, Mode.UNPLANNED).obstacles(AURORA)
    assert [(found.code, found.severity) for found in unplanned] == [("OutOfSync", Severity.WARNING)]


def test_a_cluster_that_has_left_the_global_cluster_is_named(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    scenes.put(
        world,
        "DescribeGlobalClusters",
        "GlobalClusters",
        {"GlobalClusterMembers": [scenes.member(PRIMARY, True)]},
        without=("FailoverState",),
    )
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


# before the failover


def finding(world: World, raw: object = AURORA, mode: Mode = Mode.PLANNED) -> list[tuple[str, Severity]]:
    return [(found.code, found.severity) for found in world.module(AuroraMySQL, ACTIVATE, mode).obstacles(raw)]


def test_nothing_stands_in_the_way_of_a_healthy_pair(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    assert finding(world) == []
    assert finding(world, mode=Mode.UNPLANNED) == []
    assert world.changes == []


@pytest.mark.parametrize(
    ("operation", "key", "changed", "expected"),
    [
        ("DescribeDBInstances", "DBInstances", {"DBInstanceStatus": "storage-full"}, ("NotAvailable", Severity.ERROR)),
        ("DescribeDBInstances", "DBInstances", {"DBInstanceStatus": "rebooting"}, ("NotYetAvailable", Severity.WARNING)),
        ("DescribeDBClusters", "DBClusters", {"Status": "stopped"}, ("NotAvailable", Severity.ERROR)),
        ("DescribeDBClusters", "DBClusters", {"Status": "a-state-to-come"}, ("NotYetAvailable", Severity.WARNING)),
        ("DescribeGlobalClusters", "GlobalClusters", {"Status": "modifying"}, ("NotYetAvailable", Severity.WARNING)),
    ],
)
def test_what_is_not_available_is_found(world: World, operation: str, key: str, changed: Any, expected: tuple[str, Severity]) -> None:
    scenes.aurora(world, ("reader-1",))
    scenes.put(world, operation, key, changed, without=("FailoverState",))
    assert finding(world, mode=Mode.UNPLANNED) == [expected]


def test_a_writer_that_could_not_hand_over_is_found_only_where_it_is_asked(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    for name in ("writer-1", "writer-2"):
        world.client("rds", PRIMARY).delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    world.time.advance(60)
    assert finding(world) == [("WriterWithoutInstances", Severity.ERROR)]
    world.calls.clear()
    assert finding(world, mode=Mode.UNPLANNED) == []
    assert {call.region for call in world.calls} == {STANDBY}


def test_an_instance_that_is_not_in_the_cluster_cannot_become_its_writer(world: World) -> None:
    scenes.lone_cluster(world, ("one", "two"))
    within = {"DBClusterIdentifier": CLUSTER, "DBInstanceIdentifier": "three"}
    assert finding(world, within) == [("NotAMember", Severity.ERROR)]
    assert finding(world, {**within, "DBInstanceIdentifier": ["three", "two"]}) == []


def measured(world: World, **milliseconds: float) -> None:
    """CloudWatch's newest datapoint of each metric; an older one is ten times as large."""
    now = datetime.now(UTC)
    results = [
        {"Id": metric.lower(), "Label": metric, "Timestamps": [now, now - timedelta(minutes=1)], "Values": [value, 10 * value]}
        for metric, value in milliseconds.items()
    ]
    empty = {"Id": "auroraglobaldbprogresslag", "Timestamps": [], "Values": []}
    world.answer("cloudwatch", "GetMetricData", {"MetricDataResults": [*results, empty]})


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [
        ({"AuroraGlobalDBReplicationLag": 1500.0}, 1.5),
        ({"AuroraGlobalDBReplicationLag": 1500.0, "AuroraGlobalDBRPOLag": 2500.0}, 2.5),
        ({"AuroraGlobalDBReplicationLag": 1500.0, "AuroraGlobalDBRPOLag": 40.0}, 1.5),
    ],
)
def test_the_lag_is_the_newest_and_largest_of_the_secondary(world: World, milliseconds: Any, seconds: float, mode: Mode) -> None:
    scenes.aurora(world, ("reader-1",))
    measured(world, **milliseconds)
    assert world.module(AuroraMySQL, ACTIVATE, mode).lag(AURORA) == seconds
    assert {call.region for call in world.calls} == {STANDBY}
    query = next(call for call in world.calls if call.operation == "GetMetricData").parameters
    assert [one["MetricStat"]["Metric"]["Dimensions"] for one in query["MetricDataQueries"]] == [
        [{"Name": "DBClusterIdentifier", "Value": CLUSTER}]
    ] * 2
    assert query["EndTime"] - query["StartTime"] == timedelta(minutes=5)
    assert query["ScanBy"] == "TimestampDescending"


@pytest.mark.parametrize("milliseconds", [{}, {"AuroraGlobalDBRPOLag": 40.0}], ids=["nothing", "RPO lag alone"])
def test_a_lag_that_nobody_measures_is_not_zero(world: World, milliseconds: Any) -> None:
    scenes.aurora(world, ("reader-1",))
    measured(world, **milliseconds)
    with pytest.raises(ModuleError, match="has published no AuroraGlobalDBReplicationLag in the last 5 minutes") as raised:
        world.module(AuroraMySQL, ACTIVATE).lag(AURORA)
    assert raised.value.code == "LagUnknown"


def test_the_lag_of_the_emulated_pair(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    assert world.module(AuroraMySQL, ACTIVATE).lag(AURORA) == 0.12
    assert AuroraMySQL.max_lag_seconds == 10


def test_where_nothing_is_replicated_there_is_no_lag(world: World) -> None:
    scenes.lone_cluster(world, ("one", "two"))
    within = {"DBClusterIdentifier": CLUSTER, "DBInstanceIdentifier": "two"}
    assert world.module(AuroraMySQL, ACTIVATE).lag(within) is None


def test_a_writer_that_does_not_serve_yet_has_no_lag(world: World) -> None:
    scenes.aurora(world, ("reader-1",))
    world.drive(AuroraMySQL, ACTIVATE, AURORA)
    scenes.put(world, "DescribeDBInstances", "DBInstances", {"DBInstanceStatus": "failed"})
    assert world.module(AuroraMySQL, ACTIVATE).lag(AURORA) is None
