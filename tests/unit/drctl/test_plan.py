"""`drctl plan`: the calls that a phase would make, in order, none of them made."""

import json

import pytest

from tests.support.desk import Desk
from tests.support.reports import obstacle, planned, report

WORDS = ("storefront", "INSTANTIATE", "--target", "us-west-2", "--source", "us-east-1")
ECS = {"EcsClusterName": "prod", "EcsServiceName": "api", "EcsDesiredSize": 4}
FURTHER = {"action": "…", "parameters": {"furtherCalls": 7}, "region": "", "at": "", "sent": False}


def resource(name: str) -> dict[str, object]:
    return {"action": "ECS", "resourceName": name, "parameters": {**ECS, "EcsServiceName": name}}


@pytest.fixture(autouse=True)
def way_in(desk: Desk) -> None:
    desk.open_the_way_in()
    layers = [{"layer": 1, "resources": [resource("web"), resource("api")]}, {"layer": 2, "resources": [resource("jobs")]}]
    desk.publish("storefront/Instantiate.json", layers)
    desk.upcoming = [desk.take_requests, desk.preflight]


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_shows_the_calls_in_order_and_their_sum(desk: Desk) -> None:
    scale = planned("application-autoscaling:RegisterScalableTarget", MinCapacity=4, ResourceId="service/prod/web")
    update = planned("ecs:UpdateService", cluster="prod", deploymentConfiguration={"minimumHealthyPercent": 100})
    desk.reported = {
        "web": report(calls=(scale, update), may_also_call=("ecs:TagResource",), irreversible=True),
        "api": report(progress="DONE", irreversible=True),
        "jobs": report(calls=(update, FURTHER), note="further calls depend on the answers"),
    }
    result = desk.run("plan", *WORDS)
    assert result.exit_code == 0, result.output
    ((execution_id, _, _, _),) = desk.table.executions("storefront")
    assert lines(result.stdout) == [
        "Plan of INSTANTIATE of storefront in us-west-2 (planned)",
        f"Execution {execution_id}",
        "",
        "Layer 1",
        "web ECS, account 123456789012 IRREVERSIBLE",
        "application-autoscaling:RegisterScalableTarget us-west-2 MinCapacity=4, ResourceId=service/prod/web",
        'ecs:UpdateService us-west-2 cluster=prod, deploymentConfiguration={"minimumHealthyPercent": 100}',
        "may also call: ecs:TagResource",
        "api ECS, account 123456789012",
        "nothing to do",
        "",
        "Layer 2",
        "jobs ECS, account 123456789012",
        'ecs:UpdateService us-west-2 cluster=prod, deploymentConfiguration={"minimumHealthyPercent": 100}',
        "… and 7 further calls, for which there was no room",
        "note: further calls depend on the answers",
        "",
        "Plan: 10 calls on 2 of 3 resources, nothing was changed",
    ]
    state = desk.table.load(execution_id)
    assert state and state.execution.dry_run and state.execution.reason == "drctl plan"


def test_folds_what_is_long_and_loses_nothing(desk: Desk) -> None:
    desk.reported = {"web": report(calls=(planned("ecs:UpdateService", cluster="c" * 300, service="[red]web\n"),))}
    shown = desk.run("plan", *WORDS).stdout
    assert max(len(line) for line in shown.splitlines()) <= 160
    assert "".join(shown.split()).count("c" * 300) == 1 and "service=[red]web" in "".join(shown.split())


def test_findings_do_not_make_a_plan_fail_and_are_not_kept_back(desk: Desk) -> None:
    desk.reported = {
        "web": report(progress=None, findings=(obstacle("AccessDenied", "no"),)),
        "api": report(progress="IN_PROGRESS", detail="1 of 4"),
    }
    result = desk.run("plan", *WORDS)
    assert result.exit_code == 0
    ((execution_id, _, _, _),) = desk.table.executions("storefront")
    shown = lines(result.stdout)
    assert "not known: its state could not be observed" in shown and "no call: it is IN_PROGRESS, 1 of 4" in shown
    assert shown[-2:] == [
        "Plan: 0 calls on 0 of 3 resources, nothing was changed",
        f"Preflight: 1 error in the way, 0 warnings: drctl status {execution_id}",
    ]


def test_json_has_the_calls_with_their_parameters(desk: Desk) -> None:
    desk.reported = {"web": report(calls=(planned("ecs:UpdateService", cluster="prod"),), irreversible=True)}
    document = json.loads(desk.run("plan", *WORDS, "--output", "json").stdout)
    assert document["kind"] == "plan" and document["preflight"]["calls"] == 1
    (web,) = (one for one in document["reports"] if one["resourceName"] == "web")
    assert web["irreversible"] is True
    assert [(one["action"], one["region"], one["parameters"]) for one in web["calls"]] == [
        ("ecs:UpdateService", "us-west-2", {"cluster": "prod"})
    ]
