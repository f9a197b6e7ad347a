"""What is recorded of calls, what a rehearsal sends (nothing that changes anything), and what is never kept: secrets."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextvars import copy_context
from datetime import datetime
from functools import cache
from io import BytesIO
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ParamValidationError
from botocore.model import OperationModel
from botocore.response import StreamingBody
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from dr_core.calls import Call, _made_up_answer, _redacted, action, is_reading, journal, reading_once, rehearsal, watch
from dr_modules.base import modules

REGION = "eu-west-1"
SECRET = "s3cr3t-w0rd"
# botocore's name of a service for the prefix that IAM has, where they differ.
API_NAMES = {"elasticloadbalancing": "elbv2", "es": "opensearch", "servicequotas": "service-quotas"}
USED = sorted({one.partition(":")[0] for module in modules().values() for phase in module.phases() for one in module.actions(phase)})


class Account:
    """moto, watched; `sent` are the requests that left botocore."""

    def __init__(self) -> None:
        self.session = botocore.session.Session()
        self.session.set_credentials("AKIATEST", "secret")
        events = self.session.get_component("event_emitter")
        events.register_first("before-send", lambda **given: self.sent.append(given["event_name"].rpartition(".")[2]))
        self.sent: list[str] = []
        watch(self.session)

    def client(self, service: str, region: str = REGION) -> Any:
        """A client of the watched session."""
        return self.session.create_client(service, region_name=region)


@pytest.fixture
def account(socket_disabled: None) -> Iterator[Account]:
    """An empty account."""
    with mock_aws():
        yield Account()


# --- the journal ---


def test_calls_are_recorded_in_order_with_what_aws_said_of_them(account: Account) -> None:
    ssm, far = account.client("ssm"), account.client("ssm", "us-east-1")
    with journal() as calls:
        ssm.put_parameter(Name="/a", Value="1", Type="String")
        far.describe_parameters()
        ssm.get_parameter(Name="/a")
    assert [(call.action, call.region) for call in calls.calls] == [
        ("ssm:PutParameter", REGION),
        ("ssm:DescribeParameters", "us-east-1"),
        ("ssm:GetParameter", REGION),
    ]
    first = calls.calls[0]
    assert first.parameters == {"Name": "/a", "Value": "***", "Type": "String"}, "AWS marks a parameter's value as sensitive"
    assert first.sent and first.request_id and first.duration_ms is not None and 0 <= first.duration_ms < 60_000
    assert datetime.fromisoformat(first.at).utcoffset() is not None and first.at.endswith("Z")
    assert [call.action for call in calls.changing()] == ["ssm:PutParameter"]
    assert "error_code" not in first.document() and json.loads(json.dumps(first.document())) == first.document()


def test_an_error_is_recorded_and_kept_if_the_work_failed(account: Account) -> None:
    ssm = account.client("ssm")
    with journal() as calls:
        for name in ("/missing", "/missing"):
            with pytest.raises(ssm.exceptions.ParameterNotFound):
                ssm.get_parameter(Name=name)
        ssm.describe_parameters()
        with pytest.raises(ClientError):
            ssm.delete_parameter(Name="/missing")
    read, _, listed, deleted = calls.calls
    assert (read.error_code, read.sent, bool(read.error_message)) == ("ParameterNotFound", True, True)
    assert read.request_id and listed.error_code is None
    assert calls.worth_keeping(failed=False) == [deleted]
    assert calls.worth_keeping(failed=True) == [read, calls.calls[1], deleted]


def test_a_call_that_got_no_answer_is_recorded(account: Account) -> None:
    def unreachable(**_: object) -> None:
        raise ConnectTimeoutError(endpoint_url=f"https://ssm/{SECRET}")

    ssm = account.client("ssm")
    ssm.meta.events.register_first("before-send", unreachable)
    with journal() as calls:
        calls.secrets.add(SECRET)
        with pytest.raises(ConnectTimeoutError):
            ssm.put_parameter(Name="/a", Value="1", Type="String")
    (call,) = calls.calls
    assert (call.error_code, call.request_id) == ("ConnectTimeoutError", None)
    assert call.duration_ms is not None and call.error_message and SECRET not in call.error_message and "https://ssm" in call.error_message


def test_a_call_that_does_not_fit_was_not_made(account: Account) -> None:
    for context in (journal, rehearsal):
        with context() as calls, pytest.raises(ParamValidationError):
            account.client("ssm").put_parameter(Name=7)
        assert calls.calls == [] and account.sent == []


def test_nothing_is_recorded_outside_of_a_context(account: Account) -> None:
    ssm = account.client("ssm")
    with journal() as outer:
        ssm.describe_parameters()
        with journal() as inner:
            ssm.put_parameter(Name="/a", Value="1", Type="String")
        ssm.delete_parameter(Name="/a")
    ssm.describe_parameters()
    assert [call.action for call in outer.calls] == ["ssm:DescribeParameters", "ssm:DeleteParameter"]
    assert [call.action for call in inner.calls] == ["ssm:PutParameter"]
    with pytest.raises(ZeroDivisionError), journal() as failed:
        raise ZeroDivisionError
    ssm.describe_parameters()
    assert failed.calls == []


def test_threads_with_copied_contexts_do_not_mix(account: Account) -> None:
    ssm, both = account.client("ssm"), threading.Barrier(2)
    found: dict[str, list[str]] = {}

    def work(name: str) -> None:
        with rehearsal() if name == "a" else journal() as calls:
            for i in range(20):
                both.wait(10)
                ssm.put_parameter(Name=f"/{name}/{i}", Value="1", Type="String")
            found[name] = [str(call.parameters["Name"]) for call in calls.calls]

    threads = [threading.Thread(target=copy_context().run, args=(work, name)) for name in "ab"]
    with journal() as mine:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert mine.calls == []
    assert found == {name: [f"/{name}/{i}" for i in range(20)] for name in "ab"}
    assert account.sent == ["PutParameter"] * 20, "only those of the journal"


# --- the rehearsal ---


def test_a_rehearsal_sends_what_reads_and_nothing_else(account: Account) -> None:
    ssm = account.client("ssm")
    ssm.put_parameter(Name="/a", Value="old", Type="String")
    account.sent.clear()
    with rehearsal() as calls:
        assert ssm.get_parameter(Name="/a")["Parameter"]["Value"] == "old"
        answer = ssm.put_parameter(Name="/a", Value="new", Type="String", Overwrite=True)
        ssm.delete_parameter(Name="/a")
    assert account.sent == ["GetParameter"] and ssm.get_parameter(Name="/a")["Parameter"]["Value"] == "old"
    assert (answer["Version"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (0, 200)
    assert [(call.action, call.sent) for call in calls.calls] == [
        ("ssm:GetParameter", True),
        ("ssm:PutParameter", False),
        ("ssm:DeleteParameter", False),
    ]
    unsent = calls.calls[1]
    assert (unsent.request_id, unsent.duration_ms, unsent.error_code) == (None, None, None)
    assert unsent.document().keys() == {"action", "region", "parameters", "at", "sent"}
    ssm.delete_parameter(Name="/a")
    assert account.sent[-1] == "DeleteParameter", "afterwards everything is sent again"


def test_what_was_read_is_not_read_again(account: Account) -> None:
    ssm, far = account.client("ssm"), account.client("ssm", "us-east-1")
    ssm.put_parameter(Name="/a", Value="1", Type="String")
    far.put_parameter(Name="/a", Value="far", Type="String")
    account.sent.clear()
    with reading_once(), journal() as calls:
        first = ssm.get_parameter(Name="/a")
        first["Parameter"]["Value"] = "scribbled on"
        ssm.put_parameter(Name="/a", Value="2", Type="String", Overwrite=True)
        again = account.client("ssm").get_parameter(Name="/a")
        assert (again["Parameter"]["Value"], again["ResponseMetadata"]["HTTPStatusCode"]) == ("1", 200), "as it was"
        assert far.get_parameter(Name="/a")["Parameter"]["Value"] == "far"
        assert ssm.get_parameters(Names=["/a"])["Parameters"][0]["Value"] == "2", "another question"
        for _ in range(2):
            with pytest.raises(ClientError):
                ssm.get_parameter(Name="/none")
    assert account.sent == ["GetParameter", "PutParameter", "GetParameter", "GetParameters", "GetParameter", "GetParameter"]
    assert [call.action.partition(":")[2] for call in calls.calls] == account.sent, "and what was not sent is not in the journal"
    assert ssm.get_parameter(Name="/a")["Parameter"]["Value"] == "2"


@pytest.mark.parametrize(
    ("operation", "reads"),
    [
        ("DescribeDBClusters", True),
        ("GetParameter", True),
        ("ListExports", True),
        ("HeadObject", True),
        ("PutParameter", False),
        ("Invoke", False),
        ("TestFailover", False),
        ("StartReplay", False),
        ("describe", False),
    ],
)
def test_what_reads(operation: str, reads: bool) -> None:
    assert is_reading(operation) is reads
    assert Call(f"service:{operation}", REGION, {}, "").is_reading is reads


@cache
def _operations(prefix: str) -> Sequence[OperationModel]:
    model = botocore.session.get_session().get_service_model(API_NAMES.get(prefix, prefix))
    return [model.operation_model(name) for name in model.operation_names]


@pytest.mark.parametrize("prefix", USED)
def test_made_up_answers_have_the_shape_of_real_ones(prefix: str) -> None:
    """Every operation of every service that modules use; a stream can be read like one of AWS."""
    for model in _operations(prefix):
        answer = _made_up_answer(model)
        if model.output_shape is None:
            assert answer == {}
            continue
        streams = {name for name, value in answer.items() if isinstance(value, StreamingBody)}
        assert bool(streams) == model.has_streaming_output, model.name
        assert all(json.loads(answer[name].read()) is None for name in streams)
        plain = {name: value for name, value in answer.items() if name not in streams and not model.has_event_stream_output}
        report = ParamValidator().validate(plain, model.output_shape)
        wrong = [line for line in report.generate_report().splitlines() if "Missing required" not in line or not streams]
        assert not [line for line in wrong if "Invalid type" in line], (model.name, wrong)


@pytest.mark.parametrize("prefix", USED)
def test_every_changing_operation_can_be_rehearsed(account: Account, prefix: str) -> None:
    """Through botocore itself, with the smallest parameters that it accepts: nothing is sent."""
    client = account.client(API_NAMES.get(prefix, prefix))
    names = {client.meta.method_to_api_mapping[name]: name for name in client.meta.method_to_api_mapping}
    with rehearsal() as calls:
        changing = [model for model in _operations(prefix) if not is_reading(model.name) and not model.has_event_stream_input]
        for model in changing:
            getattr(client, names[model.name])(**_smallest(model.input_shape, 0))
    assert account.sent == []
    assert [call.action for call in calls.calls] == [action(model) for model in changing]
    json.dumps([call.document() for call in calls.calls])


def _smallest(shape: Any, depth: int) -> Any:
    """A value that botocore accepts for a shape: only what is required."""
    if shape is None:
        return {}
    match shape.type_name:
        case "structure":
            names = shape.required_members or (list(shape.members)[:1] if getattr(shape, "is_tagged_union", False) else [])
            return {name: _smallest(shape.members[name], depth + 1) for name in names}
        case "list":
            return [_smallest(shape.member, depth + 1)] * max(1, shape.metadata.get("min", 1)) if depth < 6 else []
        case "map":
            return {}
        case "string":
            text = "name" if shape.name in ("BucketName", "RequestRoute") else "arn:aws:service:eu-west-1:123456789012:thing/name"
            return shape.enum[0] if shape.enum else text.ljust(shape.metadata.get("min", 0), "x")
        case "boolean":
            return True
        case "blob":
            return b"x"
        case "timestamp":
            return datetime(2031, 3, 1)  # noqa: DTZ001
        case "float" | "double":
            return float(shape.metadata.get("min", 1))
        case _:
            return int(shape.metadata.get("min", 1))


# --- what is never kept ---


def _shown(value: Any, *secrets: str) -> str:
    return json.dumps(_redacted(value, None, set(secrets), 0))


@pytest.mark.parametrize(
    "value",
    [
        {"MasterUserPassword": SECRET},
        {"outer": [{"ClientSecret": SECRET}]},
        {"AuthToken": SECRET, "authToken": SECRET, "Credentials": {"x": SECRET}},
        {"Payload": json.dumps({"db": {"password": SECRET}})},
        {"Payload": json.dumps([{"password": SECRET}])},
        {"Payload": "\n  " + json.dumps({"password": SECRET})},
        {"Payload": json.dumps({"inner": json.dumps({"password": SECRET})})},
        {"Payload": json.dumps({"password": SECRET}).encode()},
        {"Payload": bytearray(json.dumps({"password": SECRET}).encode())},
    ],
)
def test_what_is_called_like_a_secret_is_hidden(value: object) -> None:
    assert SECRET not in _shown(value) and "***" in _shown(value)


@pytest.mark.parametrize(
    ("value", "secrets", "leaks"),
    [
        ({"Command": f"login --with {SECRET}!"}, (SECRET,), SECRET),
        ({"Command": ["echo", SECRET.encode()]}, (SECRET,), SECRET),
        ({"Payload": json.dumps({"x": 'quo"ted\\'})}, ('quo"ted\\',), "quo"),
        ({"Payload": '{"user": "bob", "pin": "hunter22"}'}, ('{"user": "bob", "pin": "hunter22"}',), "hunter22"),
        ({"Text": "abcd-and-more"}, ("abcd", "abcd-and-more"), "and-more"),
        ({"Text": "ab,abcd"}, ("abcd", "ab,abcd"), "ab,"),
        ({"Port": 54321, "Rate": 2.5}, ("54321", "2.5"), "54321"),
        ({SECRET: 1}, (SECRET,), SECRET),
        ({"Text": "x" * 295 + SECRET}, (SECRET,), "s3c"),
        ({"a": {"b": [{"c": (SECRET,)}]}}, (SECRET,), SECRET),
    ],
)
def test_a_secret_is_hidden_wherever_it_stands(value: object, secrets: tuple[str, ...], leaks: str) -> None:
    assert leaks not in _shown(value, *secrets)


def test_members_that_aws_marks_as_sensitive_are_hidden(account: Account) -> None:
    with rehearsal() as calls:
        account.client("ssm").put_parameter(Name="/a", Value="1", Type="String", Tags=[{"Key": "Owner", "Value": "shop"}])
        account.client("lambda").invoke(FunctionName="f", Payload=json.dumps({"plain": 1, "password": SECRET}))
    put, invoke = calls.calls
    assert put.parameters["Value"] == "***" and put.parameters["Tags"] == [{"Key": "Owner", "Value": "shop"}]
    assert invoke.parameters["Payload"] in ("***", {"plain": 1, "password": "***"})
    assert invoke.action == "lambda:InvokeFunction"


def _as_json(value: object) -> str:
    return json.dumps(value, default=str)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5) | inner.map(_as_json),
    max_leaves=30,
)


@given(value=values)
def test_anything_can_be_kept(value: object) -> None:
    assert len(_shown(value, SECRET)) < 1_000_000


def test_what_is_kept_is_short() -> None:
    long: Any = {"text": "x" * 10_000, "list": list(range(10_000)), "map": {str(i): i for i in range(10_000)}, "y" * 10_000: 1}
    assert len(_shown(long)) < 3_000
    deep: Any = SECRET
    for _ in range(200):
        deep = {"a": [deep]}
    assert len(_shown(deep)) < 200 and SECRET not in _shown(deep)
    nested = '{"a":' * 100_000 + "1" + "}" * 100_000
    assert len(_shown({"Payload": nested})) < 500, "a payload that no parser takes is a text"
    assert _shown({"Body": BytesIO(SECRET.encode())}).count(SECRET) == 0
