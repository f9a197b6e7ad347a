"""AutoScaling: groups grow to the size asked for, shrink to nothing, and remember what they were."""

from typing import Any

import pytest
from pydantic import ValidationError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Phase
from dr_modules.auto_scaling import FORMER_SIZE, AutoScaling
from dr_modules.base import Progress
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World

WORKERS = {"Autoscalinggroupnames": ["workers"]}
THREE = {**WORKERS, "DesiredCount": 3}
UP, DOWN = Phase.INSTANTIATE, Phase.CLEANUP


def seen(world: World, name: str = "workers", region: str = STANDBY) -> tuple[int, int, int, int]:
    """Minimum, desired and maximum size, and the instances in service."""
    found = world.client("autoscaling", region).describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]
    serving = [one for one in found["Instances"] if one["LifecycleState"] == "InService"]
    return found["MinSize"], found["DesiredCapacity"], found["MaxSize"], len(serving)


def tag(world: World, value: str | None = None, region: str = STANDBY) -> str | None:
    """Set, or read, the tag that keeps the former size."""
    client = world.client("autoscaling", region)
    if value is not None:
        of_group = {"ResourceId": "workers", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
        client.create_or_update_tags(Tags=[{**of_group, "Key": FORMER_SIZE, "Value": value}])
    tags = client.describe_auto_scaling_groups(AutoScalingGroupNames=["workers"])["AutoScalingGroups"][0]["Tags"]
    return next((one["Value"] for one in tags if one["Key"] == FORMER_SIZE), None)


def group_answer(*instances: dict[str, str], **changed: Any) -> dict[str, Any]:
    """A DescribeAutoScalingGroups answer: a group of 2 with these instances, but for what is `changed`."""
    common = {"AutoScalingGroupName": "workers", "MinSize": 0, "DesiredCapacity": 2, "MaxSize": 4}
    rest = {"DefaultCooldown": 300, "AvailabilityZones": ["us-west-2a"], "HealthCheckType": "EC2", "CreatedTime": "2031-03-01"}
    listed = [
        {"InstanceId": f"i-{n}", "AvailabilityZone": "us-west-2a", "ProtectedFromScaleIn": False, **one} for n, one in enumerate(instances)
    ]
    return {"AutoScalingGroups": [{**common, **rest, "Instances": listed, **changed}]}


def both(world: World, name: str = "workers", sizes: tuple[int, int, int] = (0, 0, 4)) -> None:
    """The group, and one of the same name that runs in the other Region."""
    scenes.group(world, name, sizes)
    scenes.group(world, name, (1, 1, 4), region=PRIMARY)


HEALTHY = {"LifecycleState": "InService", "HealthStatus": "Healthy"}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((0, 0, 4), (0, 3, 4)), ((0, 0, 2), (0, 3, 3)), ((1, 2, 4), (1, 3, 4)), ((0, 3, 4), (0, 3, 4)), ((2, 4, 8), (2, 4, 8))],
    ids=["fresh", "maximum too low", "half-way", "done already", "scaled out further"],
)
def test_a_group_reaches_its_size_from_wherever_it_is_found(world: World, sizes: Any, expected: Any) -> None:
    scenes.group(world, sizes=sizes)

    assert world.drive(AutoScaling, UP, THREE).progress is Progress.DONE
    assert seen(world) == (*expected, expected[1])
    assert world.changes == ([] if sizes == expected else ["UpdateAutoScalingGroup"])
    world.calls.clear()
    assert world.drive(AutoScaling, UP, THREE).progress is Progress.DONE
    assert world.changes == []


def test_sizes_that_the_manifest_names_are_set_together(world: World) -> None:
    scenes.group(world)
    named = {"Autoscalinggroupnames": "workers", "DesiredCount": "3", "MinSize": "2", "MaxSize": "6"}
    assert world.drive(AutoScaling, UP, named).progress is Progress.DONE
    assert seen(world) == (2, 3, 6, 3)
    assert world.changes == ["UpdateAutoScalingGroup"]


def test_asked_for_is_not_in_service(world: World) -> None:
    scenes.group(world)
    module = world.module(AutoScaling, UP)
    assert module.observe(THREE).progress is Progress.NOT_STARTED
    module.start(THREE, again=True)
    status = module.observe(THREE)
    assert (status.progress, status.percent) == (Progress.IN_PROGRESS, 0)
    assert "0 of 3 in service and healthy" in status.detail


@pytest.mark.parametrize(
    ("second", "changed", "expected"),
    [
        (HEALTHY, {}, Progress.DONE),
        ({**HEALTHY, "HealthStatus": "Unhealthy"}, {}, Progress.IN_PROGRESS),
        ({**HEALTHY, "LifecycleState": "Pending"}, {}, Progress.IN_PROGRESS),
        ({**HEALTHY, "LifecycleState": "Standby"}, {}, Progress.IN_PROGRESS),
        ({**HEALTHY, "LifecycleState": "Terminating:Wait"}, {}, Progress.IN_PROGRESS),
        (HEALTHY, {"DesiredCapacity": 1}, Progress.NOT_STARTED),
        ({**HEALTHY, "WeightedCapacity": "3"}, {"DesiredCapacity": 4}, Progress.DONE),
        (HEALTHY, {"DesiredCapacity": 4}, Progress.IN_PROGRESS),
    ],
)
def test_what_counts_as_done(world: World, second: dict[str, str], changed: dict[str, Any], expected: Progress) -> None:
    world.answer("autoscaling", "DescribeAutoScalingGroups", group_answer(HEALTHY, second, **changed))
    assert world.module(AutoScaling, UP).observe({**WORKERS, "DesiredCount": 2}).progress is expected


def test_every_group_counts(world: World) -> None:
    both(world, "workers", (0, 3, 4))
    both(world, "others")
    named = {**THREE, "Autoscalinggroupnames": ["workers", "others"]}
    assert world.module(AutoScaling, UP).observe(named).progress is Progress.NOT_STARTED
    assert world.drive(AutoScaling, UP, named).progress is Progress.DONE
    assert [call.parameters["AutoScalingGroupName"] for call in world.calls if call.changes] == ["others"]
    world.drive(AutoScaling, DOWN, named)
    assert (seen(world), seen(world, "others")) == ((0, 0, 4, 0), (0, 0, 4, 0))


@pytest.mark.parametrize("sizes", [(1, 3, 4), (0, 2, 4), (1, 1, 4)])
def test_a_cleanup_empties_the_group_and_an_instantiate_restores_it(world: World, sizes: tuple[int, int, int]) -> None:
    scenes.group(world, sizes=sizes, region=PRIMARY)
    scenes.group(world, sizes=(1, 1, 4))  # the Region that has taken over

    assert world.drive(AutoScaling, DOWN, WORKERS, region=PRIMARY).progress is Progress.DONE
    assert seen(world, region=PRIMARY) == (0, 0, 4, 0)
    assert world.changes == ["CreateOrUpdateTags", "UpdateAutoScalingGroup"]
    assert tag(world, region=PRIMARY) == ",".join(map(str, sizes))

    world.calls.clear()
    assert world.drive(AutoScaling, DOWN, WORKERS, region=PRIMARY).progress is Progress.DONE
    assert world.changes == []
    assert world.drive(AutoScaling, UP, WORKERS, region=PRIMARY).progress is Progress.DONE
    assert seen(world, region=PRIMARY) == (*sizes, sizes[1])


def test_the_former_size_survives_a_cleanup_that_died_half_way(world: World) -> None:
    both(world, sizes=(1, 3, 4))
    tag(world, "1,3,4")  # the tag was written, the group not yet scaled
    assert world.drive(AutoScaling, DOWN, WORKERS).progress is Progress.DONE
    assert world.changes == ["UpdateAutoScalingGroup"]
    assert tag(world) == "1,3,4"


def test_the_former_size_of_a_group_that_is_empty_already_is_not_overwritten(world: World) -> None:
    both(world, "workers", (1, 3, 4))
    world.drive(AutoScaling, DOWN, WORKERS)
    both(world, "others", (0, 2, 4))
    assert world.drive(AutoScaling, DOWN, {"Autoscalinggroupnames": ["workers", "others"]}).progress is Progress.DONE
    assert tag(world) == "1,3,4"


def test_a_new_size_replaces_the_former_one(world: World) -> None:
    both(world, sizes=(2, 4, 8))
    tag(world, "1,3,4")
    world.drive(AutoScaling, DOWN, WORKERS)
    assert tag(world) == "2,4,8"


def test_emptied_means_no_instance_left(world: World) -> None:
    both(world, sizes=(1, 3, 4))
    module = world.module(AutoScaling, DOWN)
    assert module.observe(WORKERS).progress is Progress.NOT_STARTED
    module.start(WORKERS, again=True)
    status = module.observe(WORKERS)
    assert (status.progress, status.detail) == (Progress.IN_PROGRESS, "workers: 3 instances left")


def test_a_group_that_would_grow_again_is_not_emptied(world: World) -> None:
    world.answer("autoscaling", "DescribeAutoScalingGroups", group_answer(MinSize=1, DesiredCapacity=0))
    assert world.module(AutoScaling, DOWN).observe(WORKERS).progress is Progress.NOT_STARTED
    world.answer("autoscaling", "DescribeAutoScalingGroups", group_answer(MinSize=0, DesiredCapacity=1))
    assert world.module(AutoScaling, DOWN).observe(WORKERS).progress is Progress.NOT_STARTED


@pytest.mark.parametrize("value", ["", "many", "1,2", "1,x,3"])
def test_without_any_size_the_remedy_is_named(world: World, value: str) -> None:
    scenes.group(world)
    if value:
        tag(world, value)
    with pytest.raises(ModuleError, match="give DesiredCount in the manifest") as raised:
        world.module(AutoScaling, UP).observe(WORKERS)
    assert (raised.value.code, raised.value.error_class) == ("UnknownSize", ErrorClass.TERMINAL)


@pytest.mark.parametrize("phase", [UP, DOWN])
def test_a_group_that_is_not_there_fails_with_the_remedy(world: World, phase: Phase) -> None:
    scenes.group(world)
    with pytest.raises(ModuleError, match="there is no Auto Scaling group other in us-west-2: correct") as raised:
        world.module(AutoScaling, phase).observe({"Autoscalinggroupnames": ["workers", "other"], "DesiredCount": 1})
    assert raised.value.error_class is ErrorClass.TERMINAL


@pytest.mark.parametrize(("phase", "process"), [(UP, "Launch"), (DOWN, "Terminate")])
def test_a_suspended_process_is_named_before_anything_is_changed(world: World, phase: Phase, process: str) -> None:
    client = scenes.group(world, sizes=(1, 1, 4))
    client.suspend_processes(AutoScalingGroupName="workers", ScalingProcesses=[process])
    module = world.module(AutoScaling, phase)
    assert [found.code for found in module.obstacles(THREE)] == ["ProcessSuspended"]
    with pytest.raises(ModuleError, match=f"has its process {process} suspended: resume it"):
        module.start(THREE, again=True)
    assert world.changes == []


def test_a_group_that_is_being_deleted_is_named(world: World) -> None:
    world.answer("autoscaling", "DescribeAutoScalingGroups", group_answer(Status="Delete in progress"))
    assert [found.code for found in world.module(AutoScaling, UP).obstacles(THREE)] == ["GroupIsDeleted"]


def test_what_was_before_is_recorded(world: World) -> None:
    scenes.group(world, sizes=(1, 2, 4))
    assert world.module(AutoScaling, UP).record_before(THREE) == [{"workers": {"min": 1, "desired": 2, "max": 4}}]


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValidationError, match="MinSize <= DesiredCount <= MaxSize"):
        AutoScaling.parse({**THREE, "MaxSize": 2})
    with pytest.raises(ValidationError):
        AutoScaling.parse({"Autoscalinggroupnames": []})
