"""CloudWatch's readings of what moto holds: present values, held values, no values."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from localcloud.extension import clock, cloudwatch, rds, rds_global, rds_lag

from .conftest import Client
from .test_rds_global import Orders

ACCOUNT, WEST = "123456789012", "us-west-2"
LAG = ("AWS/RDS", "AuroraGlobalDBReplicationLag")
CLUSTER = {"DBClusterIdentifier": "orders"}


@pytest.fixture
def orders(aws: Client, time: clock.ManualClock) -> Iterator[Orders]:
    yield Orders(aws, time)


def measured(aws: Client, region: str = WEST, metric: tuple[str, str] = LAG, dimensions: Mapping[str, str] = CLUSTER) -> list[float]:
    """The values of the last ten minutes, latest first."""
    now = datetime.now(UTC)
    worded = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    stat = {"Metric": {"Namespace": metric[0], "MetricName": metric[1], "Dimensions": worded}, "Period": 60, "Stat": "Maximum"}
    answer = aws("cloudwatch", region).get_metric_data(
        StartTime=now - timedelta(minutes=10), EndTime=now, MetricDataQueries=[{"Id": "lag", "MetricStat": stat}]
    )
    values: list[float] = answer["MetricDataResults"][0]["Values"]
    return values


def configure(body: Any, method: str = "POST") -> requests.Response:
    return requests.request(method, f"https://motoapi.amazonaws.com{cloudwatch.PATH}", data=json.dumps(body), timeout=5)


def wanted(value: float | None = 90_000, **more: object) -> dict[str, object]:
    return {"account": ACCOUNT, "region": WEST, "namespace": LAG[0], "metric": LAG[1], "value": value, **more}


@pytest.mark.parametrize("metric", rds_lag.METRICS)
def test_a_secondary_has_a_lag_each_minute_and_the_writer_has_none(orders: Orders, aws: Client, metric: str) -> None:
    values = measured(aws, metric=("AWS/RDS", metric))
    assert len(values) >= 9
    assert set(values) == {rds_lag.LAG_MILLISECONDS}
    assert measured(aws, "us-east-1", ("AWS/RDS", metric)) == []
    assert measured(aws, dimensions={"DBClusterIdentifier": "other"}) == []


def test_the_statistics_say_the_same_and_the_series_is_listed(orders: Orders, aws: Client) -> None:
    west, now = aws("cloudwatch", WEST), datetime.now(UTC)
    worded = [{"Name": "DBClusterIdentifier", "Value": "orders"}]
    points = west.get_metric_statistics(
        Namespace=LAG[0],
        MetricName=LAG[1],
        Dimensions=worded,
        StartTime=now - timedelta(minutes=5),
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    assert {(point["Maximum"], point["Unit"]) for point in points} == {(rds_lag.LAG_MILLISECONDS, "Milliseconds")}
    assert max(point["Timestamp"] for point in points) >= now - timedelta(minutes=2)
    listed = west.list_metrics(Namespace=LAG[0], MetricName=LAG[1])["Metrics"]
    assert listed == [{"Namespace": LAG[0], "MetricName": LAG[1], "Dimensions": worded}]


def test_the_lag_follows_the_writer(orders: Orders, aws: Client) -> None:
    orders.west.failover_global_cluster(GlobalClusterIdentifier="shop", TargetDbClusterIdentifier=orders.west_arn, AllowDataLoss=True)
    orders.time.advance(rds_global.GLOBAL_FAILOVER_SECONDS)
    assert measured(aws) == measured(aws, "us-east-1") == []  # the former writer is being rebuilt
    orders.time.advance(rds_global.RESYNCHRONISE_SECONDS)
    assert measured(aws) == []
    assert measured(aws, "us-east-1")[0] == rds_lag.LAG_MILLISECONDS


def test_a_detached_or_new_cluster_has_none(orders: Orders, aws: Client) -> None:
    orders.west.remove_from_global_cluster(GlobalClusterIdentifier="shop", DbClusterIdentifier=orders.west_arn)
    assert measured(aws) == []
    orders.time.advance(rds_global.REMOVE_SECONDS)
    assert measured(aws) == []
    orders.west.create_db_cluster(DBClusterIdentifier="orders-2", Engine="aurora-mysql", GlobalClusterIdentifier="shop")
    assert measured(aws, dimensions={"DBClusterIdentifier": "orders-2"}) == []
    orders.time.advance(rds.CREATE_CLUSTER_SECONDS)
    assert measured(aws, dimensions={"DBClusterIdentifier": "orders-2"})[0] == rds_lag.LAG_MILLISECONDS


def test_a_lag_is_held_in_its_account_and_region_until_released(orders: Orders, aws: Client) -> None:
    cloudwatch.hold(ACCOUNT, WEST, *LAG, 90_000.0)
    cloudwatch.hold("210987654321", WEST, *LAG, 5.0)
    cloudwatch.hold(ACCOUNT, "us-east-1", *LAG, 5.0)
    assert set(measured(aws)) == {90_000.0}
    assert measured(aws, "us-east-1") == []  # nothing to measure there
    cloudwatch.hold(ACCOUNT, WEST, *LAG, 70_000.0)
    assert measured(aws)[0] == 70_000.0
    cloudwatch.hold(ACCOUNT, WEST, *LAG, None)
    assert measured(aws) == []
    cloudwatch.release(ACCOUNT, WEST, *LAG)
    assert measured(aws)[0] == rds_lag.LAG_MILLISECONDS


def test_dimensions_narrow_what_is_held(orders: Orders, aws: Client) -> None:
    cloudwatch.hold(ACCOUNT, WEST, *LAG, 1.0)
    cloudwatch.hold(ACCOUNT, WEST, *LAG, 2.0, {"DBClusterIdentifier": "other"})
    assert measured(aws)[0] == 1.0
    cloudwatch.hold(ACCOUNT, WEST, *LAG, 3.0, CLUSTER)
    assert measured(aws)[0] == 3.0
    cloudwatch.release(ACCOUNT, WEST, *LAG, CLUSTER)
    assert measured(aws)[0] == 1.0


def test_a_lag_is_held_and_released_over_http(orders: Orders, aws: Client) -> None:
    assert configure(wanted()).status_code == 200
    assert measured(aws)[0] == 90_000.0
    assert configure(wanted(7, dimensions=CLUSTER)).status_code == 200
    assert measured(aws)[0] == 7
    assert configure(wanted(None, dimensions=CLUSTER)).status_code == 200
    assert measured(aws) == []
    for place in ({}, {"dimensions": CLUSTER}):
        released = {**wanted(), **place}
        del released["value"]
        assert configure(released).status_code == 200
    assert measured(aws)[0] == rds_lag.LAG_MILLISECONDS


@pytest.mark.parametrize(
    ("body", "method"), [(wanted(), "PUT"), (wanted(metric="Lag"), "POST"), ({}, "POST"), ([], "POST"), (wanted(dimensions=[1]), "POST")]
)
def test_another_request_is_refused_in_words(orders: Orders, aws: Client, body: Any, method: str) -> None:
    answer = configure(body, method)
    assert answer.status_code == 400
    assert "message" in answer.json()
    assert measured(aws)[0] == rds_lag.LAG_MILLISECONDS
