"""Links into the console: the execution's id and times filled in, in the form that the console reads."""

import json
from dataclasses import replace
from datetime import timedelta
from urllib.parse import unquote

import pytest

from dr_modules.base import modules
from dr_people import console
from tests.support.control_plane import ID, T0, a_resource, an_execution

MACHINE = "arn:aws:states:us-west-2:111111111111:stateMachine:approval"


def unstarred(value: str) -> str:
    return unquote(value.replace("*", "%"))


def test_logs_insights_is_opened_with_the_query_written() -> None:
    (logs, _) = console.of_execution(an_execution(), "dr-orchestrator", MACHINE, T0 + timedelta(minutes=1))
    home, _, rest = logs.url.partition("$3FqueryDetail$3D")
    assert home == "https://us-west-2.console.aws.amazon.com/cloudwatch/home?region=us-west-2#logsV2:logs-insights"
    detail = unquote(unquote(rest.replace("$", "%")))
    fields = dict(
        part.split("~", 1)
        for part in detail.removeprefix("~(")
        .split("~source~")[0]
        .replace("~start", "\nstart")
        .replace("~timeType", "\ntimeType")
        .replace("~tz", "\ntz")
        .replace("~editorString", "\neditorString")
        .split("\n")
    )
    assert unstarred(fields["start"]) == "'2031-03-01T12:00:00.000Z" and unstarred(fields["end"]) == "'2031-03-01T12:06:00.000Z"
    assert f'filter execution_id = "{ID}"' in unstarred(fields["editorString"])
    assert fields["timeType"] == "'ABSOLUTE" and "'*2Faws*2Flambda*2Fdr-orchestrator-start-resource" in detail.split("~source~")[1]


def test_a_dry_run_and_an_unknown_machine_have_no_approval_to_open() -> None:
    assert len(console.of_execution(an_execution(dry_run=True), "s", MACHINE, T0)) == 1
    assert len(console.of_execution(an_execution(), "s", "", T0)) == 1


@pytest.mark.parametrize("module", modules())
def test_every_module_has_a_place(module: str) -> None:
    assert module in console._PLACES


def test_a_resource_is_opened_where_its_parameters_name_it() -> None:
    parameters = json.dumps([{"EcsClusterName": "a/b", "EcsServiceName": "api"}, {"EcsClusterName": 5}])
    resource = replace(a_resource(), module="ECS", parameters=parameters, account="222222222222")
    itself, trail = console.of_resource(an_execution(), resource)
    assert itself.url == "https://us-west-2.console.aws.amazon.com/ecs/home?region=us-west-2#/clusters/a%2Fb/services/api/details"
    assert itself.label == "ECS in account 222222222222" and f"Username=dr-{ID}" in trail.url


def test_a_name_cannot_lead_elsewhere() -> None:
    resource = replace(a_resource(), module="AuroraMySQL", parameters=json.dumps({"DBClusterIdentifier": 'x"#javascript:@evil.example/'}))
    (itself, _) = console.of_resource(an_execution(), resource)
    assert itself.url.endswith("#database:id=x%22%23javascript%3A%40evil.example%2F;is-cluster=true")
