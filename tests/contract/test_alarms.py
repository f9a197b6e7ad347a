"""Every alarm is on something that is measured, reaches the operators, and has a runbook; nothing is named that nobody writes."""

import re
from pathlib import Path
from typing import Any

import pytest

from dr_core import metrics
from dr_core.errors import ErrorClass
from dr_core.metrics import Metric
from dr_core.records import ExecutionStatus, ResourceStatus
from tests.support.state_table import TEMPLATE, template

ALARMS: dict[str, dict[str, Any]] = {
    name: one["Properties"] for name, one in template()["Resources"].items() if one["Type"] == "AWS::CloudWatch::Alarm"
}
# What AWS itself measures, with the dimension that tells whose it is.
OF_AWS = {
    ("AWS/Lambda", "IteratorAge"): "FunctionName",
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): "QueueName",
}
RUNBOOKS = (TEMPLATE.parent / "docs" / "operations.md").read_text()
SOURCES = [path for folder in ("layers", "functions") for path in (TEMPLATE.parent / folder).rglob("*.py")]


def anchors(markdown: str) -> set[str]:
    """What a link can lead to: the given ones, and those that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return set(re.findall(r'<a id="([^"]+)">', markdown)) | {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in headings}


def runbook(anchor: str) -> str:
    """The section of that anchor, up to the next one."""
    return RUNBOOKS.partition(f'<a id="{anchor}"></a>')[2].partition("<a id=")[0]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_on_what_is_measured(name: str) -> None:
    alarm = ALARMS[name]
    dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
    if alarm["Namespace"] == metrics.NAMESPACE:
        assert alarm["MetricName"] in set(Metric)
        assert dimensions == {"service": metrics.SERVICE}, "the one set of dimensions that every value has"
        return
    assert set(dimensions) == {OF_AWS[alarm["Namespace"], alarm["MetricName"]]}
    (value,) = dimensions.values()
    assert value.removesuffix(".QueueName") in template()["Resources"]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_reaches_the_operators_and_says_where_its_runbook_is(name: str) -> None:
    alarm = ALARMS[name]
    assert alarm["AlarmActions"] == ["OperatorTopic"]
    (anchor,) = re.findall(r"\(docs/operations\.md#([\w-]+)\)", alarm["AlarmDescription"])
    assert anchor in anchors(RUNBOOKS), f"{name}: docs/operations.md has no section {anchor}"
    assert name.removesuffix("Alarm") in RUNBOOKS or f"alarm on `{alarm['MetricName']}`" in RUNBOOKS


@pytest.mark.parametrize("name", ALARMS)
def test_a_runbook_says_what_one_sees_what_it_means_what_to_do_and_what_not_to(name: str) -> None:
    (anchor,) = re.findall(r"#([\w-]+)\)", ALARMS[name]["AlarmDescription"])
    section = runbook(anchor)
    for part in ("**You see**", "**It means**", "**Do**", "**Do not**"):
        assert part in section, f"{anchor} has no {part}"


def test_every_metric_is_written_by_somebody() -> None:
    code = "".join(path.read_text() for path in SOURCES)
    unwritten = {one for one in Metric if len(re.findall(rf"\bMetric\.{one.name}\b", code)) == 0}
    assert not unwritten


def test_nobody_writes_metrics_past_this_list() -> None:
    others = [path for path in SOURCES if path.name != "metrics.py" and "powertools.metrics" in path.read_text()]
    assert others == []


def test_silence_of_the_sweep_is_an_alarm_and_silence_of_the_others_is_none() -> None:
    breaching = {name for name, one in ALARMS.items() if one["TreatMissingData"] == "breaching"}
    assert breaching == {"SweepSilentAlarm"}


@pytest.mark.failure("Messages in a dead-letter queue")
def test_a_message_where_messages_end_is_an_alarm_at_once() -> None:
    queues = {
        name
        for name, one in template()["Resources"].items()
        if one["Type"] == "AWS::SQS::Queue" and "RedrivePolicy" not in one["Properties"]
    }
    watched = {}
    for alarm in ALARMS.values():
        if alarm["Namespace"] == "AWS/SQS":
            watched[alarm["Dimensions"][0]["Value"].removesuffix(".QueueName")] = alarm
    assert set(watched) == queues == {"DeadLetterQueue", "UndeliveredQueue"}
    for alarm in watched.values():
        assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == ("Maximum", "GreaterThanThreshold", 0)
        assert (alarm["Period"], alarm["EvaluationPeriods"]) == (60, 1)


def test_a_link_within_the_runbooks_leads_somewhere() -> None:
    wanted = set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOKS))
    assert wanted <= anchors(RUNBOOKS), wanted - anchors(RUNBOOKS)
    files = {one.partition("#")[0] for one in re.findall(r"\]\(([\w./-]+\.md[^)]*)\)", RUNBOOKS)}
    assert all((Path(TEMPLATE.parent) / "docs" / one).exists() for one in files)


def test_every_status_and_every_class_of_error_has_its_line() -> None:
    section = runbook("statuses")
    ends = [one for one in ResourceStatus if one.is_terminal]
    missing = [
        one for one in (*ExecutionStatus, *ends, ResourceStatus.RETRY_WAIT, *ErrorClass) if not re.search(rf"\b{one.value}\b", section)
    ]
    assert not missing
