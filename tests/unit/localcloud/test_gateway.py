"""Which emulator the gateway asks."""

import json
from urllib.parse import urlencode

import pytest
from botocore.model import OperationModel
from botocore.serialize import create_serializer
from botocore.session import get_session

from localcloud.gateway import Backend, backend_of
from localcloud.wire import Call


def call(service: str, operation: str = "Something") -> Call:
    return Call("AKIA1", "123456789012", "us-west-2", service, operation)


def statistics(protocol: str, namespace: str) -> bytes:
    """The body of GetMetricStatistics, as an SDK sends it."""
    model: OperationModel = get_session().get_service_model("cloudwatch").operation_model("GetMetricStatistics")
    wanted = {"Namespace": namespace, "MetricName": "Lag", "StartTime": 0, "EndTime": 60, "Period": 60}
    body = create_serializer(protocol).serialize_to_request(wanted, model)["body"]
    return body if isinstance(body, bytes) else urlencode(body).encode()


@pytest.mark.parametrize(
    ("service", "backend"),
    [
        ("rds", Backend.MOTO),
        ("elasticache", Backend.MOTO),
        ("ssm", Backend.MINISTACK),
        ("monitoring", Backend.MINISTACK),
        ("x", Backend.GATEWAY),
    ],
)
def test_a_service_has_one_home(service: str, backend: Backend) -> None:
    assert backend_of(call(service), b"AWS/RDS") is backend


@pytest.mark.parametrize("protocol", ["smithy-rpc-v2-cbor", "json", "query"])
@pytest.mark.parametrize(
    ("namespace", "backend"),
    [
        ("AWS/RDS", Backend.MOTO),
        ("AWS/ElastiCache", Backend.MOTO),
        ("AWS/States", Backend.MINISTACK),
        ("DROrchestrator", Backend.MINISTACK),
    ],
)
def test_a_metric_is_read_where_its_resource_is(protocol: str, namespace: str, backend: Backend) -> None:
    body = statistics(protocol, namespace)
    assert backend_of(call("monitoring", "GetMetricStatistics"), body) is backend
    assert backend_of(call("monitoring", "GetMetricData"), body) is backend
    assert backend_of(call("monitoring", "ListMetrics"), body) is backend


def test_an_alarm_on_such_a_metric_stays_with_all_the_others() -> None:
    body = json.dumps({"Namespace": "AWS/RDS"}).encode()
    for operation in ("PutMetricAlarm", "DescribeAlarmsForMetric", "PutMetricData"):
        assert backend_of(call("monitoring", operation), body) is Backend.MINISTACK
    assert backend_of(call("ssm", "GetMetricData"), body) is Backend.MINISTACK
