"""accept_request: who is verified, that nothing in a body overrides it, and that what is stored is what put-events leads to."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from dr_core import flow
from dr_core.approval_plan import plan_digest
from dr_core.records import ApprovalStatus, Approver, ExecutionStatus, LayerStatus
from tests.support import deployed
from tests.support.control_plane import HOME, ID, OTHER, SHA, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.deployed import BUCKET, Function, on_bus

Functions = Callable[[str], Function]
ANN = "arn:aws:sts::123456789012:assumed-role/operator/ann"
OLGA = "arn:aws:sts::123456789012:assumed-role/operator/olga"
REQUEST = {"application": "shop", "phase": "INSTANTIATE", "sourceRegion": OTHER, "targetRegion": HOME, "reason": "drill"}
MANIFEST = [
    {
        "layer": 1,
        "resources": [
            {"action": "ECS", "resourceName": "api", "parameters": {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 2}}
        ],
    }
]
COMMAND = {"executionId": ID, "command": "pause", "reason": "a look first"}
VOTE = {"executionId": ID, "decision": "approve", "manifestSha256": SHA, "reason": "seen"}


def signed(body: object, arn: str | None = OLGA, method: str = "POST", request_id: str = "request-1") -> dict[str, Any]:
    """What Lambda makes of a request to the function's URL; without `arn`, of one that nobody has signed."""
    iam = {"accessKey": "ASIA", "accountId": "123456789012", "callerId": "AROA:olga", "userArn": arn, "userId": "AROA:olga"}
    return {
        "version": "2.0",
        "headers": {"x-amzn-iam-user-arn": "arn:aws:iam::123456789012:user/mallory"},
        "requestContext": {
            "http": {"method": method, "path": "/"},
            "requestId": request_id,
            "timeEpoch": int(T0.timestamp() * 1000),
            **({"authorizer": {"iam": iam}} if arn else {}),
        },
        "body": body if isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
    }


def post(function: Functions, detail_type: str, detail: object, **more: Any) -> tuple[int, dict[str, Any]]:
    """Send it. Gives status and JSON of the answer."""
    answer = function("accept_request").invoke(signed({"detail-type": detail_type, "detail": detail}, **more))
    kind = answer["headers"]["Content-Type"]
    assert kind == ("application/json" if answer["statusCode"] == 200 else "application/problem+json")
    return answer["statusCode"], json.loads(answer["body"])


@pytest.fixture(autouse=True)
def _manifests(cloud: Cloud) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_object(Bucket=BUCKET, Key="shop/Instantiate.json", Body=json.dumps(MANIFEST))


def waiting(cloud: Cloud) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)


def running(cloud: Cloud) -> None:
    execution = an_execution(status=ExecutionStatus.RUNNING, current_layer=1, started_at=T0)
    layer = a_layer(status=LayerStatus.RUNNING)
    assert cloud.table.create(execution, [layer], [a_resource()], an_approval(status=ApprovalStatus.APPROVED), T0)


def kinds_of(cloud: Cloud) -> list[str]:
    """The kinds of items in the table, by the beginning of their sort keys."""
    return sorted(str(item["sk"]["S"]).partition("#")[0] for item in cloud.items())


# --- who it is ---


@pytest.mark.parametrize("claim", [{}, {"requestedBy": "arn:aws:iam::123456789012:user/mallory"}])
def test_the_requester_is_who_aws_says_whatever_the_body_says(function: Functions, cloud: Cloud, claim: dict[str, str]) -> None:
    status, said = post(function, "Execution Requested", {**REQUEST, **claim})
    assert (status, said["status"], said["requestedBy"], said["requesterVerified"]) == (200, "PENDING_APPROVAL", OLGA, True)
    made = cloud.table.load(said["executionId"])
    assert made and made.approval and (made.execution.requested_by, made.execution.requester_verified) == (OLGA, True)
    assert made.approval.requester == OLGA
    (requested,) = cloud.table.timeline(said["executionId"])
    fields = json.loads(requested.detail)
    assert (fields["requestedBy"], fields["requesterVerified"]) == (OLGA, True)


@pytest.mark.parametrize(
    "claim",
    [{"requesterVerified": True}, {"requester_verified": True}, {"principal": OLGA}, {"verified": True}],
    ids=lambda claim: next(iter(claim)),
)
def test_nobody_who_puts_an_event_is_verified(function: Functions, cloud: Cloud, claim: dict[str, object]) -> None:
    """Not by the verified one's name, not by a field; a field that is not known refuses the request."""
    plain = {**REQUEST, "requestedBy": OLGA, "clientToken": "plain"}
    function("start_execution").deliver(on_bus("Execution Requested", plain, "dr.operator", "event-1"))
    made = cloud.table.load(cloud.table.by_token("shop", "plain") or "")
    assert made and (made.execution.requested_by, made.execution.requester_verified) == (OLGA, False)
    function("start_execution").deliver(
        on_bus("Execution Requested", {**plain, **claim, "clientToken": "claiming"}, "dr.operator", "event-2")
    )
    refused = cloud.table.by_token("shop", "claiming")
    assert refused and cloud.table.refusal(refused) and cloud.table.load(refused) is None


def test_who_repeats_a_put_events_request_does_not_make_it_verified(function: Functions, cloud: Cloud) -> None:
    detail = {**REQUEST, "clientToken": "t-1"}
    claimed = on_bus("Execution Requested", {**detail, "requestedBy": "mallory"}, "dr.operator", "event-1")
    function("start_execution").deliver(claimed)
    status, said = post(function, "Execution Requested", detail)
    assert (status, said["requestedBy"], said["requesterVerified"]) == (200, "mallory", False)


@pytest.mark.parametrize("arn", [None, "", "olga"])
def test_who_is_not_signed_is_told_so_and_nothing_is_read_or_written(function: Functions, cloud: Cloud, arn: str | None) -> None:
    cloud.calls.clear()
    status, said = post(function, "Execution Requested", {**REQUEST, "requestedBy": OLGA}, arn=arn)
    assert (status, said["title"]) == (403, "not signed")
    assert cloud.calls == []


# --- requests ---


def test_a_request_stores_what_put_events_stores(function: Functions, cloud: Cloud) -> None:
    detail = {**REQUEST, "requestedBy": OLGA}
    function("start_execution").deliver(on_bus("Execution Requested", {**detail, "application": "other"}, "dr.operator", "e"))
    kinds = kinds_of(cloud)
    status, said = post(function, "Execution Requested", {**detail, "application": "other"})
    assert status == 422, "other has no manifest"
    refusal = cloud.table.refusal(said["executionId"])
    assert refusal and said["problems"] == refusal.problems and "other has no manifest for INSTANTIATE" in said["detail"]
    assert kinds_of(cloud) == sorted([*kinds, *kinds]) and kinds, "twice the same"


def test_everything_that_is_wrong_is_said_at_once(function: Functions, cloud: Cloud) -> None:
    status, said = post(function, "Execution Requested", {**REQUEST, "colour": "red", "targetRegion": "mars", "reason": ""})
    assert status == 422
    assert {word for word in ("colour", "targetRegion", "reason") if word in said["detail"]} == {"colour", "targetRegion", "reason"}


def test_a_request_that_comes_twice_is_one(function: Functions, cloud: Cloud) -> None:
    first = post(function, "Execution Requested", {**REQUEST, "clientToken": "t-1"})
    before = cloud.items()
    again = post(function, "Execution Requested", {**REQUEST, "clientToken": "t-1"}, request_id="request-2")
    assert again == first and cloud.items() == before


def test_a_held_lock_refuses_the_request_and_names_the_holder(function: Functions, cloud: Cloud) -> None:
    _, first = post(function, "Execution Requested", REQUEST)
    status, said = post(function, "Execution Requested", REQUEST, request_id="request-2")
    assert status == 422 and first["executionId"] in said["detail"]


# --- commands ---


def test_a_command_is_carried_out_by_a_verified_actor(function: Functions, cloud: Cloud) -> None:
    running(cloud)
    status, said = post(function, "Command Requested", {**COMMAND, "requestedBy": "mallory", "clientToken": "t-1"})
    assert status == 200
    assert said == {"executionId": ID, "command": "pause", "actor": OLGA, "outcome": "ACCEPTED", "actorVerified": True}
    receipt = cloud.table.receipt(ID, "t-1")
    assert receipt and (receipt.actor, receipt.actor_verified) == (OLGA, True)
    accepted = next(json.loads(one.detail) for one in cloud.table.timeline(ID) if one.detail_type == "Command Accepted")
    assert (accepted["actor"], accepted["actorVerified"]) == (OLGA, True)


def test_a_command_from_the_bus_has_an_actor_who_is_not_verified(function: Functions, cloud: Cloud) -> None:
    running(cloud)
    function("control_execution").deliver(
        on_bus("Command Requested", {**COMMAND, "requestedBy": OLGA, "clientToken": "t-1"}, "dr.operator", "e")
    )
    receipt = cloud.table.receipt(ID, "t-1")
    assert receipt and (receipt.actor, receipt.outcome, receipt.actor_verified) == (OLGA, "ACCEPTED", False)


def test_a_command_that_the_state_does_not_allow_is_refused_with_the_reason(function: Functions, cloud: Cloud) -> None:
    running(cloud)
    status, said = post(function, "Command Requested", {**COMMAND, "command": "resume"})
    assert (status, said["title"]) == (409, "resume refused")
    assert said["detail"] == "resume needs an execution that is PAUSED, this one is RUNNING"


def test_a_command_to_nobody_or_one_that_is_no_command(function: Functions, cloud: Cloud) -> None:
    assert post(function, "Command Requested", COMMAND)[0] == 404
    status, said = post(function, "Command Requested", {"executionId": "x", "command": "dance", "colour": "red"})
    assert status == 400 and len(said["problems"]) == 4, "id, command, colour, and no reason"


# --- votes ---


def test_a_vote_is_that_of_the_principal(function: Functions, cloud: Cloud) -> None:
    waiting(cloud)
    said_of = {"executionId": ID, "decision": "approve", "approver": ANN, "status": "APPROVED", "votes": 1, "quorum": 1}
    assert post(function, "Vote Requested", VOTE, arn=ANN) == (200, said_of)
    approval = cloud.table.approval(ID)
    assert approval and (approval.status, approval.approver, approval.reason) == (ApprovalStatus.APPROVED, ANN, "seen")
    granted = next(json.loads(one.detail) for one in cloud.table.timeline(ID) if one.detail_type == "Approval Granted")
    assert (granted["approver"], granted["channel"]) == (ANN, "iam")
    status, said = post(function, "Vote Requested", {**VOTE, "decision": "reject"})
    assert status == 409 and "APPROVED" in said["detail"]


def test_who_asked_does_not_approve(function: Functions, cloud: Cloud) -> None:
    waiting(cloud)
    status, said = post(function, "Vote Requested", VOTE)
    assert status == 409 and "somebody else has to" in said["detail"]


def test_a_manifest_that_changed_after_the_request_voids_the_approval(function: Functions, cloud: Cloud) -> None:
    """One byte is enough; the execution ends, its locks are free, and both say why."""
    _, made = post(function, "Execution Requested", REQUEST)
    digest = cloud.table.approval(made["executionId"])
    assert digest
    body = json.dumps(MANIFEST)
    boto3.client("s3").put_object(Bucket=BUCKET, Key="shop/Instantiate.json", Body=body + " ")
    vote = {**VOTE, "executionId": made["executionId"], "manifestSha256": digest.manifest_sha256}
    status, said = post(function, "Vote Requested", vote, arn=ANN)
    why = "the manifest shop/Instantiate.json was changed after the request"
    assert (status, said["detail"]) == (409, f"{why}: this approval is void, request the execution again")
    flow.advance(cloud.table, made["executionId"], cloud.clock)
    state = cloud.table.load(made["executionId"])
    assert state and (state.execution.status, state.execution.outcome_detail) == (ExecutionStatus.EXPIRED, why)
    assert cloud.table.locked_by("shop", (HOME, OTHER)) == {}
    boto3.client("s3").put_object(Bucket=BUCKET, Key="shop/Instantiate.json", Body=body)
    assert post(function, "Vote Requested", vote, arn=ANN)[0] == 409, "what is void stays void"


def test_a_manifest_that_did_not_change_is_approved(function: Functions, cloud: Cloud) -> None:
    _, made = post(function, "Execution Requested", REQUEST)
    approval = cloud.table.approval(made["executionId"])
    assert approval
    vote = {**VOTE, "executionId": made["executionId"], "manifestSha256": approval.manifest_sha256}
    assert post(function, "Vote Requested", vote, arn=ANN)[1]["status"] == "APPROVED"


def test_a_plan_that_changed_after_it_was_shown_voids_the_approval(function: Functions, cloud: Cloud) -> None:
    report = {"resourceId": "0001-001", "calls": [{"action": "ecs:UpdateService"}], "mayAlsoCall": [], "irreversible": False}
    shown = plan_digest([a_resource()], [report])
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(plan_sha256=shown), T0)
    cloud.table.keep_preflight(ID, {"0001-001": {**report, "calls": [{"action": "ecs:DeleteService"}]}}, T0)
    status, said = post(function, "Vote Requested", {**VOTE, "planSha256": shown}, arn=ANN)
    assert status == 409 and said["detail"].startswith("the plan was changed after it was shown")
    approval = cloud.table.approval(ID)
    assert approval and (approval.status, approval.reason) == ("EXPIRED", "the plan was changed after it was shown")


@pytest.mark.parametrize(("shown", "status"), [("right", 200), ("f" * 64, 409), (None, 200)])
def test_a_vote_is_on_the_plan_that_was_shown(function: Functions, cloud: Cloud, shown: str | None, status: int) -> None:
    digest = plan_digest([a_resource()], [])
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(plan_sha256=digest), T0)
    body = {**VOTE, **({"planSha256": digest if shown == "right" else shown} if shown else {})}
    assert post(function, "Vote Requested", body, arn=ANN)[0] == status


@pytest.mark.parametrize("allowed", [OLGA, "arn:aws:sts::123456789012:assumed-role/operator/*", f"arn:aws:iam::1:user/x,{OLGA}"])
def test_break_glass(
    function: Functions, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], allowed: str
) -> None:
    """By a listed principal, though it is their own request and two were needed; nobody can overlook it."""
    people = (Approver("ann", email="a@x.org"), Approver("bob", email="b@x.org"))
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(quorum=2, approvers=people), T0)
    handler = function("accept_request")
    monkeypatch.setitem(deployed._STANDS_FOR, "BreakGlassPrincipals", allowed)
    answer = handler.invoke(signed({"detail-type": "Vote Requested", "detail": {**VOTE, "breakGlass": True}}))
    assert (answer["statusCode"], json.loads(answer["body"])["status"]) == (200, "APPROVED")
    assert cloud.events()[1:] == ["Vote Recorded", "Approval Bypassed", "Approval Granted"]
    bypassed = next(json.loads(one.detail) for one in cloud.table.timeline(ID) if one.detail_type == "Approval Bypassed")
    assert {"actor": OLGA, "reason": "seen", "votes": 1, "quorum": 2, "requestedBy": "olga"}.items() <= bypassed.items()
    printed = capsys.readouterr().out
    assert '"BreakGlass":[1.0]' in printed.replace(" ", "") and '"service":"dr-orchestrator"' in printed.replace(" ", "")


@pytest.mark.parametrize("allowed", ["-", "arn:aws:iam::123456789012:user/olga", "arn:aws:sts::123456789012:assumed-role/operator/ann"])
def test_break_glass_is_for_those_who_are_listed(function: Functions, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, allowed: str) -> None:
    waiting(cloud)
    handler = function("accept_request")
    monkeypatch.setitem(deployed._STANDS_FOR, "BreakGlassPrincipals", allowed)
    answer = handler.invoke(signed({"detail-type": "Vote Requested", "detail": {**VOTE, "breakGlass": True}}))
    assert answer["statusCode"] == 403 and "BreakGlassPrincipals" in answer["body"]
    assert cloud.events() == ["Execution Requested"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"manifestSha256": "f" * 64}, 409),
        ({"approver": "mallory"}, 400),
        ({"requestedBy": "mallory"}, 400),
        ({"decision": "maybe"}, 400),
        ({"executionId": "01R5JB2H00XYZ5R6S7T8V9WABC"}, 404),
    ],
)
def test_a_vote_that_is_not_right_decides_nothing(function: Functions, cloud: Cloud, changed: dict[str, str], status: int) -> None:
    waiting(cloud)
    before = cloud.items()
    assert post(function, "Vote Requested", {**VOTE, **changed})[0] == status
    assert cloud.items() == before


# --- what is no request ---


@pytest.mark.parametrize("body", ["", "{}", "[]", "no JSON", '{"detail-type": "Approval Granted", "detail": {}}'])
def test_a_body_that_is_no_request_is_not_understood(function: Functions, cloud: Cloud, body: str) -> None:
    answer = function("accept_request").invoke(signed(body))
    assert answer["statusCode"] == 400 and json.loads(answer["body"])["title"] == "not understood"


def test_only_post_asks_for_anything(function: Functions, cloud: Cloud) -> None:
    answer = function("accept_request").invoke(signed({"detail-type": "Execution Requested", "detail": REQUEST}, method="GET"))
    assert (answer["statusCode"], answer["headers"]["Allow"]) == (405, "POST")
