"""show_dashboard: it answers CloudWatch and browsers, looks no further than its policy lets it, and changes nothing."""

from collections.abc import Callable

from tests.support.boards import Parsed
from tests.support.control_plane import ID, T0, Cloud, a_layer, a_resource, an_approval, an_execution
from tests.support.deployed import Function

Functions = Callable[[str], Function]
METRICS = {"relay": [250.0], "sweeps": [1.0] * 15, "failures": [0.0]}
WELL = {"MetricDataResults": [{"Id": name, "Values": values} for name, values in METRICS.items()]}
EMPTY = {"Attributes": {"ApproximateNumberOfMessages": "0"}}
DENIED = {"Error": {"Code": "AccessDenied", "Message": "no"}}


def waiting(cloud: Cloud) -> None:
    assert cloud.table.create(an_execution(), [a_layer()], [a_resource()], an_approval(), T0)
    cloud.answer("sqs", "GetQueueAttributes", EMPTY, EMPTY, status=200)
    cloud.answer("monitoring", "GetMetricData", WELL, status=200)


def test_cloudwatch_gets_the_page(function: Functions, cloud: Cloud) -> None:
    waiting(cloud)
    before = cloud.items()
    shown = function("show_dashboard").invoke({"application": "any-application", "widgetContext": {"theme": "dark"}})
    assert '<div class="dr dark">' in shown and "ACTIVATE of shop" in shown
    assert 'The orchestrator itself: <span class="sign good">well</span>' in shown
    assert "at most 0.2 s behind in 15 min" in shown and "15 runs in 15 min" in shown
    assert 'endpoint="arn:aws:lambda:us-west-2:123456789012:function:it"' in shown
    assert f"drctl --stack dr-orchestrator --region us-west-2 approve {ID} --reason TEXT" in Parsed(shown).text
    assert cloud.items() == before


def test_a_browser_gets_it_too(function: Functions, cloud: Cloud) -> None:
    waiting(cloud)
    event = {"requestContext": {"http": {"method": "GET"}}, "queryStringParameters": {"execution": ID}}
    answer = function("show_dashboard").invoke(event)
    assert answer["statusCode"] == 200 and "default-src 'none'" in answer["headers"]["Content-Security-Policy"]
    assert "Layer 1" in answer["body"] and f"?execution={ID}&amp;resource=" in answer["body"]


def test_it_shows_the_executions_also_when_nothing_else_answers(function: Functions, cloud: Cloud) -> None:
    waiting(cloud)
    cloud.answer("sqs", "GetQueueAttributes", DENIED, DENIED)
    cloud.answer("monitoring", "GetMetricData", DENIED)
    shown = function("show_dashboard").invoke({"widgetContext": {}})
    assert (
        "ACTIVATE of shop" in shown and shown.count("SQS does not say: AccessDenied") == 2 and shown.count("CloudWatch does not say") == 2
    )


def test_what_is_not_well_is_said(function: Functions, cloud: Cloud) -> None:
    waiting(cloud)
    cloud.answer("sqs", "GetQueueAttributes", EMPTY, {"Attributes": {"ApproximateNumberOfMessages": "3"}}, status=200)
    unwell = [("relay", [90_000.0]), ("sweeps", [1.0, 1.0]), ("failures", [1.0])]
    cloud.answer("monitoring", "GetMetricData", {"MetricDataResults": [{"Id": i, "Values": v} for i, v in unwell]}, status=200)
    shown = function("show_dashboard").invoke({"widgetContext": {}})
    assert "not well" in shown and "3 messages" in shown and "1 min 30 s behind" in shown and "2 runs in 15 min, 1 of them failed" in shown
