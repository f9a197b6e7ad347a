"""ECS: tasks start and stop over time, and scalable targets bound their number."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.extension import clock, ecs

from .conftest import Client
from .test_rds import code

STARTED = ecs.START_TASK_SECONDS + ecs.WAVES * ecs.WAVE_SECONDS
STOPPED = ecs.STOP_TASK_SECONDS + ecs.WAVES * ecs.WAVE_SECONDS
DIMENSION = {"ServiceNamespace": "ecs", "ResourceId": "service/shop/web", "ScalableDimension": "ecs:service:DesiredCount"}


class Shop:
    """A cluster with one service, made with no tasks."""

    def __init__(self, aws: Client, time: clock.ManualClock) -> None:
        self.ecs, self.scaling, self.time = aws("ecs", "us-west-2"), aws("application-autoscaling", "us-west-2"), time
        self.ecs.create_cluster(clusterName="shop")
        self.register("web")
        self.ecs.create_service(cluster="shop", serviceName="web", taskDefinition="web", desiredCount=0)
        time.advance(STARTED)

    def register(self, family: str) -> None:
        container = {"name": "app", "image": "nginx", "memory": 64}
        self.ecs.register_task_definition(family=family, containerDefinitions=[container])

    def service(self) -> Any:
        return self.ecs.describe_services(cluster="shop", services=["web"])["services"][0]

    def counts(self) -> tuple[int, int, int]:
        service = self.service()
        return service["desiredCount"], service["pendingCount"], service["runningCount"]

    def scale(self, desired: int) -> None:
        self.ecs.update_service(cluster="shop", service="web", desiredCount=desired)


@pytest.fixture
def shop(aws: Client, time: clock.ManualClock) -> Shop:
    return Shop(aws, time)


def test_tasks_start_in_waves_and_stop_in_waves(shop: Shop) -> None:
    shop.scale(4)
    assert shop.counts() == (4, 4, 0)
    shop.time.advance(ecs.START_TASK_SECONDS)
    assert shop.counts() == (4, 2, 2)
    shop.time.advance(ecs.WAVE_SECONDS)
    assert shop.counts() == (4, 0, 4)
    shop.scale(0)
    assert shop.counts() == (0, 0, 4)
    shop.time.advance(STOPPED)
    assert shop.counts() == (0, 0, 0)


def test_a_later_count_overtakes_an_earlier_one(shop: Shop) -> None:
    shop.scale(4)
    shop.time.advance(ecs.START_TASK_SECONDS)
    shop.scale(1)
    shop.time.advance(STARTED)
    assert shop.counts() == (1, 0, 1)
    assert shop.ecs.describe_clusters(clusters=["shop"])["clusters"][0]["runningTasksCount"] == 1


def test_a_new_service_rolls_out(shop: Shop) -> None:
    shop.ecs.create_service(cluster="shop", serviceName="api", taskDefinition="web", desiredCount=1)

    def deployments() -> list[tuple[str, str]]:
        service = shop.ecs.describe_services(cluster="shop", services=["api"])["services"][0]
        return [(each["status"], each["rolloutState"]) for each in service["deployments"]]

    assert deployments() == [("PRIMARY", "IN_PROGRESS")]
    shop.time.advance(STARTED)
    assert deployments() == [("PRIMARY", "COMPLETED")]


def test_a_new_task_definition_makes_a_new_deployment_beside_the_old(shop: Shop) -> None:
    shop.scale(2)
    shop.time.advance(STARTED)
    shop.register("web")
    shop.ecs.update_service(cluster="shop", service="web", taskDefinition="web")
    primary, old = shop.service()["deployments"]
    assert (primary["status"], primary["rolloutState"], primary["runningCount"]) == ("PRIMARY", "IN_PROGRESS", 0)
    assert (old["status"], old["runningCount"]) == ("ACTIVE", 2)
    shop.time.advance(STARTED)
    (only,) = shop.service()["deployments"]
    assert (only["status"], only["rolloutState"], only["runningCount"]) == ("PRIMARY", "COMPLETED", 2)


def test_scaling_alone_makes_no_deployment(shop: Shop) -> None:
    shop.scale(2)
    assert [each["rolloutState"] for each in shop.service()["deployments"]] == ["COMPLETED"]


def test_what_does_not_exist_is_said_as_aws_says_it(shop: Shop) -> None:
    with pytest.raises(ClientError) as cluster:
        shop.ecs.describe_services(cluster="missing", services=["web"])
    assert code(cluster) == "ClusterNotFoundException"
    with pytest.raises(ClientError) as service:
        shop.ecs.update_service(cluster="shop", service="missing", desiredCount=1)
    assert code(service) == "ServiceNotFoundException"
    (failure,) = shop.ecs.describe_services(cluster="shop", services=["missing"])["failures"]
    assert failure["reason"] == "MISSING"
    with pytest.raises(ClientError) as twice:
        shop.ecs.create_service(cluster="shop", serviceName="web", taskDefinition="web", desiredCount=0)
    assert code(twice) == "InvalidParameterException"


def test_a_deleted_service_drains_and_is_no_longer_active(shop: Shop) -> None:
    shop.scale(1)
    shop.time.advance(STARTED)
    with pytest.raises(ClientError) as scaled:
        shop.ecs.delete_service(cluster="shop", service="web")
    assert code(scaled) == "InvalidParameterException"
    shop.ecs.delete_service(cluster="shop", service="web", force=True)
    assert shop.service()["status"] == "DRAINING"
    shop.time.advance(STOPPED)
    assert shop.service()["status"] == "INACTIVE"
    with pytest.raises(ClientError) as inactive:
        shop.scale(1)
    assert code(inactive) == "ServiceNotActiveException"


def test_a_scalable_target_brings_the_service_within_its_bounds(shop: Shop) -> None:
    shop.scaling.register_scalable_target(**DIMENSION, MinCapacity=2, MaxCapacity=4)
    assert shop.counts()[0] == 2
    shop.scale(4)
    shop.scaling.register_scalable_target(**DIMENSION, MaxCapacity=3)
    assert shop.counts()[0] == 3
    shop.time.advance(STARTED)
    assert shop.counts() == (3, 0, 3)


def test_a_scalable_target_needs_bounds_that_fit_and_a_service(shop: Shop) -> None:
    for bounds in ({"MinCapacity": 1}, {"MinCapacity": 3, "MaxCapacity": 2}):
        with pytest.raises(ClientError) as error:
            shop.scaling.register_scalable_target(**DIMENSION, **bounds)
        assert code(error) == "ValidationException"
    with pytest.raises(ClientError) as missing:
        shop.scaling.register_scalable_target(**{**DIMENSION, "ResourceId": "service/shop/missing"}, MinCapacity=1, MaxCapacity=2)
    assert code(missing) == "ValidationException"
