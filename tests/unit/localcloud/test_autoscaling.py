"""EC2 Auto Scaling: instances come into service and go over time, and sizes are held to."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.extension import autoscaling, clock

from .conftest import Client
from .test_rds import code


class Fleet:
    """A group of one to four instances, empty at first."""

    def __init__(self, aws: Client, time: clock.ManualClock) -> None:
        self.client, self.ec2, self.time = aws("autoscaling", "us-west-2"), aws("ec2", "us-west-2"), time
        self.client.create_launch_configuration(LaunchConfigurationName="lc", ImageId="ami-0abc1234", InstanceType="t3.micro")
        self.client.create_auto_scaling_group(
            AutoScalingGroupName="fleet",
            LaunchConfigurationName="lc",
            MinSize=0,
            MaxSize=4,
            AvailabilityZones=["us-west-2a"],
            Tags=[{"Key": "Application", "Value": "shop", "PropagateAtLaunch": True}],
        )

    def group(self) -> Any:
        return self.client.describe_auto_scaling_groups(AutoScalingGroupNames=["fleet"])["AutoScalingGroups"][0]

    def lifecycle(self) -> list[str]:
        return [instance["LifecycleState"] for instance in self.group()["Instances"]]

    def resize(self, **sizes: int) -> None:
        self.client.update_auto_scaling_group(AutoScalingGroupName="fleet", **sizes)


@pytest.fixture
def fleet(aws: Client, time: clock.ManualClock) -> Fleet:
    return Fleet(aws, time)


def test_instances_come_into_service_and_go_over_time(fleet: Fleet) -> None:
    fleet.resize(MinSize=2, MaxSize=4, DesiredCapacity=2)
    assert fleet.lifecycle() == ["Pending", "Pending"]
    fleet.time.advance(autoscaling.LAUNCH_SECONDS)
    assert fleet.lifecycle() == ["InService", "InService"]
    assert {instance["HealthStatus"] for instance in fleet.group()["Instances"]} == {"Healthy"}

    fleet.resize(MinSize=0, DesiredCapacity=0)
    assert fleet.lifecycle() == ["Terminating", "Terminating"]
    fleet.time.advance(autoscaling.TERMINATE_SECONDS)
    assert fleet.lifecycle() == []
    states = [each["State"]["Name"] for made in fleet.ec2.describe_instances()["Reservations"] for each in made["Instances"]]
    assert states == ["terminated", "terminated"]


def test_instances_on_their_way_count(fleet: Fleet) -> None:
    fleet.resize(DesiredCapacity=2)
    fleet.resize(DesiredCapacity=3)
    assert fleet.lifecycle() == ["Pending"] * 3
    fleet.resize(DesiredCapacity=1)
    assert sorted(fleet.lifecycle()) == ["Pending", "Terminating", "Terminating"]


def test_without_a_desired_capacity_the_bounds_move_the_present_one(fleet: Fleet) -> None:
    fleet.resize(MinSize=2)
    assert fleet.group()["DesiredCapacity"] == 2
    fleet.resize(MinSize=0, MaxSize=1)
    assert fleet.group()["DesiredCapacity"] == 1


@pytest.mark.parametrize("sizes", [{"DesiredCapacity": 5}, {"MinSize": 3, "DesiredCapacity": 2}, {"MinSize": 5}])
def test_sizes_that_do_not_fit_are_refused(fleet: Fleet, sizes: dict[str, int]) -> None:
    with pytest.raises(ClientError) as error:
        fleet.resize(**sizes)
    assert code(error) == "ValidationError"
    assert (fleet.group()["MinSize"], fleet.group()["MaxSize"], fleet.lifecycle()) == (0, 4, [])


def test_a_desired_capacity_outside_the_bounds_is_refused(fleet: Fleet) -> None:
    fleet.resize(MinSize=1)
    for desired in (0, 5):
        with pytest.raises(ClientError) as error:
            fleet.client.set_desired_capacity(AutoScalingGroupName="fleet", DesiredCapacity=desired)
        assert code(error) == "ValidationError"


def test_a_missing_group_is_absent_from_a_list_and_refused_for_a_change(fleet: Fleet) -> None:
    assert fleet.client.describe_auto_scaling_groups(AutoScalingGroupNames=["missing"])["AutoScalingGroups"] == []
    with pytest.raises(ClientError) as error:
        fleet.client.set_desired_capacity(AutoScalingGroupName="missing", DesiredCapacity=1)
    assert code(error) == "ValidationError"


def test_tags_are_kept(fleet: Fleet) -> None:
    tag = {"ResourceId": "fleet", "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
    fleet.client.create_or_update_tags(Tags=[{**tag, "Key": "Sizes", "Value": "1/2/4"}])
    assert {each["Key"]: each["Value"] for each in fleet.group()["Tags"]} == {"Application": "shop", "Sizes": "1/2/4"}


def test_a_group_with_instances_is_deleted_only_by_force(fleet: Fleet) -> None:
    fleet.resize(DesiredCapacity=1)
    with pytest.raises(ClientError) as error:
        fleet.client.delete_auto_scaling_group(AutoScalingGroupName="fleet")
    assert code(error) == "ResourceInUse"
    fleet.client.delete_auto_scaling_group(AutoScalingGroupName="fleet", ForceDelete=True)
    assert fleet.group()["Status"] == "Delete in progress"
    fleet.time.advance(autoscaling.TERMINATE_SECONDS)
    assert fleet.client.describe_auto_scaling_groups()["AutoScalingGroups"] == []
