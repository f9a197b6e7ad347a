"""Links into the console: the execution's id and times filled in, in the form that the console writes and reads."""

import inspect
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from dr_modules.base import modules
from dr_people import console
from tests.support.control_plane import ID, T0, a_resource, an_execution
from tests.support.state_table import template

MACHINE = "arn:aws:states:us-west-2:111111111111:stateMachine:approval"
WEST = "https://us-west-2.console.aws.amazon.com"


class Jsurl:
    """Reads JSURL by its grammar: https://github.com/Sage/jsurl. Raises AssertionError where a text is none."""

    def __init__(self, text: str) -> None:
        self._rest = text

    def read(self) -> Any:
        value = self._value()
        assert self._rest == "", f"left over: {self._rest}"
        return value

    def _value(self) -> Any:
        self._take("~")
        if self._rest.startswith("'"):
            return self._text(self._match(r"'([A-Za-z0-9_.!*-]*)"))
        if self._rest.startswith("("):
            self._take("(")
            found = self._list() if self._rest.startswith("~") else self._object()
            self._take(")")
            return found
        return json.loads(self._match(r"([a-z0-9.-]+)"))

    def _list(self) -> list[Any]:
        found = []
        while self._rest.startswith("~"):
            found.append(self._value())
        return found

    def _object(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._rest.startswith(")"):
            if found:
                self._take("~")
            key = self._text(self._match(r"([A-Za-z0-9_.!*-]+)"))
            found[key] = self._value()
        return found

    @staticmethod
    def _text(encoded: str) -> str:
        def character(found: re.Match[str]) -> str:
            return "$" if found[0] == "!" else chr(int(found[1] or found[2], 16))

        assert "*" not in re.sub(r"\*\*[0-9a-fA-F]{4}|\*[0-9a-fA-F]{2}", "", encoded)
        return re.sub(r"\*\*([0-9a-fA-F]{4})|\*([0-9a-fA-F]{2})|!", character, encoded)

    def _take(self, sign: str) -> None:
        assert self._rest.startswith(sign), f"{sign} wanted at {self._rest[:20]!r}"
        self._rest = self._rest[len(sign) :]

    def _match(self, pattern: str) -> str:
        found = re.match(pattern, self._rest)
        assert found, f"{pattern} wanted at {self._rest[:20]!r}"
        self._rest = self._rest[found.end() :]
        return found[1]


def query_detail(url: str) -> dict[str, Any]:
    """What the console reads out of a link to Logs Insights."""
    fragment = urlsplit(url).fragment
    assert set(re.findall(r"[^A-Za-z0-9]", fragment)) <= set(":-$*._"), "the console's router takes no others, and none is ambiguous"
    page, _, query = unquote(fragment.replace("$", "%")).partition("?")
    name, _, detail = query.partition("=")
    assert (page, name) == ("logsV2:logs-insights", "queryDetail")
    found: dict[str, Any] = Jsurl(unquote(detail)).read()
    return found


def test_the_decoder_reads_what_the_console_wrote() -> None:
    """The address of a query as somebody copied it out of the console: https://stackoverflow.com/questions/69816735."""
    copied = (
        "https://eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1#logsV2:logs-insights$3FqueryDetail$3D$257E$2528end$257E$2527"
        "2021-07-18T20*3a59*3a59.000Z$257Estart$257E$25272021-07-15T21*3a00*3a00.000Z$257EtimeType$257E$2527ABSOLUTE$257Etz$257E$2527Local"
        "$257EeditorString$257E$2527fields*20*40timestamp*2c*20*40message*0a*7c*20filter*20*40message*20*3d*7e*20*22Exception*22*0a*7c*20limit"
        "*20200$257EisLiveTail$257Efalse$257Esource$257E$2528$257E$2527*2faws*2flambda*2ff$2529$2529"
    )
    assert query_detail(copied) == {
        "end": "2021-07-18T20:59:59.000Z",
        "start": "2021-07-15T21:00:00.000Z",
        "timeType": "ABSOLUTE",
        "tz": "Local",
        "editorString": 'fields @timestamp, @message\n| filter @message =~ "Exception"\n| limit 200',
        "isLiveTail": False,
        "source": ["/aws/lambda/f"],
    }


def test_logs_insights_is_opened_with_the_query_written() -> None:
    (logs, _) = console.of_execution(an_execution(), "dr-orchestrator", MACHINE, T0 + timedelta(minutes=1))
    assert logs.url.startswith(f"{WEST}/cloudwatch/home?region=us-west-2#logsV2:logs-insights$3FqueryDetail$3D$257E$2528")
    detail = query_detail(logs.url)
    query = detail.pop("editorString")
    assert f'| filter execution_id = "{ID}" |' in query and query.startswith("fields @timestamp, @log, level, message")
    assert detail.pop("source") == [f"/aws/lambda/dr-orchestrator-{name}" for name in console.FUNCTIONS]
    assert detail == {"start": "2031-03-01T12:00:00.000Z", "end": "2031-03-01T12:06:00.000Z", "timeType": "ABSOLUTE", "tz": "UTC"}


def test_the_logs_of_an_execution_that_is_over_are_those_of_its_time() -> None:
    over = an_execution(ended_at=T0 + timedelta(hours=1))
    (logs, _) = console.of_execution(over, "s", MACHINE, T0 + timedelta(days=30))
    assert query_detail(logs.url)["end"] == "2031-03-01T13:05:00.000Z"


def test_every_log_that_tells_of_an_execution_is_asked_and_is_there() -> None:
    groups = [one["Properties"]["LogGroupName"] for one in template()["Resources"].values() if one["Type"] == "AWS::Logs::LogGroup"]
    named = {str(one.get("Fn::Sub", one) if isinstance(one, dict) else one).rpartition("${AWS::StackName}-")[2] for one in groups}
    of_no_execution = {"show-dashboard", "request-preflights"}
    assert {name for name in named if "/" not in name} - of_no_execution == set(console.FUNCTIONS)


def test_the_wait_for_the_approval_is_opened_by_the_executions_id() -> None:
    (_, approval) = console.of_execution(an_execution(), "s", MACHINE, T0)
    arn = f"arn:aws:states:us-west-2:111111111111:execution:approval:{ID}"
    assert approval.url == f"{WEST}/states/home?region=us-west-2#/v2/executions/details/{arn}"


def test_a_dry_run_and_an_unknown_machine_have_no_approval_to_open() -> None:
    assert len(console.of_execution(an_execution(dry_run=True), "s", MACHINE, T0)) == 1
    assert len(console.of_execution(an_execution(), "s", "", T0)) == 1


# What the example manifest resource of each module's documentation leads to.
PLACES = {
    "AuroraMySQL": [f"{WEST}/rds/home?region=us-west-2#database:id=aurora-prod-cluster;is-cluster=true"],
    "ECS": [
        f"{WEST}/ecs/v2/clusters/prod-cluster/services/api-service/health?region=us-west-2",
        f"{WEST}/ecs/v2/clusters/prod-cluster/services/worker-service/health?region=us-west-2",
    ],
    "AutoScaling": [f"{WEST}/ec2/home?region=us-west-2#AutoScalingGroupDetails:id=worker-asg"],
    "R53Record": ["https://console.aws.amazon.com/route53/v2/hostedzones#ListRecordSets/Z1234567890"],
    "EventBridge": [
        f"{WEST}/events/home?region=us-west-2#/eventbus/default/rules/daily-report-generator",
        f"{WEST}/events/home?region=us-west-2#/eventbus/custom-bus/rules/hourly-sync-job",
    ],
    "EventArchive": [f"{WEST}/events/home?region=us-west-2#/archives"],
    "LambdaFunction": [f"{WEST}/lambda/home?region=us-west-2#/functions/warm-caches"],
    "DRS": [f"{WEST}/drs/home?region=us-west-2#/sourceServers"],
    "ElastiCache": [f"{WEST}/elasticache/home?region=us-west-2#/redis/redis-prod-cluster"],
    "MemoryDB": [f"{WEST}/memorydb/home?region=us-west-2#/clusters/prod-memorydb"],
    "OpenSearchService": [f"{WEST}/aos/home?region=us-west-2#/opensearch/domains/prod-search"],
    "SQLServer": [f"{WEST}/rds/home?region=us-west-2#database:id=prod-sqlserver;is-cluster=false"],
    "EC2": [
        f"{WEST}/ec2/home?region=us-west-2#Instances:tag:Orchestrator:HostName={name}"
        for name in ("web-server-1", "app-server-1", "db-server-1")
    ],
}


def places(module: str, parameters: object) -> list[str]:
    resource = replace(a_resource(), module=module, parameters=json.dumps(parameters), account="222222222222")
    *itself, _ = console.of_resource(an_execution(), resource)
    return [link.url for link in itself]


@pytest.mark.parametrize("module", modules())
def test_the_example_of_every_module_is_opened_by_its_name(module: str) -> None:
    text = inspect.getdoc(inspect.getmodule(modules()[module])) or ""
    example = json.JSONDecoder().raw_decode(text.partition("Example manifest resource:")[2].strip())[0]
    assert places(module, example["parameters"]) == PLACES[module]


@pytest.mark.parametrize(
    ("module", "parameters", "place"),
    [
        ("ECS", {"EcsClusterName": "a/b", "EcsServiceName": "api"}, "ecs/v2/clusters/a%2Fb/services/api/health?region=us-west-2"),
        (
            "LambdaFunction",
            {"FunctionName": "arn:aws:lambda:us-west-2:222222222222:function:warm:live"},
            "lambda/home?region=us-west-2#/functions/warm",
        ),
        ("LambdaFunction", {"FunctionName": "warm:live"}, "lambda/home?region=us-west-2#/functions/warm"),
        (
            "EventBridge",
            {"EventRuleName": "nightly", "BusName": "arn:aws:events:us-west-2:222222222222:event-bus/orders"},
            "events/home?region=us-west-2#/eventbus/orders/rules/nightly",
        ),
        ("AuroraMySQL", {"DBClusterIdentifier": "Main"}, "rds/home?region=us-west-2#database:id=main;is-cluster=true"),
    ],
)
def test_an_arn_an_alias_and_capitals_lead_to_the_same_place(module: str, parameters: dict[str, str], place: str) -> None:
    assert places(module, parameters) == [f"{WEST}/{place}"]


def test_a_hosted_zone_is_opened_by_its_bare_id() -> None:
    (zone,) = places("R53Record", {"HostedZoneId": "/hostedzone/Z1"})
    assert zone.endswith("#ListRecordSets/Z1")


@pytest.mark.parametrize("parameters", [{"EcsClusterName": "a"}, {"EcsClusterName": 5, "EcsServiceName": "api"}, "text", [], [7]])
def test_what_parameters_do_not_name_is_not_opened(parameters: object) -> None:
    assert places("ECS", parameters) == [] and places("NoModule", parameters) == []


def test_a_link_says_what_it_opens_and_where_one_has_to_be_signed_in() -> None:
    resource = replace(a_resource(), module="EventBridge", parameters=json.dumps({"EventRuleName": ["a", "b"] * 9}), account="222222222222")
    labels = [link.label for link in console.of_resource(an_execution(), resource)]
    assert labels == [f"EventBridge default/{rule} in account 222222222222" for rule in "ab"] + ["CloudTrail in account 222222222222"]
    many = replace(resource, parameters=json.dumps({"EventRuleName": [f"r{number}" for number in range(90)]}))
    assert len(console.of_resource(an_execution(), many)) == 6, "no more than five, and CloudTrail"


@pytest.mark.parametrize(("module", "region"), [("ECS", "us-west-2"), ("R53Record", "us-east-1")])
def test_cloudtrail_is_opened_at_the_executions_sessions_where_the_module_calls(module: str, region: str) -> None:
    *_, trail = console.of_resource(an_execution(), replace(a_resource(), module=module))
    assert trail.url == f"https://{region}.console.aws.amazon.com/cloudtrailv2/home?region={region}#/events?Username=dr-{ID}"


def test_a_name_cannot_lead_elsewhere() -> None:
    (found,) = places("AuroraMySQL", {"DBClusterIdentifier": 'x"#javascript:@evil.example/'})
    assert found == f"{WEST}/rds/home?region=us-west-2#database:id=x%22%23javascript%3A%40evil.example%2F;is-cluster=true"
    (braces,) = places("MemoryDB", {"ClusterName": "{region}"})
    assert braces.endswith("#/clusters/%7Bregion%7D")
