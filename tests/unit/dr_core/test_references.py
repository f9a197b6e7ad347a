"""References: what is one, what it resolves to, and what is said when it does not. CloudFormation and SSM are moto's."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from dr_core.errors import ErrorClass, ModuleError
from dr_core.findings import Finding
from dr_core.references import Resolver, holds_reference, misspelt_references, resolve_secure

REGION, ACCOUNT = "us-west-2", "123456789012"


class Aws:
    """Clients of moto's account, with a record of which were opened and what they called. `failing` maps operations to an error."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.failing: dict[str, Exception] = {}

    def open(self, account: str, service: str) -> Any:
        self.opened.append((account, service))
        client: Any = boto3.client(service, region_name=REGION)  # type: ignore[call-overload]
        client.meta.events.register("before-call", self._on_call)
        return client

    def _on_call(self, model: Any, **_: object) -> None:
        self.calls.append(model.name)
        if model.name in self.failing:
            raise self.failing[model.name]

    def resolve(self, parameters: object, account: str = ACCOUNT) -> tuple[Any, list[Finding]]:
        return Resolver(self.open, REGION).resolve(parameters, account)

    def put(self, name: str, value: str, kind: str = "String") -> None:
        boto3.client("ssm", region_name=REGION).put_parameter(Name=name, Value=value, Type=kind, Overwrite=True)  # type: ignore[arg-type]

    def export(self, **values: str) -> None:
        outputs = {name: {"Value": value, "Export": {"Name": name}} for name, value in values.items()}
        template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}, "Outputs": outputs}
        name = f"stack-{len(self.calls)}-{min(values)}"
        boto3.client("cloudformation", region_name=REGION).create_stack(StackName=name, TemplateBody=json.dumps(template))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield Aws()


def error(code: str, operation: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


# --- What is a reference


@pytest.mark.parametrize(
    "text", ["!Import VpcId", "!Import  stack:Vpc-Id", "resolve:ssm:/prod/x", "resolve:ssm:/prod/x:3", " resolve:ssm:name "]
)
def test_references(text: str) -> None:
    assert holds_reference({"a": [{"b": text}]})
    assert misspelt_references({"a": text}) == []


@pytest.mark.parametrize(
    "value", ["arn:aws:x/resolve:ssm:/x", "Import X", "!", "", "resolve", "resolve: the conflict", 5, None, True, "!Important"]
)
def test_no_references(value: object) -> None:
    assert not holds_reference([value])


@pytest.mark.parametrize(
    "text",
    [
        "{{resolve:ssm:/x}}",
        "{{ resolve:secretsmanager:x }}",
        "resolve:secretsmanager:x",
        "resolve:ssm-secure:/x",
        "resolve:ssm:",
        "resolve:ssm:/x:latest",
        "resolve:ssm:/x y",
        "!Import",
        "!Import a b",
        "!import VpcId",
        "!ImportValue VpcId",
        "!Ref VpcId",
        "!Sub ${VpcId}",
        "!GetAtt a.b",
    ],
)
def test_what_looks_like_a_reference_and_is_none_is_found_with_the_remedy(text: str) -> None:
    (found,) = misspelt_references([{"a": {"b": text}}])
    assert found.path == (0, "a", "b")
    assert text in found.message
    assert "!Import Name" in found.remedy


# --- What it resolves to


def test_references_are_resolved_wherever_they_stand(aws: Aws) -> None:
    aws.export(VpcId="vpc-1", Other="x")
    aws.put("/prod/host", "db.example")
    aws.put("/prod/subnets", "subnet-1,subnet-2", "StringList")
    parameters: list[dict[str, Any]] = [
        {"a": "!Import VpcId", "n": 4, "plain": "x"},
        {"b": {"c": ["resolve:ssm:/prod/host", "y"]}, "d": "resolve:ssm:/prod/subnets"},
    ]

    resolved, found = aws.resolve(parameters)

    assert found == []
    assert resolved == [{"a": "vpc-1", "n": 4, "plain": "x"}, {"b": {"c": ["db.example", "y"]}, "d": ["subnet-1", "subnet-2"]}]
    assert parameters[0]["a"] == "!Import VpcId"


def test_a_version_may_be_asked_for(aws: Aws) -> None:
    aws.put("/x", "first")
    aws.put("/x", "second")
    assert aws.resolve(["resolve:ssm:/x:1", "resolve:ssm:/x"]) == (["first", "second"], [])


def test_exports_are_read_to_the_last_page(aws: Aws) -> None:
    for stack in range(3):
        aws.export(**{f"Export{stack}x{number}": f"{stack}-{number}" for number in range(60)})
    assert aws.resolve("!Import Export2x59")[0] == "2-59"


def test_a_secure_string_must_exist_and_stays_a_reference(aws: Aws) -> None:
    aws.put("/secret", "hunter2", "SecureString")
    parameters = {"a": "resolve:ssm:/secret", "b": "resolve:ssm:/secret"}
    assert aws.resolve(parameters) == (parameters, [])
    assert aws.calls == ["GetParameter"]


def test_everything_is_looked_up_once_for_an_account(aws: Aws) -> None:
    aws.export(A="a", B="b")
    aws.put("/x", "x")
    resolver = Resolver(aws.open, REGION)
    for account in (ACCOUNT, ACCOUNT, "210987654321"):
        resolver.resolve(["!Import A", "!Import B", "!Import C", "resolve:ssm:/x", "resolve:ssm:/x", "resolve:ssm:/y"], account)
    assert sorted(aws.opened) == [
        (ACCOUNT, "cloudformation"),
        (ACCOUNT, "ssm"),
        ("210987654321", "cloudformation"),
        ("210987654321", "ssm"),
    ]
    assert sorted(aws.calls) == sorted(2 * ["ListExports", "GetParameter", "GetParameter"])


def test_without_references_nothing_is_opened(aws: Aws) -> None:
    assert aws.resolve({"a": ["x", 1, None, True]}) == ({"a": ["x", 1, None, True]}, [])
    assert aws.opened == []


# --- What is said when it does not resolve


def test_every_reference_that_does_not_resolve_is_found_with_account_region_and_remedy(aws: Aws) -> None:
    aws.export(ProductionVpcId="vpc-1")
    aws.put("/x", "x")
    parameters = {"a": "!Import ProductionVpcID", "b": ["resolve:ssm:/none"], "c": "resolve:ssm:/x:9", "d": "!Import Nothing"}

    resolved, found = aws.resolve(parameters)

    assert resolved == parameters
    by_path = {one.path: one for one in found}
    assert set(by_path) == {("a",), ("b", 0), ("c",), ("d",)}
    assert all(f"in account {ACCOUNT} and us-west-2" in one.message for one in found)
    assert by_path["a",].remedy == "did you mean ProductionVpcId?"
    assert "deploy the stack" in by_path["d",].remedy
    assert "/none" in by_path["b", 0].message
    assert "create it there" in by_path["b", 0].remedy
    assert "create it there" in by_path["c",].remedy


@pytest.mark.parametrize(
    ("reference", "operation", "action"),
    [("!Import A", "ListExports", "cloudformation:ListExports"), ("resolve:ssm:/x", "GetParameter", "ssm:GetParameter")],
)
def test_a_denied_look_up_names_the_action_to_allow(aws: Aws, reference: str, operation: str, action: str) -> None:
    aws.failing = {operation: error("AccessDeniedException", operation, "not authorized")}
    (finding,) = aws.resolve([reference])[1]
    assert "AccessDeniedException: not authorized" in finding.message
    assert f"allow {action} to the execution role" in finding.remedy


@pytest.mark.parametrize(
    "failure",
    [error("ThrottlingException", "GetParameter"), EndpointConnectionError(endpoint_url="https://ssm")],
    ids=["throttled", "no answer"],
)
def test_a_look_up_that_fails_for_another_reason_can_be_tried_again(aws: Aws, failure: Exception) -> None:
    aws.failing = {"GetParameter": failure}
    (finding,) = aws.resolve("resolve:ssm:/x")[1]
    assert finding.remedy == "request the execution again"


def test_an_account_that_cannot_be_entered_is_said_of_each_of_its_references() -> None:
    def refuse(account: str, service: str) -> Any:
        raise ModuleError("AccessDenied", f"cannot assume the role of {account}")

    found = Resolver(refuse, REGION).resolve(["!Import A", "resolve:ssm:/x"], ACCOUNT)[1]
    assert [one.message for one in found] == [f"cannot assume the role of {ACCOUNT}"] * 2


@pytest.mark.parametrize("value", ["resolve:ssm:/other", "x,{{resolve:secretsmanager:y}}"])
def test_a_value_that_is_a_reference_itself_is_not_followed(aws: Aws, value: str) -> None:
    aws.put("/x", value, "StringList")
    resolved, (finding,) = aws.resolve("resolve:ssm:/x")
    assert resolved == "resolve:ssm:/x"
    assert "is a reference itself" in finding.message
    assert value not in finding.message


# --- At the moment of use


def test_secure_strings_get_their_values_at_the_moment_of_use(aws: Aws) -> None:
    aws.put("/secret", "hunter2", "SecureString")
    stored = json.dumps([{"Password": "resolve:ssm:/secret", "n": 1}])
    secrets: set[str] = set()
    assert resolve_secure(stored, aws.open(ACCOUNT, "ssm"), secrets) == [{"Password": "hunter2", "n": 1}]
    assert secrets == {"hunter2"}, "a journal must know what to hide"


def test_parameters_without_references_need_no_client() -> None:
    assert resolve_secure('{"a": ["x", 1]}', None, set()) == {"a": ["x", 1]}


@pytest.mark.parametrize(
    ("failure", "code", "error_class"),
    [
        (None, "ParameterNotFound", ErrorClass.TERMINAL),
        (error("AccessDeniedException", "GetParameter"), "AccessDeniedException", ErrorClass.TERMINAL),
        (error("ThrottlingException", "GetParameter"), "ThrottlingException", ErrorClass.THROTTLED),
        (error("InternalServerError", "GetParameter"), "InternalServerError", ErrorClass.RETRYABLE),
        (EndpointConnectionError(endpoint_url="https://ssm"), "EndpointConnectionError", ErrorClass.RETRYABLE),
    ],
)
def test_a_secure_string_that_cannot_be_had_fails_the_resource(
    aws: Aws, failure: Exception | None, code: str, error_class: ErrorClass
) -> None:
    aws.failing = {"GetParameter": failure} if failure else {}
    with pytest.raises(ModuleError) as caught:
        resolve_secure('{"a": ["resolve:ssm:/gone"]}', aws.open(ACCOUNT, "ssm"), set())
    assert (caught.value.code, caught.value.error_class) == (code, error_class)
    assert "resolve:ssm:/gone at a.0" in caught.value.message
