"""What AWS refuses is refused here too, with AWS's error: so that a test here finds what AWS would."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.cloud import LocalCloud
from tests.integration.localcloud.functions import make_function

pytestmark = pytest.mark.integration

Call = Callable[[LocalCloud, dict[str, str]], object]

ENTRY = {"Source": "a", "DetailType": "b", "Detail": "{}"}


@pytest.fixture(scope="module")
def made(cloud: LocalCloud) -> dict[str, str]:
    """One of each thing that the calls are about: their names, ids and ARNs."""
    name = f"strict-{uuid.uuid4().hex[:8]}"
    bus = cloud.client("events").create_event_bus(Name=name)["EventBusArn"]
    cloud.client("events").put_rule(Name="there", EventBusName=name, EventPattern=json.dumps({"source": ["there"]}))
    role = make_function(cloud, name, "def handler(event, context):\n    return 1\n")
    passing = json.dumps({"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}})
    machine = cloud.client("stepfunctions").create_state_machine(name=name, roleArn=role, definition=passing)
    zone = cloud.client("route53").create_hosted_zone(Name="strict.example", CallerReference=name)["HostedZone"]["Id"]
    things = {
        "name": name,
        "bus": bus,
        "queue": cloud.client("sqs").create_queue(QueueName=name)["QueueUrl"],
        "topic": cloud.client("sns").create_topic(Name=name)["TopicArn"],
        "machine": machine["stateMachineArn"],
        "zone": zone,
    }
    change(cloud, things, "CREATE", "taken.strict.example", "CNAME")
    return things


def change(cloud: LocalCloud, made: dict[str, str], action: str, name: str, kind: str = "CNAME", **more: object) -> object:
    value = "192.0.2.1" if kind == "A" else "x.example"
    record = {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}], **more}
    batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
    return cloud.client("route53").change_resource_record_sets(HostedZoneId=made["zone"], ChangeBatch=batch)


def ask(service: str, operation: str, **parameters: Any) -> Call:
    """A call, with `{name}` and the like filled in from what was made."""

    def call(cloud: LocalCloud, made: dict[str, str]) -> object:
        filled = {key: value.format(**made) if isinstance(value, str) and value[:1] == "{" else value for key, value in parameters.items()}
        return getattr(cloud.client(service), operation)(**filled)

    return call


def record(action: str, name: str, kind: str = "CNAME", **more: object) -> Call:
    return lambda cloud, made: change(cloud, made, action, name, kind, **more)


def text(length: int) -> str:
    return json.dumps("x" * (length - 2))


MIB = 1024 * 1024
MISSING_RULE = {"Name": "missing", "EventBusName": "{name}"}
MISSING_HEALTH_CHECK: dict[str, Any] = {"SetIdentifier": "x", "Weight": 1, "HealthCheckId": "00000000-0000-0000-0000-000000000000"}
BIG_DETAIL = json.dumps({"x": "y" * (MIB // 2)})


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        (ask("events", "enable_rule", **MISSING_RULE), "ResourceNotFoundException", "Rule missing does not exist on EventBus"),
        (ask("events", "disable_rule", **MISSING_RULE), "ResourceNotFoundException", "Rule missing does not exist on EventBus"),
        (ask("events", "enable_rule", Name="missing", EventBusName="nowhere"), "ResourceNotFoundException", "on EventBus nowhere"),
        (ask("events", "enable_rule", Name="missing", EventBusName="{bus}"), "ResourceNotFoundException", "on EventBus strict-"),
        (ask("events", "remove_targets", Rule="missing", EventBusName="{name}", Ids=["1"]), "ResourceNotFoundException", "Rule missing"),
        (ask("events", "list_targets_by_rule", Rule="missing", EventBusName="{name}"), "ResourceNotFoundException", "Rule missing"),
        (ask("events", "list_rules", EventBusName="nowhere"), "ResourceNotFoundException", "Event bus nowhere does not exist"),
        (ask("events", "put_events", Entries=[{**ENTRY, "Detail": BIG_DETAIL}] * 2), "ValidationException", "Total size of the entries"),
        (ask("events", "put_events", Entries=[ENTRY] * 11), "ValidationException", "less than or equal to 10"),
        (ask("sqs", "send_message", QueueUrl="{queue}", MessageBody="x" * (MIB + 1)), "InvalidParameterValue", "1048576 bytes"),
        (ask("sqs", "send_message", QueueUrl="{queue}", MessageBody="x", DelaySeconds=901), "InvalidParameterValue", "<= 900"),
        (ask("sns", "publish", TopicArn="{topic}", Message="m", Subject="s" * 101), "InvalidParameter", "Subject"),
        (ask("sns", "publish", TopicArn="{topic}", Message="m", Subject="two\nlines"), "InvalidParameter", "Subject"),
        (record("UPSERT", "api.other.example"), "InvalidChangeBatch", "is not permitted in zone strict.example."),
        (record("UPSERT", "notstrict.example"), "InvalidChangeBatch", "is not permitted in zone strict.example."),
        (record("UPSERT", "strict.example"), "InvalidChangeBatch", "not permitted at apex"),
        (record("CREATE", "taken.strict.example", "A"), "InvalidChangeBatch", "conflicts with other records"),
        (record("CREATE", "taken.strict.example", SetIdentifier="x", Weight=1), "InvalidChangeBatch", "SetIdentifier x cannot be created"),
        (record("UPSERT", "new.strict.example", **MISSING_HEALTH_CHECK), "NoSuchHealthCheck", "does not exist"),
        (ask("cloudwatch", "put_dashboard", DashboardName="d", DashboardBody="no"), "InvalidParameterInput", "valid JSON"),
        (ask("cloudwatch", "put_dashboard", DashboardName="d", DashboardBody=' {"widgets": 1}'), "InvalidParameterInput", "'widgets'"),
        (ask("cloudwatch", "put_dashboard", DashboardName="d", DashboardBody=' {"widgets": [{}]}'), "InvalidParameterInput", "/widgets/0"),
        (ask("ssm", "put_parameter", Name="/a", Type="String", Value="x" * 4097), "ValidationException", "4096 characters"),
        (
            ask("ssm", "put_parameter", Name="/a", Type="String", Value="x" * 8193, Tier="Advanced"),
            "ValidationException",
            "8192 characters",
        ),
        (ask("ssm", "get_parameters", Names=[f"/{number}" for number in range(11)]), "ValidationException", "less than or equal to 10"),
        (ask("stepfunctions", "start_execution", stateMachineArn="{machine}", input=text(262145)), "ValidationException", "at 'input'"),
        (ask("stepfunctions", "start_execution", stateMachineArn="{machine}", input="no"), "InvalidExecutionInput", "no"),
        (ask("stepfunctions", "start_execution", stateMachineArn="{machine}", name="n" * 81), "ValidationException", "at 'name'"),
        (ask("stepfunctions", "send_task_success", taskToken="t", output=text(262145)), "ValidationException", "at 'output'"),
        (ask("stepfunctions", "send_task_success", taskToken="t", output="no"), "InvalidOutput", "no"),
        (ask("lambda", "invoke", FunctionName="{name}", Payload=text(6 * MIB + 1)), "RequestTooLargeException", "limit 6291456 bytes"),
        (
            ask("lambda", "invoke", FunctionName="{name}", InvocationType="Event", Payload=text(MIB + 1)),
            "RequestTooLargeException",
            "limit 1048576 bytes",
        ),
        (ask("lambda", "invoke", FunctionName="{name}", Payload="no"), "InvalidRequestContentException", "Could not parse"),
    ],
)
def test_what_aws_refuses(cloud: LocalCloud, made: dict[str, str], call: Call, code: str, words: str) -> None:
    with pytest.raises(ClientError) as refused:
        call(cloud, made)
    assert refused.value.response["Error"]["Code"] == code
    assert words in refused.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    "call",
    [
        ask("events", "enable_rule", Name="there", EventBusName="{name}"),
        ask("events", "disable_rule", Name="there", EventBusName="{bus}"),
        ask("events", "put_events", Entries=[{**ENTRY, "Detail": json.dumps({"x": "y" * (MIB - 100)})}]),
        ask("sqs", "send_message", QueueUrl="{queue}", MessageBody="x" * MIB, DelaySeconds=900),
        ask("sns", "publish", TopicArn="{topic}", Message="m", Subject="s" * 100),
        record("UPSERT", "new.strict.example", "A"),
        record("UPSERT", "taken.strict.example"),
        record("UPSERT", "strict.example", "A"),
        ask("cloudwatch", "put_dashboard", DashboardName="d", DashboardBody=' {"widgets": [{"type": "text", "properties": {}}]}'),
        ask("ssm", "put_parameter", Name="/b", Type="String", Value="x" * 4096, Overwrite=True),
        ask("ssm", "put_parameter", Name="/c", Type="String", Value="x" * 8192, Tier="Advanced", Overwrite=True),
        ask("stepfunctions", "start_execution", stateMachineArn="{machine}", input=text(262144)),
        ask("lambda", "invoke", FunctionName="{name}", Payload=text(6 * MIB)),
    ],
)
def test_what_aws_accepts(cloud: LocalCloud, made: dict[str, str], call: Call) -> None:
    call(cloud, made)


def test_a_bus_may_be_named_by_its_arn(cloud: LocalCloud, made: dict[str, str]) -> None:
    events = cloud.client("events")
    for change, state in ((events.disable_rule, "DISABLED"), (events.enable_rule, "ENABLED")):
        change(Name="there", EventBusName=made["bus"])
        assert {events.describe_rule(Name="there", EventBusName=bus)["State"] for bus in (made["bus"], made["name"])} == {state}


def test_an_entry_that_is_wrong_fails_alone(cloud: LocalCloud, made: dict[str, str]) -> None:
    entries = [{**ENTRY, "EventBusName": made["name"], "Detail": detail} for detail in ("{}", "no", '{"x": 1}')]
    answer = cloud.client("events").put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 1
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [None, "MalformedDetail", None]
    assert answer["Entries"][0]["EventId"] != answer["Entries"][2]["EventId"]


def test_events_are_delivered_once_and_not_at_all_while_the_rule_is_off(cloud: LocalCloud, made: dict[str, str]) -> None:
    """What the emulator does by itself: the tests of the product rely on it."""
    events, sqs, bus = cloud.client("events"), cloud.client("sqs"), made["name"]
    queue = sqs.create_queue(QueueName=f"{bus}-delivery")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="delivery", EventBusName=bus, EventPattern=json.dumps({"source": ["a"]}))
    events.put_targets(Rule="delivery", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])

    def delivered() -> int:
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"])

    events.put_events(Entries=[{**ENTRY, "EventBusName": bus}] * 10)
    assert delivered() == 10
    events.disable_rule(Name="delivery", EventBusName=bus)
    events.put_events(Entries=[{**ENTRY, "EventBusName": bus}])
    assert delivered() == 10
    events.enable_rule(Name="delivery", EventBusName=bus)
    events.put_events(Entries=[{**ENTRY, "EventBusName": bus}])
    assert delivered() == 11
