"""start_execution and the functions around the approval: what arrives, what it leads to, and that it leads there once."""

import json
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest

from dr_core import flow
from dr_core.approval_plan import plan_digest
from dr_core.approval_votes import Votes
from dr_core.commands import NotAllowedError
from dr_core.events import execution_id
from dr_core.links import FormToken, LinkSigner, LinkToken
from dr_core.records import ApprovalStatus, Change, ExecutionStatus, Kind, Move, ResourceStatus
from dr_core.state import Once
from dr_core.triggers import Preflown, TokenHeld, Vote
from dr_engine.preflight import document
from dr_people.asking import NobodyAskedError
from tests.support.control_plane import HOME, ID, OTHER, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution, error
from tests.support.deployed import BUCKET, BUS, MACHINE, PAGE, SECRET, SECRET_NAME, TOPIC, Function, announced, on_bus
from tests.support.reports import obstacle, planned, report

Functions = Callable[[str], Function]
REQUEST = {
    "application": "shop",
    "phase": "INSTANTIATE",
    "sourceRegion": OTHER,
    "targetRegion": HOME,
    "requestedBy": "olga",
    "reason": "drill",
}
SERVICE = {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 2}
MANIFEST = [{"layer": 1, "resources": [{"action": "ECS", "resourceName": "api", "parameters": SERVICE}]}]
BROKEN = json.dumps({"detail-type": "Approval Requested", "detail": {}})


@pytest.fixture
def waiting(cloud: Cloud) -> Cloud:
    """An execution that waits for its approval."""
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    cloud.calls.clear()
    return cloud


@pytest.fixture
def _secret(cloud: Cloud) -> None:
    boto3.client("secretsmanager").create_secret(Name=SECRET_NAME, SecretString=SECRET)


def votes(cloud: Cloud, approve: bool = True) -> None:
    """Ann decides."""
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Vote(approve, "ann", "", SHA), cloud.clock)


def holds(cloud: Cloud) -> None:
    """The state machine waits."""
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, TokenHeld("the-token"), cloud.clock)


# --- start_execution ---


@pytest.fixture
def _manifests(cloud: Cloud) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_object(Bucket=BUCKET, Key="shop/Instantiate.json", Body=json.dumps(MANIFEST))


def requested(event_id: str = "event-1", **changed: object) -> str:
    return on_bus("Execution Requested", {**REQUEST, **changed}, "dr.operator", event_id)


@pytest.mark.usefixtures("_manifests")
def test_start_execution(function: Functions, cloud: Cloud) -> None:
    assert function("start_execution").deliver(requested()) == []
    made = cloud.table.load(execution_id("event-1", T0))
    assert made and made.approval and made.execution.status is ExecutionStatus.PENDING_APPROVAL
    assert made.approval.expires_at == T0 + timedelta(seconds=3600), "the template's ApprovalSeconds"
    assert cloud.table.resources(made.execution.id)[0].account == "123456789012"


@pytest.mark.failure("Duplicate event, message delivered again")
@pytest.mark.usefixtures("_manifests")
def test_start_execution_twice(function: Functions, cloud: Cloud) -> None:
    function("start_execution").deliver(requested())
    before = cloud.items()
    cloud.clock.advance(60)
    assert function("start_execution").deliver(requested(), requested()) == []
    assert cloud.items() == before


@pytest.mark.usefixtures("_manifests")
def test_start_execution_refuses(function: Functions, cloud: Cloud) -> None:
    assert function("start_execution").deliver(requested(phase="CLEANUP", colour="red")) == [], "a refusal is not tried again"
    refusal = cloud.table.refusal(execution_id("event-1", T0))
    assert refusal and "colour" in refusal.problems[0]


@pytest.mark.usefixtures("_manifests")
def test_start_execution_gives_back_what_failed(function: Functions, cloud: Cloud) -> None:
    assert function("start_execution").deliver("{}", requested(), "not JSON") == ["1", "3"]
    assert cloud.table.load(execution_id("event-1", T0))


# --- preflight_execution ---


def test_preflight_execution_looks_asks_and_measures(function: Functions, cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    """Lamp is no module of the product: what preflight says of it is said of every resource that it cannot look at."""
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    assert function("preflight_execution").deliver(*announced(cloud, ID, "Execution Requested")) == []
    assert sorted(cloud.events()) == ["Approval Requested", "Execution Requested", "Preflight Completed"]
    (report,) = cloud.table.preflights(ID)
    assert [(one["severity"], one["code"]) for one in report["findings"]] == [("ERROR", "UnknownModule")]
    measured = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    values = {name: one[name] for one in measured for name in ("PreflightErrors", "PreflightWarnings") if name in one}
    assert values == {"PreflightErrors": [1.0], "PreflightWarnings": [0.0]}
    assert {(one["service"], one["execution_id"]) for one in measured} == {("dr-orchestrator", ID)}


def test_preflight_execution_twice(function: Functions, cloud: Cloud) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    body = announced(cloud, ID, "Execution Requested")[0]
    function("preflight_execution").deliver(body)
    before = cloud.items()
    assert function("preflight_execution").deliver(body, body, BROKEN) == ["3"]
    assert cloud.items() == before


# --- request_preflights ---


def test_request_preflights(function: Functions, cloud: Cloud) -> None:
    """Each application that is registered and has not opted out, for the phases that it has; each request once."""
    boto3.client("events").create_event_bus(Name=BUS)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    regions = {"regions": {"primary": "us-east-1", "standby": "us-west-2"}}
    files = {
        "shop/application.json": {"application": "shop", **regions},
        "shop/Instantiate.json": MANIFEST,
        "shop/Activate.json": MANIFEST,
        "shop/Cleanup.json": MANIFEST,
        "blog/application.json": {"application": "blog", **regions, "preflight": False},
        "blog/Activate.json": MANIFEST,
        "news/application.json": {"application": "news"},
        "wiki/Activate.json": MANIFEST,
    }
    for key, body in files.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(body))
    for _ in range(2):
        assert function("request_preflights").invoke({"scheduledTime": "2031-03-01T12:00:00Z"}) == {"requested": 2}
    sent = [json.loads(entry["Detail"]) for call in cloud.made("PutEvents") for entry in call.parameters["Entries"]]
    assert [(one["application"], one["phase"], one["targetRegion"], one["dryRun"]) for one in sent[:2]] == [
        ("shop", "INSTANTIATE", "us-west-2", True),
        ("shop", "ACTIVATE", "us-west-2", True),
    ]
    assert sent[:2] == sent[2:], "the same schedule asks for the same, by its client tokens"
    assert len({one["clientToken"] for one in sent}) == 2


# --- start_approval ---


def asked(cloud: Cloud) -> list[str]:
    """`Approval Requested`, as preflight leads to it."""
    state = cloud.table.load(ID)
    assert state and flow.follow(cloud.table, state, Preflown(0, 0, 1), cloud.clock)
    return announced(cloud, ID, "Approval Requested")


def test_start_approval(function: Functions, waiting: Cloud) -> None:
    waiting.answer("states", "StartExecution", {"executionArn": "arn"}, status=200)
    assert function("start_approval").deliver(*asked(waiting)) == []
    (call,) = waiting.made("StartExecution")
    assert (call.parameters["stateMachineArn"], call.parameters["name"]) == (MACHINE, ID)
    assert json.loads(call.parameters["input"]) == {"executionId": ID, "layer": 0}


def test_start_approval_twice(function: Functions, waiting: Cloud) -> None:
    waiting.answer("states", "StartExecution", error("ExecutionAlreadyExists"))
    assert function("start_approval").deliver(*asked(waiting)) == []


def test_start_approval_gives_back_what_failed(function: Functions, waiting: Cloud) -> None:
    waiting.answer("states", "StartExecution", error("ServiceUnavailable"), {"executionArn": "arn"})
    waiting._answers["states", "StartExecution"][1] = ({"executionArn": "arn"}, 200)
    body = asked(waiting)[0]
    assert function("start_approval").deliver(body, BROKEN, body) == ["1", "2"]


# --- request_approval ---


@pytest.mark.usefixtures("_secret")
def test_request_approval(function: Functions, waiting: Cloud) -> None:
    waiting.answer("sns", "Publish", {"MessageId": "1"}, status=200)
    function("request_approval").invoke({"executionId": ID, "taskToken": "the-token"})
    (call,) = waiting.made("Publish")
    assert call.parameters["TopicArn"] == TOPIC and call.parameters["Subject"].startswith("Approval needed: ACTIVATE of shop")
    (link,) = [line for line in call.parameters["Message"].splitlines() if line.startswith(PAGE)]
    token = LinkSigner(SECRET).read(link.rpartition("=")[2], T0)
    approval = waiting.table.approval(ID)
    assert approval and approval.plan_sha256 == token.plan_sha256 == plan_digest(waiting.table.resources(ID), [])
    assert token == LinkToken(ID, SHA, T0 + timedelta(hours=1), token.plan_sha256, id=token.id)
    approval = waiting.table.approval(ID)
    assert approval and (approval.task_token, approval.asked_at, approval.status) == ("the-token", T0, ApprovalStatus.PENDING)
    assert "the-token" not in call.parameters["Message"] and SECRET not in call.parameters["Message"]


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize("in_time", [True, False])
def test_request_approval_says_what_preflight_found(function: Functions, waiting: Cloud, in_time: bool) -> None:
    if in_time:
        found = report(findings=(obstacle("NoQuota", "lamp-1 (Lamp): raise it"),), calls=(planned("lamp:Light", room="hall"),))
        waiting.table.keep_preflight(ID, {a_resource().id: document(a_resource(), found)}, T0)
    waiting.answer("sns", "Publish", {"MessageId": "1"}, status=200)
    function("request_approval").invoke({"executionId": ID, "taskToken": "the-token"})
    message = waiting.made("Publish")[0].parameters["Message"]
    said = ("1 error in the way", "NoQuota: lamp-1 (Lamp): raise it", "lamp:Light") if in_time else ("no preflight came in time",)
    assert all(words in message for words in said) and "hall" not in message


@pytest.mark.usefixtures("_secret")
def test_request_approval_twice_asks_rather_twice_than_not_at_all(function: Functions, waiting: Cloud) -> None:
    waiting.answer("sns", "Publish", error("InternalError"))
    with pytest.raises(NobodyAskedError):
        function("request_approval").invoke({"executionId": ID, "taskToken": "first"})
    approval = waiting.table.approval(ID)
    assert approval and (approval.task_token, approval.asked_at) == ("first", None), "the sweep would ask again"
    waiting.answer("sns", "Publish", *[{"MessageId": "1"}] * 2, status=200)
    for _ in range(2):
        function("request_approval").invoke({"executionId": ID, "taskToken": "second"})
    approval = waiting.table.approval(ID)
    assert approval and (approval.task_token, approval.asked_at) == ("second", T0)


@pytest.mark.usefixtures("_secret")
@pytest.mark.parametrize("advanced", [False, True])
def test_request_approval_asks_nobody_about_what_is_decided(function: Functions, waiting: Cloud, advanced: bool) -> None:
    votes(waiting)
    if advanced:
        flow.advance(waiting.table, ID, waiting.clock)
    before = waiting.items()
    function("request_approval").invoke({"executionId": ID, "taskToken": "the-token"})
    function("request_approval").invoke({"executionId": "01NO", "taskToken": "the-token"})
    assert waiting.made("Publish") == [] and waiting.items() == before


# --- decide_approval ---


def visit(method: str, **more: object) -> dict[str, Any]:
    token = LinkSigner(SECRET).sign(LinkToken(ID, SHA, T0 + timedelta(hours=1), id="jti"))
    browser = "b" * 32
    nonce = LinkSigner(SECRET).sign_form(FormToken("jti", sha256(browser.encode()).hexdigest(), T0 + timedelta(minutes=1)))
    body = urlencode({"token": token, "nonce": nonce, "confirmation": "shop", "decision": "approve", "approver": "ann"})
    event = {
        "requestContext": {"http": {"method": method}, "domainName": "page.example"},
        "headers": {"origin": "https://page.example"},
        "cookies": [f"approval={browser}"],
        "queryStringParameters": {"token": token},
        "isBase64Encoded": False,
    }
    return {"version": "2.0", **event, "body": body if method == "POST" else "", **more}


@pytest.mark.usefixtures("_secret")
def test_decide_approval_shows(function: Functions, waiting: Cloud) -> None:
    before = waiting.items()
    answer = function("decide_approval").invoke(visit("GET"))
    assert answer["statusCode"] == 200 and "ACTIVATE of shop" in answer["body"] and answer["headers"]["Cache-Control"] == "no-store"
    assert waiting.items() == before


@pytest.mark.usefixtures("_secret")
def test_decide_approval(function: Functions, waiting: Cloud) -> None:
    assert function("decide_approval").invoke(visit("POST"))["statusCode"] == 200
    approval = waiting.table.approval(ID)
    assert approval and (approval.status, approval.approver, approval.decided_at) == (ApprovalStatus.APPROVED, "ann", T0)


@pytest.mark.usefixtures("_secret")
def test_decide_approval_twice(function: Functions, waiting: Cloud) -> None:
    function("decide_approval").invoke(visit("POST"))
    before = waiting.items()
    assert function("decide_approval").invoke(visit("POST"))["statusCode"] == 409
    assert waiting.items() == before


# --- expire_approval ---


def test_expire_approval(function: Functions, waiting: Cloud) -> None:
    function("expire_approval").invoke({"executionId": ID})
    approval = waiting.table.approval(ID)
    assert approval and approval.status is ApprovalStatus.EXPIRED and waiting.events()[-1] == "Approval Expired"


def test_expire_approval_twice(function: Functions, waiting: Cloud) -> None:
    function("expire_approval").invoke({"executionId": ID})
    before = waiting.items()
    function("expire_approval").invoke({"executionId": ID})
    function("expire_approval").invoke({"executionId": "01NO"})
    assert waiting.items() == before


def test_expire_approval_comes_too_late(function: Functions, waiting: Cloud) -> None:
    votes(waiting)
    before = waiting.items()
    function("expire_approval").invoke({"executionId": ID})
    assert waiting.items() == before


# --- settle_approval ---


@pytest.mark.parametrize(("approve", "status", "event"), [(True, "APPROVED", "Approval Granted"), (False, "REJECTED", "Approval Rejected")])
def test_settle_approval(function: Functions, waiting: Cloud, approve: bool, status: str, event: str) -> None:
    holds(waiting)
    votes(waiting, approve)
    waiting.answer("states", "SendTaskSuccess", {}, status=200)
    assert function("settle_approval").deliver(*announced(waiting, ID, event)) == []
    (call,) = waiting.made("SendTaskSuccess")
    assert (call.parameters["taskToken"], json.loads(call.parameters["output"])) == ("the-token", {"status": status})


@pytest.mark.failure("The approval's wait cannot be ended: its token is gone, Step Functions refuses")
@pytest.mark.parametrize("gone", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_settle_approval_twice(function: Functions, waiting: Cloud, gone: str) -> None:
    holds(waiting)
    votes(waiting)
    before = waiting.items()
    waiting.answer("states", "SendTaskSuccess", error(gone))
    assert function("settle_approval").deliver(*announced(waiting, ID, "Approval Granted")) == []
    assert waiting.items() == before


def test_settle_approval_without_a_wait(function: Functions, waiting: Cloud) -> None:
    votes(waiting)
    unknown = on_bus("Approval Granted", {"executionId": "01NO"}, "dr.approval", "e")
    assert function("settle_approval").deliver(*announced(waiting, ID, "Approval Granted"), unknown) == []
    assert waiting.made("SendTaskSuccess") == []


def test_settle_approval_gives_back_what_failed(function: Functions, waiting: Cloud) -> None:
    votes(waiting)
    body = announced(waiting, ID, "Approval Granted")[0]
    assert function("settle_approval").deliver(body, BROKEN) == ["2"]


# --- control_execution ---


def test_control_execution(function: Functions, cloud: Cloud) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    command = {"executionId": ID, "command": "cancel", "requestedBy": "olga", "reason": "enough"}
    body = on_bus("Command Requested", command, "dr.operator", "event-1")
    assert function("control_execution").deliver(body, "not JSON", body) == ["2"]
    state = cloud.table.load(ID)
    assert state and state.execution.status is ExecutionStatus.CANCELLED
    assert cloud.events().count("Command Accepted") == 1 and "Command Refused" not in cloud.events()


# --- before a layer ---


@pytest.fixture
def before_layer(cloud: Cloud) -> Cloud:
    """The first layer is done, and the second waits for its approval; the first approval's wait was never answered."""
    layers = [a_layer(1), a_layer(2, approval_seconds=3600)]
    assert cloud.table.create(an_execution(layers_total=2), layers, [a_resource(1), a_resource(2)], an_approval(), T0)
    holds(cloud)
    votes(cloud)
    state = flow.advance(cloud.table, ID, cloud.clock)
    assert state
    done = Change(Kind.RESOURCE, "0001-001", {}, {"status": ResourceStatus.SUCCEEDED, "ended_at": T0, "due_at": None})
    assert cloud.table.commit(state.execution, Move((done,)), T0)
    assert flow.advance(cloud.table, ID, cloud.clock)
    cloud.calls.clear()
    return cloud


def test_start_approval_before_a_layer(function: Functions, before_layer: Cloud) -> None:
    before_layer.answer("states", "StartExecution", {"executionArn": "arn"}, status=200)
    assert function("start_approval").deliver(*announced(before_layer, ID, "Approval Requested")) == []
    (call,) = before_layer.made("StartExecution")
    assert (call.parameters["name"], json.loads(call.parameters["input"])) == (f"{ID}-layer-2", {"executionId": ID, "layer": 2})


@pytest.mark.usefixtures("_secret")
def test_request_approval_before_a_layer_says_which(function: Functions, before_layer: Cloud) -> None:
    before_layer.answer("sns", "Publish", {"MessageId": "1"}, status=200)
    function("request_approval").invoke({"executionId": ID, "layer": 2, "taskToken": "second"})
    (call,) = before_layer.made("Publish")
    assert "before layer 2" in call.parameters["Subject"]
    assert "layer 2; the layers before it were carried out" in call.parameters["Message"]
    first, second = before_layer.table.approvals(ID)
    assert (first.task_token, second.task_token, second.asked_at) == ("the-token", "second", T0)


@pytest.mark.usefixtures("_secret")
def test_an_old_link_says_that_its_request_is_decided_and_shows_no_other(function: Functions, before_layer: Cloud) -> None:
    before_layer.answer("sns", "Publish", {"MessageId": "1"}, status=200)
    function("request_approval").invoke({"executionId": ID, "layer": 2, "taskToken": "second"})
    stored = before_layer.items()
    for method in ("GET", "POST"):
        answer = function("decide_approval").invoke(visit(method))  # of the execution's own request
        assert answer["statusCode"] == 410 and "<form" not in answer["body"] and "cookies" not in answer
        said = "The request that this link was made for is APPROVED by ann. ACTIVATE of shop waits before layer 2"
        assert said in answer["body"] and "that request has a link of its own" in answer["body"]
    assert before_layer.items() == stored
    (call,) = before_layer.made("Publish")
    link = next(line for line in call.parameters["Message"].splitlines() if line.startswith(PAGE))
    own = function("decide_approval").invoke(visit("GET", queryStringParameters={"token": link.partition("token=")[2]}))
    assert own["statusCode"] == 200 and "<form" in own["body"] and "before layer 2" in own["body"]


def test_what_is_left_of_the_first_wait_leaves_the_layers_approval_alone(function: Functions, before_layer: Cloud) -> None:
    stored = before_layer.items()
    function("request_approval").invoke({"executionId": ID, "taskToken": "late"})
    function("expire_approval").invoke({"executionId": ID})
    assert before_layer.items() == stored


def test_expire_approval_before_a_layer(function: Functions, before_layer: Cloud) -> None:
    function("expire_approval").invoke({"executionId": ID, "layer": 2})
    assert [one.status for one in before_layer.table.approvals(ID)] == ["APPROVED", "EXPIRED"]


def test_settle_approval_leaves_a_wait_that_goes_on(function: Functions, before_layer: Cloud) -> None:
    state = before_layer.table.load(ID)
    assert state and flow.follow(before_layer.table, state, TokenHeld("second"), before_layer.clock)
    before_layer.answer("states", "SendTaskSuccess", {}, status=200)
    assert function("settle_approval").deliver(*announced(before_layer, ID, "Approval Granted")) == []
    assert [call.parameters["taskToken"] for call in before_layer.made("SendTaskSuccess")] == ["the-token"]


# --- nobody votes from elsewhere ---


def test_a_replica_in_another_region_takes_no_vote(waiting: Cloud) -> None:
    state = waiting.table.load(ID)
    assert state
    moved = Change(Kind.EXECUTION, "", {}, {"home_region": OTHER})
    assert waiting.table.commit(state.execution, Move((moved,)), T0)
    stored = waiting.items()
    with pytest.raises(NotAllowedError, match=f"this execution is at home in {OTHER}: decide on it there"):
        Votes(waiting.table, waiting.clock, lambda _: None).cast(ID, Vote(True, "ann", "", SHA), (Once("link:1", T0),))
    assert waiting.items() == stored
