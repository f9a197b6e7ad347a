"""The page of costs counts what the stack has."""

import re
from collections import Counter
from pathlib import Path

from dr_core.metrics import Metric
from tests.support.deployed import functions
from tests.support.state_table import template


def test_the_page_of_costs_counts_what_the_stack_has() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cost.md").read_text()
    counted = dict(re.findall(r"^\| ([a-z][^|]+) \| ([\d,]+) \| ", page, re.MULTILINE))
    kinds = Counter(one["Type"] for one in template()["Resources"].values())
    fed = [source for one in functions().values() for source in one.get("Events", {}).values() if source["Type"] == "SQS"]
    assert counted["queues that functions read"] == str(len(fed))
    assert counted["alarms"] == str(kinds["AWS::CloudWatch::Alarm"])
    assert counted["secrets"] == str(kinds["AWS::SecretsManager::Secret"])
    assert counted["metrics of its own, when all of them have values"] == str(len(Metric))
