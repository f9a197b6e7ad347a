"""AutoScaling: what preflight finds, and which group a cleanup never empties."""

from typing import Any

import pytest

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_modules.auto_scaling import AutoScaling
from dr_modules.base import Progress, Severity
from tests.support import scenes
from tests.support.aws import PRIMARY, STANDBY, World, error

WORKERS = {"Autoscalinggroupnames": ["workers"]}
THREE = {**WORKERS, "DesiredCount": 3}
UP, DOWN = Phase.INSTANTIATE, Phase.CLEANUP


def finding(world: World, raw: object = THREE, phase: Phase = UP, mode: Mode = Mode.PLANNED) -> list[tuple[str, Severity]]:
    return [(found.code, found.severity) for found in world.module(AutoScaling, phase, mode).obstacles(raw)]


def instances(world: World, name: str = "workers", region: str = STANDBY) -> list[dict[str, Any]]:
    groups = world.client("autoscaling", region).describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    return list(groups[0]["Instances"])


# The live side


def absent(world: World) -> None:
    """The other Region has no group of that name."""
    scenes.group(world, "others", (1, 1, 4), region=PRIMARY)


def empty(world: World) -> None:
    scenes.group(world, region=PRIMARY)


def on_its_way_out(world: World) -> None:
    """Its instances still serve, but are asked to go."""
    scenes.group(world, sizes=(0, 2, 4), region=PRIMARY).update_auto_scaling_group(AutoScalingGroupName="workers", DesiredCapacity=0)


def on_its_way_in(world: World) -> None:
    """Asked for, and none is in service yet."""
    scenes.group(world, region=PRIMARY).update_auto_scaling_group(AutoScalingGroupName="workers", DesiredCapacity=2)


@pytest.mark.parametrize("other", [absent, empty, on_its_way_out, on_its_way_in])
@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_what_runs_in_no_other_region_is_not_emptied(world: World, other: Any, mode: Mode) -> None:
    """us-west-2 is live, us-east-1 is not, and the request says to clean up us-west-2."""
    scenes.group(world, sizes=(1, 2, 4))
    other(world)
    module = world.module(AutoScaling, DOWN, mode)
    assert [found.code for found in module.obstacles(WORKERS)] == ["LiveSide"]
    with pytest.raises(ModuleError, match="it may be the live side; correct the Regions of the request") as raised:
        module.start(WORKERS, again=True)
    assert (raised.value.code, raised.value.error_class) == ("LiveSide", ErrorClass.TERMINAL)
    assert "not in us-east-1" in raised.value.message
    assert world.changes == []
    assert len(instances(world)) == 2


def test_instances_that_are_not_healthy_prove_nothing(world: World) -> None:
    scenes.group(world, sizes=(1, 2, 4))
    east = scenes.group(world, sizes=(1, 1, 4), region=PRIMARY)
    east.set_instance_health(InstanceId=instances(world, region=PRIMARY)[0]["InstanceId"], HealthStatus="Unhealthy")
    assert finding(world, WORKERS, DOWN) == [("LiveSide", Severity.ERROR)]


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_what_runs_in_the_other_region_too_is_emptied(world: World, mode: Mode) -> None:
    scenes.group(world, sizes=(1, 2, 4))
    scenes.group(world, sizes=(1, 1, 4), region=PRIMARY)
    assert finding(world, WORKERS, DOWN, mode) == []
    assert world.drive(AutoScaling, DOWN, WORKERS, mode).progress is Progress.DONE
    assert (len(instances(world)), len(instances(world, region=PRIMARY))) == (0, 1)
    assert {call.region for call in world.calls if call.changes} == {STANDBY}


@pytest.mark.parametrize("force", [True, "true", "Yes"])
def test_force_empties_and_does_not_ask_the_other_region(world: World, force: object) -> None:
    scenes.group(world, sizes=(1, 2, 4))
    assert world.drive(AutoScaling, DOWN, {**WORKERS, "Force": force}).progress is Progress.DONE
    assert instances(world) == []
    assert {call.region for call in world.calls} == {STANDBY}


def test_one_group_that_is_live_keeps_all_of_them(world: World) -> None:
    for name in ("workers", "others"):
        scenes.group(world, name, (1, 2, 4))
    scenes.group(world, sizes=(1, 1, 4), region=PRIMARY)
    with pytest.raises(ModuleError, match="group others runs in us-west-2, and not in us-east-1"):
        world.module(AutoScaling, DOWN).start({"Autoscalinggroupnames": ["workers", "others"]}, again=True)
    assert world.changes == []


def test_a_group_that_is_empty_already_needs_no_proof(world: World) -> None:
    scenes.group(world, "workers", (1, 2, 4))
    scenes.group(world, "others")
    scenes.group(world, sizes=(1, 1, 4), region=PRIMARY)
    assert world.drive(AutoScaling, DOWN, {"Autoscalinggroupnames": ["workers", "others"]}).progress is Progress.DONE


def test_a_group_scaled_to_nothing_that_may_grow_again_is_still_converged(world: World) -> None:
    scenes.group(world)
    world.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName="workers", MinSize=0, MaxSize=8)
    assert world.drive(AutoScaling, DOWN, WORKERS).progress is Progress.DONE
    assert {call.region for call in world.calls} == {STANDBY}


# Preflight


@pytest.mark.parametrize("of_template", [True, False])
def test_nothing_stands_in_the_way_of_a_group_that_can_launch(world: World, of_template: bool) -> None:
    scenes.group(world, **(scenes.template(world) if of_template else {}))
    assert finding(world) == []
    assert world.changes == []
    assert {call.region for call in world.calls} == {STANDBY}


def test_a_launch_template_that_is_gone_is_found(world: World) -> None:
    scenes.group(world, **scenes.template(world))
    world.client("ec2").delete_launch_template(LaunchTemplateName="workers")
    assert finding(world) == [("LaunchTemplateNotFound", Severity.ERROR)]


def test_templates_of_a_mixed_instances_policy_are_looked_for(world: World) -> None:
    group = scenes.template(world)
    other = world.client("ec2").create_launch_template(
        LaunchTemplateName="arm", LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "t4g.micro"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    scenes.group(world, **group)
    client = world.client("autoscaling")
    found = client.describe_auto_scaling_groups(AutoScalingGroupNames=["workers"])["AutoScalingGroups"][0]
    specification = found.pop("LaunchTemplate")
    overrides = [{"InstanceType": "t4g.micro", "LaunchTemplateSpecification": {"LaunchTemplateId": other, "Version": "1"}}]
    policy = {"LaunchTemplate": {"LaunchTemplateSpecification": specification, "Overrides": overrides}}
    world.answer("autoscaling", "DescribeAutoScalingGroups", {"AutoScalingGroups": [{**found, "MixedInstancesPolicy": policy}]})
    assert finding(world) == []
    world.client("ec2").delete_launch_template(LaunchTemplateName="arm")
    assert finding(world) == [("LaunchTemplateNotFound", Severity.ERROR)]
    world.client("ec2").delete_launch_template(LaunchTemplateName="workers")
    assert finding(world) == [("LaunchTemplateNotFound", Severity.ERROR)] * 2


def test_another_refusal_of_ec2_is_not_called_a_missing_template(world: World) -> None:
    scenes.group(world, **scenes.template(world))
    world.answer("ec2", "DescribeLaunchTemplateVersions", error("AccessDenied"), status=403)
    assert finding(world) == [("AccessDenied", Severity.ERROR)]


def test_a_launch_configuration_that_is_gone_is_found(world: World) -> None:
    scenes.group(world).delete_launch_configuration(LaunchConfigurationName="workers")
    assert finding(world) == [("LaunchConfigurationNotFound", Severity.ERROR)]


def subnets(world: World, **free: int) -> None:
    found = [{"SubnetId": name.replace("_", "-"), "AvailableIpAddressCount": count} for name, count in free.items()]
    world.answer("ec2", "DescribeSubnets", {"Subnets": found})


def test_a_subnet_that_is_gone_is_found(world: World) -> None:
    scenes.group(world, **scenes.template(world))
    subnets(world)
    assert finding(world) == [("SubnetNotFound", Severity.ERROR)]


@pytest.mark.parametrize(("free", "expected"), [(1, []), (0, [("InsufficientFreeAddresses", Severity.ERROR)])])
def test_the_subnets_must_hold_the_instances_that_are_missing(world: World, free: int, expected: Any) -> None:
    group = scenes.template(world)
    scenes.group(world, sizes=(0, 2, 4), **group)
    subnets(world, **{group["VPCZoneIdentifier"].replace("-", "_"): free})
    assert finding(world) == expected


def test_a_maximum_below_the_size_is_told(world: World) -> None:
    scenes.group(world, sizes=(0, 0, 2))
    assert finding(world) == [("MaximumRaised", Severity.WARNING)]


def test_instances_that_nobody_may_take_would_stay(world: World) -> None:
    client = scenes.group(world, sizes=(1, 2, 4))
    scenes.group(world, sizes=(1, 1, 4), region=PRIMARY)
    ids = [instances(world)[0]["InstanceId"]]
    client.set_instance_protection(AutoScalingGroupName="workers", InstanceIds=ids, ProtectedFromScaleIn=True)
    assert finding(world, WORKERS, DOWN) == [("ScaleInProtection", Severity.ERROR)]
    assert finding(world) == []
