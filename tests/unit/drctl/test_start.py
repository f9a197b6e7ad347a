"""`drctl start`: the request as it goes out, and what the operator is told of it. The way in is the real one."""

import boto3
import pytest

from dr_core.state import Refusal
from dr_core.triggers import Vote
from tests.support.desk import Desk, answering

STORY = ("start", "storefront", "INSTANTIATE", "--target", "us-west-2", "--source", "us-east-1", "--reason", "drill")
SCALE_UP = {"action": "ECS", "resourceName": "api", "parameters": {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 4}}
KEY = "storefront/Instantiate.json"


@pytest.fixture(autouse=True)
def way_in(desk: Desk) -> None:
    desk.open_the_way_in()


def manifest(**parameters: object) -> object:
    resource = {**SCALE_UP, "parameters": {**SCALE_UP["parameters"], **parameters}}  # type: ignore[dict-item]
    return [{"layer": 1, "resources": [resource]}]


def test_prints_the_id_and_what_to_do_next(desk: Desk) -> None:
    desk.publish(KEY, manifest())
    desk.upcoming = [lambda: None, desk.take_requests]
    result = desk.run(*STORY)
    assert result.exit_code == 0, result.output
    execution_id = result.stdout.strip()
    state = desk.table.load(execution_id)
    assert state and state.execution.reason == "drill"
    assert f"drctl approve {execution_id}" in result.stderr and "PENDING_APPROVAL" in result.stderr


def test_sends_what_was_asked_for_and_who_asks(desk: Desk) -> None:
    result = desk.run(*STORY, "--mode", "UNPLANNED", "--client-token", "t-1")
    (event,) = desk.received()
    assert (event["source"], event["detail-type"]) == ("dr.operator", "Execution Requested")
    assert event["detail"] == {
        "application": "storefront",
        "phase": "INSTANTIATE",
        "sourceRegion": "us-east-1",
        "targetRegion": "us-west-2",
        "mode": "unplanned",
        "dryRun": False,
        "clientToken": "t-1",
        "requestedBy": "moto",
        "reason": "drill",
    }
    assert result.exit_code == 1  # nobody took the request
    assert "nothing came of it within 60 s" in result.stderr and "--client-token t-1" in result.stderr
    assert result.stdout == ""


def test_without_a_token_of_the_operator_each_request_has_a_new_one(desk: Desk) -> None:
    desk.run(*STORY)
    desk.run(*STORY)
    first, second = (event["detail"]["clientToken"] for event in desk.received())
    assert first != second and len(first) == 26


def test_says_that_the_requester_is_not_verified_where_it_cannot_sign(desk: Desk) -> None:
    desk.publish(KEY, manifest())
    desk.upcoming = [desk.take_requests]
    result = desk.run(*STORY)
    assert result.exit_code == 0
    assert "Not signed, so the requester is not verified: stack" in result.stderr and "has no RequestUrl" in result.stderr
    state = desk.table.load(result.stdout.strip())
    assert state and state.execution.requester_verified is False


def test_the_same_token_starts_nothing_twice(desk: Desk) -> None:
    desk.publish(KEY, manifest())
    desk.upcoming = [desk.take_requests]
    first = desk.run(*STORY, "--client-token", "t-1")
    second = desk.run(*STORY, "--client-token", "t-1")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout == second.stdout
    assert desk.received() == []


def test_says_everything_that_is_wrong_with_a_refused_request(desk: Desk) -> None:
    desk.publish(KEY, manifest(EcsDesiredSize=-1, EcsNonsense=1))
    desk.upcoming = [desk.take_requests]
    result = desk.run(*STORY, "--requested-by", "[red]x")
    assert result.exit_code == 2
    assert "REFUSED" in result.stderr
    ((refused_id, status, _, _),) = desk.table.executions("storefront")
    refusal = desk.table.refusal(refused_id)
    assert status == "REFUSED" and isinstance(refusal, Refusal) and len(refusal.problems) == 2
    for problem in refusal.problems:
        assert problem in result.stderr
    assert result.stdout == ""


def test_sends_nothing_that_cannot_be_right(desk: Desk) -> None:
    result = desk.run("start", "shop/1", "CLEANUP", "--target", "us-west", "--source", "us-east-1", "--reason", " ")
    assert result.exit_code == 2
    assert all(key in result.stderr for key in ("application", "targetRegion", "reason"))
    result = desk.run("start", "storefront", "ACTIVATE", "--target", "us-west-2", "--source", "us-east-1", "--reason", "because")
    assert result.exit_code == 2 and "ACTIVATE needs a mode" in result.stderr
    assert desk.received() == []


def test_waits_until_the_end_when_asked_to(desk: Desk) -> None:
    desk.publish(KEY, manifest())

    def reject() -> None:
        ((execution_id, _, _, _),) = desk.table.executions("storefront")
        approval = desk.table.approval(execution_id)
        assert approval
        desk.move(Vote(False, "ann", "not now", approval.manifest_sha256), execution_id)

    desk.upcoming = [desk.take_requests, lambda: None, reject]
    result = desk.run(*STORY, "--wait")
    assert result.exit_code == 1
    assert "Approval Rejected    by ann, not now" in result.stdout
    ended, again = result.stdout.splitlines()[-2:]
    assert ended == "It ended as REJECTED: rejected by ann: not now. A new one can be started."
    assert again.strip().startswith("drctl start storefront ")


def test_a_bus_that_does_not_take_the_event_is_no_success(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    throttled = {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}
    answer = {"FailedEntryCount": 1, "Entries": [throttled]}
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", answering("events", "PutEvents", answer))
    result = desk.run(*STORY)
    assert result.exit_code == 2
    assert "did not take the request: ThrottlingException: slow down" in result.stderr


def test_takes_the_regions_from_the_published_application(desk: Desk) -> None:
    desk.publish(KEY, manifest())
    desk.publish("storefront/application.json", {"application": "storefront", "regions": {"primary": "us-east-1", "standby": "us-west-2"}})
    desk.upcoming = [desk.take_requests]
    result = desk.run("start", "storefront", "INSTANTIATE", "--reason", "drill")
    assert result.exit_code == 0, result.output
    state = desk.table.load(result.stdout.strip())
    assert state and (state.execution.target_region, state.execution.source_region) == ("us-west-2", "us-east-1")
    assert "acts on us-west-2, the other is us-east-1" in result.stderr
