"""What a request to AWS says about itself, and how AWS would word an error back.

In:  method, path, headers and body of a signed AWS request
Out: a `Call` (who, where, what), its parameters, and error answers in the protocol of the service that was called
"""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qs, unquote
from uuid import uuid4
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from multidict import CIMultiDict, CIMultiDictProxy

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

# The botocore models of the services of the local cloud, by signing name; where two share a name, the one that is used here first.
MODELS: Final = MappingProxyType(
    {
        "application-autoscaling": ("application-autoscaling",),
        "autoscaling": ("autoscaling",),
        "cloudformation": ("cloudformation",),
        "drs": ("drs",),
        "dynamodb": ("dynamodb", "dynamodbstreams"),
        "ec2": ("ec2",),
        "ecs": ("ecs",),
        "elasticache": ("elasticache",),
        "elasticloadbalancing": ("elbv2", "elb"),
        "es": ("opensearch", "es"),
        "events": ("events",),
        "iam": ("iam",),
        "kms": ("kms",),
        "lambda": ("lambda",),
        "logs": ("logs",),
        "memorydb": ("memorydb",),
        "monitoring": ("cloudwatch",),
        "organizations": ("organizations",),
        "rds": ("rds",),
        "route53": ("route53",),
        "s3": ("s3",),
        "scheduler": ("scheduler",),
        "secretsmanager": ("secretsmanager",),
        "servicequotas": ("service-quotas",),
        "ses": ("sesv2", "ses"),
        "sns": ("sns",),
        "sqs": ("sqs",),
        "ssm": ("ssm",),
        "states": ("stepfunctions",),
        "sts": ("sts",),
        "tagging": ("resourcegroupstaggingapi",),
    }
)
_REST: Final = frozenset({"drs", "es", "lambda", "route53", "s3", "scheduler", "ses"})
_HEADER_SCOPE: Final = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_RPC_V2_OPERATION: Final = re.compile(r"/operation/(?P<operation>\w+)$")


class Protocol(StrEnum):
    """How a service words its answers; errors differ most."""

    QUERY = "query"
    EC2 = "ec2"
    JSON = "json"
    REST_JSON = "rest-json"
    REST_XML = "rest-xml"
    CBOR = "smithy-rpc-v2-cbor"


_PROTOCOLS: Final = {
    "autoscaling": Protocol.QUERY,
    "cloudformation": Protocol.QUERY,
    "drs": Protocol.REST_JSON,
    "ec2": Protocol.EC2,
    "elasticache": Protocol.QUERY,
    "elasticloadbalancing": Protocol.QUERY,
    "es": Protocol.REST_JSON,
    "iam": Protocol.QUERY,
    "lambda": Protocol.REST_JSON,
    "rds": Protocol.QUERY,
    "route53": Protocol.REST_XML,
    "s3": Protocol.REST_XML,
    "scheduler": Protocol.REST_JSON,
    "sns": Protocol.QUERY,
    "sts": Protocol.QUERY,
}


@dataclass(frozen=True, slots=True)
class Scope:
    """The credential scope of a SigV4 signature."""

    access_key: str
    region: str
    service: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an AWS operation, as far as its request tells."""

    access_key: str
    account: str | None
    region: str
    service: str
    operation: str
    speaks_cbor: bool = False

    @property
    def protocol(self) -> Protocol:
        """The protocol in which the caller expects an error."""
        return Protocol.CBOR if self.speaks_cbor else _PROTOCOLS.get(self.service, Protocol.JSON)


def credential_scope(headers: Headers, query: str) -> Scope | None:
    """Read the credential scope from the Authorization header or a presigned query; None when unsigned."""
    match = _HEADER_SCOPE.search(headers.get("Authorization", ""))
    if match:
        return Scope(match["key"], match["region"], match["service"])
    presigned = parse_qs(query).get("X-Amz-Credential", [""])[0].split("/")
    if len(presigned) == 5:
        return Scope(presigned[0], presigned[2], presigned[3])
    return None


def speaks_cbor(headers: Headers) -> bool:
    """Whether a request is in RPC v2 CBOR, which SDKs prefer where a service offers several protocols."""
    return headers.get("smithy-protocol") == "rpc-v2-cbor"


def operation_name(service: str, method: str, path: str, query: str, headers: Headers, body: bytes) -> str:
    """Name the operation: from the target header, the query action, the RPC path, or the REST route."""
    target = headers.get("X-Amz-Target")
    if target:
        return target.rpartition(".")[2]
    rpc = _RPC_V2_OPERATION.search(path)
    if rpc:
        return rpc["operation"]
    if headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        action = parse_qs(body.decode("latin-1")).get("Action")
        if action:
            return action[0]
    action = parse_qs(query).get("Action")
    if action:
        return action[0]
    query_keys = frozenset(parse_qs(query, keep_blank_values=True))
    for route in _rest_routes(service):
        if route.matches(method, path, query_keys, headers):
            return route.operation
    return f"{method} {path}"


@dataclass(frozen=True, slots=True)
class _RestRoute:
    """The method, path, query keys and headers by which a REST service tells its operations apart."""

    operation: str
    method: str
    path: re.Pattern[str]
    query_keys: frozenset[str]
    headers: frozenset[str]

    def matches(self, method: str, path: str, query_keys: frozenset[str], headers: Headers) -> bool:
        return (
            self.method == method
            and self.query_keys <= query_keys
            and all(name in headers for name in self.headers)
            and self.path.fullmatch(path) is not None
        )

    def named_in(self, path: str) -> dict[str, str]:
        """What the path names, such as the bucket."""
        match = self.path.fullmatch(path)
        return {} if match is None else {name: unquote(value) for name, value in match.groupdict().items()}

    def specificity(self) -> tuple[int, int]:
        """Sorts the route that says more about itself first."""
        return -len(self.query_keys) - len(self.headers), self.path.pattern.count("[^/]+")


@lru_cache
def models(service: str) -> tuple[ServiceModel, ...]:
    """The botocore models of a service by its signing name; none for one that is not part of the local cloud."""
    session = botocore.session.get_session()
    return tuple(session.get_service_model(name) for name in MODELS.get(service, ()))


def operation_model(call: Call) -> OperationModel | None:
    """The botocore model of what is called, where there is one."""
    return next((model.operation_model(call.operation) for model in models(call.service) if call.operation in model.operation_names), None)


def parameters(call: Call, method: str, path: str, query: str, headers: Headers, body: bytes) -> dict[str, Any]:
    """The parameters of a call: of JSON and CBOR all, of a form its flat ones, of a REST path and its JSON body; none of an XML body.

    Empty where the body cannot be read: the emulator will say what is wrong with it.
    """
    match call.protocol:
        case Protocol.CBOR:
            model = operation_model(call)
            if model is None or model.input_shape is None:
                return {}
            answer = {"status_code": 200, "headers": headers, "body": body}
            parsed: dict[str, Any] = create_parser(Protocol.CBOR).parse(answer, model.input_shape)
            return parsed
        case Protocol.QUERY | Protocol.EC2:
            return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        case Protocol.JSON:
            return _json_object(body)
        case _:
            keys = frozenset(parse_qs(query, keep_blank_values=True))
            route = next((route for route in _rest_routes(call.service) if route.matches(method, path, keys, headers)), None)
            named = {} if route is None else route.named_in(path)
            return named | (_json_object(body) if call.protocol is Protocol.REST_JSON else {})


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


_NAMING_ITEMS: Final = frozenset({"TransactWriteItems", "BatchGetItem"})


def dynamodb_items(call: Call, body: bytes) -> int:
    """How many items a transaction or a reading batch of DynamoDB names; 0 for any other call, and for one that cannot be read."""
    if call.service != "dynamodb" or call.operation not in _NAMING_ITEMS:
        return 0
    asked = _json_object(body)
    tables = asked.get("RequestItems", {}).values()
    return len(asked.get("TransactItems", ())) + sum(len(table.get("Keys", ())) for table in tables)


@lru_cache
def _rest_routes(service: str) -> tuple[_RestRoute, ...]:
    """The routes of a REST service from its botocore model, the most specific first; none for other services."""
    if service not in _REST:
        return ()
    model = models(service)[0]
    routes = [_rest_route(model.operation_model(name)) for name in model.operation_names]
    return tuple(sorted(routes, key=_RestRoute.specificity))


def _rest_route(operation: OperationModel) -> _RestRoute:
    path, _, query = operation.http["requestUri"].partition("?")
    pattern = re.sub(r"\{(\w+)\+\}", r"(?P<\1>.+)", re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
    shape = operation.input_shape
    places: dict[str, set[str]] = {"querystring": set(), "header": set()}
    required = [] if shape is None else [shape.members[name] for name in shape.required_members]
    for member in required:
        place = member.serialization
        if place.get("location") in places:
            places[place["location"]].add(place["name"])
    return _RestRoute(
        operation.name,
        operation.http["method"],
        re.compile(pattern),
        frozenset(parse_qs(query, keep_blank_values=True)) | places["querystring"],
        frozenset(places["header"]),
    )


def error_answer(call: Call, code: str, message: str) -> tuple[dict[str, str], bytes]:
    """Word an error as the called service would: headers and body. It has a request id, as every answer of AWS."""
    content_type, body = error_body(call, code, message)
    headers = {"Content-Type": content_type, "x-amzn-ErrorType": code, "x-amzn-RequestId": str(uuid4())}
    if call.protocol is Protocol.CBOR:
        headers["smithy-protocol"] = "rpc-v2-cbor"
        # The code where it is not the name of the error's shape, for services that once spoke the query protocol.
        headers["x-amzn-query-error"] = f"{code};Sender"
    return headers, body


def error_body(call: Call, code: str, message: str) -> tuple[str, bytes]:
    """Word an error as the called service would: the content type and the body."""
    match call.protocol:
        case Protocol.CBOR:
            return "application/cbor", b"\xa2" + b"".join(map(cbor_text, ("__type", code, "message", message)))
        case Protocol.EC2:
            text = f"<Response><Errors><Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error></Errors></Response>"
            return "text/xml", text.encode()
        case Protocol.QUERY | Protocol.REST_XML if call.service != "s3":
            kind = f"<Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
            return "text/xml", f"<ErrorResponse><Error>{kind}</Error></ErrorResponse>".encode()
        case Protocol.REST_XML:
            return "application/xml", f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>".encode()
        case _:
            # Without its reasons a cancelled transaction says nothing: here it met another one.
            why = {"CancellationReasons": [{"Code": "TransactionConflict"}]} if code == "TransactionCanceledException" else {}
            return "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message, **why}).encode()


def cbor_text(text: str) -> bytes:
    """A text as CBOR writes it, its length always in four bytes."""
    encoded = text.encode()
    return b"\x7a" + len(encoded).to_bytes(4, "big") + encoded


def error_code(headers: Headers, body: bytes) -> str | None:
    """Find the error code in the answer of a failed call, whatever its protocol; None where there is none."""
    declared = headers.get("x-amzn-ErrorType")
    if declared:
        return declared.partition(":")[0]
    found = re.search(rb"<Code>([^<]+)</Code>", body)
    if found:
        return found[1].decode("latin-1")
    found = re.search(rb'"(?:__type|code|Code)"\s*:\s*"([^"]+)"', body)
    return found[1].decode("latin-1").rpartition("#")[2] if found else None
