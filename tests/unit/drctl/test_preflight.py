"""`drctl preflight`: a dry run over the real way in, and what people and programs are told of it."""

import json
from datetime import timedelta

import boto3
import pytest

from dr_core.records import ExecutionStatus
from tests.support.desk import Desk, answering
from tests.support.reports import obstacle, planned, report, warning

REGIONS = ("--target", "us-west-2", "--source", "us-east-1")
ECS = {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 4}
WEB = {"action": "ECS", "resourceName": "web", "parameters": ECS}
API = {"action": "ECS", "resourceName": "api", "parameters": ECS}
MANIFEST = [{"layer": 1, "resources": [WEB]}, {"layer": 2, "resources": [API]}]
CALLER = {"action": "LambdaFunction", "resourceName": "web", "parameters": {"FunctionName": "web", "InvocationType": "RequestResponse"}}
APPLICATION = {"application": "storefront", "regions": {"primary": "us-east-1", "standby": "us-west-2"}}
LOW = obstacle("QuotaTooLow", "web (ECS): 4 tasks wanted, 2 allowed: raise the quota")


@pytest.fixture(autouse=True)
def way_in(desk: Desk) -> None:
    desk.open_the_way_in()
    for file in ("Instantiate.json", "Cleanup.json"):
        desk.publish(f"storefront/{file}", MANIFEST)
    for file in ("Activate.json", "Replicate.json"):
        desk.publish(f"storefront/{file}", [{"layer": 1, "resources": [CALLER]}])
    desk.upcoming = [lambda: None, desk.take_requests, lambda: None, desk.preflight]


def only_execution(desk: Desk) -> str:
    ((execution_id, _, _, _),) = desk.table.executions("storefront")
    return execution_id


def test_shows_the_verdict_first_then_each_resource(desk: Desk) -> None:
    desk.reported = {
        "web": report(findings=(warning("Slow", "web (ECS): [red]cold\nstart"), LOW), detail="0 of 4 tasks"),
        "api": report(progress="DONE", detail="4 of 4"),
    }
    result = desk.run("preflight", "storefront", "INSTANTIATE", *REGIONS)
    assert result.exit_code == 1, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    execution_id = only_execution(desk)
    assert lines == [
        "Preflight of INSTANTIATE of storefront in us-west-2 (planned): 1 error in the way, 1 warning",
        f"Execution   {execution_id}",
        "",
        "Layer 1",
        "  web  ECS, account 123456789012  NOT_STARTED  0 of 4 tasks",
        "    ERROR   QuotaTooLow: 4 tasks wanted, 2 allowed: raise the quota",
        "    WARNING Slow: [red]cold start",
        "",
        "Layer 2",
        "  api  ECS, account 123456789012  DONE  4 of 4",
        "    nothing found in the way",
    ]
    assert "Preflight Completed  1 error and 1 warning, 0 calls planned" in result.stderr, "progress goes to stderr"


def test_asks_for_a_dry_run_that_holds_nothing(desk: Desk) -> None:
    result = desk.run("preflight", "storefront", "INSTANTIATE", *REGIONS)
    assert result.exit_code == 0, result.output
    state = desk.table.load(only_execution(desk))
    assert state and state.execution.dry_run and state.execution.status is ExecutionStatus.SUCCEEDED
    assert (state.execution.requested_by, state.execution.reason) == ("moto", "drctl preflight")
    assert desk.table.locked_by("storefront", ["us-west-2", "us-east-1"]) == {} and desk.table.approval(state.execution.id) is None


def test_shows_the_lag_with_its_limit(desk: Desk) -> None:
    desk.reported = {"web": report(lag_seconds=4.2)}
    result = desk.run("preflight", "storefront", "ACTIVATE", *REGIONS, "--mode", "unplanned")
    assert result.exit_code == 0, "what is only a warning, or nothing, is no failure"
    assert "Data loss   about 4.2 s of data if it failed over now (web, 60 s accepted when planned)" in result.stdout
    assert "    4.2 s of data not yet replicated, 1 min 0 s accepted when planned" in result.stdout


def test_json_has_all_of_it(desk: Desk) -> None:
    desk.reported = {"web": report(lag_seconds=4.2, findings=(LOW,), calls=(planned("ecs:UpdateService", cluster="prod"),))}
    result = desk.run("preflight", "storefront", "ACTIVATE", *REGIONS, "--mode", "planned", "-o", "json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["schemaVersion"], document["kind"]) == ("1", "preflight")
    assert document["execution"]["dryRun"] is True and document["execution"]["id"] == only_execution(desk)
    assert document["preflight"] == {"errors": 1, "warnings": 0, "calls": 1, "lagSeconds": 4.2, "resources": 1, "lookedAt": 1}
    (web,) = document["reports"]
    assert (web["resourceName"], web["maxLagSeconds"], web["irreversible"]) == ("web", 60, False)
    assert web["findings"] == [{"severity": "ERROR", "code": "QuotaTooLow", "message": LOW.message}]
    assert web["calls"][0]["parameters"] == {"cluster": "prod"}


@pytest.mark.parametrize("phase", ["INSTANTIATE", "ACTIVATE", "CLEANUP", "REPLICATE"])
def test_takes_the_regions_from_the_published_application(desk: Desk, phase: str) -> None:
    desk.publish("storefront/application.json", APPLICATION)
    result = desk.run("preflight", "storefront", phase, "--mode", "planned")
    assert result.exit_code == 0, result.output
    state = desk.table.load(only_execution(desk))
    target, source = ("us-west-2", "us-east-1") if phase in ("INSTANTIATE", "ACTIVATE") else ("us-east-1", "us-west-2")
    assert state and (state.execution.target_region, state.execution.source_region) == (target, source)
    assert f"Regions from storefront/application.json: acts on {target}, the other is {source}" in result.stderr


@pytest.mark.parametrize("given", [("--target", "us-east-1"), ("--source", "us-west-2")])
def test_one_region_given_is_an_override_of_both(desk: Desk, given: tuple[str, str]) -> None:
    desk.publish("storefront/application.json", APPLICATION)
    assert desk.run("preflight", "storefront", "INSTANTIATE", *given).exit_code == 0
    state = desk.table.load(only_execution(desk))
    assert state and (state.execution.target_region, state.execution.source_region) == ("us-east-1", "us-west-2")


@pytest.mark.parametrize(
    ("published", "given", "said"),
    [
        (None, (), "there is no storefront/application.json to take the Regions from"),
        (APPLICATION, ("--target", "eu-west-1"), "eu-west-1 is no Region of storefront/application.json: us-east-1, us-west-2"),
        ({"application": "storefront"}, (), "storefront/application.json, key regions"),
    ],
)
def test_regions_that_are_not_known_are_wrong_use(desk: Desk, published: object, given: tuple[str, ...], said: str) -> None:
    if published:
        desk.publish("storefront/application.json", published)
    result = desk.run("preflight", "storefront", "INSTANTIATE", *given)
    assert result.exit_code == 2 and said in result.stderr
    assert desk.received() == []


def test_activate_has_no_mode_of_its_own(desk: Desk) -> None:
    desk.publish("storefront/application.json", APPLICATION)
    for command in (("preflight",), ("plan",), ("start", "--reason", "x")):
        result = desk.run(*command, "storefront", "ACTIVATE")
        assert result.exit_code == 2 and "ACTIVATE needs a mode" in result.stderr
    assert desk.received() == []


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_refusal_says_everything_and_is_wrong_use(desk: Desk, output: str) -> None:
    desk.publish("storefront/Instantiate.json", [{"layer": 1, "resources": [{**WEB, "action": "Nonsense"}]}])
    result = desk.run("preflight", "storefront", "INSTANTIATE", *REGIONS, "--output", output)
    assert result.exit_code == 2
    assert "Nonsense" in (result.stderr if output == "text" else json.loads(result.stdout)["problems"][0])


def test_a_dry_run_that_nobody_carries_out_is_no_success(desk: Desk) -> None:
    desk.upcoming = [desk.take_requests]
    result = desk.run("preflight", "storefront", "INSTANTIATE", *REGIONS)
    assert result.exit_code == 1 and result.stdout == ""
    assert f"dry run {only_execution(desk)} is PLANNING: it has not ended in good time" in result.stderr


def test_a_dry_run_that_expired_is_no_success(desk: Desk) -> None:
    def sweep_late() -> None:
        desk.now += timedelta(seconds=900)
        for execution_id, _, _, _ in desk.table.executions("storefront"):
            desk.move_on(execution_id)

    desk.upcoming = [desk.take_requests, sweep_late]
    result = desk.run("preflight", "storefront", "INSTANTIATE", *REGIONS)
    assert result.exit_code == 1 and "is EXPIRED: the dry run did not end within 900 s" in result.stderr


def test_the_same_token_shows_the_same_dry_run(desk: Desk) -> None:
    desk.reported = {"web": report(findings=(LOW,))}
    words = ("storefront", "INSTANTIATE", *REGIONS, "--client-token", "t-1")
    first = desk.run("preflight", *words)
    assert desk.run("preflight", *words).stdout == first.stdout
    assert desk.run("plan", *words).exit_code == 0 and desk.received() == []


@pytest.mark.parametrize("words", [("start", "--reason", "x", "storefront", "INSTANTIATE"), ("plan", "storefront", "CLEANUP")])
def test_a_token_of_something_else_is_wrong_use(desk: Desk, words: tuple[str, ...]) -> None:
    desk.run("preflight", "storefront", "INSTANTIATE", *REGIONS, "--client-token", "t-1")
    result = desk.run(*words, *REGIONS, "--client-token", "t-1")
    assert result.exit_code == 2 and result.stdout == ""
    assert f"client token t-1 was used before, for a dry run of INSTANTIATE: {only_execution(desk)}" in result.stderr


def test_who_may_not_read_the_registration_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = {"Error": {"Code": "AccessDenied", "Message": "not authorized"}}
    session = answering("s3", "GetObject", denied, 403)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    result = desk.run("preflight", "storefront", "INSTANTIATE", "--target", "us-west-2")
    assert result.exit_code == 2 and "AWS refused GetObject: AccessDenied: not authorized" in result.stderr
