"""ECS: what preflight finds, and whom a cleanup never scales down."""

from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.base import Progress, Severity
from dr_modules.ecs import Ecs
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World, error

API = {"EcsClusterName": "prod", "EcsServiceName": "api"}
FOUR = {**API, "EcsDesiredSize": 4, "EcsAsgMinSize": 2}
UP, DOWN = Phase.INSTANTIATE, Phase.CLEANUP


def finding(world: World, raw: object = FOUR, phase: Phase = UP, mode: Mode = Mode.PLANNED) -> list[tuple[str, Severity]]:
    return [(found.code, found.severity) for found in world.module(Ecs, phase, mode).obstacles(raw)]


def running(world: World, region: str = STANDBY) -> int:
    found = world.client("ecs", region).describe_services(cluster="prod", services=["api"])["services"][0]
    return int(found["runningCount"])


# The live side


def absent(world: World) -> None:
    """The other Region has not even the cluster."""


def no_service(world: World) -> None:
    world.client("ecs", PRIMARY).create_cluster(clusterName="prod")


def scaled_to_zero(world: World) -> None:
    scenes.service(world, 0, region=PRIMARY)


def on_its_way_out(world: World) -> None:
    """Its tasks still run, but are asked to stop."""
    scenes.service(world, 2, region=PRIMARY).update_service(cluster="prod", service="api", desiredCount=0)


def on_its_way_in(world: World) -> None:
    """Asked for, and nothing runs yet."""
    scenes.service(world, 0, region=PRIMARY).update_service(cluster="prod", service="api", desiredCount=2)


def being_deleted(world: World) -> None:
    scenes.service(world, 2, region=PRIMARY).delete_service(cluster="prod", service="api", force=True)


@pytest.mark.parametrize("other", [absent, no_service, scaled_to_zero, on_its_way_out, on_its_way_in, being_deleted])
@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_what_runs_in_no_other_region_is_not_scaled_down(world: World, other: Any, mode: Mode) -> None:
    """us-west-2 is live, us-east-1 is not, and the request says to clean up us-west-2."""
    scenes.service(world, 4, (2, 8))
    other(world)
    module = world.module(Ecs, DOWN, mode)
    assert [found.code for found in module.obstacles(API)] == ["LiveSide"]
    with pytest.raises(ModuleError, match="it may be the live side; correct the Regions of the request") as raised:
        module.start(API, again=True)
    assert (raised.value.code, raised.value.error_class) == ("LiveSide", ErrorClass.TERMINAL)
    assert "us-east-1" in raised.value.message
    assert world.changes == []
    assert running(world) == 4


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_what_runs_in_the_other_region_too_is_scaled_down(world: World, mode: Mode) -> None:
    scenes.service(world, 4, (2, 8))
    scenes.service(world, 1, region=PRIMARY)
    assert finding(world, API, DOWN, mode) == []
    assert world.drive(Ecs, DOWN, API, mode).progress is Progress.DONE
    assert (running(world), running(world, PRIMARY)) == (0, 1)


@pytest.mark.parametrize("force", [True, "true", "Yes"])
def test_force_scales_down_and_does_not_ask_the_other_region(world: World, force: object) -> None:
    scenes.service(world, 4)
    assert world.drive(Ecs, DOWN, {**API, "Force": force}).progress is Progress.DONE
    assert running(world) == 0
    assert {call.region for call in world.calls} == {STANDBY}


def test_a_region_that_does_not_answer_is_no_proof_that_it_serves(world: World) -> None:
    scenes.service(world, 4, (2, 8))
    scenes.service(world, 1, region=PRIMARY)
    world.answer("ecs", "DescribeServices", error("AccessDeniedException"), status=400)
    module = world.module(Ecs, DOWN)
    with pytest.raises(ModuleError):
        module.start(API, again=True)
    assert world.changes == []


def test_names_given_as_arns_are_looked_for_by_name(world: World) -> None:
    ecs = scenes.service(world, 2)
    scenes.service(world, 1, region=PRIMARY)
    found = ecs.describe_services(cluster="prod", services=["api"])["services"][0]
    by_arn = {"EcsClusterName": found["clusterArn"], "EcsServiceName": found["serviceArn"]}
    assert world.drive(Ecs, DOWN, by_arn).progress is Progress.DONE


def test_each_service_of_a_list_is_looked_at(world: World) -> None:
    ecs = scenes.service(world, 2)
    ecs.create_service(cluster="prod", serviceName="web", taskDefinition="api", desiredCount=2)
    world.time.advance(60)
    scenes.service(world, 1, region=PRIMARY)
    with pytest.raises(ModuleError, match="web runs in us-west-2, and not in us-east-1"):
        world.module(Ecs, DOWN).start([API, {**API, "EcsServiceName": "web"}], again=True)


def test_a_scaled_down_service_whose_minimum_is_left_needs_no_proof(world: World) -> None:
    scenes.service(world, 0, (0, 8))
    world.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId="service/prod/api",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=0,
        MaxCapacity=8,
    )
    assert finding(world, API, DOWN) == []


# Preflight


def test_nothing_stands_in_the_way_of_a_service_that_can_run(world: World) -> None:
    scenes.service(world)
    assert finding(world) == []
    assert world.changes == []
    assert {call.region for call in world.calls} == {STANDBY}


def test_a_missing_cluster_is_named(world: World) -> None:
    with pytest.raises(ModuleError, match="there is no cluster prod in us-west-2: correct EcsClusterName") as raised:
        world.module(Ecs, UP).observe(FOUR)
    assert (raised.value.code, raised.value.error_class) == ("ClusterNotFoundException", ErrorClass.TERMINAL)


@pytest.mark.parametrize("phase", [UP, DOWN])
def test_a_service_without_a_desired_count_is_found(world: World, phase: Phase) -> None:
    scenes.service(world, 1, schedulingStrategy="DAEMON", launchType="EC2")
    assert finding(world, phase=phase) == [("DaemonService", Severity.ERROR)]


def test_a_task_definition_that_was_deregistered_still_scales(world: World) -> None:
    scenes.service(world).deregister_task_definition(taskDefinition="api:1")
    assert finding(world) == [("TaskDefinitionNotActive", Severity.WARNING)]
    assert world.drive(Ecs, UP, FOUR).progress is Progress.DONE


def test_a_task_definition_that_is_gone_is_found(world: World) -> None:
    scenes.service(world)
    world.answer("ecs", "DescribeTaskDefinition", error("ClientException"), status=400)
    assert finding(world) == [("TaskDefinitionNotFound", Severity.ERROR)]


def test_a_maximum_below_the_size_is_told(world: World) -> None:
    scenes.service(world, 0, (0, 2))
    assert finding(world) == [("MaximumRaised", Severity.WARNING)]


@pytest.mark.parametrize(
    ("cluster", "launch", "expected"),
    [
        ({"registeredContainerInstancesCount": 0}, "EC2", [("NoContainerInstances", Severity.ERROR)]),
        ({"registeredContainerInstancesCount": 1}, "EC2", []),
        ({"registeredContainerInstancesCount": 0}, "FARGATE", []),
        ({"status": "DEPROVISIONING"}, "FARGATE", [("ClusterNotActive", Severity.ERROR)]),
    ],
)
def test_the_cluster_must_be_able_to_run_the_tasks(world: World, cluster: Any, launch: str, expected: Any) -> None:
    scenes.service(world, launchType=launch)
    found = {"clusterName": "prod", "status": "ACTIVE", "registeredContainerInstancesCount": 0, **cluster}
    world.answer("ecs", "DescribeClusters", {"clusters": [found]})
    assert finding(world) == expected


@pytest.mark.parametrize(("already", "quota", "expected"), [(0, 4, []), (0, 3, ["QuotaTooLow"]), (1, 3, []), (1, 2, ["QuotaTooLow"])])
def test_fargates_quota_must_hold_the_tasks_that_are_missing(world: World, already: int, quota: float, expected: list[str]) -> None:
    scenes.service(world, already)
    world.answer("service-quotas", "GetServiceQuota", {"Quota": {"QuotaCode": "L-3032A538", "Value": quota}})
    assert [code for code, _ in finding(world)] == expected


def test_a_quota_that_cannot_be_told_is_no_obstacle(world: World) -> None:
    scenes.service(world)
    world.answer("service-quotas", "GetServiceQuota", error("NoSuchResourceException"), status=400)
    assert finding(world) == [("QuotaUnknown", Severity.WARNING)]


@pytest.mark.parametrize(("provider", "asked"), [("FARGATE", ["GetServiceQuota"]), ("FARGATE_SPOT", []), ("own-instances", [])])
def test_a_capacity_provider_decides_what_counts(world: World, provider: str, asked: list[str]) -> None:
    found = scenes.service(world).describe_services(cluster="prod", services=["api"])["services"][0]
    without = {key: value for key, value in found.items() if key != "launchType"}
    strategy = [{"capacityProvider": provider, "weight": 1}]
    world.answer("ecs", "DescribeServices", {"services": [{**without, "capacityProviderStrategy": strategy}]})
    assert finding(world) == []
    assert [call.operation for call in world.calls if call.operation == "GetServiceQuota"] == asked
