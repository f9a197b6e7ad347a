"""The functions that carry an execution: what arrives, what it leads to, and that it leads there once."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from botocore.config import Config

from dr_core import flow
from dr_core.events import wake_up
from dr_core.records import DetailType, Event, ExecutionStatus, ResourceStatus
from dr_core.triggers import Vote
from dr_engine import native_events
from dr_modules.base import NativeEvent
from tests.support import lamps
from tests.support.control_plane import ID, OTHER, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution, error
from tests.support.deployed import BUS, Function, announced, on_bus, queue_function, sample
from tests.support.lamps import Lamp
from tests.support.lit_room import LAMP, Room
from tests.support.state_table import TABLE_NAME, TEMPLATE, template

Functions = Callable[[str], Function]
SAMPLES = TEMPLATE.parent / "events"


@pytest.fixture
def approved(cloud: Cloud) -> Cloud:
    """An execution that has just been approved."""
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Vote(True, "ann", "", SHA), cloud.clock)
    return cloud


# --- advance_execution ---


def test_advance_execution(function: Functions, approved: Cloud) -> None:
    assert function("advance_execution").deliver(*announced(approved, ID, "Approval Granted")) == []
    state = approved.table.load(ID)
    assert state and state.execution.status is ExecutionStatus.RUNNING
    assert state.resources[0].status is ResourceStatus.REQUESTED


@pytest.mark.failure("Duplicate event, message delivered again")
def test_advance_execution_twice(function: Functions, approved: Cloud) -> None:
    bodies = announced(approved, ID, "Approval Granted")
    function("advance_execution").deliver(*bodies)
    before = approved.items()
    assert function("advance_execution").deliver(*bodies, *announced(approved, ID, "Layer Started")) == []
    assert approved.items() == before


def test_advance_execution_gives_back_what_failed(function: Functions, approved: Cloud) -> None:
    body = announced(approved, ID, "Approval Granted")[0]
    assert function("advance_execution").deliver("{}", body) == ["1"]
    with pytest.raises(BatchProcessingError):
        function("advance_execution").deliver("{}")
    state = approved.table.load(ID)
    assert state and state.execution.status is ExecutionStatus.RUNNING


def test_advance_execution_once_for_all_that_a_batch_says(function: Functions, approved: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    body, other = announced(approved, ID, "Approval Granted")[0], wake_up(OTHER, Event(DetailType.LAYER_STARTED))
    advanced: list[str] = []
    advance = function("advance_execution")
    monkeypatch.setattr("dr_core.flow.advance", lambda _table, execution_id, _clock: advanced.append(execution_id))
    assert advance.deliver(body, other, body, body) == []
    assert advanced == [ID, OTHER]
    assert advance.deliver(body) == []
    assert advanced == [ID, OTHER, ID], "a later batch is news"


def test_advance_execution_tries_again_for_the_next_message_of_a_batch(
    function: Functions, approved: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = announced(approved, ID, "Approval Granted")[0]
    outcomes = iter([ValueError("the table is out"), None])
    advance = function("advance_execution")

    def once(*_: object) -> None:
        if outcome := next(outcomes):
            raise outcome

    monkeypatch.setattr("dr_core.flow.advance", once)
    assert advance.deliver(body, body) == ["1"]


# --- start_resource, check_resource ---


def wanted(attempt: int = 1) -> str:
    fields = {"layer": 1, "resourceId": LAMP, "resourceName": "lamp-1", "module": "Lamp", "attempt": attempt}
    return on_bus("Resource Requested", {"executionId": ID, **fields}, "dr.resource", "e")


def due(check_no: int = 1) -> str:
    return wake_up(ID, Event(DetailType.RESOURCE_WAITING, {"resourceId": LAMP, "attempt": 1, "checkNo": check_no}))


def test_start_resource(function: Functions, room: Room, cloud: Cloud) -> None:
    room.request()
    assert function("start_resource").deliver(wanted()) == []
    assert (room.resource.status, lamps.shown()) == (ResourceStatus.WAITING, "warming")
    ((message, delay),) = cloud.sent("CHECK_QUEUE_URL")
    assert message["checkNo"] == 1 and 4 <= delay <= 6, "the template's FirstCheckSeconds"
    (call,) = cloud.made("AssumeRole")
    assert call.parameters["RoleArn"].endswith("/the-role") and call.parameters["ExternalId"] == "the-external-id"


@pytest.mark.failure("Duplicate event, message delivered again")
def test_start_resource_twice(function: Functions, room: Room, cloud: Cloud) -> None:
    room.request()
    function("start_resource").deliver(wanted())
    before = cloud.items()
    assert function("start_resource").deliver(wanted(), wanted(2)) == []
    assert cloud.items() == before and len(room.acts) == 1


def test_start_resource_waits_for_its_retry(function: Functions, room: Room, cloud: Cloud) -> None:
    room.request()
    cloud.answer("ssm", "PutParameter", error("ParameterLimitExceeded"))
    assert function("start_resource").deliver(wanted()) == []
    assert room.resource.status is ResourceStatus.RETRY_WAIT
    assert [message["type"] for message, _ in cloud.sent("ADVANCE_QUEUE_URL")] == ["Resource Failed"]


def test_start_resource_gives_back_what_failed(function: Functions, room: Room) -> None:
    room.request()
    assert function("start_resource").deliver("{}", wanted(), "[]") == ["1", "3"]
    assert room.resource.status is ResourceStatus.WAITING


def test_each_executor_has_a_name_of_its_own(function: Functions, room: Room) -> None:
    owners: list[str] = []
    for _ in range(2):
        room.request(id=LAMP)
        function("start_resource").deliver(wanted())
        owners += re.findall(r"'S': '(\w{8}(?:-\w{4}){3}-\w{12})'", str(room.cloud.made("TransactWriteItems")[0].parameters))
        room.cloud.empty()
        boto3.client("ssm").delete_parameter(Name="/lamp/hall")
    assert len(set(owners)) == len(owners) == 2


def test_check_resource(function: Functions, room: Room, cloud: Cloud) -> None:
    room.request()
    room.start()
    assert function("check_resource").deliver(due(1)) == []
    assert room.resource.check_no == 2
    lamps.make("on")
    assert function("check_resource").deliver(due(2)) == []
    assert room.resource.status is ResourceStatus.SUCCEEDED and cloud.events()[-1] == "Resource Succeeded"


@pytest.mark.failure("Duplicate event, message delivered again")
def test_check_resource_twice(function: Functions, room: Room, cloud: Cloud) -> None:
    room.request()
    room.start()
    function("check_resource").deliver(due(1))
    before = cloud.items()
    assert function("check_resource").deliver(due(1), due(1)) == []
    assert cloud.items() == before and len(cloud.sent("CHECK_QUEUE_URL")) == 2


def test_check_resource_gives_back_what_failed(function: Functions, room: Room) -> None:
    room.request()
    room.start()
    assert function("check_resource").deliver("?", due(1)) == ["1"]
    assert room.resource.check_no == 2


# --- notice_change ---


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """AWS tells of lamps. Gives such an event, as a rule puts it into a queue."""
    monkeypatch.setattr(Lamp, "native_events", (NativeEvent("aws.lamps", "Lamp State Change"),))
    monkeypatch.setattr(Lamp, "named_in_events", ("Name",))
    monkeypatch.setattr("dr_engine.native_events.modules", lambda: {"Lamp": Lamp})
    native_events._listening.cache_clear()
    yield lambda **changes: json.dumps({**json.loads(on_bus("Lamp State Change", {"lamp": "HALL"}, "aws.lamps", "e")), **changes})
    native_events._listening.cache_clear()


def test_notice_change_brings_the_check_forward_and_one_chain_goes_on(
    function: Functions, room: Room, cloud: Cloud, told: Callable[..., str]
) -> None:
    room.request({"Name": "hall"})
    room.start()
    waiting = cloud.sent("CHECK_QUEUE_URL")
    lamps.make("on")
    assert function("notice_change").deliver(told(), told()) == []
    early, *_ = brought = cloud.sent("CHECK_QUEUE_URL")[len(waiting) :]
    assert [delay for _, delay in brought] == [0, 5] and early[0]["checkNo"] == waiting[0][0]["checkNo"] == 1
    assert function("check_resource").deliver(due(early[0]["checkNo"])) == []
    assert room.resource.status is ResourceStatus.SUCCEEDED
    before = cloud.items()
    assert function("check_resource").deliver(due(1), due(1)) == [] and cloud.items() == before, "the poll, and the later check"


def test_notice_change_that_comes_too_early_leaves_the_polls_as_they_are(
    function: Functions, room: Room, cloud: Cloud, told: Callable[..., str]
) -> None:
    room.request({"Name": "hall"})
    room.start()
    function("notice_change").deliver(told())
    assert function("check_resource").deliver(due(1), due(1)) == [], "the early one, and the poll"
    numbers = [message["checkNo"] for message, _ in cloud.sent("CHECK_QUEUE_URL")]
    assert numbers == [1, 1, 2] and room.resource.check_no == 2, "one check, which sent the next one"


def test_notice_change_of_something_else(function: Functions, room: Room, cloud: Cloud, told: Callable[..., str]) -> None:
    room.request({"Name": "hall"})
    room.start()
    before = cloud.items()
    assert function("notice_change").deliver(told(region=OTHER), told(account="1"), told(detail={"lamp": "porch"})) == []
    assert cloud.items() == before


def test_notice_change_gives_back_what_failed(function: Functions, room: Room, cloud: Cloud, told: Callable[..., str]) -> None:
    room.request({"Name": "hall"})
    room.start()
    assert function("notice_change").deliver("{}", told()) == ["1"]
    assert [delay for _, delay in cloud.sent("CHECK_QUEUE_URL")][-1] == 0


# --- sweep ---


def test_sweep(function: Functions, cloud: Cloud) -> None:
    cloud.clock.advance(46)
    other = an_execution("01OTHER", application="blog")
    assert cloud.table.create(other, [a_layer()], [a_resource()], an_approval(), T0)
    resource = a_resource(due_at=T0, status=ResourceStatus.REQUESTED, attempt=1)
    running = an_execution("01RUN", application="news", status=ExecutionStatus.RUNNING, current_layer=1)
    assert cloud.table.create(running, [a_layer(status="RUNNING")], [resource], an_approval(), T0)
    assert function("sweep").invoke({}) == {"wakeUpsSent": 2}
    assert [message["executionId"] for message, _ in cloud.sent("PREFLIGHT_QUEUE_URL")] == ["01OTHER"]
    assert [message["executionId"] for message, _ in cloud.sent("START_QUEUE_URL")] == ["01RUN"]


def test_sweep_twice_changes_nothing(function: Functions, approved: Cloud) -> None:
    approved.clock.advance(3600)
    function("sweep").invoke({})
    before = approved.items()
    function("sweep").invoke({})
    assert approved.items() == before


@pytest.mark.failure("A function dies between its transaction and the message for the next check")
def test_sweep_sends_a_lost_check_and_a_lost_start_again(function: Functions, room: Room, cloud: Cloud) -> None:
    room.request()
    room.start()
    cloud.calls.clear()
    cloud.clock.advance(60)
    assert function("sweep").invoke({}) == {"wakeUpsSent": 1}
    ((message, delay),) = cloud.sent("CHECK_QUEUE_URL")
    assert (message["resourceId"], message["checkNo"], delay) == (LAMP, 1, 0)


# --- publish_changes ---


def records(cloud: Cloud) -> list[dict[str, Any]]:
    """What the table's stream holds."""
    client = boto3.client("dynamodbstreams", config=Config(account_id_endpoint_mode="disabled"))  # moto knows no other address
    arn = boto3.client("dynamodb").describe_table(TableName=TABLE_NAME)["Table"]["LatestStreamArn"]
    shard = client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    start = client.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    return [dict(record) for record in client.get_records(ShardIterator=start)["Records"]]


@pytest.fixture
def _bus(cloud: Cloud) -> None:
    boto3.client("events").create_event_bus(Name=BUS)


@pytest.mark.usefixtures("_bus")
def test_publish_changes(function: Functions, approved: Cloud) -> None:
    assert function("publish_changes").invoke({"Records": records(approved)}) == {"batchItemFailures": []}
    (call,) = approved.made("PutEvents")
    sent = call.parameters["Entries"]
    assert [entry["DetailType"] for entry in sent] == ["Execution Requested", "Vote Recorded", "Approval Granted"]
    assert {entry["EventBusName"] for entry in sent} == {BUS}
    assert [entry["Detail"] for entry in sent] == [entry.detail for entry in approved.table.timeline(ID)]


@pytest.mark.usefixtures("_bus")
def test_publish_changes_leaves_other_regions_to_themselves(function: Functions, cloud: Cloud) -> None:
    elsewhere = an_execution("01OTHER", application="blog", home_region=OTHER)
    assert cloud.table.create(elsewhere, [a_layer()], [a_resource()], an_approval(), T0)
    assert records(cloud) and function("publish_changes").invoke({"Records": records(cloud)}) == {"batchItemFailures": []}
    assert cloud.made("PutEvents") == []


@pytest.mark.failure("PutEvents takes only a part, or is throttled")
@pytest.mark.usefixtures("_bus")
def test_publish_changes_goes_on_from_the_first_that_failed(function: Functions, approved: Cloud) -> None:
    taken, refused = {"EventId": "1"}, {"ErrorCode": "InternalFailure", "ErrorMessage": "no"}
    approved.answer("events", "PutEvents", {"FailedEntryCount": 1, "Entries": [taken, refused, taken]}, status=200)
    given = records(approved)
    answer = function("publish_changes").invoke({"Records": given})
    outbox = [one["dynamodb"] for one in given if one["dynamodb"]["Keys"]["sk"]["S"].startswith("EVT#")]
    assert answer == {"batchItemFailures": [{"itemIdentifier": outbox[1]["SequenceNumber"]}]}


@pytest.mark.usefixtures("_bus")
def test_publish_changes_that_cannot_reach_the_bus_fails_as_a_whole(function: Functions, approved: Cloud) -> None:
    approved.answer("events", "PutEvents", error("AccessDeniedException"))
    with pytest.raises(boto3.client("events").exceptions.ClientError):
        function("publish_changes").invoke({"Records": records(approved)})


# --- the rules ---

RULES = {name: one["Properties"] for name, one in template()["Resources"].items() if one["Type"] == "AWS::Events::Rule"}


def folder(rule: dict[str, Any]) -> Path:
    """Where the samples of the events are that a rule brings."""
    native = all(source.startswith("aws.") for source in rule["EventPattern"]["source"])
    return TEMPLATE.parent / "tests" / "samples" / "native" if native else SAMPLES


ROUTES = [
    (queue_function(target["Arn"].removesuffix(".Arn")), folder(rule) / f"{re.sub('[^A-Za-z0-9]', '', detail_type)}.json")
    for rule in RULES.values()
    for target in rule["Targets"]
    for detail_type in rule["EventPattern"]["detail-type"]
    if "dr.operator" not in rule["EventPattern"]["source"]
]


@pytest.mark.parametrize(("name", "path"), ROUTES, ids=[f"{name}-{path.stem}" for name, path in ROUTES])
def test_a_function_takes_every_event_that_its_rules_bring(function: Functions, cloud: Cloud, name: str, path: Path) -> None:
    if name == "start_approval":
        cloud.answer("states", "StartExecution", *[{"executionArn": "arn"}] * 2, status=200)
    assert function(name).deliver(sample(path), json.dumps({**json.loads(sample(path)), "later": True})) == []
    assert cloud.items() == [], "there is no such execution"
