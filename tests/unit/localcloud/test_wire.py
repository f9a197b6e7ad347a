"""What the gateway reads from a request, and how it words an error."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.compat import HTTPHeaders
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.session import get_session
from multidict import CIMultiDict

from localcloud import wire
from localcloud.wire import Call


def signed(service: str) -> CIMultiDict[str]:
    credential = f"AKIA1/20261122/us-west-2/{service}/aws4_request"
    return CIMultiDict({"Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"})


def test_the_scope_is_read_from_the_header_or_a_presigned_query() -> None:
    expected = wire.Scope("AKIA1", "us-west-2", "rds")
    assert wire.credential_scope(signed("rds"), "") == expected
    presigned = "X-Amz-Credential=AKIA1%2F20261122%2Fus-west-2%2Frds%2Faws4_request&X-Amz-Signature=0"
    assert wire.credential_scope(CIMultiDict(), presigned) == expected
    assert wire.credential_scope(CIMultiDict(), "a=b") is None


@pytest.mark.parametrize(
    ("service", "method", "path", "query", "headers", "body", "operation"),
    [
        ("ecs", "POST", "/", "", {"X-Amz-Target": "AmazonEC2ContainerServiceV20141113.ListTasks"}, b"", "ListTasks"),
        ("rds", "POST", "/", "", {"Content-Type": "application/x-www-form-urlencoded"}, b"Action=CreateDBCluster", "CreateDBCluster"),
        ("monitoring", "POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "", {}, b"", "PutMetricData"),
        ("lambda", "POST", "/2015-03-31/functions/f/invocations", "", {}, b"", "Invoke"),
        ("s3", "PUT", "/bucket/a/b", "", {}, b"", "PutObject"),
        ("s3", "PUT", "/bucket/a/b", "", {"x-amz-copy-source": "x"}, b"", "CopyObject"),
        ("s3", "PUT", "/bucket/a/b", "partNumber=1&uploadId=2", {}, b"", "UploadPart"),
        ("s3", "GET", "/bucket", "list-type=2", {}, b"", "ListObjectsV2"),
        ("route53", "POST", "/2013-04-01/hostedzone/Z1/rrset/", "", {}, b"", "ChangeResourceRecordSets"),
        ("s3", "PATCH", "/bucket", "", {}, b"", "PATCH /bucket"),
    ],
)
def test_the_operation_is_named(
    service: str, method: str, path: str, query: str, headers: dict[str, str], body: bytes, operation: str
) -> None:
    assert wire.operation_name(service, method, path, query, CIMultiDict(headers), body) == operation


@pytest.mark.parametrize("service", ["rds", "ec2", "ecs", "lambda", "s3"])
def test_an_sdk_can_read_the_error(service: str) -> None:
    call = Call("AKIA1", None, "us-west-2", service, "Something")
    content_type, body = wire.error_body(call, "NotImplemented", "not <served> here")
    headers = {"content-type": content_type, "x-amzn-errortype": "NotImplemented"}
    model = get_session().get_service_model(service)
    shape = model.shape_for(model.shape_names[0])
    parsed = create_parser(model.metadata["protocol"]).parse({"status_code": 501, "headers": headers, "body": body}, shape)
    assert (parsed["Error"]["Code"], parsed["Error"]["Message"]) == ("NotImplemented", "not <served> here")
    assert wire.error_code(CIMultiDict(), body) == "NotImplemented"


def test_an_sdk_can_read_an_error_in_cbor() -> None:
    call = Call("AKIA1", None, "us-west-2", "monitoring", "PutDashboard", speaks_cbor=True)
    headers, body = wire.error_answer(call, "InvalidParameterInput", "not a dashboard: " + "x" * 300)
    assert headers["x-amzn-RequestId"] != wire.error_answer(call, "InvalidParameterInput", "")[0]["x-amzn-RequestId"], "each its own"
    shape = get_session().get_service_model("cloudwatch").operation_model("PutDashboard").output_shape
    assert shape is not None
    answer = {"status_code": 400, "headers": HTTPHeaders.from_dict({k.lower(): v for k, v in headers.items()}), "body": body}
    parsed = create_parser("smithy-rpc-v2-cbor").parse(answer, shape)
    assert parsed["Error"] | {"QueryErrorCode": ""} == {
        "Code": "InvalidParameterInput",
        "Message": "not a dashboard: " + "x" * 300,
        "Type": "Sender",
        "QueryErrorCode": "",
    }


def request(service: str, operation: str, parameters: dict[str, object], protocol: str) -> dict[str, Any]:
    """What an SDK sends, in the protocol that it chooses or in another."""
    model = get_session().get_service_model(service)
    serializer = create_serializer(protocol or model.resolved_protocol)
    serialised: dict[str, Any] = serializer.serialize_to_request(parameters, model.operation_model(operation))
    return serialised


@pytest.mark.parametrize(
    ("service", "signing_name", "operation", "protocol", "parameters", "read"),
    [
        ("ssm", "ssm", "PutParameter", "", {"Name": "/a", "Value": "ü", "Type": "String"}, None),
        ("cloudwatch", "monitoring", "PutDashboard", "json", {"DashboardName": "d", "DashboardBody": "{}"}, None),
        ("cloudwatch", "monitoring", "PutDashboard", "smithy-rpc-v2-cbor", {"DashboardName": "d", "DashboardBody": "{}"}, None),
        ("rds", "rds", "CreateDBInstance", "", {"DBInstanceIdentifier": "a b", "Engine": "mysql", "DBInstanceClass": "c"}, None),
        ("ec2", "ec2", "StartInstances", "", {"InstanceIds": ["i-1"]}, {"InstanceId.1": "i-1"}),
        ("opensearch", "es", "UpdateDomainConfig", "", {"DomainName": "search", "DryRun": True}, None),
        ("lambda", "lambda", "GetFunction", "", {"FunctionName": "a:b"}, None),
        ("route53", "route53", "GetHostedZone", "", {"Id": "Z1"}, None),
    ],
)
def test_the_parameters_are_read_in_every_protocol(
    service: str, signing_name: str, operation: str, protocol: str, parameters: dict[str, object], read: dict[str, object] | None
) -> None:
    sent = request(service, operation, parameters, protocol)
    body = sent["body"] if isinstance(sent["body"], bytes) else urlencode(sent["body"]).encode()
    headers = CIMultiDict({name: str(value) for name, value in sent["headers"].items()})
    call = Call("AKIA1", None, "us-west-2", signing_name, operation, wire.speaks_cbor(headers))
    assert call.speaks_cbor is (protocol == "smithy-rpc-v2-cbor")
    assert (read or parameters).items() <= wire.parameters(call, sent["method"], sent["url_path"], "", headers, body).items()


def test_parameters_that_cannot_be_read_are_none() -> None:
    call = Call("AKIA1", None, "us-west-2", "ssm", "PutParameter")
    for body in (b"{", b"[1]", b""):
        assert wire.parameters(call, "POST", "/", "", CIMultiDict(), body) == {}


@pytest.mark.parametrize(
    ("operation", "asked", "items"),
    [
        ("TransactWriteItems", {"TransactItems": [{"Put": {}}, {"ConditionCheck": {}}]}, 2),
        ("BatchGetItem", {"RequestItems": {"a": {"Keys": [{}, {}]}, "b": {"Keys": [{}]}}}, 3),
        ("GetItem", {"TransactItems": [{}]}, 0),
    ],
)
def test_items_of_dynamodb_are_counted(operation: str, asked: dict[str, object], items: int) -> None:
    body = json.dumps(asked).encode()
    assert wire.dynamodb_items(Call("AKIA1", "1", "us-west-2", "dynamodb", operation), body) == items
    assert wire.dynamodb_items(Call("AKIA1", "1", "us-west-2", "events", operation), body) == 0


def test_every_service_has_its_models() -> None:
    for service in wire.MODELS:
        assert all(model.signing_name == service for model in wire.models(service)), service


def test_the_code_of_a_json_error_has_no_namespace() -> None:
    body = json.dumps({"__type": "com.amazonaws.dynamodb#ResourceNotFoundException"}).encode()
    assert wire.error_code(CIMultiDict(), body) == "ResourceNotFoundException"
