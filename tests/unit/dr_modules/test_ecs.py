"""ECS: from whatever state a service is found in, to the size asked for, and to nothing."""

from typing import Any

import pytest
from pydantic import ValidationError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Phase
from dr_modules.base import Progress
from dr_modules.ecs import Ecs
from tests.support import scenes
from tests.support.aws import PRIMARY, World, error

API = {"EcsClusterName": "prod", "EcsServiceName": "api"}
FOUR = {**API, "EcsDesiredSize": 4, "EcsAsgMinSize": 2}
UP, DOWN = Phase.INSTANTIATE, Phase.CLEANUP


def seen(world: World, region: str = "us-west-2") -> tuple[int, int]:
    """Desired and running tasks."""
    found = world.client("ecs", region).describe_services(cluster="prod", services=["api"])["services"][0]
    return found["desiredCount"], found["runningCount"]


def limits(world: World, region: str = "us-west-2") -> list[tuple[int, int]]:
    """Least and most of the scalable target, if there is one."""
    found = world.client("application-autoscaling", region).describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    return [(target["MinCapacity"], target["MaxCapacity"]) for target in found]


def service_answer(**changed: Any) -> dict[str, Any]:
    """A DescribeServices answer: a service at 4 of 4, at rest, but for what is `changed`."""
    deployment = {"id": "1", "status": "PRIMARY", "rolloutState": "COMPLETED", "runningCount": 4, "desiredCount": 4}
    service = {
        "serviceName": "api",
        "status": "ACTIVE",
        "desiredCount": 4,
        "runningCount": 4,
        "pendingCount": 0,
        "deployments": [deployment],
    }
    return {"services": [{**service, **changed}]}


def rollout(*states: str | None, **more: Any) -> list[dict[str, Any]]:
    """Deployments in these states, the first one PRIMARY."""
    parts = [
        {"id": str(n), "status": "ACTIVE" if n else "PRIMARY", **({"rolloutState": s} if s else {}), **more} for n, s in enumerate(states)
    ]
    return parts[::-1]  # ECS promises no order


@pytest.mark.parametrize(
    ("desired", "bounds", "expected"),
    [(0, None, [(2, 4)]), (0, (0, 2), [(2, 4)]), (3, (1, 8), [(2, 8)]), (4, (2, 8), [(2, 8)])],
    ids=["fresh", "scaled to nothing by a cleanup", "half-way", "done already"],
)
def test_a_service_reaches_its_size_from_wherever_it_is_found(world: World, desired: int, bounds: Any, expected: Any) -> None:
    scenes.service(world, desired, bounds)

    status = world.drive(Ecs, UP, FOUR)

    assert status.progress is Progress.DONE
    assert seen(world) == (4, 4)
    assert limits(world) == expected


def test_a_second_run_changes_nothing(world: World) -> None:
    scenes.service(world)
    world.drive(Ecs, UP, FOUR)
    world.calls.clear()

    assert world.drive(Ecs, UP, FOUR).progress is Progress.DONE
    assert world.changes == []


def test_the_limits_are_set_before_the_count(world: World) -> None:
    scenes.service(world, 0, (0, 2))
    world.drive(Ecs, UP, FOUR)
    assert world.changes == ["RegisterScalableTarget", "UpdateService"]


def test_a_service_without_scalable_target_gets_none_unless_a_minimum_is_given(world: World) -> None:
    scenes.service(world)
    assert world.drive(Ecs, UP, {**API, "EcsDesiredSize": "4"}).progress is Progress.DONE
    assert limits(world) == []


def test_a_scalable_target_whose_minimum_the_manifest_does_not_name_keeps_it_and_makes_room(world: World) -> None:
    scenes.service(world, 1, (1, 2))
    world.drive(Ecs, UP, {**API, "EcsDesiredSize": 4})
    assert limits(world) == [(1, 4)]


def test_limits_that_are_right_are_left_alone(world: World) -> None:
    scenes.service(world, 2, (2, 8))
    assert world.drive(Ecs, UP, FOUR).progress is Progress.DONE
    assert world.changes == ["UpdateService"]


def test_a_service_that_has_scaled_out_further_is_not_scaled_in(world: World) -> None:
    scenes.service(world, 6, (2, 8))
    assert world.drive(Ecs, UP, FOUR).progress is Progress.DONE
    assert seen(world) == (6, 6)
    assert world.changes == []


def test_asked_for_is_not_running(world: World) -> None:
    scenes.service(world)
    module = world.module(Ecs, UP)
    module.start(FOUR, again=True)

    assert module.observe(FOUR).progress is Progress.IN_PROGRESS
    world.time.advance(22)  # the first wave of tasks runs
    half = module.observe(FOUR)
    assert half.progress is Progress.IN_PROGRESS
    assert half.percent == 50
    assert "2 of 4 running" in half.detail


def test_a_count_that_somebody_lowers_again_is_not_done(world: World) -> None:
    ecs = scenes.service(world, 4, (2, 8))
    module = world.module(Ecs, UP)
    ecs.update_service(cluster="prod", service="api", desiredCount=2)  # four still run
    assert module.observe(FOUR).progress is Progress.NOT_STARTED
    assert world.drive(Ecs, UP, FOUR).progress is Progress.DONE
    assert seen(world) == (4, 4)


def test_a_minimum_that_somebody_lowers_is_set_again(world: World) -> None:
    scenes.service(world, 4, (0, 8))
    assert world.module(Ecs, UP).observe(FOUR).progress is Progress.NOT_STARTED
    world.drive(Ecs, UP, FOUR)
    assert world.changes == ["RegisterScalableTarget"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Progress.DONE),
        ({"deployments": rollout("COMPLETED", "IN_PROGRESS")}, Progress.IN_PROGRESS),
        ({"deployments": rollout("IN_PROGRESS")}, Progress.IN_PROGRESS),
        ({"deployments": rollout("A_STATE_TO_COME")}, Progress.IN_PROGRESS),
        ({"deployments": rollout("FAILED", rolloutStateReason="tasks failed to start")}, Progress.FAILED),
        ({"deployments": rollout("COMPLETED", "FAILED")}, Progress.IN_PROGRESS),
        ({"deployments": []}, Progress.IN_PROGRESS),
        ({"deployments": rollout(None, runningCount=4, desiredCount=4)}, Progress.DONE),
        ({"deployments": rollout(None, runningCount=3, desiredCount=4)}, Progress.IN_PROGRESS),
        ({"deployments": [], "taskSets": [{"status": "PRIMARY", "stabilityStatus": "STEADY_STATE"}]}, Progress.DONE),
        ({"deployments": [], "taskSets": [{"status": "PRIMARY", "stabilityStatus": "STABILIZING"}]}, Progress.IN_PROGRESS),
        ({"runningCount": 3}, Progress.IN_PROGRESS),
        ({"desiredCount": 2}, Progress.NOT_STARTED),
        ({"status": "A_STATE_TO_COME"}, Progress.IN_PROGRESS),
    ],
)
def test_what_counts_as_done(world: World, changed: dict[str, Any], expected: Progress) -> None:
    world.answer("ecs", "DescribeServices", service_answer(**changed))
    status = world.module(Ecs, UP).observe({**API, "EcsDesiredSize": 4})
    assert status.progress is expected
    if expected is Progress.FAILED:
        assert "tasks failed to start" in status.detail


@pytest.mark.parametrize(
    ("answer", "code", "remedy"),
    [
        ({"services": [], "failures": [{"reason": "MISSING"}]}, "ServiceNotFoundException", "correct EcsServiceName"),
        (service_answer(status="DRAINING"), "ServiceNotActiveException", "deploy it again"),
        (service_answer(schedulingStrategy="DAEMON"), "DaemonService", "take it out of the manifest"),
    ],
)
def test_a_service_that_cannot_be_scaled_fails_with_the_remedy(world: World, answer: dict[str, Any], code: str, remedy: str) -> None:
    world.answer("ecs", "DescribeServices", answer)
    with pytest.raises(ModuleError, match=remedy) as raised:
        world.module(Ecs, UP).observe(FOUR)
    assert (raised.value.code, raised.value.error_class) == (code, ErrorClass.TERMINAL)
    assert "the-resource (ECS)" in raised.value.message


def test_a_throttle_is_no_failure_and_a_denial_is(world: World) -> None:
    scenes.service(world)
    world.answer("ecs", "UpdateService", error("ThrottlingException"), status=400)
    with pytest.raises(ModuleError) as raised:
        world.module(Ecs, UP).start(FOUR, again=True)
    assert raised.value.error_class is ErrorClass.THROTTLED
    world.answer("ecs", "UpdateService", error("AccessDeniedException"), status=400)
    with pytest.raises(ModuleError, match="execution role") as raised:
        world.module(Ecs, UP).start(FOUR, again=True)
    assert raised.value.error_class is ErrorClass.TERMINAL


@pytest.mark.parametrize(
    ("desired", "bounds", "calls"),
    [
        (4, (2, 8), ["RegisterScalableTarget", "UpdateService"]),
        (4, None, ["UpdateService"]),
        (1, (0, 8), ["UpdateService"]),
        (0, (0, 8), []),
    ],
)
def test_a_cleanup_leaves_no_task_and_nothing_that_starts_one(world: World, desired: int, bounds: Any, calls: list[str]) -> None:
    scenes.service(world, desired, bounds, region=PRIMARY)
    scenes.service(world, 1)  # the Region that has taken over

    assert world.drive(Ecs, DOWN, FOUR, region=PRIMARY).progress is Progress.DONE
    assert seen(world, PRIMARY) == (0, 0)
    assert seen(world) == (1, 1)
    assert limits(world, PRIMARY) == ([(0, 8)] if bounds else [])
    assert {call.region for call in world.calls if call.changes} <= {PRIMARY}
    assert world.changes == calls
    world.calls.clear()
    assert world.drive(Ecs, DOWN, FOUR, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []


@pytest.mark.parametrize("left", [{"runningCount": 1}, {"pendingCount": 1}], ids=["running", "pending"])
def test_a_cleanup_is_not_done_while_a_task_is_left(world: World, left: dict[str, int]) -> None:
    world.answer("ecs", "DescribeServices", service_answer(**{"desiredCount": 0, "runningCount": 0, **left}))
    assert world.module(Ecs, DOWN).observe(API).progress is Progress.IN_PROGRESS


def test_a_cleanup_is_not_done_while_auto_scaling_would_start_a_task(world: World) -> None:
    scenes.service(world, 0, (0, 8))
    scaling = world.client("application-autoscaling")
    target = {"ServiceNamespace": "ecs", "ResourceId": "service/prod/api", "ScalableDimension": "ecs:service:DesiredCount"}
    world.answer("ecs", "DescribeServices", service_answer(desiredCount=0, runningCount=0))
    assert world.module(Ecs, DOWN).observe(API).progress is Progress.DONE
    scaling.register_scalable_target(**target, MinCapacity=1)
    module = world.module(Ecs, DOWN)
    assert module.observe(API).progress is Progress.NOT_STARTED
    module.start(API, again=True)
    assert world.changes == ["RegisterScalableTarget"]


def test_names_may_be_arns(world: World) -> None:
    ecs = scenes.service(world, 0, (0, 8))
    found = ecs.describe_services(cluster="prod", services=["api"])["services"][0]
    by_arn = {**FOUR, "EcsClusterName": found["clusterArn"], "EcsServiceName": found["serviceArn"]}
    assert world.drive(Ecs, UP, by_arn).progress is Progress.DONE
    assert limits(world) == [(2, 8)]


def test_what_was_before_is_recorded(world: World) -> None:
    scenes.service(world, 1, (1, 8))
    assert world.module(Ecs, UP).record_before(FOUR) == [{"desired": 1, "min": 1, "max": 8}]


def test_what_does_not_fit_together_is_refused_before_anything_runs() -> None:
    assert Ecs.check_parameters(UP, Ecs.parse(API)[0])[0][0] == "EcsDesiredSize"
    assert Ecs.check_parameters(DOWN, Ecs.parse(API)[0]) == []
    assert Ecs.check_parameters(UP, Ecs.parse(FOUR)[0]) == []
    with pytest.raises(ValidationError, match="EcsAsgMinSize <= EcsDesiredSize"):
        Ecs.parse({**API, "EcsDesiredSize": 1, "EcsAsgMinSize": 2})
    with pytest.raises(ValidationError, match="EcsDesiredSize"):
        Ecs.parse({**API, "EcsDesiredSize": -1})
